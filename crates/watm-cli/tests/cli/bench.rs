//! `watm bench`: what it measures and reports, but never how fast that is.

use std::fs;

use serde_json::Value;

use crate::process::{Watm, built, wat};

fn measured(module: &str, options: &[&str]) -> Value {
    let mut args = vec!["bench", module, "--glance", "--json"];
    args.extend(options);
    let ended = Watm::run(&args);
    ended.success();
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// The rows with this name. There must be at least one.
#[track_caller]
fn rows<'a>(report: &'a Value, name: &str) -> Vec<&'a Value> {
    let rows = report["rows"].as_array().expect("rows");
    let found: Vec<_> = rows.iter().filter(|row| row["name"] == name).collect();
    assert!(!found.is_empty(), "no {name}: {report}");
    found
}

/// The note with this start.
#[track_caller]
fn note<'a>(report: &'a Value, start: &str) -> &'a str {
    let notes = report["notes"].as_array().expect("notes");
    let mut notes = notes.iter().filter_map(Value::as_str);
    let found = notes.find(|note| note.starts_with(start));
    found.unwrap_or_else(|| panic!("no note {start}: {report}"))
}

/// Rows that are compared with raw TCP, or with a relay that only copies.
const COMPARED: &[&str] = &[
    "out",
    "in",
    "both",
    "both, of each alone",
    "round trip",
    "round trip, p99",
    "relay, round trip",
    "relay, round trip, p99",
    "relay, first byte",
    "relay, first byte, p99",
    "relay, round trips",
    "relay, both",
    "relay, threads",
    "relay, descriptors",
    "relay, mappings",
    "command, first byte",
    "command, first byte, p99",
    "command, round trips",
    "command, both",
    "command, threads",
    "command, descriptors",
    "command, mappings",
    "command, out",
    "command, in",
    "command, round trip",
    "command, round trip, p99",
    "dial",
    "dial, p99",
    "dial, few open",
    "dial, many open",
    "out, few at once",
    "out, many at once",
    "out, many of few",
];

const ALONE: &[&str] = &[
    "cold start",
    "left memory",
    "left threads",
    "left descriptors",
    "system calls, out",
    "system calls, in",
    "host calls, out",
    "host calls, in",
    "time in guest, out",
    "time in host, out",
    "time asleep, out",
    "time in guest, in",
    "time in host, in",
    "time asleep, in",
    "idle memory",
    "idle threads",
    "idle descriptors",
];

/// Rows that may be 0 if little was done.
const SMALL: &[&str] = &[
    "relay, memory, new",
    "relay, memory, used",
    "relay, processor",
    "command, memory, new",
    "command, memory, used",
    "command, processor",
];

#[test]
fn each_number_stands_beside_that_of_raw_tcp() {
    let report = measured(&built("plain16k"), &[]);
    assert_eq!(
        (&report["format"], &report["paired"]),
        (&1.into(), &false.into())
    );
    for name in COMPARED {
        for row in rows(&report, name) {
            let number = |field: &str| row[field].as_f64().expect("a number");
            let (tcp, module, ratio) = (number("tcp"), number("module"), number("ratio"));
            assert!(tcp > 0.0 && module > 0.0, "{row}");
            assert!((ratio - module / tcp).abs() < 1e-9 * ratio, "{row}");
        }
    }
    for name in SMALL {
        for row in rows(&report, name) {
            assert!(row["module"].is_number() && row["tcp"].is_number(), "{row}");
        }
    }
    for name in ALONE {
        for row in rows(&report, name) {
            assert!(row["module"].is_number() && row["tcp"].is_null(), "{row}");
        }
    }
}

#[test]
fn each_size_has_its_row() {
    let report = measured(&built("plain"), &[]);
    let sizes = |name| -> Vec<_> {
        let rows = rows(&report, name).into_iter();
        rows.map(|row| row["size"].as_u64().expect("a size"))
            .collect()
    };
    for name in ["out", "in"] {
        assert_eq!(sizes(name), [64, 1024, 16384, 65536]);
    }
    for name in ["both", "command, out", "command, in"] {
        assert_eq!(sizes(name), [1024, 65536]);
    }
    assert_eq!(sizes("round trip"), [4, 64, 1024]);
    assert_eq!(rows(&report, "relay, round trips")[0]["connections"], 16);
    let number = |name: &str| rows(&report, name)[0]["module"].as_f64();
    // One thread per connection.
    let threads = number("idle threads");
    assert!(
        threads.is_some_and(|threads| (0.8..=1.2).contains(&threads)),
        "{threads:?}"
    );
    for way in ["out", "in"] {
        let shares = ["in guest", "in host", "asleep"];
        let shares = shares.map(|whose| number(&format!("time {whose}, {way}")));
        let all: f64 = shares.iter().flatten().sum();
        assert!((all - 1.0).abs() < 1e-6, "{shares:?}");
    }
}

#[test]
fn only_some_groups_with_more_clients() {
    let options = ["--only", "relay,idle", "--clients", "20"];
    let report = measured(&built("plain16k"), &options);
    let all = report["rows"].as_array().expect("rows");
    for row in all {
        let name = row["name"].as_str().expect("a name");
        assert!(
            name.starts_with("relay, ") || name.starts_with("idle "),
            "{row}"
        );
    }
    rows(&report, "idle memory");
    assert_eq!(rows(&report, "relay, both")[0]["connections"], 20);
    // A relay serves each client with one thread, where one that only copies has two. The pool may
    // not have been full yet before.
    let threads = rows(&report, "relay, threads")[0];
    let number = |field: &str| threads[field].as_f64().expect("a number");
    assert!(number("tcp") == 2.0, "{threads}");
    assert!((0.7..=1.3).contains(&number("module")), "{threads}");
}

#[test]
fn a_module_that_a_plain_peer_does_not_understand_runs_at_both_ends() {
    let report = measured(&built("handshake"), &[]);
    assert_eq!(report["paired"], true);
    assert!(note(&report, "relay: left out").contains("do not understand"));
    rows(&report, "command, out");
    rows(&report, "cold start");
}

#[test]
fn a_module_that_is_no_relay_is_measured_without_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let module = directory.path().join("dialer.wat");
    let text = fs::read_to_string(wat("plain")).expect("it is read");
    assert!(text.contains("\"watm_associate_v1\""));
    let text = text.replace("\"watm_associate_v1\"", "\"something_else\"");
    fs::write(&module, text).expect("it is written");
    let report = measured(module.to_str().expect("UTF-8"), &[]);
    assert!(note(&report, "relay: left out").contains("not a relay"));
    rows(&report, "command, out");
}

#[test]
fn the_table_is_for_people_and_the_plot_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let plot = directory.path().join("plot.svg");
    let module = built("plain");
    let ended = Watm::run(&[
        "bench",
        &module,
        "--glance",
        "--paired",
        "--plot",
        plot.to_str().expect("UTF-8"),
    ]);
    ended.success();
    for part in [
        "both ends run the module",
        "raw TCP",
        "ratio",
        "both directions at once",
        "round trip, p99",
        "MB/s",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {ended:?}");
    }
    let image = fs::read_to_string(&plot).expect("there is an image");
    assert!(image.starts_with("<svg xmlns=") && image.ends_with("</svg>\n"));
    for part in ["plain.wasm", "round trip, p99, 64 bytes", "setting up"] {
        assert!(image.contains(part), "{part}: {image}");
    }
    let files = fs::read_dir(directory.path()).expect("it is there").count();
    assert_eq!(files, 1, "nothing else is left");
}

#[test]
fn a_plot_that_cannot_be_written_is_refused_before_anything_is_measured() {
    let directory = tempfile::tempdir().expect("a directory");
    let plot = directory.path().join("no/such/plot.svg");
    let plot = plot.to_str().expect("UTF-8");
    let ended = Watm::run(&["bench", &built("plain"), "--plot", plot]);
    ended.failure(&["cannot write the plot", "--plot"]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_module_that_is_no_dialer_is_refused() {
    let ended = Watm::run(&["bench", &built("fixed"), "--quick"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("dialer"), "{ended:?}");
    assert_eq!(ended.stdout, "");
}

#[test]
fn no_process_of_a_measurement_outlives_it() {
    let mut watm = Watm::start(&["bench", &built("plain"), "--glance", "-v"]);
    watm.await_log("listening on");
    watm.signal(libc::SIGKILL);
    // All processes of the command share its standard error, which ends with the last of them.
    assert_eq!(watm.end().code, None);
}
