//! What one host call costs a guest, compared with an empty loop and a call within the guest. Also
//! what the system functions behind some of these calls cost the host.

use std::hint::black_box;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Instant, SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use watm_benches::{Call, Calls};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn from_the_guest(c: &mut Criterion) -> Result<()> {
    let mut calls = Calls::start()?;
    let mut group = c.benchmark_group("host_calls");
    group.throughput(Throughput::Elements(1));
    for (name, call) in Call::MEASURED {
        group.bench_function(name, |b| {
            // One command covers all iterations: sending a command costs as much as hundreds of
            // calls.
            b.iter_custom(|count| {
                let started = Instant::now();
                calls
                    .run(call, count)
                    .expect("the guest does as it is told");
                started.elapsed()
            });
        });
    }
    group.finish();
    Ok(())
}

fn from_the_host(c: &mut Criterion) -> Result<()> {
    let (mut empty, _peer) = UnixStream::pair()?;
    empty.set_nonblocking(true)?;
    let mut group = c.benchmark_group("host_calls/raw/system");
    group.throughput(Throughput::Elements(1));
    group.bench_function("read_again", |b| {
        b.iter(|| {
            let refused = empty.read(black_box(&mut [0; 1024]));
            assert!(refused.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        });
    });
    group.bench_function("clock", |b| b.iter(|| black_box(SystemTime::now())));
    group.bench_function("yield", |b| b.iter(thread::yield_now));
    group.finish();
    Ok(())
}

fn host_calls(c: &mut Criterion) {
    let result = from_the_guest(c).and_then(|()| from_the_host(c));
    result.expect("the guest of the benchmark runs");
}

criterion_group!(benches, host_calls);
criterion_main!(benches);
