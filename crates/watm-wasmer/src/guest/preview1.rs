//! The functions of WASI Preview 1 as the engine sees them, in one complete list.

use wasmer::{AsStoreMut, Function, FunctionEnv, RuntimeError};
use watm_abi::Errno;

use crate::guest::call::{Answer, Ctx, Env, Unwind, call, refuse, unwind};

/// Binds each function of the list. Each line has the function's name, which is also the name of
/// the host's method, and the parameters. A line for a function that is always refused has the
/// error number instead.
macro_rules! functions {
    ($($name:ident($($param:ident: $ty:ty),*) $(refused with $errno:ident)?;)*) => {
        /// The function with this name, if there is one.
        pub(super) fn function(
            name: &str,
            store: &mut impl AsStoreMut,
            env: &FunctionEnv<Env>,
        ) -> Option<Function> {
            $(if name == stringify!($name) {
                let function = |ctx: Ctx<'_>, $($param: $ty),*| -> Answer {
                    functions!(@answer ctx, $name($($param),*) $($errno)?)
                };
                return Some(Function::new_typed_with_env(store, env, function));
            })*
            (name == "proc_exit").then(|| Function::new_typed_with_env(store, env, proc_exit))
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
    (@answer $ctx:ident, $name:ident($($param:ident),*)) => {{
        let mut ctx = $ctx;
        call(&mut ctx, stringify!($name), |host, memory| host.$name(memory, $($param),*))
    }};
    (@answer $ctx:ident, $name:ident($($param:ident),*) $errno:ident) => {{
        let _ = ($ctx, $($param),*);
        refuse(Errno::$errno)
    }};
}

functions! {
    args_get(pointers: u32, bytes: u32);
    args_sizes_get(count: u32, size: u32);
    environ_get(pointers: u32, bytes: u32);
    environ_sizes_get(count: u32, size: u32);
    clock_res_get(id: u32, resolution: u32);
    clock_time_get(id: u32, precision: u64, time: u32);
    fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
    fd_allocate(fd: u32, offset: u64, len: u64);
    fd_close(fd: u32);
    fd_datasync(fd: u32);
    fd_fdstat_get(fd: u32, stat: u32);
    fd_fdstat_set_flags(fd: u32, flags: u32);
    fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
    fd_filestat_get(fd: u32, stat: u32);
    fd_filestat_set_size(fd: u32, size: u64);
    fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, which: u32);
    fd_pread(fd: u32, iovecs: u32, count: u32, from: u64, done: u32);
    fd_prestat_get(fd: u32, prestat: u32);
    fd_prestat_dir_name(fd: u32, name: u32, len: u32);
    fd_pwrite(fd: u32, iovecs: u32, count: u32, to: u64, done: u32);
    fd_read(fd: u32, iovecs: u32, count: u32, done: u32);
    fd_readdir(fd: u32, buf: u32, len: u32, from: u64, used: u32);
    fd_renumber(from: u32, to: u32);
    fd_seek(fd: u32, offset: i64, whence: u32, place: u32);
    fd_sync(fd: u32);
    fd_tell(fd: u32, place: u32);
    fd_write(fd: u32, iovecs: u32, count: u32, done: u32);
    path_create_directory(fd: u32, path: u32, len: u32);
    path_filestat_get(fd: u32, lookup: u32, path: u32, len: u32, stat: u32);
    path_filestat_set_times(
        fd: u32, lookup: u32, path: u32, len: u32, accessed: u64, modified: u64, which: u32
    );
    // The host refuses it, after it checks the rights.
    path_link(fd: u32, lookup: u32, path: u32, len: u32, to: u32, to_path: u32, to_len: u32);
    path_open(
        fd: u32, lookup: u32, path: u32, len: u32, how: u32, rights: u64, inheriting: u64,
        flags: u32, opened: u32
    );
    path_readlink(fd: u32, path: u32, len: u32, buf: u32, room: u32, used: u32);
    path_remove_directory(fd: u32, path: u32, len: u32);
    path_rename(fd: u32, path: u32, len: u32, to: u32, to_path: u32, to_len: u32);
    // The host refuses it, like the other links.
    path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32);
    path_unlink_file(fd: u32, path: u32, len: u32);
    poll_oneoff(subscriptions: u32, events: u32, count: u32, ready: u32);
    // A guest has no process to signal.
    proc_raise(signal: u32) refused with Nosys;
    random_get(buf: u32, len: u32);
    sched_yield();
    // The host refuses it: no descriptor of a guest listens.
    sock_accept(fd: u32, flags: u32, accepted: u32);
    sock_recv(fd: u32, iovecs: u32, count: u32, flags: u32, done: u32, flags_out: u32);
    sock_send(fd: u32, iovecs: u32, count: u32, flags: u32, done: u32);
    sock_shutdown(fd: u32, how: u32);
}

/// The only function that does not return, so it is not in the list.
fn proc_exit(_: Ctx<'_>, code: i32) -> Result<(), RuntimeError> {
    Err(unwind(Unwind::Exit(code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use watm_abi::{imports, names};

    #[test]
    fn every_function_of_preview_1_is_bound() {
        let all = imports().filter(|(module, _, _)| *module == names::WASI_MODULE);
        let mut all: Vec<&str> = all.map(|(_, name, _)| name).collect();
        let mut bound = [NAMES, &["proc_exit"]].concat();
        all.sort_unstable();
        bound.sort_unstable();
        assert_eq!(bound, all);
    }
}
