//! What an attack on the runtime has found, and similar cases: work, memory and descriptors out of
//! all proportion to what a module asks for. `tests/attack` and the fuzz target `reading` measure
//! the time and memory of these cases.

use std::fmt::Write as _;
use std::time::Duration;

use watm_abi::{Excerpt, MAX_EXCERPT, Signature, ValType, imports};
use watm_tests::{Pair, accept_one, listener, path_of, read_numbers, text, with_worker};
use watm_wasmer::{
    ArtifactCache, DialError, Dialer, FixedDialer, InterfaceError, LoadError, ModuleInfo,
    ModuleLoader, TransportError, TransportModule,
};

/// A number in the encoding of the binary format.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

fn custom(name: &str, content: &[u8]) -> Vec<u8> {
    let name = [leb(name.len()), name.into()].concat();
    section(0, &[name, content.to_vec()].concat())
}

fn binary(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat()
}

/// A section with `count` identical items.
fn items(id: u8, count: usize, item: &[u8]) -> Vec<u8> {
    section(id, &[leb(count), item.repeat(count)].concat())
}

/// Types with a thousand parameters and a thousand results.
fn wide_types(count: usize) -> Vec<u8> {
    const I64: u8 = 0x7e;
    let values = [leb(1000), vec![I64; 1000]].concat();
    items(1, count, &[vec![0x60], values.clone(), values].concat())
}

/// A module in the binary format that follows the interface and does nothing.
fn plain() -> Vec<u8> {
    std::fs::read(path_of("plain")).expect("the file")
}

/// Checks that a dial got as far as the role function, which returned an error.
#[track_caller]
fn expect_reached(error: &DialError, name: &str) {
    match error {
        DialError::Transport(TransportError::Failed { function, .. }) if *function == name => {}
        other => panic!("{other:?}"),
    }
}

/// Declares an import `count` times.
fn declare(text: &mut String, count: usize, import: &(&str, &str, Signature)) {
    let (from, name, signature) = import;
    let types = |types: &[ValType]| {
        types
            .iter()
            .fold(String::new(), |all, ty| all + " " + ty.name())
    };
    let (params, results) = (types(&signature.params), types(&signature.results));
    for number in 0..count {
        let _ = writeln!(
            text,
            "(import \"{from}\" \"{name}\" (func ${name}_{number} (param{params}) (result{results})))"
        );
    }
}

#[test]
fn an_import_that_is_repeated_thousands_of_times_is_one_function() {
    let known: Vec<_> = imports().collect();
    let module = |imports: &str, init: &str| {
        let text = format!(
            r#"(module {imports} (memory (export "memory") 1)
            (func (export "watm_init_v1") (result i32) {init})
            (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
            (func (export "watm_dial_v1") (param i32) (result i32) (i32.const -8))
            (func (export "watm_start_v1") (result i32) (i32.const 0)))"#
        );
        let module = wat::parse_str(text).expect("a module");
        TransportModule::from_bytes(module).expect("a transport module")
    };
    let dial = |module: &TransportModule| {
        let dialer = Dialer::builder(module).build().expect("a dialer");
        let error = dialer.dial("127.0.0.1:1").expect_err("it dials nobody");
        expect_reached(&error, "watm_dial_v1");
    };
    for (function, call) in [
        ("args_sizes_get", "(i32.const 0) (i32.const 8)"),
        ("args_get", "(i32.const 0) (i32.const 8)"),
        ("environ_sizes_get", "(i32.const 0) (i32.const 8)"),
        ("environ_get", "(i32.const 0) (i32.const 8)"),
        ("clock_res_get", "(i32.const 1) (i32.const 8)"),
        (
            "clock_time_get",
            "(i32.const 1) (i64.const 0) (i32.const 8)",
        ),
        ("random_get", "(i32.const 0) (i32.const 8)"),
    ] {
        let mut text = String::new();
        let import = known.iter().find(|(_, name, _)| *name == function);
        declare(&mut text, 5000, import.expect("a function"));
        dial(&module(&text, &format!("(call ${function}_4999 {call})")));
    }
    // All functions, as often as imports are allowed.
    let mut text = String::new();
    for import in &known {
        declare(&mut text, 10_000 / known.len(), import);
    }
    dial(&module(&text, "(i32.const 0)"));
}

#[test]
fn what_a_module_declares_is_counted_before_it_is_kept() {
    for (what, sections) in [many_items(), large_instances()].concat() {
        let file = binary(&sections);
        for error in [
            ModuleInfo::parse(&file).expect_err(what),
            TransportModule::from_bytes(&file).expect_err(what),
        ] {
            assert!(
                matches!(error, LoadError::TooComplex(_)),
                "{what}: {error:?}"
            );
            assert!(error.to_string().contains(what), "{what}: {error}");
        }
    }
}

/// What a refused module has too much of, in the words of the error, and its sections.
type Refused = (&'static str, Vec<Vec<u8>>);

/// More items, or items with more values, than a module may have.
fn many_items() -> Vec<Refused> {
    let (no_name, function) = ([0, 0], [0, 0]);
    let import = [&no_name[..], &function].concat();
    let claims = |id| vec![section(id, &leb(u32::MAX as usize))];
    vec![
        (
            "100000 imports",
            vec![wide_types(1), items(2, 100_000, &import)],
        ),
        (
            "2000000 imports",
            vec![items(2, 2_000_000, &[0, 0, 3, 0x7f, 0])],
        ),
        // Few enough, but each has two thousand values.
        (
            "parameters and results of imports and exports",
            vec![wide_types(1), items(2, 51, &import)],
        ),
        (
            "parameters and results of imports and exports",
            vec![
                wide_types(1),
                items(2, 1, &import),
                items(7, 50, &[0, 0, 0]),
            ],
        ),
        ("200000 exports", vec![items(7, 200_000, &[0, 2, 0])]),
        ("100000 types", vec![items(1, 100_000, &[0x60, 0, 0])]),
        ("parameters and results in its types", vec![wide_types(51)]),
        ("1000000 functions", vec![items(3, 1_000_000, &[0])]),
        ("1000000 memories", vec![items(5, 1_000_000, &[0, 0])]),
        // Only the count claims this many.
        ("4294967295 types", claims(1)),
        ("4294967295 imports", claims(2)),
        ("4294967295 global", claims(6)),
        ("4294967295 exports", claims(7)),
        ("4294967295 element", claims(9)),
        ("4294967295 data", claims(11)),
    ]
}

/// Tables, constant expressions and names that would make each instance too large or too slow.
fn large_instances() -> Vec<Refused> {
    let table = [vec![1, 0x70, 0], leb((1 << 20) + 1)].concat();
    let half_a_table = [vec![0x70, 1], leb(600_000), leb(600_000)].concat();
    let sum = [
        vec![0x7f, 0, 0x41, 0],
        [0x41, 0, 0x6a].repeat(8),
        vec![0x0b],
    ];
    let named = [leb(99_999), vec![b'x'; 99_999], vec![2, 0]];
    vec![
        ("elements in its tables", vec![section(4, &table)]),
        ("elements in its tables", vec![items(4, 2, &half_a_table)]),
        (
            "instructions in a constant expression",
            vec![items(6, 1, &sum.concat())],
        ),
        ("bytes in the names", vec![items(7, 11, &named.concat())]),
    ]
}

#[test]
fn what_takes_the_validator_or_the_compiler_long_is_refused_at_once() {
    let module = |functions: &str| {
        let text = watm_tests::wat_text("no_wasi");
        let end = text.rfind(')').expect("the end of the module");
        wat::parse_str(format!("{}{functions})", &text[..end])).expect("a module")
    };
    let wide = format!("(type $wide (func (result {})))", "i32 ".repeat(1000));
    let opened = "(loop ".repeat(51);
    for (what, functions) in [
        // Four billion steps for six bytes.
        (
            "garbage collection",
            "(type $a (array i32)) (func unreachable array.new_fixed $a 4294967295 drop)"
                .to_owned(),
        ),
        // The square of its depth for each instruction in it.
        (
            "nests 51 loops",
            format!(
                "(func (param i32) {opened} (local.set 0 {} (i32.load (i32.const 0)) {}) {})",
                "(i32.clz ".repeat(1000),
                ")".repeat(1000),
                ")".repeat(51)
            ),
        ),
        // A thousand values for two bytes, kept until the end.
        (
            "passes",
            format!(
                "{wide} (func $f (type $wide) unreachable) (func {} unreachable)",
                "call $f ".repeat(100_000)
            ),
        ),
        // Examined in every order.
        (
            "additions, rotations",
            format!(
                "(func (param i32) (result i32) local.get 0 {})",
                "i32.const 7 i32.rotl ".repeat(100_000)
            ),
        ),
    ] {
        let error = TransportModule::from_bytes(module(&functions)).expect_err(what);
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
    for text in [
        "(component)",
        &format!("{}{}", "(component ".repeat(90), ")".repeat(90)),
    ] {
        let error = TransportModule::from_bytes(text).expect_err("a component");
        assert!(matches!(error, LoadError::Malformed(_)), "{error:?}");
    }
}

#[test]
fn groups_that_stand_for_many_items_are_refused_unread() {
    let group_of_types = [
        leb(1),
        vec![0x4e],
        leb(1_000_000),
        [0x60, 0, 0].repeat(1_000_000),
    ];
    // One module name for any number of imports.
    let group_of_imports = [
        leb(1),
        leb(50_000),
        vec![b'm'; 50_000],
        vec![0, 0x7f],
        leb(10_000),
        [0, 3, 0x7f, 0].repeat(10_000),
    ];
    for (what, file) in [
        (
            "garbage collection",
            binary(&[section(1, &group_of_types.concat())]),
        ),
        (
            "groups of imports",
            binary(&[section(2, &group_of_imports.concat())]),
        ),
    ] {
        let error = ModuleInfo::parse(&file).expect_err(what);
        let is_refused = matches!(error, LoadError::Malformed(_) | LoadError::Unsupported(_));
        assert!(is_refused, "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn of_what_a_module_says_of_itself_only_so_much_is_kept() {
    let producers = [
        leb(1),
        leb(8),
        b"language".to_vec(),
        leb(100_000),
        [1, b'x', 0].repeat(100_000),
    ];
    let name = "n".repeat(100_000);
    let named = [leb(name.len()), name.clone().into_bytes()].concat();
    let named = [vec![0], leb(named.len()), named].concat();
    let file = [
        plain(),
        custom("producers", &producers.concat()),
        custom("name", &named),
    ]
    .concat();
    let info = ModuleInfo::parse(&file).expect("a module");
    assert!(info.problems().is_empty());
    assert!(info.producers().len() <= 100);
    assert_eq!(info.name(), Some(&name[..MAX_EXCERPT]));
    // An unreadable section is no reason to refuse a module.
    for damaged in [
        &[0xff; 100_000][..],
        b"\x01\xff",
        &[1, 3, b'a', 0xff, 0xfe, 1, 1],
    ] {
        for section in ["producers", "name"] {
            let file = [plain(), custom(section, damaged)].concat();
            let info = ModuleInfo::parse(&file).expect("a module");
            assert!(info.problems().is_empty(), "{section}");
            TransportModule::from_bytes(&file).expect("a module");
        }
    }
}

#[test]
fn messages_quote_200_characters_of_a_module_at_most() {
    let long = "x".repeat(90_000);
    let modules = [
        // The same export twice.
        format!(
            "(module (memory 1) (export \"{long}\" (memory 0)) (export \"{long}\" (memory 0)))"
        ),
        format!("(module (import \"{long}\" \"{long}\" (func)))"),
        format!(
            "(module (import \"{long}\" \"y\" (func (param {}))))",
            "externref ".repeat(999)
        ),
        format!("(module (func call ${long}))"),
        format!("(module (func {long}))"),
        format!(
            "(module\n(func\n{}\u{202e}\n{}",
            "i32.nop ".repeat(9000),
            "(".repeat(9000)
        ),
        format!("(modul\"\u{1b}[31m{long}"),
    ];
    for module in modules {
        let error = TransportModule::from_bytes(&module).expect_err("not a module");
        let text = error.to_string();
        // A module may have several problems, and each may quote two names and a type.
        let problems = match &error {
            LoadError::Interface(problems) => problems.len(),
            _ => 1,
        };
        let most = problems * (3 * MAX_EXCERPT + 150);
        assert!(
            text.chars().count() <= most,
            "{} characters: {text}",
            text.len()
        );
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert_eq!(text, text.replace('\u{202e}', ""));
    }
    assert_eq!(Excerpt(&long).to_string().len(), MAX_EXCERPT + 2);
}

#[test]
fn imports_that_nobody_provides_are_named_up_to_20_and_then_counted() {
    let imports: String = (0..9000)
        .map(|i| format!("(import \"nobody\" \"{i}\" (func))"))
        .collect();
    let module = wat::parse_str(format!("(module {imports})")).expect("a module");
    let info = ModuleInfo::parse(&module).expect("a module");
    let named = |problem: &&InterfaceError| matches!(problem, InterfaceError::ImportUnknown { .. });
    assert_eq!(info.problems().iter().filter(named).count(), 20);
    let last = info.problems().last().expect("problems");
    assert_eq!(*last, InterfaceError::MoreImports { count: 8980 });
}

#[test]
fn custom_sections_are_neither_compiled_nor_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let artifact = |name: &str, file: &[u8]| {
        let cache = ArtifactCache::open(directory.path().join(name)).expect("a cache");
        let loader = ModuleLoader::new().cache(&cache);
        loader.load_bytes(file).expect("a module");
        cache
            .artifacts()
            .expect("a list")
            .first()
            .expect("an artifact")
            .size
    };
    // Names of many functions, of which the module has almost none.
    let count = 300_000;
    let names: Vec<u8> = (0..count)
        .flat_map(|i| [leb(i), vec![0]].concat())
        .collect();
    let names = [leb(count), names].concat();
    let names = [vec![1], leb(names.len()), names].concat();
    let file = [
        plain(),
        custom("name", &names),
        custom("anything", &[7; 1_000_000]),
    ]
    .concat();
    assert_eq!(artifact("with", &file), artifact("without", &plain()));
}

/// A module whose worker repeatedly writes `buffers` over the same 4 MiB of lines to a standard
/// stream.
fn flood(stream: u32) -> TransportModule {
    with_worker(&format!(
        "(local $i i32)
         (drop (memory.grow (i32.const 64)))
         (memory.fill (i32.const 65536) (i32.const 10) (i32.const 4194303))
         (loop $fill
           (i32.store offset=16384 (i32.mul (local.get $i) (i32.const 8)) (i32.const 65536))
           (i32.store offset=16388 (i32.mul (local.get $i) (i32.const 8)) (i32.const 4194303))
           (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1024))))
         (call $text (global.get $net))
         (loop $again
           (drop (call $fd_write (i32.const {stream}) (i32.const 16384) (i32.const 1024) (i32.const 8)))
           (br $again))
         (unreachable)"
    ))
}

#[test]
fn a_write_of_gigabytes_to_a_standard_stream_ends_when_it_should() {
    for stream in [1, 2] {
        let builder = Dialer::builder(&flood(stream)).close_grace(Duration::from_millis(200));
        let pair = Pair::with(builder);
        watm_tests::read_vec(&pair.peer, 3);
        pair.conn.close().expect_err("it goes on");
        // One call used to take minutes.
        let ended = pair.conn.wait(Some(Duration::from_secs(20)));
        assert!(ended.is_some(), "the worker continues");
    }
}

#[test]
fn one_write_to_a_standard_stream_takes_a_mebibyte_and_says_so() {
    let module = with_worker(
        "(local $i i32)
         (loop $fill
           (i32.store offset=16384 (i32.mul (local.get $i) (i32.const 8)) (i32.const 65536))
           (i32.store offset=16388 (i32.mul (local.get $i) (i32.const 8)) (i32.const 65536))
           (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 32))))
         (call $put (call $fd_write (i32.const 2) (i32.const 16384) (i32.const 32) (i32.const 8)))
         (call $put (i32.load (i32.const 8)))
         (call $report (global.get $net))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    assert_eq!(read_numbers(&pair.peer), [0, 1 << 20]);
}

/// A module that opens a file, dials, and moves the socket to the file's number. It repeats this
/// until one step fails, and then reports how often it succeeded.
fn moves_its_sockets() -> TransportModule {
    text(
        r#"(module
        (import "env" "water_dial_fixed" (func $dial (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open"
          (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "watm.cfg")
        (global $net (mut i32) (i32.const 0))
        (func (export "watm_init_v1") (result i32) (i32.const 0))
        (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
        (func (export "watm_dial_v1") (param i32) (result i32)
          (global.set $net (call $dial))
          (global.get $net))
        ;; The number of a new socket, or of an error below 0.
        (func $one_more (param $to i32) (result i32) (local $socket i32)
          (local.set $socket (call $dial))
          (if (i32.lt_s (local.get $socket) (i32.const 0)) (then (return (local.get $socket))))
          (i32.sub (i32.const 0) (call $renumber (local.get $socket) (local.get $to))))
        (func (export "watm_start_v1") (result i32) (local $count i32) (local $error i32)
          (block $full
            ;; Over the standard streams and the directory.
            (loop $next
              (local.set $error (call $one_more (local.get $count)))
              (br_if $full (local.get $error))
              (local.set $count (i32.add (local.get $count) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $count) (i32.const 3))))
            (loop $next
              (local.set $error (i32.sub (i32.const 0)
                (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 8) (i32.const 0)
                  (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0))))
              (br_if $full (local.get $error))
              (local.set $error (call $one_more (i32.load (i32.const 0))))
              (br_if $full (local.get $error))
              (local.set $count (i32.add (local.get $count) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $count) (i32.const 100)))))
          (i32.store (i32.const 16) (local.get $count))
          (i32.store (i32.const 20) (local.get $error))
          (i32.store (i32.const 8) (i32.const 16))
          (i32.store (i32.const 12) (i32.const 8))
          (call $write (global.get $net) (i32.const 8) (i32.const 1) (i32.const 32))))"#,
    )
}

#[test]
fn descriptors_count_wherever_they_are_moved() {
    const EMFILE: i32 = 33;
    for limit in [3, 5, 8, 40] {
        let dialer = Dialer::builder(&moves_its_sockets())
            .config("")
            .descriptor_limit(limit)
            .build();
        // Open while it dials.
        let (listener, address) = listener();
        let _conn = dialer
            .expect("a dialer")
            .dial(&address)
            .expect("a connection");
        let peer = accept_one(&listener);
        // The control pipe, the application's side and the first connection already exist.
        let more = i32::try_from(limit).expect("a small number") - 3;
        // From the fourth on, each takes the place of a file, and the last of these files is still
        // open.
        let more = if more > 3 { more - 1 } else { more };
        assert_eq!(read_numbers(&peer), [more, -EMFILE], "{limit}");
    }
}

#[test]
fn a_fixed_dialer_with_repeated_imports_dials() {
    let repeated =
        "(import \"wasi_snapshot_preview1\" \"args_sizes_get\" (func (param i32 i32) (result i32)))"
            .repeat(4000);
    let module = format!(
        r#"(module {repeated} (memory (export "memory") 1)
        (func (export "watm_init_v1") (result i32) (drop (call 3999 (i32.const 0) (i32.const 8))) (i32.const 0))
        (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
        (func (export "watm_dial_fixed_v1") (param i32) (result i32) (i32.const -1))
        (func (export "watm_start_v1") (result i32) (i32.const 0)))"#
    );
    let dialer = FixedDialer::builder(&text(&module)).build();
    let error = dialer
        .expect("a dialer")
        .dial()
        .expect_err("it dials nobody");
    expect_reached(&error, "watm_dial_fixed_v1");
}
