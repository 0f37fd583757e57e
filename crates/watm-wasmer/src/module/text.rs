//! Modules in the text format, which are assembled first.
//!
//! Without the feature `wat` there are none. What is no module in either format is called what it
//! is.

use std::borrow::Cow;

#[cfg(feature = "wat")]
use watm_abi::Excerpt;

use crate::error::LoadError;
use crate::module::recognise;

/// Maximum size of a module in the text format, in bytes.
#[cfg(feature = "wat")]
const TEXT_SIZE_LIMIT: usize = 512 << 10;

/// Whether the bytes are meant as a module in the text format.
#[cfg(feature = "wat")]
fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.trim_start().starts_with(['(', ';']))
}

/// The binary form of a module that may be in the text format.
pub(crate) fn to_binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    if bytes.is_empty() {
        return Err(LoadError::NotAModule("it is empty"));
    }
    if let Some(description) = recognise::describe(bytes) {
        return Err(LoadError::NotAModule(description));
    }
    #[cfg(feature = "wat")]
    if !bytes.starts_with(b"\0asm") {
        let no_module = || LoadError::NotAModule("it does not begin with `\\0asm`");
        if bytes.len() > TEXT_SIZE_LIMIT {
            return Err(if is_text(bytes) {
                LoadError::TooComplex(format!(
                    "its text has {} bytes, more than {TEXT_SIZE_LIMIT}, and would take a hundred times \
                     as much memory to read; assemble it to the binary format",
                    bytes.len()
                ))
            } else {
                no_module()
            });
        }
        return match wat::parse_bytes(bytes) {
            Ok(binary) => Ok(binary),
            Err(error) if is_text(bytes) => Err(LoadError::Malformed(what_is_wrong(&error))),
            Err(_) => Err(no_module()),
        };
    }
    Ok(bytes.into())
}

/// What is wrong with a text, and where. The assembler's message goes on with the whole line.
#[cfg(feature = "wat")]
fn what_is_wrong(error: &wat::Error) -> String {
    let message = error.to_string();
    let mut lines = message.lines();
    let what = Excerpt(lines.next().unwrap_or_default());
    let place = lines.find_map(|line| line.trim_start().strip_prefix("--> <anon>:"));
    match place.and_then(|place| place.split_once(':')) {
        Some((line, column)) => format!("line {line}, column {column}: {what}"),
        None => what.to_string(),
    }
}
