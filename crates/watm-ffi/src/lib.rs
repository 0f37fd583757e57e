//! The C interface of `watm-wasmer`: what `include/watm.h` declares.
//!
//! Each function checks its arguments, calls the library, and turns the result into a status and an
//! error. It knows nothing of modules, sockets and threads beyond that. What callers have to keep
//! is said once, at the top of the header, which cbindgen makes from these files.

#![deny(missing_docs)]
// The names are those of the header.
#![allow(non_camel_case_types)]
// It would be the same for all functions: see the top of the header.
#![allow(clippy::missing_safety_doc)]

mod border;

mod carried;
pub use carried::*;

mod config;
pub use config::*;

mod conn;
pub use conn::*;

mod dialer;
pub use dialer::*;

mod errno;

mod hooks;
pub use hooks::*;

mod limits;
pub use limits::*;

mod listener;
pub use listener::*;

mod log_lines;
pub use log_lines::*;

mod module;
pub use module::*;

mod observer;
pub use observer::*;

mod open;
pub use open::*;

mod options;
pub use options::*;

mod outgoing;
pub use outgoing::*;

mod pending;
pub use pending::*;

mod process;
pub use process::*;

mod server;
pub use server::*;

mod settings;
pub use settings::*;

mod status;
pub use status::*;
