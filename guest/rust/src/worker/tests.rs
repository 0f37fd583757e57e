//! The worker on a scripted host.

use std::collections::VecDeque;

use super::*;
use crate::codec::Identity;
use crate::output::Output;

/// What a side has to read, in this order. After the last one there is nothing for now.
#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    End,
    Fail(Error),
}

use Step::{Bytes, End, Fail};

/// How a side takes writes.
#[derive(Clone, Copy, Debug)]
enum Taking {
    All,
    /// So many bytes, and then none until the next poll for writing.
    Short(usize),
    /// Every other write, and then none until the next poll for writing.
    EveryOther,
    /// A write of up to so many bytes, and longer ones not at all. Polls report room all the same.
    Whole(usize),
    /// Nothing, ever.
    Nothing,
    Failing(Error),
}

struct Peer {
    steps: VecDeque<Step>,
    taking: Taking,
    has_room: bool,
    written: Vec<u8>,
    is_shut: bool,
    shutdown: Result<()>,
}

impl Peer {
    fn new(steps: Vec<Step>) -> Self {
        Peer {
            steps: steps.into(),
            taking: Taking::All,
            has_room: true,
            written: Vec::new(),
            is_shut: false,
            shutdown: Ok(()),
        }
    }

    fn taking(mut self, taking: Taking) -> Self {
        self.taking = taking;
        self
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.steps.front_mut() {
            Some(Bytes(bytes)) => {
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes[..length]);
                bytes.drain(..length);
                if bytes.is_empty() {
                    self.steps.pop_front();
                }
                Ok(length)
            }
            Some(End) => Ok(0),
            Some(&mut Fail(error)) => Err(error),
            None => Err(Error::AGAIN),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        assert!(!self.is_shut, "a write after the end");
        let length = match self.taking {
            Taking::Nothing => return Err(Error::AGAIN),
            Taking::Short(_) | Taking::EveryOther if !self.has_room => return Err(Error::AGAIN),
            Taking::Whole(most) if bytes.len() > most => return Err(Error::AGAIN),
            Taking::Failing(error) => return Err(error),
            Taking::Short(most) => bytes.len().min(most),
            Taking::All | Taking::EveryOther | Taking::Whole(_) => bytes.len(),
        };
        self.has_room = false;
        self.written.extend(&bytes[..length]);
        Ok(length)
    }

    fn is_writable(&self) -> bool {
        !matches!(self.taking, Taking::Nothing)
    }
}

/// Keeps a journal of its calls. Cancels when a poll has nothing to report.
struct Script {
    internal: Peer,
    network: Peer,
    journal: Vec<String>,
    polls: usize,
    /// Cancels in this poll.
    cancel: usize,
}

impl Script {
    fn new(internal: Peer, network: Peer) -> Self {
        Script {
            internal,
            network,
            journal: Vec::new(),
            polls: 0,
            cancel: usize::MAX,
        }
    }

    fn end(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::Internal => &mut self.internal,
            Side::Network => &mut self.network,
        }
    }

    fn run(&mut self, encoder: impl Codec, decoder: impl Codec) -> Result<()> {
        self.run_after(b"", encoder, decoder, SMALL)
    }

    fn run_after(
        &mut self,
        unread: &[u8],
        encoder: impl Codec,
        decoder: impl Codec,
        limits: Limits,
    ) -> Result<()> {
        run(
            self,
            Session {
                encoder,
                decoder,
                unread: unread.to_vec(),
            },
            limits,
        )
    }
}

const SMALL: Limits = Limits {
    read_size: 16,
    input: 64,
    output: 32,
};

impl Host for Script {
    fn poll(&mut self, wanted: Interests) -> Result<Ready> {
        self.polls += 1;
        assert!(self.polls < 100_000, "it spins");
        let mut entry = "poll".to_owned();
        let mut ready = Ready::default();
        for (side, name) in [(Side::Internal, "internal"), (Side::Network, "network")] {
            let wanted = wanted.of(side);
            let end = self.end(side);
            let found = ready.sides.of_mut(side);
            if wanted.read {
                entry += &format!(" read {name}");
                found.read = !end.steps.is_empty();
            }
            if wanted.write {
                entry += &format!(" write {name}");
                found.write = end.is_writable();
                end.has_room = true;
            }
        }
        self.journal.push(entry);
        ready.cancelled = ready == Ready::default() || self.polls >= self.cancel;
        Ok(ready)
    }

    fn read(&mut self, side: Side, buffer: &mut [u8]) -> Result<usize> {
        let result = self.end(side).read(buffer);
        self.journal.push(format!("read {side:?} {result:?}"));
        result
    }

    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize> {
        let result = self.end(side).write(bytes);
        self.journal
            .push(format!("write {side:?} {} {result:?}", bytes.len()));
        result
    }

    fn shutdown_write(&mut self, side: Side) -> Result<()> {
        self.journal.push(format!("shutdown {side:?}"));
        let end = self.end(side);
        assert!(!end.is_shut, "a second end");
        end.is_shut = end.shutdown.is_ok();
        end.shutdown
    }
}

fn bytes(text: &str) -> Step {
    Bytes(text.as_bytes().to_vec())
}

/// Frames with their length in one byte. The encoder makes frames of up to 5 bytes.
struct Frame;
struct Unframe;

impl Codec for Frame {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        let frame = &input[..input.len().min(5)];
        if !frame.is_empty() {
            output.push(&[frame.len() as u8]);
            output.push(frame);
        }
        Ok(frame.len())
    }

    fn finish(&mut self, _rest: &[u8], output: &mut Output) -> Result<()> {
        output.push(&[0]);
        Ok(())
    }
}

impl Codec for Unframe {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        let length = match input.first() {
            Some(&(200..=255)) => {
                output.push(b"garbage");
                return Err(Error::PROTO);
            }
            Some(&length) => usize::from(length),
            None => return Ok(0),
        };
        match input.get(1..1 + length) {
            Some(frame) => output.push(frame),
            None => return Ok(0),
        };
        Ok(1 + length)
    }
}

/// Makes a hundred bytes of each, as far as the output allows.
#[derive(Default)]
struct Inflate(usize, u8);

impl Codec for Inflate {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        let taken = match input.first() {
            Some(&byte) if self.0 == 0 => {
                *self = Inflate(100, byte);
                1
            }
            _ => 0,
        };
        while self.0 > 0 && !output.is_full() {
            self.0 -= 1;
            output.push(&[self.1]);
        }
        Ok(taken)
    }
}

#[test]
fn a_wake_up_costs_one_poll_one_read_and_one_write() {
    let internal = Peer::new(vec![bytes("hello")]);
    let mut host = Script::new(internal, Peer::new(vec![]));
    assert_eq!(host.run(Identity, Identity), Err(Error::CANCELED));
    let expected = [
        "poll read internal read network",
        "read Internal Ok(5)",
        "write Network 5 Ok(5)",
        "poll read internal read network",
    ];
    assert_eq!(host.journal, expected);
}

#[test]
fn a_read_that_fills_the_buffer_is_followed_by_another_for_one_turn() {
    let internal = Peer::new(vec![Bytes(vec![1; 16 * 20])]);
    let mut host = Script::new(internal, Peer::new(vec![]));
    assert_eq!(host.run(Identity, Identity), Err(Error::CANCELED));
    assert_eq!(host.network.written.len(), 16 * 20);
    assert_eq!(host.polls, 4, "{:?}", host.journal);
}

#[test]
fn each_direction_ends_on_its_own() {
    let internal = Peer::new(vec![bytes("request"), End]);
    let network = Peer::new(vec![bytes("an"), bytes("swer"), End]);
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Frame, Identity), Ok(()));
    assert_eq!(host.network.written, b"\x05reque\x02st\0");
    assert_eq!(host.internal.written, b"answer");
    assert!(host.internal.is_shut && host.network.is_shut);
    let last_words = host
        .journal
        .iter()
        .position(|entry| entry == "shutdown Network");
    let answer = host
        .journal
        .iter()
        .position(|entry| entry == "write Internal 4 Ok(4)");
    assert!(last_words < answer, "{:?}", host.journal);
}

#[test]
fn an_end_waits_until_all_is_written() {
    let internal = Peer::new(vec![bytes("hello"), End]);
    let network = Peer::new(vec![End]).taking(Taking::Short(1));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Frame, Identity), Ok(()));
    assert_eq!(host.network.written, b"\x05hello\0");
    assert!(host.network.is_shut);
}

#[test]
fn nothing_is_read_while_the_other_side_takes_nothing() {
    let internal = Peer::new(vec![Bytes(vec![1; 1000])]);
    let network = Peer::new(vec![bytes("news")]).taking(Taking::Nothing);
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Identity, Identity), Err(Error::CANCELED));
    let reads = host
        .journal
        .iter()
        .filter(|entry| entry.starts_with("read Internal"));
    assert_eq!(reads.count(), 1);
    assert_eq!(
        host.internal.written, b"news",
        "the other direction goes on"
    );
    assert_eq!(
        host.journal.last().expect("a poll"),
        "poll read network write network"
    );
}

#[test]
fn a_refused_write_is_repeated_when_there_is_room_and_not_before() {
    let internal = Peer::new(vec![bytes("one"), bytes("two"), End]);
    let network = Peer::new(vec![End]).taking(Taking::EveryOther);
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Identity, Identity), Ok(()));
    assert_eq!(host.network.written, b"onetwo");
    let refused: Vec<_> = host
        .journal
        .iter()
        .filter(|entry| entry.contains("AGAIN"))
        .collect();
    assert_eq!(refused, ["write Network 3 Err(Error(EAGAIN))"]);
}

#[test]
fn a_host_that_takes_only_small_writes_as_a_whole_gets_small_ones() {
    let internal = Peer::new(vec![Bytes((0..100).collect()), End]);
    let network = Peer::new(vec![End]).taking(Taking::Whole(3));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Identity, Identity), Ok(()));
    assert_eq!(host.network.written, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_write_that_follows_one_into_reported_room_is_not_repeated_in_parts() {
    let internal = Peer::new(vec![bytes("ab")]);
    let network = Peer::new(vec![End]).taking(Taking::EveryOther);
    let mut host = Script::new(internal, network);
    host.network.has_room = false;
    host.cancel = 4;
    let result = host.run(Inflate::default(), Identity);
    assert_eq!(result, Err(Error::CANCELED));
    let writes = host
        .journal
        .iter()
        .filter(|entry| entry.starts_with("write Network"));
    for entry in writes {
        assert!(entry.starts_with("write Network 32 "), "{entry}");
    }
}

#[test]
fn control_ends_the_worker_at_once() {
    let internal = Peer::new(vec![bytes("lost")]);
    let mut host = Script::new(internal, Peer::new(vec![]));
    host.cancel = 1;
    assert_eq!(host.run(Identity, Identity), Err(Error::CANCELED));
    assert_eq!(host.journal.len(), 1);
}

#[test]
fn a_reset_comes_after_the_bytes_before_it() {
    let network = Peer::new(vec![bytes("last words"), Fail(Error::CONNRESET)]);
    let internal = Peer::new(vec![]).taking(Taking::Short(3));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Identity, Identity), Err(Error::CONNRESET));
    assert_eq!(host.internal.written, b"last words");
    assert!(
        !host.internal.is_shut,
        "a failure does not look like an end"
    );
}

#[test]
fn a_failed_write_is_reported_after_the_last_words_of_the_peer() {
    let internal = Peer::new(vec![bytes("request"), bytes("more")]);
    let network = Peer::new(vec![bytes("too"), bytes(" large"), End]);
    let mut host = Script::new(internal, network.taking(Taking::Failing(Error::PIPE)));
    assert_eq!(host.run(Identity, Identity), Err(Error::PIPE));
    assert_eq!(host.internal.written, b"too large");
    let writes = host
        .journal
        .iter()
        .filter(|entry| entry.starts_with("write Network"));
    assert_eq!(writes.count(), 1);
}

#[test]
fn a_failed_write_after_the_end_of_the_other_direction_is_reported_at_once() {
    let internal = Peer::new(vec![bytes("x")]);
    let network = Peer::new(vec![End]).taking(Taking::Failing(Error::CONNRESET));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Identity, Identity), Err(Error::CONNRESET));
}

#[test]
fn a_broken_frame_fails_after_the_frames_before_it() {
    let network = Peer::new(vec![Bytes(b"\x02ab\x01c\xff\x01d".to_vec())]);
    let internal = Peer::new(vec![]).taking(Taking::Short(1));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Frame, Unframe), Err(Error::PROTO));
    assert_eq!(host.internal.written, b"abc");
    assert!(!host.internal.is_shut);
}

#[test]
fn the_error_of_a_codec_is_the_one_even_if_its_last_write_fails() {
    let network = Peer::new(vec![Bytes(b"\x01a\xff".to_vec())]);
    let internal = Peer::new(vec![]).taking(Taking::Failing(Error::PIPE));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Frame, Unframe), Err(Error::PROTO));
}

#[test]
fn a_stream_that_is_cut_in_a_frame_is_an_error() {
    let network = Peer::new(vec![Bytes(b"\x02ab\x03c".to_vec()), End]);
    let mut host = Script::new(Peer::new(vec![]), network);
    assert_eq!(host.run(Frame, Unframe), Err(Error::PROTO));
    assert_eq!(host.internal.written, b"ab");
    assert!(!host.internal.is_shut);
}

#[test]
fn what_the_handshake_has_read_ahead_is_decoded_before_the_first_poll() {
    let mut host = Script::new(Peer::new(vec![]), Peer::new(vec![]));
    let result = host.run_after(b"\x05early", Frame, Unframe, SMALL);
    assert_eq!(result, Err(Error::CANCELED));
    assert_eq!(host.journal[0], "write Internal 5 Ok(5)");
}

#[test]
fn part_of_a_frame_that_was_read_ahead_is_completed() {
    let network = Peer::new(vec![bytes("rly"), End]);
    let mut host = Script::new(Peer::new(vec![End]), network);
    assert_eq!(host.run_after(b"\x05ea", Frame, Unframe, SMALL), Ok(()));
    assert_eq!(host.internal.written, b"early");
}

#[test]
fn a_codec_that_makes_much_of_little_waits_for_its_output_to_be_written() {
    let internal = Peer::new(vec![bytes("ab"), End]);
    let network = Peer::new(vec![End]).taking(Taking::Short(40));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Inflate::default(), Identity), Ok(()));
    assert_eq!(host.network.written, [[b'a'; 100], [b'b'; 100]].concat());
    for entry in host
        .journal
        .iter()
        .filter(|entry| entry.starts_with("write Network"))
    {
        let length: usize = entry
            .split(' ')
            .nth(2)
            .and_then(|n| n.parse().ok())
            .expect("a length");
        assert!(length <= SMALL.output, "{entry}");
    }
}

#[test]
fn a_codec_that_never_ends_does_not_keep_control_out() {
    struct Endless;
    impl Codec for Endless {
        fn transform(&mut self, _input: &[u8], output: &mut Output) -> Result<usize> {
            output.push(&[0; 32]);
            Ok(0)
        }
    }
    let mut host = Script::new(Peer::new(vec![bytes("x")]), Peer::new(vec![]));
    host.cancel = 5;
    assert_eq!(host.run(Endless, Identity), Err(Error::CANCELED));
    assert_eq!(
        host.journal[host.journal.len() - 1],
        "poll read network write network"
    );
}

#[test]
fn a_frame_that_is_too_long_is_an_error() {
    let network = Peer::new(vec![Bytes([vec![100], vec![0; 99]].concat())]);
    let mut host = Script::new(Peer::new(vec![]), network);
    assert_eq!(host.run(Frame, Unframe), Err(Error::MSGSIZE));
}

#[test]
fn a_codec_cannot_take_more_than_there_is() {
    struct Greedy;
    impl Codec for Greedy {
        fn transform(&mut self, input: &[u8], _output: &mut Output) -> Result<usize> {
            Ok(input.len() + 1)
        }
    }
    let mut host = Script::new(Peer::new(vec![bytes("x")]), Peer::new(vec![]));
    assert_eq!(host.run(Greedy, Identity), Err(Error::OVERFLOW));
}

#[test]
fn a_side_that_is_gone_need_not_be_told_of_the_end() {
    let mut network = Peer::new(vec![End]);
    network.shutdown = Err(Error::NOTCONN);
    let mut host = Script::new(Peer::new(vec![End]), network);
    assert_eq!(host.run(Identity, Identity), Ok(()));
}

#[test]
fn without_half_close_the_first_end_is_that_of_the_connection() {
    let mut network = Peer::new(vec![bytes("pending"), bytes("unread")]);
    network.shutdown = Err(Error::NOSYS);
    // The end comes while what the network has sent is still to be written.
    let internal = Peer::new(vec![bytes("x"), End]).taking(Taking::Short(3));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Frame, Identity), Ok(()));
    assert_eq!(host.network.written, b"\x01x\0");
    assert_eq!(host.internal.written, b"pending");
}

#[test]
fn without_half_close_what_was_read_is_still_worked_on() {
    let mut network = Peer::new(vec![bytes("abc")]);
    network.shutdown = Err(Error::NOSYS);
    let internal = Peer::new(vec![bytes("x"), End]).taking(Taking::Short(7));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Frame, Inflate::default()), Ok(()));
    let expected = [[b'a'; 100], [b'b'; 100], [b'c'; 100]].concat();
    assert_eq!(host.internal.written, expected);
}

#[test]
fn without_half_close_part_of_a_frame_is_an_error() {
    let mut network = Peer::new(vec![Bytes(b"\x02ab\x03c".to_vec())]);
    network.shutdown = Err(Error::NOSYS);
    let internal = Peer::new(vec![bytes("x"), End]).taking(Taking::Short(1));
    let mut host = Script::new(internal, network);
    assert_eq!(host.run(Frame, Unframe), Err(Error::PROTO));
    assert_eq!(host.network.written, b"\x01x\0");
    assert_eq!(host.internal.written, b"ab");
    assert!(!host.internal.is_shut);
}

#[test]
fn an_interrupted_call_is_none() {
    let internal = Peer::new(vec![bytes("x"), End]).taking(Taking::All);
    let network = Peer::new(vec![End]);
    let mut host = Interrupting(Script::new(internal, network), false);
    let session = Session {
        encoder: Identity,
        decoder: Identity,
        unread: Vec::new(),
    };
    assert_eq!(run(&mut host, session, SMALL), Ok(()));
    assert_eq!(host.0.network.written, b"x");
}

/// Interrupts every other read and write.
struct Interrupting(Script, bool);

impl Interrupting {
    fn interrupt(&mut self) -> Result<()> {
        self.1 = !self.1;
        if self.1 { Err(Error::INTR) } else { Ok(()) }
    }
}

impl Host for Interrupting {
    fn poll(&mut self, wanted: Interests) -> Result<Ready> {
        self.0.poll(wanted)
    }

    fn read(&mut self, side: Side, buffer: &mut [u8]) -> Result<usize> {
        self.interrupt()?;
        self.0.read(side, buffer)
    }

    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize> {
        self.interrupt()?;
        self.0.write(side, bytes)
    }

    fn shutdown_write(&mut self, side: Side) -> Result<()> {
        self.0.shutdown_write(side)
    }
}

/// A generator of numbers, which needs only to be the same in every run: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    /// In pieces of any size, and then the end.
    fn steps(&mut self, mut bytes: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(1 + self.below(bytes.len().min(50)));
            steps.push(Bytes(piece.to_vec()));
            bytes = rest;
        }
        steps.push(End);
        steps
    }

    fn taking(&mut self) -> Taking {
        match self.below(4) {
            0 => Taking::All,
            1 => Taking::EveryOther,
            2 => Taking::Short(1 + self.below(20)),
            _ => Taking::Whole(1 + self.below(20)),
        }
    }
}

#[test]
fn no_byte_is_lost_doubled_or_swapped_on_any_host() {
    for seed in 1..=500_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let length = random.below(600);
        let sent = random.bytes(length);
        let encoded = crate::testing::run(&mut Frame, &sent, 7).expect("it never fails");
        let internal = Peer::new(random.steps(&sent)).taking(random.taking());
        let unread = random.below(encoded.len() + 1);
        let (unread, rest) = encoded.split_at(unread);
        let network = Peer::new(random.steps(rest)).taking(random.taking());
        let limits = Limits {
            read_size: 1 + random.below(40),
            input: 64,
            output: 1 + random.below(40),
        };
        let what = format!(
            "seed {seed}: {:?} {:?} {limits:?}",
            internal.taking, network.taking
        );
        let mut host = Script::new(internal, network);
        assert_eq!(
            host.run_after(unread, Frame, Unframe, limits),
            Ok(()),
            "{what}"
        );
        assert_eq!(host.internal.written, sent, "{what}");
        let decoded = crate::testing::run(&mut Unframe, &host.network.written, 3);
        assert_eq!(decoded, Ok(sent), "{what}");
        assert!(host.internal.is_shut && host.network.is_shut, "{what}");
    }
}
