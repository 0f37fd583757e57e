//! What WASI's own implementation does for a guest: arguments, environment, clocks, random
//! numbers and files. Descriptors of ours never reach it.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Runtime;
use virtual_fs::{FileSystem, NullFile};
use wasmer::{AsStoreMut, AsStoreRef, Imports, Module, RuntimeError, Store, TypedFunction};
use wasmer_wasix::runtime::task_manager::tokio::TokioTaskManager;
use wasmer_wasix::{PluggableRuntime, WasiEnvBuilder, WasiFunctionEnv};
use watm_abi::Errno;

use crate::config_directory::ConfigDirectory;
use crate::directory::Confined;
use crate::engine::engine;
use crate::settings::Settings;
use crate::surroundings::Surroundings;

/// The name under which modules import WASI Preview 1.
pub(crate) const WASI: &str = watm_abi::names::WASI_MODULE;

/// What all instances share: one small tokio runtime, which the file functions need.
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
                .thread_name("watm-files")
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

/// Enters the runtime that the file functions need, for as long as the guard lives.
pub(crate) fn enter() -> Result<tokio::runtime::EnterGuard<'static>, String> {
    Ok(shared()?.tokio.enter())
}

/// Makes the surroundings of one instance.
pub(crate) fn environment(
    store: &mut Store,
    settings: &Settings,
    config: Option<&Arc<[u8]>>,
) -> Result<WasiFunctionEnv, String> {
    let shared = shared()?;
    let mut builder = WasiEnvBuilder::new(settings.module.name());
    builder.add_args(&settings.args);
    builder.add_envs(settings.envs.iter().map(|(name, value)| (name, value)));
    let mut files = Surroundings::new();
    let mut preopens = Vec::new();
    if let Some(config) = config {
        files
            .add("/conf", ConfigDirectory::new(Arc::clone(config)))
            .map_err(|e| e.to_string())?;
        preopens.push(("/conf", false));
    }
    for directory in &settings.directories {
        let confined = Confined::new(&directory.host, directory.writable)
            .map_err(|error| format!("the directory {}: {error}", directory.host.display()))?;
        files
            .add(&directory.guest, confined)
            .map_err(|e| e.to_string())?;
        preopens.push((directory.guest.as_str(), directory.writable));
    }
    let files: Arc<dyn FileSystem + Send + Sync> = Arc::new(files);
    builder.set_fs(files);
    // The standard streams are ours. What lies under them must not be the host's own, which a
    // guest could reach once it has closed ours.
    builder.set_stdin(Box::new(NullFile::default()));
    builder.set_stdout(Box::new(NullFile::default()));
    builder.set_stderr(Box::new(NullFile::default()));
    for (path, writable) in preopens {
        builder
            .add_preopen_build(|preopen| {
                preopen
                    .directory(path)
                    .alias(path)
                    .read(true)
                    .write(writable)
                    .create(writable)
            })
            .map_err(|error| error.to_string())?;
    }
    let runtime: Arc<dyn wasmer_wasix::Runtime + Send + Sync> = shared.runtime.clone();
    builder
        .runtime(runtime)
        .finalize(store)
        .map_err(|error| error.to_string())
}

/// Whether a module needs these surroundings at all.
pub(crate) fn is_needed(module: &Module) -> bool {
    module.imports().any(|import| import.module() == WASI)
}

/// The parameters of a function that WASI's implementation takes for pointers to values, and the
/// alignment of those. It dereferences them as they are, so an address that is not aligned must
/// never reach it.
pub(crate) fn pointers(function: &str) -> &'static [(usize, u32)] {
    match function {
        "args_get" | "environ_get" => &[(0, 4)],
        "args_sizes_get" | "environ_sizes_get" => &[(0, 4), (1, 4)],
        "clock_res_get" => &[(1, 8)],
        "clock_time_get" => &[(2, 8)],
        "fd_fdstat_get" | "fd_filestat_get" | "fd_tell" => &[(1, 8)],
        "fd_pread" | "fd_pwrite" => &[(1, 4), (4, 4)],
        "fd_prestat_get" => &[(1, 4)],
        "fd_read" | "fd_write" => &[(1, 4), (3, 4)],
        "fd_readdir" => &[(4, 4)],
        "fd_seek" => &[(3, 8)],
        "path_filestat_get" => &[(4, 8)],
        "path_open" => &[(8, 4)],
        "path_readlink" => &[(5, 4)],
        _ => &[],
    }
}

/// Declares [`Handover`]: for each function that is partly ours, the one to hand on to.
macro_rules! handover {
    ($($name:ident: ($($param:ty),*);)*) => {
        /// The functions of WASI's implementation that ours hand on to, for descriptors that are
        /// not ours. A module that does not import WASI has none of them.
        #[derive(Default)]
        #[allow(unused_parens, reason = "the engine wants one parameter alone, not in a tuple")]
        pub(crate) struct Handover {
            $($name: Option<TypedFunction<($($param),*), i32>>,)*
        }

        impl Handover {
            pub(crate) fn new(imports: &Imports, store: &impl AsStoreRef) -> Self {
                Self {
                    $($name: match imports.get_export(WASI, stringify!($name)) {
                        Some(wasmer::Extern::Function(function)) => function.typed(store).ok(),
                        _ => None,
                    },)*
                }
            }

            $(
                #[allow(clippy::too_many_arguments, reason = "they are the interface's")]
                pub(crate) fn $name(
                    &self,
                    store: &mut impl AsStoreMut,
                    params: ($($param),*,),
                ) -> Result<i32, RuntimeError> {
                    match &self.$name {
                        None => Ok(i32::from(Errno::Badf.raw())),
                        Some(function) => spread!(function, store, params, $($param),*),
                    }
                }
            )*
        }
    };
}

/// Calls a typed function with the parts of a tuple.
macro_rules! spread {
    ($f:ident, $s:ident, $p:ident, $a:ty) => {
        $f.call($s, $p.0)
    };
    ($f:ident, $s:ident, $p:ident, $a:ty, $b:ty) => {
        $f.call($s, $p.0, $p.1)
    };
    ($f:ident, $s:ident, $p:ident, $a:ty, $b:ty, $c:ty) => {
        $f.call($s, $p.0, $p.1, $p.2)
    };
    ($f:ident, $s:ident, $p:ident, $a:ty, $b:ty, $c:ty, $d:ty) => {
        $f.call($s, $p.0, $p.1, $p.2, $p.3)
    };
    ($f:ident, $s:ident, $p:ident, $a:ty, $b:ty, $c:ty, $d:ty, $e:ty) => {
        $f.call($s, $p.0, $p.1, $p.2, $p.3, $p.4)
    };
    ($f:ident, $s:ident, $p:ident, $a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $g:ty, $h:ty, $i:ty, $j:ty) => {
        $f.call($s, $p.0, $p.1, $p.2, $p.3, $p.4, $p.5, $p.6, $p.7, $p.8)
    };
}

handover! {
    clock_time_get: (i32, i64, i32);
    fd_advise: (i32, i64, i64, i32);
    fd_close: (i32);
    fd_fdstat_get: (i32, i32);
    fd_fdstat_set_flags: (i32, i32);
    fd_filestat_get: (i32, i32);
    fd_pread: (i32, i32, i32, i64, i32);
    fd_pwrite: (i32, i32, i32, i64, i32);
    fd_read: (i32, i32, i32, i32);
    fd_renumber: (i32, i32);
    fd_seek: (i32, i64, i32, i32);
    fd_tell: (i32, i32);
    fd_write: (i32, i32, i32, i32);
    path_open: (i32, i32, i32, i32, i32, i64, i64, i32, i32);
}
