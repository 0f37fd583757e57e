//! What is not code in a module file, and goes before the module is compiled.
//!
//! The engine reads the names of functions, a million of them for hundreds of megabytes, and keeps every
//! other custom section with the instances; no limit on compiling counts them. The runtime makes no use
//! of either: a trap is told with the export that was called.

use wasmparser::BinaryReader;

use crate::error::LoadError;

/// The module, which is valid and in the binary format, without its custom sections.
///
/// # Errors
///
/// [`LoadError::Malformed`] if it does not consist of sections.
pub(crate) fn without(wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    const HEADER: usize = 8;
    const CUSTOM: u8 = 0;
    let (header, sections) = wasm.split_at_checked(HEADER).unwrap_or((wasm, &[]));
    let mut kept = Vec::with_capacity(wasm.len());
    kept.extend_from_slice(header);
    let mut reader = BinaryReader::new(sections, HEADER as u64);
    while !reader.eof() {
        let start = reader.current_position();
        let id = reader.read_u8().map_err(LoadError::malformed)?;
        let size = reader.read_var_u32().map_err(LoadError::malformed)?;
        reader
            .read_bytes(size as usize)
            .map_err(LoadError::malformed)?;
        let section = sections.get(start..reader.current_position());
        if id != CUSTOM {
            kept.extend_from_slice(section.unwrap_or_default());
        }
    }
    Ok(kept)
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
