//! What lies under [`Transport`](crate::Transport): descriptors, polls, the imports of the
//! interface. For modules whose connections begin or run in another way.
//!
//! Such a module defines the exports of the interface itself. It can still leave the bytes to
//! [`carry`], which is the worker of all transports. A module that dials two addresses in turn, as
//! a fixed dialer:
//!
//! ```
//! use std::cell::Cell;
//! use watm_guest::raw::{self, Descriptor};
//! use watm_guest::{Address, Identity, Result};
//!
//! thread_local! {
//!     static INTERNAL: Cell<i32> = Cell::new(-1);
//!     static NETWORK: Cell<i32> = Cell::new(-1);
//!     static CONTROL: Cell<i32> = Cell::new(-1);
//! }
//!
//! #[no_mangle]
//! extern "C" fn watm_init_v1() -> i32 {
//!     0
//! }
//!
//! #[no_mangle]
//! extern "C" fn watm_ctrlpipe_v1(control: i32) -> i32 {
//!     CONTROL.with(|cell| cell.set(control));
//!     0
//! }
//!
//! #[no_mangle]
//! extern "C" fn watm_dial_fixed_v1(internal: i32) -> i32 {
//!     let network = raw::dial(Address::tcp("one.example:443"))
//!         .or_else(|_| raw::dial(Address::tcp("two.example:443")));
//!     match network {
//!         Ok(network) => {
//!             INTERNAL.with(|cell| cell.set(internal));
//!             NETWORK.with(|cell| cell.set(network.as_raw()));
//!             network.as_raw()
//!         }
//!         Err(error) => error.negated(),
//!     }
//! }
//!
//! #[no_mangle]
//! extern "C" fn watm_start_v1() -> i32 {
//!     let descriptor = |cell: &Cell<i32>| Descriptor::from_raw(cell.get());
//!     let control = CONTROL.with(descriptor);
//!     let internal = INTERNAL.with(descriptor);
//!     let network = NETWORK.with(descriptor);
//!     match raw::carry(&control, &internal, &network, Identity, Identity) {
//!         Ok(()) => 0,
//!         Err(error) => error.negated(),
//!     }
//! }
//! ```
//!
//! All of this compiles on any system, so that a module can be checked and documented anywhere.
//! Outside of WASI the functions fail with [`Error::NOSYS`](crate::Error::NOSYS).

mod carry;
mod connect;
mod descriptor;
mod poll;
#[cfg_attr(target_os = "wasi", path = "raw/sys.rs")]
#[cfg_attr(not(target_os = "wasi"), path = "raw/no_sys.rs")]
mod sys;

pub use carry::carry;
pub use connect::{accept, dial, dial_fixed};
pub use descriptor::{Descriptor, Shutdown};
pub use poll::{Event, Subscription, poll};

pub(crate) use carry::Descriptors;

pub(crate) fn random(buffer: &mut [u8]) -> crate::Result<()> {
    sys::random_get(buffer)
}
