//! What a command prints on standard output. If that cannot be written, the command fails.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::escape::Json;
use super::failure::Failure;

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(|out| out.write_all(text.as_bytes()))
}

/// Prints a JSON object and a newline.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    write(|out| {
        serde_json::to_writer_pretty(Json(&mut *out), value)?;
        out.write_all(b"\n")
    })
}

/// Prints what `produce` writes, without holding it all in memory.
pub(crate) fn write(produce: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    produce(&mut out)
        .and_then(|()| out.flush())
        .map_err(Failure::output)
}
