//! Guests that import the same functions repeatedly.

use crate::case::{Case, Expected, Limits, Run};
use crate::guest::{Guest, call_with, import_as};

/// Maximum number of imports, with the two of every guest.
const MOST: usize = 9_900;

pub(crate) fn cases() -> Vec<Case> {
    let names: Vec<&'static str> = watm_abi::imports().map(|(_, name, _)| name).collect();
    let mut cases: Vec<_> = names
        .iter()
        .map(|name| case(format!("5,000 imports of {name}"), vec![*name], 5_000))
        .collect();
    let each = MOST / names.len();
    cases.push(case(
        "imports of every function, in turns".into(),
        names,
        each,
    ));
    cases
}

/// A guest that imports each of these functions `count` times, and calls the first, the middle and
/// the last import of each.
fn case(name: String, names: Vec<&'static str>, count: usize) -> Case {
    Case {
        name: format!("calling: {name}"),
        extension: "wasm",
        input: Box::new(move || {
            let alias = |name: &str, number: usize| format!("{name}.{number}");
            let mut imports = String::new();
            for number in 0..count {
                for name in &names {
                    imports.push_str(&import_as(name, &alias(name, number)));
                }
            }
            let mut init = String::new();
            for number in [0, count / 2, count - 1] {
                // Calls that end the guest come last.
                for name in names.iter().filter(|name| !name.starts_with("proc_")) {
                    init.push_str(&call_with(name, &alias(name, number), 8));
                }
            }
            for name in names.iter().filter(|name| name.starts_with("proc_")) {
                init.push_str(&call_with(name, &alias(name, count - 1), 0));
            }
            let text = Guest {
                imports,
                init,
                ..Guest::default()
            }
            .text();
            // In the text format it would take a hundred times its size.
            wat::parse_str(text).expect("a module")
        }),
        runs: vec![Run::command(
            "",
            "dial-fixed --module FILE --allow-all --spare-instances 0 --no-cache --setup-timeout 5s",
            Expected::Refused,
            |_| Limits::calling(32, 3),
        )],
    }
}
