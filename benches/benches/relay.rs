//! Sends bytes through relays that run pass-through modules, compared with a plain relay and with a
//! direct connection to the peer.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use watm_benches::{Peer, module, peer, raw_relay};
use watm_wasmer::{Relay, ServerHandle};

/// Size of a round-trip message, in bytes.
const MESSAGE: usize = 64;
/// Number of concurrent clients.
const CLIENTS: [usize; 2] = [1, 16];
/// Size of one write in the throughput benchmarks, in bytes.
const PIECE: usize = 64 * 1024;
/// Bytes per iteration of the throughput benchmarks.
const VOLUME: usize = 1 << 20;
/// Limit for a client's wait for an answer, or for room.
const PATIENCE: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The modules, each with the name of its way: in C, in C with a collector as in modules that
/// TinyGo compiled, and in standard Go.
const MODULES: [(&str, &str); 3] = [
    ("watm", "plain16k"),
    ("collecting", "collecting"),
    ("go", "go_plain"),
];

/// The ways to reach one peer.
struct Ways {
    relays: Vec<(&'static str, ServerHandle)>,
    raw: SocketAddr,
    peer: SocketAddr,
}

impl Ways {
    fn to(peer: SocketAddr) -> Result<Self> {
        let mut relays = Vec::new();
        for (name, file) in MODULES {
            let relay = Relay::builder(&module(file)?).remote(peer.to_string());
            relays.push((name, relay.bind("127.0.0.1:0")?.spawn()?));
        }
        Ok(Self {
            relays,
            raw: raw_relay(peer)?,
            peer,
        })
    }

    fn by_name(&self) -> Vec<(&'static str, SocketAddr)> {
        let relays = self.relays.iter();
        [("tcp", self.peer), ("raw", self.raw)]
            .into_iter()
            .chain(relays.map(|(name, relay)| (*name, relay.local_addr())))
            .collect()
    }
}

fn client(address: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect(address)?;
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    Ok(client)
}

/// Each client sends a message, then each reads the answer. All messages are in flight at once.
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

fn round_trips(c: &mut Criterion) -> Result<()> {
    let ways = Ways::to(peer(Peer::Echo)?)?;
    let mut group = c.benchmark_group("relay_round_trip");
    for count in CLIENTS {
        group.throughput(Throughput::Elements(count as u64));
        for (name, address) in ways.by_name() {
            let clients: io::Result<Vec<_>> = (0..count).map(|_| client(address)).collect();
            let mut clients = clients?;
            // An unmeasured round: all clients must be set up before the measurement starts.
            ping(&mut clients);
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| ping(&mut clients));
            });
        }
    }
    group.finish();
    Ok(())
}

fn throughput(c: &mut Criterion) -> Result<()> {
    let ways = Ways::to(peer(Peer::Sink)?)?;
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
    let result = round_trips(c).and_then(|()| throughput(c));
    result.expect("loopback and the test modules are there");
}

criterion_group!(benches, relay);
criterion_main!(benches);
