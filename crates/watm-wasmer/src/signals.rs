//! SIGUSR1, which the engine uses to interrupt guests, and the signal masks of our threads.
//!
//! The engine installs a process-wide handler for SIGUSR1 that asserts that an interrupt is
//! pending, so a stray signal would bring the process down. A handler of ours stands before it:
//! it passes on only what the runtime sent itself, and only while compiled guest code runs, and
//! hands everything else to the handler that the application had. The engine would unwind its own
//! code and ours just as well, with the locks that they hold, the allocator's among them; where a
//! guest spends its time there, it ends at a stop point instead (see `stop_points`). If the
//! application installs its own handler afterwards, the next interrupt puts ours in front of that
//! one again.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock};

use crate::link::lock;

thread_local! {
    /// Whether an interrupt was sent to this worker that its handler has not passed on: the
    /// address of a flag that outlives the guest, or null on other threads.
    static PENDING: Cell<*const AtomicBool> = const { Cell::new(ptr::null()) };
    /// Whether the application's handler is running on this thread.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The address ranges of the program and its libraries, as they were when the engine started:
/// code anywhere else was compiled from a module.
static OBJECTS: OnceLock<Vec<Range<usize>>> = OnceLock::new();

/// The engine's handler and the application's, written before ours is installed. Old versions are
/// leaked (a few, ever), since a handler may be running with them.
static ENGINE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
static APPLICATION: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Puts our handler before the engine's. `install_engine` makes the engine install its own.
pub(crate) fn guard(install_engine: impl FnOnce()) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = OBJECTS.set(objects());
        let application = current();
        install_engine();
        let engine = current();
        APPLICATION.store(leak(application), Ordering::Release);
        ENGINE.store(leak(engine), Ordering::Release);
        install();
    });
}

/// Sends interrupts to one worker. Made on the worker's thread, used from any other, but not after
/// that thread has ended.
pub(crate) struct Interrupts {
    pending: Arc<AtomicBool>,
    thread: libc::pthread_t,
}

/// Keeps a worker's thread ready for interrupts; goes when the guest is gone.
pub(crate) struct Receiving {
    _pending: Arc<AtomicBool>,
}

impl Interrupts {
    /// Readies the calling thread for interrupts.
    pub(crate) fn receive() -> (Self, Receiving) {
        let pending = Arc::new(AtomicBool::new(false));
        PENDING.with(|cell| cell.set(Arc::as_ptr(&pending)));
        change_mask(libc::SIG_UNBLOCK);
        // SAFETY: it only returns the calling thread's own name.
        let thread = unsafe { libc::pthread_self() };
        let interrupts = Self {
            pending: Arc::clone(&pending),
            thread,
        };
        (interrupts, Receiving { _pending: pending })
    }

    /// Has `arm` make the engine expect the signal, then sends it. If the engine expects none
    /// (`arm` returns false), none is sent, since its handler would not bear it.
    pub(crate) fn send(&self, arm: impl FnOnce() -> bool) {
        reinstall_if_replaced();
        if arm() {
            // The engine's signal, sent by `arm`, may have come before this and been ignored. What
            // it expects stays expected until its handler has run, which this is unset with.
            self.pending.store(true, Ordering::SeqCst);
            // SAFETY: the caller holds the lock under which the worker takes this back before its
            // thread ends, so the thread exists.
            unsafe { libc::pthread_kill(self.thread, libc::SIGUSR1) };
        }
    }
}

// SAFETY: a thread's name may be used from any thread.
unsafe impl Send for Interrupts {}

impl Drop for Receiving {
    fn drop(&mut self) {
        change_mask(libc::SIG_BLOCK);
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

/// Blocks or unblocks SIGUSR1 on the calling thread.
fn change_mask(how: libc::c_int) {
    // SAFETY: as in `block_all`.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR1);
        libc::pthread_sigmask(how, set.as_ptr(), ptr::null_mut());
    }
}

/// Where the program and its libraries lie in memory.
fn objects() -> Vec<Range<usize>> {
    unsafe extern "C" fn add(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        found: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the system hands over a valid record, and `found` is the vector below, which
        // nobody else uses meanwhile.
        unsafe {
            let found = &mut *found.cast::<Vec<Range<usize>>>();
            let headers =
                std::slice::from_raw_parts((*info).dlpi_phdr, usize::from((*info).dlpi_phnum));
            for header in headers
                .iter()
                .filter(|header| header.p_type == libc::PT_LOAD)
            {
                let start = (*info).dlpi_addr as usize + header.p_vaddr as usize;
                found.push(start..start + header.p_memsz as usize);
            }
        }
        0
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    // SAFETY: the callback has the signature asked for and gets the vector that outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut found).cast()) };
    found
}

/// Whether the interrupted instruction is compiled guest code. A library that was loaded later
/// counts as such, but guests do not run in one.
fn was_in_guest_code(context: *mut libc::c_void) -> bool {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    // SAFETY: the system hands a valid ucontext to a handler installed with SA_SIGINFO.
    let pc = unsafe {
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] as usize
    };
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    // SAFETY: as above.
    let pc = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.pc as usize };
    #[cfg(not(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )))]
    compile_error!("the runtime knows Linux on x86_64 and aarch64");
    OBJECTS
        .get()
        .is_some_and(|objects| !objects.iter().any(|object| object.contains(&pc)))
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
    // does nothing on others. SA_RESTART is for the application's threads: a worker waits in
    // calls that never restart.
    let result = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
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
    unsafe {
        let pending = PENDING.with(Cell::get);
        let own = (*info).si_code == SI_TKILL && (*info).si_pid() == libc::getpid();
        if own && !pending.is_null() {
            // Sent by the runtime, or by the engine on its behalf. Too early or in the middle of
            // host code it does nothing: it will be sent again until the worker has ended.
            if (*pending).load(Ordering::SeqCst) && was_in_guest_code(context) {
                (*pending).store(false, Ordering::SeqCst);
                call(ENGINE.load(Ordering::Acquire), signal, info, context);
            }
            return;
        }
    }
    // An application's handler may call the one before it, which is this one.
    if !INSIDE.with(|inside| inside.replace(true)) {
        call(APPLICATION.load(Ordering::Acquire), signal, info, context);
        INSIDE.with(|inside| inside.set(false));
    }
}

/// Calls a handler as its flags say, if it is one.
fn call(
    action: *mut libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: both actions were leaked before our handler was installed, so the pointer is null or
    // valid for ever; a handler is called as its flags say.
    unsafe {
        let Some(action) = action.as_ref() else {
            return;
        };
        if action.sa_sigaction == libc::SIG_DFL || action.sa_sigaction == libc::SIG_IGN {
            return;
        }
        if action.sa_flags & libc::SA_SIGINFO != 0 {
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(action.sa_sigaction);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(libc::c_int) = std::mem::transmute(action.sa_sigaction);
            handler(signal);
        }
    }
}

/// The code of signals that `pthread_kill` sends.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SI_TKILL: libc::c_int = -6;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SI_TKILL: libc::c_int = libc::SI_USER;
