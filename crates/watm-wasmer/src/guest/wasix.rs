//! Arguments, environment and clock resolutions from `wasmer-wasix` instead of our own. This is the
//! feature `wasix`, for programs that use `wasmer-wasix` anyway. No descriptor reaches it.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Runtime;
use virtual_fs::{MountFileSystem, NullFile};
use wasmer::{AsStoreMut, Extern, Function, FunctionEnv, FunctionEnvMut, Imports, Store, Value};
use wasmer_wasix::runtime::task_manager::tokio::TokioTaskManager;
use wasmer_wasix::{PluggableRuntime, WasiEnvBuilder, WasiFunctionEnv};
use watm_abi::Errno;
use watm_abi::names::WASI_MODULE;

use crate::guest::call::{Env, Unwind, unwind};
use crate::guest::settings::Settings;
use crate::module::engine::engine;

/// Replaces our functions in `imports` with those of `wasmer-wasix`, if the module imports any of
/// them. The returned environment must be initialised with the instance.
pub(crate) fn define(
    imports: &mut Imports,
    settings: &Settings,
    store: &mut Store,
    env: &FunctionEnv<Env>,
) -> Result<Option<WasiFunctionEnv>, String> {
    let imported: Vec<&str> = settings
        .module
        .imported()
        .iter()
        .filter(|(module, name)| *module == WASI_MODULE && !pointers(name).is_empty())
        .map(|(_, name)| *name)
        .collect();
    if imported.is_empty() {
        return Ok(None);
    }
    let surroundings = environment(store, settings)?;
    let theirs = surroundings
        .import_object(store, &settings.module.compiled().module)
        .map_err(|error| error.to_string())?;
    // A module may import a function more than once. Each function is guarded only once.
    for name in imported {
        if let Some(Extern::Function(function)) = theirs.get_export(WASI_MODULE, name) {
            imports.define(WASI_MODULE, name, guard(function, name, store, env));
        }
    }
    Ok(Some(surroundings))
}

/// Wraps a function of `wasmer-wasix` in a guard. The guard rejects arguments that the function
/// cannot handle, and stops the guest there if it should stop.
fn guard(
    function: Function,
    name: &str,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) -> Function {
    let pointers = pointers(name);
    let ty = function.ty(store);
    Function::new_with_env(
        store,
        env,
        ty,
        move |mut ctx: FunctionEnvMut<'_, Env>, params: &[Value]| {
            if ctx.data().host.check_stop().is_err() {
                return Err(unwind(Unwind::Stop));
            }
            let is_aligned = |(at, alignment): &(usize, u32)| match params.get(*at) {
                Some(Value::I32(address)) => address.cast_unsigned() % alignment == 0,
                _ => true,
            };
            let refusal = if ctx.data().memory.is_none() {
                // Nothing runs before there is a memory.
                Some(Errno::Nosys)
            } else if !pointers.iter().all(is_aligned) {
                Some(Errno::Inval)
            } else {
                None
            };
            if let Some(errno) = refusal {
                return Ok(vec![Value::I32(i32::from(errno.raw()))]);
            }
            ctx.data_mut().host.enter();
            let answer = function.call(&mut ctx, params).map(Vec::from);
            ctx.data_mut().host.leave();
            answer.map(preview1)
        },
    )
}

/// Converts an answer of `wasmer-wasix` to the error numbers of Preview 1. `wasmer-wasix` has some
/// numbers of its own that guests do not know.
fn preview1(mut answer: Vec<Value>) -> Vec<Value> {
    /// The number that `wasmer-wasix` uses for an address outside of memory.
    const MEMORY_VIOLATION: i32 = 78;
    for value in &mut answer {
        if let Value::I32(number) = value
            && u16::try_from(*number).is_ok_and(|number| Errno::from_raw(number).is_none())
        {
            let errno = if *number == MEMORY_VIOLATION {
                Errno::Fault
            } else {
                Errno::Io
            };
            *number = i32::from(errno.raw());
        }
    }
    answer
}

/// What all instances share: one small tokio runtime, which `wasmer-wasix` requires.
struct Shared {
    tokio: Runtime,
    runtime: Arc<PluggableRuntime>,
}

fn shared() -> Result<&'static Shared, String> {
    static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
    SHARED
        .get_or_init(|| {
            let tokio = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(4)
                .thread_name("watm-wasi")
                .thread_stack_size(512 * 1024)
                .on_thread_start(crate::threads::block_signals)
                .enable_time()
                .build()
                .map_err(|error| error.to_string())?;
            let mut runtime =
                PluggableRuntime::new(Arc::new(TokioTaskManager::new(tokio.handle().clone())));
            runtime.set_engine(engine().clone());
            Ok(Shared {
                tokio,
                runtime: Arc::new(runtime),
            })
        })
        .as_ref()
        .map_err(Clone::clone)
}

/// Creates the environment of one instance.
fn environment(store: &mut Store, settings: &Settings) -> Result<WasiFunctionEnv, String> {
    let shared = shared()?;
    let _entered = shared.tokio.enter();
    let mut builder = WasiEnvBuilder::new(settings.module.name());
    builder.add_args(&settings.args);
    builder.add_envs(settings.envs.iter().map(|(name, value)| (name, value)));
    // Files are served by our own code.
    builder.set_mount_fs(MountFileSystem::new());
    // The standard streams are served by our own code. The ones underneath must not be those of the
    // host: a guest could reach them after it closes ours.
    builder.set_stdin(Box::new(NullFile::default()));
    builder.set_stdout(Box::new(NullFile::default()));
    builder.set_stderr(Box::new(NullFile::default()));
    let runtime: Arc<dyn wasmer_wasix::Runtime + Send + Sync> = shared.runtime.clone();
    builder
        .runtime(runtime)
        .finalize(store)
        .map_err(|error| error.to_string())
}

/// The pointer parameters of the functions that are left to `wasmer-wasix`: each with its position
/// and the alignment of the values that it points to. Empty for a function of ours. `wasmer-wasix`
/// dereferences these pointers unchecked, so an unaligned address must never reach it.
fn pointers(function: &str) -> &'static [(usize, u32)] {
    match function {
        "args_get" | "environ_get" => &[(0, 4)],
        "args_sizes_get" | "environ_sizes_get" => &[(0, 4), (1, 4)],
        "clock_res_get" => &[(1, 8)],
        _ => &[],
    }
}
