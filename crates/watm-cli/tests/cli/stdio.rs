//! Standard input and output as the connection, like netcat.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crossbeam_channel::bounded;

use crate::peers::{Server, connect, free_address, pattern, reset, write_aside};
use crate::process::{LIMIT, Watm, built, wat};

#[test]
fn the_end_of_input_shuts_down_writing_and_the_answer_still_arrives() {
    let server = Server::echo();
    let module = built("halfclose");
    let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &server.address]);
    let sent = pattern(3_000_000, 1);
    let written = write_aside(watm.take_stdin(), sent.clone());
    assert!(watm.stdout_to_end() == sent, "all came back");
    assert_eq!(written.recv_timeout(LIMIT), Ok(true));
    watm.end().success();
}

#[test]
fn an_answer_that_begins_after_the_end_of_input_arrives_whole() {
    let server = Server::start(|client| {
        let mut request = Vec::new();
        (&client).read_to_end(&mut request).expect("a request");
        request.reverse();
        (&client).write_all(&request).expect("an answer");
    });
    let module = built("halfclose");
    let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &server.address]);
    let mut sent = pattern(1_000_000, 2);
    let written = write_aside(watm.take_stdin(), sent.clone());
    sent.reverse();
    assert!(watm.stdout_to_end() == sent, "the answer");
    assert_eq!(written.recv_timeout(LIMIT), Ok(true));
    watm.end().success();
}

#[test]
fn keep_open_gets_an_answer_through_a_module_without_half_close() {
    keep_open(&built("plain"));
}

#[test]
fn keep_open_ends_with_the_remote_also_for_a_module_with_half_close() {
    keep_open(&built("halfclose"));
}

#[track_caller]
fn keep_open(module: &str) {
    let server = Server::start(|client| {
        let mut request = [0; 7];
        (&client).read_exact(&mut request).expect("a request");
        (&client).write_all(b"the answer").expect("an answer");
    });
    let mut watm = Watm::start(&[
        "dial",
        "--module",
        module,
        "--remote",
        &server.address,
        "--keep-open",
        "--drain-timeout",
        "1h",
    ]);
    watm.write(b"request");
    watm.close_stdin();
    assert_eq!(watm.stdout_to_end(), b"the answer");
    watm.end().success();
}

#[test]
fn the_end_of_the_remote_ends_the_command_though_input_goes_on() {
    let server = Server::start(|client| {
        (&client).write_all(b"bye").expect("written");
    });
    let module = built("plain");
    let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &server.address]);
    assert_eq!(watm.stdout_to_end(), b"bye");
    watm.end().success();
}

#[test]
fn the_end_of_what_arrives_closes_standard_output_while_input_goes_on() {
    let (sender, rest) = bounded(1);
    let server = Server::start(move |client| {
        (&client).write_all(b"bye").expect("written");
        client.shutdown(Shutdown::Write).expect("a shutdown");
        let mut received = Vec::new();
        (&client).read_to_end(&mut received).expect("the input");
        let _ = sender.send(received);
    });
    let module = built("halfclose");
    let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &server.address]);
    assert_eq!(watm.stdout_to_end(), b"bye", "to the end");
    let sent = pattern(500_000, 11);
    watm.write(&sent);
    watm.close_stdin();
    assert!(rest.recv_timeout(LIMIT) == Ok(sent), "all of the input");
    watm.end().success();
}

#[test]
fn a_socket_as_input_and_output_is_shut_down_for_writing() {
    // As `inetd` starts programs: both streams are one socket. Closing one leaves the socket open.
    let server = Server::start(|client| {
        (&client).write_all(b"bye").expect("written");
        client.shutdown(Shutdown::Write).expect("a shutdown");
        let mut received = Vec::new();
        (&client).read_to_end(&mut received).expect("the input");
    });
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    ours.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let mut watm = Command::new(env!("CARGO_BIN_EXE_watm"))
        .args(["dial", "--module", &built("halfclose")])
        .args(["--remote", &server.address])
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(OwnedFd::from(theirs.try_clone().expect("a descriptor")))
        .stdout(OwnedFd::from(theirs))
        .spawn()
        .expect("the program starts");
    let mut received = Vec::new();
    (&ours).read_to_end(&mut received).expect("the end");
    assert_eq!(received, b"bye");
    drop(ours);
    assert!(watm.wait().expect("it ends").success());
}

#[test]
fn a_remote_that_is_gone_ends_the_command_though_input_stays_open() {
    for module in ["plain", "halfclose"] {
        let (sender, gone) = bounded(1);
        let server = Server::start(move |client| {
            let mut byte = [0];
            (&client).read_exact(&mut byte).expect("a byte");
            reset(client);
            let _ = sender.send(());
        });
        let module = built(module);
        let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &server.address]);
        watm.write(b"x");
        gone.recv_timeout(LIMIT).expect("a reset");
        watm.end().failure(&["reset"]);
    }
}

#[test]
fn input_that_the_transport_did_not_take_is_a_failure() {
    let server = Server::echo();
    let directory = tempfile::tempdir().expect("a directory");
    // A transport that ends at once, and more input than all buffers before it hold.
    let module = directory.path().join("ends.wat");
    let ends = std::fs::read_to_string(wat("unreachable_start")).expect("a module");
    let ends = ends.replace("(unreachable)", "(i32.const 0)");
    std::fs::write(&module, ends).expect("written");
    let module = module.to_str().expect("UTF-8");
    let input = directory.path().join("input");
    std::fs::write(&input, pattern(10_000_000, 10)).expect("written");
    let input = File::open(input).expect("a file");
    let args = ["dial", "--module", module, "--remote", &server.address];
    let mut watm = Watm::start_with(&args, input);
    watm.end()
        .failure(&["before it had taken all of standard input"]);
}

#[test]
fn a_reset_by_the_remote_is_a_failure_that_says_so() {
    let server = Server::start(|client| {
        let mut byte = [0];
        (&client).read_exact(&mut byte).expect("a byte");
        reset(client);
    });
    let module = built("plain");
    let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &server.address]);
    watm.write(b"x");
    watm.end().failure(&["watm_start_v1", "reset"]);
}

#[test]
fn a_trap_is_a_failure_that_says_where() {
    let server = Server::echo();
    let module = wat("unreachable_start");
    let mut watm = Watm::start(&["dial", "--module", &module, "--remote", &server.address]);
    watm.end().failure(&["watm_start_v1", "trap"]);
}

#[test]
fn a_closed_standard_output_ends_the_command_without_a_word() {
    let (ready, go) = bounded::<()>(0);
    let server = Server::start(move |client| {
        let _ = go.recv_timeout(LIMIT);
        while (&client).write_all(&[0; 65536]).is_ok() {}
    });
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut watm = std::process::Command::new(env!("CARGO_BIN_EXE_watm"))
        .args([
            "dial",
            "--module",
            &built("plain"),
            "--remote",
            &server.address,
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(reader);
    drop(ready);
    // Standard error ends with the process.
    let mut stderr = watm.stderr.take().expect("it is piped");
    let (sender, ended) = bounded(1);
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        let _ = sender.send(text);
    });
    let text = ended.recv_timeout(LIMIT);
    let _ = watm.kill();
    let code = watm.wait().expect("it ends").code();
    assert_eq!(text.as_deref(), Ok(""));
    assert_eq!(code, Some(1));
}

#[test]
fn two_commands_carry_a_conversation() {
    let module = built("halfclose");
    let (mut listen, address) =
        Watm::listening(&["listen", "--module", &module, "--listen", "127.0.0.1:0"]);
    let mut dial = Watm::start(&["dial", "--module", &module, "--remote", &address]);
    dial.write(b"hello");
    assert_eq!(listen.stdout_bytes(5), b"hello");
    listen.write(b"world");
    assert_eq!(dial.stdout_bytes(5), b"world");
    dial.close_stdin();
    listen.write(b", and more");
    assert_eq!(dial.stdout_bytes(10), b", and more");
    listen.close_stdin();
    dial.end().success();
    listen.end().success();
}

#[test]
fn only_one_connection_gets_standard_input_and_output() {
    let module = built("halfclose");
    let (mut listen, address) =
        Watm::listening(&["listen", "--module", &module, "--listen", "127.0.0.1:0"]);
    let mut dial = Watm::start(&["dial", "--module", &module, "--remote", &address]);
    dial.write(b"hello");
    assert_eq!(listen.stdout_bytes(5), b"hello");
    let second = TcpStream::connect(&address);
    assert!(second.is_err(), "the listener is closed: {second:?}");
}

#[test]
fn quiet_leaves_standard_output_to_the_connection() {
    let module = built("halfclose");
    let free = free_address();
    let address = &free.address;
    let mut listen = Watm::start(&[
        "listen", "--module", &module, "--listen", address, "--quiet", "-v",
    ]);
    listen.await_log("listening on");
    let mut dial = Watm::start(&["dial", "--module", &module, "--remote", address]);
    dial.write(b"only this");
    dial.close_stdin();
    listen.close_stdin();
    assert_eq!(listen.stdout_to_end(), b"only this");
    listen.end().success();
    dial.end().success();
}

#[test]
fn a_peek_at_inherited_input_takes_nothing_from_it() {
    const NOTSUP: u8 = 58;
    let (told, heard) = bounded(1);
    let server = Server::start(move |client| {
        let mut report = Vec::new();
        (&client).read_to_end(&mut report).expect("a report");
        let _ = told.send(report);
    });
    let module = wat("peek_input");
    let mut args = vec!["dial", "--module", &module, "--remote", &server.address];
    args.extend(["--listen", "127.0.0.1:0", "--inherit-stdio"]);
    let (mut watm, address) = Watm::listening(&args);
    watm.write(b"input");
    let _client = connect(&address);
    let report = heard.recv_timeout(LIMIT).expect("a report");
    assert_eq!(report, [&[NOTSUP, 0][..], b"input"].concat());
}
