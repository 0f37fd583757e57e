//! `watm bench`: what it measures and tells; never how fast that is.

use serde_json::Value;

use crate::process::{Watm, built};

fn measured(module: &str, options: &[&str]) -> Value {
    let module = built(module);
    let mut args = vec!["bench", &module, "--quick", "--json"];
    args.extend(options);
    let ended = Watm::run(&args);
    ended.success();
    assert_eq!(ended.stderr, "");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

#[test]
fn each_number_stands_beside_that_of_raw_tcp() {
    let report = measured("plain16k", &[]);
    assert_eq!(
        (&report["format"], &report["paired"]),
        (&1.into(), &false.into())
    );
    let rows = report["rows"].as_array().expect("rows");
    let names: Vec<(&str, Option<u64>)> = rows
        .iter()
        .map(|row| (row["name"].as_str().expect("a name"), row["size"].as_u64()))
        .collect();
    for name in ["out", "in"] {
        for size in [64, 1024, 16384, 65536] {
            assert!(
                names.contains(&(name, Some(size))),
                "{name} {size}: {names:?}"
            );
        }
    }
    for row in rows {
        let number = |field: &str| row[field].as_f64();
        let module = number("module").expect("a number");
        match number("tcp") {
            Some(tcp) => {
                assert!(tcp > 0.0 && module > 0.0, "{row}");
                let ratio = number("ratio").expect("a ratio");
                assert!((ratio - module / tcp).abs() < 1e-9 * ratio, "{row}");
            }
            None => assert!(
                row["name"].as_str().expect("a name").starts_with("idle "),
                "{row}"
            ),
        }
    }
    // A thread a connection, but one of an earlier measurement may end meanwhile.
    let threads = rows.iter().find(|row| row["name"] == "idle threads");
    let threads = threads.expect("a row")["module"].as_f64();
    assert!(
        threads.is_some_and(|threads| (0.8..=1.2).contains(&threads)),
        "{threads:?}"
    );
}

#[test]
fn a_module_that_a_plain_peer_does_not_understand_runs_at_both_ends() {
    assert_eq!(measured("handshake", &[])["paired"], true);
}

#[test]
fn the_table_is_for_people() {
    let ended = Watm::run(&["bench", &built("plain"), "--quick", "--paired"]);
    ended.success();
    for part in [
        "both ends run the module",
        "raw TCP",
        "ratio",
        "round trip, p99",
        "MB/s",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {ended:?}");
    }
}

#[test]
fn a_module_that_is_no_dialer_is_refused() {
    let ended = Watm::run(&["bench", &built("fixed"), "--quick"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("dialer"), "{ended:?}");
    assert_eq!(ended.stdout, "");
}
