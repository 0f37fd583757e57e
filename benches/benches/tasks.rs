//! The same bytes through the same module, for a thread that blocks and for a task of tokio: out and
//! in with 64 KiB at a time, and round trips of 64 bytes. The task runs on an executor with one
//! thread, which is this one, or with two of its own. Beside both, the same over plain TCP, with the
//! socket of the standard library and that of tokio: what an executor costs by itself.

use std::future::Future;
use std::hint::black_box;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use watm_benches::{Peer, module, peer};
use watm_wasmer::{AsyncConn, Dialer};

/// Bytes of one read or write.
const PIECE: usize = 64 * 1024;
/// Bytes per iteration.
const VOLUME: usize = 1 << 20;
/// Bytes of a round trip.
const MESSAGE: usize = 64;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is done with a connection, and how many bytes that moves in one iteration.
#[derive(Clone, Copy)]
enum Work {
    Out,
    In,
    RoundTrip,
}

impl Work {
    const ALL: [(Self, &str, Peer); 3] = [
        (Self::Out, "task_out", Peer::Sink),
        (Self::In, "task_in", Peer::Source),
        (Self::RoundTrip, "task_round_trip", Peer::Echo),
    ];

    /// Bytes of one read or write, and how many of them an iteration has.
    fn pieces(self) -> (usize, usize) {
        match self {
            Self::Out | Self::In => (PIECE, VOLUME / PIECE),
            Self::RoundTrip => (MESSAGE, 1),
        }
    }

    /// Does it on this thread, `count` times.
    fn block(self, mut conn: impl Read + Write, count: u64) -> Duration {
        let (size, pieces) = self.pieces();
        let mut data = vec![7; size];
        let started = Instant::now();
        for _ in 0..count * pieces as u64 {
            if !matches!(self, Self::In) {
                conn.write_all(black_box(&data)).expect("the peer reads");
            }
            if !matches!(self, Self::Out) {
                conn.read_exact(black_box(&mut data))
                    .expect("the peer writes");
            }
        }
        started.elapsed()
    }

    /// Does it in a task, `count` times. Returns the connection for the next time.
    async fn run<C: AsyncRead + AsyncWrite + Unpin>(
        self,
        mut conn: C,
        count: u64,
    ) -> (C, Duration) {
        let (size, pieces) = self.pieces();
        let mut data = vec![7; size];
        let started = Instant::now();
        for _ in 0..count * pieces as u64 {
            if !matches!(self, Self::In) {
                let written = conn.write_all(black_box(&data)).await;
                written.expect("the peer reads");
            }
            if !matches!(self, Self::Out) {
                let read = conn.read_exact(black_box(&mut data)).await;
                read.expect("the peer writes");
            }
        }
        (conn, started.elapsed())
    }
}

/// Runs `future` as a task of the executor, not on this thread if the executor has its own.
fn on<T: Send + 'static>(
    executor: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    let task = executor.spawn(future);
    executor.block_on(task).expect("the task ends")
}

/// Measures a connection in tasks of an executor.
fn in_tasks<C: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    (work, executor): (Work, &Runtime),
    connect: impl FnOnce() -> Result<C>,
) -> Result<()> {
    let mut conn = Some(connect()?);
    group.bench_function(name, |b| {
        b.iter_custom(|count| {
            let taken = conn.take().expect("it was put back");
            let (back, time) = on(executor, work.run(taken, count));
            conn = Some(back);
            time
        });
    });
    Ok(())
}

fn run(c: &mut Criterion) -> Result<()> {
    let dialer = Dialer::builder(&module("plain16k")?).build()?;
    let executors = [
        (
            "one_thread",
            Builder::new_current_thread().enable_io().build()?,
        ),
        (
            "two_threads",
            Builder::new_multi_thread()
                .worker_threads(2)
                .enable_io()
                .build()?,
        ),
    ];
    for (work, name, kind) in Work::ALL {
        let peer = peer(kind)?;
        let (size, pieces) = work.pieces();
        let mut group = c.benchmark_group(name);
        if !matches!(work, Work::RoundTrip) {
            group.throughput(Throughput::Bytes((size * pieces) as u64));
        }
        let conn = dialer.dial(peer)?;
        group.bench_function("thread", |b| {
            b.iter_custom(|count| work.block(&conn, count));
        });
        drop(conn);
        let plain = std::net::TcpStream::connect(peer)?;
        plain.set_nodelay(true)?;
        group.bench_function("tcp_thread", |b| {
            b.iter_custom(|count| work.block(&plain, count));
        });
        drop(plain);
        for (name, executor) in &executors {
            in_tasks(&mut group, name, (work, executor), || {
                Ok(AsyncConn::from(dialer.dial(peer)?))
            })?;
            in_tasks(&mut group, &format!("tcp_{name}"), (work, executor), || {
                let plain = executor.block_on(TcpStream::connect(peer))?;
                plain.set_nodelay(true)?;
                Ok(plain)
            })?;
        }
        group.finish();
    }
    Ok(())
}

fn tasks(c: &mut Criterion) {
    run(c).expect("loopback and the test module are there");
}

criterion_group!(benches, tasks);
criterion_main!(benches);
