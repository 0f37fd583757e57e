//! Modules in the binary format, assembled section by section. They contain what no assembler
//! writes, and more of it than anybody would write by hand.
//!
//! Nothing here knows whether the result is valid.

use std::collections::BTreeMap;

/// The numbers of the sections in the binary format.
#[allow(missing_docs, reason = "the names are those of the specification")]
pub mod section {
    pub const CUSTOM: u8 = 0;
    pub const TYPE: u8 = 1;
    pub const IMPORT: u8 = 2;
    pub const FUNCTION: u8 = 3;
    pub const TABLE: u8 = 4;
    pub const MEMORY: u8 = 5;
    pub const GLOBAL: u8 = 6;
    pub const EXPORT: u8 = 7;
    pub const START: u8 = 8;
    pub const ELEMENT: u8 = 9;
    pub const CODE: u8 = 10;
    pub const DATA: u8 = 11;
    pub const DATA_COUNT: u8 = 12;
    pub const TAG: u8 = 13;
}

/// All but the custom sections, in the order that a valid module requires.
const ORDER: [u8; 13] = [
    section::TYPE,
    section::IMPORT,
    section::FUNCTION,
    section::TABLE,
    section::MEMORY,
    section::TAG,
    section::GLOBAL,
    section::EXPORT,
    section::START,
    section::ELEMENT,
    section::DATA_COUNT,
    section::CODE,
    section::DATA,
];

/// The first bytes of every module: the magic number and the version.
pub const PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";

/// The functions of a transport module's interface: name, type index, code.
const INTERFACE: [(&str, u8, &[u8]); 4] = [
    ("watm_init_v1", 0, &[0x41, 0, 0x0b]),
    ("watm_ctrlpipe_v1", 1, &[0x41, 0, 0x0b]),
    // Returns -1: a dial that fails at once.
    ("watm_dial_fixed_v1", 1, &[0x41, 0x7f, 0x0b]),
    ("watm_start_v1", 0, &[0x41, 0, 0x0b]),
];

/// A module under construction.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    /// The number of entries and their bytes, per section.
    sections: BTreeMap<u8, (u64, Vec<u8>)>,
    /// Number of imported functions.
    imported: u64,
    custom: Vec<u8>,
    is_transport: bool,
}

impl Assembly {
    /// An empty module.
    pub fn new() -> Self {
        Self::default()
    }

    /// A transport module that follows the interface and whose dial fails with an error number. Its
    /// types 0 and 1 are `() -> i32` and `(i32) -> i32`. The four functions of a dialer come first
    /// among the functions that are not imported. It has one page of memory.
    pub fn transport() -> Self {
        let mut module = Self::new();
        module.add(section::TYPE, 1, &[0x60, 0, 1, 0x7f]);
        module.add(section::TYPE, 1, &[0x60, 1, 0x7f, 1, 0x7f]);
        module.add(section::MEMORY, 1, &[0, 1]);
        for (_, ty, code) in INTERFACE {
            module.add(section::FUNCTION, 1, &[ty]);
            module.add(section::CODE, 1, &body(&[0], code));
        }
        module.is_transport = true;
        module
    }

    /// Adds `count` entries with these bytes to a section.
    pub fn add(&mut self, section: u8, count: u64, entries: &[u8]) -> &mut Self {
        let (counted, bytes) = self.sections.entry(section).or_default();
        *counted += count;
        bytes.extend_from_slice(entries);
        self
    }

    /// Adds the same entry to a section `count` times.
    pub fn repeat(&mut self, section: u8, count: usize, entry: &[u8]) -> &mut Self {
        self.add(section, count as u64, &entry.repeat(count))
    }

    /// Adds the same function import `count` times.
    pub fn import(&mut self, count: usize, module: &[u8], field: &[u8], ty: u64) -> &mut Self {
        let entry = [name(module), name(field), vec![0], leb(ty)].concat();
        self.imported += count as u64;
        self.repeat(section::IMPORT, count, &entry)
    }

    /// Adds a custom section after all others.
    pub fn custom(&mut self, title: &[u8], content: &[u8]) -> &mut Self {
        let content = [name(title), content.to_vec()].concat();
        self.custom.extend(section_bytes(section::CUSTOM, &content));
        self
    }

    /// Adds bytes after all sections.
    pub fn behind(&mut self, bytes: &[u8]) -> &mut Self {
        self.custom.extend_from_slice(bytes);
        self
    }

    /// The bytes of the module.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = PREAMBLE.to_vec();
        let mut exports = self.sections.get(&section::EXPORT).cloned();
        if self.is_transport {
            let (count, entries) = exports.get_or_insert_default();
            *count += 1 + INTERFACE.len() as u64;
            entries.extend([name(b"memory"), vec![2, 0]].concat());
            for (index, (title, ..)) in INTERFACE.iter().enumerate() {
                let index = leb(self.imported + index as u64);
                entries.extend([name(title.as_bytes()), vec![0], index].concat());
            }
        }
        for id in ORDER {
            let section = match id {
                section::EXPORT => exports.as_ref(),
                id => self.sections.get(&id),
            };
            let Some((count, entries)) = section else {
                continue;
            };
            let content = match id {
                // These two are not vectors: their entry is the whole content.
                section::START | section::DATA_COUNT => entries.clone(),
                _ => [leb(*count), entries.clone()].concat(),
            };
            bytes.extend(section_bytes(id, &content));
        }
        bytes.extend_from_slice(&self.custom);
        bytes
    }
}

/// A number in LEB128 encoding.
pub fn leb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A name, or other bytes, preceded by the length.
pub fn name(bytes: &[u8]) -> Vec<u8> {
    [leb(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A section: its number, the length of its content, and the content.
pub fn section_bytes(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], name(content)].concat()
}

/// The code of a function, preceded by its groups of local variables and their number.
pub fn body(locals: &[u8], code: &[u8]) -> Vec<u8> {
    name(&[locals, code].concat())
}

/// A function type with `params` parameters and `results` results, all of type `i64`.
pub fn function_type(params: usize, results: usize) -> Vec<u8> {
    [
        vec![0x60],
        name(&vec![0x7e; params]),
        name(&vec![0x7e; results]),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_specification_says() {
        assert_eq!(leb(0), [0]);
        assert_eq!(leb(127), [0x7f]);
        assert_eq!(leb(128), [0x80, 1]);
        assert_eq!(leb(624_485), [0xe5, 0x8e, 0x26]);
    }

    #[test]
    fn a_transport_follows_the_interface_also_with_imports() {
        let mut module = Assembly::transport();
        let info = watm_wasmer::ModuleInfo::parse(&module.bytes()).expect("a module");
        assert!(info.problems().is_empty(), "{:?}", info.problems());
        module.import(3, b"wasi_snapshot_preview1", b"sched_yield", 0);
        module.custom(b"any", b"thing");
        watm_wasmer::TransportModule::from_bytes(module.bytes()).expect("a module");
    }
}
