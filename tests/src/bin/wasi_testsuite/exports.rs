//! Turns a program in the binary format into a transport module. The four exports of a module are
//! added after everything else, so that no index changes.
//!
//! The program's `_start` is the module's `main`, which the runtime runs right after instantiation.
//! The role function then returns ECANCELED. The dialer learns from it that `main` has ended.

use watm_wasmer::Errno;

/// What the role function returns.
pub(crate) const ENDED: Errno = Errno::Canceled;

const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const EXPORTS: u8 = 7;
const CODE: u8 = 10;

const I32: u8 = 0x7f;

/// The exports: their names, whether they take an `i32`, and what they return.
fn added() -> [(&'static str, bool, i8); 4] {
    let ended = i8::try_from(ENDED.raw()).expect("a small number");
    [
        ("watm_init_v1", false, 0),
        ("watm_ctrlpipe_v1", true, 0),
        ("watm_dial_v1", true, -ended),
        ("watm_start_v1", false, 0),
    ]
}

/// The program with the exports of a module.
pub(crate) fn with_exports(program: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = Reader(program);
    let mut module = reader.take(8)?.to_vec();
    let mut sections = Vec::new();
    while !reader.0.is_empty() {
        let id = reader.byte()?;
        let len = reader.number()?;
        sections.push((id, reader.take(len)?));
    }
    let find = |wanted: u8| {
        let found = sections.iter().find(|(id, _)| *id == wanted);
        let (_, content) = found.ok_or(format!("it has no section {wanted}"))?;
        let mut reader = Reader(content);
        Ok::<_, String>((reader.number()?, reader.0))
    };
    let imported = find(IMPORTS).map_or(Ok(0), |(count, imports)| functions_in(count, imports))?;
    let first_type = find(TYPES)?.0;
    let first_function = imported + find(FUNCTIONS)?.0;
    for (id, content) in &sections {
        let more = match *id {
            TYPES => vec![
                [&[0x60, 0, 1, I32][..]].concat(),
                [&[0x60, 1, I32, 1, I32][..]].concat(),
            ],
            FUNCTIONS => added()
                .map(|(_, takes, _)| encoded(first_type + usize::from(takes)))
                .into(),
            EXPORTS => added()
                .iter()
                .zip(first_function..)
                .map(|((name, ..), function)| {
                    [
                        &encoded(name.len()),
                        name.as_bytes(),
                        &[0],
                        &encoded(function),
                    ]
                    .concat()
                })
                .collect(),
            // No locals, `i32.const`, `end`. The number fits into one signed LEB128 byte.
            CODE => added()
                .map(|(.., result)| vec![4, 0, 0x41, result.cast_unsigned() & 0x7f, 0x0b])
                .into(),
            _ => Vec::new(),
        };
        module.push(*id);
        if more.is_empty() {
            module.extend(encoded(content.len()));
            module.extend(*content);
        } else {
            let (count, rest) = find(*id)?;
            let content = [&encoded(count + more.len()), rest, &more.concat()].concat();
            module.extend(encoded(content.len()));
            module.extend(content);
        }
    }
    Ok(module)
}

/// Number of imports that are functions.
fn functions_in(count: usize, imports: &[u8]) -> Result<usize, String> {
    let mut reader = Reader(imports);
    let mut functions = 0;
    for _ in 0..count {
        for _ in 0..2 {
            let len = reader.number()?;
            reader.take(len)?;
        }
        match reader.byte()? {
            0 => {
                reader.number()?;
                functions += 1;
            }
            // A global variable: its type, and whether it is mutable.
            3 => {
                reader.take(2)?;
            }
            kind => return Err(format!("it imports something of kind {kind}")),
        }
    }
    Ok(functions)
}

/// The bytes that remain to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("it is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// Reads a number in LEB128.
    fn number(&mut self) -> Result<usize, String> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("it has a number that is too long".into())
    }
}

/// Encodes a number in LEB128.
fn encoded(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watm_wasmer::{ModuleInfo, Role};

    #[test]
    fn a_program_becomes_a_module_that_dials() {
        // More than 127 functions, so that indices take two bytes.
        let functions = "(func)".repeat(300);
        let program = wat::parse_str(format!(
            r#"(module
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              {functions}
              (func (export "_start") (call $exit (i32.const 7))))"#
        ))
        .expect("a program");
        let module = with_exports(&program).expect("a module");
        let info = ModuleInfo::parse(&module).expect("a module");
        assert!(info.problems().is_empty(), "{:?}", info.problems());
        assert!(info.roles().contains(Role::Dialer));
        assert!(with_exports(&program[..program.len() - 1]).is_err());
    }

    #[test]
    fn numbers_come_out_as_they_went_in() {
        for number in [0, 1, 127, 128, 300, 16_383, 16_384, 2_000_000] {
            let bytes = encoded(number);
            assert_eq!(Reader(&bytes).number(), Ok(number));
        }
    }
}
