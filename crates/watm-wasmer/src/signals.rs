//! The signal masks of our threads: signals are the application's business.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread;

/// Blocks the signals that belong to the application's threads on the calling thread.
pub(crate) fn block_all() {
    // SAFETY: the set lives here; `sigfillset` initialises it before `pthread_sigmask` reads it.
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

/// Runs `f` on a thread of its own, for what the system answers with a signal beside the error: a
/// file beyond the limit on its size (`SIGXFSZ`), which would end the process.
pub(crate) fn without<T: Send>(f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let blocked = || {
            block_all();
            f()
        };
        thread::Builder::new()
            .name("watm-write".into())
            .spawn_scoped(scope, blocked)?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")))
    })
}
