//! Random schedules: both sides of a connection write, read, wait and end in any order and with any
//! sizes. After each step, a simple model says which results are possible.
//!
//! A failed schedule is printed after it has been shrunk. `PROPTEST_CASES` sets the number of
//! schedules. `PROPTEST_RNG_SEED` repeats the same ones.

mod driver;
mod model;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;
use watm_tests::{LONG, Pair, Pattern, SHORT, built, tcp_pair, within};
use watm_wasmer::{Builder, Dialer, Listener};

use driver::{Driver, Ending, Op, Patience, Socket, get_timely};
use model::{Manner, Side, Wait};

/// Sizes around those of all buffers between the ends, and beyond.
const SIZES: [usize; 22] = [
    1, 2, 3, 7, 63, 64, 65, 100, 1023, 1024, 1025, 5000, 16_383, 16_384, 16_385, 65_535, 65_536,
    65_537, 131_071, 131_072, 131_073, 300_000,
];

/// Maximum number of bytes that one side writes in a schedule, through a large enough buffer.
const BUDGET: u64 = 1_500_000;

/// The same per byte of a module's buffer, because each piece costs the module several calls.
const PIECES: u64 = 20_000;

/// A module and its configuration.
#[derive(Clone, Debug)]
struct Guest {
    name: &'static str,
    manner: Manner,
    /// The size of its buffer, if it must be configured.
    buffer: Option<usize>,
    /// Whether it accepts instead of dialling.
    accepts: bool,
}

impl Guest {
    fn connect(&self) -> Pair {
        let module = built(self.name);
        let config = self.buffer.map(|size| size.to_string()).unwrap_or_default();
        // Long enough that no close is cut short on a busy machine.
        if self.accepts {
            let listener = Listener::builder(&module).config(config);
            narrow(listener.close_grace(SHORT))
        } else {
            Pair::with(Dialer::builder(&module).config(config).close_grace(SHORT))
        }
    }

    /// Number of bytes that each side may write, so that a schedule takes milliseconds.
    fn budget(&self, most: u64) -> u64 {
        self.buffer
            .map_or(most, |size| most.min(size as u64 * PIECES))
    }
}

/// An accepted connection whose systems buffer little of what is sent, so that they take sends
/// partially or not at all. A dialled connection would buffer megabytes.
fn narrow(builder: Builder<Listener>) -> Pair {
    let (peer, socket) = tcp_pair();
    for end in [&peer, &socket] {
        let end = socket2::SockRef::from(end);
        end.set_send_buffer_size(8 * 1024).expect("an option");
    }
    let acceptor = builder.acceptor().expect("an acceptor");
    let conn = acceptor.accept(socket).expect("a connection");
    Pair { conn, peer }
}

fn library_guests() -> impl Strategy<Value = Guest> {
    let names = select(vec!["plain", "plain16k", "rust_plain"]);
    (names, any::<bool>()).prop_map(|(name, accepts)| Guest {
        name,
        manner: Manner::EndsAtOnce,
        buffer: None,
        accepts,
    })
}

/// Guests that lose bytes, or the connection, if a write that follows a read is refused.
fn guests_that_cannot_wait() -> impl Strategy<Value = Guest> {
    let names = select(vec!["generation1", "generation2", "generation3"]);
    let sizes: Vec<_> = SIZES.into_iter().filter(|size| *size <= 131_072).collect();
    let buffer = prop_oneof![select(sizes), 1usize..=131_072];
    (names, buffer, any::<bool>()).prop_map(|(name, buffer, accepts)| Guest {
        name,
        manner: Manner::EndsAtOnce,
        buffer: Some(buffer),
        accepts,
    })
}

fn half_closing_guests() -> impl Strategy<Value = Guest> {
    let names = select(vec!["halfclose", "halfclose", "go_plain"]);
    (names, any::<bool>()).prop_map(|(name, accepts)| Guest {
        name,
        manner: Manner::HalfCloses,
        buffer: None,
        accepts,
    })
}

fn guests_of_any_size() -> impl Strategy<Value = Guest> {
    let sizes: Vec<_> = SIZES.into_iter().filter(|size| *size <= 65_536).collect();
    let buffer = prop_oneof![select(sizes), 1usize..=65_536];
    (buffer, any::<bool>()).prop_map(|(buffer, accepts)| Guest {
        name: "anysize",
        manner: Manner::HalfCloses,
        buffer: Some(buffer),
        accepts,
    })
}

fn guests_that_take_turns() -> impl Strategy<Value = Guest> {
    any::<bool>().prop_map(|accepts| Guest {
        name: "blocking",
        // The caller speaks first.
        manner: Manner::TakesTurns(if accepts {
            Side::Peer
        } else {
            Side::Application
        }),
        buffer: None,
        accepts,
    })
}

fn sides() -> impl Strategy<Value = Side> + Clone {
    select(&Side::BOTH[..])
}

fn sizes() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![3 => select(&SIZES[..]), 1 => 1usize..=300_000]
}

fn waits() -> impl Strategy<Value = Wait> {
    prop_oneof![4 => Just(Wait::Not), 1 => Just(Wait::Briefly)]
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        50 => (sides(), sizes(), waits()).prop_map(|(side, len, wait)| Op::Write(side, len, wait)),
        40 => (sides(), sizes(), waits()).prop_map(|(side, len, wait)| Op::Read(side, len, wait)),
        30 => (sides(), sizes()).prop_map(|(side, len)| Op::Await(side, len)),
        3 => sides().prop_map(Op::Shutdown),
        1 => sides().prop_map(Op::Close),
    ]
}

fn endings() -> impl Strategy<Value = Ending> {
    prop_oneof![
        3 => sides().prop_map(Ending::Shutdown),
        2 => sides().prop_map(Ending::Close),
        1 => Just(Ending::Drop),
    ]
}

/// This number of cases, unless the environment asks for another.
fn cases(cases: u32) -> Config {
    let mut config = Config {
        failure_persistence: None,
        // A schedule that fails by waiting takes long each time.
        max_shrink_time: 100_000,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config
}

/// Runs a schedule to its end.
fn follow(guest: Guest, ops: Vec<Op>, ending: Ending) {
    within(LONG, move || {
        let budget = guest.budget(BUDGET);
        let mut driver = Driver::new(guest.connect(), guest.manner, budget);
        for op in &ops {
            driver.perform(op);
        }
        driver.finish(&ending);
    });
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn any_schedule_through_the_library_worker_keeps_every_byte_up_to_the_first_end(
        guest in library_guests(), ops in vec(ops(), 1..60), ending in endings()
    ) {
        follow(guest, ops, ending);
    }

    #[test]
    fn any_schedule_through_a_worker_that_cannot_wait_keeps_every_byte_up_to_the_first_end(
        guest in guests_that_cannot_wait(), ops in vec(ops(), 1..60), ending in endings()
    ) {
        follow(guest, ops, ending);
    }

    #[test]
    fn any_schedule_through_a_half_closing_worker_keeps_every_byte_and_both_ends(
        guest in half_closing_guests(), ops in vec(ops(), 1..60), ending in endings()
    ) {
        follow(guest, ops, ending);
    }

    #[test]
    fn any_schedule_through_a_buffer_of_any_size_keeps_every_byte_and_both_ends(
        guest in guests_of_any_size(), ops in vec(ops(), 1..60), ending in endings()
    ) {
        follow(guest, ops, ending);
    }

    #[test]
    fn any_schedule_through_a_blocking_worker_keeps_every_message_and_its_turn(
        guest in guests_that_take_turns(), ops in vec(ops(), 1..60), ending in endings()
    ) {
        follow(guest, ops, ending);
    }
}

/// What one side does at full speed: a cycle of write sizes and of read sizes.
#[derive(Clone, Debug)]
struct Pace {
    writes: Vec<usize>,
    reads: Vec<usize>,
}

impl Pace {
    /// Maximum number of bytes in each direction, so that they take only a moment.
    fn budget(&self) -> u64 {
        let mean = |sizes: &[usize]| sizes.iter().sum::<usize>() / sizes.len();
        mean(&self.writes).min(mean(&self.reads)).max(1) as u64 * PIECES
    }
}

fn paces() -> impl Strategy<Value = Pace> {
    (vec(sizes(), 1..8), vec(sizes(), 1..8)).prop_map(|(writes, reads)| Pace { writes, reads })
}

/// Writes `total` bytes of one stream and its end, and reads as many of the other. Never waits in
/// one while the other can continue. `moves` counts for both sides together, because the module may
/// serve one side for as long as that side has bytes.
fn keep_pace(socket: &dyn Socket, pace: &Pace, seeds: (u64, u64), total: u64, moves: &AtomicU64) {
    let (mut out, mut back) = (Pattern::new(seeds.0), Pattern::new(seeds.1));
    let (mut writes, mut reads) = (pace.writes.iter().cycle(), pace.reads.iter().cycle());
    let mut patience = Patience::new();
    let mut pending = Vec::new();
    let mut buf = vec![0; 300_000];
    let (mut sent_all, mut read_all) = (false, false);
    let mut wait = Wait::Not;
    while !(sent_all && read_all) {
        let mut moved = false;
        if pending.is_empty() {
            let len = *writes.next().expect("a cycle");
            let left = total - out.position();
            pending = out.take(usize::try_from(left).map_or(len, |left| len.min(left)));
        }
        if !pending.is_empty() {
            socket.set_wait(Wait::Not);
            if let Some(len) = ready(socket.put(&pending)) {
                moved = true;
                pending.drain(..len);
            }
        } else if !sent_all {
            socket.end();
            sent_all = true;
        }
        if !read_all {
            let len = *reads.next().expect("a cycle");
            socket.set_wait(wait);
            if let Some(len) = ready(socket.get(&mut buf[..len])) {
                moved = true;
                back.check(&buf[..len]);
                read_all = len == 0;
            }
        }
        moves.fetch_add(u64::from(moved), Ordering::Relaxed);
        patience.note(moves.load(Ordering::Relaxed), (&out, &back));
        wait = if moved { Wait::Not } else { Wait::Briefly };
    }
    assert_eq!(back.position(), total, "the stream ended elsewhere");
}

/// The number of bytes that a call moved. `None` if it would have to wait.
#[track_caller]
fn ready(result: std::io::Result<usize>) -> Option<usize> {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    match result {
        Ok(len) => Some(len),
        Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => None,
        Err(error) => panic!("{error:?}"),
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn both_directions_at_once_at_full_speed_in_any_pieces_keep_every_byte(
        guest in prop_oneof![half_closing_guests(), guests_of_any_size()],
        application in paces(),
        peer in paces(),
    ) {
        within(LONG, move || {
            let total = guest.budget(application.budget().min(peer.budget()).min(4 * BUDGET));
            let Pair { conn, peer: socket } = guest.connect();
            let moves = AtomicU64::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| keep_pace(&socket, &peer, (2, 1), total, &moves));
                keep_pace(&conn, &application, (1, 2), total, &moves);
            });
            conn.close().expect("a clean end");
        });
    }
}

/// A message after which its writer does nothing: the pause before it, and its size.
#[derive(Clone, Debug)]
struct Message {
    from: Side,
    /// In microseconds. The pauses vary, so that the module is met in all states between busy and
    /// asleep.
    pause: u64,
    len: usize,
}

fn messages() -> impl Strategy<Value = Message> {
    // Sizes that the buffers take at once, whatever the module does.
    let sizes = prop_oneof![
        8 => 1usize..100,
        2 => select(&SIZES[..17]),
    ];
    let pauses = prop_oneof![Just(0), 1u64..20, 20u64..300];
    (sides(), pauses, sizes).prop_map(|(from, pause, len)| Message { from, pause, len })
}

/// Sends each message and expects it on the other side.
fn pass(pair: &Pair, messages: &[Message]) {
    let Pair { conn, peer } = pair;
    let mut patterns = [Pattern::new(1), Pattern::new(2)];
    for message in messages {
        let until = Instant::now() + Duration::from_micros(message.pause);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let (from, to): (&dyn Socket, &dyn Socket) = match message.from {
            Side::Application => (conn, peer),
            Side::Peer => (peer, conn),
        };
        let pattern = &mut patterns[usize::from(message.from == Side::Peer)];
        let bytes = pattern.clone().take(message.len);
        from.set_wait(Wait::Long);
        assert_eq!(from.put(&bytes).expect("room"), bytes.len());
        let mut buf = vec![0; bytes.len()];
        let mut got = 0;
        to.set_wait(Wait::Long);
        while got < bytes.len() {
            let len = get_timely(to, &mut buf).expect("bytes without another write");
            assert!(len > 0, "an end at byte {got} of a message");
            pattern.check(&buf[..len]);
            got += len;
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn what_is_written_arrives_although_its_writer_does_nothing_more(
        guest in prop_oneof![library_guests(), half_closing_guests(), guests_of_any_size()],
        messages in vec(messages(), 1..100),
    ) {
        within(LONG, move || {
            let pair = guest.connect();
            pass(&pair, &messages);
        });
    }
}
