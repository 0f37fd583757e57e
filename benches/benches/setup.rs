//! What a connection costs before its first byte: compiling or loading a module, dialling,
//! accepting, closing. The baseline is connecting and accepting raw TCP.
//!
//! Also what an instance costs without a network. The baseline is the thread and the socket pair
//! that it needs.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use watm_benches::{NOWHERE, SocketPairs, greeter, module, path_of};
use watm_wasmer::{ArtifactCache, Conn, Dialer, Listener, ModuleLoader};

/// Long enough to refill the pool, outside the measured time.
const REFILL: Duration = Duration::from_millis(6);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn load(c: &mut Criterion) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let loader = ModuleLoader::new().cache(&ArtifactCache::open(directory.path())?);
    let mut group = c.benchmark_group("load");
    for name in ["plain", "rust_plain"] {
        let path = path_of(name);
        group.bench_function(format!("compile/{name}"), |b| {
            b.iter(|| module(name).expect("it loads"));
        });
        group.bench_function(format!("cached/{name}"), |b| {
            b.iter(|| loader.load_file(&path).expect("it loads"));
        });
    }
    group.finish();
    Ok(())
}

/// A connection. Dropping it waits, outside the measured time, until the peer has accepted.
struct Accepted<C: Read>(C);

impl<C: Read> Drop for Accepted<C> {
    fn drop(&mut self) {
        self.0.read_exact(&mut [0]).expect("the peer accepts");
    }
}

fn dial(c: &mut Criterion) -> Result<()> {
    let hold = greeter()?;
    let dialer = Dialer::builder(&module("plain")?).build()?;
    let address = hold.to_string();
    let mut group = c.benchmark_group("dial");
    group.bench_function("tcp", |b| {
        b.iter_batched(
            || (),
            |()| Accepted(TcpStream::connect(hold).expect("a peer")),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("watm", |b| {
        b.iter_batched(
            || (),
            |()| Accepted(dialer.dial(&address).expect("a peer")),
            BatchSize::PerIteration,
        );
    });
    // The cores have gone idle by then, so this has its own baseline.
    group.bench_function("tcp_after_pause", |b| {
        b.iter_batched(
            || thread::sleep(REFILL),
            |()| Accepted(TcpStream::connect(hold).expect("a peer")),
            BatchSize::PerIteration,
        );
    });
    let with_spare = Dialer::builder(&module("plain")?)
        .spare_instances(4)
        .spare_refill_rate(1000)
        .build()?;
    group.bench_function("watm_with_spare", |b| {
        b.iter_batched(
            || thread::sleep(REFILL),
            |()| Accepted(with_spare.dial(&address).expect("a peer")),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("watm_and_close", |b| {
        b.iter(|| {
            dialer
                .dial(&address)
                .expect("a peer")
                .close()
                .expect("a clean end")
        });
    });
    group.finish();
    Ok(())
}

/// From an accepted socket to an established connection.
fn accept(c: &mut Criterion) -> Result<()> {
    let acceptor = Listener::builder(&module("plain")?).acceptor()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let pair = || {
        let client = TcpStream::connect(address).expect("a listener");
        (client, listener.accept().expect("a client").0)
    };
    let mut group = c.benchmark_group("accept");
    group.bench_function("watm", |b| {
        b.iter_batched(
            pair,
            |(client, socket)| (client, acceptor.accept(socket).expect("a handshake")),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    Ok(())
}

/// A started thread, and the peer's end of the socket that the thread holds.
struct Thread {
    peer: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    /// What any runtime with a thread per connection has to do.
    fn start() -> io::Result<Self> {
        let (mut socket, peer) = UnixStream::pair()?;
        let (begun, has_begun) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().spawn(move || {
            begun.send(()).expect("the benchmark waits");
            // The thread waits for the end of the stream.
            let _ = socket.read(&mut [0]);
        })?;
        has_begun.recv().map_err(io::Error::other)?;
        Ok(Self {
            peer: Some(peer),
            thread: Some(thread),
        })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.peer = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends");
        }
    }
}

/// A connection. Dropping it closes it, outside the measured time, so that the next one does not
/// share a core with it.
struct Ending {
    conn: Conn,
    _peer: UnixStream,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.conn.close().expect("a clean end");
    }
}

fn instantiate(c: &mut Criterion) -> Result<()> {
    let mut group = c.benchmark_group("instantiate");
    group.bench_function("raw", |b| {
        b.iter_batched(
            || (),
            |()| Thread::start().expect("there are threads"),
            BatchSize::PerIteration,
        );
    });
    for name in ["plain", "rust_plain"] {
        let pairs = SocketPairs::default();
        let builder = Dialer::builder(&module(name)?).dial_hook(pairs.clone());
        let dialer = builder.build()?;
        group.bench_function(name, |b| {
            b.iter_batched(
                || (),
                |()| {
                    let peer = pairs.make().expect("there are descriptors");
                    let conn = dialer.dial(NOWHERE).expect("it needs no network");
                    Ending { conn, _peer: peer }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    Ok(())
}

fn setup(c: &mut Criterion) {
    let result = load(c)
        .and_then(|()| instantiate(c))
        .and_then(|()| dial(c))
        .and_then(|()| accept(c));
    result.expect("loopback and the test modules are there");
}

criterion_group!(benches, setup);
criterion_main!(benches);
