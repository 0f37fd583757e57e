//! Where threads meet: the bytes that pass between an application and its worker, the state of a
//! connection that both look at, and the thread that keeps time for all.
//!
//! It knows neither sockets nor guests nor the engine. `watm-models` compiles these files once more
//! and tries their schedules, so what they are built of is in `sync` and `cells` alone.

pub(crate) mod cells;
pub(crate) mod gate;
pub(crate) mod link;
pub(crate) mod pipe;
pub(crate) mod ring;
pub(crate) mod supervisor;
pub(crate) mod sync;
pub(crate) mod wakers;
