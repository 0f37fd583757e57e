//! Starts the threads of the runtime: each has a name, a stack of a known size, and the signals of
//! the application blocked.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

/// Starts a thread. `stack` is in bytes.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    stack: usize,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new()
        .name(name.into())
        .stack_size(stack)
        .spawn(move || {
            block_signals();
            run()
        })
}

/// Runs `f` on a thread of its own and waits for it.
///
/// The system answers some calls with a signal beside the error, such as a write beyond the limit
/// on the size of a file (`SIGXFSZ`). It sends that signal to the calling thread, and would end the
/// process if the thread did not block it.
pub(crate) fn without_signals<T: Send>(f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let blocked = || {
            block_signals();
            f()
        };
        thread::Builder::new()
            .name("watm-write".into())
            .spawn_scoped(scope, blocked)?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")))
    })
}

/// Blocks all signals on the calling thread, except those that the thread itself raises by what it
/// executes.
pub(crate) fn block_signals() {
    // SAFETY: `sigfillset` initialises the whole set, which the later calls then change and read.
    // The set outlives all calls.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGTRAP,
            libc::SIGABRT,
        ] {
            libc::sigdelset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut());
    }
}

/// A waker that unparks the current thread.
pub(crate) fn unpark() -> Waker {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    Waker::from(Arc::new(Unpark(thread::current())))
}
