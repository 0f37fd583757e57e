//! How many clients a command carries at once, and how long it keeps them.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{Server, connect, free_address, pattern};
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
    // Each client is dropped at once, because nobody listens there. But its module must be stopped.
    let (nobody, module) = (free_address(), wat("loop_start_worker"));
    let options = ["--max-connections", "1", "--close-grace", "3s"];
    let (mut watm, address) = forwarding(&module, &nobody.address, &options);
    let _clients = [connect(&address), connect(&address)];
    watm.await_log("no connection to");
    let first = Instant::now();
    watm.await_log("no connection to");
    // The whole grace period, minus the delay of the first line.
    assert!(first.elapsed() >= Duration::from_secs(1), "{first:?}");
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
