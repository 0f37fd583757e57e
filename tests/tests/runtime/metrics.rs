//! Metrics: what a recorder of the crate `metrics` hears.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, Once, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use watm_tests::{EchoServer, ReservedPort, copy_as, eventually};
use watm_wasmer::{ConnectionInfo, Dialer, Event, Metrics, Observer};

/// The sum of each metric, or for a histogram the number of its values.
static SUMS: Mutex<BTreeMap<String, f64>> = Mutex::new(BTreeMap::new());

fn sums() -> std::sync::MutexGuard<'static, BTreeMap<String, f64>> {
    SUMS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sum(String);

impl Sum {
    fn of(key: &Key) -> Arc<Self> {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        Arc::new(Self(key.name().to_owned() + &labels.collect::<String>()))
    }

    fn add(&self, value: f64) {
        *sums().entry(self.0.clone()).or_default() += value;
    }
}

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {
        panic!("counters are incremented");
    }
}

impl GaugeFn for Sum {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        panic!("gauges are changed");
    }
}

impl HistogramFn for Sum {
    fn record(&self, value: f64) {
        assert!((0.0..600.0).contains(&value), "it is in seconds: {value}");
        self.add(1.0);
    }
}

struct Sums;

impl Recorder for Sums {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        sums().insert(format!("described {} {unit:?}", name.as_str()), 1.0);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe_counter(name, unit, text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe_counter(name, unit, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Sum::of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Sum::of(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Sum::of(key))
    }
}

/// What was counted for a module, without the module, the role and the label of the test.
fn counted(module: &str) -> Vec<(String, f64)> {
    let of = format!(" module={module} role=dialer tunnel=t");
    let sums = sums();
    let of_module = sums.iter().filter(|(name, _)| name.contains(&of));
    of_module
        .map(|(name, sum)| (name.replace(&of, ""), *sum))
        .collect()
}

fn installed() -> Metrics {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| metrics::set_global_recorder(Sums).expect("there is no other recorder"));
    Metrics::new().label("tunnel", "t")
}

/// Hears beside the metrics.
#[derive(Clone, Default)]
struct Beside(Arc<Mutex<u32>>);

impl Observer for Beside {
    fn observe(&self, _: &ConnectionInfo, _: &Event<'_>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }
}

#[test]
fn connections_are_counted_by_outcome_with_their_bytes_and_times() {
    let server = EchoServer::start();
    let port = ReservedPort::new();
    let beside = Beside::default();
    let dialer = Dialer::builder(&copy_as("plain", "counted"));
    let dialer = dialer.observer((installed(), beside.clone())).build();
    let dialer = dialer.expect("a dialer");
    dialer.dial(port.address()).expect_err("nobody listens");
    let mut conn = dialer.dial(server.address()).expect("a connection");
    eventually("it is open", || {
        counted("counted").contains(&("watm_connections_open".to_owned(), 1.0))
    });
    conn.write_all(b"hello").expect("it writes");
    conn.read_exact(&mut [0; 5]).expect("it reads");
    conn.close().expect("a good end");
    eventually("it has ended", || {
        let ended = "watm_connections_ended_total code=completed".to_owned();
        counted("counted").contains(&(ended, 1.0))
    });
    let calls = conn.stats();
    let (host_calls, system_calls) = (calls.host_calls as f64, calls.system_calls as f64);
    let expected = [
        ("watm_client_received_bytes_total", 0.0),
        ("watm_client_sent_bytes_total", 0.0),
        ("watm_connect_seconds", 1.0),
        ("watm_connection_seconds", 1.0),
        ("watm_connections_begun_total", 2.0),
        ("watm_connections_ended_total code=completed", 1.0),
        ("watm_connections_failed_total code=connect", 1.0),
        ("watm_connections_open", 0.0),
        ("watm_host_calls_total", host_calls),
        ("watm_network_received_bytes_total", 5.0),
        ("watm_network_sent_bytes_total", 5.0),
        ("watm_plain_received_bytes_total", 0.0),
        ("watm_plain_sent_bytes_total", 0.0),
        ("watm_setup_seconds", 1.0),
        ("watm_system_calls_total", system_calls),
    ];
    let expected = expected.map(|(name, sum)| (name.to_owned(), sum));
    assert_eq!(counted("counted"), expected);
    // Begun and failed; begun, connected, established and ended.
    assert_eq!(*beside.0.lock().expect("it did not panic"), 6);
    let described = sums()
        .keys()
        .filter(|key| key.starts_with("described"))
        .count();
    assert_eq!(described, 18, "all metrics are described");
}

#[test]
fn the_time_of_a_connection_is_counted_if_it_is_measured() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&copy_as("plain", "timed")).observer(installed());
    let dialer = dialer.timing(true).build().expect("a dialer");
    let mut conn = dialer.dial(server.address()).expect("a connection");
    conn.write_all(b"hello").expect("it writes");
    conn.read_exact(&mut [0; 5]).expect("it reads");
    conn.close().expect("a good end");
    for name in [
        "watm_guest_seconds",
        "watm_host_seconds",
        "watm_asleep_seconds",
    ] {
        eventually("it is counted", || {
            counted("timed").contains(&(name.to_owned(), 1.0))
        });
    }
}
