//! Plays an application that has its own ideas of SIGUSR1, one scenario a process: what a signal
//! does is the whole process's business. It ends with success if all went well.

use std::io::Write;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use watm_tests::{Pair, alternate, built, eventually, exchange, wat};
use watm_wasmer::{Dialer, TransportError};

/// How often the application's handler ran, and what it was told.
static HANDLED: AtomicUsize = AtomicUsize::new(0);
static SENDER: AtomicI32 = AtomicI32::new(0);
static THREAD: AtomicI32 = AtomicI32::new(0);

fn main() {
    let scenario = std::env::args().nth(1).expect("the name of a scenario");
    match scenario.as_str() {
        "a handler from before" => {
            handle(libc::SIGUSR1, plain as *const () as usize, 0);
            interrupts_work();
            signals_are_handled(5);
            interrupts_work();
            signals_are_handled(5);
        }
        "a handler from after" => {
            data_passes();
            handle(libc::SIGUSR1, plain as *const () as usize, 0);
            signals_are_handled(3);
            interrupts_work();
            // Now the runtime's handler stands before it.
            signals_are_handled(5);
            data_passes();
        }
        "a handler that was replaced" => {
            handle(libc::SIGUSR1, other as *const () as usize, 0);
            interrupts_work();
            handle(libc::SIGUSR1, plain as *const () as usize, 0);
            interrupts_work();
            signals_are_handled(5);
        }
        "a handler that wants to know more" => {
            let told = with_info as *const () as usize;
            handle(libc::SIGUSR1, told, libc::SA_SIGINFO);
            interrupts_work();
            signals_are_handled(3);
            // SAFETY: it only asks for a number.
            assert_eq!(SENDER.load(Ordering::SeqCst), unsafe { libc::getpid() });
        }
        "an application that ignores it" => {
            handle(libc::SIGUSR1, libc::SIG_IGN, 0);
            interrupts_work();
            send_to_process();
            data_passes();
        }
        "stray signals before any interrupt" => {
            data_passes();
            for _ in 0..100 {
                send_to_process();
            }
            data_passes();
            interrupts_work();
        }
        "stray signals after an interrupt" => {
            interrupts_work();
            for _ in 0..100 {
                send_to_process();
            }
            interrupts_work();
            data_passes();
        }
        "stray signals under load" => {
            let pair = Pair::dial(&built("plain16k"));
            std::thread::scope(|scope| {
                let moving = scope.spawn(|| exchange(&pair.conn, &pair.peer, 5_000_000, 10_000));
                while !moving.is_finished() {
                    send_to_process();
                    workers().into_iter().for_each(send_to_thread);
                }
            });
            pair.conn.close().expect("a clean end");
        }
        "stray signals to a worker that computes" => {
            let pair = hasty();
            for _ in 0..100 {
                let workers = workers();
                assert_eq!(workers.len(), 1);
                send_to_thread(workers[0]);
            }
            assert!(pair.conn.outcome().is_none(), "it was not meant");
            let error = pair.conn.close().expect_err("it computes for ever");
            assert!(matches!(error, TransportError::Interrupted), "{error:?}");
        }
        "other signals" => {
            // The application's, and none that a worker gets in its stead.
            handle(libc::SIGTERM, where_it_runs as *const () as usize, 0);
            handle(libc::SIGHUP, where_it_runs as *const () as usize, 0);
            let _pairs: Vec<_> = (0..8).map(|_| Pair::dial(&built("plain"))).collect();
            for signal in [libc::SIGTERM, libc::SIGHUP].repeat(10) {
                let before = HANDLED.load(Ordering::SeqCst);
                // SAFETY: the process handles these signals.
                unsafe { libc::kill(libc::getpid(), signal) };
                eventually("it is handled", || HANDLED.load(Ordering::SeqCst) > before);
                let thread = THREAD.load(Ordering::SeqCst);
                assert!(!workers().contains(&thread), "a worker got it");
            }
            data_passes();
        }
        other => panic!("{other:?} is no scenario"),
    }
}

extern "C" fn plain(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn other(_: libc::c_int) {}

extern "C" fn with_info(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the system hands a valid record over.
    SENDER.store(unsafe { (*info).si_pid() }, Ordering::SeqCst);
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn where_it_runs(_: libc::c_int) {
    // SAFETY: it only asks for a number.
    THREAD.store(unsafe { libc::gettid() }, Ordering::SeqCst);
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn handle(signal: libc::c_int, handler: usize, flags: libc::c_int) {
    // SAFETY: the record is valid all-zero and filled in below; the handlers of this file do no more
    // than store numbers.
    let result = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler;
        action.sa_flags = flags | libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    };
    assert_eq!(result, 0);
}

fn send_to_process() {
    // SAFETY: what it does to this process is what is tested.
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
}

fn send_to_thread(thread: libc::pid_t) {
    // SAFETY: as in `send_to_process`. A thread that has ended meanwhile is an error that is ignored.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
}

#[track_caller]
fn signals_are_handled(count: usize) {
    for _ in 0..count {
        let before = HANDLED.load(Ordering::SeqCst);
        send_to_process();
        eventually("the application's handler ran", || {
            HANDLED.load(Ordering::SeqCst) > before
        });
    }
}

/// The threads of the runtime's workers.
fn workers() -> Vec<libc::pid_t> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a listing");
    let worker = |id: &String| {
        std::fs::read_to_string(format!("/proc/self/task/{id}/comm"))
            .is_ok_and(|name| name.starts_with("watm-worker"))
    };
    tasks
        .filter_map(|task| task.ok()?.file_name().into_string().ok())
        .filter(worker)
        .filter_map(|id| id.parse().ok())
        .collect()
}

const GRACE: Duration = Duration::from_millis(100);

fn hasty() -> Pair {
    Pair::with(Dialer::builder(&wat("loop_start_worker")).close_grace(GRACE))
}

/// That a guest which only computes is interrupted in time, and only it.
#[track_caller]
fn interrupts_work() {
    let handled = HANDLED.load(Ordering::SeqCst);
    let pair = hasty();
    let started = Instant::now();
    let error = pair.conn.close().expect_err("it computes for ever");
    let elapsed = started.elapsed();
    assert!(matches!(error, TransportError::Interrupted), "{error:?}");
    assert!(elapsed < GRACE + Duration::from_secs(1), "{elapsed:?}");
    assert_eq!(
        HANDLED.load(Ordering::SeqCst),
        handled,
        "the application has nothing to do with it"
    );
}

#[track_caller]
fn data_passes() {
    let pair = Pair::dial(&built("plain"));
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
    (&pair.conn).write_all(b"x").expect("room");
    pair.conn.close().expect("a clean end");
}
