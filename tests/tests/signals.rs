//! Signals, which belong to the application, and the standard streams of the process. Each test is
//! a separate process.

use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use watm_tests::{LONG, SHORT, within};

#[track_caller]
fn play(scenario: &'static str) {
    let output = within(LONG, move || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_signals"));
        child
            .arg(scenario)
            .stdin(Stdio::null())
            .output()
            .expect("a process")
    });
    assert!(
        output.status.success(),
        "{scenario}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn what_signals_do_is_left_as_it_was_but_for_those_of_faults() {
    play("dispositions");
}

#[test]
fn signals_go_to_the_application_s_threads() {
    play("handlers");
}

#[test]
fn signals_under_load_disturb_no_byte() {
    play("signals under load");
}

#[test]
fn an_application_that_handled_faults_before_still_does() {
    play("a fault handler from before");
}

#[test]
fn an_application_that_handles_faults_later_does_and_passes_on_those_of_guests() {
    play("a fault handler from after");
}

#[test]
fn a_limit_on_the_size_of_files_ends_nothing() {
    play("a limit on the size of files");
}

#[test]
fn a_guest_can_have_the_standard_streams_of_the_process() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_inherited_streams"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(b"what the user types\n").expect("room");
    drop(input);
    let output = within(SHORT, move || child.wait_with_output().expect("its output"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "what the user types\n"
    );
    assert_eq!(errors, "abc");
}

/// The two ends of a terminal: the user's and the program's.
fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: `openpty` fills in two new descriptors, which nobody else owns.
    unsafe {
        let opened = libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            none,
            none.cast(),
            none.cast(),
        );
        assert_eq!(opened, 0);
        (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    }
}

#[test]
fn inherited_streams_are_terminals_where_they_are() {
    let (_ours, terminal) = terminal();
    let terminal = || Stdio::from(terminal.try_clone().expect("a clone"));
    let file = tempfile::tempfile().expect("a file");
    let file = || Stdio::from(file.try_clone().expect("a clone"));
    for (streams, expected) in [
        ([Stdio::piped(), Stdio::piped(), Stdio::piped()], 0),
        ([Stdio::null(), file(), file()], 0),
        ([terminal(), Stdio::piped(), terminal()], 0b101),
        ([file(), terminal(), Stdio::piped()], 0b010),
    ] {
        let [input, output, error] = streams;
        let mut child = Command::new(env!("CARGO_BIN_EXE_stream_types"))
            .stdin(input)
            .stdout(output)
            .stderr(error)
            .spawn()
            .expect("a process");
        let status = within(SHORT, move || child.wait().expect("its end"));
        assert_eq!(status.code(), Some(expected));
    }
}
