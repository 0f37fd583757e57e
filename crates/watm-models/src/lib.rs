//! The ring, the pipe, the gate and the link of the runtime under a model checker.
//!
//! Their source files are compiled here once more, unchanged. Only their building blocks are
//! replaced: `sync`, `cells` and `supervisor` in `channel` stand for the files of the same names in
//! the runtime. They hand loom every step that other threads can see. This is a separate crate so
//! that neither the runtime nor its engine has to be compiled in a second way.
//!
//! The models repeat in a few lines what the runtime does around these files: how a worker sleeps,
//! and how a connection closes. Whoever changes that there must change it here too.

// The tests of these files need the real primitives: see `tests/plain.rs`. Their examples need the
// runtime, whose tests run them.
#![cfg(not(any(doctest, test)))]

#[path = "../../watm-wasmer/src/error"]
mod error {
    #[allow(dead_code, unreachable_pub, reason = "public in the runtime")]
    mod transport;
    pub(crate) use transport::{Outcome, TransportError};
}

mod channel;

mod explore;
pub use explore::{Explored, explore};

pub mod models;
