//! SIGUSR1, which the engine uses to interrupt guests, and the signal masks of our threads.
//!
//! The engine installs a process-wide handler for SIGUSR1 that asserts that an interrupt is
//! pending, so a stray signal would bring the process down. A handler of ours stands before it:
//! it passes on only what the runtime sent itself and hands everything else to the handler that
//! the application had. If the application installs its own afterwards, the next interrupt puts
//! ours in front of that one again.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};

use crate::link::lock;

thread_local! {
    /// Interrupts sent to this worker that its handler has not seen: the address of a counter
    /// that outlives the guest, or null on other threads.
    static PENDING: Cell<*const AtomicUsize> = const { Cell::new(ptr::null()) };
}

/// The engine's handler and the application's, written before ours is installed. Old versions are
/// leaked (a few, ever), since a handler may be running with them.
static ENGINE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
static APPLICATION: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Puts our handler before the engine's. `install_engine` makes the engine install its own.
pub(crate) fn guard(install_engine: impl FnOnce()) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let application = current();
        install_engine();
        let engine = current();
        APPLICATION.store(leak(application), Ordering::Release);
        ENGINE.store(leak(engine), Ordering::Release);
        install();
    });
}

/// Sends interrupts to one worker. Made on the worker's thread, used from any other.
pub(crate) struct Interrupts {
    pending: Arc<AtomicUsize>,
}

/// Keeps a worker's thread ready for interrupts; goes when the guest is gone.
pub(crate) struct Receiving {
    _pending: Arc<AtomicUsize>,
}

impl Interrupts {
    /// Readies the calling thread for interrupts.
    pub(crate) fn receive() -> (Self, Receiving) {
        let pending = Arc::new(AtomicUsize::new(0));
        PENDING.with(|cell| cell.set(Arc::as_ptr(&pending)));
        set_mask(libc::SIG_UNBLOCK, &[libc::SIGUSR1]);
        (
            Self {
                pending: Arc::clone(&pending),
            },
            Receiving { _pending: pending },
        )
    }

    /// Has `interrupt` make the engine send the signal, and lets it pass.
    pub(crate) fn send(&self, interrupt: impl FnOnce()) {
        reinstall_if_replaced();
        self.pending.store(1, Ordering::SeqCst);
        interrupt();
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        PENDING.with(|cell| cell.set(ptr::null()));
    }
}

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

fn set_mask(how: libc::c_int, signals: &[libc::c_int]) {
    // SAFETY: as in `block_all`.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), ptr::null_mut());
    }
}

fn leak(action: libc::sigaction) -> *mut libc::sigaction {
    Box::into_raw(Box::new(action))
}

/// What SIGUSR1 does now.
fn current() -> libc::sigaction {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads the current one, which is written to `action`; all-zero
    // bytes are a valid sigaction even if the call failed, which it cannot for SIGUSR1.
    unsafe {
        libc::sigaction(libc::SIGUSR1, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    }
}

fn install() {
    // SAFETY: `handler` has the signature that SA_SIGINFO asks for and does only what is allowed
    // in a signal handler; the alternate stack is there on threads that run guests, and the flag
    // does nothing on others. No SA_RESTART: a worker's blocking call must return.
    let result = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut())
    };
    if result != 0 {
        log::error!("no handler for SIGUSR1: {}", io::Error::last_os_error());
    }
}

fn reinstall_if_replaced() {
    static CHANGING: Mutex<()> = Mutex::new(());
    let _changing = lock(&CHANGING);
    let now = current();
    if now.sa_sigaction != handler as *const () as usize {
        log::debug!("the application took SIGUSR1; its handler now runs behind the runtime's");
        APPLICATION.store(leak(now), Ordering::Release);
        install();
    }
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the pointer is null or to a counter that its `Receiving` keeps alive on this very
    // thread, and the system hands a valid siginfo over.
    let ours = unsafe {
        let pending = PENDING.with(Cell::get);
        !pending.is_null()
            && (*info).si_code == SI_TKILL
            && (*info).si_pid() == libc::getpid()
            && (*pending).swap(0, Ordering::SeqCst) != 0
    };
    let action = if ours {
        ENGINE.load(Ordering::Acquire)
    } else {
        APPLICATION.load(Ordering::Acquire)
    };
    // SAFETY: both were leaked before this handler was installed, so they are null or valid for
    // ever; a handler is called as its flags say.
    unsafe {
        let Some(action) = action.as_ref() else {
            return;
        };
        if action.sa_sigaction == libc::SIG_DFL || action.sa_sigaction == libc::SIG_IGN {
            return;
        }
        if action.sa_flags & libc::SA_SIGINFO != 0 {
            let call: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(action.sa_sigaction);
            call(signal, info, context);
        } else {
            let call: extern "C" fn(libc::c_int) = std::mem::transmute(action.sa_sigaction);
            call(signal);
        }
    }
}

/// The code of signals that `pthread_kill` sends.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SI_TKILL: libc::c_int = -6;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SI_TKILL: libc::c_int = libc::SI_USER;
