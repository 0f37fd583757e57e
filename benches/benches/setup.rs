//! What a connection costs before its first byte: compiling a module, dialling, closing.

use std::net::TcpStream;

use criterion::{Criterion, criterion_group, criterion_main};
use watm_benches::{Peer, module, peer};
use watm_wasmer::Dialer;

fn setup(c: &mut Criterion) {
    let sink = peer(Peer::Sink).expect("loopback");
    let plain = module("plain").expect("the test modules are there");
    let dialer = Dialer::builder(&plain).build().expect("it is a dialer");
    let address = sink.to_string();

    let mut group = c.benchmark_group("setup");
    group.bench_function("compile", |b| b.iter(|| module("plain").expect("it loads")));
    group.bench_function("connect/tcp", |b| {
        b.iter(|| TcpStream::connect(sink).expect("a peer"))
    });
    // The connection is returned, so that closing it is not part of the time.
    group.bench_function("dial/watm", |b| {
        b.iter_with_large_drop(|| dialer.dial(&address).expect("a peer"));
    });
    group.bench_function("dial_and_close/watm", |b| {
        b.iter(|| {
            dialer
                .dial(&address)
                .expect("a peer")
                .close()
                .expect("a clean end")
        });
    });
    group.finish();
}

criterion_group!(benches, setup);
criterion_main!(benches);
