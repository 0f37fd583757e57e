//! Sends bytes through a pass-through module: in each direction, in both at once, and there and
//! back. The baseline of each is raw TCP to the same peer.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use watm_benches::{Peer, module, peer};
use watm_wasmer::Dialer;

/// Sizes of one read or write by the application, in bytes.
const SIZES: [usize; 4] = [64, 1024, 16 * 1024, 64 * 1024];
/// Bytes per iteration.
const VOLUME: usize = 1 << 20;
/// Limit for a stall of either direction while both are used.
const PATIENCE: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn write_volume(to: &mut impl Write, size: usize) {
    let data = vec![7; size];
    for _ in 0..VOLUME / size {
        to.write_all(black_box(&data)).expect("the peer reads");
    }
}

fn read_volume(from: &mut impl Read, size: usize) {
    let mut data = vec![0; size];
    for _ in 0..VOLUME / size {
        from.read_exact(black_box(&mut data))
            .expect("the peer writes");
    }
}

fn ping(through: &mut (impl Read + Write), size: usize) {
    let mut data = vec![7; size];
    through.write_all(&data).expect("the peer reads");
    through
        .read_exact(black_box(&mut data))
        .expect("the peer answers");
}

/// Time to move `count` volumes in each direction, both at once.
fn exchange<'a, S: Sync>(stream: &'a S, size: usize, count: u64) -> Duration
where
    &'a S: Read + Write,
{
    let started = Instant::now();
    thread::scope(|scope| {
        // One thread for all iterations: starting a thread takes as long as a tenth of a volume.
        scope.spawn(|| (0..count).for_each(|_| write_volume(&mut &*stream, size)));
        (0..count).for_each(|_| read_volume(&mut &*stream, size));
    });
    started.elapsed()
}

/// Uses a module that keeps reading one direction while the other has no room. The other modules
/// wait for room and read nothing meanwhile.
fn both(c: &mut Criterion) -> Result<()> {
    let dialer = Dialer::builder(&module("halfclose")?).build()?;
    let peer = peer(Peer::Both)?;
    let mut group = c.benchmark_group("both");
    group.throughput(Throughput::Bytes(2 * VOLUME as u64));
    for size in [1024, 64 * 1024] {
        let raw = TcpStream::connect(peer)?;
        raw.set_read_timeout(Some(PATIENCE))?;
        raw.set_write_timeout(Some(PATIENCE))?;
        group.bench_function(BenchmarkId::new("tcp", size), |b| {
            b.iter_custom(|count| exchange(&raw, size, count));
        });
        let conn = dialer.dial(peer.to_string())?;
        conn.set_read_timeout(Some(PATIENCE))?;
        conn.set_write_timeout(Some(PATIENCE))?;
        group.bench_function(BenchmarkId::new("watm", size), |b| {
            b.iter_custom(|count| exchange(&conn, size, count));
        });
    }
    group.finish();
    Ok(())
}

fn run(c: &mut Criterion) -> Result<()> {
    let dialer = Dialer::builder(&module("plain16k")?).build()?;
    let (sink, source, echo) = (peer(Peer::Sink)?, peer(Peer::Source)?, peer(Peer::Echo)?);

    let mut group = c.benchmark_group("out");
    group.throughput(Throughput::Bytes(VOLUME as u64));
    for size in SIZES {
        let mut raw = TcpStream::connect(sink)?;
        group.bench_function(BenchmarkId::new("tcp", size), |b| {
            b.iter(|| write_volume(&mut raw, size))
        });
        let mut conn = dialer.dial(sink.to_string())?;
        group.bench_function(BenchmarkId::new("watm", size), |b| {
            b.iter(|| write_volume(&mut conn, size))
        });
    }
    group.finish();

    let mut group = c.benchmark_group("in");
    group.throughput(Throughput::Bytes(VOLUME as u64));
    for size in SIZES {
        let mut raw = TcpStream::connect(source)?;
        group.bench_function(BenchmarkId::new("tcp", size), |b| {
            b.iter(|| read_volume(&mut raw, size))
        });
        let mut conn = dialer.dial(source.to_string())?;
        group.bench_function(BenchmarkId::new("watm", size), |b| {
            b.iter(|| read_volume(&mut conn, size))
        });
    }
    group.finish();

    let mut group = c.benchmark_group("round_trip");
    for size in [4, 64, 1024] {
        let mut raw = TcpStream::connect(echo)?;
        raw.set_nodelay(true)?;
        group.bench_function(BenchmarkId::new("tcp", size), |b| {
            b.iter(|| ping(&mut raw, size))
        });
        let mut conn = dialer.dial(echo.to_string())?;
        group.bench_function(BenchmarkId::new("watm", size), |b| {
            b.iter(|| ping(&mut conn, size))
        });
    }
    group.finish();
    Ok(())
}

fn throughput(c: &mut Criterion) {
    let result = run(c).and_then(|()| both(c));
    result.expect("loopback and the test modules are there");
}

criterion_group!(benches, throughput);
criterion_main!(benches);
