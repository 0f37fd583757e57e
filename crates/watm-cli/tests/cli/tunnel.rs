//! `watm listen --forward` and `watm dial --listen` back to back, as a tunnel for plain
//! connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::Instant;

use crossbeam_channel::bounded;

use crate::peers::{
    Server, connect, echo, free_address, pattern, reset, round_trip, sha256, write_aside,
};
use crate::process::{LIMIT, Watm, built, wat};

const TEN_MB: usize = 10_000_000;

struct Tunnel {
    _listen: Watm,
    _dial: Watm,
    entrance: String,
}

/// Starts a command that accepts connections, plain or from its module, for `remote`. Also returns
/// its address.
fn accepting(command: &str, module: &str, remote: &str, options: &[&str]) -> (Watm, String) {
    let mut args = vec![command, "--module", module, "--remote", remote];
    args.extend(["--listen", "127.0.0.1:0"]);
    args.extend(options);
    Watm::listening(&args)
}

impl Tunnel {
    /// A tunnel to `server`, through `module` with additional options.
    fn to(server: &Server, module: &str, options: &[&str]) -> Self {
        let forward = &server.address;
        let mut args = vec!["listen", "--module", module, "--listen", "127.0.0.1:0"];
        args.extend(["--forward", forward]);
        args.extend(options);
        let (listen, middle) = Watm::listening(&args);
        let (dial, entrance) = accepting("dial", module, &middle, options);
        Self {
            _listen: listen,
            _dial: dial,
            entrance,
        }
    }
}

/// Sends ten megabytes in each direction and compares the hashes. One direction follows the other,
/// because the module does not read while it waits to write.
#[track_caller]
fn ten_megabytes_in_turns(module: &str, options: &[&str]) {
    let (there, back) = (pattern(TEN_MB, 3), pattern(TEN_MB, 4));
    let (sender, hash) = bounded(1);
    let answer = back.clone();
    let server = Server::start(move |client| {
        let mut received = vec![0; TEN_MB];
        (&client).read_exact(&mut received).expect("all of it");
        let _ = sender.send(sha256(&received));
        (&client).write_all(&answer).expect("all of it");
    });
    let tunnel = Tunnel::to(&server, module, options);
    let client = connect(&tunnel.entrance);
    (&client).write_all(&there).expect("all of it");
    assert_eq!(hash.recv_timeout(LIMIT), Ok(sha256(&there)));
    let mut received = Vec::new();
    (&client).read_to_end(&mut received).expect("all of it");
    assert_eq!(received.len(), TEN_MB);
    assert_eq!(sha256(&received), sha256(&back));
}

#[test]
fn ten_megabytes_each_way_come_out_whole_through_a_plain_module() {
    ten_megabytes_in_turns(&built("plain"), &[]);
}

#[test]
fn ten_megabytes_each_way_come_out_whole_through_a_module_with_a_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("key");
    std::fs::write(&config, "a secret key\n").expect("written");
    let config = config.to_str().expect("UTF-8");
    ten_megabytes_in_turns(&built("xor"), &["--config", config]);
}

#[test]
fn ten_megabytes_each_way_come_out_whole_after_a_handshake() {
    ten_megabytes_in_turns(&built("handshake"), &[]);
}

#[test]
fn both_directions_flow_at_once_and_each_ends_by_itself() {
    let (there, back) = (pattern(TEN_MB, 5), pattern(TEN_MB, 6));
    let (sender, hash) = bounded(1);
    let answer = back.clone();
    let server = Server::start(move |client| {
        let aside = client.try_clone().expect("a clone");
        let written = write_aside(aside, answer.clone());
        let mut received = Vec::new();
        (&client).read_to_end(&mut received).expect("all of it");
        let _ = sender.send(sha256(&received));
        assert_eq!(written.recv_timeout(LIMIT), Ok(true));
        // Only now, long after the other direction has ended.
        (&client).write_all(b"the end").expect("the end");
    });
    let tunnel = Tunnel::to(&server, &built("halfclose"), &[]);
    let client = connect(&tunnel.entrance);
    let aside = client.try_clone().expect("a clone");
    let (shut, sent) = (there.clone(), write_aside(aside, there));
    let mut received = vec![0; TEN_MB];
    (&client).read_exact(&mut received).expect("all of it");
    assert_eq!(sha256(&received), sha256(&back));
    assert_eq!(sent.recv_timeout(LIMIT), Ok(true));
    client.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(hash.recv_timeout(LIMIT), Ok(sha256(&shut)));
    let mut rest = Vec::new();
    (&client).read_to_end(&mut rest).expect("the end");
    assert_eq!(rest, b"the end");
}

#[test]
fn many_clients_do_not_disturb_each_other() {
    let server = Server::echo();
    let tunnel = Tunnel::to(&server, &built("halfclose"), &[]);
    let clients: Vec<_> = (0..20u64)
        .map(|seed| {
            let client = connect(&tunnel.entrance);
            thread::spawn(move || {
                let data = pattern(200_000, seed);
                let aside = client.try_clone().expect("a clone");
                let sent = write_aside(aside, data.clone());
                let mut received = vec![0; data.len()];
                (&client).read_exact(&mut received).expect("all of it");
                assert!(received == data, "the bytes of client {seed}");
                assert_eq!(sent.recv_timeout(LIMIT), Ok(true));
                client.shutdown(Shutdown::Write).expect("shut down");
                assert_eq!((&client).read(&mut [0]).expect("the end"), 0);
            })
        })
        .collect();
    for client in clients {
        client.join().expect("a client");
    }
}

#[test]
fn a_failed_dial_ends_only_its_own_client() {
    let remote = free_address();
    let module = built("plain");
    let (mut dial, entrance) = accepting("dial", &module, &remote.address, &[]);
    let client = connect(&entrance);
    let error = (&client).read(&mut [0]).expect_err("no end of stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let line = dial.await_log("was dropped");
    assert!(
        line.contains(&remote.address) && line.contains("refused"),
        "{line}"
    );

    let _server = Server::start_on(remote, echo);
    let client = connect(&entrance);
    round_trip(&client, b"now it works");
}

#[test]
fn a_target_that_refuses_ends_only_its_own_connection() {
    let target = free_address();
    let module = built("plain");
    let (mut listen, address) = Watm::listening(&[
        "listen",
        "--module",
        &module,
        "--listen",
        "127.0.0.1:0",
        "--forward",
        &target.address,
    ]);
    let client = connect(&address);
    let reset = (&client).read(&mut [0]).expect_err("a reset");
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    let line = listen.await_log("was dropped");
    assert!(
        line.contains(&target.address) && line.contains("refused"),
        "{line}"
    );

    let _server = Server::start_on(target, echo);
    let client = connect(&address);
    round_trip(&client, b"now it works");
}

#[test]
fn a_transport_that_fails_resets_its_client_and_is_logged() {
    let server = Server::echo();
    let module = wat("unreachable_start");
    let (mut dial, entrance) = accepting("dial", &module, &server.address, &[]);
    let client = connect(&entrance);
    let error = (&client).read(&mut [0]).expect_err("no end of stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let line = dial.await_log("WARN");
    assert!(
        line.contains("watm_start_v1") && line.contains("trap"),
        "{line}"
    );
}

#[test]
fn what_came_before_an_error_arrives_before_the_reset() {
    // More than the buffers in between hold, so that some bytes are always in flight.
    const LEN: usize = 3_000_000;
    let (go, begins) = bounded::<()>(0);
    let server = Server::start(move |client| {
        (&client).write_all(&pattern(LEN, 7)).expect("written");
        let _ = begins.recv_timeout(LIMIT);
        reset(client);
    });
    let module = built("plain");
    let (_dial, entrance) = accepting("dial", &module, &server.address, &[]);
    let client = connect(&entrance);
    let mut received = vec![0; LEN];
    (&client)
        .read_exact(&mut received)
        .expect("what came before");
    assert!(received == pattern(LEN, 7), "whole");
    drop(go);
    let error = (&client).read(&mut [0]).expect_err("no end of stream");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_client_beyond_the_limit_waits_for_its_turn() {
    let server = Server::echo();
    let module = built("halfclose");
    for command in ["dial", "relay"] {
        let (_watm, entrance) = accepting(
            command,
            &module,
            &server.address,
            &["--max-connections", "1"],
        );
        let first = connect(&entrance);
        round_trip(&first, b"first");
        let second = connect(&entrance);
        (&second).write_all(b"second").expect("written");
        round_trip(&first, b"still the first");
        second.set_nonblocking(true).expect("non-blocking");
        let early = (&second).read(&mut [0]).expect_err("nothing yet");
        assert_eq!(early.kind(), ErrorKind::WouldBlock);
        second.set_nonblocking(false).expect("blocking");
        drop(first);
        let mut answer = [0; 6];
        (&second).read_exact(&mut answer).expect("its turn");
        assert_eq!(&answer, b"second");
    }
}

#[test]
fn a_shortage_of_descriptors_passes() {
    let server = Server::echo();
    let module = built("halfclose");
    // A shell sets the hard and the soft limit, and then becomes the program.
    let mut child = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 32; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_watm"),
        ])
        .args(["dial", "--module", &module, "--remote", &server.address])
        .args(["--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut line = [0; 64];
    let len = stdout.read(&mut line).expect("a line");
    let line = String::from_utf8_lossy(&line[..len]).into_owned();
    let entrance = line.trim().strip_prefix("listening ").expect("an address");
    // More clients than it has descriptors for. It drops those that it cannot serve, or leaves them
    // waiting. When the others have gone, there is room again.
    let clients: Vec<_> = (0..40).map(|_| connect(entrance)).collect();
    drop(clients);
    let given_up = Instant::now() + LIMIT;
    let serves = || {
        let client = connect(entrance);
        let mut answer = [0; 5];
        (&client).write_all(b"again").is_ok()
            && (&client).read_exact(&mut answer).is_ok()
            && &answer == b"again"
    };
    let mut served = serves();
    while !served && Instant::now() < given_up {
        served = serves();
    }
    let _ = child.kill();
    let _ = child.wait();
    assert!(served, "it serves again");
}

#[test]
fn the_port_is_free_again_after_the_end() {
    let module = built("plain");
    let server = Server::echo();
    let (dial, entrance) = accepting("dial", &module, &server.address, &[]);
    round_trip(&connect(&entrance), b"there");
    drop(dial);
    TcpListener::bind(&entrance).expect("the port is free");
}
