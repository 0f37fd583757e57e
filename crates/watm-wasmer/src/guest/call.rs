//! One call from a guest to the host: what the call can reach, its view of the guest's memory, and
//! how it ends.

use std::fmt;

use wasmer::{AsStoreMut, AsStoreRef, FunctionEnvMut, Memory, RuntimeError};
use watm_abi::Errno;

use crate::host::Host;
use crate::host::descriptor::{Abort, Call};

/// What every host function can reach.
pub(crate) struct Env {
    pub(crate) host: Host,
    /// `None` until the instance exists. Before that, only the guest's start function runs.
    pub(crate) memory: Option<Memory>,
}

impl Env {
    pub(crate) fn new(host: Host) -> Self {
        Self { host, memory: None }
    }
}

/// Why a guest is unwound deliberately.
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

pub(crate) fn unwind(why: Unwind) -> RuntimeError {
    RuntimeError::user(Box::new(why))
}

pub(super) type Ctx<'a> = FunctionEnvMut<'a, Env>;
pub(super) type Answer = Result<i32, RuntimeError>;

/// The guest's memory as bytes, for the duration of one host call.
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
    // SAFETY: the engine keeps `len` bytes at `data` mapped for as long as the store lives. It
    // moves or grows them only while guest code runs. No guest code runs during this call, because
    // the slice holds the mutable borrow of the store. No other thread can reach these bytes,
    // because the loader refuses modules with shared memories.
    unsafe { std::slice::from_raw_parts_mut(data, len) }
}

/// Runs the host function `name`, which returns an error number.
pub(super) fn call(
    ctx: &mut Ctx<'_>,
    name: &'static str,
    f: impl FnOnce(&mut Host, &mut [u8]) -> Call<()>,
) -> Answer {
    answer(run(ctx, name, f))
}

/// Runs the host function `name` with access to the guest's memory.
pub(super) fn run<T>(
    ctx: &mut Ctx<'_>,
    name: &'static str,
    f: impl FnOnce(&mut Host, &mut [u8]) -> Call<T>,
) -> Call<T> {
    let (env, mut store) = ctx.data_and_store_mut();
    let Env { host, memory } = env;
    host.enter();
    let memory = match memory {
        Some(memory) => bytes(memory, &mut store),
        None => &mut [],
    };
    let result = f(host, memory);
    host.leave();
    if host.is_watched() {
        host.tell(name, &result, memory.len());
    }
    result
}

/// An error number as WASI returns it: unsigned, with 0 for success.
fn answer(result: Call<()>) -> Answer {
    match result {
        Ok(()) => Ok(0),
        Err(Abort::Errno(errno)) => Ok(i32::from(errno.raw())),
        Err(Abort::Stop) => Err(unwind(Unwind::Stop)),
    }
}

/// A function that always fails with this error number.
pub(super) fn refuse(refusal: Errno) -> Answer {
    answer(Err(refusal.into()))
}
