use super::*;
use std::fmt::Write as _;

/// The complexity of the last function of a module in the text format.
fn last(text: &str) -> Complexity {
    last_of(&wat::parse_str(text).expect("a module"))
}

fn last_of(wasm: &[u8]) -> Complexity {
    let mut last = None;
    measure(wasm, |_, complexity| {
        last = Some(complexity);
        true
    })
    .expect("a valid module");
    last.expect("a function")
}

fn check_all(wasm: &[u8]) -> Result<(), LoadError> {
    check(wasm, Duration::MAX)
}

fn function(types: &str, body: &str) -> Complexity {
    last(&format!(
        "(module (memory 1) (table 1 funcref) (elem $e func)
           (type $wide (func (param i32 i32 i32) (result i32 i32 i32)))
           (func $wide (type $wide) (local.get 0) (local.get 1) (local.get 2))
           (func {types} {body}))"
    ))
}

#[test]
fn blocks_are_counted_with_those_that_instructions_are_made_of() {
    let blocks = |body| function("(param i32)", body).blocks;
    // The entry and the end, each with its stop point.
    let none = blocks("");
    assert_eq!(none, 6);
    for (body, more) in [
        ("(local.set 0 (i32.add (local.get 0) (i32.const 1)))", 0),
        ("block end", 1),
        ("local.get 0 if end", 3),
        ("local.get 0 if else end", 3),
        ("loop end", 5),
        ("block local.get 0 br_if 0 end", 2),
        ("block local.get 0 br_table 0 0 0 0 end", 7),
        ("block local.get 0 br_if 1 end", 4),
        ("block br 1 end", 3),
        ("return", 2),
        ("(elem.drop $e)", 2),
        ("(memory.fill (local.get 0) (local.get 0) (local.get 0))", 8),
        ("(drop (table.get 0 (local.get 0)))", 3),
        ("(drop (memory.grow (local.get 0)))", 3),
    ] {
        assert_eq!(blocks(body), none + more, "{body}");
    }
}

#[test]
fn values_that_live_across_blocks_are_counted_at_each() {
    let carried = |body| function("(param i32) (local i32)", body).carried;
    assert_eq!(carried("block end"), 0);
    // Written and read within one piece, or read before the second piece begins.
    for body in [
        "(drop (local.get 0)) block end",
        "block end (local.set 1 (i32.const 1)) (drop (local.get 1))",
    ] {
        assert_eq!(carried(body), 0, "{body}");
    }
    assert_eq!(carried("block end (drop (local.get 0))"), 7);
    assert_eq!(
        carried("block end (drop (local.get 0)) (drop (local.get 1))"),
        14
    );
    let both = "(local.set 1 (local.get 0)) (local.get 0) if (local.set 1 (i32.const 1)) else (drop (local.get 1)) end";
    // The condition is still on the stack, so it also counts.
    assert_eq!(carried(both), 9 + 2);
    // On the stack, below the blocks.
    assert_eq!(
        carried("local.get 0 local.get 0 block end block end drop drop"),
        4
    );
    assert_eq!(carried("local.get 0 local.get 0 loop end drop drop"), 10);
}

#[test]
fn values_that_are_passed_are_counted() {
    let passed = |body: &str| function("(param i32)", body).passed;
    let three = "local.get 0 local.get 0 local.get 0";
    let gone = "drop drop drop";
    for (body, values) in [
        ("local.get 0 drop".to_owned(), 0),
        (format!("{three} call $wide {gone}"), 6),
        (
            format!("{three} local.get 0 call_indirect (type $wide) {gone}"),
            6,
        ),
        (format!("{three} block (type $wide) end {gone}"), 6),
        (
            format!("{three} loop (type $wide) local.get 0 br_if 0 end {gone}"),
            9,
        ),
        (
            format!("{three} block (type $wide) local.get 0 br_table 0 0 end {gone}"),
            12,
        ),
        (format!("{three} block (type $wide) br 0 end {gone}"), 9),
        ("return".to_owned(), 0),
    ] {
        assert_eq!(passed(&body), values, "{body}");
    }
    assert_eq!(
        function("(result i32 i32)", "i32.const 1 i32.const 2 return").passed,
        2
    );
}

#[test]
fn loops_within_loops_and_what_is_rearranged_are_counted() {
    let loops = |body: &str| function("(param i32)", body).loops;
    assert_eq!(
        loops("block if end end".replace("if", "local.get 0 if").as_str()),
        0
    );
    assert_eq!(loops("loop end loop block loop end end end loop end"), 2);
    let deep = |depth: usize| {
        let (open, close) = ("loop ".repeat(depth), "end ".repeat(depth));
        wat::parse_str(format!("(module (func {open}{close}))")).expect("a module")
    };
    assert!(check_all(&deep(50)).is_ok());
    let error = check_all(&deep(51)).expect_err("too deep");
    assert!(error.to_string().contains("nests 51 loops"), "{error}");
    let many = |instruction: &str, count: usize| {
        let body = format!("local.get 0 {instruction} ").repeat(count);
        let text = format!("(module (func (param i32) local.get 0 {body} drop))");
        check_all(&wat::parse_str(text).expect("a module"))
    };
    assert!(many("i32.add", 80_000).is_ok());
    assert!(matches!(
        many("i32.add", 80_001),
        Err(LoadError::TooComplex(_))
    ));
    assert!(many("i32.rotl", 40_000).is_ok());
    assert!(matches!(
        many("i32.rotl", 40_001),
        Err(LoadError::TooComplex(_))
    ));
}

#[test]
fn looking_at_a_module_takes_no_longer_than_compiling_may() {
    let wasm = wat::parse_str("(module (func) (func))").expect("a module");
    let error = check(&wasm, Duration::ZERO).expect_err("no time");
    assert!(
        matches!(error, LoadError::CompileTimeout { .. }),
        "{error:?}"
    );
}

#[test]
fn what_is_known_of_one_function_says_nothing_of_the_next() {
    let both = last(
        "(module (func (param i32) block end (drop (local.get 0)) (local.set 0 (i32.const 1)))
           (func (param i32) block end block end (drop (local.get 0))))",
    );
    assert_eq!((both.blocks, both.carried), (8, 8));
}

#[test]
fn too_much_of_anything_is_refused_with_the_function_and_the_numbers() {
    let refused = |head: &str, part: &str, count: usize, tail: &str| {
        let mut text = format!("(module (import \"\" \"\" (func)) (func) (func {head} ");
        for _ in 0..count {
            let _ = writeln!(text, "{part}");
        }
        text.push_str(tail);
        text.push_str("))");
        match check_all(&wat::parse_str(text).expect("a module")) {
            Ok(()) => None,
            Err(LoadError::TooComplex(why)) => Some(why),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(refused("", "block end", 49_994, ""), None);
    let why = refused("", "block end", 49_995, "").expect("too many");
    assert!(why.starts_with("function 2 has 50001 blocks"), "{why}");
    let stack = "i32.const 1 ".repeat(500);
    let head = format!("(param i32) {stack}");
    let why = refused(&head, "block end", 10_001, "unreachable").expect("too many");
    assert!(why.contains("keeps 5000500 values"), "{why}");
    let results = "i32 ".repeat(1000);
    let values = "i32.const 1 ".repeat(1000);
    let head = format!("(block (result {results}) {values}");
    let tail = format!("br 0) {}", "drop ".repeat(1000));
    assert_eq!(refused(&head, "", 0, &tail), None);
    let part = "i32.const 0 br_if 0";
    let why = refused(&head, part, 299, &tail).expect("too many");
    assert!(why.contains("passes 301000 values"), "{why}");
}

#[test]
fn a_function_is_measured_until_there_is_too_much_of_anything() {
    let wide = "i32 ".repeat(1000);
    for (body, most) in [
        // A thousand values for three bytes, and for each branch target.
        (
            format!(
                "unreachable {}",
                "(block (type $wide) unreachable) ".repeat(100_000)
            ),
            400_000,
        ),
        (
            format!(
                "(block (type $wide) unreachable br_table {})",
                "0 ".repeat(400_000)
            ),
            401_000_000,
        ),
    ] {
        let text = format!("(module (type $wide (func (result {wide}))) (func {body}))");
        let wasm = wat::parse_str(text).expect("a module");
        let passed = last_of(&wasm).passed;
        assert!(passed < most, "{passed}");
        assert!(matches!(check_all(&wasm), Err(LoadError::TooComplex(_))));
    }
    let nested = format!(
        "(module (func {} {}))",
        "block ".repeat(200_000),
        "end ".repeat(200_000)
    );
    let wasm = wat::parse_str(nested).expect("a module");
    assert_eq!(last_of(&wasm).blocks, LIMIT.blocks + 1);
}

#[test]
fn functions_that_pass_little_each_are_refused_for_what_they_pass_together() {
    let values = "i32 ".repeat(1000);
    let calls = "call 0 ".repeat(100);
    let functions = format!("(func unreachable {calls} unreachable)").repeat(1000);
    let text = format!("(module (func (param {values}) unreachable) {functions})");
    let wasm = wat::parse_str(text).expect("a module");
    match check_all(&wasm) {
        Err(LoadError::TooComplex(why)) => assert!(why.contains("for its size"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_valid_is_refused() {
    let invalid = wat::parse_str("(module (func i32.add drop))").expect("a module");
    assert!(matches!(check_all(&invalid), Err(LoadError::Malformed(_))));
    assert!(matches!(check_all(b"\0asm"), Err(LoadError::Malformed(_))));
}
