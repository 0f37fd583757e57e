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
/// ```no_run
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
/// let module = TransportModule::from_file("plain.wasm")?;
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
