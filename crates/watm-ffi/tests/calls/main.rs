//! The functions as C calls them: bad arguments, errors, callbacks, threads.

mod arguments;
mod callbacks;
mod config;
mod connections;
mod modules;
mod observer;
mod outgoing;
mod replace;

use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};

use watm::*;

/// What a call has told.
#[derive(Debug)]
struct Outcome {
    status: watm_status,
    code: String,
    errno: i32,
    message: String,
}

/// Calls a function with a place for its error.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        let mut error = std::ptr::null_mut();
        // Some functions are unsafe, since they follow pointers: each test has made its own.
        #[allow(unused_unsafe)]
        // SAFETY: the arguments are null, or point to what the test holds.
        let status = unsafe { watm::$name($($argument,)* Some(&mut error)) };
        crate::outcome(status, error)
    }};
}
pub(crate) use call;

/// Calls a function that makes a handle, which has to work.
macro_rules! made {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        let mut handle = std::ptr::null_mut();
        let outcome = crate::call!($name($($argument,)* Some(&mut handle)));
        assert_eq!(outcome.status, watm_status::Ok, "{outcome:?}");
        // SAFETY: the call has just made it, and left it here alone.
        unsafe { Box::from_raw(handle) }
    }};
}
pub(crate) use made;

fn outcome(status: watm_status, error: *mut watm_error) -> Outcome {
    // SAFETY: null, or the error that the call has just made.
    let error = (!error.is_null()).then(|| unsafe { Box::from_raw(error) });
    let is_failure = !matches!(status, watm_status::Ok | watm_status::Again);
    assert_eq!(error.is_some(), is_failure, "{status:?}");
    assert_eq!(
        watm_error_status(error.as_deref()),
        match status {
            watm_status::Again => watm_status::Ok,
            status => status,
        }
    );
    let outcome = Outcome {
        status,
        code: text(watm_error_code(error.as_deref())),
        errno: watm_error_errno(error.as_deref()),
        message: text(watm_error_message(error.as_deref())),
    };
    assert_eq!(outcome.errno != 0, is_failure, "{outcome:?}");
    watm_error_free(error);
    outcome
}

fn text(text: *const c_char) -> String {
    // SAFETY: the library returned it, and its handle lives.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().expect("it is UTF-8").to_owned()
}

fn guest(name: &str) -> CString {
    let path = format!(
        "{}/../../tests/guests/built/{name}.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    CString::new(path).expect("no zero byte")
}

fn module(name: &str) -> Box<watm_module> {
    made!(watm_module_load_file(guest(name).as_ptr()))
}

fn new_settings() -> Box<watm_settings> {
    // SAFETY: it was just made.
    unsafe { Box::from_raw(watm_settings_new()) }
}

fn new_options() -> Box<watm_dial_options> {
    // SAFETY: it was just made.
    unsafe { Box::from_raw(watm_dial_options_new()) }
}

#[track_caller]
fn ok(outcome: Outcome) {
    assert_eq!(outcome.status, watm_status::Ok, "{outcome:?}");
}

#[track_caller]
fn fails(outcome: Outcome, status: watm_status, code: &str) {
    assert_eq!(
        (outcome.status, outcome.code.as_str()),
        (status, code),
        "{outcome:?}"
    );
    assert!(!outcome.message.is_empty());
}

/// Gives the module the key that `xor` needs.
fn with_key() -> Box<watm_settings> {
    let settings = new_settings();
    let key = b"a key of the test";
    let (data, length) = (key.as_ptr().cast(), key.len());
    ok(call!(watm_settings_config(Some(&settings), data, length)));
    settings
}

fn local_addr(listener: &watm_listener) -> CString {
    CString::new(text(watm_listener_local_addr(Some(listener)))).expect("no zero byte")
}

fn listen(module: &watm_module, settings: Option<&watm_settings>) -> Box<watm_listener> {
    made!(watm_listener_bind(
        Some(module),
        settings,
        c"127.0.0.1:0".as_ptr()
    ))
}

fn send(conn: &watm_conn, bytes: &[u8]) {
    let (data, length) = (bytes.as_ptr().cast(), bytes.len());
    ok(call!(watm_conn_write_all(Some(conn), data, length, None)));
}

/// Reads that many bytes.
fn receive(conn: &watm_conn, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut at = 0;
    while at < size {
        let mut length = std::mem::MaybeUninit::uninit();
        let rest = &mut bytes[at..];
        let (to, size) = (rest.as_mut_ptr().cast(), rest.len());
        ok(call!(watm_conn_read(
            Some(conn),
            to,
            size,
            Some(&mut length)
        )));
        // SAFETY: the call has written it.
        let length = unsafe { length.assume_init() };
        assert_ne!(length, 0, "the other side has closed");
        at += length;
    }
    bytes
}

/// Writes, and reads back what an echo returns.
fn exchange(conn: &watm_conn, bytes: &[u8]) {
    send(conn, bytes);
    assert_eq!(receive(conn, bytes.len()), bytes);
}

/// Sends back what comes over one connection, until its end.
fn echo(listener: &watm_listener) {
    let conn = made!(watm_listener_accept(Some(listener)));
    let mut bytes = [0_u8; 4096];
    loop {
        let mut length = std::mem::MaybeUninit::uninit();
        let (to, size) = (bytes.as_mut_ptr().cast(), bytes.len());
        ok(call!(watm_conn_read(
            Some(&conn),
            to,
            size,
            Some(&mut length)
        )));
        // SAFETY: the call has written it.
        let length = unsafe { length.assume_init() };
        if length == 0 {
            break;
        }
        ok(call!(watm_conn_write_all(
            Some(&conn),
            bytes.as_ptr().cast(),
            length,
            None
        )));
    }
    watm_conn_free(Some(conn));
}

#[test]
fn what_has_no_handle_is_freed_and_asked_without_harm() {
    watm_error_free(None);
    watm_loader_free(None);
    watm_module_free(None);
    watm_settings_free(None);
    watm_dial_options_free(None);
    watm_cancel_token_free(None);
    watm_cancel_token_cancel(None);
    watm_dialer_free(None);
    watm_fixed_dialer_free(None);
    watm_pending_free(None);
    watm_conn_free(None);
    watm_conn_abort(None);
    watm_carried_free(None);
    watm_config_free(None);
    watm_connections_free(None);
    watm_carried_abort(None);
    watm_listener_free(None);
    watm_listener_close(None);
    watm_listener_stop_accepting(None);
    watm_listener_shutdown(None);
    watm_acceptor_free(None);
    watm_server_free(None);
    watm_server_stop_accepting(None);
    watm_server_shutdown(None);
    assert!(!watm_cancel_token_is_cancelled(None));
    assert_eq!(watm_module_roles(None), 0);
    assert_eq!(watm_module_size(None), 0);
    assert!(!watm_module_wants_host_aead(None));
    assert_eq!(watm_error_errno(None), 0);
    assert_eq!(watm_connections_count(None), 0);
    assert!(watm_connections_at(None, 0).is_null());
    assert_eq!(watm_config_tunnel_count(None), 0);
    assert_eq!(watm_config_tunnel_role(None, 0), 0);
    for empty in [
        watm_error_code(None),
        watm_error_message(None),
        watm_module_name(None),
        watm_module_sha256(None),
        watm_listener_local_addr(None),
        watm_server_local_addr(None),
        watm_dial_attempt_address(None),
        watm_dial_attempt_network(None),
    ] {
        assert_eq!(text(empty), "");
    }
    for none in [
        watm_module_signature_key(None),
        watm_module_signature_comment(None),
        watm_conn_local_addr(None),
        watm_conn_peer_addr(None),
        watm_config_warning(None, 0),
        watm_config_tunnel_name(None, 0),
        watm_config_tunnel_remote(None, 0),
        watm_listener_local_addr_at(None, 0),
        watm_server_local_addr_at(None, 0),
        watm_carried_local_addr(None),
        watm_carried_peer_addr(None),
    ] {
        assert!(none.is_null());
    }
    assert_eq!(watm_dial_attempt_deadline(None), 0);
    assert!(watm_dial_attempt_is_cancelled(None));
    assert!(!watm_dial_attempt_is_chosen_by_module(None));
    assert_eq!(text(watm_version()), env!("CARGO_PKG_VERSION"));
}

/// The pointers that tests pass most often.
fn no_text() -> *const c_char {
    null()
}

fn no_data() -> *mut std::ffi::c_void {
    null_mut()
}
