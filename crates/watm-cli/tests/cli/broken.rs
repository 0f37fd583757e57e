//! The commands pass a broken end on as such: the data before it, then a reset.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crossbeam_channel::{Receiver, bounded};

use crate::peers::{Server, connect, free_address, hanging_address, reset, round_trip};
use crate::process::{LIMIT, Watm, built, wat};

/// Too long for a name, so no resolver is asked.
const NO_NAME: &str =
    "no-name-no-name-no-name-no-name-no-name-no-name-no-name-no-name-no-name.invalid:80";

/// The commands that carry plain connections, each with the option for the destination.
const COMMANDS: [(&str, &str); 3] = [
    ("dial", "--remote"),
    ("listen", "--forward"),
    ("relay", "--remote"),
];

/// The data before the end, and whether the end was a reset.
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
    COMMANDS.map(|(command, option)| {
        let args = [&[command, "--module", &module, option, server][..], &listen].concat();
        let (watm, address) = Watm::listening(&args);
        (command, watm, address)
    })
}

/// A server that greets, and reports how each connection ended.
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
    // Long enough that nothing is cut off on a busy machine.
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

#[test]
fn what_cannot_be_connected_is_a_reset_for_the_client_and_a_line_that_names_it() {
    let (refusing, hanging) = (free_address(), hanging_address());
    for (to, why) in [
        (&*refusing.address, "refused"),
        (&*hanging.address, "no answer"),
        (NO_NAME, "lookup address"),
    ] {
        for (command, option) in COMMANDS {
            let more = [option, to, "--connect-timeout", "300ms"];
            let (mut watm, address) = Watm::serving(command, &built("plain"), &more);
            let client = connect(&address);
            assert_eq!(ending(&client), (vec![], true), "{command} {to}");
            let line = watm.await_log(to);
            assert!(line.contains(why), "{command}: {line}");
        }
    }
}

#[test]
fn what_cannot_be_connected_is_a_failure_on_standard_streams() {
    let (refusing, hanging) = (free_address(), hanging_address());
    for (to, why) in [
        (&*refusing.address, "refused"),
        (&*hanging.address, "no answer"),
        (NO_NAME, "lookup address"),
    ] {
        let args = ["dial", "--module", &built("plain"), "--remote", to];
        let ended = Watm::run(&[&args[..], &["--connect-timeout", "300ms"]].concat());
        ended.failure(&[to, why]);
        assert_eq!(ended.stdout, "");
    }
}

/// The ways in which a worker fails after its writes, and the message for each.
const FAILURES: [(&str, &str); 3] = [
    ("(unreachable)", "trap"),
    ("(call $proc_exit (i32.const 3)) (i32.const 0)", "exit"),
    ("(i32.const -29)", "error 29"),
];

/// The module `fails` with another failure, as a file.
fn failing(how: &str) -> tempfile::NamedTempFile {
    let text = std::fs::read_to_string(wat("fails")).expect("a module");
    assert!(text.contains("(unreachable)"), "{text}");
    let file = tempfile::Builder::new().suffix(".wat").tempfile();
    let file = file.expect("a file");
    std::fs::write(file.path(), text.replace("(unreachable)", how)).expect("written");
    file
}

#[test]
fn a_module_that_fails_is_a_reset_for_both_sides_behind_what_it_wrote() {
    let (told, heard) = bounded(16);
    let server = Server::start(move |client| {
        let _ = told.send(ending(&client));
    });
    for (how, _) in FAILURES {
        let module = failing(how);
        let module = module.path().to_str().expect("UTF-8");
        for (command, option) in COMMANDS {
            let (_watm, address) = Watm::serving(command, module, &[option, &server.address]);
            let client = connect(&address);
            let expected = (b"abc".to_vec(), true);
            assert_eq!(ending(&client), expected, "{command} {how}");
            assert_eq!(heard.recv_timeout(LIMIT), Ok(expected), "{command} {how}");
        }
    }
}

#[test]
fn a_module_that_fails_is_a_failure_on_standard_streams_behind_what_it_wrote() {
    let (told, heard) = bounded(16);
    let server = Server::start(move |client| {
        let _ = told.send(ending(&client));
    });
    for (how, said) in FAILURES {
        let module = failing(how);
        let module = module.path().to_str().expect("UTF-8");
        let mut dial = Watm::start(&["dial", "--module", module, "--remote", &server.address]);
        let ended = dial.end();
        ended.failure(&["watm_start_v1", said]);
        assert_eq!(ended.stdout, "abc", "{how}");
        let expected = (b"abc".to_vec(), true);
        assert_eq!(heard.recv_timeout(LIMIT), Ok(expected.clone()), "{how}");
        let (mut listen, address) = Watm::serving("listen", module, &[]);
        assert_eq!(ending(&connect(&address)), expected, "{how}");
        let ended = listen.end();
        ended.failure(&["watm_start_v1", said]);
        assert_eq!(ended.stdout, "abc", "{how}");
    }
}

#[test]
fn a_handshake_that_fails_or_takes_too_long_is_a_reset_for_the_client() {
    // A silent server, for the sides that wait for it.
    let silent = Server::start(|client| {
        let _ = ending(&client);
    });
    for said in [&b""[..], b"sixteen wrong bytes"] {
        for (command, option) in COMMANDS {
            let more = [option, &silent.address, "--setup-timeout", "300ms"];
            let (_watm, address) = Watm::serving(command, &built("handshake"), &more);
            let client = connect(&address);
            (&client).write_all(said).expect("room");
            assert!(ending(&client).1, "{command} {said:?}");
        }
    }
}

#[test]
fn a_handshake_that_takes_too_long_is_a_failure_on_standard_streams() {
    let silent = Server::start(|client| {
        let _ = ending(&client);
    });
    let args = ["dial", "--module", &built("handshake"), "--remote"];
    let more = [&*silent.address, "--setup-timeout", "300ms"];
    Watm::run(&[&args[..], &more].concat()).failure(&["300ms"]);
}
