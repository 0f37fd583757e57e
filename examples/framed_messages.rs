//! Messages in place of bytes: a codec of tokio-util over a connection.
//!
//! ```toml
//! [dependencies]
//! futures-util = { version = "0.3", features = ["sink"] }
//! tokio = { version = "1", features = ["macros", "rt", "time"] }
//! tokio-util = { version = "0.7", features = ["codec"] }
//! watm-wasmer = { version = "0.1", features = ["tokio"] }
//! ```
//!
//! ```sh
//! cargo run --example framed_messages -- [MODULE]
//! ```
//!
//! It prints:
//!
//! ```text
//! 4 messages of 0 to 60000 bytes came back reversed
//! the dialer's transport has completed
//! the server has counted 4 messages
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use watm_wasmer::{AsyncConn, AsyncDialer, AsyncListener, Dialer, Listener, TransportModule};

/// What both ends must have in common, for a module that needs a key.
const KEY: &[u8] = b"a key that both ends have";
/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/guests/built/xor.wasm"
);
/// Bytes that a message may have: a peer that announces more is an error at once.
const LARGEST: usize = 64 * 1024;

type Failure = Box<dyn Error + Send + Sync>;

/// Messages with their length in front of them.
fn framed(conn: AsyncConn) -> Framed<AsyncConn, LengthDelimitedCodec> {
    let codec = LengthDelimitedCodec::builder()
        .max_frame_length(LARGEST)
        .new_codec();
    Framed::new(conn, codec)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    timeout(Duration::from_secs(60), run()).await?
}

async fn run() -> Result<(), Failure> {
    let file = std::env::args().nth(1);
    let module = TransportModule::from_file(file.as_deref().unwrap_or(DEFAULT))?;
    let listener = Listener::builder(&module).config(KEY).bind("127.0.0.1:0")?;
    let address = listener.local_addr();
    let server = tokio::spawn(serve(listener.into()));

    let dialer = AsyncDialer::from(Dialer::builder(&module).config(KEY).build()?);
    let mut messages = framed(dialer.dial(address).await?);
    for len in [0, 1, 1000, 60_000] {
        let sent: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        messages.send(Bytes::from(sent.clone())).await?;
        let mut answer = messages.next().await.ok_or("the server has ended")??;
        answer.reverse();
        if answer != sent {
            return Err(format!("the answer to a message of {len} bytes is wrong").into());
        }
    }
    println!("4 messages of 0 to 60000 bytes came back reversed");
    // The connection again, to learn how it ended.
    let end = messages.into_inner().close().await?;
    println!("the dialer's transport has {end}");
    println!("the server has counted {} messages", server.await??);
    Ok(())
}

/// Reverses the messages of the first connection until it ends. Returns how many there were.
async fn serve(listener: AsyncListener) -> Result<usize, Failure> {
    let mut messages = framed(listener.accept().await?);
    let mut count = 0;
    while let Some(message) = messages.next().await {
        // An end in the middle of a message is an error here.
        let mut message = message?;
        message.reverse();
        messages.send(message.freeze()).await?;
        count += 1;
    }
    messages.into_inner().close().await?;
    Ok(count)
}
