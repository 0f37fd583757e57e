//! A tunnel in tokio: plain clients on one side, connections through a module on the other.
//!
//! A program that looks at the bytes or changes them works like this one. One that only passes them
//! on leaves that to the threads of the transports, with `AsyncDialer::carry` or a `Server`.
//!
//! ```toml
//! [dependencies]
//! tokio = { version = "1", features = ["io-util", "macros", "net", "rt", "sync", "time"] }
//! watm-wasmer = { version = "0.1", features = ["tokio"] }
//! ```
//!
//! ```sh
//! cargo run --example tokio_tunnel -- [MODULE]
//! ```
//!
//! It prints, where `[..]` is what differs from run to run:
//!
//! ```text
//! clients connect to 127.0.0.1:[..]
//! 8 clients got back the 100000 bytes that each has sent
//! 8 transports have ended in order
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use watm_wasmer::{AsyncConn, AsyncDialer, AsyncListener, Dialer, Listener, TransportModule};

/// What both ends must have in common, for a module that needs a key.
const KEY: &[u8] = b"a key that both ends have";
/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/guests/built/halfclose.wasm"
);
const CLIENTS: usize = 8;
const BYTES: usize = 100_000;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    timeout(Duration::from_secs(60), run()).await?
}

async fn run() -> Result<(), Failure> {
    let file = std::env::args().nth(1);
    // Compiling takes the thread for a while. A program that serves already compiles with
    // `spawn_blocking`.
    let module = TransportModule::from_file(file.as_deref().unwrap_or(DEFAULT))?;

    // The far end, which is another program on another machine otherwise.
    let far = Listener::builder(&module).config(KEY).bind("127.0.0.1:0")?;
    let remote = far.local_addr();
    tokio::spawn(echo(far.into()));

    let dialer = Dialer::builder(&module).config(KEY).build()?;
    let clients = TcpListener::bind("127.0.0.1:0").await?;
    let address = clients.local_addr()?;
    println!("clients connect to {address}");
    let (stop, stopped) = oneshot::channel();
    let tunnel = tokio::spawn(tunnel(clients, dialer.into(), remote, stopped));

    let mut using = JoinSet::new();
    for _ in 0..CLIENTS {
        using.spawn(use_tunnel(address));
    }
    while let Some(used) = using.join_next().await {
        used??;
    }
    println!("{CLIENTS} clients got back the {BYTES} bytes that each has sent");
    let _ = stop.send(());
    println!("{} transports have ended in order", tunnel.await??);
    Ok(())
}

/// Serves clients until it is told to stop, and then waits for those that are there. Returns how
/// many have ended in order.
async fn tunnel(
    clients: TcpListener,
    dialer: AsyncDialer,
    remote: SocketAddr,
    mut stopped: oneshot::Receiver<()>,
) -> Result<usize, Failure> {
    let mut carrying = JoinSet::new();
    let mut ended = 0;
    let mut count = |result: Result<Result<(), Failure>, _>| match result {
        Ok(Ok(())) => ended += 1,
        Ok(Err(error)) => println!("a client was cut off: {error}"),
        Err(error) => println!("a client was cut off: {error}"),
    };
    loop {
        tokio::select! {
            client = clients.accept() => {
                let (client, _) = client?;
                let dialer = dialer.clone();
                carrying.spawn(async move { carry(client, &dialer, remote).await });
            }
            Some(result) = carrying.join_next() => count(result),
            _ = &mut stopped => break,
        }
    }
    while let Some(result) = carrying.join_next().await {
        count(result);
    }
    Ok(ended)
}

/// Carries one client to its end.
async fn carry(
    mut client: TcpStream,
    dialer: &AsyncDialer,
    remote: SocketAddr,
) -> Result<(), Failure> {
    let carried = carry_over(&mut client, dialer, remote).await;
    if carried.is_err() {
        // The client is reset, so that it does not take a part for the whole.
        client.set_zero_linger()?;
    }
    carried
}

async fn carry_over(
    client: &mut TcpStream,
    dialer: &AsyncDialer,
    remote: SocketAddr,
) -> Result<(), Failure> {
    let mut conn = dialer.dial(remote).await?;
    if let Err(error) = copy_bidirectional(client, &mut conn).await {
        // The same for the far end.
        conn.abort();
        return Err(error.into());
    }
    // Until the far end has taken everything.
    conn.close().await?;
    Ok(())
}

/// Sends back what comes, on each connection in a task of its own.
async fn echo(listener: AsyncListener) {
    while let Ok(conn) = listener.accept().await {
        tokio::spawn(async move {
            if let Err(error) = echo_one(conn).await {
                println!("the far end: {error}");
            }
        });
    }
}

async fn echo_one(mut conn: AsyncConn) -> Result<(), Failure> {
    let mut buf = vec![0; 16 * 1024];
    loop {
        let len = conn.read(&mut buf).await?;
        if len == 0 {
            break;
        }
        conn.write_all(&buf[..len]).await?;
    }
    conn.close().await?;
    Ok(())
}

/// What a client does, which knows nothing of transports.
async fn use_tunnel(address: SocketAddr) -> Result<(), Failure> {
    let (mut reader, mut writer) = TcpStream::connect(address).await?.into_split();
    let sent: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
    let mut received = Vec::new();
    let sending = async {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    };
    tokio::try_join!(sending, reader.read_to_end(&mut received))?;
    if received != sent {
        return Err("the echo differs from what was sent".into());
    }
    Ok(())
}
