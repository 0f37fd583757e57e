//! Another implementation of Shadowsocks, for `check`: the crate `shadowsocks`, as a server that
//! connects to what clients ask for, and as a tunnel.
//!
//! ```text
//! peer server METHOD PASSWORD
//! peer tunnel METHOD PASSWORD SERVER TARGET
//! ```
//!
//! It listens on a port of the system's choice, and prints it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::error::Error;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use shadowsocks::config::ServerType;
use shadowsocks::context::{Context, SharedContext};
use shadowsocks::relay::Address;
use shadowsocks::relay::tcprelay::proxy_stream::{ProxyClientStream, ProxyServerStream};
use shadowsocks::{ProxyListener, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error + Send + Sync>;

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["server", method, password] => serve(method, password).await,
        ["tunnel", method, password, server, target] => {
            tunnel(method, password, server, target).await
        }
        _ => {
            Err("usage: peer server METHOD PASSWORD | tunnel METHOD PASSWORD SERVER TARGET".into())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn config(address: SocketAddr, method: &str, password: &str) -> Result<ServerConfig, Failure> {
    let method = method
        .parse()
        .map_err(|_| format!("{method} is no method"))?;
    Ok(ServerConfig::new(address, password, method)?)
}

async fn serve(method: &str, password: &str) -> Result<(), Failure> {
    let context = Context::new_shared(ServerType::Server);
    let config = config(ANY_PORT.into(), method, password)?;
    let listener = ProxyListener::bind(context, &config).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(forward(stream));
    }
}

async fn forward(mut stream: ProxyServerStream<TcpStream>) -> Result<(), Failure> {
    let mut target = match stream.handshake().await? {
        Address::SocketAddress(address) => TcpStream::connect(address).await?,
        Address::DomainNameAddress(name, port) => TcpStream::connect((name, port)).await?,
    };
    copy_bidirectional(&mut stream, &mut target).await?;
    Ok(())
}

async fn tunnel(method: &str, password: &str, server: &str, target: &str) -> Result<(), Failure> {
    let context = Context::new_shared(ServerType::Local);
    let config = config(server.parse()?, method, password)?;
    let target: Address = target
        .parse()
        .map_err(|_| format!("{target} is no address"))?;
    let listener = TcpListener::bind(ANY_PORT).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(carry(
            context.clone(),
            config.clone(),
            target.clone(),
            stream,
        ));
    }
}

async fn carry(
    context: SharedContext,
    config: ServerConfig,
    target: Address,
    mut stream: TcpStream,
) -> Result<(), Failure> {
    let mut server = ProxyClientStream::connect(context, &config, target).await?;
    copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

fn spawn(connection: impl Future<Output = Result<(), Failure>> + Send + 'static) {
    tokio::spawn(async {
        if let Err(error) = connection.await {
            eprintln!("peer: a connection has failed: {error}");
        }
    });
}
