//! The engines that hold modules, how modules are compiled for them, and the tunables that bound
//! what an instance may use.
//!
//! An engine keeps the code of all its modules for as long as it lives. So each module has its own
//! engine, which is dropped with it.

use std::error::Error;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use wasmer::sys::vm::{
    MemoryError, MemoryStyle, TableStyle, VMConfig, VMMemory, VMMemoryDefinition, VMTable,
    VMTableDefinition,
};
use wasmer::sys::{
    BaseTunables, CompilerConfig, Cranelift, EngineBuilder, Features, NativeEngineExt, Tunables,
};
use wasmer::{CompileError, DeserializeError, Engine, MemoryType, Module, Pages, Store, TableType};
use wasmparser::WasmFeatures;
use watm_abi::Excerpt;

use crate::error::LoadError;
use crate::module::instrument::deadline::CompileLimit;
use crate::module::instrument::stop_points::StopPoints;
use crate::module::instrument::traps::Traps;

/// Bytes of a WebAssembly page.
pub(crate) const PAGE: u64 = 65536;
/// Maximum number of pages of a 32-bit memory.
const MOST_PAGES: u32 = 65536;
/// Maximum number of elements of a table.
pub(crate) const TABLE_LIMIT: u32 = 1 << 20;
/// Maximum number of functions that are compiled at the same time, which bounds the memory in use.
const COMPILE_THREADS: NonZero<usize> = NonZero::new(4).expect("it is not zero");
/// How long compiling a module may take, unless the loader says otherwise.
pub(crate) const COMPILE_TIMEOUT: Duration = Duration::from_secs(60);

/// An engine without modules, for questions that any engine answers.
pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| new_engine(Cranelift::default()))
}

fn new_engine(compiler: Cranelift) -> Engine {
    let mut features = Features::default();
    // A transport is one thread. With shared memory, another could change what the host reads.
    // There is one memory and there are few tables, so that the limits of each bound the whole.
    features.threads(false).memory64(false).multi_memory(false);
    features.relaxed_simd(true);
    EngineBuilder::new(compiler)
        .set_features(Some(features))
        .engine()
        .into()
}

/// The proposals that [`new_engine`] enables, in the terms of the validator that looks at a module
/// first: those of WebAssembly 2.0, constant expressions that compute, relaxed SIMD, and overlong
/// indices.
///
/// These parts of WebAssembly 3.0 are disabled: tail calls and garbage collection, which the
/// compiler lacks, and exceptions. The engine keeps each exception that was thrown, with a
/// backtrace, for as long as the instance lives, so a loop that throws and catches would use up the
/// memory of the host.
pub(crate) fn proposals() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::BULK_MEMORY_OPT
        | WasmFeatures::CALL_INDIRECT_OVERLONG
}

/// Compiles a module to an artifact for [`Compiled::load`], within `timeout` of `begun`. Each has a
/// compiler of its own, since traps and stop points are made for one module.
///
/// # Errors
///
/// [`LoadError::Malformed`], [`LoadError::CompileTimeout`] and [`LoadError::Compile`].
pub(crate) fn compile(
    wasm: &[u8],
    begun: Instant,
    timeout: Duration,
) -> Result<Vec<u8>, LoadError> {
    compile_with(Cranelift::default(), wasm, begun, timeout)
}

fn compile_with(
    mut compiler: Cranelift,
    wasm: &[u8],
    begun: Instant,
    timeout: Duration,
) -> Result<Vec<u8>, LoadError> {
    let failed = |error: &dyn Error| LoadError::Compile(Excerpt(&error.to_string()).to_string());
    let limit = begun
        .checked_add(timeout)
        .map(|deadline| Arc::new(CompileLimit::until(deadline)));
    let threads = compiler.num_threads.min(COMPILE_THREADS);
    compiler.num_threads(threads);
    if let Some(limit) = &limit {
        compiler.push_middleware(Arc::clone(limit) as _);
    }
    // Before the stop points, which belong behind what the traps put in place of an instruction.
    compiler.push_middleware(Arc::new(Traps::default()));
    compiler.push_middleware(Arc::new(StopPoints::of(wasm)?));
    // The compiler should never panic. If it does, this module is not loaded.
    let module = catch_unwind(AssertUnwindSafe(|| {
        Module::new(&new_engine(compiler), wasm)
    }))
    .map_err(|_| LoadError::Compile("the compiler panicked".into()))?
    .map_err(|error| match error {
        CompileError::Validate(message) => LoadError::malformed(message),
        error => failed(&error),
    })?;
    if limit.is_some_and(|limit| limit.has_expired()) {
        return Err(LoadError::CompileTimeout { limit: timeout });
    }
    module
        .serialize()
        .map(Into::into)
        .map_err(|error| failed(&error))
}

/// A module that is ready to be instantiated, with the engine that holds its code.
pub(crate) struct Compiled {
    pub(crate) module: Module,
    engine: Engine,
}

impl Compiled {
    /// Loads a module from its artifact.
    ///
    /// # Safety
    ///
    /// [`compile`] of this version made the artifact for this machine, and it is unchanged.
    pub(crate) unsafe fn load(artifact: Vec<u8>) -> Result<Self, DeserializeError> {
        let engine = new_engine(Cranelift::default());
        // SAFETY: the caller promises that the engine made this artifact.
        let module = unsafe { Module::deserialize(&engine, artifact) }?;
        Ok(Self { module, engine })
    }

    /// A store for an instance, with no more than `memory_limit` bytes of memory; and what tells
    /// whether the system had an address for that memory.
    pub(crate) fn store(&self, memory_limit: u64) -> (Store, Unmapped) {
        let mut engine = self.engine.clone();
        let pages = in_pages(memory_limit);
        let unmapped = Unmapped::default();
        engine.set_tunables(Limits {
            base: BaseTunables::new(),
            pages,
            unmapped: unmapped.clone(),
        });
        (Store::new(engine), unmapped)
    }
}

/// The number of whole pages in so many bytes, as far as a memory can have them.
pub(crate) fn in_pages(bytes: u64) -> Pages {
    Pages(u32::try_from(bytes / PAGE).map_or(MOST_PAGES, |pages| pages.min(MOST_PAGES)))
}

/// The module that was just compiled to `artifact`.
pub(crate) fn load_compiled(artifact: Vec<u8>) -> Result<Compiled, LoadError> {
    // SAFETY: the caller got the artifact from `compile` a moment ago, and nobody else has changed
    // it.
    unsafe { Compiled::load(artifact) }.map_err(|error| LoadError::Compile(error.to_string()))
}

/// Whether the system refused to map the memory of an instance. The engine's own error says so in
/// a text alone.
#[derive(Clone, Default)]
pub(crate) struct Unmapped(Arc<AtomicBool>);

impl Unmapped {
    pub(crate) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn note<T>(&self, result: Result<T, MemoryError>) -> Result<T, MemoryError> {
        if matches!(result, Err(MemoryError::Region(_))) {
            self.0.store(true, Ordering::Relaxed);
        }
        result
    }
}

struct Limits {
    base: BaseTunables,
    pages: Pages,
    unmapped: Unmapped,
}

impl Limits {
    /// The memory type with its maximum lowered to the limit.
    fn memory(&self, ty: &MemoryType) -> Result<MemoryType, MemoryError> {
        if ty.minimum > self.pages {
            return Err(MemoryError::Generic(format!(
                "the module needs {} bytes of memory from the start, more than the limit of {}",
                u64::from(ty.minimum.0) * PAGE,
                u64::from(self.pages.0) * PAGE
            )));
        }
        let maximum = ty.maximum.unwrap_or(self.pages).min(self.pages);
        Ok(MemoryType {
            maximum: Some(maximum),
            ..*ty
        })
    }

    fn table(ty: &TableType) -> Result<TableType, String> {
        if ty.minimum > TABLE_LIMIT {
            return Err(format!(
                "the module needs a table of {} elements, more than {TABLE_LIMIT}",
                ty.minimum
            ));
        }
        let mut ty = *ty;
        ty.maximum = Some(ty.maximum.unwrap_or(TABLE_LIMIT).min(TABLE_LIMIT));
        Ok(ty)
    }
}

impl Tunables for Limits {
    fn memory_style(&self, memory: &MemoryType) -> MemoryStyle {
        self.base.memory_style(memory)
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.base.table_style(table)
    }

    fn create_host_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
    ) -> Result<VMMemory, MemoryError> {
        let made = self.base.create_host_memory(&self.memory(ty)?, style);
        self.unmapped.note(made)
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
        vm_definition_location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        let ty = self.memory(ty)?;
        // SAFETY: the engine passes a valid location, and this function passes it on.
        let made = unsafe {
            self.base
                .create_vm_memory(&ty, style, vm_definition_location)
        };
        self.unmapped.note(made)
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        self.base.create_host_table(&Self::table(ty)?, style)
    }

    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        vm_definition_location: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        let ty = Self::table(ty)?;
        // SAFETY: the engine passes a valid location, and this function passes it on.
        unsafe {
            self.base
                .create_vm_table(&ty, style, vm_definition_location)
        }
    }

    fn vmconfig(&self) -> &VMConfig {
        self.base.vmconfig()
    }
}

/// A module in the text format, and a store for it.
#[cfg(test)]
pub(crate) fn compiled(text: &str) -> (Compiled, Store) {
    let module = wat::parse_str(text).expect("a module");
    let artifact = compile(&module, Instant::now(), COMPILE_TIMEOUT).expect("an artifact");
    // SAFETY: `compile` has just made this artifact.
    let compiled = unsafe { Compiled::load(artifact) }.expect("a module");
    let (store, _) = compiled.store(1 << 20);
    (compiled, store)
}

/// An instance of a module in the text format that imports nothing.
#[cfg(test)]
pub(crate) fn instance(text: &str) -> (wasmer::Instance, Store) {
    let (compiled, mut store) = compiled(text);
    let instance = wasmer::Instance::new(&mut store, &compiled.module, &wasmer::Imports::new());
    (instance.expect("an instance"), store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmer::LocalFunctionIndex;
    use wasmer::sys::{FunctionMiddleware, ModuleMiddleware};

    #[derive(Debug)]
    struct Panics;

    impl ModuleMiddleware for Panics {
        fn generate_function_middleware<'a>(
            &self,
            _: LocalFunctionIndex,
        ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
            panic!("a mistake of the compiler")
        }
    }

    #[test]
    fn a_panic_of_the_compiler_is_an_error() {
        let wasm = wat::parse_str("(module (func))").expect("a module");
        let mut compiler = Cranelift::default();
        compiler.push_middleware(Arc::new(Panics));
        let error =
            compile_with(compiler, &wasm, Instant::now(), COMPILE_TIMEOUT).expect_err("it panics");
        assert!(matches!(error, LoadError::Compile(_)), "{error:?}");
    }
}
