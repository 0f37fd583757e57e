//! The functions that a guest imports, as the engine sees them.
//!
//! Each takes the guest's numbers apart, lends the host its memory, and turns the answer into
//! what the engine expects. Which descriptors are ours is decided here; those that are not are
//! handed on to WASI's implementation.

use std::fmt;

use wasmer::{
    AsStoreMut, AsStoreRef, Extern, Function, FunctionEnv, FunctionEnvMut, Imports, Memory, Module,
    RuntimeError, Value,
};
use watm_abi::{
    Errno, Fdstat, FileType, GuestMemory, IovecArray, RiFlags, Rights, encode_result, names,
};

use crate::host::{Abort, Call, FIRST_FD, Host};
use crate::wasi::{Handover, WASI};

/// What every host function can reach.
pub(crate) struct Env {
    pub(crate) host: Host,
    /// Set once the instance exists; before, nothing of the guest runs but its start function.
    pub(crate) memory: Option<Memory>,
    pub(crate) wasi: Handover,
    /// Files that the guest has opened in WASI's implementation.
    files: Vec<u32>,
    file_limit: usize,
    /// Descriptors that the guest has closed but that WASI's implementation keeps: it never lets go
    /// of preopened directories, under whatever number. To the guest they are closed.
    kept: Vec<u32>,
}

/// Files at most that WASI's implementation has open or keeps, so that with the standard streams, the
/// root and the directories (21 at most) their numbers stay below ours.
const FILE_NUMBERS: usize = 490;

impl Env {
    pub(crate) fn new(host: Host, file_limit: usize) -> Self {
        Self {
            host,
            memory: None,
            wasi: Handover::default(),
            files: Vec::new(),
            file_limit,
            kept: Vec::new(),
        }
    }

    /// Whether the guest has a descriptor of WASI's implementation.
    fn has_file(&self, store: &mut impl AsStoreMut, fd: u32) -> bool {
        !self.kept.contains(&fd) && is_file(&self.wasi, store, fd)
    }

    /// Closes a descriptor of WASI's implementation for the guest.
    fn close_file(&mut self, store: &mut impl AsStoreMut, fd: u32) -> Answer {
        if self.kept.contains(&fd) {
            return refuse(Errno::Badf);
        }
        let answer = self.wasi.fd_close(store, (fd.cast_signed(),))?;
        if answer == 0 {
            self.files.retain(|file| *file != fd);
            if is_file(&self.wasi, store, fd) {
                self.kept.push(fd);
            } else {
                self.host.release(fd);
            }
        }
        Ok(answer)
    }
}

/// Why a guest is unwound on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwind {
    /// The worker was told to stop.
    Stop,
    /// The guest called `proc_exit`.
    Exit(i32),
}

impl fmt::Display for Unwind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => f.write_str("the worker was told to stop"),
            Self::Exit(code) => write!(f, "the guest exited with code {code}"),
        }
    }
}

impl std::error::Error for Unwind {}

fn unwind(why: Unwind) -> RuntimeError {
    RuntimeError::user(Box::new(why))
}

type Ctx<'a> = FunctionEnvMut<'a, Env>;
type Answer = Result<i32, RuntimeError>;

/// The guest's memory as bytes, for the time of one host call.
fn bytes<'a>(memory: &Memory, store: &'a mut impl AsStoreMut) -> &'a mut [u8] {
    let store = store.as_store_ref();
    let view = memory.view(&store);
    let (data, len) = (
        view.data_ptr(),
        usize::try_from(view.data_size()).unwrap_or(0),
    );
    if len == 0 {
        return &mut [];
    }
    // SAFETY: the engine keeps `len` bytes at `data` mapped as long as the store lives, and moves
    // or grows them only while guest code runs, which it does not during this call: the mutable
    // borrow of the store lasts as long as the slice. No other thread reaches them, since shared
    // memories are refused when a module is loaded.
    unsafe { std::slice::from_raw_parts_mut(data, len) }
}

/// Runs a host function that answers with an error number.
fn call(ctx: &mut Ctx<'_>, f: impl FnOnce(&mut Host, &mut [u8]) -> Call<()>) -> Answer {
    errno(run(ctx, f))
}

/// Runs a host function and lends it the guest's memory.
fn run<T>(ctx: &mut Ctx<'_>, f: impl FnOnce(&mut Host, &mut [u8]) -> Call<T>) -> Call<T> {
    let (env, mut store) = ctx.data_and_store_mut();
    let Env { host, memory, .. } = env;
    host.enter();
    let result = match memory {
        Some(memory) => f(host, bytes(memory, &mut store)),
        None => f(host, &mut []),
    };
    host.leave();
    result
}

/// An error number as WASI returns it: unsigned, 0 for success.
fn errno(result: Call<()>) -> Answer {
    match result {
        Ok(()) => Ok(0),
        Err(Abort::Errno(errno)) => Ok(i32::from(errno.raw())),
        Err(Abort::Stop) => Err(unwind(Unwind::Stop)),
    }
}

fn owns(ctx: &Ctx<'_>, fd: i32) -> bool {
    ctx.data().host.owns(fd.cast_unsigned())
}

/// Hands a call on to WASI's implementation.
macro_rules! hand_on {
    ($ctx:ident, $name:ident, $($arg:expr),*) => {{
        if $ctx.data().host.is_stopping() {
            return Err(unwind(Unwind::Stop));
        }
        let (env, mut store) = $ctx.data_and_store_mut();
        env.host.enter();
        let answer = env.wasi.$name(&mut store, ($($arg,)*));
        env.host.leave();
        answer
    }};
}

/// The descriptor of the root that WASI's implementation always has. Guests see it among their
/// preopened directories, but nothing was given with it, so nothing can be reached through it.
const ROOT: u32 = 3;

/// The parameters of a path function that are descriptors of directories.
fn directories(function: &str) -> &'static [usize] {
    match function {
        "path_link" => &[0, 4],
        "path_rename" => &[0, 3],
        "path_symlink" => &[2],
        _ if function.starts_with("path_") => &[0],
        _ => &[],
    }
}

/// Bytes of a path at most: what Linux takes.
const PATH_LIMIT: u32 = 4096;

/// The parameters of a path function that are lengths of paths. WASI's implementation takes a path
/// apart into a list that is many times as large as the path.
fn path_lengths(function: &str) -> &'static [usize] {
    match function {
        "path_create_directory"
        | "path_readlink"
        | "path_remove_directory"
        | "path_unlink_file" => &[2],
        "path_filestat_get" | "path_filestat_set_times" | "path_open" => &[3],
        "path_rename" => &[2, 5],
        _ => &[],
    }
}

/// The parameter that is the number of buffers. WASI's implementation goes through any number of
/// them in one call, which nothing could interrupt.
fn buffer_count(function: &str) -> Option<usize> {
    match function {
        "fd_pread" | "fd_pwrite" | "fd_read" | "fd_write" => Some(2),
        _ => None,
    }
}

/// The parameters of a function that are descriptors which have to be open.
fn descriptors(function: &str) -> &'static [usize] {
    if function.starts_with("fd_") {
        &[0]
    } else {
        directories(function)
    }
}

/// Functions that WASI's implementation has but that do harm there: links make it wait for itself
/// or panic, and are kept in memory without a bound.
fn is_withheld(function: &str) -> bool {
    matches!(function, "path_link" | "path_symlink")
}

/// Puts a guard before each function of WASI's implementation that the module imports: it keeps
/// from it what it cannot bear, and makes the guest stop there when it should.
pub(crate) fn guard(
    imports: &mut Imports,
    module: &Module,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) {
    for import in module.imports().filter(|import| import.module() == WASI) {
        let name = import.name();
        let Some(Extern::Function(function)) = imports.get_export(WASI, name) else {
            continue;
        };
        let (pointers, directories) = (crate::wasi::pointers(name), directories(name));
        let (path_lengths, buffer_count) = (path_lengths(name), buffer_count(name));
        let descriptors = descriptors(name);
        let withheld = is_withheld(name);
        let name_is_readdir = name == "fd_readdir";
        let ty = function.ty(store);
        let guarded =
            Function::new_with_env(store, env, ty, move |mut ctx: Ctx<'_>, params: &[Value]| {
                if ctx.data().host.is_stopping() {
                    return Err(unwind(Unwind::Stop));
                }
                let number = |at: &usize| match params.get(*at) {
                    Some(Value::I32(number)) => number.cast_unsigned(),
                    _ => 0,
                };
                let refusal = if withheld {
                    Some(Errno::Notsup)
                } else if ctx.data().memory.is_none() {
                    // Nothing runs before there is one.
                    Some(Errno::Nosys)
                } else if pointers
                    .iter()
                    .any(|(at, alignment)| number(at) % alignment != 0)
                {
                    Some(Errno::Inval)
                } else if name_is_readdir && params.get(3) == Some(&Value::I64(-1)) {
                    // It adds one to the cookie.
                    Some(Errno::Inval)
                } else if path_lengths.iter().any(|at| number(at) > PATH_LIMIT) {
                    Some(Errno::Nametoolong)
                } else if buffer_count.is_some_and(|at| number(&at) > watm_abi::MAX_IOVECS) {
                    Some(Errno::Inval)
                } else if descriptors
                    .iter()
                    .any(|at| ctx.data().kept.contains(&number(at)))
                {
                    Some(Errno::Badf)
                } else if directories.iter().any(|at| number(at) == ROOT) {
                    Some(Errno::Notcapable)
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
            });
        imports.define(WASI, name, guarded);
    }
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

/// Makes the functions of ours that the module imports and puts them into `imports`, over those
/// of WASI's implementation.
pub(crate) fn define(
    imports: &mut Imports,
    module: &Module,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) {
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let function = match from {
            names::ENV_MODULE => env_function(name, store, env),
            WASI => wasi_function(name, store, env),
            _ => None,
        };
        if let Some(function) = function {
            imports.define(from, name, function);
        }
    }
}

fn env_function(
    name: &str,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) -> Option<Function> {
    fn signed(result: Call<u32>) -> Answer {
        match result {
            Ok(value) => Ok(encode_result(Ok(value))),
            Err(Abort::Errno(errno)) => Ok(encode_result(Err(errno))),
            Err(Abort::Stop) => Err(unwind(Unwind::Stop)),
        }
    }
    Some(match name {
        names::WATER_DIAL => Function::new_typed_with_env(
            store,
            env,
            |mut ctx: Ctx<'_>,
             network: i32,
             network_len: i32,
             address: i32,
             address_len: i32|
             -> Answer {
                signed(run(&mut ctx, |host, memory| {
                    host.water_dial(
                        memory,
                        (network.cast_unsigned(), network_len.cast_unsigned()),
                        (address.cast_unsigned(), address_len.cast_unsigned()),
                    )
                }))
            },
        ),
        names::WATER_DIAL_FIXED => {
            Function::new_typed_with_env(store, env, |mut ctx: Ctx<'_>| -> Answer {
                signed(run(&mut ctx, |host, _| host.water_dial_fixed()))
            })
        }
        names::WATER_ACCEPT => {
            Function::new_typed_with_env(store, env, |mut ctx: Ctx<'_>| -> Answer {
                signed(run(&mut ctx, |host, _| host.water_accept()))
            })
        }
        _ => return None,
    })
}

/// Reads for `fd_read` and `sock_recv`. Where the answers go is checked first, so that no byte is
/// taken that could not be reported, and written last: it may be where the array of buffers lies.
fn receive(
    ctx: &mut Ctx<'_>,
    fd: i32,
    iovecs: (i32, i32),
    flags: RiFlags,
    len_at: i32,
    flags_at: Option<i32>,
) -> Answer {
    call(ctx, |host, memory| {
        memory.slice(len_at.cast_unsigned(), 4)?;
        if let Some(flags_at) = flags_at {
            memory.slice(flags_at.cast_unsigned(), 2)?;
        }
        let iovecs =
            IovecArray::decode(memory, iovecs.0.cast_unsigned(), iovecs.1.cast_unsigned())?;
        let len = host.read(memory, fd.cast_unsigned(), &iovecs, flags)?;
        if let Some(flags_at) = flags_at {
            memory.write_u16(flags_at.cast_unsigned(), 0)?;
        }
        Ok(memory.write_u32(len_at.cast_unsigned(), len)?)
    })
}

fn send(ctx: &mut Ctx<'_>, fd: i32, iovecs: (i32, i32), len_at: i32) -> Answer {
    call(ctx, |host, memory| {
        memory.slice(len_at.cast_unsigned(), 4)?;
        let iovecs =
            IovecArray::decode(memory, iovecs.0.cast_unsigned(), iovecs.1.cast_unsigned())?;
        let len = host.write(memory, fd.cast_unsigned(), &iovecs)?;
        Ok(memory.write_u32(len_at.cast_unsigned(), len)?)
    })
}

/// A call that makes no sense on a descriptor of ours.
fn refuse(refusal: Errno) -> Answer {
    errno(Err(refusal.into()))
}

/// Whether WASI's implementation has a descriptor open.
fn is_file(wasi: &Handover, store: &mut impl AsStoreMut, fd: u32) -> bool {
    // The cheapest question: it needs no memory. Whatever it answers but EBADF, the file is there.
    let answer = wasi.fd_advise(store, (fd.cast_signed(), 0, 0, 0));
    matches!(answer, Ok(answer) if answer != i32::from(Errno::Badf.raw()))
}

fn poll_oneoff(
    ctx: &mut Ctx<'_>,
    subscriptions: i32,
    events: i32,
    count: i32,
    count_at: i32,
) -> Answer {
    let (env, mut store) = ctx.data_and_store_mut();
    let Env {
        host,
        memory: Some(memory),
        wasi,
        kept,
        ..
    } = env
    else {
        return refuse(Errno::Fault);
    };
    // WASI's implementation needs the store that the memory is borrowed from, so the files among
    // the subscriptions are found first.
    host.enter();
    let mut files = Vec::new();
    let count = count.cast_unsigned();
    if count <= watm_abi::MAX_SUBSCRIPTIONS {
        let mut foreign = Vec::new();
        let memory = bytes(memory, &mut store);
        for at in 0..count {
            let Some(at) = at
                .checked_mul(watm_abi::SUBSCRIPTION_SIZE)
                .and_then(|offset| subscriptions.cast_unsigned().checked_add(offset))
            else {
                break;
            };
            let (Ok(tag), Ok(fd)) = (
                memory.read_u8(at.saturating_add(8)),
                memory.read_u32(at.saturating_add(16)),
            ) else {
                break;
            };
            if tag != 0
                && !host.owns(fd)
                && !foreign.contains(&fd)
                && foreign.len() < FIRST_FD as usize
            {
                foreign.push(fd);
            }
        }
        for fd in foreign {
            if !kept.contains(&fd) && is_file(wasi, &mut store, fd) {
                files.push(fd);
            }
        }
    }
    let memory = bytes(memory, &mut store);
    let result = memory
        .slice(count_at.cast_unsigned(), 4)
        .map(|_| ())
        .map_err(Abort::from)
        .and_then(|()| {
            let (subscriptions, events) = (subscriptions.cast_unsigned(), events.cast_unsigned());
            let ready = host.poll_oneoff(memory, subscriptions, events, count, &|fd| {
                files.contains(&fd)
            })?;
            Ok(memory.write_u32(count_at.cast_unsigned(), ready)?)
        });
    host.leave();
    errno(result)
}

fn fd_close(ctx: &mut Ctx<'_>, fd: i32) -> Answer {
    if owns(ctx, fd) {
        let answer = call(ctx, |host, _| host.close(fd.cast_unsigned()))?;
        close_hidden(ctx, fd)?;
        return Ok(answer);
    }
    if ctx.data().host.is_stopping() {
        return Err(unwind(Unwind::Stop));
    }
    let (env, mut store) = ctx.data_and_store_mut();
    env.host.enter();
    let answer = env.close_file(&mut store, fd.cast_unsigned());
    env.host.leave();
    answer
}

/// Closes the file that one of ours below our range stood over, so that it does not come to
/// light: a standard stream, or a file that ours was moved onto.
fn close_hidden(ctx: &mut Ctx<'_>, fd: i32) -> Answer {
    if fd.cast_unsigned() >= FIRST_FD {
        return Ok(0);
    }
    let (env, mut store) = ctx.data_and_store_mut();
    env.close_file(&mut store, fd.cast_unsigned())
}

/// `fd_renumber`, where each of the two may be ours or a file. The target must be open, but for
/// free numbers of our own range, so that no file can ever be put where a descriptor of ours
/// will be.
fn fd_renumber(ctx: &mut Ctx<'_>, from: i32, to: i32) -> Answer {
    let (from_ours, to_ours) = (owns(ctx, from), owns(ctx, to));
    let (from_fd, to_fd) = (from.cast_unsigned(), to.cast_unsigned());
    let (env, mut store) = ctx.data_and_store_mut();
    if env.host.is_stopping() {
        return Err(unwind(Unwind::Stop));
    }
    if [from_fd, to_fd].contains(&ROOT) {
        return refuse(Errno::Notsup);
    }
    if !from_ours && !env.has_file(&mut store, from_fd) {
        return refuse(Errno::Badf);
    }
    let free_of_ours =
        (FIRST_FD..watm_abi::FD_LIMIT).contains(&to_fd) && !env.host.is_reserved(to_fd);
    let to_file = !to_ours && env.has_file(&mut store, to_fd);
    let target_is_fine = to_ours || to_file || (from_ours && free_of_ours);
    if !target_is_fine {
        return refuse(Errno::Badf);
    }
    if from_ours {
        if to_file && to_fd >= FIRST_FD {
            // A file that was moved into our range makes way, if it can.
            env.close_file(&mut store, to_fd)?;
            if env.host.is_reserved(to_fd) {
                return refuse(Errno::Notsup);
            }
        }
        // A file below our range stays where it is, hidden: its number can be given to no other.
        let answer = errno(env.host.renumber(from_fd, to_fd))?;
        if answer == 0 && from_fd != to_fd {
            close_hidden(ctx, from)?;
        }
        return Ok(answer);
    }
    if from_fd == to_fd {
        return Ok(0);
    }
    let answer = env.wasi.fd_renumber(&mut store, (from, to))?;
    if answer == 0 {
        env.files.retain(|file| *file != to_fd);
        if env.files.contains(&from_fd) {
            env.files.push(to_fd);
        }
        env.host.displace(to_fd);
        if to_fd >= FIRST_FD {
            env.host.reserve(to_fd);
        }
        // WASI's implementation copies where the interface says moves.
        env.close_file(&mut store, from_fd)?;
    }
    Ok(answer)
}

/// `path_open`, within the limit of open files, which also keeps their numbers below ours.
#[allow(clippy::too_many_arguments, reason = "they are the interface's")]
fn path_open(
    ctx: &mut Ctx<'_>,
    dir: i32,
    dir_flags: i32,
    path: i32,
    path_len: i32,
    open_flags: i32,
    rights: i64,
    inherited: i64,
    fd_flags: i32,
    opened: i32,
) -> Answer {
    let env = ctx.data();
    if env.files.len() >= env.file_limit || env.files.len() + env.kept.len() >= FILE_NUMBERS {
        return refuse(Errno::Mfile);
    }
    // An answer that could not be written would leave a file open that nobody knows of.
    let at = opened.cast_unsigned();
    let (env, mut store) = ctx.data_and_store_mut();
    let Env {
        memory: Some(memory),
        ..
    } = env
    else {
        return refuse(Errno::Nosys);
    };
    if bytes(memory, &mut store).slice(at, 4).is_err() {
        return refuse(Errno::Fault);
    }
    let answer = hand_on!(
        ctx, path_open, dir, dir_flags, path, path_len, open_flags, rights, inherited, fd_flags,
        opened
    )?;
    if answer != 0 {
        return Ok(answer);
    }
    if rights & FD_WRITE != 0 && !is_writable(ctx, opened) {
        return refuse(Errno::Notcapable);
    }
    let (env, mut store) = ctx.data_and_store_mut();
    let Env {
        memory: Some(memory),
        wasi,
        files,
        ..
    } = env
    else {
        return refuse(Errno::Nosys);
    };
    let fd = bytes(memory, &mut store).read_u32(at).unwrap_or(u32::MAX);
    if fd >= FIRST_FD {
        // The limits keep this from happening; no number may ever mean two things.
        wasi.fd_close(&mut store, (fd.cast_signed(),))?;
        return refuse(Errno::Mfile);
    }
    files.push(fd);
    Ok(answer)
}

/// The right to write to a descriptor, as `path_open` asks for it.
const FD_WRITE: i64 = 1 << 6;

/// Whether a file that was just opened for writing can be written to; it is closed again if not.
/// WASI's implementation drops the rights that a directory does not have and says nothing.
fn is_writable(ctx: &mut Ctx<'_>, opened: i32) -> bool {
    /// Where the guest's memory lends room for a record; aligned, and never the null page's start.
    const AT: u32 = 64;
    let (env, mut store) = ctx.data_and_store_mut();
    let Env {
        memory: Some(memory),
        wasi,
        ..
    } = env
    else {
        return true;
    };
    let guest = bytes(memory, &mut store);
    let (Ok(fd), Ok(saved)) = (
        guest.read_u32(opened.cast_unsigned()),
        guest.read_array::<{ watm_abi::FDSTAT_SIZE as usize }>(AT),
    ) else {
        return true;
    };
    let asked = wasi.fd_fdstat_get(&mut store, (fd.cast_signed(), AT.cast_signed()));
    let guest = bytes(memory, &mut store);
    let found = guest
        .read_array(AT)
        .ok()
        .and_then(|record| Fdstat::decode(&record).ok());
    let _ = guest.write_bytes(AT, &saved);
    let writable = match (asked, found) {
        (Ok(0), Some(stat)) => {
            stat.file_type == FileType::Directory || stat.rights_base.contains(Rights::FD_WRITE)
        }
        _ => false,
    };
    if !writable {
        let _ = wasi.fd_close(&mut store, (fd.cast_signed(),));
    }
    writable
}

#[allow(
    clippy::too_many_lines,
    reason = "one entry a function, in the order of the interface"
)]
fn wasi_function(
    name: &str,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) -> Option<Function> {
    /// Makes a function of the engine from a closure.
    macro_rules! function {
        ($closure:expr) => {
            Function::new_typed_with_env(store, env, $closure)
        };
    }
    Some(match name {
        "clock_time_get" => {
            function!(
                |mut ctx: Ctx<'_>, id: i32, precision: i64, at: i32| -> Answer {
                    // The clocks that guests ask often; the others are no secret of ours.
                    if !Host::has_clock(id.cast_unsigned()) {
                        return hand_on!(ctx, clock_time_get, id, precision, at);
                    }
                    call(&mut ctx, |host, memory| {
                        let now = host.clock_time(id.cast_unsigned())?;
                        Ok(memory.write_u64(at.cast_unsigned(), now)?)
                    })
                }
            )
        }
        "fd_close" => function!(|mut ctx: Ctx<'_>, fd: i32| -> Answer { fd_close(&mut ctx, fd) }),
        "fd_fdstat_get" => function!(|mut ctx: Ctx<'_>, fd: i32, stat: i32| -> Answer {
            if !owns(&ctx, fd) {
                let (env, mut store) = ctx.data_and_store_mut();
                // WASI's implementation describes the standard streams even when they are closed.
                if (0..3).contains(&fd) && !env.has_file(&mut store, fd.cast_unsigned()) {
                    return refuse(Errno::Badf);
                }
                return hand_on!(ctx, fd_fdstat_get, fd, stat);
            }
            call(&mut ctx, |host, memory| {
                let fdstat = host.fdstat(fd.cast_unsigned())?;
                Ok(memory.write_bytes(stat.cast_unsigned(), &fdstat.encode())?)
            })
        }),
        "fd_fdstat_set_flags" => function!(|mut ctx: Ctx<'_>, fd: i32, flags: i32| -> Answer {
            if !owns(&ctx, fd) {
                return hand_on!(ctx, fd_fdstat_set_flags, fd, flags);
            }
            call(&mut ctx, |host, _| {
                host.set_flags(fd.cast_unsigned(), flags.cast_unsigned())
            })
        }),
        "fd_filestat_get" => function!(|mut ctx: Ctx<'_>, fd: i32, stat: i32| -> Answer {
            if !owns(&ctx, fd) {
                return hand_on!(ctx, fd_filestat_get, fd, stat);
            }
            call(&mut ctx, |host, memory| {
                let filestat = host.filestat(fd.cast_unsigned())?;
                Ok(memory.write_bytes(stat.cast_unsigned(), &filestat.encode())?)
            })
        }),
        "fd_pread" => function!(|mut ctx: Ctx<'_>,
                                 fd: i32,
                                 iovs: i32,
                                 len: i32,
                                 at: i64,
                                 done: i32|
         -> Answer {
            if !owns(&ctx, fd) {
                return hand_on!(ctx, fd_pread, fd, iovs, len, at, done);
            }
            refuse(Errno::Spipe)
        }),
        "fd_pwrite" => function!(|mut ctx: Ctx<'_>,
                                  fd: i32,
                                  iovs: i32,
                                  len: i32,
                                  at: i64,
                                  done: i32|
         -> Answer {
            if !owns(&ctx, fd) {
                return hand_on!(ctx, fd_pwrite, fd, iovs, len, at, done);
            }
            refuse(Errno::Spipe)
        }),
        "fd_read" => {
            function!(
                |mut ctx: Ctx<'_>, fd: i32, iovs: i32, len: i32, done: i32| -> Answer {
                    if !owns(&ctx, fd) {
                        return hand_on!(ctx, fd_read, fd, iovs, len, done);
                    }
                    receive(&mut ctx, fd, (iovs, len), RiFlags::default(), done, None)
                }
            )
        }
        "fd_renumber" => {
            function!(|mut ctx: Ctx<'_>, from: i32, to: i32| -> Answer {
                fd_renumber(&mut ctx, from, to)
            })
        }
        "fd_seek" => {
            function!(
                |mut ctx: Ctx<'_>, fd: i32, offset: i64, whence: i32, at: i32| -> Answer {
                    if !owns(&ctx, fd) {
                        return hand_on!(ctx, fd_seek, fd, offset, whence, at);
                    }
                    refuse(Errno::Spipe)
                }
            )
        }
        "fd_tell" => function!(|mut ctx: Ctx<'_>, fd: i32, at: i32| -> Answer {
            if !owns(&ctx, fd) {
                return hand_on!(ctx, fd_tell, fd, at);
            }
            refuse(Errno::Spipe)
        }),
        "fd_write" => {
            function!(
                |mut ctx: Ctx<'_>, fd: i32, iovs: i32, len: i32, done: i32| -> Answer {
                    if !owns(&ctx, fd) {
                        return hand_on!(ctx, fd_write, fd, iovs, len, done);
                    }
                    send(&mut ctx, fd, (iovs, len), done)
                }
            )
        }
        "path_open" => {
            function!(|mut ctx: Ctx<'_>,
                       a: i32,
                       b: i32,
                       c: i32,
                       d: i32,
                       e: i32,
                       f: i64,
                       g: i64,
                       h: i32,
                       i: i32|
             -> Answer { path_open(&mut ctx, a, b, c, d, e, f, g, h, i) })
        }
        "poll_oneoff" => {
            function!(
                |mut ctx: Ctx<'_>, subs: i32, events: i32, len: i32, done: i32| -> Answer {
                    poll_oneoff(&mut ctx, subs, events, len, done)
                }
            )
        }
        "proc_exit" => function!(|_: Ctx<'_>, code: i32| -> Result<(), RuntimeError> {
            Err(unwind(Unwind::Exit(code)))
        }),
        // A guest has no process to signal.
        "proc_raise" => function!(|_: Ctx<'_>, _: i32| -> Answer { refuse(Errno::Nosys) }),
        "random_get" => function!(|mut ctx: Ctx<'_>, at: i32, len: i32| -> Answer {
            call(&mut ctx, |host, memory| {
                host.random(memory.slice_mut(at.cast_unsigned(), len.cast_unsigned())?)
            })
        }),
        "sched_yield" => {
            function!(|mut ctx: Ctx<'_>| -> Answer { call(&mut ctx, |host, _| host.sched_yield()) })
        }
        "sock_accept" => function!(|ctx: Ctx<'_>, fd: i32, _: i32, _: i32| -> Answer {
            // None of ours listens, and a file cannot.
            refuse(if owns(&ctx, fd) {
                Errno::Inval
            } else {
                Errno::Badf
            })
        }),
        "sock_recv" => {
            function!(|mut ctx: Ctx<'_>,
                       fd: i32,
                       iovs: i32,
                       len: i32,
                       flags: i32,
                       done: i32,
                       out: i32|
             -> Answer {
                if !owns(&ctx, fd) {
                    return refuse(Errno::Badf);
                }
                let Some(flags) = u16::try_from(flags).ok().and_then(RiFlags::from_bits) else {
                    return refuse(Errno::Inval);
                };
                receive(&mut ctx, fd, (iovs, len), flags, done, Some(out))
            })
        }
        "sock_send" => {
            function!(|mut ctx: Ctx<'_>,
                       fd: i32,
                       iovs: i32,
                       len: i32,
                       _flags: i32,
                       done: i32|
             -> Answer {
                if !owns(&ctx, fd) {
                    return refuse(Errno::Badf);
                }
                send(&mut ctx, fd, (iovs, len), done)
            })
        }
        "sock_shutdown" => function!(|mut ctx: Ctx<'_>, fd: i32, how: i32| -> Answer {
            call(&mut ctx, |host, _| {
                host.shutdown(fd.cast_unsigned(), how.cast_unsigned())
            })
        }),
        _ => return None,
    })
}
