//! Measures how much several threads move at once in a window of time.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum time of one read or write of a lane, and so the time it takes to notice the end.
pub(super) const PIECE: Duration = Duration::from_millis(50);
/// If nothing moves for this long, all lanes wait for each other.
const DEADLOCK: Duration = Duration::from_secs(5);
/// The warm-up, which fills the buffers, takes a quarter of the window.
const WARM_UP: u32 = 4;

type Move<'a> = dyn FnMut() -> io::Result<u64> + Send + 'a;

/// What one thread does repeatedly. Each step returns how much has moved. A timeout means that
/// nothing has moved.
pub(super) struct Lane<'a>(Box<Move<'a>>);

impl<'a> Lane<'a> {
    fn new(step: impl FnMut() -> io::Result<u64> + Send + 'a) -> Self {
        Self(Box::new(step))
    }

    /// Writes `size` bytes at a time and counts bytes.
    pub(super) fn write<T: Sync>(to: &'a T, size: usize) -> Self
    where
        &'a T: Write,
    {
        Self::write_in_turns(vec![to], size)
    }

    /// Like [`Lane::write`], over several connections in turn.
    pub(super) fn write_in_turns<T: Sync>(mut to: Vec<&'a T>, size: usize) -> Self
    where
        &'a T: Write,
    {
        let data = vec![7; size];
        let mut next = 0;
        Self::new(move || {
            next = (next + 1) % to.len().max(1);
            match to.get_mut(next) {
                Some(to) => Ok(to.write(black_box(&data))? as u64),
                None => Err(io::ErrorKind::NotConnected.into()),
            }
        })
    }

    /// Reads with a buffer of `size` and counts bytes.
    pub(super) fn read<T: Sync>(mut from: &'a T, size: usize) -> Self
    where
        &'a T: Read,
    {
        let mut data = vec![0; size];
        Self::new(move || match from.read(black_box(&mut data))? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => Ok(len as u64),
        })
    }

    /// Sends messages of `size`, waits for each to come back, and counts messages.
    pub(super) fn round_trips<T: Sync>(mut over: &'a T, size: usize) -> Self
    where
        &'a T: Read + Write,
    {
        let mut data = vec![7; size];
        Self::new(move || {
            over.write_all(&data)
                .and_then(|()| over.read_exact(black_box(&mut data)))
                // Half a message is lost, so the lane cannot continue.
                .map_err(|error| io::Error::other(format!("a round trip failed: {error}")))?;
            Ok(1)
        })
    }

    fn run(mut self, moved: &AtomicU64, over: &AtomicBool) -> io::Result<()> {
        while !over.load(Ordering::Relaxed) {
            match (self.0)() {
                Ok(len) => _ = moved.fetch_add(len, Ordering::Relaxed),
                Err(error) if is_time_up(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_time_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Runs all lanes at once and returns how much each moved per second.
///
/// # Errors
///
/// The first error of a lane, or [`io::ErrorKind::TimedOut`] if nothing moves.
pub(super) fn rates<const N: usize>(
    lanes: [Lane<'_>; N],
    window: Duration,
) -> io::Result<[f64; N]> {
    let mut rates = [0.0; N];
    rates.copy_from_slice(&run(lanes.into(), window)?.rates);
    Ok(rates)
}

/// How much all lanes together moved per second. Fails like [`rates`].
pub(super) fn rate(lanes: Vec<Lane<'_>>, window: Duration) -> io::Result<f64> {
    Ok(run(lanes, window)?.rates.iter().sum())
}

/// What some lanes have moved.
pub(super) struct Flow {
    /// How much each moved per second, after the warm-up.
    pub(super) rates: Vec<f64>,
    /// How much all moved, from the first step to the last.
    pub(super) moved: u64,
}

/// Runs all lanes at once. Fails like [`rates`].
pub(super) fn run(lanes: Vec<Lane<'_>>, window: Duration) -> io::Result<Flow> {
    let moved: Vec<AtomicU64> = lanes.iter().map(|_| AtomicU64::new(0)).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also ends the threads that are running if another cannot be started.
        let end = End(&over);
        let threads = lanes
            .into_iter()
            .zip(&moved)
            .map(|(lane, moved)| {
                let run = || lane.run(moved, &over);
                thread::Builder::new().spawn_scoped(scope, run)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let rates = observe(&moved, window);
        drop(end);
        for thread in threads {
            let ended = thread.join();
            ended.unwrap_or_else(|_| Err(io::Error::other("a measuring thread panicked")))?;
        }
        Ok(Flow {
            rates: rates?,
            moved: moved
                .iter()
                .map(|moved| moved.load(Ordering::Relaxed))
                .sum(),
        })
    })
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn observe(moved: &[AtomicU64], window: Duration) -> io::Result<Vec<f64>> {
    let look = || -> Vec<u64> {
        let counts = moved.iter().map(|count| count.load(Ordering::Relaxed));
        counts.collect()
    };
    thread::sleep(window / WARM_UP);
    let (started, before) = (Instant::now(), look());
    loop {
        thread::sleep(window);
        let (time, after) = (started.elapsed(), look());
        if after != before {
            let rate = |(after, before): (&u64, &u64)| (after - before) as f64 / time.as_secs_f64();
            return Ok(after.iter().zip(&before).map(rate).collect());
        }
        if time > DEADLOCK {
            let message = format!("nothing moved for {DEADLOCK:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    const WINDOW: Duration = Duration::from_millis(20);

    fn pair() -> (UnixStream, UnixStream) {
        let (one, other) = UnixStream::pair().expect("a pair");
        for stream in [&one, &other] {
            stream.set_read_timeout(Some(PIECE)).expect("a timeout");
            stream.set_write_timeout(Some(PIECE)).expect("a timeout");
        }
        (one, other)
    }

    #[test]
    fn what_one_lane_writes_another_reads() {
        let (one, other) = pair();
        let lanes = [Lane::write(&one, 1000), Lane::read(&other, 500)];
        // Even on a busy machine, each lane gets its turn in this time.
        let rates = rates(lanes, 25 * WINDOW).expect("they move");
        assert!(rates.iter().all(|rate| *rate > 0.0), "{rates:?}");
    }

    #[test]
    fn lanes_that_wait_for_each_other_are_found_out() {
        let (one, other) = pair();
        let (read_one, read_other) = (Lane::read(&one, 10), Lane::read(&other, 10));
        let error = rate(vec![read_one, read_other], WINDOW).expect_err("nobody writes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_lane_that_fails_is_an_error() {
        let (one, other) = pair();
        let (idle, _end) = pair();
        drop(other);
        let lanes = vec![Lane::read(&one, 10), Lane::write(&idle, 10)];
        let error = rate(lanes, WINDOW).expect_err("the end");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
