//! Arguments, environment and clock resolutions from `wasmer-wasix`, in place of our own: the
//! feature `wasix`, for programs that have it anyway. No descriptor reaches it.

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

/// Puts its functions over ours in `imports`, if the module imports any of them. What is returned
/// must be initialised with the instance.
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
    // A module may import a function many times; each is guarded once.
    for name in imported {
        if let Some(Extern::Function(function)) = theirs.get_export(WASI_MODULE, name) {
            imports.define(WASI_MODULE, name, guard(function, name, store, env));
        }
    }
    Ok(Some(surroundings))
}

/// A function of `wasmer-wasix` behind a guard: it keeps from it what it cannot bear, and makes the
/// guest stop there when it should.
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
                // Nothing runs before there is one.
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

/// What WASI's implementation answered, in the numbers of Preview 1: it has some of its own, of
/// which guests know nothing.
fn preview1(mut answer: Vec<Value>) -> Vec<Value> {
    /// Its number for an address outside of memory.
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

/// What all instances share: one small tokio runtime, which it cannot do without.
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

/// Makes the surroundings of one instance.
fn environment(store: &mut Store, settings: &Settings) -> Result<WasiFunctionEnv, String> {
    let shared = shared()?;
    let _entered = shared.tokio.enter();
    let mut builder = WasiEnvBuilder::new(settings.module.name());
    builder.add_args(&settings.args);
    builder.add_envs(settings.envs.iter().map(|(name, value)| (name, value)));
    // Files are ours.
    builder.set_mount_fs(MountFileSystem::new());
    // The standard streams are ours. What lies under them must not be the host's own, which a
    // guest could reach once it has closed ours.
    builder.set_stdin(Box::new(NullFile::default()));
    builder.set_stdout(Box::new(NullFile::default()));
    builder.set_stderr(Box::new(NullFile::default()));
    let runtime: Arc<dyn wasmer_wasix::Runtime + Send + Sync> = shared.runtime.clone();
    builder
        .runtime(runtime)
        .finalize(store)
        .map_err(|error| error.to_string())
}

/// The parameters of the functions that are left to it, which it takes for pointers to values, and
/// the alignment of those; none for a function of ours. It dereferences them as they are, so an
/// address that is not aligned must never reach it.
fn pointers(function: &str) -> &'static [(usize, u32)] {
    match function {
        "args_get" | "environ_get" => &[(0, 4)],
        "args_sizes_get" | "environ_sizes_get" => &[(0, 4), (1, 4)],
        "clock_res_get" => &[(1, 8)],
        _ => &[],
    }
}
