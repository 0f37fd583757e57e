//! Write WebAssembly Transport Modules (WATM v1) in Rust.
//!
//! A transport module is a WebAssembly file that implements a network transport: an obfuscation, an
//! encryption, a protocol wrapper. A host, such as a proxy, loads it and passes connections through
//! it. This crate is what the author of a module links. The author writes how a connection begins
//! ([`Transport`]) and what happens to its bytes ([`Codec`]). The crate does the rest: the exports
//! of the interface, descriptors, both directions with backpressure and half-close, the end that
//! the host asks for, buffers, and error numbers.
//!
//! A complete module:
//!
//! ```
//! use watm_guest::{Codec, Error, Output, Result, Stream, Transport};
//!
//! /// Combines each byte with a key of one byte: the configuration.
//! #[derive(Clone, Copy)]
//! struct Xor(u8);
//!
//! impl Transport for Xor {
//!     type Encoder = Xor;
//!     type Decoder = Xor;
//!
//!     fn new(config: Option<&[u8]>) -> Result<Self> {
//!         match config {
//!             Some(&[key]) => Ok(Xor(key)),
//!             _ => Err(Error::INVAL),
//!         }
//!     }
//!
//!     fn dial(&mut self, _stream: &mut Stream) -> Result<(Xor, Xor)> {
//!         Ok((*self, *self))
//!     }
//!
//!     fn accept(&mut self, _stream: &mut Stream) -> Result<(Xor, Xor)> {
//!         Ok((*self, *self))
//!     }
//! }
//!
//! impl Codec for Xor {
//!     fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
//!         for byte in output.push(input) {
//!             *byte ^= self.0;
//!         }
//!         Ok(input.len())
//!     }
//! }
//!
//! watm_guest::export!(Xor);
//! # watm_guest::testing::pair::<Xor>(Some(b"k"), Some(b"k"))?;
//! # Ok::<(), Error>(())
//! ```
//!
//! The examples `xor` (a longer key) and `framed` (frames of variable length after a greeting) are
//! small modules with everything around them.
//!
//! # The life of a module
//!
//! An instance of the module serves one connection and is not used again. The host calls:
//!
//! 1. `_start`, if the module is a program: Rust's own set-up, and `main`.
//! 2. `watm_init_v1`: [`Transport::new`], with the configuration.
//! 3. The function of the role: it gets the network connection, and then runs [`Transport::dial`]
//!    or [`Transport::accept`] on it, blocking. The result is two codecs. A relay accepts a plain
//!    connection, and dials another one with the handshake.
//! 4. `watm_ctrlpipe_v1`, then `watm_start_v1`: the worker. It sleeps until the host reports that
//!    something can be read, reads it, calls the codec, and writes what the codec made.
//!
//! # Backpressure
//!
//! The worker reads a side only while all that it made of earlier input is written. What a side
//! refuses is kept, and the worker waits for room. So a peer that does not read stops the sender,
//! and the memory of a connection stays small: for each direction, the bytes that the codec has not
//! taken (up to [`INPUT_LIMIT`](Transport::INPUT_LIMIT)) and what it has made (up to
//! [`OUTPUT_LIMIT`](Transport::OUTPUT_LIMIT) and one call more). The buffers are used again and
//! again: once they have their size, the crate allocates nothing.
//!
//! # The end of a stream
//!
//! When one side ends its stream, the codec's [`finish`](Codec::finish) says its last words. They
//! are written, and the stream on the other side ends too, while the other direction goes on. The
//! worker returns 0 when both directions have ended.
//!
//! A stream that ends within a frame was cut. `finish` must return an error then, and does so
//! unless it is replaced. TCP cannot tell whether an end is the peer's or an attacker's: a protocol
//! that must know needs an end of its own, which the encoder's `finish` writes and the decoder's
//! `finish` misses.
//!
//! # Errors
//!
//! An [`Error`] is an error number of WASI. The exports return it, and the host reports it to its
//! application and resets the peer. What was read before the failure is delivered.
//!
//! | what has happened | the worker ends with |
//! | --- | --- |
//! | both directions have ended | 0 |
//! | the host has asked for the end, by control | [`Error::CANCELED`], at once |
//! | a codec fails | its error, when all that it made before is written |
//! | a read fails, such as by a reset | that error, when all that came before is written |
//! | a write fails | that error, when the other direction has ended too |
//!
//! A panic writes its message to standard error, which hosts log. It then traps, since WASI has no
//! unwinding: the connection ends with an error, no other connection notices, and no destructor
//! runs. So a module need not defend itself against its own mistakes, but it must not panic at what
//! a peer sends.
//!
//! [`log!`] writes lines for the host's log. Other crates can use standard error as they do
//! elsewhere.
//!
//! # Build a module
//!
//! A module is a `cdylib`:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! watm-guest = "0.1"
//!
//! [profile.release]
//! opt-level = 3           # "s" saves little: most of the code is the standard library's
//! lto = true              # drops what is not used
//! codegen-units = 1
//! panic = "abort"
//! strip = true            # no names of functions; leave it out to debug
//! ```
//!
//! ```sh
//! rustup target add wasm32-wasip1
//! cargo build --release --target wasm32-wasip1
//! ```
//!
//! Such a module has neither `_initialize` nor `_start`, so it also runs on hosts that call
//! neither. What the C library has to set up, the linker puts in front of each export.
//!
//! A program works as well: a *command* with `_start`, whose `main` is empty. It uses [`export!`]
//! in the same way, in `main.rs`. Build a program if you link C or C++ code with constructors: they
//! run once, in `_start`, but in each call of a `cdylib`.
//!
//! The crate needs Rust 1.63 and no other crate. With Debian 12's own compiler (packages `rustc`,
//! `libstd-rust-dev-wasm32` and `lld-14`), whose name for the target is `wasm32-wasi`:
//!
//! ```sh
//! wasm="--edition 2021 --target wasm32-wasi -O -C panic=abort -C linker=wasm-ld-14"
//! rustc $wasm --crate-type rlib --crate-name watm_guest watm-guest/src/lib.rs
//! rustc $wasm --crate-type cdylib -C lto=fat -C codegen-units=1 -C strip=symbols \
//!     --extern watm_guest=libwatm_guest.rlib transport.rs
//! ```
//!
//! Most of a small module is Rust's standard library: its panics, its formatting and its heap. The
//! example `xor` has 50 KB with the current compiler, and 60 KB with Debian's.
//!
//! # Test a module
//!
//! Everything but the imports of the host compiles anywhere, and [`export!`] defines nothing
//! outside of WASI. [`testing`] runs transports and codecs on your machine, over pipes and over
//! TCP, with the handshakes and the worker that a module has.
//!
//! # Hosts
//!
//! The crate relies on what the interface says and on little else. It works on hosts that refuse
//! writes, shorten them, or take them only as a whole, and on those that have no half-close, where
//! the end of one direction is the end of the connection. Some limits are the host's:
//!
//! - A handshake has a time limit, often of 30 seconds, so a silent peer is the host's concern.
//! - The worker gets some seconds to end when the host asks for it. It looks for that between
//!   polls, so a codec should not compute for longer than that in one call.
//! - Memory is limited, often to 256 MiB for an instance.
//! - There are no threads. Clocks are there (`std::time`), and random numbers ([`random`]).
//! - A codec is called only for bytes. A transport that sends without being asked, such as padding
//!   at intervals, needs a worker of its own: see [`raw`].
//!
//! # Encryption by the host
//!
//! Cryptography without the processor's instructions is slow. [`aead`] has the host encrypt, where
//! it offers that.
//!
//! # The raw level
//!
//! [`raw`] has descriptors, polls and the imports of the interface, for modules whose connections
//! begin or run in another way.

pub mod aead;
mod codec;
mod config;
mod direction;
mod error;
mod export;
mod input;
mod log;
mod module;
mod output;
mod random;
pub mod raw;
mod session;
mod stream;
#[cfg(not(target_os = "wasi"))]
pub mod testing;
mod transport;
mod worker;

pub use codec::{Codec, Identity};
pub use config::config;
pub use error::{Error, Result};
pub use output::Output;
pub use random::random;
pub use stream::Stream;
pub use transport::{Address, Transport};

/// The examples of the file are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// For the macros alone.
#[doc(hidden)]
pub mod __private {
    pub use crate::aead::take as take_aead;
    pub use crate::log::log;
    pub use crate::module::Module;
}
