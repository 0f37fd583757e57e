//! The metrics of this process beside those of the library, and the recorder for both.

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use watm_wasmer::ServerStats;

use super::process;
use super::registry::{Reloads, TunnelNumbers};
use crate::terminal::failure::Failure;

/// The upper ends of the buckets for what waits for a network: a millisecond to half a minute.
const WAITS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Those for how long connections live: a tenth of a second to a day.
const LIVES: &[f64] = &[
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0,
];
/// Those for what a connection takes of the processor: a tenth of a millisecond to a quarter of an
/// hour.
const WORK: &[f64] = &[
    0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0,
];

/// Each histogram of the library with its buckets.
const HISTOGRAMS: [(&str, &[f64]); 6] = [
    ("watm_connect_seconds", WAITS),
    ("watm_setup_seconds", WAITS),
    ("watm_connection_seconds", LIVES),
    ("watm_guest_seconds", WORK),
    ("watm_host_seconds", WORK),
    ("watm_asleep_seconds", LIVES),
];

/// The counters of a tunnel, each with what it counts and how it is found.
type Counted = (&'static str, Unit, &'static str, fn(&ServerStats) -> u64);
const COUNTED: [Counted; 11] = [
    (
        "watm_tunnel_accepted_total",
        Unit::Count,
        "Connections that the tunnel has accepted.",
        |stats| stats.accepted,
    ),
    (
        "watm_tunnel_refused_total",
        Unit::Count,
        "Accepted connections whose transport could not be set up.",
        |stats| stats.refused,
    ),
    (
        "watm_tunnel_completed_total",
        Unit::Count,
        "Connections that were set up and ended well.",
        |stats| stats.completed,
    ),
    (
        "watm_tunnel_failed_total",
        Unit::Count,
        "Connections that were set up and ended with an error.",
        |stats| stats.failed,
    ),
    (
        "watm_tunnel_cut_total",
        Unit::Count,
        "Connections that were set up and then cut off by the end of their server.",
        |stats| stats.cut,
    ),
    (
        "watm_tunnel_network_received_bytes_total",
        Unit::Bytes,
        "Bytes received from the network so far, also by open connections.",
        |stats| stats.received,
    ),
    (
        "watm_tunnel_network_sent_bytes_total",
        Unit::Bytes,
        "Bytes sent to the network so far, also by open connections.",
        |stats| stats.sent,
    ),
    (
        "watm_tunnel_client_received_bytes_total",
        Unit::Bytes,
        "The part of the bytes from the network that came from clients of a listener or relay.",
        |stats| stats.client_received,
    ),
    (
        "watm_tunnel_client_sent_bytes_total",
        Unit::Bytes,
        "The part of the bytes to the network that went to clients of a listener or relay.",
        |stats| stats.client_sent,
    ),
    (
        "watm_tunnel_plain_received_bytes_total",
        Unit::Bytes,
        "Bytes received from plain connections so far, also by open ones.",
        |stats| stats.plain_received,
    ),
    (
        "watm_tunnel_plain_sent_bytes_total",
        Unit::Bytes,
        "Bytes sent to plain connections so far, also by open ones.",
        |stats| stats.plain_sent,
    ),
];

const UP: &str = "watm_tunnel_up";
const ACTIVE: &str = "watm_tunnel_connections";
const LEAVING: &str = "watm_tunnel_leaving_connections";
const TAKEN_BACK: &str = "watm_tunnel_taken_back";
const RELOADS: &str = "watm_reloads_total";
const LOADED: &str = "watm_config_loaded_timestamp_seconds";
const BUILD: &str = "watm_build_info";

/// Has this process count from now on.
pub(super) fn install() -> Result<PrometheusHandle, Failure> {
    let failed = |error| Failure::because("cannot count metrics", error);
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in HISTOGRAMS {
        let matcher = Matcher::Full(name.to_owned());
        builder = builder
            .set_buckets_for_metric(matcher, buckets)
            .map_err(failed)?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|error| Failure::new(format!("cannot count metrics: {error}")))?;
    describe();
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn describe() {
    for (name, unit, what, _) in COUNTED {
        describe_counter!(name, unit, what);
    }
    describe_gauge!(
        UP,
        Unit::Count,
        "1 if the tunnel accepts connections, or else 0."
    );
    describe_gauge!(
        ACTIVE,
        Unit::Count,
        "Connections that are open or being set up."
    );
    describe_gauge!(
        LEAVING,
        Unit::Count,
        "The part of them that began before their tunnel was removed or moved elsewhere."
    );
    describe_gauge!(
        TAKEN_BACK,
        Unit::Count,
        "1 if the last settings failed, so that those before are used, or else 0."
    );
    describe_counter!(
        RELOADS,
        Unit::Count,
        "How often the file was read again, by result."
    );
    describe_gauge!(
        LOADED,
        Unit::Seconds,
        "When the settings that are used were read, as seconds since 1970."
    );
    describe_gauge!(BUILD, Unit::Count, "1, with the version of this program.");
    process::describe();
}

/// Takes over the numbers that are not counted as they come about.
pub(super) fn take_over(tunnels: &[TunnelNumbers], reloads: Reloads) {
    for tunnel in tunnels {
        let labels = vec![
            Label::new("tunnel", tunnel.tunnel.clone()),
            Label::new("role", tunnel.role.to_string()),
        ];
        for (name, _, _, count) in COUNTED {
            counter!(name, labels.clone()).absolute(count(&tunnel.stats));
        }
        let gauges = [
            (UP, u64::from(tunnel.is_up)),
            (ACTIVE, tunnel.stats.active),
            (LEAVING, tunnel.leaving),
            (TAKEN_BACK, u64::from(tunnel.is_taken_back)),
        ];
        for (name, value) in gauges {
            gauge!(name, labels.clone()).set(process::number(value));
        }
    }
    counter!(RELOADS, "result" => "done").absolute(reloads.done);
    counter!(RELOADS, "result" => "failed").absolute(reloads.failed);
    gauge!(LOADED).set(reloads.last);
    process::take_over();
}
