//! Files that are not loaded: how they are reported, and how little of them is read.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};
use watm_tests::{Pair, SHORT, path_of, wat_text, within};
use watm_wasmer::{LoadError, ModuleHash, ModuleLoader, TransportModule};

use super::loading::importing;

#[test]
fn a_module_with_the_expected_hash_loads_and_another_is_not_even_parsed() {
    let path = path_of("plain");
    let bytes = std::fs::read(&path).expect("the file");
    let hash = ModuleHash::from(<[u8; 32]>::from(Sha256::digest(&bytes)));
    let module = ModuleLoader::new()
        .sha256(hash)
        .load_file(&path)
        .expect("a module");
    assert_eq!(module.sha256(), hash);
    assert_eq!(module.info().size(), bytes.len() as u64);

    let loader = ModuleLoader::new().sha256(hash);
    match loader
        .load_bytes(b"no module at all")
        .expect_err("another hash")
    {
        LoadError::Hash { expected, found } => {
            assert_eq!(expected, hash);
            assert_ne!(found, hash);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_beyond_the_size_limit_is_refused() {
    let size = std::fs::metadata(path_of("plain")).expect("the file").len();
    let loader = ModuleLoader::new().max_size(size);
    loader.load_file(path_of("plain")).expect("it just fits");
    let loader = ModuleLoader::new().max_size(size - 1);
    let error = loader
        .load_file(path_of("plain"))
        .expect_err("a byte too much");
    assert!(matches!(error, LoadError::TooLarge { limit, .. } if limit == size - 1));
    let bytes = std::fs::read(path_of("plain")).expect("the file");
    let error = loader.load_bytes(bytes).expect_err("a byte too much");
    assert!(matches!(error, LoadError::TooLarge { .. }));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = TransportModule::from_file("/nowhere/transport.wasm").expect_err("no file");
    assert!(matches!(error, LoadError::Read { .. }));
    assert!(
        error.to_string().contains("/nowhere/transport.wasm"),
        "{error}"
    );
    assert!(error.source().is_some());
}

#[test]
fn a_file_without_an_end_is_read_no_further_than_the_limit() {
    let loader = ModuleLoader::new().max_size(1000);
    // The system reports its size as 0.
    let error = loader
        .load_file("/proc/self/smaps")
        .expect_err("it has no end");
    assert!(
        matches!(error, LoadError::TooLarge { limit: 1000, .. }),
        "{error:?}"
    );
    let error = loader.load_file("/").expect_err("a directory");
    assert!(matches!(error, LoadError::Read { .. }), "{error:?}");
}

/// Number of bytes that this thread has read so far.
fn bytes_read() -> u64 {
    let counts = std::fs::read_to_string("/proc/thread-self/io").expect("the counts");
    let line = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|count| count.parse().ok()).expect("a number")
}

#[test]
fn a_huge_file_and_an_empty_one_are_refused_without_being_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("huge.wasm");
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len(1 << 30).expect("a file with a hole");
    let before = bytes_read();
    let error = TransportModule::from_file(&path).expect_err("too large");
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error:?}");
    let read = bytes_read() - before;
    assert!(read < 1 << 20, "{read} bytes were read");
    file.set_len(0).expect("an empty file");
    let error = TransportModule::from_file(&path).expect_err("nothing");
    assert!(matches!(error, LoadError::NotAModule(_)), "{error:?}");
}

#[test]
fn a_path_to_something_else_than_a_file_is_refused_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe.wasm");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
        let path = path.to_owned();
        // Nobody ever writes to the pipe.
        match within(SHORT, move || TransportModule::from_file(path)) {
            Err(LoadError::Read { source, .. }) => {
                assert!(source.to_string().contains("regular file"), "{source}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The text of a valid module with more functions.
fn text_with_functions(functions: &str) -> String {
    let text = wat_text("no_wasi");
    let end = text.rfind(')').expect("the end of the module");
    format!("{}{functions})", &text[..end])
}

fn with_functions(functions: &str) -> Vec<u8> {
    wat::parse_str(text_with_functions(functions)).expect("a module")
}

#[test]
fn a_long_text_is_refused_before_it_is_read() {
    // Each takes eighty times as many bytes of memory.
    let functions = "(func)".repeat(90_000);
    for text in [
        text_with_functions(&functions),
        format!(";; text\n{}", text_with_functions(&functions)),
    ] {
        let error = TransportModule::from_bytes(text).expect_err("too long");
        assert!(matches!(&error, LoadError::TooComplex(_)), "{error:?}");
        assert!(error.to_string().contains("text has 54"), "{error}");
    }
    let error = TransportModule::from_bytes("x".repeat(5 << 20)).expect_err("no text");
    assert!(matches!(&error, LoadError::NotAModule(_)), "{error:?}");
}

#[test]
fn a_module_with_a_million_functions_is_refused_before_it_is_compiled() {
    let module = with_functions(&"(func)".repeat(1 << 20));
    let error = TransportModule::from_bytes(module).expect_err("too many functions");
    assert!(matches!(&error, LoadError::TooComplex(_)), "{error:?}");
    assert!(error.to_string().contains("functions, more than 100000"));
}

/// Each of these takes memory per connection, besides the linear memory, which has a limit.
#[test]
fn a_module_with_too_many_items_of_a_kind_is_refused_before_it_is_compiled() {
    type Make = fn(usize) -> String;
    let items: [(_, _, Make); 4] = [
        ("global variables", 10_000, |count| {
            "(global i64 (i64.const 0))".repeat(count)
        }),
        ("exports", 10_000, |count| {
            // Those of the interface already exist.
            (5..count).fold(String::new(), |all, i| {
                all + &format!("(export \"{i}\" (memory 0))")
            })
        }),
        ("element segments", 10_000, |count| {
            "(elem func)".repeat(count)
        }),
        ("elements", 1 << 20, |count| {
            format!("(func $item)(elem func {})", "$item ".repeat(count))
        }),
    ];
    let expect_refused = |what: &str, module: Vec<u8>, limit: usize| {
        let error = TransportModule::from_bytes(module).expect_err(what);
        assert!(matches!(&error, LoadError::TooComplex(_)), "{error:?}");
        let said = format!("{} {what}, more than {limit}", limit + 1);
        assert!(error.to_string().contains(&said), "{error}");
    };
    for (what, limit, make) in items {
        let fits = TransportModule::from_bytes(with_functions(&make(limit)));
        drop(Pair::dial(&fits.expect(what)));
        expect_refused(what, with_functions(&make(limit + 1)), limit);
    }
    // The other way to write them.
    let nulls = "(ref.null func)".repeat((1 << 20) + 1);
    let module = with_functions(&format!("(elem funcref {nulls})"));
    expect_refused("elements", module, 1 << 20);
}

/// These take compile time per function and per type, at points where the compiler does not check
/// its time limit. 8 KiB took seconds, and a megabyte took minutes.
#[test]
fn a_module_with_too_many_parameters_or_locals_is_refused_before_it_is_compiled() {
    let wide = "i32 ".repeat(1000);
    let locals = |functions: usize| {
        let locals = "i32 ".repeat(10_000);
        format!("(func (local {locals}))").repeat(functions)
    };
    TransportModule::from_bytes(with_functions(&locals(400))).expect("some fit");
    for (what, module) in [
        ("types, more than 10000", "(type (func))".repeat(10_000)),
        (
            "parameters and results in its types, more than 100000",
            format!("(type (func (param {wide})))").repeat(100),
        ),
        (
            "parameters and results of functions, more than 500000",
            format!("(type $wide (func (param {wide})))")
                + &"(func (type $wide) unreachable)".repeat(500),
        ),
        ("local variables, more than 5000000", locals(501)),
        ("tags, more than 10000", "(tag (param i32))".repeat(10_001)),
    ] {
        let error = TransportModule::from_bytes(with_functions(&module)).expect_err(what);
        assert!(matches!(&error, LoadError::TooComplex(_)), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_function_that_would_take_minutes_to_compile_is_refused() {
    // Ten bytes of code each.
    let more = "(drop (i32.add (i32.const 70000) (i32.const 70000)))".repeat(60_000);
    let module = with_functions(&format!("(func {more})"));
    let error = TransportModule::from_bytes(module).expect_err("the function is too large");
    assert!(matches!(&error, LoadError::TooComplex(_)), "{error:?}");
    assert!(error.to_string().contains("more than 524288"), "{error}");
}

#[test]
fn a_small_function_that_would_take_minutes_and_gigabytes_is_refused() {
    let values = "i32 ".repeat(1000);
    let wide = format!("(type $wide (func (param {values}) (result {values})))");
    let loops = "(loop (br_if 0 (local.get 0)))".repeat(30_000);
    let nested = "(loop (local.set 1 (i32.add (local.get 0) (local.get 1)))".repeat(45)
        + &"(br_if 0 (local.get 0)))".repeat(45);
    let nested = nested.repeat(20);
    let locals = "i32 ".repeat(1000);
    let all = (0..1000).map(|i| format!("(drop (local.get {i}))"));
    let nested = format!(
        "(local {locals}) {nested} {nested} (loop {})",
        all.collect::<String>()
    );
    let values = "(i32.const 1)".repeat(1000);
    let calls = format!(
        "{values} {} unreachable",
        "i32.const 0 call_indirect (type $wide) ".repeat(170)
    );
    for (function, why) in [
        (format!("(func (param i32) {loops})"), "blocks and branches"),
        (format!("(func (param i32) {nested})"), "values across"),
        (format!("(func {calls})"), "values to calls"),
    ] {
        let text = text_with_functions(&format!("{wide} (table 1 funcref) {function}"));
        let binary = wat::parse_str(&text).expect("a module");
        let error = TransportModule::from_bytes(binary).expect_err(why);
        assert!(matches!(&error, LoadError::TooComplex(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn compiling_is_given_up_after_a_while() {
    let function = "(func (result i32)".to_owned()
        + &"(block (loop (if (i32.add (i32.const 70000) (i32.const 70000)) (then (nop)))))"
            .repeat(1000)
        + "(i32.const 1))";
    let module = with_functions(&function.repeat(60));
    let limit = Duration::from_millis(20);
    let loader = ModuleLoader::new().compile_timeout(limit);
    let error = loader.load_bytes(&module).expect_err("it takes seconds");
    match error {
        LoadError::CompileTimeout { limit: told } => assert_eq!(told, limit),
        other => panic!("{other:?}"),
    }
    ModuleLoader::new()
        .compile_timeout(Duration::MAX)
        .load_bytes(&module)
        .expect("nothing else is wrong with it");
}

#[test]
fn a_name_cannot_disturb_a_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("line\nbreak\x1b[31m.wasm");
    std::fs::copy(path_of("plain"), &copy).expect("a copy");
    let module = TransportModule::from_file(&copy).expect("a module");
    assert_eq!(module.name(), "linebreak[31m");
    let long = wat_text("no_wasi").replace("(module", &format!("(module ${}", "n".repeat(1000)));
    let module = TransportModule::from_bytes(long).expect("a module");
    assert!(module.name().len() <= 64, "{}", module.name());
    let nameless = TransportModule::from_bytes(wat_text("no_wasi")).expect("a module");
    assert_eq!(nameless.name(), &nameless.sha256().to_string()[..12]);
}

#[test]
fn a_module_with_thousands_of_problems_has_a_short_message() {
    let imports: String = (0..5000)
        .map(|i| format!("(import \"nobody\" \"function{i}\" (func))"))
        .collect();
    let module = format!("(module {imports} (memory (export \"memory\") 1))");
    let error = TransportModule::from_bytes(module).expect_err("nobody provides these");
    let text = error.to_string();
    assert!(text.contains("function7"), "{text}");
    assert!(
        text.contains("4980 more imports") && text.len() < 5000,
        "{text}"
    );
}

#[test]
fn bytes_that_are_no_module_are_malformed() {
    let whole = std::fs::read(path_of("plain")).expect("the file");
    let component = b"\0asm\x0d\0\x01\0";
    for bytes in [
        &b""[..],
        b"\0asm",
        b"\0asm\x02\0\0\0",
        b"\x7fELF\x02\x01\x01\0",
        b"(module (func $f (call $nobody)))",
        b"(modul)",
        &whole[..whole.len() / 2],
        component,
    ] {
        let error = TransportModule::from_bytes(bytes).expect_err("not a module");
        assert!(
            matches!(error, LoadError::NotAModule(_) | LoadError::Malformed(_)),
            "{:?}: {error:?}",
            bytes.first()
        );
    }
    let mut broken = whole.clone();
    let middle = broken.len() / 2;
    broken[middle..middle + 64].fill(0xff);
    TransportModule::from_bytes(broken).expect_err("no longer a module");
}

#[test]
fn a_feature_that_is_off_is_named() {
    let tag = r#"(tag $oops (param i32))
        (func $throw (throw $oops (i32.const 1)))"#;
    let caught = r#"(tag $oops (param i32))
        (func (drop (block $caught (result i32)
          (try_table (catch $oops $caught) (throw $oops (i32.const 1)))
          (i32.const 0))))"#;
    for (what, more) in [
        ("tail calls, which are", "(func $f (return_call $f))"),
        (
            "tail calls, which are",
            "(type $t (func)) (table 1 funcref) (func (return_call_indirect (type $t) (i32.const 0)))",
        ),
        ("exceptions, which are", tag),
        ("exceptions, which are", caught),
        (
            "garbage collection, which is",
            "(type $point (struct (field i32)))",
        ),
        (
            "garbage collection, which is",
            "(func (drop (ref.i31 (i32.const 1))))",
        ),
        (
            "threads, which are",
            "(func (drop (i32.atomic.load (i32.const 0))))",
        ),
        (
            "wide arithmetic, which is",
            "(func (drop (drop (i64.add128 (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)))))",
        ),
    ] {
        let error = TransportModule::from_bytes(text_with_functions(more)).expect_err(what);
        assert!(matches!(error, LoadError::Unsupported(_)), "{error:?}");
        let said = format!("the module uses {what} not supported");
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn relaxed_simd_is_supported() {
    let binary = [
        "i8x16.relaxed_swizzle",
        "f32x4.relaxed_min",
        "f32x4.relaxed_max",
        "f64x2.relaxed_min",
        "f64x2.relaxed_max",
        "i16x8.relaxed_q15mulr_s",
        "i16x8.relaxed_dot_i8x16_i7x16_s",
    ];
    let unary = [
        "i32x4.relaxed_trunc_f32x4_s",
        "i32x4.relaxed_trunc_f32x4_u",
        "i32x4.relaxed_trunc_f64x2_s_zero",
        "i32x4.relaxed_trunc_f64x2_u_zero",
    ];
    let ternary = [
        "f32x4.relaxed_madd",
        "f32x4.relaxed_nmadd",
        "f64x2.relaxed_madd",
        "f64x2.relaxed_nmadd",
        "i8x16.relaxed_laneselect",
        "i16x8.relaxed_laneselect",
        "i32x4.relaxed_laneselect",
        "i64x2.relaxed_laneselect",
        "i32x4.relaxed_dot_i8x16_i7x16_add_s",
    ];
    // From zeros, all results are zero.
    let zeros = "(v128.const i64x2 0 0) ";
    let mut all = String::from("(i32.const 0)");
    let operators = unary.iter().map(|operator| (operator, 1));
    let operators = operators.chain(binary.iter().map(|operator| (operator, 2)));
    for (operator, inputs) in operators.chain(ternary.iter().map(|operator| (operator, 3))) {
        let inputs = zeros.repeat(inputs);
        all = format!("(i32.or {all} (v128.any_true ({operator} {inputs})))");
    }
    let module = watm_tests::with_worker(&format!(
        "(call $put {all}) (call $report (global.get $internal)) (i32.const 0)"
    ));
    let pair = Pair::dial(&module);
    assert_eq!(watm_tests::read_numbers(&pair.conn), [0]);
}

#[test]
fn a_function_that_is_not_valid_is_malformed() {
    let text = importing([("env", "water_dial_fixed")].into_iter()).replace(
        "(result i32) (i32.const 0)))",
        "(result i32) (i64.const 0)))",
    );
    let error = TransportModule::from_bytes(text).expect_err("the types do not fit");
    assert!(matches!(error, LoadError::Malformed(_)), "{error:?}");
}
