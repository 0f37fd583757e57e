//! What a connection has moved, and what that took, as applications see it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::channel::link::Traffic;

/// How much a connection has transferred so far, and at what cost: see
/// [`Conn::stats`](crate::Conn::stats) and [`Carried::stats`](crate::Carried::stats).
///
/// ```
/// use std::io::Write;
/// use watm_wasmer::{Dialer, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let dialer = Dialer::builder(&module).timing(true).build()?;
/// let mut conn = dialer.dial(listener.local_addr())?;
/// conn.write_all(b"hello")?;
/// conn.close()?;
/// let stats = conn.stats();
/// assert_eq!((stats.sent, stats.received), (5, 0));
/// println!("{} calls, {:?} in the module", stats.host_calls, stats.guest_time);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnStats {
    /// Bytes received from the network, in the form in which they were on the wire.
    pub received: u64,
    /// Bytes sent to the network, in the form in which they were on the wire.
    pub sent: u64,
    /// The part of `received` that came over the connection that was accepted: from the client of a
    /// listener or relay. The rest came from the remote.
    pub client_received: u64,
    /// The part of `sent` that went to the client.
    pub client_sent: u64,
    /// Bytes received from the plain connection that is carried; 0 for a [`Conn`](crate::Conn).
    pub plain_received: u64,
    /// Bytes sent to the plain connection that is carried; 0 for a [`Conn`](crate::Conn).
    pub plain_sent: u64,
    /// Functions of the host that the module has called.
    pub host_calls: u64,
    /// System calls that transferred bytes, polled for readiness, or woke a thread.
    pub system_calls: u64,
    /// How long the module's own code ran since the transport was set up. This and the next two
    /// are 0 unless [`crate::Builder::timing`] is on.
    pub guest_time: Duration,
    /// How long the host worked in calls of the module.
    pub host_time: Duration,
    /// How long the module waited in calls of the host.
    pub asleep: Duration,
}

impl ConnStats {
    pub(crate) fn of(traffic: &Traffic) -> Self {
        let count = |from: &AtomicU64| from.load(Ordering::Relaxed);
        let time = |from: &AtomicU64| Duration::from_nanos(count(from));
        Self {
            received: count(&traffic.received),
            sent: count(&traffic.sent),
            client_received: count(&traffic.client_received),
            client_sent: count(&traffic.client_sent),
            plain_received: count(&traffic.plain_received),
            plain_sent: count(&traffic.plain_sent),
            host_calls: count(&traffic.host_calls),
            system_calls: count(&traffic.system_calls),
            guest_time: time(&traffic.guest_time),
            host_time: time(&traffic.host_time),
            asleep: time(&traffic.asleep),
        }
    }
}
