//! What a command prints on standard output: whole, or its failure is the command's.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::escape::Json;
use super::failure::Failure;

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(|out| out.write_all(text.as_bytes()))
}

/// Prints one JSON object and the end of its line.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    write(|out| {
        serde_json::to_writer_pretty(Json(&mut *out), value)?;
        out.write_all(b"\n")
    })
}

/// Prints what `produce` writes, part by part, so that it need not be in memory as a whole.
pub(crate) fn write(produce: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    produce(&mut out)
        .and_then(|()| out.flush())
        .map_err(Failure::output)
}
