//! Makes each system call of a worker fail once, at each of its calls in turn. The connection must
//! then carry all of its bytes, or end with an error that says why. A library that is preloaded
//! into a separate program injects the faults (`src/injector`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use watm_tests::{LONG, within};

/// Maximum number of calls to try. After a few dozen, every kind of call site has been hit.
const MOST_CALLS: u32 = 40;

fn injector() -> &'static Path {
    static INJECTOR: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = INJECTOR.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let library = directory.path().join("injector.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/injector/injector.c");
        let built = Command::new("cc")
            .args(["-O1", "-Wall", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status();
        assert!(built.expect("a C compiler").success());
        (directory, library)
    });
    library
}

/// How the program ended with this fault, and whether the fault was hit.
#[track_caller]
fn converse(module: &[&str], call: &str, at: u32, error: i32) -> (String, bool) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_one_conversation"));
    program
        .args(module)
        .env("LD_PRELOAD", injector())
        .env("INJECT_CALL", call)
        .env("INJECT_AT", at.to_string())
        .env("INJECT_ERROR", error.to_string());
    let output = within(LONG, move || program.output().expect("the program"));
    let (said, told) = (
        String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(
        output.status.success(),
        "{module:?}, {call} number {at} with error {error}: {}: {said}\n{told}",
        output.status
    );
    (said, told.contains("injected"))
}

/// Makes each call of each function fail in turn with its error, until there are no more calls.
/// Passes each result to `expect`.
#[track_caller]
fn for_each_call(faults: &[(&str, i32)], expect: impl Fn(&str) -> bool) {
    for &(call, error) in faults {
        for module in [
            &["plain16k"][..],
            &["halfclose"],
            &["plain16k", "carried"],
            &["halfclose", "carried"],
        ] {
            if call == "shutdown" && module == ["halfclose", "carried"] {
                // The peer waits for the end, the module for the peer, and nobody closes.
                continue;
            }
            let met = fail_each(module, call, error, &expect);
            assert!(met > 0, "{module:?} never called {call}");
        }
    }
}

/// Returns the number of calls that failed.
#[track_caller]
fn fail_each(module: &[&str], call: &str, error: i32, expect: impl Fn(&str) -> bool) -> u32 {
    for at in 1..=MOST_CALLS {
        let (end, injected) = converse(module, call, at, error);
        if !injected {
            assert!(end.starts_with("whole: Ok"), "{end}");
            return at - 1;
        }
        assert!(
            expect(&end),
            "{module:?}, {call} number {at} with error {error}: {end}"
        );
    }
    MOST_CALLS
}

fn is_whole(end: &str) -> bool {
    end.starts_with("whole: Ok")
}

fn is_whole_or_an_error(end: &str) -> bool {
    end.starts_with("whole: ") || end.starts_with("cut: ") || end.starts_with("dial: ")
}

#[test]
fn short_calls_and_signals_lose_nothing() {
    for_each_call(
        &[
            ("send", 0),
            ("recv", libc::EINTR),
            ("send", libc::EINTR),
            ("epoll_wait", libc::EINTR),
        ],
        is_whole,
    );
}

#[test]
fn a_socket_that_fails_at_any_call_is_an_error_and_never_a_loss_without_a_word() {
    for_each_call(
        &[
            ("recv", libc::ECONNRESET),
            ("recv", libc::ETIMEDOUT),
            ("recv", libc::ENOMEM),
            ("send", libc::ECONNRESET),
            ("send", libc::EPIPE),
            ("send", libc::ENOBUFS),
        ],
        is_whole_or_an_error,
    );
}

#[test]
fn a_shortage_while_a_connection_is_set_up_fails_that_dial() {
    for_each_call(
        &[
            ("socket", libc::EMFILE),
            ("socket", libc::ENOBUFS),
            ("connect", libc::ECONNREFUSED),
            ("connect", libc::ENETUNREACH),
            ("connect", libc::EADDRNOTAVAIL),
            ("epoll_create1", libc::EMFILE),
            ("epoll_ctl", libc::ENOMEM),
            ("epoll_ctl", libc::ENOSPC),
        ],
        is_whole_or_an_error,
    );
}

#[test]
fn options_that_a_socket_does_not_have_and_shutdowns_that_fail_harm_nothing() {
    for_each_call(
        &[
            ("setsockopt", libc::ENOPROTOOPT),
            ("shutdown", libc::ENOTCONN),
        ],
        is_whole,
    );
}
