//! A runtime for WebAssembly Transport Modules (WATM v1) on the wasmer engine.
//!
//! A transport module is a WebAssembly file that implements a network transport: an obfuscation,
//! an encryption, a protocol wrapper. This crate loads it and gives the application ordinary
//! connections. The module transforms the bytes that are written to a [`Conn`] before they leave on
//! the wire, and the bytes from the wire before they are read. It runs in a sandbox and can access
//! only what it was given.
//!
//! | role | who chooses the remote | type |
//! | --- | --- | --- |
//! | dialer | the application | [`Dialer`] |
//! | fixed dialer | the module, within an [`AddressPolicy`] | [`FixedDialer`] |
//! | listener | (accepts) | [`Listener`], [`Acceptor`] |
//! | relay | the application or the module (accepts and dials on) | [`Relay`] |
//!
//! ```
//! use std::io::{Read, Write};
//! use watm_wasmer::{Dialer, Listener, TransportModule};
//!
//! # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
//! let module = TransportModule::from_file(file)?;
//! let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
//! let address = listener.local_addr().to_string();
//!
//! let server = std::thread::spawn(move || -> std::io::Result<()> {
//!     let mut conn = listener.accept()?;
//!     let mut request = [0; 5];
//!     conn.read_exact(&mut request)?;
//!     conn.write_all(b"world")?;
//!     conn.close()?;
//!     Ok(())
//! });
//!
//! let mut conn = Dialer::builder(&module).build()?.dial(&address)?;
//! conn.write_all(b"hello")?;
//! let mut answer = [0; 5];
//! conn.read_exact(&mut answer)?;
//! assert_eq!(&answer, b"world");
//! conn.close()?;
//! server.join().expect("the server ends")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `watm-wasmer = "0.1"` in `Cargo.toml` is all that it needs. Loading, dialling, accepting,
//! reading, writing and closing block the calling thread, unless their own text says something
//! else; the sections on async programs and event loops list what does not.
//!
//! # Carrying plain connections
//!
//! A proxy has sockets on both sides. [`Dialer::carry`] gives a plain connection to the transport,
//! whose thread then moves the bytes: no byte passes through the application, and a client costs
//! one thread. A [`Server`] also accepts the clients, and cuts them off in the end. It dials for
//! plain clients ([`Builder::carry_to`]) or forwards what a listener unwraps
//! ([`Builder::forward_to`]).
//!
//! # The end of a connection
//!
//! [`Conn::close`] waits until the module has ended and everything that was written is delivered,
//! and reports the result. A connection that is dropped delivers in the background; [`drain`] waits
//! for all such connections. Unless a connection has ended in order, its sockets reset their peers
//! when they are closed, even if that happens because the process ends. So no peer mistakes a part
//! for the whole.
//!
//! # In an async program
//!
//! ```toml
//! watm-wasmer = { version = "0.1", features = ["tokio"] }   # or "futures-io"
//! ```
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use watm_wasmer::{AsyncDialer, Dialer, TransportModule};
//!
//! let module = TransportModule::from_file("transport.wasm")?;
//! let dialer = AsyncDialer::from(Dialer::builder(&module).build()?);
//! let mut conn = dialer.dial("192.0.2.1:443").await?;
//! conn.write_all(b"hello").await?;
//! let mut answer = String::new();
//! conn.read_to_string(&mut answer).await?;
//! conn.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`AsyncConn`] implements `AsyncRead` and `AsyncWrite`, so what is built on these, such as hyper,
//! rustls and the codecs of tokio-util, works over it. Dials, accepts and closes are futures as
//! well. The thread of the transport wakes the task; no other thread and no timer is involved, so
//! any executor will do. On Linux, a runtime of tokio with several threads is told through its I/O
//! driver, since it wakes a task at half the cost then: a small task of the library runs in it from
//! the first connection that waits, with two descriptors. Such a runtime has to have its I/O driver,
//! as for the sockets of tokio (`enable_io` or `enable_all`, which `#[tokio::main]` includes): the
//! library's task panics without one, and tasks are then woken directly. A future that is dropped is
//! given up: a dial closes what it has opened, a read or a write has moved nothing.
//!
//! These block, and belong on a thread that may wait, such as one of `spawn_blocking`: loading a
//! module, which compiles it; [`Dialer::replace`] and the `replace` of other roles, which make an
//! instance; [`drain`], for which tasks have [`async_drain`]; binding to a name; and what a type
//! for tasks has only through its `get_ref`. Dial hooks and resolvers may block, since they run on
//! the thread of the transport.
//!
//! # In an event loop
//!
//! ```toml
//! watm-wasmer = { version = "0.1", features = ["mio"] }
//! ```
//!
//! With [`Conn::set_nonblocking`], reads and writes never wait. With the feature `mio`, [`Conn`]
//! and [`Listener`] are registered with a `mio::Registry` like sockets, and as with sockets an
//! event comes once: go on until [`std::io::ErrorKind::WouldBlock`]. For other loops,
//! [`Conn::readiness`] and [`Listener::readiness`] return a descriptor to watch, and need no
//! feature. [`Listener::try_accept`] does not wait either. [`Dialer::begin`] returns a [`Pending`],
//! which is watched and registered in the same ways; [`Pending::try_wait`] takes its result, as in
//! the example `mio_loop`. [`Conn::poll_close`] closes without waiting.
//!
//! # Threads, memory and signals
//!
//! Each connection is one instance of the module on one thread of its own; nothing is shared
//! between connections.
//!
//! # Capacity
//!
//! | of the process | a connection takes | so it ends near |
//! | --- | --- | --- |
//! | descriptors | 3, and those that the module opens | 340 with the usual soft limit of 1,024: raise it (`ulimit -n`, or `LimitNOFILE` of systemd) |
//! | threads | 1 | the limit of the system (`ulimit -u`, `kernel.threads-max`, `TasksMax` of systemd) |
//! | address space | 8 GiB, reserved and not used | 15,000 with 47 bits |
//! | mappings | about 9 | 7,000 with the usual `vm.max_map_count` of 65,530; the runtime refuses connections before it is reached |
//! | memory | from 60 KiB while it is idle, and what the module uses | |
//!
//! Whoever comes when something has run out gets an error that names it, and nobody else is harmed.
//! Servers pause accepting until there is room again.
//!
//! # Signals
//!
//! A guest that never calls the host is stopped by its own code, which checks in each iteration of
//! a loop, and in each call that may lead back to its caller or take long, whether it should
//! continue. No signal is sent. From the first module on,
//! the engine handles SIGSEGV, SIGBUS, SIGILL and SIGFPE raised by guest code, and forwards those
//! that other code raises to the handlers that were installed before. A handler that the
//! application installs later must forward what it does not handle as well. The runtime does not
//! touch any other signal, and blocks them on its own threads.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `aead` | yes | modules that ask for it have the host encrypt with AES-GCM and ChaCha20-Poly1305: see [`Builder::host_aead`] |
//! | `signatures` | yes | signatures of modules in minisign's format: [`ModuleLoader::trusted_keys`] |
//! | `manifest` | no | [`Manifest`]: files in TOML that name modules, with their hashes, signatures and configurations |
//! | `config` | no | [`Config`]: configuration files in TOML, or in the JSON form of the Go runtime; brings `front` and `signatures` |
//! | `wat` | no | modules in the text format |
//! | `proxy` | no | [`UpstreamProxy`]: dials through SOCKS5 and HTTP proxies |
//! | `front` | no | [`Front`], [`ProxyServer`] and [`ProxyProtocol`]: what plain clients and balancers say before the bytes; brings `proxy` |
//! | `tokio` | no | [`AsyncConn`], [`AsyncDialer`], [`AsyncListener`] and others, with tokio's traits |
//! | `futures-io` | no | the same types with the traits of futures-io, for other executors |
//! | `mio` | no | [`Conn`], [`Listener`] and [`Pending`] are event sources of mio |
//! | `metrics` | no | [`Metrics`]: counts of connections over the facade of the crate `metrics` |
//! | `wasix` | no | arguments, environment and clock resolutions from `wasmer-wasix`, for programs that depend on it already |
//!
//! # Platforms
//!
//! It needs a Unix system, pointers of 64 bits and one of the architectures that the engine compiles
//! for: x86-64, AArch64 or RISC-V. It is tested on Linux on x86-64; for AArch64 and for musl it is
//! checked to compile.
//!
//! # Logging
//!
//! All messages go to the [`log`] crate. Those of the runtime have targets that begin with
//! `watm_wasmer`. What a module writes to its standard output and standard error has the target
//! `watm::module::NAME`; see [`Stdio`]. Programs with `tracing` install `tracing-log`.
//!
//! The compiler below logs each function at the level debug, and mio each socket at trace. A filter
//! that shows the runtime and the modules alone, for env_logger and others with its form:
//!
//! ```text
//! RUST_LOG=warn,watm=debug,watm_wasmer=debug
//! ```

#![deny(missing_docs)]

#[cfg(not(all(
    unix,
    target_pointer_width = "64",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
)))]
compile_error!(
    "watm-wasmer needs a Unix system and 64-bit x86, Arm or RISC-V: it waits for sockets with poll, \
     reserves 8 GiB of address space for each memory, and the engine compiles for no others"
);

mod channel;
#[cfg(feature = "config")]
mod config;
#[cfg(feature = "config")]
pub use config::{Config, Tunnel, TunnelRole};
mod guest;
#[cfg(any(feature = "config", feature = "manifest"))]
mod nearest;
mod threads;
mod worker;

mod error;
pub use error::{
    AcceptError, ConfigError, DialError, ListenError, LoadError, Outcome, ReplaceError,
    TransportError,
};
#[cfg(feature = "config")]
pub use error::{ConfigFileError, ConfigFileProblem};
#[cfg(feature = "signatures")]
pub use error::{KeyError, SignatureError};
#[cfg(feature = "manifest")]
pub use error::{ManifestError, ManifestProblem};

mod host;
#[cfg(feature = "metrics")]
pub use host::metrics::Metrics;
pub use host::observer::{ConnectionInfo, Event, Observer};
pub use host::stats::ConnStats;
pub use host::stdio::Stdio;
pub use host::watch::{CallHook, ExportOutcome, ExportReturn, HostCall, Transfer, TransferAnswer};

mod module;
pub use module::cache::{ArtifactCache, CacheError, CachedArtifact};
pub use module::extension::HostAead;
pub use module::hash::{ModuleHash, ModuleHashError};
pub use module::info::{MemoryInfo, ModuleInfo, Producer};
#[cfg(feature = "manifest")]
pub use module::manifest::{Manifest, ManifestModule, VerifiedModule};
#[cfg(feature = "signatures")]
pub use module::signature::{KeyId, SignatureInfo, TrustedKey};
pub use module::{ModuleLoader, TransportModule};

mod net;
pub use net::address::{Address, AddressError, ListenAddress, Network, UnknownNetwork};
pub use net::connect::{DialAttempt, DialHook, Resolver};
pub use net::listening::ListenSocket;
pub use net::nat64::{Nat64Prefix, Nat64PrefixError};
pub use net::plain;
pub use net::policy::{AddressEntry, AddressEntryError, AddressPolicy};
#[cfg(feature = "proxy")]
pub use net::proxy::{UpstreamProxy, UpstreamProxyError};
pub use net::stream::Stream;
pub use net::target::Target;

mod roles;
pub use roles::binding::Binds;
pub use roles::book::{ConnState, OpenConnection, ServerStats};
pub use roles::builder::Builder;
pub use roles::carried::Carried;
pub use roles::chain::pair;
pub use roles::conn::Conn;
pub use roles::dialer::{DialOptions, Dialer, FixedDialer};
pub use roles::dropped::drain;
#[cfg(feature = "front")]
pub use roles::front::{
    Front, Greeting, GreetingStep, PlainRequest,
    proxy_header::{ProxyProtocol, UnknownProxyProtocol},
    proxy_server::{ProxyRefusal, ProxyRequest, ProxyServer},
};
pub use roles::halves::{ReadHalf, ReuniteError, WriteHalf};
pub use roles::listener::{Acceptor, Listener};
pub use roles::pending::{CancelToken, Pending};
pub use roles::relay::Relay;
pub use roles::server::{Server, ServerHandle};
pub use roles::settings::Settings;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub use roles::tasks::{
    AsyncAcceptor, AsyncConn, AsyncDialer, AsyncListener, AsyncReadHalf, AsyncRelay,
    AsyncReuniteError, AsyncWriteHalf, async_drain,
};

pub use socket2;
pub use watm_abi::{
    Errno, ExportDecl, GuestError, ImportDecl, InterfaceError, ItemKind, Role, Roles, Signature,
    ValType, ValTypes,
};
