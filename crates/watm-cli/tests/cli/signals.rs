//! SIGINT, SIGTERM and SIGHUP: the first ends the command cleanly, the second at once. A server reads
//! its module again at SIGHUP.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crossbeam_channel::{Receiver, unbounded};

use crate::peers::{Server, connect, round_trip};
use crate::process::{LIMIT, Watm, built, wat};

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
fn a_hang_up_has_a_server_read_its_module_and_configuration_again() {
    let server = Server::echo();
    let directory = tempfile::tempdir().expect("a directory");
    let [module, key] = ["module.wasm", "key"].map(|name| directory.path().join(name));
    let text = |path: &std::path::Path| path.to_str().expect("a path").to_owned();
    std::fs::copy(built("xor"), &module).expect("a copy");
    std::fs::write(&key, "aaaa").expect("it is written");
    let exit_config = directory.path().join("exit");
    std::fs::write(&exit_config, "aaaa").expect("it is written");
    let (mut exit, exit_address) = Watm::listening(&[
        "listen",
        "--module",
        &built("xor"),
        "--config",
        &text(&exit_config),
        "--forward",
        &server.address,
        "--listen",
        "127.0.0.1:0",
        "-v",
    ]);
    let (mut watm, entrance) = Watm::serving(
        "dial",
        &text(&module),
        &["--remote", &exit_address, "--config", &text(&key), "-v"],
    );
    let old = connect(&entrance);
    round_trip(&old, b"with the old key");
    // A module that cannot be used changes nothing.
    std::fs::write(&module, "no module").expect("it is written");
    watm.signal(libc::SIGHUP);
    watm.await_log("SIGHUP: nothing has changed");
    round_trip(&connect(&entrance), b"still with the old key");
    std::fs::copy(built("xor"), &module).expect("a copy");
    for (config, command) in [(&key, &mut watm), (&exit_config, &mut exit)] {
        std::fs::write(config, "bbbb").expect("it is written");
        command.signal(libc::SIGHUP);
        command.await_log("SIGHUP: new connections use the module");
    }
    round_trip(&connect(&entrance), b"with the new key");
    round_trip(&old, b"and the old one goes on");
    for command in [&mut watm, &mut exit] {
        command.signal(libc::SIGTERM);
        command.end();
    }
}

#[test]
fn open_connections_are_ended() {
    let server = Server::echo();
    let (mut watm, entrance) =
        Watm::serving("dial", &built("plain"), &["--remote", &server.address]);
    let client = connect(&entrance);
    round_trip(&client, b"hello");
    watm.signal(libc::SIGTERM);
    watm.end().success();
    // Cut off, which must not look like an end of stream.
    let reset = (&client).read(&mut [0]).expect_err("a reset");
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_module_that_does_not_cooperate_holds_the_end_up_no_longer_than_the_grace_period() {
    let server = Server::echo();
    let (mut watm, entrance) = Watm::serving(
        "dial",
        &wat("loop_start_worker"),
        &["--remote", &server.address, "--close-grace", "200ms", "-vv"],
    );
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
        let (mut watm, entrance) = Watm::serving(
            "dial",
            &wat("loop_start_worker"),
            &["--remote", &server.address, "--close-grace", "1h", "-vv"],
        );
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
fn whoever_hangs_up_is_told_nothing() {
    // As ssh does with its `ProxyCommand` at the end of each session.
    let server = Server::echo();
    let module = built("halfclose");
    let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &server.address]);
    watm.write(b"hello");
    assert_eq!(watm.stdout_bytes(5), b"hello");
    watm.signal(libc::SIGHUP);
    watm.end().silent_failure();
}

#[test]
fn a_dial_that_hangs_does_not_hold_the_end_up() {
    // Accepts the connection and never answers the handshake.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = silent.local_addr().expect("an address").to_string();
    let module = built("handshake");
    let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &address, "-v"]);
    watm.await_log("hello sent");
    watm.signal(libc::SIGTERM);
    watm.end().failure(&["before the transport was set up"]);

    let (mut watm, entrance) = Watm::serving("dial", &module, &["--remote", &address, "-v"]);
    let _client = connect(&entrance);
    watm.await_log("hello sent");
    watm.signal(libc::SIGTERM);
    watm.end().success();
}

#[test]
fn a_hang_up_that_is_ignored_from_the_start_stays_so() {
    let server = Server::echo();
    let (plain, remote) = (built("plain"), &server.address);
    let watm = env!("CARGO_BIN_EXE_watm");
    // As `nohup` does.
    let script = format!(
        "trap '' HUP; exec {watm} dial --module {plain} --remote {remote} --listen 127.0.0.1:0"
    );
    let (mut watm, entrance) = Watm::listening_as("sh", &["-c", &script]);
    watm.signal(libc::SIGHUP);
    round_trip(&connect(&entrance), b"it goes on");
    watm.signal(libc::SIGTERM);
    watm.end().success();
}

/// Kills a command, and checks that both of its sides are reset.
fn killed(args: &[&str], exit: &Receiver<TcpStream>) {
    let args = [args, &["--listen", "127.0.0.1:0"]].concat();
    let (mut watm, entrance) = Watm::listening(&args);
    let client = connect(&entrance);
    (&client).write_all(b"hello").expect("written");
    let server = exit.recv_timeout(LIMIT).expect("the other side");
    server.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let mut hello = [0; 5];
    (&server).read_exact(&mut hello).expect("what was sent");
    (&server).write_all(&hello).expect("written");
    (&client).read_exact(&mut hello).expect("the answer");
    watm.signal(libc::SIGKILL);
    assert_eq!(watm.end().code, None);
    for side in [&client, &server] {
        let error = (&*side).read(&mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{args:?}");
    }
}

#[test]
fn a_command_that_is_killed_is_no_end_for_those_it_serves() {
    let (sender, exit) = unbounded();
    let server = Server::start(move |client| {
        let _ = sender.send(client);
    });
    let (plain, remote) = (built("plain"), server.address.as_str());
    killed(&["dial", "--module", &plain, "--remote", remote], &exit);
    killed(&["listen", "--module", &plain, "--forward", remote], &exit);
    killed(&["relay", "--module", &plain, "--remote", remote], &exit);
}

#[test]
fn clients_that_are_being_connected_may_still_be_served() {
    // Answers the handshake after the command has been told to end.
    let (sender, exit) = unbounded();
    let server = Server::start(move |client| {
        let _ = sender.send(client);
    });
    let (mut watm, entrance) = Watm::serving(
        "dial",
        &built("handshake"),
        &["--remote", &server.address, "--close-grace", "1h", "-v"],
    );
    let client = connect(&entrance);
    let exit = exit.recv_timeout(LIMIT).expect("a connection");
    watm.await_log("hello sent");
    watm.signal(libc::SIGTERM);
    watm.await_log("SIGTERM: ending");
    let mut hello = [0; 16];
    (&exit).read_exact(&mut hello).expect("the handshake");
    (&exit).write_all(b"WATM-REPLY-00001").expect("written");
    (&exit).write_all(b"served").expect("written");
    drop(exit);
    let mut served = Vec::new();
    (&client).read_to_end(&mut served).expect("an end in order");
    assert_eq!(served, b"served");
    drop(client);
    watm.end().success();
}

#[test]
fn fifty_connections_of_standard_go_end_within_the_grace_period() {
    let server = Server::echo();
    let (mut watm, entrance) = Watm::serving(
        "dial",
        &built("go_plain"),
        &["--remote", &server.address, "--close-grace", "1s"],
    );
    let clients: Vec<_> = (0..50).map(|_| connect(&entrance)).collect();
    for client in &clients {
        round_trip(client, b"hello");
    }
    watm.signal(libc::SIGTERM);
    let ended = watm.end();
    ended.success();
    assert!(!ended.stderr.contains("did not end in time"), "{ended:?}");
    for client in clients {
        let reset = (&client).read(&mut [0]).expect_err("a reset");
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    }
}
