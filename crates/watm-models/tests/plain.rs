//! The same files with the standard library's primitives and their own unit tests, so that Miri
//! and the sanitizers can run these without the engine.

#[path = "../../watm-wasmer/src/cells.rs"]
mod cells;
#[path = "../../watm-wasmer/src/error.rs"]
#[allow(dead_code, unreachable_pub, reason = "public in the runtime")]
mod error;
#[path = "../../watm-wasmer/src/gate.rs"]
#[allow(dead_code, reason = "the host uses the rest")]
mod gate;
#[path = "../../watm-wasmer/src/link.rs"]
#[allow(dead_code, reason = "the host uses the rest")]
mod link;
#[path = "../../watm-wasmer/src/pipe.rs"]
#[allow(dead_code, reason = "the host uses the rest")]
mod pipe;
#[path = "../../watm-wasmer/src/ring.rs"]
mod ring;
#[path = "../../watm-wasmer/src/supervisor.rs"]
#[allow(dead_code, reason = "the host uses the rest")]
mod supervisor;
#[path = "../../watm-wasmer/src/sync.rs"]
mod sync;

/// No signals come here.
mod signals {
    pub(crate) fn block_all() {}
}
