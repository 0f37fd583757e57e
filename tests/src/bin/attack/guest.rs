//! Guests in the text format that do one thing in one place.

use std::fmt::Write as _;

use watm_abi::{Signature, ValType};

/// A guest with all roles but `watm_dial_v1`. Its functions do nothing unless a field says
/// otherwise.
pub(crate) struct Guest {
    /// Imports, in the text format.
    pub(crate) imports: String,
    /// Pages of memory.
    pub(crate) pages: u32,
    /// Other declarations: functions, tables, data.
    pub(crate) declares: String,
    /// Instructions of `watm_init_v1`, which then returns 0.
    pub(crate) init: String,
    /// Instructions of `watm_dial_fixed_v1`, which leave a number: -1 for a failed dial.
    pub(crate) dial: String,
    /// Instructions of `watm_start_v1`, which then returns 0. `$net` and `$internal` are its
    /// connections, `$i` is a local variable.
    pub(crate) start: String,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            imports: String::new(),
            pages: 1,
            declares: String::new(),
            init: String::new(),
            dial: "(i32.const -1)".into(),
            start: String::new(),
        }
    }
}

impl Guest {
    /// Its text.
    pub(crate) fn text(&self) -> String {
        let Self {
            imports,
            pages,
            declares,
            init,
            dial,
            start,
        } = self;
        format!(
            r#"(module
  (import "env" "water_accept" (func $accept (result i32)))
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  {imports}
  (memory (export "memory") {pages})
  (global $net (mut i32) (i32.const -1))
  (global $internal (mut i32) (i32.const -1))
  {declares}
  (func (export "watm_init_v1") (result i32) (local $i i32) {init} (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_fixed_v1") (param $fd i32) (result i32)
    (global.set $internal (local.get $fd))
    {dial})
  (func (export "watm_accept_v1") (param $fd i32) (result i32)
    (global.set $internal (local.get $fd))
    (global.set $net (call $accept))
    (global.get $net))
  (func (export "watm_associate_v1") (result i32)
    (global.set $net (call $accept))
    (i32.const 0))
  (func (export "watm_start_v1") (result i32) (local $i i32) {start} (i32.const 0)))
"#
        )
    }
}

/// The import of a function of the interface, by the name `$NAME`.
///
/// # Panics
///
/// Panics if there is no such function, which is a mistake of the caller.
pub(crate) fn import(name: &str) -> String {
    import_as(name, name)
}

/// The same under another name.
pub(crate) fn import_as(name: &str, alias: &str) -> String {
    let found = watm_abi::imports().find(|(_, known, _)| *known == name);
    let (module, name, signature) = found.unwrap_or_else(|| panic!("no function {name}"));
    let types = types(&signature);
    format!("(import \"{module}\" \"{name}\" (func ${alias} {types}))\n")
}

/// The parameters and results of a function.
fn types(signature: &Signature) -> String {
    let mut text = String::new();
    for (word, types) in [("param", &signature.params), ("result", &signature.results)] {
        for ty in types.iter() {
            // Writing to a string cannot fail.
            let _ = write!(text, "({word} {})", ty.name());
        }
    }
    text
}

/// A call of a function that passes the same number for each parameter and drops the result.
pub(crate) fn call_with(name: &str, alias: &str, value: i64) -> String {
    let found = watm_abi::imports().find(|(_, known, _)| *known == name);
    let Some((_, _, signature)) = found else {
        return String::new();
    };
    let values: String = signature
        .params
        .iter()
        .map(|ty| match ty {
            ValType::I64 => format!("(i64.const {value})"),
            _ => format!("(i32.const {value})"),
        })
        .collect();
    if signature.results.is_empty() {
        format!("(call ${alias} {values})")
    } else {
        format!("(drop (call ${alias} {values}))")
    }
}

/// Writes `count` buffers of `length` bytes, all of them at `address`, as an array at `array`.
/// Needs the local variable `$i`.
pub(crate) fn buffers(array: u32, count: u32, address: u32, length: u32) -> String {
    format!(
        "(local.set $i (i32.const 0))
        (loop $next
          (i32.store (i32.add (i32.const {array}) (i32.mul (local.get $i) (i32.const 8)))
            (i32.const {address}))
          (i32.store (i32.add (i32.const {array}) (i32.add (i32.const 4)
              (i32.mul (local.get $i) (i32.const 8))))
            (i32.const {length}))
          (br_if $next (i32.lt_u
            (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {count}))))"
    )
}

/// Repeats these instructions for ever.
pub(crate) fn for_ever(body: &str) -> String {
    format!("(loop $for_ever {body} (br $for_ever))")
}

/// Sets all of memory from the second page on to the byte `value`.
pub(crate) fn filled(pages: u32, value: u8) -> String {
    let length = (pages - 1) * 65536;
    format!("(memory.fill (i32.const 65536) (i32.const {value}) (i32.const {length}))")
}
