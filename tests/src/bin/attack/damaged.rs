//! Files that no assembler writes: damaged, truncated, with absurd numbers, or not modules at all.

use watm_wasmer_oracle::assembly::{PREAMBLE, leb, section_bytes};

use crate::case::{Case, Expected};
use crate::reading::{MILLION, case, transport};

use Expected::{Either, Refused};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("a million empty sections of types", Refused, || {
            [PREAMBLE, &[1, 1, 0].repeat(MILLION)].concat()
        }),
        case("sections in the wrong order", Refused, || {
            let sections = [11, 10, 9, 7, 6, 5, 4, 3, 2, 1].map(|id| section_bytes(id, &[0]));
            [PREAMBLE.to_vec(), sections.concat()].concat()
        }),
        case("numbers of ten bytes", Refused, || {
            let long = [&[0x81; 9][..], &[0]].concat();
            [PREAMBLE.to_vec(), [vec![1], long].concat().repeat(100_000)].concat()
        }),
        case("lengths in more bytes than needed", Either, || {
            let section = [0, 0x81, 0x80, 0x80, 0x80, 0, 0];
            transport(|module| {
                module.behind(&section.repeat(100_000));
            })
        }),
        case("sections beyond the end", Refused, || {
            [PREAMBLE, &[1, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat()
        }),
        case("the preamble of a component, and 8 MB", Refused, || {
            [&b"\0asm\x0d\0\x01\0"[..], &vec![0; 8_000_000]].concat()
        }),
        case("60 MB of zeros behind the preamble", Refused, || {
            [PREAMBLE, &vec![0; 60_000_000]].concat()
        }),
        case("a byte more than may be read", Refused, || {
            vec![0; (64 << 20) + 1]
        }),
        case("a compressed file", Refused, || {
            [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &vec![0; MILLION]].concat()
        }),
    ];
    for id in 1..=13_u8 {
        let title = format!("4 billion entries in section {id}, of which there are none");
        cases.push(case(title, Refused, move || {
            let count = leb(u64::from(u32::MAX));
            [PREAMBLE, &section_bytes(id, &count)].concat()
        }));
    }
    for part in 1..16 {
        let title = format!("a module that ends after {part} sixteenths");
        cases.push(case(title, Refused, move || {
            let whole = std::fs::read(watm_tests::path_of("rust_tcp")).unwrap_or_default();
            whole[..whole.len() * part / 16].to_vec()
        }));
    }
    for seed in 1..=4 {
        let title = format!("a megabyte of random bytes behind the preamble ({seed})");
        cases.push(case(title, Refused, move || {
            let mut random = vec![0; 1 << 20];
            watm_tests::Pattern::new(seed).fill(&mut random);
            [PREAMBLE, &random].concat()
        }));
    }
    cases
}
