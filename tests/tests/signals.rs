//! SIGUSR1, which interrupts guests and may be the application's as well, and the standard streams
//! of the process: each test is a process of its own.

use std::io::Write;
use std::process::{Command, Stdio};

use watm_tests::{SHORT, within};

#[track_caller]
fn play(scenario: &'static str) {
    let output = within(SHORT, move || {
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
fn a_handler_that_the_application_had_before_still_works() {
    play("a handler from before");
}

#[test]
fn a_handler_that_the_application_installs_later_works_and_so_do_interrupts() {
    play("a handler from after");
}

#[test]
fn a_handler_that_the_application_replaces_is_the_new_one() {
    play("a handler that was replaced");
}

#[test]
fn a_handler_that_asks_for_details_gets_them() {
    play("a handler that wants to know more");
}

#[test]
fn an_application_that_ignores_the_signal_goes_on_ignoring_it() {
    play("an application that ignores it");
}

#[test]
fn a_stray_signal_before_any_interrupt_is_ignored() {
    play("stray signals before any interrupt");
}

#[test]
fn a_stray_signal_after_an_interrupt_is_ignored() {
    play("stray signals after an interrupt");
}

#[test]
fn stray_signals_under_load_disturb_no_byte() {
    play("stray signals under load");
}

#[test]
fn a_stray_signal_to_a_worker_interrupts_nobody() {
    play("stray signals to a worker that computes");
}

#[test]
fn other_signals_go_to_the_application_s_threads() {
    play("other signals");
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
