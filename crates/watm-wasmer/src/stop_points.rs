//! Places in compiled code at which a guest ends by itself once it was told to stop.
//!
//! A signal stops a guest only while it runs its own code (see `signals`). Instructions that grow,
//! fill or copy memory and tables are carried out by the engine's library, which takes locks and
//! must not be unwound; a guest can spend nearly all its time there. So behind each of them
//! the compiled code looks at a flag: a global variable added to the module, out of reach of the
//! module's own code, which was validated without it.
//!
//! The start function is taken out of the module as well, for the instance to call, since the
//! flag can be found only once there is an instance.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use wasmer::sys::vm::VMExtern;
use wasmer::sys::wasmparser::{BlockType, Operator};
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::{
    AsStoreMut, ExportIndex, GlobalInit, GlobalType, Instance, LocalFunctionIndex, ModuleInfo,
    Mutability, Store, StoreObjects, Type,
};

/// Under which name the flag is exported. A module's own export of that name is hidden by it.
const FLAG: &str = "\0watm stop flag";
/// Under which name the start function is exported, if there is one.
pub(crate) const START: &str = "\0watm start function";

/// Adds the flag, and the looks at it, to one module while it is compiled.
#[derive(Debug, Default)]
pub(crate) struct StopPoints {
    /// The global's index, known before the first function is compiled.
    flag: OnceLock<u32>,
}

impl ModuleMiddleware for StopPoints {
    fn generate_function_middleware<'a>(
        &self,
        _function: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(InFunction {
            flag: self.flag.get().copied(),
        })
    }

    fn transform_module_info(&self, info: &mut ModuleInfo) -> Result<(), MiddlewareError> {
        let flag = info
            .globals
            .push(GlobalType::new(Type::I32, Mutability::Var));
        info.global_initializers.push(GlobalInit::I32Const(0));
        info.exports.insert(FLAG.into(), ExportIndex::Global(flag));
        // Whatever the module itself exports under that name is not its start function.
        info.exports.shift_remove(START);
        if let Some(start) = info.start_function.take() {
            info.exports
                .insert(START.into(), ExportIndex::Function(start));
        }
        self.flag.set(flag.as_u32()).map_err(|_| {
            MiddlewareError::new("stop points", "they were made for one module already")
        })
    }
}

#[derive(Debug)]
struct InFunction {
    flag: Option<u32>,
}

impl<'a> FunctionMiddleware<'a> for InFunction {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        let in_library = matches!(
            operator,
            Operator::MemoryGrow { .. }
                | Operator::MemoryFill { .. }
                | Operator::MemoryCopy { .. }
                | Operator::MemoryInit { .. }
                | Operator::DataDrop { .. }
                | Operator::TableGrow { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. }
                | Operator::TableInit { .. }
                | Operator::ElemDrop { .. }
                // Short ones; but a loop of nothing else would be in the library most of the time.
                | Operator::TableGet { .. }
                | Operator::TableSet { .. }
                | Operator::TableSize { .. }
                | Operator::RefFunc { .. }
        );
        state.push_operator(operator);
        if let (true, Some(global_index)) = (in_library, self.flag) {
            // What the instruction left on the stack lies below and stays.
            state.extend([
                Operator::GlobalGet { global_index },
                Operator::If {
                    blockty: BlockType::Empty,
                },
                Operator::Unreachable,
                Operator::End,
            ]);
        }
        Ok(())
    }
}

/// The flag of one instance. Must be gone before the store of the instance is.
pub(crate) struct StopFlag(*const AtomicI32);

// SAFETY: an atomic may be written from any thread.
unsafe impl Send for StopFlag {}

impl StopFlag {
    /// The flag of an instance; `None` if its module was compiled without one.
    pub(crate) fn of(instance: &Instance, store: &mut Store) -> Option<Self> {
        let flag = instance.exports.get_extern(FLAG)?.to_vm_extern();
        let VMExtern::Global(flag) = flag.unwrap_sys() else {
            return None;
        };
        let objects = match store.objects_mut() {
            StoreObjects::Sys(objects) => objects,
            #[allow(unreachable_patterns)] // features of the engine decide
            _ => return None,
        };
        // Its value is a union, 16 bytes and as aligned, that compiled code reads as an i32.
        Some(Self(flag.get(objects).vmglobal().as_ptr().cast()))
    }

    /// Makes the guest end at its next stop point.
    pub(crate) fn raise(&self) {
        // SAFETY: the value lives as long as the store, which outlives this; it is aligned, and
        // only compiled code, which is no party to Rust's memory model, accesses it otherwise.
        unsafe { (*self.0).store(1, Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;
    use wasmer::{Imports, Value};

    fn instance(store: &mut Store, text: &str) -> Instance {
        let module = wat::parse_str(text).expect("a module");
        let artifact = engine::compile(&module, engine::COMPILE_TIMEOUT).expect("an artifact");
        // SAFETY: it was just compiled.
        let module = unsafe { engine::load(artifact) }.expect("a module");
        Instance::new(store, &module, &Imports::new()).expect("an instance")
    }

    #[test]
    fn a_raised_flag_ends_a_function_behind_each_such_instruction_and_a_lowered_one_changes_nothing()
     {
        let text = r#"(module
            (memory (export "memory") 1) (table $t 10 20 funcref) (data $d "abc") (elem $e func $none)
            (global (export "own") (mut i32) (i32.const 5))
            (func $none)
            (func (export "memory.grow") (result i32) (memory.grow (i32.const 1)))
            (func (export "memory.fill") (memory.fill (i32.const 0) (i32.const 1) (i32.const 9)))
            (func (export "memory.copy") (memory.copy (i32.const 0) (i32.const 1) (i32.const 9)))
            (func (export "memory.init") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3)))
            (func (export "table.grow") (result i32) (table.grow $t (ref.null func) (i32.const 1)))
            (func (export "table.fill") (table.fill $t (i32.const 0) (ref.null func) (i32.const 2)))
            (func (export "table.copy") (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 2)))
            (func (export "table.init") (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)))
            (func (export "data.drop") (data.drop $d))
            (func (export "elem.drop") (elem.drop $e))
            (func (export "table.get") (drop (table.get $t (i32.const 0))))
            (func (export "table.set") (table.set $t (i32.const 0) (ref.null func)))
            (func (export "table.size") (drop (table.size $t)))
            (func (export "ref.func") (drop (ref.func $none)))
            (func (export "other") (result i32) (i32.load (i32.const 0))))"#;
        let mut store = engine::store(1 << 20);
        let instance = instance(&mut store, text);
        let functions: Vec<_> = instance
            .exports
            .iter()
            .functions()
            .map(|(name, function)| (name.clone(), function.clone()))
            .collect();
        assert_eq!(functions.len(), 15);
        for (name, function) in &functions {
            let results = function.call(&mut store, &[]).expect(name);
            if name.ends_with("grow") {
                assert!(matches!(results[..], [Value::I32(1 | 10)]), "{results:?}");
            }
        }
        let own = instance.exports.get_global("own").expect("a global");
        assert_eq!(own.get(&mut store), Value::I32(5));

        StopFlag::of(&instance, &mut store).expect("a flag").raise();
        for (name, function) in &functions {
            let result = function.call(&mut store, &[]);
            assert_eq!(result.is_ok(), name == "other", "{name}: {result:?}");
        }
        assert_eq!(own.get(&mut store), Value::I32(5));
    }

    #[test]
    fn a_start_function_is_left_to_the_caller() {
        let text = r#"(module (global $g (export "g") (mut i32) (i32.const 0))
            (func $start (global.set $g (i32.const 1))) (start $start))"#;
        let mut store = engine::store(1 << 20);
        let instance = instance(&mut store, text);
        let global = instance.exports.get_global("g").expect("a global").clone();
        assert_eq!(global.get(&mut store), Value::I32(0));
        let start = instance.exports.get_function(START).expect("a function");
        start.call(&mut store, &[]).expect("it runs");
        assert_eq!(global.get(&mut store), Value::I32(1));
    }

    #[test]
    fn an_export_that_has_the_name_of_the_start_function_is_not_taken_for_one() {
        let text = r#"(module (func (export "\00watm start function") unreachable))"#;
        let mut store = engine::store(1 << 20);
        let instance = instance(&mut store, text);
        assert!(instance.exports.get_function(START).is_err());
    }
}
