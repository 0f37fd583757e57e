//! Who hears of the stages of each connection.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use watm_abi::Role;

use crate::error::{Outcome, SetupError, TransportError};
use crate::host::stats::ConnStats;

/// Hears of the stages of each connection of a role: see [`Builder::observer`](crate::Builder::observer).
///
/// It is called on the thread of the connection, in order, and should not block it. If it panics,
/// the log says so, and the connection goes on.
///
/// ```
/// use watm_wasmer::{ConnectionInfo, Event, Observer, Relay, TransportModule};
///
/// struct Counts;
///
/// impl Observer for Counts {
///     fn observe(&self, connection: &ConnectionInfo, event: &Event<'_>) {
///         match event {
///             Event::Failed { code, .. } => println!("{:?} failed: {code}", connection.client),
///             Event::Ended { stats, .. } => println!("{} bytes sent", stats.sent),
///             _ => {}
///         }
///     }
/// }
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let relay = Relay::builder(&module).remote("192.0.2.1:443").observer(Counts);
/// let relay = relay.bind("127.0.0.1:0")?.spawn()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer: Send + Sync {
    /// A connection has come to a stage.
    fn observe(&self, connection: &ConnectionInfo, event: &Event<'_>);
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, connection: &ConnectionInfo, event: &Event<'_>) {
        (**self).observe(connection, event);
    }
}

/// Both hear, one after the other.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&self, connection: &ConnectionInfo, event: &Event<'_>) {
        self.0.observe(connection, event);
        self.1.observe(connection, event);
    }
}

/// The connection that an [`Observer`] hears of.
///
/// ```
/// use watm_wasmer::{ConnectionInfo, Event, Observer};
///
/// struct Audit;
///
/// impl Observer for Audit {
///     fn observe(&self, connection: &ConnectionInfo, event: &Event<'_>) {
///         let ConnectionInfo { id, role, module, client, .. } = connection;
///         println!("{role} {module}, connection {id} of {client:?}: {event:?}");
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// A number that no other connection of this process has. The numbers grow.
    pub id: u64,
    /// What the module is used as.
    pub role: Role,
    /// The name of the module.
    pub module: Arc<str>,
    /// The address of the client, for a connection that was accepted or that is carried.
    pub client: Option<SocketAddr>,
}

/// A stage of a connection.
///
/// Each begins. Then it is established or fails, and one that was established ends. In between, it
/// connects as often as its module dials.
///
/// ```
/// use std::sync::mpsc;
/// use watm_wasmer::{ConnectionInfo, Dialer, Event, Listener, Observer, TransportModule};
///
/// struct Stages(mpsc::SyncSender<&'static str>);
///
/// impl Observer for Stages {
///     fn observe(&self, _: &ConnectionInfo, event: &Event<'_>) {
///         let stage = match event {
///             Event::Begun => "begun",
///             Event::Connected { .. } => "connected",
///             Event::Established { after, .. } => {
///                 println!("it was set up within {after:?}");
///                 "established"
///             }
///             Event::Failed { code, .. } => code,
///             Event::Ended { result: Ok(outcome), .. } => outcome.code(),
///             Event::Ended { result: Err(error), .. } => error.code(),
///             _ => "something new",
///         };
///         // Nobody waits for this connection if it fails.
///         let _ = self.0.try_send(stage);
///     }
/// }
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let (sender, stages) = mpsc::sync_channel(16);
/// let dialer = Dialer::builder(&module).observer(Stages(sender)).build()?;
/// dialer.dial(listener.local_addr())?.close()?;
/// drop(dialer);
/// let stages: Vec<_> = stages.iter().collect();
/// assert_eq!(stages[..3], ["begun", "connected", "established"]);
/// println!("and in the end it was {}", stages[3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The connection begins to be set up.
    Begun,
    /// The module, or a server that forwards, has connected to a remote.
    #[non_exhaustive]
    Connected {
        /// The remote, if it has an IP address.
        remote: Option<SocketAddr>,
        /// The time since the connection began.
        after: Duration,
    },
    /// The transport is set up.
    #[non_exhaustive]
    Established {
        /// The address of the network connection, if there is one that has an IP address.
        local: Option<SocketAddr>,
        /// The address of its peer.
        peer: Option<SocketAddr>,
        /// The time since the connection began.
        after: Duration,
    },
    /// The transport could not be set up. That is all for this connection.
    #[non_exhaustive]
    Failed {
        /// A word for the error that stays the same in all releases: see
        /// [`DialError::code`](crate::DialError::code).
        code: &'static str,
        /// What went wrong, with all causes.
        message: &'a str,
        /// The time since the connection began.
        after: Duration,
    },
    /// The transport has ended, and what it wrote is delivered or lost. That is all for this
    /// connection.
    #[non_exhaustive]
    Ended {
        /// How the transport ended, or how it failed.
        result: &'a Result<Outcome, TransportError>,
        /// What it has moved.
        stats: ConnStats,
        /// The time since the connection began.
        after: Duration,
    },
}

/// Tells an observer of one connection.
pub(crate) struct Teller {
    observer: Arc<dyn Observer>,
    connection: ConnectionInfo,
    begun: Instant,
}

impl Teller {
    /// Tells that a connection begins.
    pub(crate) fn begin(
        observer: &Arc<dyn Observer>,
        module: &str,
        role: Role,
        client: Option<SocketAddr>,
    ) -> Arc<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);

        let teller = Self {
            observer: Arc::clone(observer),
            connection: ConnectionInfo {
                id: LAST.fetch_add(1, Ordering::Relaxed) + 1,
                role,
                module: module.into(),
                client,
            },
            begun: Instant::now(),
        };
        teller.tell(&Event::Begun);
        Arc::new(teller)
    }

    fn tell(&self, event: &Event<'_>) {
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.observer.observe(&self.connection, event);
        }));
        if told.is_err() {
            log::error!("the observer of connections panicked");
        }
    }

    pub(crate) fn connected(&self, remote: Option<SocketAddr>) {
        let after = self.begun.elapsed();
        self.tell(&Event::Connected { remote, after });
    }

    pub(crate) fn established(&self, local: Option<SocketAddr>, peer: Option<SocketAddr>) {
        let after = self.begun.elapsed();
        self.tell(&Event::Established { local, peer, after });
    }

    pub(crate) fn failed(&self, error: &SetupError) {
        self.tell(&Event::Failed {
            code: error.code(),
            message: &error.to_string(),
            after: self.begun.elapsed(),
        });
    }

    pub(crate) fn ended(&self, result: &Result<Outcome, TransportError>, stats: ConnStats) {
        let after = self.begun.elapsed();
        self.tell(&Event::Ended {
            result,
            stats,
            after,
        });
    }
}
