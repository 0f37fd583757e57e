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
const SETUP: &str = "watm_setup_seconds";
const LIFE: &str = "watm_connection_seconds";

/// What a connection has moved, each with what it counts and how it is found.
type Moved = (&'static str, Unit, &'static str, fn(&ConnStats) -> u64);
const MOVED: [Moved; 5] = [
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
/// | `watm_setup_seconds` | histogram | `module`, `role` | how long the set-up took, for those that were set up |
/// | `watm_connection_seconds` | histogram | `module`, `role` | how long connections lived, from the beginning of the set-up |
/// | `watm_network_received_bytes_total`, `watm_network_sent_bytes_total` | counter | `module`, `role` | bytes on the wire, counted when a connection has ended |
/// | `watm_plain_received_bytes_total`, `watm_plain_sent_bytes_total` | counter | `module`, `role` | bytes of plain connections that are carried, in the same way |
/// | `watm_host_calls_total` | counter | `module`, `role` | calls of the host by modules, in the same way |
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
pub struct Metrics(());

impl Metrics {
    /// Counts, and describes the metrics to the recorder. So the recorder is installed before.
    pub fn new() -> Self {
        describe_counter!(BEGUN, Unit::Count, "Connections whose set-up has begun.");
        describe_counter!(FAILED, Unit::Count, "Connections that were not set up.");
        describe_counter!(ENDED, Unit::Count, "Connections that have ended.");
        describe_gauge!(OPEN, Unit::Count, "Connections that are set up.");
        describe_histogram!(SETUP, Unit::Seconds, "How long set-ups took.");
        describe_histogram!(LIFE, Unit::Seconds, "How long connections lived.");
        for (name, unit, what, _) in MOVED {
            describe_counter!(name, unit, what);
        }
        Self(())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Metrics {
    fn observe(&self, connection: &ConnectionInfo, event: &Event<'_>) {
        let labels = labels_of(connection);
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
            Event::Connected { .. } => {}
        }
    }
}

fn ended(labels: Vec<Label>, code: &'static str, stats: &ConnStats, after: Duration) {
    gauge!(OPEN, labels.clone()).decrement(1);
    histogram!(LIFE, labels.clone()).record(after);
    for (name, _, _, count) in MOVED {
        counter!(name, labels.clone()).increment(count(stats));
    }
    counter!(ENDED, with_code(labels, code)).increment(1);
}

fn labels_of(connection: &ConnectionInfo) -> Vec<Label> {
    vec![
        Label::new("module", Arc::clone(&connection.module)),
        Label::new("role", connection.role.to_string()),
    ]
}

fn with_code(mut labels: Vec<Label>, code: &'static str) -> Vec<Label> {
    labels.push(Label::from_static_parts("code", code));
    labels
}
