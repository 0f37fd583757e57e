//! Prints the public API of a crate, a line for each item, from the JSON of rustdoc.
//! `.ci/public-api` makes that file, and compares the lines with those of before.
//!
//! ```sh
//! public_api JSON
//! ```
//!
//! It fails if a struct, an enum, a trait, a macro or a free function has no example, and names it.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command for the terminal"
)]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use public_api::{PublicApi, PublicItem};
use serde_json::Value;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: public_api JSON");
        return Ok(ExitCode::from(2));
    };
    let file = Path::new(&file);
    let api = public_api::Builder::from_rustdoc_json(file)
        // What every type has, and what a derive or the fields bring along, says nothing new.
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    print!("{api}");
    let json: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let missing = without_example(&api, &json);
    for (item, place) in &missing {
        eprintln!("{place}: no example: {item}");
    }
    Ok(if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The items that lack an example, each with where it is.
fn without_example<'a>(api: &'a PublicApi, json: &Value) -> Vec<(&'a PublicItem, String)> {
    let entry = |id: u32| &json["index"][id.to_string()];
    let items = api.items().filter_map(|item| {
        let found = entry(item.id().0);
        let is_free = || {
            let parent = item.parent_id().map(|id| entry(id.0));
            parent.is_none_or(|parent| is(parent, "module"))
        };
        let needs_one = ["struct", "enum", "union", "trait", "macro", "proc_macro"]
            .into_iter()
            .any(|kind| is(found, kind))
            || is(found, "function") && is_free();
        let has_one = found["docs"].as_str().is_some_and(has_example);
        (needs_one && !has_one).then(|| (item, place(found)))
    });
    items.collect()
}

/// True if an entry of the index is of this kind.
fn is(entry: &Value, kind: &str) -> bool {
    entry["inner"].get(kind).is_some()
}

/// True if the documentation has a block of Rust, which rustdoc compiles at least.
fn has_example(docs: &str) -> bool {
    let mut is_inside = false;
    docs.lines().any(|line| {
        let Some(attributes) = line.trim_start().strip_prefix("```") else {
            return false;
        };
        is_inside = !is_inside;
        let mut attributes = attributes.split(',').map(str::trim);
        is_inside
            && attributes.all(|attribute| {
                ["", "rust", "no_run", "should_panic"].contains(&attribute)
                    || attribute.starts_with("edition")
            })
    })
}

fn place(entry: &Value) -> String {
    let span = &entry["span"];
    let file = span["filename"].as_str().unwrap_or("?");
    format!("{file}:{}", span["begin"][0])
}

#[cfg(test)]
mod tests {
    use super::has_example;

    #[test]
    fn only_rust_that_is_compiled_is_an_example() {
        for docs in [
            "It is.\n\n```\nuse it;\n```",
            "```no_run\n```",
            "```rust\n```",
        ] {
            assert!(has_example(docs), "{docs}");
        }
        for docs in ["It is.", "```toml\n[it]\n```\n", "```ignore\nuse it;\n```"] {
            assert!(!has_example(docs), "{docs}");
        }
        assert!(has_example("```text\nit\n```\n\n```\nuse it;\n```"));
    }
}
