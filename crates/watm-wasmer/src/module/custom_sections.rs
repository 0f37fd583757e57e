//! Removes what is not code from a module file before the module is compiled.
//!
//! The engine reads the names of functions: a million of them take hundreds of megabytes. It keeps
//! every other custom section with the instances. No limit on compiling counts either of them. The
//! runtime uses neither: it reports a trap with the export that was called.

use wasmparser::BinaryReader;

use crate::error::LoadError;

/// Number of bytes before the first section of a module.
pub(crate) const HEADER: usize = 8;

const CUSTOM: u8 = 0;

/// Returns the module without its custom sections. `wasm` is valid and in the binary format.
///
/// # Errors
///
/// [`LoadError::Malformed`] if the module does not consist of sections.
pub(crate) fn without(wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut kept = Vec::with_capacity(wasm.len());
    kept.extend_from_slice(&wasm[..wasm.len().min(HEADER)]);
    for section in sections(wasm) {
        let (id, bytes) = section?;
        if id != CUSTOM {
            kept.extend_from_slice(bytes);
        }
    }
    Ok(kept)
}

/// The sections of a module in the binary format. Each item is the number that says what the
/// section is, and all bytes of the section, including those of the number and the size.
pub(crate) fn sections(wasm: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), LoadError>> {
    let sections = wasm.get(HEADER..).unwrap_or_default();
    let mut reader = BinaryReader::new(sections, HEADER as u64);
    std::iter::from_fn(move || {
        if reader.eof() {
            return None;
        }
        let start = reader.current_position();
        let mut next = || -> wasmparser::Result<u8> {
            let id = reader.read_u8()?;
            let size = reader.read_var_u32()?;
            reader.read_bytes(size as usize)?;
            Ok(id)
        };
        let id = next().map_err(LoadError::malformed);
        let bytes = sections
            .get(start..reader.current_position())
            .unwrap_or_default();
        if id.is_err() {
            // Nothing after this point can be found.
            reader = BinaryReader::new(&[], 0);
        }
        Some(id.map(|id| (id, bytes)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_stays_as_it_is_and_custom_sections_go_wherever_they_are() {
        let with = wat::parse_str(
            r#"(module $name
                (@custom "first" (before first) "abc")
                (type $type (func (param i32)))
                (@custom "between" (after type) "")
                (func $function (type $type))
                (memory 1)
                (data "bytes")
                (@custom "last" (after data) "defg"))"#,
        )
        .expect("a module");
        let mut plain = wat::parse_str(
            "(module (type (func (param i32))) (func (type 0)) (memory 1) (data \"bytes\"))",
        )
        .expect("a module");
        assert_eq!(without(&with).expect("a module"), plain);
        assert_eq!(without(&plain).expect("a module"), plain);
        plain.pop();
        assert!(matches!(without(&plain), Err(LoadError::Malformed(_))));
    }
}
