//! One connection: its route, what it carries, and how it ends.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use watm_tests::Pattern;
use watm_wasmer::{Outcome, TransportError};

use crate::random::Random;
use crate::route::{End, Route, open};

/// Modules that end at the first end of stream, and do not read while they cannot write.
const SIMPLE: [&str; 5] = ["plain", "plain16k", "plain_reactor", "rust_plain", "xor"];
/// Modules that forward an end of stream, and read even while they have data to write. `anysize`
/// forwards it too, but writes like the simple ones.
const THOROUGH: [&str; 2] = ["halfclose", "rust_tcp"];
/// Number of bytes that always fit into the buffers on the way.
const FITS: u64 = 16 << 10;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// After all data: the end that opened the connection closes first.
    OpenerCloses,
    /// After all data: the other end closes first.
    OtherCloses,
    /// Each end shuts down writing after its data, one after the other.
    HalfCloses,
    /// The opener drops its end right after it has written. Nothing is sent the other way.
    Dropped,
    /// The opener resets or drops its end while bytes are in flight.
    OpenerResets,
    /// The other end does the same.
    OtherResets,
}

/// What one end sends, and how.
#[derive(Clone, Copy, Debug)]
struct Flow {
    seed: u64,
    total: u64,
    piece: usize,
    /// Size of the reader's buffer, in bytes.
    reads: usize,
    /// Whether the reader rests now and then.
    slow: bool,
}

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) route: Route,
    pub(crate) module: &'static str,
    config: String,
    there: Flow,
    back: Flow,
    /// Whether both flows run at the same time.
    together: bool,
    ending: Ending,
}

/// How the transports of a case ended, as far as the ends know.
#[derive(Debug)]
pub(crate) struct CaseEnd {
    /// Number of bytes that were read and found correct.
    pub(crate) bytes: u64,
    pub(crate) outcomes: Vec<Result<Outcome, TransportError>>,
}

impl Case {
    pub(crate) fn random(random: &mut Random) -> Self {
        let routes = [
            Route::Dial,
            Route::DialFixed,
            Route::Listen,
            Route::Both,
            Route::Relay,
            Route::Chain,
        ];
        let mut route = random.pick(&routes);
        let thorough = random.once_in(3);
        let (module, config) = if thorough {
            if random.once_in(2) {
                ("anysize", random.length(15).to_string())
            } else {
                (random.pick(&THOROUGH), String::new())
            }
        } else {
            let module = random.pick(&SIMPLE);
            (
                module,
                if module == "xor" {
                    "a key".to_owned()
                } else {
                    String::new()
                },
            )
        };
        if module == "xor" && !route.is_even() {
            route = random.pick(&[Route::Both, Route::Chain]);
        }
        let endings = [
            Ending::OpenerCloses,
            Ending::OtherCloses,
            Ending::HalfCloses,
            Ending::Dropped,
            Ending::OpenerResets,
            Ending::OtherResets,
        ];
        let mut ending = random.pick(&endings);
        if ending == Ending::HalfCloses && !thorough {
            ending = Ending::OpenerCloses;
        }
        // One byte at a time is slow through a module with a buffer of one byte.
        let bits = if module == "anysize" { 15 } else { 22 };
        let (there, mut back) = (Flow::random(random, bits), Flow::random(random, bits));
        let reads_always = thorough && module != "anysize";
        if matches!(ending, Ending::OpenerResets | Ending::OtherResets) && !reads_always {
            // Nobody reads these, and a module that waits to write them would not read either.
            back.total = back.total.min(FITS);
        }
        let fits = there.total <= FITS && back.total <= FITS;
        let together = (fits || reads_always) && random.once_in(2);
        Self {
            route,
            module,
            config,
            there,
            back,
            together,
            ending,
        }
    }

    /// # Panics
    ///
    /// Panics if a byte is wrong, missing or extra, or if the end is not the expected one.
    pub(crate) fn run(&self) -> CaseEnd {
        let (a, b, on_the_way) = open(self.route, self.module, &self.config).split();
        let (bytes, outcomes) = match self.ending {
            Ending::OpenerCloses => {
                let bytes = self.converse(&a, &b);
                (bytes, self.close_in_order(a, b))
            }
            Ending::OtherCloses => {
                let bytes = self.converse(&a, &b);
                (bytes, self.close_in_order(b, a))
            }
            Ending::HalfCloses => self.half_close(a, b),
            Ending::Dropped => self.drop_behind(a, b),
            Ending::OpenerResets => self.cut(a, b),
            Ending::OtherResets => self.cut(b, a),
        };
        drop(on_the_way);
        CaseEnd { bytes, outcomes }
    }

    /// Runs both flows to their ends.
    fn converse(&self, a: &End, b: &End) -> u64 {
        thread::scope(|scope| {
            let there = scope.spawn(|| self.there.send(a));
            self.there.receive(b);
            if !self.together {
                join(there);
                let back = scope.spawn(|| self.back.send(b));
                self.back.receive(a);
                join(back);
                return;
            }
            let back = scope.spawn(|| self.back.send(b));
            self.back.receive(a);
            join(there);
            join(back);
        });
        self.there.total + self.back.total
    }

    fn close_in_order(&self, first: End, second: End) -> Vec<Result<Outcome, TransportError>> {
        let mut outcomes = vec![first.close()];
        expect_end(&second);
        outcomes.push(second.close());
        let outcomes: Vec<_> = outcomes.into_iter().filter_map(Result::transpose).collect();
        for outcome in &outcomes {
            assert!(outcome.is_ok(), "it was closed in order: {outcome:?}");
        }
        outcomes
    }

    fn half_close(&self, a: End, b: End) -> (u64, Vec<Result<Outcome, TransportError>>) {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                self.there.send(&a);
                a.shutdown_write();
            });
            self.there.receive(&b);
            expect_end(&b);
            join(there);
            let back = scope.spawn(|| {
                self.back.send(&b);
                b.shutdown_write();
            });
            self.back.receive(&a);
            expect_end(&a);
            join(back);
        });
        let bytes = self.there.total + self.back.total;
        let outcomes: Vec<_> = [a.close(), b.close()]
            .into_iter()
            .filter_map(Result::transpose)
            .collect();
        for outcome in &outcomes {
            assert!(
                outcome.is_ok(),
                "each half was closed in order: {outcome:?}"
            );
        }
        (bytes, outcomes)
    }

    /// What was written before a drop must arrive, and nothing else.
    fn drop_behind(&self, a: End, b: End) -> (u64, Vec<Result<Outcome, TransportError>>) {
        thread::scope(|scope| {
            let there = scope.spawn(move || {
                self.there.send(&a);
                drop(a);
            });
            self.there.receive(&b);
            expect_end(&b);
            join(there);
        });
        let outcome = b.close().transpose();
        (self.there.total, outcome.into_iter().collect())
    }

    /// One end goes away in the middle. The other must get a correct beginning, and end.
    fn cut(&self, going: End, staying: End) -> (u64, Vec<Result<Outcome, TransportError>>) {
        let plain = going.is_plain();
        let bytes = thread::scope(|scope| {
            let staying = &staying;
            let sent = scope.spawn(move || {
                self.there.send(&going);
                going.reset();
            });
            let answers = scope.spawn(move || {
                // Fails when the other end has gone.
                let _ = self.back.try_send(staying);
            });
            let (bytes, end) = self.there.receive_some(staying);
            if let Err(error) = end {
                assert_ne!(error.kind(), io::ErrorKind::TimedOut, "{error}");
                assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            } else if !plain {
                // A drop is not a reset, but unread answers may turn it into one.
                assert!(bytes <= self.there.total);
            }
            join(sent);
            join(answers);
            bytes
        });
        let outcome = staying.close().transpose();
        (bytes, outcome.into_iter().collect())
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Expects nothing but the end.
fn expect_end(mut from: &End) {
    match from.read(&mut [0; 64]) {
        Ok(0) => {}
        other => panic!("expected the end: {other:?}"),
    }
}

impl Flow {
    fn random(random: &mut Random, bits: u64) -> Self {
        let slow = random.once_in(8);
        let total = random.length(if slow { 14.min(bits) } else { bits });
        let sizes = [1, 7, 100, 1024, 1500, 16384, 65536, 300_000];
        let mut piece = random.pick(&sizes);
        // Avoids millions of system calls, and a slow reader with one byte at a time.
        while total / piece as u64 > 20_000 {
            piece *= 16;
        }
        let mut reads = random.pick(&sizes);
        while total / reads as u64 > if slow { 200 } else { 20_000 } {
            reads *= 16;
        }
        Self {
            seed: random.next(),
            total,
            piece,
            reads,
            slow,
        }
    }

    fn send(&self, to: &End) {
        if let Err(error) = self.try_send(to) {
            panic!("writing failed: {error}");
        }
    }

    fn try_send(&self, mut to: &End) -> io::Result<()> {
        let mut pattern = Pattern::new(self.seed);
        let mut buf = vec![0; self.piece];
        while pattern.position() < self.total {
            let left = self.total - pattern.position();
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.piece);
            pattern.fill(&mut buf[..len]);
            to.write_all(&buf[..len])?;
        }
        Ok(())
    }

    fn receive(&self, from: &End) {
        let (bytes, end) = self.receive_up_to(from, self.total);
        if let Err(error) = end {
            panic!("reading failed at byte {bytes} of {}: {error}", self.total);
        }
        assert_eq!(bytes, self.total, "the stream ended too early");
    }

    /// Reads until the end or an error, and checks the bytes that came.
    fn receive_some(&self, from: &End) -> (u64, io::Result<()>) {
        let (bytes, end) = self.receive_up_to(from, u64::MAX);
        assert!(bytes <= self.total, "{bytes} bytes of {}", self.total);
        (bytes, end)
    }

    fn receive_up_to(&self, mut from: &End, limit: u64) -> (u64, io::Result<()>) {
        let mut pattern = Pattern::new(self.seed);
        let mut buf = vec![0; self.reads];
        while pattern.position() < limit {
            if self.slow {
                thread::sleep(Duration::from_millis(2));
            }
            let left = limit - pattern.position();
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.reads);
            match from.read(&mut buf[..len]) {
                Ok(0) => break,
                Ok(len) => pattern.check(&buf[..len]),
                Err(error) => return (pattern.position(), Err(error)),
            }
        }
        (pattern.position(), Ok(()))
    }
}
