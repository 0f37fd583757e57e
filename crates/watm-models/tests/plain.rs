//! The same files with the primitives of the standard library and with their own unit tests, so
//! that Miri and the sanitizers can run them without the engine.

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
    #[allow(dead_code, reason = "tasks use the rest")]
    pub(crate) mod wakers;
}
#[path = "../../watm-wasmer/src/error"]
mod error {
    #[allow(dead_code, unreachable_pub, reason = "public in the runtime")]
    mod transport;
    pub(crate) use transport::{Outcome, TransportError};
}

/// Replaces the file of that name. No signals arrive here.
mod threads {
    use std::io;
    use std::thread::{Builder, JoinHandle};

    pub(crate) fn spawn<T: Send + 'static>(
        name: &str,
        stack: usize,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        Builder::new()
            .name(name.into())
            .stack_size(stack)
            .spawn(run)
    }
}
