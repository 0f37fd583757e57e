//! Files with very many or very long imports, exports and names. They are inspected, or refused
//! when loaded.

use watm_wasmer_oracle::assembly::{
    Assembly, body, function_type, leb, name, section, section_bytes,
};

use crate::case::{Case, Expected, Limits, Run};

use Expected::{Either, Loads, Refused};

pub(crate) const MILLION: usize = 1_000_000;

type Bytes = fn() -> Vec<u8>;

pub(crate) fn cases() -> Vec<Case> {
    [imports_and_exports(), names_and_producers(), long_names()]
        .into_iter()
        .flatten()
        .collect()
}

/// A file that is inspected in both forms, and loaded.
pub(crate) fn case(
    name: impl AsRef<str>,
    expected: Expected,
    input: impl Fn() -> Vec<u8> + 'static,
) -> Case {
    Case {
        name: format!("reading: {}", name.as_ref()),
        extension: "wasm",
        input: Box::new(input),
        runs: runs(expected, [Limits::reading, Limits::reading_json]),
    }
}

/// The runs with a file, with limits for text and for JSON.
fn runs(expected: Expected, [limits, of_json]: [fn(u64) -> Limits; 2]) -> Vec<Run> {
    let json = "inspect FILE --json --no-cache";
    let loading = "dial-fixed --module FILE --allow-all --spare-instances 0 --no-cache";
    vec![
        Run::command("inspect", "inspect FILE --no-cache", expected, limits),
        Run::command("inspect --json", json, expected, of_json),
        // A transport that is loaded fails to dial.
        Run::command("dial-fixed", loading, Refused, limits),
    ]
}

pub(crate) fn assembled(build: impl Fn(&mut Assembly)) -> Vec<u8> {
    let mut module = Assembly::new();
    build(&mut module);
    module.bytes()
}

pub(crate) fn transport(build: impl Fn(&mut Assembly)) -> Vec<u8> {
    let mut module = Assembly::transport();
    build(&mut module);
    module.bytes()
}

fn imports_and_exports() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [10_000, 100_000, MILLION] {
        let name = format!("{count} imports of a type of 1,000 parameters and 1,000 results");
        cases.push(case(name, Refused, move || {
            assembled(|module| {
                module.add(section::TYPE, 1, &function_type(1000, 1000));
                module.import(count, b"", b"", 0);
            })
        }));
    }
    for count in [9_900, 300_000] {
        let name = format!("{count} exports of a type of 1,000 parameters and 1,000 results");
        cases.push(case(name, Either, move || {
            transport(|module| {
                module.add(section::TYPE, 1, &function_type(1000, 1000));
                // It traps, because it has no thousand results.
                let code = body(&[0], &[0, 0x0b]);
                module.add(section::FUNCTION, 1, &[2]);
                module.add(section::CODE, 1, &code);
                for number in 0..count {
                    let title = format!("{number:x}");
                    let entry = [name_of(&title), vec![0, 4]].concat();
                    module.add(section::EXPORT, 1, &entry);
                }
            })
        }));
    }
    cases.push(case("2 million imports without names", Refused, || {
        assembled(|module| {
            module.add(section::TYPE, 1, &function_type(0, 0));
            module.import(2 * MILLION, b"", b"", 0);
        })
    }));
    let mut imports = case("9,900 imports of one function", Loads, || {
        transport(|module| {
            module.import(9_900, b"wasi_snapshot_preview1", b"sched_yield", 0);
        })
    });
    // The engine allocates something for each.
    imports.runs = runs(Loads, [Limits::compiling, Limits::compiling_json]);
    cases.push(imports);
    cases.push(case("2 million exports without names", Refused, || {
        assembled(|module| {
            module.repeat(section::EXPORT, 2 * MILLION, &[0, 0, 0]);
        })
    }));
    cases
}

fn name_of(text: &str) -> Vec<u8> {
    name(text.as_bytes())
}

fn names_and_producers() -> Vec<Case> {
    let mut cases = vec![
        case("4 million producers without names", Either, || {
            transport(|module| {
                let count = 4 * MILLION;
                let field = [name(b"sdk"), leb(count as u64), vec![0; 2 * count]];
                module.custom(b"producers", &[leb(1), field.concat()].concat());
            })
        }),
        case("a million producers sections", Either, || {
            transport(|module| {
                let one = section_bytes(0, &[name(b"producers"), leb(0)].concat());
                module.behind(&one.repeat(MILLION));
            })
        }),
        case("a million fields of producers", Either, || {
            transport(|module| {
                let field = [name(b"sdk"), leb(0)].concat();
                let fields = [leb(MILLION as u64), field.repeat(MILLION)].concat();
                module.custom(b"producers", &fields);
            })
        }),
    ];
    let invalid: [(&str, Bytes); 4] = [
        ("of control characters", || name(&vec![1; 100_000])),
        ("unknown", || name(&vec![b'n'; 100_000])),
        ("not UTF-8", || name(&vec![0xff; 100_000])),
        ("longer than its section", || {
            [leb(200_000), vec![b'n'; 100_000]].concat()
        }),
    ];
    for (what, field) in invalid {
        let title = format!("a producers field of 100,000 characters, {what}");
        cases.push(case(title, Either, move || {
            transport(|module| {
                module.custom(b"producers", &[leb(1), field(), leb(0)].concat());
            })
        }));
    }
    for (count, kind, what) in [
        (1_400_000, 1, "functions"),
        (3_000_000, 1, "functions"),
        (1_400_000, 4, "types"),
        (1_400_000, 9, "data segments"),
    ] {
        let title = format!("{count} empty names of {what}");
        cases.push(case(title, Loads, move || {
            transport(|module| {
                module.custom(b"name", &[vec![kind], name(&empty_names(count))].concat());
            })
        }));
    }
    cases.push(case(
        "1.4 million empty names of local variables",
        Loads,
        || {
            transport(|module| {
                let locals = [leb(1), leb(0), empty_names(1_400_000)].concat();
                module.custom(b"name", &[vec![2], name(&locals)].concat());
            })
        },
    ));
    cases.push(case("a million name sections", Either, || {
        transport(|module| {
            let one = section_bytes(0, &[name(b"name"), vec![0, 2, 1, b'n']].concat());
            module.behind(&one.repeat(MILLION));
        })
    }));
    cases
}

/// One map of a `name` section, with all names empty.
fn empty_names(count: u64) -> Vec<u8> {
    let mut map = leb(count);
    for number in 0..count {
        map.extend(leb(number));
        map.push(0);
    }
    map
}

fn long_names() -> Vec<Case> {
    // Characters that an escape makes several times as long. There are nearly as many as a name may
    // have where the parser checks, and more where it does not.
    let long = || vec![1; 99_000];
    let longer = || vec![1; 10_000_000];
    vec![
        case("a name of the module of 10 MB", Either, move || {
            transport(|module| {
                module.custom(b"name", &[vec![0], name(&name(&longer()))].concat());
            })
        }),
        case(
            "an import from a module whose name has 99,000 bytes",
            Refused,
            move || {
                transport(|module| {
                    module.import(1, &long(), b"function", 0);
                })
            },
        ),
        case(
            "an import whose name has 99,000 bytes",
            Refused,
            move || {
                transport(|module| {
                    module.import(1, b"env", &long(), 0);
                })
            },
        ),
        case("an export whose name has 99,000 bytes", Either, move || {
            transport(|module| {
                module.add(section::EXPORT, 1, &[name(&long()), vec![0, 0]].concat());
            })
        }),
        case(
            "a hundred exports whose names have 99,000 bytes",
            Either,
            move || {
                transport(|module| {
                    for number in 0..100 {
                        let mut title = vec![b'n'; 99_000];
                        title.extend(leb(number));
                        module.add(section::EXPORT, 1, &[name(&title), vec![0, 0]].concat());
                    }
                })
            },
        ),
        case(
            "a custom section whose name has 99,000 bytes",
            Either,
            move || {
                transport(|module| {
                    module.custom(&long(), b"");
                })
            },
        ),
        case("a producer whose name has 10 MB", Either, move || {
            transport(|module| {
                let value = [leb(1), name(&longer()), name(&longer())].concat();
                let field = [name(b"sdk"), value].concat();
                module.custom(b"producers", &[leb(1), field].concat());
            })
        }),
        case("a function whose name has 10 MB", Loads, move || {
            transport(|module| {
                let map = [leb(1), leb(0), name(&longer())].concat();
                module.custom(b"name", &[vec![1], name(&map)].concat());
            })
        }),
    ]
}
