//! Contract, section 2: the meaning of the numbers that guests return and get.

use watm_tests::{
    FullBacklog, Logs, Pair, ReservedPort, built, copy_as, eventually, expect_end, expect_reset,
    listener, read_numbers, wat, with_worker,
};
use watm_wasmer::{
    AddressPolicy, Conn, DialError, Dialer, Errno, FixedDialer, GuestError, Listener, Outcome,
    Relay, TransportError,
};

fn dial_choosing(choice: &str) -> Result<Conn, DialError> {
    let (listener, address) = listener();
    let dialer = Dialer::builder(&built("err_positive")).config(choice);
    let result = dialer.build().expect("a dialer").dial(&address);
    drop(listener);
    result
}

#[track_caller]
fn failed(error: DialError) -> (&'static str, GuestError) {
    match error {
        DialError::Transport(TransportError::Failed { function, error }) => (function, error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_negated_errno_is_that_error() {
    let error = dial_choosing("refused").expect_err("it returns -14");
    let io: std::io::Error = dial_choosing("refused").expect_err("again").into();
    assert_eq!(io.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(
        failed(error),
        ("watm_dial_v1", GuestError::Errno(Errno::Connrefused))
    );
}

#[test]
fn a_positive_errno_of_a_function_that_returns_errno_is_that_error() {
    let expected = GuestError::Errno(Errno::Inval);
    let error = dial_choosing("init").expect_err("it returns 28");
    assert_eq!(failed(error), ("watm_init_v1", expected));
    let error = dial_choosing("ctrlpipe").expect_err("it returns 28");
    assert_eq!(failed(error), ("watm_ctrlpipe_v1", expected));
    match dial_choosing("start").expect("a connection").close() {
        Err(TransportError::Failed { function, error }) => {
            assert_eq!(
                (function, error),
                ("watm_start_v1", GuestError::Errno(Errno::Io))
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_positive_errno_of_associate_refuses_the_connection() {
    let relay = Relay::builder(&built("err_positive")).config(*b"associate");
    let relay = relay
        .remote(ReservedPort::new().address())
        .bind("127.0.0.1:0");
    let relay = relay.expect("a relay").spawn().expect("a thread");
    let client = watm_tests::connect(relay.local_addr());
    expect_reset(&client);
    eventually("the connection is counted", || relay.stats().refused == 1);
}

#[test]
fn an_unknown_number_is_an_error_that_carries_it() {
    let conn = dial_choosing("unknown").expect("a connection");
    let error = conn.close().expect_err("it returns -9999");
    match &error {
        TransportError::Failed { error, .. } => assert_eq!(*error, GuestError::Unknown(-9999)),
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains("-9999"), "{error}");
}

#[test]
fn extreme_numbers_are_errors_too() {
    for number in [i32::MIN, i32::MAX, -77, 77, 65_536 + 14, -65_536 - 14] {
        let pair = Pair::dial(&with_worker(&format!("(i32.const {number})")));
        match pair.conn.close().expect_err("not 0") {
            TransportError::Failed { error, .. } => assert_eq!(error, GuestError::Unknown(number)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn zero_alone_is_success() {
    let conn = dial_choosing("done").expect("a connection");
    expect_end(&conn);
    assert_eq!(conn.close().expect("it returns 0"), Outcome::Completed);
}

#[test]
fn ecanceled_after_the_control_pipe_was_used_is_a_clean_end() {
    let pair = Pair::dial(&wat("control_echo"));
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Cancelled);
}

#[test]
fn ecanceled_without_the_control_pipe_is_an_error() {
    let pair = Pair::dial(&with_worker("(i32.const -11)"));
    eventually("it has ended", || pair.conn.outcome().is_some());
    match pair.conn.close().expect_err("nobody cancelled") {
        TransportError::Failed { error, .. } => {
            assert_eq!(error, GuestError::Errno(Errno::Canceled));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_number_that_is_no_connection_of_the_host_is_an_error_that_names_it() {
    for (choice, number) in [
        ("badfd", Some(77)),
        ("badfd0", Some(0)),
        ("badfd-internal", None),
    ] {
        match dial_choosing(choice).expect_err("no connection") {
            DialError::Transport(TransportError::BadDescriptor { function, fd }) => {
                assert_eq!(function, "watm_dial_v1");
                assert!(number.is_none_or(|number| number == fd), "{choice}: {fd}");
            }
            other => panic!("{choice}: {other:?}"),
        }
    }
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&wat("ret_wrong_fd"))
        .build()
        .expect("a dialer");
    let error = dialer.dial(&address).expect_err("no connection");
    assert!(matches!(
        error,
        DialError::Transport(TransportError::BadDescriptor { fd: 12345, .. })
    ));
}

#[test]
fn a_connection_that_the_guest_has_closed_already_is_no_result() {
    let text = watm_tests::wat_text("close_twice").replace(
        "(global.set $net (call $dial_fixed))\n    (global.get $net)",
        "(global.set $net (call $dial_fixed))
         (drop (call $close (global.get $net)))
         (global.get $net)",
    );
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&watm_tests::text(&text))
        .build()
        .expect("a dialer");
    let error = dialer.dial(&address).expect_err("it is closed");
    assert!(matches!(
        error,
        DialError::Transport(TransportError::BadDescriptor { .. })
    ));
}

/// Has a guest dial every line, "network address", and returns what it logs about each.
#[track_caller]
fn dial_all(alias: &str, policy: AddressPolicy, lines: &[String]) -> Vec<String> {
    let logs = Logs::of_module(alias);
    let dialer = FixedDialer::builder(&copy_as("dialmany", alias))
        .policy(policy)
        .config(lines.join("\n"))
        .connect_timeout(std::time::Duration::from_secs(1));
    // This is an error if no line worked.
    let conn = dialer.build().expect("a fixed dialer").dial();
    let found = logs.all_after("dial ", lines.len());
    drop(conn);
    found
}

#[test]
fn a_guest_is_told_wasi_numbers_of_what_failed() {
    let (_listener, reachable) = listener();
    let refusing = ReservedPort::new();
    let silent = FullBacklog::new();
    let port = reachable.rsplit_once(':').expect("a port").1;
    let longest = format!(
        "127.0.0.1:{port:0>width$}",
        width = 256 - "127.0.0.1:".len()
    );
    let policy = AddressPolicy::allow_all().deny("127.0.0.2".parse().expect("an entry"));
    let cases = [
        (format!("tcp {}", refusing.address()), Errno::Connrefused),
        (format!("tcp {}", silent.address()), Errno::Timedout),
        (format!("tcp 127.0.0.2:{port}"), Errno::Notcapable),
        (format!("udp {reachable}"), Errno::Protonosupport),
        (format!("TCP {reachable}"), Errno::Protonosupport),
        ("tcp 127.0.0.1".to_owned(), Errno::Inval),
        ("tcp 127.0.0.1:http".to_owned(), Errno::Inval),
        (format!("tcp {longest}0"), Errno::Inval),
        (format!("tcp {longest}"), Errno::Success),
        (format!("tcp4 {reachable}"), Errno::Success),
        (format!("tcp {reachable}"), Errno::Success),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, _)| line.clone()).collect();
    let found = dial_all("told_numbers", policy, &lines);
    for ((line, errno), found) in cases.iter().zip(found) {
        match errno {
            Errno::Success => assert!(found.contains("-> fd "), "{line}: {found}"),
            errno => {
                let end = format!("-> errno {}", errno.raw());
                assert!(found.ends_with(&end), "{line}: {found}, expected {errno}");
            }
        }
    }
}

#[test]
fn a_forbidden_address_is_forbidden_however_it_is_spelled() {
    let (listener, reachable) = listener();
    let port = reachable.rsplit_once(':').expect("a port").1;
    let entry = |text: &str| text.parse().expect("an entry");
    let policy = AddressPolicy::allow_all()
        .deny(entry("127.0.0.0/8"))
        .deny(entry("::1"));
    let spellings = [
        "127.0.0.1",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127.0.0.1%0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "ip6-localhost",
        "0",
        "0.0.0.0",
        "0x0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:0.0.0.0]",
        "[::127.0.0.1]",
        "[::1%lo]",
        "[::1%1]",
        "127.0.0.1\u{2002}",
        " 127.0.0.1",
        "\u{ff11}27.0.0.1",
    ];
    let lines: Vec<_> = spellings
        .iter()
        .map(|host| format!("tcp {host}:{port}"))
        .collect();
    let found = dial_all("spelled_somehow", policy, &lines);
    for (line, found) in lines.iter().zip(&found) {
        assert!(found.contains("-> errno "), "{line}: {found}");
    }
    // Nobody has connected.
    listener.set_nonblocking(true).expect("a mode");
    let error = listener.accept().expect_err("nobody comes");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn the_numbers_are_those_of_wasi() {
    let numbers = [
        (Errno::Again, 6),
        (Errno::Badf, 8),
        (Errno::Busy, 10),
        (Errno::Canceled, 11),
        (Errno::Connrefused, 14),
        (Errno::Inval, 28),
        (Errno::Io, 29),
        (Errno::Mfile, 33),
        (Errno::Nodev, 43),
        (Errno::Nosys, 52),
        (Errno::Notconn, 53),
        (Errno::Perm, 63),
        (Errno::Proto, 65),
        (Errno::Timedout, 73),
        (Errno::Notcapable, 76),
    ];
    for (errno, number) in numbers {
        assert_eq!(errno.raw(), number, "{errno}");
    }
}

#[test]
fn the_functions_of_the_other_role_say_that_there_is_no_device() {
    let module = with_worker(
        "(call $put (call $water_accept))
         (call $put (call $water_dial_fixed))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let nodev = -i32::from(Errno::Nodev.raw());
    // A dialer has no listener, and may dial once more.
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&module).build().expect("a dialer");
    let found = read_numbers(&dialer.dial(&address).expect("a connection"));
    assert_eq!(found[0], nodev);
    assert!(found[1] > 2, "{found:?}");
    // A listener has no address to dial, and may accept only one connection.
    let found = read_numbers(&Pair::accepted(Listener::builder(&module)).conn);
    assert_eq!(found, [nodev, nodev]);
}

#[test]
fn a_role_function_that_does_not_dial_at_all_needs_no_connection() {
    // The guest fails with its own error, and the host made no connection for it.
    let (listener, _) = listener();
    listener.set_nonblocking(true).expect("a mode");
    let address = listener.local_addr().expect("an address").to_string();
    let dialer = Dialer::builder(&built("err_positive")).config(*b"refused");
    dialer
        .build()
        .expect("a dialer")
        .dial(&address)
        .expect_err("it returns -14");
    watm_tests::assert_would_block(listener.accept());
}
