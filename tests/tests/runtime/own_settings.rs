//! Own settings: what a single dial has in place of what its dialer has.

use std::io::{Read, Write};
use std::time::Duration;

use watm_tests::{
    EchoServer, FullBacklog, SHORT, accept_one, built, echo_messages, listener, read_vec,
};
use watm_wasmer::{AddressPolicy, DialError, DialOptions, Dialer, FixedDialer, Outcome, Settings};

fn own(settings: &Settings) -> DialOptions {
    DialOptions::new().settings(settings)
}

#[test]
fn each_dial_has_its_own_arguments_and_environment_and_the_next_has_those_of_the_dialer() {
    let (accepting, address) = listener();
    let builder = Dialer::builder(&built("args")).arg("common");
    let dialer = builder.build().expect("a dialer");
    let with = Settings::new().arg("own").env("USER", "anna");
    let lines_of = |options| {
        let conn = dialer.dial_with(&*address, options).expect("a connection");
        let _peer = accept_one(&accepting);
        let mut text = String::new();
        (&conn).read_to_string(&mut text).expect("lines");
        text
    };
    let own = lines_of(own(&with));
    assert!(
        own.contains("argc 2\narg 0 args\narg 1 own\nenv USER=anna\n"),
        "{own}"
    );
    let common = lines_of(DialOptions::new());
    assert!(
        common.contains("argc 2\narg 0 args\narg 1 common\nstdin 0\n"),
        "{common}"
    );
}

#[test]
fn a_configuration_for_the_dial_stands_above_that_of_its_settings() {
    let (accepting, address) = listener();
    let builder = Dialer::builder(&built("xor")).config("aaaa");
    let dialer = builder.spare_instances(2).build().expect("a dialer");
    let settings = Settings::new().config("bbbb");
    let cases = [
        (DialOptions::new(), b"aaaa"),
        (own(&settings), b"bbbb"),
        (own(&settings).config("cccc"), b"cccc"),
    ];
    for (options, key) in cases {
        let conn = dialer.dial_with(&*address, options).expect("a connection");
        let peer = accept_one(&accepting);
        (&conn).write_all(&[0; 4]).expect("it writes");
        assert_eq!(&read_vec(&peer, 4)[..], key);
    }
}

#[test]
fn a_policy_for_the_dial_allows_what_the_dialer_does_not() {
    let server = EchoServer::start();
    let address = server.address();
    let config = format!("tcp {address}");
    let dialer = FixedDialer::builder(&built("fixed")).config(&*config);
    let dialer = dialer.build().expect("a dialer");
    let denied = dialer.dial().expect_err("there is no policy");
    assert_eq!(denied.code(), "denied");
    let policy = AddressPolicy::deny_all().allow(address.parse().expect("an entry"));
    let settings = Settings::new().policy(policy).config(&*config);
    let conn = dialer.dial_with(own(&settings)).expect("it is allowed");
    echo_messages(&conn);
    dialer.dial().expect_err("there still is no policy");
}

#[test]
fn times_of_the_dial_hold_for_it() {
    let silent = FullBacklog::new();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let soon = Settings::new().connect_timeout(Duration::from_millis(100));
    match dialer.dial_with(silent.address(), own(&soon)) {
        Err(DialError::Connect { source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
        }
        other => panic!("{other:?}"),
    }
    // The time for a close, too: this guest ignores the control pipe.
    let (_accepting, address) = listener();
    let dialer = Dialer::builder(&built("ctrl_ignore")).build();
    let soon = Settings::new().close_grace(Duration::from_millis(100));
    let conn = dialer.expect("a dialer").dial_with(&*address, own(&soon));
    let (sent, closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || sent.send(conn.expect("a connection").close()));
    let closed = closed.recv_timeout(SHORT).expect("within its own grace");
    assert!(!matches!(closed, Ok(Outcome::Completed)), "{closed:?}");
}

#[test]
fn settings_that_cannot_be_used_fail_the_dial_alone() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let no_memory = Settings::new().memory_limit(1);
    let error = dialer.dial_with(server.address(), own(&no_memory));
    let error = error.expect_err("it cannot be used");
    assert!(matches!(error, DialError::Config(_)), "{error:?}");
    assert_eq!(error.code(), "invalid");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("memory_limit"), "{error}");
    echo_messages(&dialer.dial(server.address()).expect("a connection"));
}
