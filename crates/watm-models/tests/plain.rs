//! The same files with the standard library's primitives and their own unit tests, so that Miri
//! and the sanitizers can run these without the engine.

#[path = "../../watm-wasmer/src/channel"]
mod channel {
    pub(crate) mod cells;
    #[allow(dead_code, reason = "the host uses the rest")]
    pub(crate) mod gate;
    #[allow(dead_code, reason = "the host uses the rest")]
    pub(crate) mod link;
    #[allow(dead_code, reason = "the host uses the rest")]
    pub(crate) mod pipe;
    pub(crate) mod ring;
    #[allow(dead_code, reason = "the host uses the rest")]
    pub(crate) mod supervisor;
    pub(crate) mod sync;
}
#[path = "../../watm-wasmer/src/error.rs"]
#[allow(dead_code, unreachable_pub, reason = "public in the runtime")]
mod error;

/// No signals come here.
mod signals {
    pub(crate) fn block_all() {}
}
