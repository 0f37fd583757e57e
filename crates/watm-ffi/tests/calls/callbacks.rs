//! Callbacks: they are called with what they were given, freed once, and their failures stay
//! theirs.

use std::ffi::{CString, c_char, c_int, c_void};
use std::net::TcpStream;
use std::os::fd::IntoRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use watm::*;

use crate::{
    Outcome, call, echo, exchange, fails, listen, made, module, new_settings, no_data, ok, text,
};

/// What the callbacks of one test get.
#[derive(Default)]
pub(crate) struct Seen {
    answer: c_int,
    calls: Mutex<Vec<String>>,
    freed: AtomicUsize,
}

impl Seen {
    pub(crate) fn user(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn add(&self, call: String) {
        self.calls.lock().expect("no test panics here").push(call);
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no test panics here").clone()
    }
}

/// # Safety
///
/// `user` is that of a `Seen` that lives.
unsafe fn seen<'a>(user: *mut c_void) -> &'a Seen {
    // SAFETY: the same demand.
    unsafe { &*user.cast::<Seen>() }
}

unsafe extern "C-unwind" fn free(user: *mut c_void) {
    // SAFETY: each test gives its own.
    unsafe { seen(user) }.freed.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C-unwind" fn connect(
    user: *mut c_void,
    attempt: *const watm_dial_attempt<'_, '_>,
) -> c_int {
    // SAFETY: each test gives its own, and the library a valid attempt.
    let (seen, attempt) = unsafe { (seen(user), attempt.as_ref()) };
    let address = text(watm_dial_attempt_address(attempt));
    let network = text(watm_dial_attempt_network(attempt));
    let left = watm_dial_attempt_deadline(attempt);
    assert!((1..=10_000).contains(&left), "{left}");
    assert!(!watm_dial_attempt_is_cancelled(attempt));
    let by_module = watm_dial_attempt_is_chosen_by_module(attempt);
    seen.add(format!("{network} {address} {by_module}"));
    match seen.answer {
        0 => TcpStream::connect(address)
            .expect("a listener")
            .into_raw_fd(),
        answer => answer,
    }
}

unsafe extern "C-unwind" fn panic_in_dial(
    _: *mut c_void,
    _: *const watm_dial_attempt<'_, '_>,
) -> c_int {
    panic!("the application's own defect")
}

pub(crate) unsafe extern "C-unwind" fn prepare(
    user: *mut c_void,
    fd: c_int,
    remote: *const c_char,
) -> c_int {
    // SAFETY: each test gives its own.
    let seen = unsafe { seen(user) };
    assert!(fd >= 0);
    seen.add(format!("prepare {}", text(remote)));
    seen.answer
}

unsafe extern "C-unwind" fn resolve(
    user: *mut c_void,
    name: *const c_char,
    port: u16,
    addresses: *mut watm_addresses,
) -> c_int {
    // SAFETY: each test gives its own, and the library a valid list.
    let (seen, addresses) = unsafe { (seen(user), addresses.as_mut()) };
    seen.add(format!("{} {port}", text(name)));
    let addresses = addresses.expect("a list");
    let bad = call!(watm_addresses_add(Some(&mut *addresses), c"x".as_ptr()));
    fails(bad, watm_status::Argument, "argument");
    ok(call!(watm_addresses_add(
        Some(addresses),
        c"127.0.0.1".as_ptr()
    )));
    seen.answer
}

/// Dials with these settings, and exchanges bytes if that works.
fn dial(settings: &watm_settings, to: Option<&str>) -> Outcome {
    let module = module("plain");
    let listener = listen(&module, None);
    let dialer = made!(watm_dialer_new(Some(&module), Some(settings)));
    let local = text(watm_listener_local_addr(Some(&listener)));
    let port = local.rsplit_once(':').expect("a port").1;
    let target = to.map_or(local.clone(), |host| format!("{host}:{port}"));
    let target = CString::new(target).expect("no zero byte");
    let mut conn = std::ptr::null_mut();
    let outcome = call!(watm_dialer_dial(
        Some(&dialer),
        target.as_ptr(),
        None,
        Some(&mut conn)
    ));
    if !conn.is_null() {
        // SAFETY: the call has just made it.
        let conn = unsafe { Box::from_raw(conn) };
        std::thread::scope(|scope| {
            scope.spawn(|| echo(&listener));
            exchange(&conn, b"through the hook");
            watm_conn_free(Some(conn));
        });
    }
    watm_dialer_free(Some(dialer));
    outcome
}

#[test]
fn a_dial_hook_makes_the_connection_and_is_freed_once() {
    let seen = Seen::default();
    let settings = new_settings();
    let some = Some(&*settings);
    ok(call!(watm_settings_dial_hook(
        some,
        Some(connect),
        seen.user(),
        Some(free)
    )));
    ok(dial(&settings, None));
    let calls = seen.calls();
    assert_eq!(calls.len(), 1);
    assert!(calls[0].starts_with("tcp 127.0.0.1:") && calls[0].ends_with(" false"));
    assert_eq!(seen.freed.load(Ordering::SeqCst), 0);
    watm_settings_free(Some(settings));
    // A worker that is about to end may hold the last reference for a moment.
    let mut left = std::mem::MaybeUninit::uninit();
    ok(call!(watm_drain(20_000, Some(&mut left))));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while seen.freed.load(Ordering::SeqCst) == 0 {
        assert!(std::time::Instant::now() < deadline, "it is not freed");
        std::thread::yield_now();
    }
    assert_eq!(seen.freed.load(Ordering::SeqCst), 1);
}

#[test]
fn a_hook_is_freed_at_once_if_it_cannot_be_set() {
    let seen = Seen::default();
    let outcome = call!(watm_settings_dial_hook(
        None,
        Some(connect),
        seen.user(),
        Some(free)
    ));
    fails(outcome, watm_status::Argument, "argument");
    let outcome = call!(watm_settings_resolver(
        None,
        Some(resolve),
        seen.user(),
        Some(free)
    ));
    fails(outcome, watm_status::Argument, "argument");
    let outcome = call!(watm_settings_prepare(
        None,
        Some(prepare),
        seen.user(),
        Some(free)
    ));
    fails(outcome, watm_status::Argument, "argument");
    let settings = new_settings();
    let outcome = call!(watm_settings_observer(
        Some(&settings),
        None,
        seen.user(),
        Some(free)
    ));
    fails(outcome, watm_status::Argument, "argument");
    let outcome = call!(watm_log(None, WATM_LOG_INFO, seen.user(), Some(free)));
    fails(outcome, watm_status::Argument, "argument");
    assert_eq!(seen.freed.load(Ordering::SeqCst), 5);
}

#[test]
fn what_a_dial_hook_returns_is_the_result_of_the_dial() {
    for (answer, says) in [
        (-libc::ECONNREFUSED, "refused"),
        (c_int::MAX, "not an open socket"),
        (c_int::MIN, "which is no error"),
    ] {
        let seen = Seen {
            answer,
            ..Seen::default()
        };
        let settings = new_settings();
        let some = Some(&*settings);
        ok(call!(watm_settings_dial_hook(
            some,
            Some(connect),
            seen.user(),
            None
        )));
        let outcome = dial(&settings, None);
        assert!(outcome.message.contains(says), "{outcome:?}");
        fails(outcome, watm_status::Connect, "connect");
    }
    let seen = Seen {
        answer: WATM_DIAL_CONNECT,
        ..Seen::default()
    };
    let settings = new_settings();
    let some = Some(&*settings);
    ok(call!(watm_settings_dial_hook(
        some,
        Some(connect),
        seen.user(),
        None
    )));
    ok(dial(&settings, None));
    assert_eq!(seen.calls().len(), 1);
}

#[test]
fn a_panic_in_a_dial_hook_fails_that_dial_alone() {
    let settings = new_settings();
    let some = Some(&*settings);
    ok(call!(watm_settings_dial_hook(
        some,
        Some(panic_in_dial),
        no_data(),
        None
    )));
    let outcome = dial(&settings, None);
    assert!(
        !matches!(outcome.status, watm_status::Ok | watm_status::Again),
        "{outcome:?}"
    );
    ok(dial(&new_settings(), None));
}

#[test]
fn a_socket_is_prepared_before_it_connects() {
    let seen = Seen::default();
    let settings = new_settings();
    let some = Some(&*settings);
    ok(call!(watm_settings_prepare(
        some,
        Some(prepare),
        seen.user(),
        None
    )));
    ok(dial(&settings, None));
    assert!(
        seen.calls()[0].starts_with("prepare 127.0.0.1:"),
        "{:?}",
        seen.calls()
    );
    let refusing = Seen {
        answer: -libc::EPERM,
        ..Seen::default()
    };
    ok(call!(watm_settings_prepare(
        some,
        Some(prepare),
        refusing.user(),
        None
    )));
    fails(dial(&settings, None), watm_status::Connect, "connect");
}

#[test]
fn a_resolver_finds_names_that_the_system_does_not_know() {
    let seen = Seen::default();
    let settings = new_settings();
    let some = Some(&*settings);
    ok(call!(watm_settings_resolver(
        some,
        Some(resolve),
        seen.user(),
        None
    )));
    ok(dial(&settings, Some("nowhere.invalid")));
    assert!(
        seen.calls()[0].starts_with("nowhere.invalid "),
        "{:?}",
        seen.calls()
    );
    let failing = Seen {
        answer: -libc::EAGAIN,
        ..Seen::default()
    };
    ok(call!(watm_settings_resolver(
        some,
        Some(resolve),
        failing.user(),
        None
    )));
    fails(
        dial(&settings, Some("nowhere.invalid")),
        watm_status::Connect,
        "resolve",
    );
}

unsafe extern "C-unwind" fn line(
    user: *mut c_void,
    level: u32,
    target: *const c_char,
    message: *const c_char,
) {
    // SAFETY: the test gives what lives as long as the process.
    let seen = unsafe { seen(user) };
    seen.add(format!("{level} {}: {}", text(target), text(message)));
    // A message about this would lead here again.
    let mut none = std::ptr::null_mut();
    drop(call!(watm_module_load_bytes(no_data(), 1, Some(&mut none))));
    panic!("the application's own defect");
}

#[test]
fn the_log_has_one_callback_whose_panics_stay_its_own() {
    let seen: &Seen = Box::leak(Box::default());
    ok(call!(watm_log(
        Some(line),
        WATM_LOG_INFO,
        seen.user(),
        Some(free)
    )));
    let _module = module("reverse");
    let compiled = |line: &String| line.starts_with("3 watm_wasmer") && line.contains("compiled");
    assert!(seen.calls().iter().any(compiled), "{:?}", seen.calls());
    assert_eq!(seen.freed.load(Ordering::SeqCst), 0);
    let again = call!(watm_log(Some(line), WATM_LOG_INFO, seen.user(), Some(free)));
    fails(again, watm_status::Config, "log");
    assert_eq!(seen.freed.load(Ordering::SeqCst), 1);
    ok(call!(watm_log_level(WATM_LOG_OFF)));
}
