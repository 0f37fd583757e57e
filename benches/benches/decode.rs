//! Decoding what a guest passes: iovec arrays and poll subscriptions.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use watm_abi::{GuestMemory, IovecArray, Subscription, SubscriptionKind, decode_subscriptions};

fn decode(c: &mut Criterion) {
    let mut memory = vec![0u8; 1 << 20];

    let mut group = c.benchmark_group("iovecs");
    for count in [1u32, 2, 16, 1024] {
        for at in 0..count {
            memory
                .write_u32(8 * at, 65536 + 512 * at)
                .expect("in memory");
            memory.write_u32(8 * at + 4, 512).expect("in memory");
        }
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| IovecArray::decode(black_box(&memory), 0, black_box(count)).expect("valid"));
        });
    }
    group.finish();

    let mut group = c.benchmark_group("subscriptions");
    let mut decoded = Vec::new();
    for count in [1u32, 3, 64] {
        for at in 0..count {
            let subscription = Subscription {
                userdata: 7,
                kind: SubscriptionKind::FdRead { fd: at },
            };
            memory
                .write_bytes(48 * at, &subscription.encode())
                .expect("in memory");
        }
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                decode_subscriptions(black_box(&memory), 0, count, &mut decoded).expect("valid")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
