//! Modules in the text format, of at most 4 MiB. Reading this format takes more memory.

use crate::case::{Case, Expected, Limits, Run};

use Expected::{Either, Refused};

/// Maximum size of a text, in bytes.
const MOST: usize = 4 << 20;

pub(crate) fn cases() -> Vec<Case> {
    [nested(), long(), many(), lengths()]
        .into_iter()
        .flatten()
        .collect()
}

/// Deep nesting.
fn nested() -> Vec<Case> {
    vec![
        case("a million parentheses within each other", Refused, || {
            "(".repeat(1_000_000)
        }),
        case(
            "half a million folded instructions within each other",
            Refused,
            || {
                let count = 500_000;
                format!(
                    "(module (func {}{}))",
                    "(drop ".repeat(count),
                    ")".repeat(count)
                )
            },
        ),
        case("half a million blocks within each other", Refused, || {
            let count = 500_000;
            format!(
                "(module (func {} {}))",
                "block ".repeat(count),
                "end ".repeat(count)
            )
        }),
        case("comments within each other", Refused, || {
            let count = MOST / 2 - 10;
            format!("({}", "(;".repeat(count))
        }),
    ]
}

/// Strings and names that fill the text.
fn long() -> Vec<Case> {
    vec![
        case("a string of 4 MB", Refused, || {
            format!(
                "(module (memory 100) (data (i32.const 0) \"{}\"))",
                "a".repeat(MOST - 100)
            )
        }),
        case("a string of escapes", Refused, || {
            format!(
                "(module (memory 100) (data (i32.const 0) \"{}\"))",
                "\\00".repeat(1_300_000)
            )
        }),
        case("an identifier of 4 MB that nobody has", Refused, || {
            format!("(module (func (call ${})))", "a".repeat(MOST - 100))
        }),
        case("an export whose name has 4 MB", Refused, || {
            format!("(module (func (export \"{}\")))", "a".repeat(MOST - 100))
        }),
    ]
}

/// Many items of one kind, mostly as many as the text can hold.
fn many() -> Vec<Case> {
    vec![
        case("4 MiB of functions", Refused, || repeated("(func)")),
        case("4 MiB of imports", Refused, || {
            repeated("(import\"\"\"\"(func))")
        }),
        case("4 MiB of exports", Refused, || {
            repeated("(export\"\"(func 0))")
        }),
        case("4 MiB of types", Refused, || repeated("(type(func))")),
        case(
            "4 MiB of types that are written where they are used",
            Refused,
            types_in_place,
        ),
        case("4 MiB of data", Refused, || repeated("(data\"\")")),
        case("4 MiB of global variables", Refused, || {
            repeated("(global i32 i32.const 0)")
        }),
        case("4 MiB of annotations", Refused, || repeated("(@a)")),
        case("4 MiB of instructions", Refused, || {
            format!("(module(func {}))", "nop ".repeat(MOST / 4 - 100))
        }),
        case("4 MiB of local variables", Refused, || {
            format!("(module(func(local {})))", "i32 ".repeat(MOST / 4 - 100))
        }),
        case("a small module with a million elements", Either, || {
            let items = "0 ".repeat(1_000_000);
            watm_tests::wat_text("plain").replacen(
                "(module",
                &format!("(module (elem func {items})"),
                1,
            )
        }),
    ]
}

/// Texts that are as long as the limit, or longer, and hold almost nothing.
fn lengths() -> Vec<Case> {
    vec![
        case("4 MiB of blanks", Refused, || " ".repeat(MOST)),
        case("a line of 4 MiB with an error at its end", Refused, || {
            format!("(module{}(funk))", " ".repeat(MOST - 100))
        }),
        case("a text that is a byte too long", Refused, || {
            " ".repeat(MOST) + "("
        }),
        case("a text of 64 MiB", Refused, || "(".repeat(64 << 20)),
    ]
}

/// Functions whose types all differ. Each type is written at its function.
fn types_in_place() -> String {
    let mut text = String::from("(module");
    let mut number = 0_u32;
    while text.len() < MOST - 200 {
        let is_narrow = |bit: u32| number >> bit & 1 == 0;
        let values: String = (0..16)
            .map(|bit| if is_narrow(bit) { " i32" } else { " i64" })
            .collect();
        text.push_str(&format!("(func(param{values})unreachable)"));
        number += 1;
    }
    text + ")"
}

fn repeated(field: &str) -> String {
    format!("(module{})", field.repeat((MOST - 8) / field.len()))
}

fn case(name: &str, expected: Expected, text: fn() -> String) -> Case {
    Case {
        name: format!("text: {name}"),
        extension: "wat",
        input: Box::new(move || text().into_bytes()),
        runs: vec![Run::command(
            "inspect",
            "inspect FILE --no-cache",
            expected,
            Limits::reading_text,
        )],
    }
}
