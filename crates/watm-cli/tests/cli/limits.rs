//! How many clients a command carries at once, and how long it keeps them.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{Server, connect, pattern, reset};
use crate::process::{Watm, built, wat};

/// Starts `watm listen` for `target`. Also returns its address.
fn forwarding(module: &str, target: &str, options: &[&str]) -> (Watm, String) {
    let mut args = vec!["listen", "--module", module, "--listen", "127.0.0.1:0"];
    args.extend(["--forward", target]);
    args.extend(options);
    Watm::listening(&args)
}

#[test]
fn a_client_keeps_its_place_until_its_module_has_ended() {
    // It writes to both sides, and then never ends, whatever becomes of them.
    let text = std::fs::read_to_string(wat("fails")).expect("a module");
    let file = tempfile::Builder::new().suffix(".wat").tempfile();
    let file = file.expect("a file");
    let goes_on = "(loop $more (call $write (global.get $plain)) (br $more)) (unreachable)";
    let text = text.replace("(unreachable)", goes_on);
    std::fs::write(file.path(), text).expect("written");
    let module = file.path().to_str().expect("UTF-8");
    let server = Server::start(|client| {
        let _ = (&client).read(&mut [0]);
    });
    let options = [
        ["--remote", &server.address],
        ["--max-connections", "1"],
        ["--drain-timeout", "1s"],
        ["--close-grace", "2s"],
    ];
    let (_watm, address) = Watm::serving("dial", module, &options.concat());
    let client = connect(&address);
    (&client).read_exact(&mut [0; 3]).expect("bytes");
    let next = connect(&address);
    reset(client);
    let gone = Instant::now();
    (&next).read_exact(&mut [0; 3]).expect("its turn");
    // The drain timeout and the grace period, as the module does not listen to control.
    assert!(gone.elapsed() >= Duration::from_secs(1), "{gone:?}");
}

#[test]
fn a_client_that_reads_late_gets_all_that_a_transport_which_ended_has_written() {
    const LEN: usize = 4_000_000;
    let server = Server::start(|client| (&client).write_all(&pattern(LEN, 3)).expect("written"));
    let module = built("plain");
    let (_watm, address) = forwarding(&module, &server.address, &["--close-grace", "100ms"]);
    let client = connect(&address);
    // The rest fits into buffers, so the server and the transport end while nobody reads.
    let mut received = vec![0; LEN - 100_000];
    (&client).read_exact(&mut received).expect("the beginning");
    // Longer than the grace period of a close and the time that it may exceed it by.
    thread::sleep(Duration::from_secs(2));
    (&client).read_to_end(&mut received).expect("the rest");
    assert!(received == pattern(LEN, 3), "{} bytes", received.len());
}
