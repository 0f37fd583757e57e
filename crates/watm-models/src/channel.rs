//! The runtime's `channel` module. It uses the runtime's own files, except for the three that are
//! replaced.

#[path = "../../watm-wasmer/src/channel/gate.rs"]
#[allow(dead_code, reason = "the host uses the rest")]
pub(crate) mod gate;
#[path = "../../watm-wasmer/src/channel/link.rs"]
#[allow(dead_code, reason = "the host uses the rest")]
pub(crate) mod link;
#[path = "../../watm-wasmer/src/channel/pipe.rs"]
#[allow(dead_code, reason = "the host uses the rest")]
pub(crate) mod pipe;
#[path = "../../watm-wasmer/src/channel/ring.rs"]
pub(crate) mod ring;
#[path = "../../watm-wasmer/src/channel/wakers.rs"]
#[allow(dead_code, reason = "tasks use the rest")]
pub(crate) mod wakers;

pub(crate) mod cells;
pub(crate) mod supervisor;
pub(crate) mod sync;
