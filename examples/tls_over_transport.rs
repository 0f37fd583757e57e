//! TLS over a transport, with rustls: the module hides what the connection is, and TLS keeps secret
//! what it carries.
//!
//! ```toml
//! [dependencies]
//! rcgen = "0.14"
//! tokio = { version = "1", features = ["io-util", "macros", "rt", "time"] }
//! tokio-rustls = { version = "0.26", default-features = false, features = ["ring"] }
//! watm-wasmer = { version = "0.1", features = ["tokio"] }
//! ```
//!
//! ```sh
//! cargo run --example tls_over_transport -- [MODULE]
//! ```
//!
//! It prints:
//!
//! ```text
//! server.example answers over TLSv1_3: 200000 bytes, and an end in order
//! the dialer's transport has completed
//! for another name: invalid peer certificate: certificate not valid for name "other.example"; [..]
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use watm_wasmer::{AsyncConn, AsyncDialer, AsyncListener, Dialer, Listener, TransportModule};

/// What both ends must have in common, for a module that needs a key.
const KEY: &[u8] = b"a key that both ends have";
/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/guests/built/xor.wasm"
);
const ANSWER: usize = 200_000;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    timeout(Duration::from_secs(60), run()).await?
}

async fn run() -> Result<(), Failure> {
    let file = std::env::args().nth(1);
    let module = TransportModule::from_file(file.as_deref().unwrap_or(DEFAULT))?;
    let certified = rcgen::generate_simple_self_signed(["server.example".to_owned()])?;
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der())?;

    let listener = Listener::builder(&module).config(KEY).bind("127.0.0.1:0")?;
    let address = listener.local_addr();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    tokio::spawn(serve(listener.into(), Arc::new(config).into()));

    let dialer = AsyncDialer::from(Dialer::builder(&module).config(KEY).build()?);
    let connector = connector(certificate)?;
    let conn = dialer.dial(address).await?;
    let name = ServerName::try_from("server.example")?;
    let mut tls = connector.connect(name, conn).await?;
    let answer = ask(&mut tls).await?;
    let (conn, session) = tls.into_inner();
    let version = session.protocol_version().ok_or("no version")?;
    println!(
        "server.example answers over {version:?}: {} bytes, and an end in order",
        answer.len()
    );
    println!("the dialer's transport has {}", conn.close().await?);

    let conn = dialer.dial(address).await?;
    let name = ServerName::try_from("other.example")?;
    match connector.connect(name, conn).await {
        Ok(_) => Err("a server with another name was believed".into()),
        Err(error) => {
            println!("for another name: {error}");
            Ok(())
        }
    }
}

/// Trusts this certificate and no other.
fn connector(certificate: CertificateDer<'static>) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

/// Asks the server, and reads to the end. An end that TLS does not announce is an error here: it
/// may be an attacker's.
async fn ask(tls: &mut TlsStream<AsyncConn>) -> Result<Vec<u8>, Failure> {
    tls.write_all(b"hello").await?;
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await?;
    if answer != [b'o'; ANSWER] {
        return Err("the answer is wrong".into());
    }
    Ok(answer)
}

/// Serves each connection in a task of its own.
async fn serve(listener: AsyncListener, acceptor: TlsAcceptor) {
    while let Ok(conn) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // The second client ends the handshake, since it does not believe the certificate.
            let _ = answer(conn, &acceptor).await;
        });
    }
}

async fn answer(conn: AsyncConn, acceptor: &TlsAcceptor) -> Result<(), Failure> {
    let mut tls = acceptor.accept(conn).await?;
    let mut request = [0; 5];
    tls.read_exact(&mut request).await?;
    tls.write_all(&[request[4]; ANSWER]).await?;
    // Announces the end to the client, and ends writing.
    tls.shutdown().await?;
    tls.into_inner().0.close().await?;
    Ok(())
}
