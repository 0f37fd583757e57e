//! Runs every oracle on cases from fixed seeds, and for longer on request: `ORACLE_SECONDS=600
//! ORACLE_SEED=7 cargo test -p watm-wasmer-oracle -- --ignored --nocapture`.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use watm_meter::Meter;
use watm_wasmer_oracle::assembly::{Assembly, body, function_type, leb, name, section};
use watm_wasmer_oracle::{
    ConfigCase, ConfigEnd, FileCase, FileEnd, FileOperation, Given, GreetingCase, GreetingEnd,
    HostCallCase, HostCallEnd, LoadCase, LoadEnd, Location, ModuleCase, ModuleEnd, PolicyCase,
    PolicyEnd, ReadingCase, ReadingEnd, TrustCase, TrustEnd, Until, config, files, greeting,
    host_calls, load, modules, policy, reading, reading_of, trust,
};

/// The reading oracle measures with this.
#[global_allocator]
static METER: Meter = Meter;

/// The bytes of a case.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut word = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..len.div_ceil(8))
        .flat_map(|_| word().to_le_bytes())
        .take(len)
        .collect()
}

fn case<C: for<'a> Arbitrary<'a>>(seed: u64) -> Option<C> {
    let lengths = [200, 1000, 4000];
    let len = lengths[usize::try_from(seed % 3).unwrap_or(0)];
    C::arbitrary_take_rest(Unstructured::new(&bytes(seed, len))).ok()
}

fn run<C, E>(seeds: impl Iterator<Item = u64>, oracle: impl Fn(&C) -> E) -> BTreeMap<E, usize>
where
    C: for<'a> Arbitrary<'a> + Debug,
    E: Ord,
{
    let mut ends = BTreeMap::new();
    for case in seeds.filter_map(case) {
        *ends.entry(oracle(&case)).or_insert(0) += 1;
    }
    ends
}

#[test]
fn every_function_of_the_host_keeps_its_promises_whatever_it_is_passed() {
    let ends = run(0..150, |case: &HostCallCase| host_calls(case));
    assert!(ends[&HostCallEnd::Answered] > 20, "{ends:?}");
}

/// Expects an answer to every operation of a case. Retries, because a guest on a busy machine may
/// answer too late once. A guest that really waits does so every time.
#[track_caller]
fn answered(case: impl Fn() -> bool) {
    assert!((0..10).any(|_| case()), "it waits, or has ended");
}

/// An input that the fuzz target `host_calls` has found.
#[test]
fn host_calls_that_fuzzing_found_keep_their_promises() {
    let found = include_bytes!("found/sock_recv_answers_over_the_buffers");
    let case = HostCallCase::arbitrary_take_rest(Unstructured::new(found));
    let case = case.expect("a case");
    answered(|| host_calls(&case) == HostCallEnd::Answered);
}

#[test]
fn whatever_is_done_with_files_nothing_is_touched_but_what_was_given() {
    let ends = run(0..150, |case: &FileCase| files(case));
    assert!(ends[&FileEnd::Answered] > 50, "{ends:?}");
}

#[test]
fn a_pipe_is_waited_for_by_nothing_that_takes_its_path() {
    let operation = |function, flag| FileOperation {
        second: false,
        function,
        given: [Given::Writable; 2],
        paths: [Location::Relative(1, [9; 4]); 2],
        flags: [flag; 2],
        number: 1 << 6,
    };
    for function in 0..25 {
        let operations = vec![operation(function, 0), operation(function, 1)];
        let case = FileCase { operations };
        answered(|| files(&case) == FileEnd::Answered);
    }
}

#[test]
fn whatever_a_file_holds_is_loaded_or_refused() {
    let ends = run(0..300, |case: &LoadCase| load(case));
    assert!(ends.contains_key(&LoadEnd::Malformed), "{ends:?}");
}

#[test]
fn whatever_a_module_does_its_end_is_one_of_those_that_are_promised() {
    let ends = run(0..60, |case: &ModuleCase| modules(case));
    assert!(
        ends.keys().any(|end| *end != ModuleEnd::Refused),
        "{ends:?}"
    );
}

#[test]
fn an_address_is_allowed_and_denied_in_all_its_forms_as_the_model_says() {
    let ends = run(0..20_000, |case: &PolicyCase| policy(case));
    for refused in [false, true] {
        for (allowed, denied) in [(false, true), (true, false), (true, true)] {
            let end = PolicyEnd {
                refused,
                allowed,
                denied,
            };
            assert!(ends.get(&end).is_some_and(|count| *count > 500), "{ends:?}");
        }
    }
}

#[test]
fn clients_of_a_proxy_get_the_same_however_their_bytes_arrive() {
    let ends = run(0..20_000, |case: &GreetingCase| greeting(case));
    for end in [
        GreetingEnd::Waits,
        GreetingEnd::Carried,
        GreetingEnd::Refused,
    ] {
        assert!(ends.get(&end).is_some_and(|count| *count > 50), "{ends:?}");
    }
}

#[test]
fn a_damaged_configuration_is_refused_with_its_place_or_keeps_the_rules() {
    let ends = run(0..20_000, |case: &ConfigCase| config(case));
    for end in [
        ConfigEnd::Config,
        ConfigEnd::Syntax,
        ConfigEnd::UnknownKey,
        ConfigEnd::Invalid,
    ] {
        assert!(
            ends.contains_key(&end),
            "no case ended as {end:?}: {ends:?}"
        );
    }
}

#[test]
fn nothing_holds_but_what_was_signed_and_no_manifest_leads_elsewhere() {
    let ends = run(0..20_000, |case: &TrustCase| trust(case));
    for end in [
        TrustEnd::Holds,
        TrustEnd::Wrong,
        TrustEnd::UnknownKey,
        TrustEnd::NoSignature,
        TrustEnd::NoKey,
        TrustEnd::Manifest,
        TrustEnd::NoManifest,
    ] {
        assert!(
            ends.contains_key(&end),
            "no case ended as {end:?}: {ends:?}"
        );
    }
}

#[test]
fn whatever_a_module_declares_reading_it_takes_what_its_size_allows() {
    let ends = run(0..400, |case: &ReadingCase| reading(case));
    for end in [
        ReadingEnd::Malformed,
        ReadingEnd::Interface,
        ReadingEnd::TooComplex,
        ReadingEnd::Read,
    ] {
        assert!(ends.contains_key(&end), "no case ended this way: {ends:?}");
    }
}

#[test]
fn imports_of_a_type_with_many_values_take_no_memory_for_each() {
    let mut module = Assembly::new();
    module.add(section::TYPE, 1, &function_type(1000, 1000));
    module.import(100_000, b"", b"", 0);
    let end = reading_of(&module.bytes(), Until::Compiling);
    assert_ne!(end, ReadingEnd::Read);
}

#[test]
fn exports_of_a_type_with_many_values_take_no_memory_for_each() {
    let mut module = Assembly::transport();
    module.add(section::TYPE, 1, &function_type(1000, 1000));
    module.add(section::FUNCTION, 1, &[2]);
    module.add(section::CODE, 1, &body(&[0], &[0, 0x0b]));
    for number in 0..50_000_u64 {
        let entry = [name(format!("{number:x}").as_bytes()), vec![0, 4]].concat();
        module.add(section::EXPORT, 1, &entry);
    }
    let end = reading_of(&module.bytes(), Until::Compiling);
    assert_ne!(end, ReadingEnd::Read);
}

#[test]
fn imports_without_names_take_no_memory_for_each() {
    let mut module = Assembly::new();
    module.add(section::TYPE, 1, &function_type(0, 0));
    module.import(200_000, b"", b"", 0);
    let end = reading_of(&module.bytes(), Until::Compiling);
    assert_ne!(end, ReadingEnd::Read);
}

#[test]
fn producers_without_names_take_no_memory_for_each() {
    let mut module = Assembly::transport();
    let count = 200_000;
    let field = [name(b"sdk"), leb(count as u64), vec![0; 2 * count]].concat();
    module.custom(b"producers", &[leb(1), field].concat());
    reading_of(&module.bytes(), Until::Compiled);
}

#[test]
fn names_of_functions_take_no_memory_for_each_also_when_it_is_compiled() {
    let mut module = Assembly::transport();
    let mut map = leb(100_000);
    for number in 0..100_000 {
        map.extend([leb(number), leb(0)].concat());
    }
    module.custom(b"name", &[vec![1], name(&map)].concat());
    let end = reading_of(&module.bytes(), Until::Compiled);
    assert_eq!(end, ReadingEnd::Read);
}

#[test]
fn a_name_that_is_not_valid_is_quoted_in_part() {
    let mut module = Assembly::transport();
    let field = [name(&[b'n'; 100_000]), leb(0)].concat();
    module.custom(b"producers", &[leb(1), field].concat());
    reading_of(&module.bytes(), Until::Compiled);
}

/// Runs each oracle for an eighth of `ORACLE_SECONDS`, with seeds from `ORACLE_SEED` on.
#[test]
#[ignore = "it takes as long as it is told to"]
#[allow(clippy::print_stdout, reason = "it is run by hand")]
fn for_long() {
    let number = |name: &str, default| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let seed: u64 = number("ORACLE_SEED", 1000);
    let each = Duration::from_secs(number("ORACLE_SECONDS", 60)) / 8;
    let seeds = || {
        let until = Instant::now() + each;
        (seed..).take_while(move |_| Instant::now() < until)
    };
    println!(
        "host_calls: {:?}",
        run(seeds(), |case: &HostCallCase| host_calls(case))
    );
    println!("files: {:?}", run(seeds(), |case: &FileCase| files(case)));
    println!("load: {:?}", run(seeds(), |case: &LoadCase| load(case)));
    println!(
        "reading: {:?}",
        run(seeds(), |case: &ReadingCase| reading(case))
    );
    println!(
        "modules: {:?}",
        run(seeds(), |case: &ModuleCase| modules(case))
    );
    println!(
        "policy: {:?}",
        run(seeds(), |case: &PolicyCase| policy(case))
    );
    println!(
        "config: {:?}",
        run(seeds(), |case: &ConfigCase| config(case))
    );
    println!("trust: {:?}", run(seeds(), |case: &TrustCase| trust(case)));
    println!(
        "greeting: {:?}",
        run(seeds(), |case: &GreetingCase| greeting(case))
    );
}
