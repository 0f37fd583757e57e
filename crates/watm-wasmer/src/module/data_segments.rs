//! Joins the data segments of a module before it is compiled.
//!
//! The engine goes through all segments for each instance, and keeps a record of each segment. Go's
//! linker makes a segment of every few bytes between zeros, which results in tens of thousands of
//! them. What they write is known from the start, so a few segments can write the same.

use std::collections::BTreeMap;

use wasmparser::{ConstExpr, DataKind, DataSectionReader, Operator, Parser, Payload, TypeRef};

use crate::error::LoadError;
use crate::module::custom_sections::{HEADER, sections};
use crate::module::engine::PAGE;

/// A module with fewer segments than this stays as it is.
const MANY: u32 = 1_000;
/// Maximum number of segments that may remain. Each one costs every instance some time.
const LIMIT: u32 = 10_000;
/// Size of an address range that is kept together, in bytes. Ranges that touch become one segment.
const CHUNK: u32 = 64;

/// What the segments of a module write, in chunks.
type Image = BTreeMap<u32, [u8; CHUNK as usize]>;

/// Returns the same module with a few data segments in place of many. `wasm` is valid, in the
/// binary format, and has no custom sections.
///
/// # Errors
///
/// [`LoadError::TooComplex`] if the module has too many segments that cannot be joined.
pub(crate) fn joined(wasm: Vec<u8>) -> Result<Vec<u8>, LoadError> {
    let mut data = None;
    let mut memory = 0;
    // Whether it is known what each segment writes, and nothing else refers to the segments.
    let mut is_known = true;
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload.map_err(LoadError::malformed)? {
            Payload::ImportSection(section) => {
                let mut imports = section.into_imports().map_while(Result::ok);
                is_known &= !imports.any(|import| matches!(import.ty, TypeRef::Memory(_)));
            }
            Payload::MemorySection(section) => {
                if let Some(ty) = section.into_iter().next() {
                    let pages = ty.map_err(LoadError::malformed)?.initial;
                    memory = pages.saturating_mul(PAGE);
                }
            }
            Payload::DataCountSection { .. } => is_known = false,
            Payload::DataSection(section) => data = Some(section),
            _ => {}
        }
    }
    let Some(section) = data.filter(|section| section.count() >= MANY) else {
        return Ok(wasm);
    };
    let count = section.count();
    match is_known.then(|| image(section, memory)).flatten() {
        Some(image) => with_data(&wasm, &image),
        None if count > LIMIT => Err(LoadError::TooComplex(format!(
            "it has {count} data segments that cannot be joined, more than {LIMIT}"
        ))),
        None => Ok(wasm),
    }
}

/// What all segments write, one after the other, to a memory of this size that is all zeros.
/// Returns `None` if a segment is not written from the start, if its place is not known, or if its
/// place is outside the memory.
fn image(section: DataSectionReader<'_>, memory: u64) -> Option<Image> {
    let mut image = Image::new();
    for segment in section {
        let segment = segment.ok()?;
        let DataKind::Active {
            memory_index: 0,
            offset_expr,
        } = segment.kind
        else {
            return None;
        };
        let mut at = constant(&offset_expr)?;
        if u64::from(at) + segment.data.len() as u64 > memory {
            return None;
        }
        let mut data = segment.data;
        while !data.is_empty() {
            let (chunk, within) = (at / CHUNK, (at % CHUNK) as usize);
            let len = data.len().min(CHUNK as usize - within);
            let into = image.entry(chunk).or_insert([0; CHUNK as usize]);
            into[within..within + len].copy_from_slice(&data[..len]);
            data = &data[len..];
            at += len as u32;
        }
    }
    Some(image)
}

fn constant(expression: &ConstExpr<'_>) -> Option<u32> {
    let mut operators = expression.get_operators_reader().into_iter();
    match (operators.next()?.ok()?, operators.next()?.ok()?) {
        (Operator::I32Const { value }, Operator::End) => Some(value.cast_unsigned()),
        _ => None,
    }
}

/// The module with segments that write the image, in place of its own segments.
fn with_data(wasm: &[u8], image: &Image) -> Result<Vec<u8>, LoadError> {
    const DATA: u8 = 11;
    let mut made = Vec::with_capacity(wasm.len());
    made.extend_from_slice(&wasm[..HEADER]);
    for section in sections(wasm) {
        let (id, bytes) = section?;
        if id == DATA {
            let contents = contents(image);
            made.push(DATA);
            leb(&mut made, contents.len() as u32);
            made.extend_from_slice(&contents);
        } else {
            made.extend_from_slice(bytes);
        }
    }
    Ok(made)
}

/// The contents of a data section that writes the image.
fn contents(image: &Image) -> Vec<u8> {
    let mut segments = Vec::new();
    let mut count = 0;
    let mut chunks = image.iter().peekable();
    let mut run = Vec::new();
    while let Some((&first, bytes)) = chunks.next() {
        run.clear();
        run.extend_from_slice(bytes);
        let mut last = first;
        while let Some((&next, bytes)) = chunks.next_if(|(next, _)| **next == last + 1) {
            run.extend_from_slice(bytes);
            last = next;
        }
        // The memory holds zeros already.
        let Some(start) = run.iter().position(|byte| *byte != 0) else {
            continue;
        };
        let end = run.iter().rposition(|byte| *byte != 0).unwrap_or(start) + 1;
        segment(
            &mut segments,
            first * CHUNK + start as u32,
            &run[start..end],
        );
        count += 1;
    }
    let mut contents = Vec::with_capacity(segments.len() + 5);
    leb(&mut contents, count);
    contents.append(&mut segments);
    contents
}

/// Adds a segment that is written to `at` from the start.
fn segment(to: &mut Vec<u8>, at: u32, bytes: &[u8]) {
    const ACTIVE: u8 = 0;
    const I32_CONST: u8 = 0x41;
    const END: u8 = 0x0b;
    to.extend([ACTIVE, I32_CONST]);
    signed_leb(to, at.cast_signed());
    to.push(END);
    leb(to, bytes.len() as u32);
    to.extend_from_slice(bytes);
}

fn leb(to: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn signed_leb(to: &mut Vec<u8>, mut value: i32) {
    while !(-0x40..0x40).contains(&value) {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8 & 0x7f);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write as _;

    /// A module with two pages of memory and these segments.
    fn module(segments: &[(u32, Vec<u8>)], more: &str) -> Vec<u8> {
        let mut text = String::from("(module (memory (export \"memory\") 2)");
        for (at, bytes) in segments {
            let _ = write!(text, "(data (i32.const {}) \"", at.cast_signed());
            for byte in bytes {
                let _ = write!(text, "\\{byte:02x}");
            }
            text.push_str("\")");
        }
        wat::parse_str(text + more + ")").expect("a module")
    }

    /// The segments of a module: the address and the bytes of each.
    fn segments(wasm: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut segments = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            if let Payload::DataSection(section) = payload.expect("it is valid") {
                for segment in section {
                    let segment = segment.expect("a segment");
                    let DataKind::Active { offset_expr, .. } = segment.kind else {
                        panic!("it is written from the start");
                    };
                    let at = constant(&offset_expr).expect("a place");
                    segments.push((at, segment.data.to_vec()));
                }
            }
        }
        segments
    }

    fn memory(segments: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut memory = vec![0; 2 * PAGE as usize];
        for (at, bytes) in segments {
            memory[*at as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        memory
    }

    fn many() -> Vec<(u32, Vec<u8>)> {
        (0..MANY).map(|n| (n * 50 + 7, vec![n as u8; 20])).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn memory_is_the_same_afterwards(
            some in proptest::collection::vec((0_u32..131_000, proptest::collection::vec(any::<u8>(), 0..70)), 0..200),
            spread in 0_u32..100,
        ) {
            let mut wanted: Vec<_> = (0..MANY).map(|n| (n * spread, vec![n as u8; 20])).collect();
            wanted.extend(some);
            let wasm = module(&wanted, "");
            let found = segments(&joined(wasm).expect("a module"));
            prop_assert!(memory(&found) == memory(&wanted));
            prop_assert!(found.len() < wanted.len());
        }
    }

    #[test]
    fn segments_that_nearly_touch_become_one() {
        let wasm = joined(module(&many(), "")).expect("a module");
        assert_eq!(segments(&wasm).len(), 1);
        wasmparser::validate(&wasm).expect("it is valid");
        // The last byte of the largest memory. Its address is a negative `i32`.
        let mut far = Vec::new();
        signed_leb(&mut far, -1);
        assert_eq!(far, [0x7f]);
        signed_leb(&mut far, 64);
        assert_eq!(far[1..], [0xc0, 0]);
    }

    #[test]
    fn a_module_whose_memory_is_not_known_stays_as_it_is() {
        let outside = [(2 * PAGE as u32 - 10, vec![1; 11])];
        for (segments, more) in [
            (&many()[1..], ""),
            (&many(), "(data \"passive\")"),
            (
                &many(),
                "(global $g i32 (i32.const 5)) (data (global.get $g) \"x\")",
            ),
            (&[&many()[..], &outside].concat(), ""),
        ] {
            let wasm = module(segments, more);
            assert_eq!(joined(wasm.clone()).expect("a module"), wasm, "{more}");
        }
    }

    #[test]
    fn too_many_that_cannot_be_joined_are_refused() {
        let segments: Vec<_> = (0..=LIMIT).map(|n| (n, vec![1])).collect();
        let error = joined(module(&segments, "(data \"passive\")")).expect_err("too many");
        assert!(error.to_string().contains("10002 data segments"), "{error}");
        joined(module(&segments, "")).expect("these can");
    }
}
