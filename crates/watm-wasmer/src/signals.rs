//! The signal masks of our threads: signals are the application's business.

use std::mem::MaybeUninit;
use std::ptr;

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
