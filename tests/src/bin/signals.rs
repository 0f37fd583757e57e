//! Plays an application that handles signals itself, one scenario per process, because a signal
//! affects the whole process. Succeeds if everything went well.

use std::io::Write;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use watm_tests::{
    Pair, SHORT, alternate, built, eventually, exchange, path_of, read_numbers, read_vec, text,
    thread_ids, wat,
};
use watm_wasmer::{ArtifactCache, Dialer, ModuleLoader, TransportError};

/// How often the application's handler ran, and its latest thread.
static HANDLED: AtomicUsize = AtomicUsize::new(0);
static THREAD: AtomicI32 = AtomicI32::new(0);

/// The signals that tell the engine of a guest's fault.
const FAULTS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

fn main() {
    let scenario = std::env::args().nth(1).expect("the name of a scenario");
    match scenario.as_str() {
        "dispositions" => {
            // The standard library has already set some handlers.
            let before = dispositions();
            data_passes();
            a_guest_that_computes_is_stopped();
            a_guest_that_traps_is_no_harm();
            for (signal, (before, after)) in (1..).zip(before.into_iter().zip(dispositions())) {
                if !FAULTS.contains(&signal) {
                    assert_eq!(before, after, "signal {signal}");
                }
            }
        }
        "handlers" => {
            for signal in [libc::SIGUSR1, libc::SIGTERM, libc::SIGHUP] {
                handle(signal, count as *const () as usize, 0);
            }
            let _pairs: Vec<_> = (0..8).map(|_| Pair::dial(&built("plain"))).collect();
            for signal in [libc::SIGUSR1, libc::SIGTERM, libc::SIGHUP].repeat(10) {
                let before = HANDLED.load(Ordering::SeqCst);
                // SAFETY: the process has a handler for these signals.
                unsafe { libc::kill(libc::getpid(), signal) };
                eventually("it is handled", || HANDLED.load(Ordering::SeqCst) > before);
                let thread = THREAD.load(Ordering::SeqCst);
                assert!(!workers().contains(&thread), "a worker got it");
            }
            data_passes();
        }
        "signals under load" => {
            handle(libc::SIGUSR1, count as *const () as usize, 0);
            let pair = Pair::dial(&built("plain16k"));
            std::thread::scope(|scope| {
                let moving = scope.spawn(|| exchange(&pair.conn, &pair.peer, 5_000_000, 10_000));
                while !moving.is_finished() {
                    // SAFETY: the process has a handler for this signal.
                    unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                    workers().into_iter().for_each(send_to_thread);
                }
            });
            pair.conn.close().expect("a clean end");
            assert_ne!(HANDLED.load(Ordering::SeqCst), 0);
        }
        "a fault handler from before" => {
            a_fault_is_the_application_s_own(true);
        }
        "a fault handler from after" => {
            a_fault_is_the_application_s_own(false);
        }
        "a limit on the size of files" => {
            no_file_grows();
            a_module_that_cannot_be_kept_is_still_loaded();
            a_guest_that_may_write_learns_of_the_limit();
            data_passes();
        }
        other => panic!("{other:?} is not a scenario"),
    }
}

extern "C" fn count(_: libc::c_int) {
    // SAFETY: `gettid` only returns a number.
    THREAD.store(unsafe { libc::gettid() }, Ordering::SeqCst);
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn handle(signal: libc::c_int, handler: usize, flags: libc::c_int) -> libc::sigaction {
    // SAFETY: the record is valid when all-zero, and is filled in below. The handlers in this file
    // do only what a signal handler may do.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        let mut before = action;
        action.sa_sigaction = handler;
        action.sa_flags = flags | libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        let result = libc::sigaction(signal, &raw const action, &raw mut before);
        assert_eq!(result, 0);
        before
    }
}

/// What each signal does: its handler and flags.
fn dispositions() -> Vec<(usize, libc::c_int)> {
    let ask = |signal| {
        // SAFETY: the record is valid when all-zero, and `sigaction` only fills it in.
        unsafe {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            libc::sigaction(signal, ptr::null(), &raw mut action);
            (action.sa_sigaction, action.sa_flags)
        }
    };
    (1..=libc::SIGRTMAX()).map(ask).collect()
}

fn send_to_thread(thread: libc::pid_t) {
    // SAFETY: the process has a handler for this signal. If the thread has ended, the call fails,
    // and the error is ignored.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
}

/// The threads of the runtime's workers.
fn workers() -> Vec<libc::pid_t> {
    thread_ids("watm-worker")
}

/// The handler to call next, which was installed before the application's: that of the runtime.
static BEFORE: std::sync::OnceLock<libc::sigaction> = std::sync::OnceLock::new();
/// A page that is not writable until the application's handler makes it so, as in garbage
/// collectors and emulators.
static PAGE: AtomicUsize = AtomicUsize::new(0);
const PAGE_SIZE: usize = 4096;

extern "C" fn fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system passes a valid record, and the page belongs to the application.
    unsafe {
        let page = PAGE.load(Ordering::SeqCst);
        if ((*info).si_addr() as usize).wrapping_sub(page) < PAGE_SIZE {
            HANDLED.fetch_add(1, Ordering::SeqCst);
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mprotect(page as *mut libc::c_void, PAGE_SIZE, access);
        } else if let Some(before) = BEFORE.get() {
            let next: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(before.sa_sigaction);
            next(signal, info, context);
        } else {
            libc::abort();
        }
    }
}

/// An application that handles its own faults keeps doing so, and faults of guests are still
/// caught. Either the engine gets them first and passes on foreign ones, or the application does.
fn a_fault_is_the_application_s_own(installed_before: bool) {
    // SAFETY: a new mapping affects no other memory.
    let page = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(ptr::null_mut(), PAGE_SIZE, libc::PROT_READ, flags, -1, 0)
    };
    assert_ne!(page, libc::MAP_FAILED);
    PAGE.store(page as usize, Ordering::SeqCst);
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    let install = || handle(libc::SIGSEGV, fault as *const () as usize, flags);
    if installed_before {
        install();
        data_passes();
    } else {
        data_passes();
        assert!(BEFORE.set(install()).is_ok());
    }
    for round in 1..4 {
        // SAFETY: the page is mapped, and the handler makes it writable.
        unsafe {
            libc::mprotect(page, PAGE_SIZE, libc::PROT_READ);
            ptr::write_volatile(page.cast::<u8>(), 7);
            assert_eq!(ptr::read_volatile(page.cast::<u8>()), 7);
        }
        assert_eq!(HANDLED.load(Ordering::SeqCst), round);
        a_guest_that_traps_is_no_harm();
        data_passes();
    }
}

const FAULTS_IN_ITS_WORKER: &str = r#"(module
    (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
    (memory (export "memory") 1)
    (func (export "_initialize"))
    (func (export "watm_init_v1") (result i32) (i32.const 0))
    (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
    (func (export "watm_dial_v1") (param i32) (result i32) (call $water_dial_fixed))
    (func (export "watm_start_v1") (result i32) (i32.load (i32.const -4))))"#;

const GRACE: Duration = Duration::from_millis(100);

/// A guest that only computes is stopped in time.
#[track_caller]
fn a_guest_that_computes_is_stopped() {
    let pair = Pair::with(Dialer::builder(&wat("loop_start_worker")).close_grace(GRACE));
    let started = Instant::now();
    let error = pair.conn.close().expect_err("it computes for ever");
    let elapsed = started.elapsed();
    assert!(matches!(error, TransportError::Interrupted), "{error:?}");
    assert!(elapsed < GRACE + Duration::from_secs(1), "{elapsed:?}");
}

/// A guest that accesses memory beyond its end, which the engine learns from a signal.
#[track_caller]
fn a_guest_that_traps_is_no_harm() {
    let pair = Pair::dial(&text(FAULTS_IN_ITS_WORKER));
    let ended = pair.conn.wait(Some(SHORT)).expect("it ends");
    let error = ended.expect_err("it faults");
    assert!(matches!(error, TransportError::Trapped { .. }), "{error:?}");
}

/// Limits files to zero bytes. For a larger file, the system sends a signal that normally ends the
/// process, and then reports an error.
#[track_caller]
fn no_file_grows() {
    // SAFETY: the record is valid when all-zero, is filled in, and is then only read.
    unsafe {
        let mut limit = MaybeUninit::<libc::rlimit>::zeroed().assume_init();
        assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit), 0);
        limit.rlim_cur = 0;
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
    }
}

#[track_caller]
fn a_module_that_cannot_be_kept_is_still_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = ArtifactCache::open(directory.path().join("cache")).expect("a cache");
    let loader = ModuleLoader::new().cache(&cache);
    loader.load_file(path_of("plain")).expect("a module");
    assert_eq!(cache.artifacts().expect("a listing").len(), 0);
    let files = std::fs::read_dir(cache.directory()).expect("a listing");
    let sizes = files.map(|file| file.expect("an entry").metadata().expect("a file").len());
    assert_eq!(sizes.sum::<u64>(), 0, "no partial file stays");
}

#[track_caller]
fn a_guest_that_may_write_learns_of_the_limit() {
    const FBIG: i32 = 22;
    let directory = tempfile::tempdir().expect("a directory");
    let builder = Dialer::builder(&wat("open_path")).dir_writable(directory.path(), "/data");
    let pair = Pair::with(builder);
    for path in ["one", "two"] {
        let request = format!("w3{path}");
        (&pair.conn).write_all(request.as_bytes()).expect("room");
        assert_eq!(read_numbers(&read_vec(&pair.conn, 8)[..]), [0, -FBIG]);
    }
    pair.conn.close().expect("a clean end");
}

#[track_caller]
fn data_passes() {
    let pair = Pair::dial(&built("plain"));
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
    (&pair.conn).write_all(b"x").expect("room");
    pair.conn.close().expect("a clean end");
}
