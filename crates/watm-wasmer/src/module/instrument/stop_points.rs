//! Places in compiled code at which a guest ends by itself after it was told to stop.
//!
//! The compiled code checks a flag in each iteration of a loop, at the start of those functions
//! that [`placement`](super::placement) names and at their end, and after each instruction that
//! keeps the engine's library busy for long. The flag is a global variable that is added to the
//! module. The module's own code cannot access it, because that code was validated without it.
//!
//! The compiler does not know that another thread raises the flag. Left alone, it would check the
//! flag once before a loop. So each check is preceded by a write to a second global. The compiler
//! does not tell globals apart, so it reads the flag again after each write.
//!
//! The engine offers to interrupt guests with signals. This is not used, because the interrupted
//! code may hold locks and must not be unwound. Also, the engine locks its registry of guests on
//! the guest's stack. A guest that overflows its stack at that point leaves the lock taken for all
//! others.
//!
//! The guest ends with a division by 0, as in [`traps`](super::traps). In loops, `unreachable`
//! follows. It is never reached, but tells the compiler that nothing comes after the division. So
//! the compiler puts the division behind the rest of the function, and need not keep the registers
//! of the division free. What is left of a stop point is a write, a read and a branch that is not
//! taken. `unreachable` makes a stop point take more memory to compile, so long instructions go
//! without. So do the starts and the ends of functions: with it there, the compiler keeps less of a
//! long function in registers. A module that encrypts with ChaCha20 took 13 % more processor time.
//!
//! The start function is also taken out of the module. The instance calls it instead, because the
//! flag cannot be found before there is an instance.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use wasmer::sys::vm::VMExtern;
use wasmer::sys::wasmparser::{BlockType, Operator};
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::{
    AsStoreMut, ExportIndex, GlobalInit, GlobalType, Instance, LocalFunctionIndex, ModuleInfo,
    Mutability, Store, StoreObjects, Type,
};

use crate::error::LoadError;
use crate::module::instrument::placement;
use crate::module::instrument::traps::TRAP;

/// The name under which the flag is exported. It hides an export of the same name that the module
/// has.
const FLAG: &str = "\0watm stop flag";
/// The name under which the start function is exported, if there is one.
pub(crate) const START: &str = "\0watm start function";

/// Adds the flag, and the checks of it, to one module while it is compiled.
#[derive(Debug)]
pub(crate) struct StopPoints {
    /// The globals, known before the first function is compiled.
    globals: OnceLock<Globals>,
    /// Whether a function has stop points at its start and at its end.
    bounded: Vec<bool>,
}

impl StopPoints {
    /// The stop points of a module.
    ///
    /// # Errors
    ///
    /// [`LoadError::Malformed`] if it is not valid.
    pub(crate) fn of(wasm: &[u8]) -> Result<Self, LoadError> {
        Ok(Self {
            globals: OnceLock::new(),
            bounded: placement::bounded(wasm).map_err(LoadError::malformed)?,
        })
    }
}

/// The indices of the added globals.
#[derive(Clone, Copy, Debug)]
struct Globals {
    flag: u32,
    /// The global that is written before each check of the flag.
    written: u32,
}

impl ModuleMiddleware for StopPoints {
    fn generate_function_middleware<'a>(
        &self,
        function: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(InFunction {
            globals: self.globals.get().copied(),
            begun: false,
            is_bounded: self.bounded.get(function.as_u32() as usize) != Some(&false),
            depth: 0,
        })
    }

    fn transform_module_info(&self, info: &mut ModuleInfo) -> Result<(), MiddlewareError> {
        let mut add_global = || {
            info.global_initializers.push(GlobalInit::I32Const(0));
            info.globals
                .push(GlobalType::new(Type::I32, Mutability::Var))
        };
        let (flag, written) = (add_global(), add_global());
        info.exports.insert(FLAG.into(), ExportIndex::Global(flag));
        // Whatever the module itself exports under that name is not its start function.
        info.exports.shift_remove(START);
        if let Some(start) = info.start_function.take() {
            info.exports
                .insert(START.into(), ExportIndex::Function(start));
        }
        let globals = Globals {
            flag: flag.as_u32(),
            written: written.as_u32(),
        };
        self.globals.set(globals).map_err(|_| {
            MiddlewareError::new("stop points", "they were made for one module already")
        })
    }
}

#[derive(Debug)]
struct InFunction {
    globals: Option<Globals>,
    begun: bool,
    /// Whether it has stop points at its start and at its end.
    is_bounded: bool,
    /// Number of blocks that are open.
    depth: u32,
}

/// Whether a guest could go on without end between this instruction and the next stop point, or the
/// instruction itself takes long.
fn wants_stop_point(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Loop { .. }
            | Operator::MemoryGrow { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::DataDrop { .. }
    )
}

impl InFunction {
    /// Whether the function may end with this instruction.
    fn may_leave(&self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::Return => true,
            Operator::End => self.depth == 0,
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                *relative_depth == self.depth
            }
            Operator::BrTable { targets } => {
                targets.default() == self.depth
                    // The validator has read them.
                    || targets.targets().flatten().any(|target| target == self.depth)
            }
            _ => false,
        }
    }

    /// Adds a stop point, with `unreachable` if it is `in_loop`.
    fn add_stop_point(&self, in_loop: bool, state: &mut MiddlewareReaderState<'_>) {
        // The operands on the stack lie below and stay there.
        if let Some(Globals { flag, written }) = self.globals {
            state.extend([
                Operator::I32Const { value: 0 },
                Operator::GlobalSet {
                    global_index: written,
                },
                Operator::GlobalGet { global_index: flag },
                Operator::If {
                    blockty: BlockType::Empty,
                },
            ]);
            state.extend(TRAP);
            if in_loop {
                state.push_operator(Operator::Unreachable);
            }
            state.push_operator(Operator::End);
        }
    }
}

impl<'a> FunctionMiddleware<'a> for InFunction {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        let begins = !std::mem::replace(&mut self.begun, true);
        if self.is_bounded && (begins || self.may_leave(&operator)) {
            self.add_stop_point(false, state);
        }
        self.depth = match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => self.depth + 1,
            // The last one ends the function.
            Operator::End => self.depth.saturating_sub(1),
            _ => self.depth,
        };
        let wants = wants_stop_point(&operator);
        let is_loop = matches!(operator, Operator::Loop { .. });
        state.push_operator(operator);
        if wants {
            self.add_stop_point(is_loop, state);
        }
        Ok(())
    }
}

/// The flag of one instance. It must be dropped before the store of the instance.
pub(crate) struct StopFlag(*const AtomicI32);

// SAFETY: the flag is atomic, so any thread may write it.
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
        // The value is a union of 16 bytes with an alignment of 16. Compiled code reads it as an
        // i32.
        Some(Self(flag.get(objects).vmglobal().as_ptr().cast()))
    }

    /// Ends the guest at its next stop point.
    pub(crate) fn raise(&self) {
        // SAFETY: the value lives as long as the store, and the instance drops this flag before its
        // store. The value is aligned. Only compiled code accesses it otherwise, and that is not
        // subject to the memory model of Rust.
        unsafe { (*self.0).store(1, Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests;
