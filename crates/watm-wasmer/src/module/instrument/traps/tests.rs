use std::fmt::Write as _;

use wasmer::Function;

use super::*;
use crate::module::engine;

/// Everything that is checked, with a memory of 1 page and at most 3, and with tables of 10
/// functions and of 7 external references.
const ALL: &str = r#"(module
    (memory (export "memory") 1 3) (table $f (export "functions") 10 12 funcref)
    (table $x 7 8 externref)
    (data $d "abcde") (data $active (i32.const 100) "active")
    (elem $e func $one $one $one) (elem $nulls externref (ref.null extern) (ref.null extern))
    (elem $declared declare func $one) (elem (table $f) (i32.const 4) func $one)
    (func $one)
    (func (export "memory.grow") (drop (memory.grow (i32.const 1))))
    (func (export "table.grow") (drop (table.grow $f (ref.null func) (i32.const 1))))
    (func (export "data.drop") (data.drop $d) (data.drop $active))
    (func (export "elem.drop") (elem.drop $e) (elem.drop $nulls) (elem.drop $declared))
    (func (export "memory.copy") (param i32 i32 i32)
      (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "memory.fill") (param i32 i32 i32)
      (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "memory.init") (param i32 i32 i32)
      (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
    (func (export "memory.init active") (param i32 i32 i32)
      (memory.init $active (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.get") (param i32 i32 i32) (drop (table.get $f (local.get 0))))
    (func (export "table.set") (param i32 i32 i32)
      (table.set $f (local.get 0) (ref.func $one)))
    (func (export "table.fill") (param i32 i32 i32)
      (table.fill $f (local.get 0) (ref.null func) (local.get 2)))
    (func (export "table.copy") (param i32 i32 i32)
      (table.copy $f $f (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.init") (param i32 i32 i32)
      (table.init $f $e (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.get extern") (param i32 i32 i32) (drop (table.get $x (local.get 0))))
    (func (export "table.set extern") (param i32 i32 i32)
      (table.set $x (local.get 0) (ref.null extern)))
    (func (export "table.fill extern") (param i32 i32 i32)
      (table.fill $x (local.get 0) (ref.null extern) (local.get 2)))
    (func (export "table.init extern") (param i32 i32 i32)
      (table.init $x $nulls (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table.init declared") (param i32 i32 i32)
      (table.init $f $declared (local.get 0) (local.get 1) (local.get 2))))"#;

/// The effect of the instructions according to the specification.
struct Model {
    memory: Vec<u8>,
    /// Which elements are functions.
    functions: Vec<bool>,
    external: usize,
    data: &'static [u8],
    elements: usize,
    nulls: usize,
}

/// A range, if it lies within a length.
fn range(start: u32, count: u32, length: usize) -> Option<std::ops::Range<usize>> {
    let (start, count) = (start as usize, count as usize);
    (start + count <= length).then_some(start..start + count)
}

impl Model {
    /// The state of a new instance.
    fn new() -> Self {
        let mut model = Self {
            memory: vec![0; 65536],
            functions: vec![false; 10],
            external: 7,
            data: b"abcde",
            elements: 3,
            nulls: 2,
        };
        model.memory[100..106].copy_from_slice(b"active");
        model.functions[4] = true;
        model
    }

    /// Has the function of this name grow or drop something.
    fn change(&mut self, name: &str) {
        match name {
            "memory.grow" => self.memory.resize(131_072, 0),
            "table.grow" => self.functions.push(false),
            "data.drop" => self.data = b"",
            "elem.drop" => (self.elements, self.nulls) = (0, 0),
            _ => unreachable!("{name}"),
        }
    }

    /// Whether an instruction succeeds.
    fn run(&mut self, name: &str, a: u32, b: u32, c: u32) -> bool {
        self.try_run(name, a, b, c).is_some()
    }

    fn try_run(&mut self, name: &str, a: u32, b: u32, c: u32) -> Option<()> {
        let functions = self.functions.len();
        match name {
            "memory.copy" => {
                let from = range(b, c, self.memory.len())?;
                range(a, c, self.memory.len())?;
                self.memory.copy_within(from, a as usize);
            }
            "memory.fill" => {
                let to = range(a, c, self.memory.len())?;
                self.memory[to].fill(b.to_le_bytes()[0]);
            }
            "memory.init" | "memory.init active" => {
                let data = if name == "memory.init" {
                    self.data
                } else {
                    b""
                };
                let data = &data[range(b, c, data.len())?];
                let to = range(a, c, self.memory.len())?;
                self.memory[to].copy_from_slice(data);
            }
            "table.get" => {
                range(a, 1, functions)?;
            }
            "table.set" => self.functions[range(a, 1, functions)?].fill(true),
            "table.fill" => self.functions[range(a, c, functions)?].fill(false),
            "table.copy" => {
                let from = range(b, c, functions)?;
                range(a, c, functions)?;
                self.functions.copy_within(from, a as usize);
            }
            "table.init" => {
                range(b, c, self.elements)?;
                self.functions[range(a, c, functions)?].fill(true);
            }
            "table.get extern" | "table.set extern" => {
                range(a, 1, self.external)?;
            }
            "table.fill extern" => {
                range(a, c, self.external)?;
            }
            "table.init extern" => {
                range(b, c, self.nulls)?;
                range(a, c, self.external)?;
            }
            "table.init declared" => {
                range(b, c, 0)?;
                range(a, c, functions)?;
            }
            _ => unreachable!("{name}"),
        }
        Some(())
    }
}

/// An instance and its model.
struct Compared {
    instance: Instance,
    store: Store,
    model: Model,
    /// Number of calls that were refused.
    refused: u32,
}

impl Compared {
    fn new() -> Self {
        let (instance, store) = engine::instance(ALL);
        Self {
            instance,
            store,
            model: Model::new(),
            refused: 0,
        }
    }

    fn function(&self, name: &str) -> Function {
        self.instance
            .exports
            .get_function(name)
            .expect(name)
            .clone()
    }

    /// The names of the functions that take three arguments.
    fn instructions(&self) -> Vec<String> {
        let exported = self.instance.exports.iter().functions();
        exported
            .filter(|(_, function)| !function.ty(&self.store).params().is_empty())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Calls the function of this name, which grows or drops something.
    fn change(&mut self, name: &str) {
        self.model.change(name);
        let function = self.function(name);
        function.call(&mut self.store, &[]).expect(name);
    }

    /// Runs an instruction with these arguments, and compares its effect with the model.
    fn run(&mut self, name: &str, [a, b, c]: [u32; 3], what: &str) {
        let arguments = [a, b, c].map(|value| Value::I32(value.cast_signed()));
        let result = self.function(name).call(&mut self.store, &arguments);
        assert_eq!(result.is_ok(), self.model.run(name, a, b, c), "{what}");
        if let Err(error) = result {
            self.refused += 1;
            assert!(error.message().contains("divide"), "{what}: {error}");
            let message = if is_of_memory(name) {
                "out of bounds memory access"
            } else {
                "undefined element: out of bounds table access"
            };
            let cause = cause(&self.instance, &mut self.store);
            assert_eq!(cause, Some(message), "{what}");
        } else if is_of_memory(name) {
            self.compare_memory(what);
        } else {
            self.compare_functions(what);
        }
    }

    fn compare_memory(&self, what: &str) {
        let memory = self.instance.exports.get_memory("memory").expect("one");
        let view = memory.view(&self.store);
        assert_eq!(view.data_size(), self.model.memory.len() as u64);
        assert!(
            view.copy_to_vec().expect("it is there") == self.model.memory,
            "{what}"
        );
    }

    fn compare_functions(&mut self, what: &str) {
        let functions = self.instance.exports.get_table("functions").expect("one");
        for (index, is_function) in (0..).zip(&self.model.functions) {
            let element = functions.get(&mut self.store, index).expect(what);
            assert_eq!(
                matches!(element, Value::FuncRef(Some(_))),
                *is_function,
                "{what}"
            );
        }
    }
}

fn is_of_memory(instruction: &str) -> bool {
    instruction.starts_with("memory")
}

/// All triples of these values.
fn triples(values: &[u32]) -> impl Iterator<Item = [u32; 3]> {
    values.iter().flat_map(move |a| {
        values
            .iter()
            .flat_map(move |b| values.iter().map(move |c| [*a, *b, *c]))
    })
}

#[test]
fn instructions_do_and_refuse_what_the_specification_says() {
    let small = [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 1 << 31, u32::MAX];
    let large = [
        0,
        1,
        5,
        99,
        65530,
        65535,
        65536,
        65537,
        131_072,
        131_073,
        u32::MAX - 1,
        u32::MAX,
    ];
    let mut compared = Compared::new();
    for step in ["", "memory.grow", "table.grow", "data.drop", "elem.drop"] {
        if !step.is_empty() {
            compared.change(step);
        }
        for name in compared.instructions() {
            let values = if is_of_memory(&name) {
                &large[..]
            } else {
                &small
            };
            for arguments in triples(values) {
                let what = format!("{name} {arguments:?} after {step:?}");
                compared.run(&name, arguments, &what);
            }
        }
    }
    assert!(compared.refused > 1000);
}

/// A guest can trap with almost no stack left. If a trap needed more, the stack might overflow in
/// the engine's library while that holds locks. The tolerance only allows querying the size of
/// memory or of a table, which takes no locks.
#[test]
fn a_trap_needs_no_stack() {
    for instruction in [
        "(unreachable)",
        "(memory.copy (i32.const -1) (i32.const 0) (i32.const 1))",
        "(memory.copy (i32.const 0) (i32.const -1) (i32.const 1))",
        "(memory.fill (i32.const -1) (i32.const 0) (i32.const 1))",
        "(memory.init $d (i32.const 0) (i32.const 6) (i32.const 0))",
        "(memory.init $d (i32.const -1) (i32.const 0) (i32.const 1))",
        "(drop (table.get $f (i32.const -1)))",
        "(table.set $f (i32.const -1) (ref.null func))",
        "(table.set $x (i32.const -1) (ref.null extern))",
        "(table.fill $f (i32.const -1) (ref.null func) (i32.const 1))",
        "(table.copy $f $f (i32.const 0) (i32.const -1) (i32.const 1))",
        "(table.copy $f $f (i32.const -1) (i32.const 0) (i32.const 1))",
        "(table.init $f $e (i32.const -1) (i32.const 0) (i32.const 1))",
        "(table.init $f $e (i32.const 0) (i32.const -1) (i32.const 1))",
        "(i32.store (i32.const -1) (i32.const 0))",
        "(call_indirect $f (i32.const -1))",
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
        "(drop (i32.trunc_f32_s (f32.const nan)))",
    ] {
        let text = format!(
            r#"(module (memory 1) (table $f 10 funcref) (table $x 7 externref)
            (data $d "abcde") (elem $e func $run)
            (func $run (export "run") (param $depth i32) (param $ends i32)
              (if (local.get $depth)
                (then (call $run (i32.sub (local.get $depth) (i32.const 1)) (local.get $ends)))
                (else (if (local.get $ends) (then {instruction}))))))"#
        );
        let (instance, mut store) = engine::instance(&text);
        let run = instance.exports.get_function("run").expect("one").clone();
        let mut overflows = |depth: i32, ends: i32| match run
            .call(&mut store, &[Value::I32(depth), Value::I32(ends)])
        {
            Ok(_) => {
                assert_eq!(ends, 0, "{instruction}");
                false
            }
            Err(error) => {
                let overflows = error.message().contains("stack");
                assert!(overflows || ends == 1, "{instruction}: {error}");
                overflows
            }
        };
        let (mut least, mut most) = (0, 10_000_000);
        while most - least > 1 {
            let depth = i32::midpoint(least, most);
            *(if overflows(depth, 0) {
                &mut most
            } else {
                &mut least
            }) = depth;
        }
        // A frame takes at least 16 bytes.
        assert!(
            !overflows(least - 40, 1),
            "{instruction} at a depth of {least}"
        );
        assert!(overflows(most, 1), "{instruction}");
    }
}

/// A frame that extends beyond the guard page after the stack.
#[test]
fn a_recursion_of_large_frames_is_a_trap() {
    const VALUES: usize = 3000;
    let mut body = String::new();
    for value in 1..VALUES {
        let _ = write!(
            body,
            "(local.set {value} (i64.load offset={value} (i32.const 0)))"
        );
    }
    body.push_str("(local.set 0 (call $run (i64.sub (local.get 0) (i64.const 1))))");
    for value in 1..VALUES {
        let _ = write!(
            body,
            "(local.set 0 (i64.xor (local.get 0) (local.get {value})))"
        );
    }
    let locals = " i64".repeat(VALUES - 1);
    let text = format!(
        r#"(module (memory 1) (func $run (export "run") (param i64) (result i64) (local {locals})
        (if (i64.eqz (local.get 0)) (then (return (i64.const 0)))) {body} (local.get 0)))"#
    );
    let (instance, mut store) = engine::instance(&text);
    let run = instance.exports.get_function("run").expect("one").clone();
    let mut run = |depth: i64| run.call(&mut store, &[Value::I64(depth)]);
    run(20).expect("the stack suffices");
    // Its frames take more than a page.
    let error = run(1000).expect_err("the stack does not suffice");
    assert!(error.message().contains("stack"), "{error}");
    run(20).expect("nothing was harmed");
}

/// The engine treats a large table that cannot grow like one that can. The guest sees no
/// difference.
#[test]
fn a_table_without_room_to_grow_does_not_grow_however_large_it_is() {
    for size in [1, FIXED_LIMIT, FIXED_LIMIT + 1] {
        let (instance, mut store) = engine::instance(&format!(
            r#"(module
            (table $t {size} {size} funcref) (table $free 5 funcref) (elem (i32.const 0) $one)
            (memory (export "memory") 1)
            (func $one (result i32) (i32.const 1))
            (func (export "grow") (param i32) (result i32)
              (table.grow $t (ref.null func) (local.get 0)))
            (func (export "grow_free") (param i32) (result i32)
              (table.grow $free (ref.null func) (local.get 0)))
            (func (export "size") (param i32) (result i32) (table.size $t))
            (func (export "call") (param i32) (result i32)
              (call_indirect $t (result i32) (local.get 0))))"#
        ));
        let mut call = |name: &str, argument: i32| {
            let function = instance.exports.get_function(name).expect(name);
            match function.call(&mut store, &[Value::I32(argument)]) {
                Ok(results) => Ok(results[0].unwrap_i32()),
                Err(error) => Err(error.message()),
            }
        };
        let whole = i32::try_from(size).expect("a size");
        assert_eq!(call("grow", 1), Ok(-1));
        assert_eq!(call("grow", -1), Ok(-1));
        assert_eq!(call("grow", 0), Ok(whole));
        assert_eq!(call("size", 0), Ok(whole));
        assert_eq!(call("grow_free", 3), Ok(5));
        assert_eq!(call("grow_free", 0), Ok(8));
        assert_eq!(call("call", 0), Ok(1));
        assert!(call("call", whole).is_err());
    }
}
