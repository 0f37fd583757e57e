//! Modules that are expensive to compile: functions that repeat one instruction, and what evades
//! the limits on time and memory.

use std::time::Duration;

use watm_wasmer_oracle::assembly::{Assembly, body, leb, name, section};

use crate::case::{Case, Expected, Limits, Run};

use Expected::{Either, Loads};

const MEBIBYTE: u64 = 1 << 20;
/// Code size of each function in bytes, and number of functions. The number is high, so that the
/// memory is not taken only by the few functions that compile at the same time, for which there is
/// another limit.
const CODE: usize = 4 << 10;
const FUNCTIONS: usize = 64;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = HEAVY.iter().map(heavy).collect();
    cases.push(names());
    cases.push(Case {
        name: "compiling: 9,000 blocks that catch exceptions".into(),
        extension: "wasm",
        input: Box::new(catching),
        runs: vec![Run::command(
            "",
            "inspect FILE --no-cache --compile-timeout 5s",
            Either,
            Limits::compiling,
        )],
    });
    cases
}

/// An instruction: its name, the code before everything, the repeated code, and the number of
/// values that are left on the stack to be dropped.
type Heavy = (&'static str, &'static [u8], &'static [u8], usize);

const F32: &[u8] = &[0x43, 0, 0, 0x80, 0x3f];
const F64: &[u8] = &[0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
const I32: &[u8] = &[0x41, 1];
const I64: &[u8] = &[0x42, 1];
const V128: &[u8] = &[0x41, 0, 0xfd, 0x0f];

const HEAVY: &[Heavy] = &[
    ("f64.nearest", F64, &[0x9e], 1),
    ("f64.ceil", F64, &[0x9b], 1),
    ("f32.trunc", F32, &[0x8f], 1),
    ("f64.sqrt", F64, &[0x9f], 1),
    ("f32.demote_f64, f64.promote_f32", F64, &[0xb6, 0xbb], 1),
    (
        "f64.copysign",
        F64,
        &[0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0xa6],
        1,
    ),
    ("f64.min", F64, &[0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0xa4], 1),
    ("i32.trunc_f64_s, f64.convert_i32_s", F64, &[0xaa, 0xb7], 1),
    ("i64.trunc_f64_u, f64.convert_i64_u", F64, &[0xb1, 0xba], 1),
    (
        "i64.trunc_sat_f64_u, f64.convert_i64_u",
        F64,
        &[0xfc, 7, 0xba],
        1,
    ),
    ("i64.div_s", I64, &[0x42, 1, 0x7f], 1),
    ("i64.rem_u", I64, &[0x42, 1, 0x82], 1),
    ("i64.popcnt", I64, &[0x7b], 1),
    ("i32.load", I32, &[0x28, 0, 0], 1),
    ("i32.store8", &[], &[0x41, 0, 0x41, 0, 0x3a, 0, 0], 0),
    ("call", &[], &[0x10, 4], 0),
    ("call_indirect", &[], &[0x41, 0, 0x11, 2, 0], 0),
    ("global.get, global.set", &[], &[0x23, 0, 0x24, 0], 0),
    ("select", I32, &[0x41, 0, 0x41, 0, 0x1b], 1),
    (
        "table.get, table.set",
        &[],
        &[0x41, 0, 0x41, 0, 0x25, 0, 0x26, 0],
        0,
    ),
    (
        "table.grow",
        &[],
        &[0xd0, 0x70, 0x41, 0, 0xfc, 0x0f, 0, 0x1a],
        0,
    ),
    (
        "table.copy",
        &[],
        &[0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0e, 0, 0],
        0,
    ),
    (
        "memory.copy",
        &[],
        &[0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0a, 0, 0],
        0,
    ),
    (
        "memory.fill",
        &[],
        &[0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0b, 0],
        0,
    ),
    ("memory.grow", I32, &[0x40, 0], 1),
    ("memory.size", &[], &[0x3f, 0, 0x1a], 0),
    ("block", &[], &[0x02, 0x40, 0x0b], 0),
    ("loop", &[], &[0x03, 0x40, 0x0b], 0),
    ("br_if", &[], &[0x41, 0, 0x0d, 0], 0),
    (
        "br_table",
        &[],
        &[0x02, 0x40, 0x41, 0, 0x0e, 1, 0, 0, 0x0b],
        0,
    ),
    ("ref.func", &[], &[0xd2, 4, 0x1a], 0),
    ("i8x16.popcnt", V128, &[0xfd, 0x62], 1),
    ("f64x2.nearest", V128, &[0xfd, 0x94, 1], 1),
    ("i8x16.swizzle", V128, &[0x41, 0, 0xfd, 0x0f, 0xfd, 0x0e], 1),
    ("i8x16.shr_s", V128, &[0x41, 1, 0xfd, 0x6c], 1),
];

fn heavy(heavy: &'static Heavy) -> Case {
    let (name, before, each, left) = *heavy;
    Case {
        name: format!("compiling: nothing but {name}"),
        extension: "wasm",
        input: Box::new(move || {
            let repeated = each.repeat(CODE / each.len());
            let code = [before, &repeated, &[0x1a].repeat(left), &[0x0b]].concat();
            of_functions(&code)
        }),
        runs: vec![Run::command(
            "",
            "inspect FILE --no-cache",
            Either,
            Limits::compiling,
        )],
    }
}

/// A transport that contains functions with this code. It also has a table, a global variable and
/// an empty function, number 4.
fn of_functions(code: &[u8]) -> Vec<u8> {
    let mut module = Assembly::transport();
    module.add(section::TYPE, 1, &[0x60, 0, 0]);
    module.add(section::TABLE, 1, &[0x70, 0, 1]);
    module.add(section::GLOBAL, 1, &[0x7f, 1, 0x41, 0, 0x0b]);
    // Declares the function for `ref.func`.
    module.add(section::ELEMENT, 1, &[3, 0, 1, 4]);
    module.add(section::FUNCTION, 1, &[2]);
    module.add(section::CODE, 1, &body(&[0], &[0x0b]));
    module.repeat(section::FUNCTION, FUNCTIONS, &[2]);
    module.repeat(section::CODE, FUNCTIONS, &body(&[0], code));
    module.bytes()
}

/// Names that take time and memory past every limit, even if the module comes from a cache.
fn names() -> Case {
    let limits = |_| Limits {
        memory: 100 * MEBIBYTE,
        processor: Duration::from_secs(3),
        line: Some(2000),
    };
    let inspect = "inspect FILE --compile-timeout 1s --cache-dir CACHE";
    Case {
        name: "compiling: 1.4 million empty names in a second".into(),
        extension: "wasm",
        input: Box::new(|| {
            let mut map = leb(1_400_000);
            for number in 0..1_400_000 {
                map.extend(leb(number));
                map.push(0);
            }
            let mut module = Assembly::transport();
            module.custom(b"name", &[vec![1], name(&map)].concat());
            module.bytes()
        }),
        runs: vec![
            Run::command("compiled", inspect, Loads, limits),
            Run::command("from the cache", inspect, Loads, limits),
        ],
    }
}

fn catching() -> Vec<u8> {
    // Within a block, a block that catches everything and continues after itself.
    let each = [0x02, 0x40, 0x1f, 0x40, 1, 2, 0, 0x0b, 0x0b];
    of_functions(&[&each.repeat(9_000)[..], &[0x0b]].concat())
}
