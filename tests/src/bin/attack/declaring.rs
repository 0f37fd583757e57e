//! Files with very many of everything else that a module declares, or with absurd code.

use watm_wasmer_oracle::assembly::{body, function_type, leb, section};

use crate::case::{Case, Expected};
use crate::reading::{MILLION, assembled, case, transport};

use Expected::{Either, Loads, Refused};

pub(crate) fn cases() -> Vec<Case> {
    [entries(), types(), code()].into_iter().flatten().collect()
}

/// A very large number of each thing that a module can have.
fn entries() -> Vec<Case> {
    let kinds: [(&str, u8, &[u8]); 10] = [
        ("types", section::TYPE, &[0x60, 0, 0]),
        ("functions without code", section::FUNCTION, &[0]),
        ("tables", section::TABLE, &[0x70, 0, 0]),
        ("memories", section::MEMORY, &[0, 0]),
        ("tags", section::TAG, &[0, 0]),
        (
            "global variables",
            section::GLOBAL,
            &[0x7f, 0, 0x41, 0, 0x0b],
        ),
        ("element segments", section::ELEMENT, &[1, 0, 0]),
        (
            "element expressions",
            section::ELEMENT,
            &[5, 0x70, 1, 0xd2, 0, 0x0b],
        ),
        ("data segments", section::DATA, &[1, 0]),
        ("bodies of functions", section::CODE, &[2, 0, 0x0b]),
    ];
    let mut cases: Vec<_> = kinds
        .into_iter()
        .map(|(what, id, entry)| {
            case(format!("a million {what}"), Refused, move || {
                transport(|module| {
                    module.repeat(id, MILLION, entry);
                })
            })
        })
        .collect();
    cases.push(case("a million custom sections", Loads, || {
        transport(|module| {
            module.behind(&[0, 1, 0].repeat(MILLION));
        })
    }));
    cases.push(case("a million functions", Refused, || {
        transport(|module| {
            module.repeat(section::FUNCTION, MILLION, &[0]);
            module.repeat(section::CODE, MILLION, &body(&[0], &[0x41, 0, 0x0b]));
        })
    }));
    cases.push(case(
        "an element segment of ten million elements",
        Refused,
        || {
            transport(|module| {
                let count = 10 * MILLION;
                let segment = [vec![1, 0], leb(count as u64), vec![0; count]].concat();
                module.add(section::ELEMENT, 1, &segment);
            })
        },
    ));
    cases
}

fn types() -> Vec<Case> {
    vec![
        case("a group of a million types", Refused, || {
            transport(|module| {
                let types = b"\x60\0\0".repeat(MILLION);
                let group = [vec![0x4e], leb(MILLION as u64), types].concat();
                module.add(section::TYPE, 1, &group);
            })
        }),
        case("a million empty groups of types", Either, || {
            transport(|module| {
                module.repeat(section::TYPE, MILLION, &[0x4e, 0]);
            })
        }),
        case(
            "60,000 types, each a subtype of the one before",
            Refused,
            || {
                assembled(|module| {
                    module.add(section::TYPE, 1, &[0x50, 0, 0x60, 0, 0]);
                    for before in 0..60_000 {
                        let ty = [vec![0x50, 1], leb(before), vec![0x60, 0, 0]].concat();
                        module.add(section::TYPE, 1, &ty);
                    }
                })
            },
        ),
        case(
            "9,000 types, each a subtype of the one before",
            Either,
            || {
                transport(|module| {
                    module.add(section::TYPE, 1, &[0x50, 0, 0x60, 0, 0]);
                    for before in 2..9_000 {
                        let ty = [vec![0x50, 1], leb(before), vec![0x60, 0, 0]].concat();
                        module.add(section::TYPE, 1, &ty);
                    }
                })
            },
        ),
        case(
            "10,000 types of 1,000 parameters and 1,000 results",
            Refused,
            || {
                transport(|module| {
                    module.repeat(section::TYPE, 10_000, &function_type(1000, 1000));
                })
            },
        ),
        case(
            "a struct of 10,000 fields, a thousand times",
            Refused,
            || {
                transport(|module| {
                    let fields = b"\x7f\0".repeat(10_000);
                    let ty = [vec![0x5f], leb(10_000), fields].concat();
                    module.repeat(section::TYPE, 1000, &ty);
                })
            },
        ),
    ]
}

fn code() -> Vec<Case> {
    let function = |name: &str, code: fn() -> Vec<u8>| {
        case(name, Refused, move || {
            transport(|module| {
                module.add(section::FUNCTION, 1, &[0]);
                module.add(section::CODE, 1, &body(&[0], &code()));
            })
        })
    };
    vec![
        case("an initial value of a million additions", Either, || {
            transport(|module| {
                let sums = b"\x41\0\x6a".repeat(MILLION);
                let global = [&b"\x7f\0\x41\0"[..], &sums, b"\x0b"].concat();
                module.add(section::GLOBAL, 1, &global);
            })
        }),
        case(
            "an initial value of a million numbers on the stack",
            Refused,
            || {
                transport(|module| {
                    let numbers = b"\x41\0".repeat(MILLION);
                    let global = [&b"\x7f\0"[..], &numbers, b"\x0b"].concat();
                    module.add(section::GLOBAL, 1, &global);
                })
            },
        ),
        function("a million blocks within each other", || {
            [
                b"\x02\x40".repeat(MILLION),
                vec![0x0b; MILLION],
                vec![0x41, 0, 0x0b],
            ]
            .concat()
        }),
        function("170,000 blocks within each other", || {
            let count = 170_000;
            [
                b"\x02\x40".repeat(count),
                vec![0x0b; count],
                vec![0x41, 0, 0x0b],
            ]
            .concat()
        }),
        function("50,000 conditions within each other", || {
            let count = 50_000;
            [
                b"\x41\0\x04\x40".repeat(count),
                vec![0x0b; count],
                vec![0x41, 0, 0x0b],
            ]
            .concat()
        }),
        function("a table of a million branches", || {
            let targets = [leb(MILLION as u64), vec![0; MILLION + 1]].concat();
            [&b"\x41\0\x41\0\x0e"[..], &targets, b"\x0b"].concat()
        }),
        function("a table of 500,000 branches", || {
            let targets = [leb(500_000), vec![0; 500_001]].concat();
            [&b"\x41\0\x41\0\x0e"[..], &targets, b"\x0b"].concat()
        }),
        case("local variables in a million groups", Refused, || {
            transport(|module| {
                let locals = [leb(MILLION as u64), b"\x01\x7f".repeat(MILLION)].concat();
                module.add(section::FUNCTION, 1, &[0]);
                module.add(section::CODE, 1, &body(&locals, &[0x41, 0, 0x0b]));
            })
        }),
        case("4 billion local variables in one group", Refused, || {
            transport(|module| {
                let locals = [leb(1), leb(u64::from(u32::MAX)), vec![0x7f]].concat();
                module.add(section::FUNCTION, 1, &[0]);
                module.add(section::CODE, 1, &body(&locals, &[0x41, 0, 0x0b]));
            })
        }),
    ]
}
