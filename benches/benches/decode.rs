//! Decodes what a guest passes (iovec arrays and poll subscriptions), compared with copying the
//! same bytes.

use std::hint::black_box;

use criterion::criterion_main;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group};
use watm_abi::{IovecArray, decode_subscriptions};
use watm_benches::records::{Records, iovecs, subscriptions};

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("iovecs");
    for count in [1, 2, 16, 1024] {
        let records = iovecs(count);
        copy(&mut group, &records);
        group.bench_function(BenchmarkId::new("decode", count), |b| {
            b.iter(|| {
                let memory = black_box(&records.memory);
                IovecArray::decode(memory, 0, black_box(count)).expect("valid")
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("subscriptions");
    let mut decoded = Vec::new();
    for count in [1, 3, 64, 1024] {
        let records = subscriptions(count);
        copy(&mut group, &records);
        group.bench_function(BenchmarkId::new("decode", count), |b| {
            b.iter(|| {
                let memory = black_box(&records.memory);
                decode_subscriptions(memory, 0, black_box(count), &mut decoded).expect("valid");
                black_box(&decoded);
            });
        });
    }
    group.finish();
}

/// The baseline. The other benchmarks of the group use as many records.
fn copy(group: &mut BenchmarkGroup<'_, WallTime>, records: &Records) {
    let mut copied = records.buffer();
    group.throughput(Throughput::Elements(u64::from(records.count)));
    group.bench_function(BenchmarkId::new("raw", records.count), |b| {
        b.iter(|| records.copy(&mut copied));
    });
}

criterion_group!(benches, decode);
criterion_main!(benches);
