//! An observer that counts over the facade of the `metrics` crate.

use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::host::observer::{ConnectionInfo, Event, Observer};
use crate::host::stats::ConnStats;

const BEGUN: &str = "watm_connections_begun_total";
const FAILED: &str = "watm_connections_failed_total";
const ENDED: &str = "watm_connections_ended_total";
const OPEN: &str = "watm_connections_open";
const CONNECT: &str = "watm_connect_seconds";
const SETUP: &str = "watm_setup_seconds";
const LIFE: &str = "watm_connection_seconds";

/// What a connection has moved, each with what it counts and how it is found.
type Moved = (&'static str, Unit, &'static str, fn(&ConnStats) -> u64);
const MOVED: [Moved; 8] = [
    (
        "watm_network_received_bytes_total",
        Unit::Bytes,
        "Bytes received from the network by connections that have ended.",
        |stats| stats.received,
    ),
    (
        "watm_network_sent_bytes_total",
        Unit::Bytes,
        "Bytes sent to the network by connections that have ended.",
        |stats| stats.sent,
    ),
    (
        "watm_client_received_bytes_total",
        Unit::Bytes,
        "The part of the bytes from the network that came from clients that were accepted.",
        |stats| stats.client_received,
    ),
    (
        "watm_client_sent_bytes_total",
        Unit::Bytes,
        "The part of the bytes to the network that went to clients that were accepted.",
        |stats| stats.client_sent,
    ),
    (
        "watm_plain_received_bytes_total",
        Unit::Bytes,
        "Bytes received from plain connections that were carried.",
        |stats| stats.plain_received,
    ),
    (
        "watm_plain_sent_bytes_total",
        Unit::Bytes,
        "Bytes sent to plain connections that were carried.",
        |stats| stats.plain_sent,
    ),
    (
        "watm_host_calls_total",
        Unit::Count,
        "Functions of the host that modules have called in connections that have ended.",
        |stats| stats.host_calls,
    ),
    (
        "watm_system_calls_total",
        Unit::Count,
        "System calls that moved bytes, polled or woke a thread, of connections that have ended.",
        |stats| stats.system_calls,
    ),
];

/// Where the time of a connection went, each with what it measures and how it is found.
type Spent = (&'static str, &'static str, fn(&ConnStats) -> Duration);
const SPENT: [Spent; 3] = [
    (
        "watm_guest_seconds",
        "How long the code of the module ran in connections that have ended, with `timing`.",
        |stats| stats.guest_time,
    ),
    (
        "watm_host_seconds",
        "How long the host worked in calls of the module, with `timing`.",
        |stats| stats.host_time,
    ),
    (
        "watm_asleep_seconds",
        "How long the module waited in calls of the host, with `timing`.",
        |stats| stats.asleep,
    ),
];

/// An [`Observer`] that counts connections over the facade of the [`metrics`] crate: whichever
/// recorder the program has installed gets the numbers.
///
/// | metric | kind | labels | what it counts |
/// | --- | --- | --- | --- |
/// | `watm_connections_begun_total` | counter | `module`, `role` | connections whose set-up has begun |
/// | `watm_connections_failed_total` | counter | and `code` | those that were not set up, by [`DialError::code`](crate::DialError::code) |
/// | `watm_connections_ended_total` | counter | and `code` | those that have ended: `completed`, `cancelled`, or [`TransportError::code`](crate::TransportError::code) |
/// | `watm_connections_open` | gauge | `module`, `role` | those that are set up and have not ended |
/// | `watm_connect_seconds` | histogram | `module`, `role` | how long it took to connect to a remote or target, from the beginning of the set-up |
/// | `watm_setup_seconds` | histogram | `module`, `role` | how long the set-up took, for those that were set up |
/// | `watm_connection_seconds` | histogram | `module`, `role` | how long connections lived, from the beginning of the set-up |
/// | `watm_network_received_bytes_total`, `watm_network_sent_bytes_total` | counter | `module`, `role` | bytes on the wire, counted when a connection has ended |
/// | `watm_client_received_bytes_total`, `watm_client_sent_bytes_total` | counter | `module`, `role` | the part of them from and to clients of a listener or relay, in the same way |
/// | `watm_plain_received_bytes_total`, `watm_plain_sent_bytes_total` | counter | `module`, `role` | bytes of plain connections that are carried, in the same way |
/// | `watm_host_calls_total` | counter | `module`, `role` | calls of the host by modules, in the same way |
/// | `watm_system_calls_total` | counter | `module`, `role` | system calls that moved bytes, polled or woke a thread, in the same way |
/// | `watm_guest_seconds`, `watm_host_seconds`, `watm_asleep_seconds` | histogram | `module`, `role` | the time of a connection in the module's code, in the host, and asleep; only with [`Builder::timing`](crate::Builder::timing) |
///
/// No label comes from a peer, so that strangers cannot make more of them.
///
/// ```
/// use watm_wasmer::{Dialer, Metrics, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let dialer = Dialer::builder(&module).observer(Metrics::new()).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A pair of observers is an observer, for programs that have one of their own as well.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// What the program has added.
    labels: Vec<Label>,
}

impl Metrics {
    /// Counts, and describes the metrics to the recorder. So the recorder is installed before.
    pub fn new() -> Self {
        describe_counter!(BEGUN, Unit::Count, "Connections whose set-up has begun.");
        describe_counter!(FAILED, Unit::Count, "Connections that were not set up.");
        describe_counter!(ENDED, Unit::Count, "Connections that have ended.");
        describe_gauge!(OPEN, Unit::Count, "Connections that are set up.");
        describe_histogram!(
            CONNECT,
            Unit::Seconds,
            "How long it took to connect to a remote or target."
        );
        describe_histogram!(SETUP, Unit::Seconds, "How long set-ups took.");
        describe_histogram!(LIFE, Unit::Seconds, "How long connections lived.");
        for (name, unit, what, _) in MOVED {
            describe_counter!(name, unit, what);
        }
        for (name, what, _) in SPENT {
            describe_histogram!(name, Unit::Seconds, what);
        }
        Self { labels: Vec::new() }
    }

    /// Adds a label to all metrics, such as the name that the program has for what it serves.
    pub fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push(Label::new(name, value.into()));
        self
    }

    fn labels_of(&self, connection: &ConnectionInfo) -> Vec<Label> {
        let mut labels = vec![
            Label::new("module", Arc::clone(&connection.module)),
            Label::new("role", connection.role.to_string()),
        ];
        labels.extend_from_slice(&self.labels);
        labels
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Metrics {
    fn observe(&self, connection: &ConnectionInfo, event: &Event<'_>) {
        let labels = self.labels_of(connection);
        match event {
            Event::Begun => counter!(BEGUN, labels).increment(1),
            Event::Established { after, .. } => {
                gauge!(OPEN, labels.clone()).increment(1);
                histogram!(SETUP, labels).record(*after);
            }
            Event::Failed { code, .. } => counter!(FAILED, with_code(labels, code)).increment(1),
            Event::Ended {
                result,
                stats,
                after,
            } => {
                let code = match result {
                    Ok(outcome) => outcome.code(),
                    Err(error) => error.code(),
                };
                ended(labels, code, stats, *after);
            }
            Event::Connected { after, .. } => histogram!(CONNECT, labels).record(*after),
        }
    }
}

fn ended(labels: Vec<Label>, code: &'static str, stats: &ConnStats, after: Duration) {
    gauge!(OPEN, labels.clone()).decrement(1);
    histogram!(LIFE, labels.clone()).record(after);
    for (name, _, _, count) in MOVED {
        counter!(name, labels.clone()).increment(count(stats));
    }
    // A connection that was not measured would count as one that took no time.
    if SPENT.iter().any(|(_, _, spent)| !spent(stats).is_zero()) {
        for (name, _, spent) in SPENT {
            histogram!(name, labels.clone()).record(spent(stats));
        }
    }
    counter!(ENDED, with_code(labels, code)).increment(1);
}

fn with_code(mut labels: Vec<Label>, code: &'static str) -> Vec<Label> {
    labels.push(Label::from_static_parts("code", code));
    labels
}
