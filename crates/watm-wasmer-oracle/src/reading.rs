//! Memory and time that reading a module takes, whatever the file declares and however often.
//!
//! A case multiplies. It declares the same thing thousands of times, or refers to one large thing
//! from thousands of places, in a file of a few hundred kilobytes at most.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use watm_meter::Measurement;
use watm_wasmer::{LoadError, ModuleInfo, ModuleLoader};

use crate::assembly::{Assembly, body, function_type, leb, name, section};
use crate::load::{Mutation, change};
use crate::watchdog;

/// Memory that reading may take per byte of the file, and for any file. A few bytes may declare
/// thousands of each thing. Compiling next to nothing takes no more.
const MEMORY_FOR_EACH: u64 = 10;
const MEMORY_FOR_ANY: u64 = 8 << 20;
/// Bytes of a file that must be read per second, and the time for any file.
const BYTES_A_SECOND: u64 = 10_000_000;
const TIME_FOR_ANY: Duration = Duration::from_secs(1);
/// Maximum length of an error message, in characters.
const LONGEST_MESSAGE: usize = 16_000;
/// Maximum length of an error's debug form, in bytes. It may list more.
const LONGEST_FORM: usize = 64_000;
/// Maximum number of bytes that one part of a case adds to its file.
const PART_LIMIT: usize = 100_000;

/// A module made of a few parts, each repeated many times.
#[derive(Debug)]
pub struct ReadingCase {
    /// Whether it follows the interface, except for what the parts change.
    pub follows: bool,
    /// The parts.
    pub parts: Vec<Part>,
    /// Later changes to the file, and the bytes that these changes use.
    pub damage: (Vec<Mutation>, Vec<u8>),
}

/// A number from 1 to 130,000 with a random magnitude.
#[derive(Clone, Copy, Arbitrary)]
pub struct Count(pub u8, pub u8);

impl Count {
    fn get(self) -> usize {
        let magnitude = 1_usize << (self.0 % 17);
        magnitude + magnitude * usize::from(self.1) / 256
    }

    /// This number, reduced so that as many entries of `len` bytes fit into a part.
    fn of(self, len: usize) -> usize {
        self.get().min(PART_LIMIT / len.max(1)).max(1)
    }

    /// A name of this many bytes.
    fn text(self) -> Vec<u8> {
        // Most names are short, and many are empty.
        vec![b'n'; (self.get() - 1).min(PART_LIMIT)]
    }
}

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// One part of a case.
#[derive(Debug, Arbitrary)]
pub enum Part {
    /// Function types: their number, and the parameters and results of each.
    Types(Count, Count, Count),
    /// Groups of types: their number, and the number of types in each.
    Groups(Count, Count),
    /// Types, each a subtype of the one before.
    Subtypes(Count),
    /// A repeated import: how often, the lengths of its module and name, the type index.
    Imports(Count, Count, Count, u8),
    /// Imports of the interface's functions, whose type may be wrong.
    KnownImports(Count, u8),
    /// Exports: their number, the length of their names, whether the names differ, what they
    /// export.
    Exports(Count, Count, bool, u8),
    /// Names in the `name` section: their kind, their number, and their lengths.
    Names(u8, Count, Count),
    /// The name of the module, by its length.
    ModuleName(Count),
    /// A `producers` section: the number of fields, the values in each, and the lengths of their
    /// names.
    Producers(Count, Count, Count),
    /// Custom sections: their number, and the lengths of their names and contents.
    Customs(Count, Count, Count),
    /// Element segments: their number, and the elements in each.
    Elements(Count, Count),
    /// Data segments: their number, and the bytes in each.
    Data(Count, Count),
    /// Global variables: their number, and the instructions in each initial value.
    Globals(Count, Count),
    /// Functions: their number, the groups of local variables in each, and the depth of their
    /// blocks.
    Functions(Count, Count, Count),
    /// Tables, memories or tags.
    Others(u8, Count),
    /// Empty sections of any kind.
    Sections(u8, Count),
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadingEnd {
    /// It is malformed.
    Malformed,
    /// It does not follow the interface.
    Interface,
    /// It has too much of something.
    TooComplex,
    /// It was read, and compiling would follow.
    Read,
}

impl<'a> Arbitrary<'a> for ReadingCase {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let follows = u.ratio(2, 3)?;
        let parts = (0..u.int_in_range(1..=5)?)
            .map(|_| u.arbitrary())
            .collect::<Result<_, _>>()?;
        // Most are undamaged: a damaged file is refused at the damage.
        let damage = if u.ratio(1, 4)? {
            (vec![u.arbitrary()?], vec![u.arbitrary()?; 4])
        } else {
            Default::default()
        };
        Ok(Self {
            follows,
            parts,
            damage,
        })
    }
}

impl ReadingCase {
    /// The bytes of the file.
    pub fn file(&self) -> Vec<u8> {
        let mut module = if self.follows {
            Assembly::transport()
        } else {
            Assembly::new()
        };
        for part in &self.parts {
            part.add_to(&mut module);
        }
        let (mutations, bytes) = &self.damage;
        change(module.bytes(), mutations, bytes)
    }
}

impl Part {
    /// Whether the part is in a section that has nothing to do with compiling.
    fn is_custom(&self) -> bool {
        matches!(
            self,
            Self::Names(..) | Self::ModuleName(..) | Self::Producers(..) | Self::Customs(..)
        )
    }

    fn add_to(&self, module: &mut Assembly) {
        match *self {
            Self::Types(count, params, results) => {
                let (params, results) = (params.get().min(1000), results.get().min(1000));
                let ty = function_type(params - 1, results - 1);
                module.repeat(section::TYPE, count.of(ty.len()), &ty);
            }
            Self::Groups(count, types) => {
                let types = types.of(3);
                let group = [vec![0x4e], leb(types as u64), b"\x60\0\0".repeat(types)].concat();
                module.repeat(section::TYPE, count.of(group.len()), &group);
            }
            Self::Subtypes(count) => {
                for number in 0..count.of(8) as u64 {
                    let supertype = number
                        .checked_sub(1)
                        .map_or(vec![0], |before| [vec![1], leb(before)].concat());
                    let ty = [vec![0x50], supertype, vec![0x60, 0, 0]].concat();
                    module.add(section::TYPE, 1, &ty);
                }
            }
            Self::Imports(count, from, field, ty) => {
                let (from, field) = (from.text(), field.text());
                let count = count.of(from.len() + field.len() + 4);
                module.import(count, &from, &field, u64::from(ty % 8));
            }
            Self::KnownImports(count, ty) => {
                module.import(count.of(32), b"env", b"water_accept", u64::from(ty % 8));
            }
            Self::Exports(count, length, differ, kind) => {
                let text = length.text();
                for number in 0..count.of(text.len() + 6) {
                    let mut text = text.clone();
                    if differ {
                        text.extend(format!("{number:x}").bytes());
                    }
                    module.add(
                        section::EXPORT,
                        1,
                        &[name(&text), vec![kind % 6, 0]].concat(),
                    );
                }
            }
            _ => self.add_rest_to(module),
        }
    }

    /// Adds the parts other than types, imports and exports.
    fn add_rest_to(&self, module: &mut Assembly) {
        match *self {
            Self::Names(of, count, length) => {
                let text = name(&length.text());
                let count = count.of(text.len() + 3);
                let mut map = leb(count as u64);
                for number in 0..count {
                    map.extend([leb(number as u64), text.clone()].concat());
                }
                module.custom(b"name", &[vec![of % 12], name(&map)].concat());
            }
            Self::ModuleName(length) => {
                let text = name(&name(&length.text()));
                module.custom(b"name", &[vec![0], text].concat());
            }
            Self::Producers(fields, values, length) => {
                let text = name(&length.text());
                let values = values.of(text.len() + 1);
                let value = [text, vec![0]].concat();
                let field = [name(b"sdk"), leb(values as u64), value.repeat(values)].concat();
                let fields = fields.of(field.len());
                let content = [leb(fields as u64), field.repeat(fields)].concat();
                module.custom(b"producers", &content);
            }
            Self::Customs(count, title, content) => {
                let (title, content) = (title.text(), content.text());
                for _ in 0..count.of(title.len() + content.len() + 4) {
                    module.custom(&title, &content);
                }
            }
            Self::Elements(count, items) => {
                let items = items.of(1);
                // A passive segment of functions.
                let segment = [vec![1, 0], leb(items as u64), vec![0; items]].concat();
                module.repeat(section::ELEMENT, count.of(segment.len()), &segment);
            }
            Self::Data(count, bytes) => {
                let segment = [vec![1], name(&bytes.text())].concat();
                module.repeat(section::DATA, count.of(segment.len()), &segment);
            }
            Self::Globals(count, instructions) => {
                // Starts with 0 and adds 0 again and again.
                let sums = b"\x41\0\x6a".repeat(instructions.of(3) - 1);
                let global = [&b"\x7f\0\x41\0"[..], &sums, b"\x0b"].concat();
                module.repeat(section::GLOBAL, count.of(global.len()), &global);
            }
            Self::Functions(count, groups, blocks) => {
                let (groups, blocks) = (groups.of(2), blocks.of(3));
                let locals = [leb(groups as u64 - 1), b"\x01\x7f".repeat(groups - 1)].concat();
                let code = [
                    b"\x02\x40".repeat(blocks - 1),
                    b"\x0b".repeat(blocks - 1),
                    // The interface's type `() -> i32`.
                    vec![0x41, 0, 0x0b],
                ];
                let body = body(&locals, &code.concat());
                let count = count.of(body.len() + 1);
                module.repeat(section::FUNCTION, count, &[0]);
                module.repeat(section::CODE, count, &body);
            }
            Self::Others(which, count) => {
                let (section, entry): (_, &[u8]) = match which % 3 {
                    0 => (section::TABLE, &[0x70, 0, 0]),
                    1 => (section::MEMORY, &[0, 0]),
                    _ => (section::TAG, &[0, 0]),
                };
                module.repeat(section, count.of(entry.len()), entry);
            }
            Self::Sections(id, count) => {
                module.behind(&[id % 15, 1, 0].repeat(count.of(3)));
            }
            _ => {}
        }
    }
}

/// Reads the module of a case.
///
/// # Panics
///
/// Panics like [`reading_of`].
pub fn reading(case: &ReadingCase) -> ReadingEnd {
    let _watched = watchdog::watch(case);
    let until = if case.parts.iter().all(Part::is_custom) {
        Until::Compiled
    } else {
        Until::Compiling
    };
    reading_of(&case.file(), until)
}

/// How far a file is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until compiling would begin.
    Compiling,
    /// Until it is compiled. Only for modules with almost nothing to compile.
    Compiled,
}

/// Reads a file once as `watm inspect` does, and once as a module to be loaded.
///
/// # Panics
///
/// Panics if that takes more memory or time than the size of the file allows, or if an error
/// message is too long. Also panics if the program has not installed `watm_meter::Meter`.
pub fn reading_of(file: &[u8], until: Until) -> ReadingEnd {
    assert!(watm_meter::is_installed(), "the meter is not installed");

    let measurement = Measurement::begin();
    let looked = ModuleInfo::parse(file);
    Taken::by(measurement).expect_within(file, MEMORY_FOR_ANY, "looking at it");
    match looked {
        Ok(info) => info.problems().iter().for_each(|problem| tell(problem)),
        Err(error) => tell(&error),
    }
    Taken::by(measurement).expect_within(file, MEMORY_FOR_ANY, "telling what is wrong with it");

    let measurement = Measurement::begin();
    let (end, taken) = load(file, until, measurement);
    let taken = taken.unwrap_or_else(|| Taken::by(measurement));
    taken.expect_within(file, MEMORY_FOR_ANY, "loading it, up to compiling");
    if until == Until::Compiled {
        Taken::by(measurement).expect_within(file, MEMORY_FOR_ANY, "loading it");
    }
    end
}

/// Loads a file. Returns what that took until compiling began, if it got that far.
fn load(file: &[u8], until: Until, measurement: Measurement) -> (ReadingEnd, Option<Taken>) {
    /// The payload that leaves the loader before it compiles.
    struct Enough;

    let taken = Arc::new(Mutex::new(None));
    let note = {
        let taken = Arc::clone(&taken);
        move |_| {
            *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(Taken::by(measurement));
            if until == Until::Compiling {
                // Not a panic: prints nothing, and calls no hook.
                resume_unwind(Box::new(Enough));
            }
        }
    };
    let loader = ModuleLoader::new().before_compiling(note);
    let loaded = catch_unwind(AssertUnwindSafe(|| loader.load_bytes(file)));
    let taken = *taken.lock().unwrap_or_else(PoisonError::into_inner);
    let end = match loaded {
        Ok(Ok(_)) => ReadingEnd::Read,
        Ok(Err(error)) => {
            tell(&error);
            match error {
                LoadError::NotAModule(_) | LoadError::Malformed(_) | LoadError::Unsupported(_) => {
                    ReadingEnd::Malformed
                }
                LoadError::Interface(_) => ReadingEnd::Interface,
                LoadError::TooComplex(_) => ReadingEnd::TooComplex,
                error => panic!("it was neither refused nor compiled: {error:?}"),
            }
        }
        Err(thrown) if thrown.is::<Enough>() => ReadingEnd::Read,
        Err(panic) => resume_unwind(panic),
    };
    (end, taken)
}

/// Writes everything that an error says.
fn tell(error: &dyn Error) {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let message = error.to_string();
        let length = message.chars().count();
        assert!(
            length <= LONGEST_MESSAGE,
            "a message has {length} characters: {}...",
            message.chars().take(200).collect::<String>()
        );
        let form = format!("{error:?}").len();
        assert!(
            form <= LONGEST_FORM,
            "the debug form of an error has {form} bytes"
        );
        cause = error.source();
    }
}

/// What was used.
#[derive(Clone, Copy, Debug)]
struct Taken {
    memory: u64,
    processor: Duration,
}

impl Taken {
    fn by(measurement: Measurement) -> Self {
        Self {
            memory: measurement.peak(),
            processor: measurement.processor(),
        }
    }

    #[track_caller]
    fn expect_within(self, file: &[u8], memory: u64, what: &str) {
        let size = file.len() as u64;
        let memory = MEMORY_FOR_EACH * size + memory;
        assert!(
            self.memory <= memory,
            "{what} took {} bytes of memory for a file of {size}, more than {memory}",
            self.memory
        );
        let time = TIME_FOR_ANY + Duration::from_secs(1) * size as u32 / BYTES_A_SECOND as u32;
        assert!(
            self.processor <= time,
            "{what} took {:?} of processor time for a file of {size} bytes, more than {time:?}",
            self.processor
        );
    }
}
