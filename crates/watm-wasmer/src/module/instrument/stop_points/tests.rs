use super::*;
use crate::channel::sync::lock;
use crate::module::engine;
use std::os::unix::thread::JoinHandleExt;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wasmer::sys::vm::TrapCode;
use wasmer::{Function, Imports, RuntimeError, Value};

/// A function for each place of a stop point. Each raises the flag if it is told to.
const EVERY_PLACE: &str = r#"(module
        (import "" "raise" (func $raise))
        (memory (export "memory") 1) (table $t 10 20 funcref) (data $d "abc") (elem $e func $none)
        (global (export "own") (mut i32) (i32.const 5))
        (func $none)
        (func (export "memory.grow") (param i32) (result i32)
          (if (local.get 0) (then (call $raise))) (memory.grow (i32.const 1)))
        (func (export "memory.fill") (param i32)
          (if (local.get 0) (then (call $raise))) (memory.fill (i32.const 0) (i32.const 1) (i32.const 9)))
        (func (export "memory.copy") (param i32)
          (if (local.get 0) (then (call $raise))) (memory.copy (i32.const 0) (i32.const 1) (i32.const 9)))
        (func (export "memory.init") (param i32)
          (if (local.get 0) (then (call $raise))) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3)))
        (func (export "table.grow") (param i32) (result i32)
          (if (local.get 0) (then (call $raise))) (table.grow $t (ref.null func) (i32.const 1)))
        (func (export "table.fill") (param i32)
          (if (local.get 0) (then (call $raise))) (table.fill $t (i32.const 0) (ref.null func) (i32.const 2)))
        (func (export "table.copy") (param i32)
          (if (local.get 0) (then (call $raise))) (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 2)))
        (func (export "table.init") (param i32)
          (if (local.get 0) (then (call $raise))) (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)))
        (func $itself (param i32) (if (local.get 0) (then (call $itself (i32.const 0)))))
        (func (export "call") (param i32)
          (if (local.get 0) (then (call $raise))) (call $itself (i32.const 0)))
        (func $deep (param i32 i32)
          (if (local.get 0)
            (then (call $deep (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
            (else (if (local.get 1) (then (call $raise))))))
        (func (export "end") (param i32) (call $deep (i32.const 9) (local.get 0)))
        (func $returns (param i32 i32)
          (if (local.get 0) (then
            (call $returns (i32.sub (local.get 0) (i32.const 1)) (local.get 1)) (return)))
          (if (local.get 1) (then (call $raise))) (return))
        (func (export "return") (param i32) (call $returns (i32.const 9) (local.get 0)))
        (func $branches (param i32 i32)
          (block (if (local.get 0) (then
            (call $branches (i32.sub (local.get 0) (i32.const 1)) (local.get 1)) (br 2))))
          (if (local.get 1) (then (call $raise))) (br_if 0 (i32.const 1)) (unreachable))
        (func (export "br") (param i32) (call $branches (i32.const 9) (local.get 0)))
        (func $jumps (param i32 i32)
          (block (if (local.get 0) (then
            (call $jumps (i32.sub (local.get 0) (i32.const 1)) (local.get 1))
            (br_table 0 2 1 (i32.const 1)))))
          (if (local.get 1) (then (call $raise))))
        (func (export "br_table") (param i32) (call $jumps (i32.const 9) (local.get 0)))
        (func (export "elem.drop") (param i32)
          (if (local.get 0) (then (call $raise))) (elem.drop $e))
        (func (export "call of a leaf") (param i32)
          (if (local.get 0) (then (call $raise))) (call $none))
        (func (export "loop") (param i32) (local $turns i32)
          (if (local.get 0) (then (call $raise)))
          (loop $again (br_if $again (i32.lt_u
            (local.tee $turns (i32.add (local.get $turns) (i32.const 1))) (i32.const 10)))))
        (func (export "straight") (param i32) (result i32)
          (if (local.get 0) (then (call $raise))) (i32.load (i32.const 0))))"#;

/// Their names, and the number of their results.
const FUNCTIONS: [(&str, usize); 17] = [
    ("memory.grow", 1),
    ("memory.fill", 0),
    ("memory.copy", 0),
    ("memory.init", 0),
    ("table.grow", 1),
    ("table.fill", 0),
    ("table.copy", 0),
    ("table.init", 0),
    ("call", 0),
    ("end", 0),
    ("return", 0),
    ("br", 0),
    ("br_table", 0),
    ("elem.drop", 0),
    ("call of a leaf", 0),
    ("loop", 0),
    ("straight", 1),
];

#[test]
fn a_raised_flag_ends_functions_loops_and_long_instructions_and_a_lowered_one_changes_nothing() {
    let (compiled, mut store) = engine::compiled(EVERY_PLACE);
    let flag = Arc::new(Mutex::new(None::<StopFlag>));
    let raised = Arc::clone(&flag);
    let raise = Function::new_typed(&mut store, move || {
        if let Some(flag) = &*lock(&raised) {
            flag.raise();
        }
    });
    let mut imports = Imports::new();
    imports.define("", "raise", raise);
    for (name, results) in FUNCTIONS {
        let instance = Instance::new(&mut store, &compiled.module, &imports).expect("an instance");
        let function = instance.exports.get_function(name).expect(name).clone();
        let returned = function.call(&mut store, &[Value::I32(0)]).expect(name);
        assert_eq!(returned.len(), results);
        *lock(&flag) = StopFlag::of(&instance, &mut store);
        assert!(lock(&flag).is_some());
        let result = function.call(&mut store, &[Value::I32(1)]);
        let ends_by_itself = ["call of a leaf", "straight"].contains(&name);
        // Not `unreachable`, which would take locks on the guest's stack.
        let end = (!ends_by_itself).then_some(TrapCode::IntegerDivisionByZero);
        assert_eq!(trap(result), end, "{name}");
        // The flag stays raised. Without an argument, nothing else differs.
        let result = function.call(&mut store, &[Value::I32(0)]);
        assert_eq!(trap(result), end, "{name}");
        let own = instance.exports.get_global("own").expect("a global");
        assert_eq!(own.get(&mut store), Value::I32(5));
    }
}

/// How a call trapped, if it did.
fn trap<T>(result: Result<T, RuntimeError>) -> Option<TrapCode> {
    let error = result.err()?;
    Some(error.clone().to_trap().unwrap_or_else(|| panic!("{error}")))
}

/// Processor time of a thread.
fn processor_time<T>(thread: &JoinHandle<T>) -> Duration {
    // SAFETY: the thread has not been joined, so its id is valid. Both pointers are to locals.
    let time = unsafe {
        let mut clock = 0;
        let mut time = std::mem::zeroed::<libc::timespec>();
        libc::pthread_getcpuclockid(thread.as_pthread_t(), &raw mut clock);
        libc::clock_gettime(clock, &raw mut time);
        time
    };
    Duration::new(
        time.tv_sec.try_into().expect("a time"),
        time.tv_nsec.try_into().expect("nanoseconds"),
    )
}

#[test]
fn no_loop_goes_on_whatever_the_compiler_makes_of_it() {
    for body in [
        "(loop $l (br $l))",
        "(loop (loop $l (br $l)))",
        "(loop $outer (loop $inner (br_if $inner (i32.const 0))) (br $outer))",
        "(loop $l (br_if $l (i32.const 0))) (loop $l (br $l))",
        "(loop $l (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br $l))",
        "(loop $l (i32.store (i32.const 0) (i32.load (i32.const 4))) (br $l))",
        "(loop $l (global.set 0 (i32.const 0)) (br $l))",
        "(loop $l (global.set 0 (global.get 0)) (br $l))",
        "(loop $l (if (local.get 0) (then (br $l))) (br $l))",
        "(loop $l (br_table $l $l (local.get 0)))",
        "(loop $l (drop (memory.size)) (br $l))",
        "(loop $l (drop (global.get 0)) (br_if $l (i32.eqz (global.get 0))))",
        "(block $out (loop $l (br_if $out (global.get 0)) (br $l)))",
        "(i32.const 1) (loop $l (param i32) (br $l (i32.const 2)))",
        "(drop (i32.add (local.get 0) (loop $l (result i32) (br $l))))",
        "(drop (i64.div_s (i64.const 1) (loop $l (result i64) (br_if $l (i32.const 1)) (i64.const 1))))",
        "(loop $l (drop (i32.div_u (i32.const 5) (i32.add (local.get 0) (i32.const 1)))) (br $l))",
        "(loop $a (loop $b (loop $c (br_table $c $b $a (local.get 0)))))",
        "(loop $l (block (br_if 0 (local.get 0)) (br $l)) (unreachable))",
    ] {
        let text = format!(
            r#"(module (func $f (export "f") (param i32) {body})
              (memory 1) (global (mut i32) (i32.const 0)))"#
        );
        let (flags, flag) = crossbeam_channel::bounded(1);
        let (ended, end) = crossbeam_channel::bounded(1);
        let guest = std::thread::spawn(move || {
            let (instance, mut store) = engine::instance(&text);
            let function = instance.exports.get_function("f").expect("f");
            let flag = StopFlag::of(&instance, &mut store).expect("a flag");
            flags.send(flag).expect("somebody listens");
            let result = function.call(&mut store, &[Value::I32(0)]);
            // The receiver may have given up.
            let _ = ended.send(trap(result));
        });
        let limit = Duration::from_secs(30);
        let flag = flag.recv_timeout(limit).expect("it is made");
        // Only its loop takes this long.
        let begun = processor_time(&guest);
        let given_up = Instant::now() + limit;
        while processor_time(&guest) < begun + Duration::from_millis(5) {
            assert!(Instant::now() < given_up, "{body} does not run");
            std::thread::yield_now();
        }
        flag.raise();
        let stopped = end.recv_timeout(limit);
        let division = Some(TrapCode::IntegerDivisionByZero);
        assert_eq!(stopped, Ok(division), "{body}");
    }
}

#[test]
fn a_start_function_is_left_to_the_caller() {
    let text = r#"(module (global $g (export "g") (mut i32) (i32.const 0))
        (func $start (global.set $g (i32.const 1))) (start $start))"#;
    let (instance, mut store) = engine::instance(text);
    let global = instance.exports.get_global("g").expect("a global").clone();
    assert_eq!(global.get(&mut store), Value::I32(0));
    let start = instance.exports.get_function(START).expect("a function");
    start.call(&mut store, &[]).expect("it runs");
    assert_eq!(global.get(&mut store), Value::I32(1));
}

#[test]
fn an_export_that_has_the_name_of_the_start_function_is_not_taken_for_one() {
    let text = r#"(module (func (export "\00watm start function") unreachable))"#;
    let (instance, _store) = engine::instance(text);
    assert!(instance.exports.get_function(START).is_err());
}
