//! The ring, the pipe, the gate and the link of the runtime under a model checker.
//!
//! Their source files are compiled here once more, unchanged. Only what they are built of is
//! replaced: `sync`, `cells` and `supervisor` in `channel` stand for the files of those names in
//! the runtime, and hand loom every step that other threads can see. A crate of its own, so that
//! neither the runtime nor its engine has to be compiled in a second way.
//!
//! What the runtime does around these files is repeated in the models in a few lines: how a
//! worker sleeps, how a connection closes. Who changes that there changes it here.

// The files' own tests need the real primitives: see `tests/plain.rs`.
#![cfg(not(test))]

#[path = "../../watm-wasmer/src/error"]
mod error {
    #[allow(dead_code, unreachable_pub, reason = "public in the runtime")]
    mod transport;
    pub(crate) use transport::{End, TransportError};
}

mod channel;

mod explore;
pub use explore::{Explored, explore};

pub mod models;
