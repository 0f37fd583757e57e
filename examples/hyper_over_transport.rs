//! HTTP/1.1 with hyper, over connections through a module on both ends.
//!
//! ```toml
//! [dependencies]
//! http-body-util = "0.1"
//! hyper = { version = "1", features = ["client", "http1", "server"] }
//! hyper-util = { version = "0.1", features = ["tokio"] }
//! tokio = { version = "1", features = ["macros", "rt", "time"] }
//! watm-wasmer = { version = "0.1", features = ["tokio"] }
//! ```
//!
//! ```sh
//! cargo run --example hyper_over_transport -- [MODULE]
//! ```
//!
//! It prints:
//!
//! ```text
//! POST /reversed: 200 OK, 5 bytes
//! POST /reversed: 200 OK, 300000 bytes
//! GET /elsewhere: 404 Not Found, 0 bytes
//! the dialer's transport has completed
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use watm_wasmer::{AsyncDialer, AsyncListener, Dialer, Listener, TransportModule};

/// What both ends must have in common, for a module that needs a key.
const KEY: &[u8] = b"a key that both ends have";
/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/guests/built/xor.wasm"
);
/// Bytes that a request may have.
const LARGEST: usize = 1 << 20;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    timeout(Duration::from_secs(60), run()).await?
}

async fn run() -> Result<(), Failure> {
    let file = std::env::args().nth(1);
    let module = TransportModule::from_file(file.as_deref().unwrap_or(DEFAULT))?;
    let listener = Listener::builder(&module).config(KEY).bind("127.0.0.1:0")?;
    let address = listener.local_addr();
    tokio::spawn(serve(listener.into()));

    let dialer = AsyncDialer::from(Dialer::builder(&module).config(KEY).build()?);
    let conn = dialer.dial(address).await?;
    let (mut requests, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(conn)).await?;
    // It moves the bytes, and returns the transport's connection when there are no more requests.
    let connection = tokio::spawn(connection.without_shutdown());

    for len in [5, 300_000] {
        let text: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let mut answer = ask(&mut requests, Method::POST, "/reversed", text.clone()).await?;
        answer.reverse();
        if answer != text {
            return Err("the answer is wrong".into());
        }
    }
    ask(&mut requests, Method::GET, "/elsewhere", Vec::new()).await?;

    drop(requests);
    let conn = connection.await??.io.into_inner();
    println!("the dialer's transport has {}", conn.close().await?);
    Ok(())
}

/// Sends a request, and returns the body of the response.
async fn ask(
    requests: &mut SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let request = Request::builder()
        .method(&method)
        .uri(path)
        .header("host", "server.example")
        .body(Full::from(body))?;
    requests.ready().await?;
    let response = requests.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    println!("{method} {path}: {status}, {} bytes", body.len());
    Ok(body.into())
}

/// Serves each connection in a task of its own.
async fn serve(listener: AsyncListener) {
    while let Ok(conn) = listener.accept().await {
        let serving = hyper::server::conn::http1::Builder::new()
            // Clients have 30 seconds for the head of a request.
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(conn), service_fn(answer));
        tokio::spawn(async {
            if let Err(error) = serving.await {
                println!("the server: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let mut response = Response::new(Full::default());
    if request.uri().path() == "/reversed" {
        let body = Limited::new(request.into_body(), LARGEST).collect().await?;
        let mut text: Vec<u8> = body.to_bytes().into();
        text.reverse();
        *response.body_mut() = Full::from(text);
    } else {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}
