//! Bytes through a relay that runs a pass-through module, beside the same bytes through a plain
//! relay in its place, and straight to the peer.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use watm_benches::{Peer, module, peer, raw_relay};
use watm_wasmer::{Relay, RelayHandle, TransportModule};

/// Bytes of a message that goes there and back.
const MESSAGE: usize = 64;
/// Clients at the same time.
const CLIENTS: [usize; 2] = [1, 16];
/// Bytes of one write where throughput counts.
const PIECE: usize = 64 * 1024;
/// Bytes of one iteration of it.
const VOLUME: usize = 1 << 20;
/// How long a client waits for an answer, or for room.
const PATIENCE: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The three ways to one peer.
struct Ways {
    relay: RelayHandle,
    raw: SocketAddr,
    peer: SocketAddr,
}

impl Ways {
    fn to(peer: SocketAddr, module: &TransportModule) -> Result<Self> {
        let relay = Relay::builder(module).remote(peer.to_string());
        Ok(Self {
            relay: relay.bind("127.0.0.1:0")?.spawn()?,
            raw: raw_relay(peer)?,
            peer,
        })
    }

    fn by_name(&self) -> [(&'static str, SocketAddr); 3] {
        [
            ("tcp", self.peer),
            ("raw", self.raw),
            ("watm", self.relay.local_addr()),
        ]
    }
}

fn client(address: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect(address)?;
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    Ok(client)
}

/// A message of each client goes there, then each comes back: all are on their way at once.
fn ping(clients: &mut [TcpStream]) {
    let mut data = [7; MESSAGE];
    for client in &mut *clients {
        client.write_all(&data).expect("the relay reads");
    }
    for client in clients {
        client
            .read_exact(black_box(&mut data))
            .expect("the peer answers");
    }
}

fn round_trips(c: &mut Criterion, module: &TransportModule) -> Result<()> {
    let ways = Ways::to(peer(Peer::Echo)?, module)?;
    let mut group = c.benchmark_group("relay_round_trip");
    for count in CLIENTS {
        group.throughput(Throughput::Elements(count as u64));
        for (name, address) in ways.by_name() {
            let clients: io::Result<Vec<_>> = (0..count).map(|_| client(address)).collect();
            let mut clients = clients?;
            // Once in vain: who is accepted last must not be set up while others are measured.
            ping(&mut clients);
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| ping(&mut clients));
            });
        }
    }
    group.finish();
    Ok(())
}

fn throughput(c: &mut Criterion, module: &TransportModule) -> Result<()> {
    let ways = Ways::to(peer(Peer::Sink)?, module)?;
    let data = vec![7; PIECE];
    let mut group = c.benchmark_group("relay_out");
    group.throughput(Throughput::Bytes(VOLUME as u64));
    for (name, address) in ways.by_name() {
        let mut client = client(address)?;
        group.bench_function(BenchmarkId::new(name, PIECE), |b| {
            b.iter(|| {
                for _ in 0..VOLUME / PIECE {
                    client.write_all(black_box(&data)).expect("the relay reads");
                }
            });
        });
    }
    group.finish();
    Ok(())
}

fn relay(c: &mut Criterion) {
    let result = module("plain16k")
        .map_err(Into::into)
        .and_then(|module| round_trips(c, &module).and_then(|()| throughput(c, &module)));
    result.expect("loopback and the test modules are there");
}

criterion_group!(benches, relay);
criterion_main!(benches);
