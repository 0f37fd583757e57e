//! Many bytes in both directions at once: none lost, duplicated or out of place.

use std::io::Write;
use std::net::Shutdown;

use watm_tests::{
    Duo, Pair, alternate, built, exchange, expect_end, expect_pattern, read_vec, send_pattern, wat,
};
use watm_wasmer::{Dialer, Listener, Outcome, TransportModule};

const MEGABYTES: u64 = 1_000_000;

/// 64 KiB, and a number that divides no buffer.
const PIECES: [usize; 2] = [64 * 1024, 10_007];

#[track_caller]
fn carries(module: &TransportModule, total: u64, piece: usize) {
    let pair = Pair::dial(module);
    exchange(&pair.conn, &pair.peer, total, piece);
    pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
    expect_end(&pair.peer);
}

#[test]
fn a_hundred_megabytes_each_way_at_once_pass_the_library_worker_exactly() {
    carries(&built("plain16k"), 100 * MEGABYTES, PIECES[0]);
}

#[test]
fn a_hundred_megabytes_each_way_at_once_pass_the_half_closing_worker_exactly() {
    carries(&built("halfclose"), 100 * MEGABYTES, PIECES[1]);
}

#[test]
fn pieces_of_one_kibibyte_pass_exactly() {
    carries(&built("plain"), 30 * MEGABYTES, PIECES[1]);
}

#[test]
fn a_handwritten_module_passes_both_ways_exactly() {
    carries(&wat("plain"), 30 * MEGABYTES, PIECES[0]);
}

#[test]
fn modules_built_from_rust_pass_both_ways_exactly() {
    for name in ["rust_plain", "rust_tcp"] {
        carries(&built(name), 20 * MEGABYTES, PIECES[1]);
    }
}

#[test]
fn a_listener_passes_both_ways_exactly() {
    let pair = Pair::accepted(Listener::builder(&built("plain16k")));
    exchange(&pair.conn, &pair.peer, 30 * MEGABYTES, PIECES[1]);
}

#[test]
fn a_dialer_and_a_listener_back_to_back_pass_both_ways_at_once_exactly() {
    // Not with the library's worker. Two of them, each writing to the other and reading nothing
    // meanwhile, deadlock once the buffers between them are full.
    let duo = Duo::new(&built("halfclose"));
    exchange(&duo.dialer, &duo.listener, 50 * MEGABYTES, PIECES[0]);
    duo.dialer.close().expect("a clean end");
    expect_end(&duo.listener);
}

/// One way, then the other.
#[track_caller]
fn takes_turns(duo: &Duo, total: u64, piece: usize) {
    for (from, to) in [(&duo.dialer, &duo.listener), (&duo.listener, &duo.dialer)] {
        std::thread::scope(|scope| {
            scope.spawn(|| send_pattern(from, 3, total, piece));
            scope.spawn(|| expect_pattern(to, 3, total));
        });
    }
}

#[test]
fn a_dialer_and_a_listener_carry_on_exactly_after_their_handshake() {
    let duo = Duo::new(&built("handshake"));
    takes_turns(&duo, 20 * MEGABYTES, PIECES[0]);
    assert_eq!(duo.dialer.close().expect("a clean end"), Outcome::Completed);
    expect_end(&duo.listener);
}

#[test]
fn a_stream_cipher_stays_in_step_over_many_bytes() {
    let module = built("xor");
    let duo = Duo::with(
        Dialer::builder(&module).config(*b"a key of 19 letters"),
        Listener::builder(&module).config(*b"a key of 19 letters"),
    );
    takes_turns(&duo, 20 * MEGABYTES, PIECES[1]);
}

#[test]
fn several_connections_at_once_do_not_mix() {
    let module = built("plain16k");
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let module = &module;
            scope.spawn(move || {
                let pair = Pair::dial(module);
                std::thread::scope(|scope| {
                    scope.spawn(|| send_pattern(&pair.conn, seed, 5 * MEGABYTES, 5000));
                    scope.spawn(|| expect_pattern(&pair.peer, seed, 5 * MEGABYTES));
                    scope.spawn(|| send_pattern(&pair.peer, seed + 100, 5 * MEGABYTES, 5000));
                    scope.spawn(|| expect_pattern(&pair.conn, seed + 100, 5 * MEGABYTES));
                });
            });
        }
    });
}

#[test]
fn a_message_written_alone_reaches_the_guest_in_one_read() {
    // The module reverses what each of its reads returned, so a split message comes out wrong.
    for module in [built("reverse"), built("rust_reverse")] {
        let pair = Pair::dial(&module);
        alternate(&pair.conn, &pair.peer, 1024, |message| message.reverse());
        let pair = Pair::accepted(Listener::builder(&module));
        alternate(&pair.conn, &pair.peer, 1024, |message| message.reverse());
    }
}

#[test]
fn what_one_module_reverses_another_puts_right() {
    let duo = Duo::new(&built("reverse"));
    alternate(&duo.dialer, &duo.listener, 1024, |_| {});
}

#[test]
fn data_leaves_while_the_guest_computes() {
    // Several seconds of steps, far more than the data needs. The close ends them.
    let computing = || Dialer::builder(&built("compute")).config(*b"100000000000 both");
    let pair = Pair::with(computing().close_grace(std::time::Duration::from_millis(100)));
    assert_eq!(read_vec(&pair.peer, 9), b"computing");
    assert_eq!(read_vec(&pair.conn, 9), b"computing");
    (&pair.conn)
        .write_all(b"nobody reads this")
        .expect("room in the pipe");
    pair.conn.close().expect_err("it had to be interrupted");
}
