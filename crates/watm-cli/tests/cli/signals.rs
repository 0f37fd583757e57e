//! SIGINT and SIGTERM: cleanly at the first, at once at the second.

use std::io::Read;

use crate::peers::{Server, connect, round_trip};
use crate::process::{Watm, built, wat};

#[test]
fn every_command_that_listens_ends_cleanly() {
    let server = Server::echo();
    let (plain, remote) = (built("plain"), &server.address);
    let listen = ["--listen", "127.0.0.1:0"];
    for signal in [libc::SIGINT, libc::SIGTERM] {
        for args in [
            &["dial", "--module", &plain, "--remote", remote][..],
            &["dial-fixed", "--module", &plain, "--allow", remote],
            &["listen", "--module", &plain, "--forward", remote],
            &["listen", "--module", &plain],
            &["relay", "--module", &plain, "--remote", remote],
        ] {
            let args = [args, &listen].concat();
            let (mut watm, _) = Watm::listening(&args);
            watm.signal(signal);
            let ended = watm.end();
            ended.success();
            assert_eq!(ended.stdout, "", "nothing after the first line");
        }
    }
}

#[test]
fn open_connections_are_ended() {
    let server = Server::echo();
    let (mut watm, entrance) = Watm::listening(&[
        "dial",
        "--module",
        &built("plain"),
        "--remote",
        &server.address,
        "--listen",
        "127.0.0.1:0",
    ]);
    let client = connect(&entrance);
    round_trip(&client, b"hello");
    watm.signal(libc::SIGTERM);
    watm.end().success();
    // Cut off, which is no end of stream.
    let reset = (&client).read(&mut [0]).expect_err("a reset");
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_module_that_does_not_cooperate_holds_the_end_up_no_longer_than_the_grace_period() {
    let server = Server::echo();
    let (mut watm, entrance) = Watm::listening(&[
        "dial",
        "--module",
        &wat("loop_start_worker"),
        "--remote",
        &server.address,
        "--listen",
        "127.0.0.1:0",
        "--close-grace",
        "200ms",
        "-vv",
    ]);
    let _client = connect(&entrance);
    watm.await_log("dialled");
    watm.signal(libc::SIGTERM);
    let ended = watm.end();
    ended.success();
    assert!(!ended.stderr.contains("did not end in time"), "{ended:?}");
}

#[test]
fn a_second_signal_ends_the_command_at_once() {
    let server = Server::echo();
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let (mut watm, entrance) = Watm::listening(&[
            "dial",
            "--module",
            &wat("loop_start_worker"),
            "--remote",
            &server.address,
            "--listen",
            "127.0.0.1:0",
            "--close-grace",
            "1h",
            "-vv",
        ]);
        let _client = connect(&entrance);
        watm.await_log("dialled");
        watm.signal(libc::SIGTERM);
        watm.await_log("SIGTERM: ending");
        watm.signal(signal);
        assert_eq!(watm.end().code, Some(code));
    }
}

#[test]
fn a_conversation_that_is_cut_short_is_a_failure() {
    let server = Server::echo();
    let mut watm = Watm::start(&[
        "dial",
        "--module",
        &built("halfclose"),
        "--remote",
        &server.address,
    ]);
    watm.write(b"hello");
    assert_eq!(watm.stdout_bytes(5), b"hello");
    watm.signal(libc::SIGINT);
    watm.end()
        .failure(&["SIGINT", "before the transfer was complete"]);
}

#[test]
fn a_dial_that_hangs_does_not_hold_the_end_up() {
    // Takes the connection and never answers the handshake.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = silent.local_addr().expect("an address").to_string();
    let module = built("handshake");
    let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &address, "-v"]);
    watm.await_log("hello sent");
    watm.signal(libc::SIGTERM);
    watm.end().failure(&["before the transport was set up"]);

    let (mut watm, entrance) = Watm::listening(&[
        "dial",
        "--module",
        &module,
        "--remote",
        &address,
        "--listen",
        "127.0.0.1:0",
        "-v",
    ]);
    let _client = connect(&entrance);
    watm.await_log("hello sent");
    watm.signal(libc::SIGTERM);
    watm.end().success();
}
