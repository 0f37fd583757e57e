//! What WASI's own implementation does for a guest: arguments, environment, and what clocks there are.
//! No descriptor reaches it.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Runtime;
use virtual_fs::{MountFileSystem, NullFile};
use wasmer::Store;
use wasmer_wasix::runtime::task_manager::tokio::TokioTaskManager;
use wasmer_wasix::{PluggableRuntime, WasiEnvBuilder, WasiFunctionEnv};

use crate::engine::engine;
use crate::info::ImportedFunction;
use crate::settings::Settings;

/// The name under which modules import WASI Preview 1.
pub(crate) const WASI: &str = watm_abi::names::WASI_MODULE;

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
                .on_thread_start(crate::signals::block_all)
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
pub(crate) fn environment(
    store: &mut Store,
    settings: &Settings,
) -> Result<WasiFunctionEnv, String> {
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

/// Whether a module needs it at all.
pub(crate) fn is_needed(imported: &[ImportedFunction]) -> bool {
    imported
        .iter()
        .any(|(module, name)| *module == WASI && !pointers(name).is_empty())
}

/// The parameters of the functions that are left to it, which it takes for pointers to values, and
/// the alignment of those; none for a function of ours. It dereferences them as they are, so an
/// address that is not aligned must never reach it.
pub(crate) fn pointers(function: &str) -> &'static [(usize, u32)] {
    match function {
        "args_get" | "environ_get" => &[(0, 4)],
        "args_sizes_get" | "environ_sizes_get" => &[(0, 4), (1, 4)],
        "clock_res_get" => &[(1, 8)],
        _ => &[],
    }
}
