//! Runs every oracle on arbitrary cases, and checks that the cases reach every ending.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use watm_abi::{Errno, InterfaceError, ModuleKind};
use watm_abi_oracle::{
    DialStringCase, FdTableCase, InterfaceCase, IovecCase, PollCase, dial_strings, fd_table,
    interface_check, iovecs, poll_records,
};

const CASES: u32 = 4096;

/// Runs `oracle` on many cases and counts their endings under the names that `names` returns.
#[track_caller]
fn run<C, O>(
    oracle: impl Fn(&C) -> O,
    names: impl Fn(&C, O) -> Vec<String>,
) -> BTreeMap<String, usize>
where
    C: for<'a> Arbitrary<'a> + Debug,
{
    let counts = RefCell::new(BTreeMap::new());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    // A fixed seed, because the counts must be the same every time. The fuzz targets look for new
    // cases.
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&vec(any::<u8>(), 0..1024), |bytes| {
        let case = C::arbitrary_take_rest(Unstructured::new(&bytes))
            .map_err(|error| TestCaseError::reject(error.to_string()))?;
        let ending = oracle(&case);
        for name in names(&case, ending) {
            *counts.borrow_mut().entry(name).or_insert(0) += 1;
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    counts.into_inner()
}

#[track_caller]
fn assert_reached(counts: &BTreeMap<String, usize>, endings: &[&str]) {
    for ending in endings {
        let count = counts.get(*ending).copied().unwrap_or(0);
        assert!(
            count >= 10,
            "`{ending}` was reached {count} times of {CASES}: {counts:?}"
        );
    }
}

fn ending<T>(prefix: &str, result: &Result<T, Errno>) -> String {
    match result {
        Ok(_) => format!("{prefix}ok"),
        Err(errno) => format!("{prefix}{}", errno.name()),
    }
}

#[test]
fn arrays_of_buffers_decode_as_the_model_says() {
    let counts = run(iovecs, |_: &IovecCase, result| vec![ending("", &result)]);
    assert_reached(&counts, &["ok", "EINVAL", "EFAULT"]);
}

#[test]
fn strings_are_gathered_as_the_model_says() {
    let counts = run(dial_strings, |case: &DialStringCase, result| {
        let kind = match case {
            DialStringCase::Text { .. } => "text ",
            DialStringCase::Spoilt { .. } => "spoilt ",
            DialStringCase::Long { .. } => "long ",
            DialStringCase::Bare { .. } => "bare ",
            DialStringCase::Array(_) => "array ",
        };
        vec![ending(kind, &result)]
    });
    assert_reached(
        &counts,
        &[
            "text ok",
            "spoilt ok",
            "spoilt EINVAL",
            "long ok",
            "long EINVAL",
            "bare EINVAL",
            "array EINVAL",
        ],
    );
}

#[test]
fn poll_records_are_read_and_written_as_the_models_say() {
    let counts = run(poll_records, |_: &PollCase, outcome| {
        vec![
            ending("read ", &outcome.read),
            ending("write ", &outcome.written),
        ]
    });
    assert_reached(
        &counts,
        &[
            "read ok",
            "read EINVAL",
            "read EFAULT",
            "write ok",
            "write EFAULT",
        ],
    );
}

#[test]
fn the_table_does_what_a_sorted_map_would() {
    let counts = run(fd_table, |case: &FdTableCase, endings| {
        let name = |op: &dyn Debug| {
            let op = format!("{op:?}");
            op.split('(').next().unwrap_or_default().to_owned()
        };
        let errno = |ending: &Option<Errno>| ending.map_or("ok", Errno::name);
        case.ops
            .iter()
            .zip(&endings)
            .map(|(op, e)| format!("{} {}", name(op), errno(e)))
            .collect()
    });
    let reached = [
        "Insert ok",
        "Insert EMFILE",
        "Give ok",
        "Give EBADF",
        "Remove ok",
        "Remove EBADF",
        "Renumber ok",
        "Renumber EBADF",
        "Change ok",
        "Drain ok",
    ];
    assert_reached(&counts, &reached);
}

#[test]
fn modules_are_accepted_and_refused_as_the_model_says() {
    let counts = run(interface_check, |_: &InterfaceCase, result| match result {
        Ok(entry) => vec![match entry.kind {
            ModuleKind::Command => "command".to_owned(),
            ModuleKind::Reactor => "reactor".to_owned(),
            ModuleKind::Plain => "plain".to_owned(),
        }],
        Err(problems) => problems.iter().map(variant).collect(),
    });
    let reached = [
        "command",
        "reactor",
        "plain",
        "Version0",
        "DraftV1",
        "MissingExport",
        "ExportSignature",
        "ExtensionSignature",
        "ExportKind",
        "SharedMemory",
        "Memory64",
        "NoRole",
        "ImportUnknown",
        "ImportKind",
        "ImportSignature",
    ];
    assert_reached(&counts, &reached);
}

fn variant(problem: &InterfaceError) -> String {
    let debug = format!("{problem:?}");
    debug
        .split([' ', '{', '('])
        .next()
        .unwrap_or_default()
        .to_owned()
}
