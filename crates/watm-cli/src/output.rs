//! What a command prints on standard output: whole, or its failure is the command's.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Failure::output)
}

/// One JSON object and the end of its line.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    let mut json = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::because("cannot write JSON", error))?;
    json.push('\n');
    Ok(json)
}
