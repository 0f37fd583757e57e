//! What reading a module takes, in memory and time, whatever the file declares and how often.
//!
//! A case multiplies: it declares the same thing thousands of times, or refers to one large thing
//! from thousands of places, in a file of some hundred kilobytes at most.

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

/// Bytes of memory that reading may take for each byte of the file, and for any file: there may be
/// some thousand of each thing in a few bytes. Compiling next to nothing takes no more.
const MEMORY_FOR_EACH: u64 = 10;
const MEMORY_FOR_ANY: u64 = 8 << 20;
/// Bytes of a file that are read in a second, and the time for any file.
const BYTES_A_SECOND: u64 = 10_000_000;
const TIME_FOR_ANY: Duration = Duration::from_secs(1);
/// Characters of the message of an error at most.
const LONGEST_MESSAGE: usize = 16_000;
/// Bytes of its form for debugging at most, which may list more.
const LONGEST_FORM: usize = 64_000;
/// Bytes that one part of a case adds to its file at most.
const PART_LIMIT: usize = 100_000;

/// A module that is made of a few parts, each of them many times.
#[derive(Debug)]
pub struct ReadingCase {
    /// Whether it follows the interface, apart from what the parts change.
    pub follows: bool,
    /// What it is made of.
    pub parts: Vec<Part>,
    /// What was changed in the file afterwards, and the bytes that these changes speak of.
    pub damage: (Vec<Mutation>, Vec<u8>),
}

/// A number from 1 to 130,000 whose magnitude is random.
#[derive(Clone, Copy, Arbitrary)]
pub struct Count(pub u8, pub u8);

impl Count {
    fn get(self) -> usize {
        let magnitude = 1_usize << (self.0 % 17);
        magnitude + magnitude * usize::from(self.1) / 256
    }

    /// This number, as far as so many entries of `len` bytes fit into a part.
    fn of(self, len: usize) -> usize {
        self.get().min(PART_LIMIT / len.max(1)).max(1)
    }

    /// So many bytes that are a name.
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
    /// Types of functions: how many, their parameters and their results.
    Types(Count, Count, Count),
    /// Groups of types: how many, and how many types are in each.
    Groups(Count, Count),
    /// Types, each a subtype of the one before.
    Subtypes(Count),
    /// The same import: how often, its module, its name, the number of its type.
    Imports(Count, Count, Count, u8),
    /// Imports that are functions of the interface, of a type that may be wrong.
    KnownImports(Count, u8),
    /// Exports: how many, their names, whether these differ, what they export.
    Exports(Count, Count, bool, u8),
    /// Names in the `name` section: of what, how many, and their lengths.
    Names(u8, Count, Count),
    /// The name of the module.
    ModuleName(Count),
    /// A `producers` section: its fields, the values of each, and the lengths of their names.
    Producers(Count, Count, Count),
    /// Custom sections: how many, their names and contents.
    Customs(Count, Count, Count),
    /// Element segments: how many, and the elements of each.
    Elements(Count, Count),
    /// Data segments: how many, and the bytes of each.
    Data(Count, Count),
    /// Global variables: how many, and the instructions of their initial values.
    Globals(Count, Count),
    /// Functions: how many, the groups of local variables of each, blocks within each other.
    Functions(Count, Count, Count),
    /// Tables, memories or tags.
    Others(u8, Count),
    /// Whole sections that are empty, of any number.
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
    /// It was read, and would be compiled.
    Read,
}

impl<'a> Arbitrary<'a> for ReadingCase {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let follows = u.ratio(2, 3)?;
        let parts = (0..u.int_in_range(1..=5)?)
            .map(|_| u.arbitrary())
            .collect::<Result<_, _>>()?;
        // Most are whole: what is damaged is refused where the damage is.
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
    /// The file that it is.
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
    /// Whether it is in sections that have nothing to do with what is compiled.
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

    /// The parts that are not about types, imports and exports.
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
                // Passive, of functions.
                let segment = [vec![1, 0], leb(items as u64), vec![0; items]].concat();
                module.repeat(section::ELEMENT, count.of(segment.len()), &segment);
            }
            Self::Data(count, bytes) => {
                let segment = [vec![1], name(&bytes.text())].concat();
                module.repeat(section::DATA, count.of(segment.len()), &segment);
            }
            Self::Globals(count, instructions) => {
                // 0, and then 0 added again and again.
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
/// As [`reading_of`].
pub fn reading(case: &ReadingCase) -> ReadingEnd {
    let _watched = watchdog::watch(case);
    let until = if case.parts.iter().all(Part::is_custom) {
        Until::Compiled
    } else {
        Until::Compiling
    };
    reading_of(&case.file(), until)
}

/// How far a file is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Up to where it would be compiled.
    Compiling,
    /// Compiled as well: for modules that have next to nothing to compile, whatever else they have.
    Compiled,
}

/// Reads a file, once as `watm inspect` does and once as a module that is to be loaded.
///
/// # Panics
///
/// If that takes more memory or time than the size of the file allows, an error has an endless
/// message, or the program does not measure: it has to install `watm_meter::Meter`.
pub fn reading_of(file: &[u8], until: Until) -> ReadingEnd {
    assert!(watm_meter::is_installed(), "nothing measures");

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

/// Loads a file; says what that took up to compiling, if it came so far.
fn load(file: &[u8], until: Until, measurement: Measurement) -> (ReadingEnd, Option<Taken>) {
    /// What leaves the loader before it compiles.
    struct Enough;

    let taken = Arc::new(Mutex::new(None));
    let note = {
        let taken = Arc::clone(&taken);
        move |_| {
            *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(Taken::by(measurement));
            if until == Until::Compiling {
                // Not a panic: nothing is printed, and no hook is called.
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

/// Writes all that an error says.
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
        assert!(form <= LONGEST_FORM, "an error has a form of {form} bytes");
        cause = error.source();
    }
}

/// What was taken.
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
