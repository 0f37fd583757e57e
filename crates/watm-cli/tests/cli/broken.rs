//! Broken endings pass through the commands as such: what came before, then a reset.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crossbeam_channel::{Receiver, bounded};

use crate::peers::{Server, connect, reset, round_trip};
use crate::process::{LIMIT, Watm, built};

/// What came before the end, and whether that was a reset.
fn ending(mut stream: &TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let is_reset = match stream.read_to_end(&mut bytes) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            true
        }
    };
    (bytes, is_reset)
}

/// The three commands that carry plain connections, in front of a server.
fn commands(server: &str) -> [(&'static str, Watm, String); 3] {
    let module = built("plain");
    let listen = ["--listen", "127.0.0.1:0", "--close-grace", "300ms"];
    [
        ("dial", "--remote"),
        ("listen", "--forward"),
        ("relay", "--remote"),
    ]
    .map(|(command, option)| {
        let args = [&[command, "--module", &module, option, server][..], &listen].concat();
        let (watm, address) = Watm::listening(&args);
        (command, watm, address)
    })
}

/// A server that greets and tells how each connection ended.
fn watching() -> (Server, Receiver<(Vec<u8>, bool)>) {
    let (told, heard) = bounded(16);
    let server = Server::start(move |client| {
        let mut request = [0; 5];
        (&client).read_exact(&mut request).expect("a request");
        (&client).write_all(&request).expect("an answer");
        let _ = told.send(ending(&client));
    });
    (server, heard)
}

#[test]
fn a_server_that_resets_is_a_reset_for_the_client() {
    let server = Server::start(|client| {
        (&client).write_all(b"the beginning").expect("written");
        let mut request = [0; 5];
        (&client).read_exact(&mut request).expect("a request");
        reset(client);
    });
    for (command, _watm, address) in commands(&server.address) {
        let client = connect(&address);
        let mut beginning = [0; 13];
        (&client).read_exact(&mut beginning).expect("the beginning");
        (&client).write_all(b"hello").expect("room");
        assert_eq!(ending(&client), (vec![], true), "{command}");
    }
}

#[test]
fn a_client_that_resets_is_a_reset_for_the_server() {
    let (server, heard) = watching();
    for (command, _watm, address) in commands(&server.address) {
        let client = connect(&address);
        round_trip(&client, b"hello");
        reset(client);
        assert_eq!(heard.recv_timeout(LIMIT), Ok((vec![], true)), "{command}");
    }
}

#[test]
fn a_command_that_is_told_to_end_in_a_transfer_resets_both_sides() {
    let (server, heard) = watching();
    for (command, mut watm, address) in commands(&server.address) {
        let client = connect(&address);
        round_trip(&client, b"hello");
        watm.signal(libc::SIGTERM);
        watm.end().success();
        assert_eq!(ending(&client), (vec![], true), "{command}");
        assert_eq!(heard.recv_timeout(LIMIT), Ok((vec![], true)), "{command}");
    }
}

#[test]
fn a_command_that_is_told_to_end_lets_a_transfer_that_is_nearly_done_complete() {
    let (server, heard) = watching();
    let module = built("plain");
    let args = [
        "dial",
        "-v",
        "--module",
        &module,
        "--remote",
        &server.address,
    ];
    // So long that nothing is cut off, however busy the machine is.
    let listen = ["--listen", "127.0.0.1:0", "--close-grace", "60s"];
    let (mut watm, address) = Watm::listening(&[&args[..], &listen].concat());
    let client = connect(&address);
    round_trip(&client, b"hello");
    watm.signal(libc::SIGTERM);
    watm.await_log("ending");
    (&client).write_all(b"the rest").expect("room");
    client.shutdown(std::net::Shutdown::Write).expect("the end");
    assert_eq!(heard.recv_timeout(LIMIT), Ok((b"the rest".to_vec(), false)));
    assert_eq!(ending(&client), (vec![], false));
    watm.end().success();
}
