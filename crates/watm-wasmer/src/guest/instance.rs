//! One instance of a module in the engine. It is created, driven and dropped on its worker's
//! thread.

use std::io;
use std::sync::Arc;

use wasmer::{Function, FunctionEnv, Imports, Memory, Pages, RuntimeError, Store, Value};
use watm_abi::{Excerpt, ModuleKind, names};

use crate::channel::link::Link;
use crate::error::{SetupError, TransportError};
#[cfg(feature = "aead")]
use crate::guest::aead;
use crate::guest::call::{Env, Unwind};
use crate::guest::imports;
use crate::guest::settings::Settings;
#[cfg(feature = "wasix")]
use crate::guest::wasix;
use crate::host::Host;
use crate::host::watch::ExportOutcome;
use crate::module::engine::in_pages;
#[cfg(feature = "aead")]
use crate::module::extension::HostAead;
use crate::module::instrument::stop_points::{self, StopFlag};
use crate::module::instrument::traps;

/// What messages call the start function, which has no name of its own.
const START: &str = "(start)";

/// How a call into the guest failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// It trapped or panicked.
    Trap(String),
    /// It called `proc_exit`.
    Exit(i32),
    /// It was stopped, either at a host call or by an interrupt.
    Stopped,
}

pub(crate) struct Instance {
    // Fields drop in this order: the engine's objects before the store that owns them.
    instance: wasmer::Instance,
    env: FunctionEnv<Env>,
    store: Store,
    kind: ModuleKind,
    /// Whether the guest is offered the host's AEAD.
    #[cfg(feature = "aead")]
    offers_aead: bool,
    link: Arc<Link>,
}

impl Instance {
    /// Instantiates the module and runs its start function, if it has one.
    pub(crate) fn new(
        settings: &Settings,
        host: Host,
        link: &Arc<Link>,
    ) -> Result<Self, SetupError> {
        let compiled = settings.module.compiled();
        let module = &compiled.module;
        let imported = settings.module.imported();
        let (mut store, unmapped) = compiled.store(settings.memory_limit);

        let env = FunctionEnv::new(&mut store, Env::new(host));
        let mut imports = Imports::new();
        imports::define(&mut imports, imported, &mut store, &env);
        #[cfg(feature = "wasix")]
        let surroundings = wasix::define(&mut imports, settings, &mut store, &env)
            .map_err(SetupError::Instantiate)?;

        let instance = wasmer::Instance::new(&mut store, module, &imports).map_err(|error| {
            if unmapped.is_so() {
                SetupError::Host(no_address_space())
            } else {
                SetupError::Instantiate(error.to_string())
            }
        })?;
        let memory = instance
            .exports
            .get_memory(names::MEMORY)
            .map_err(|error| SetupError::Instantiate(error.to_string()))?;
        add_headroom(memory, &mut store, in_pages(settings.memory_headroom));
        env.as_mut(&mut store).memory = Some(memory.clone());
        #[cfg(feature = "wasix")]
        if let Some(mut surroundings) = surroundings {
            surroundings
                .initialize(&mut store, instance.clone())
                .map_err(|error| SetupError::Instantiate(error.to_string()))?;
        }
        let stop_flag = StopFlag::of(&instance, &mut store)
            .ok_or_else(|| SetupError::Instantiate("it was compiled without stop points".into()))?;
        link.set_interrupt(Some(Box::new(move || stop_flag.raise())));
        let mut made = Self {
            instance,
            env,
            store,
            kind: settings.module.kind(),
            #[cfg(feature = "aead")]
            offers_aead: settings.host_aead
                && settings.module.info().host_aead() == HostAead::Wanted,
            link: Arc::clone(link),
        };
        made.run_start_function()?;
        Ok(made)
    }

    /// Runs `_start` or `_initialize`, whichever exists. A failure names the export.
    pub(super) fn run_main(&mut self) -> Result<(), (&'static str, CallError)> {
        let name = match self.kind {
            ModuleKind::Command => names::MAIN,
            ModuleKind::Reactor => names::INITIALIZE,
            ModuleKind::Plain => return Ok(()),
        };
        match self.call_function(name, &[]) {
            // The `main` of a command may end with an exit. After exit code 0 the instance stays
            // usable.
            Ok(_) | Err(CallError::Exit(0)) => Ok(()),
            Err(error) => Err((name, error)),
        }
    }

    /// Offers the host's AEAD to a guest that wants it, which may decline. Without room in its
    /// table for the functions, it is not asked.
    #[cfg(feature = "aead")]
    pub(super) fn offer_aead(&mut self) -> Result<(), CallError> {
        if !self.offers_aead || self.link.is_stopping() {
            return Ok(());
        }
        let place = match aead::place(&self.instance, &mut self.store, &self.env) {
            Ok(place) => place,
            Err(error) => {
                log::debug!("an instance is not offered the host's AEAD: {error}");
                return Ok(());
            }
        };
        let params = [place.first, place.count].map(|param| Value::I32(param.cast_signed()));
        let results = self.call_function(names::EXT_AEAD, &params)?;
        if results.first() != Some(&Value::I32(0)) {
            log::debug!("an instance declines the host's AEAD: {results:?}");
        }
        Ok(())
    }

    /// Calls an export that takes at most one `i32` and returns one.
    pub(super) fn call(
        &mut self,
        function: &'static str,
        param: Option<u32>,
    ) -> Result<i32, CallError> {
        let param = param.map(|param| Value::I32(param.cast_signed()));
        let results = self.call_function(function, param.as_slice())?;
        match results.first() {
            Some(Value::I32(result)) => Ok(*result),
            _ => Err(CallError::Trap("it returned no i32".into())),
        }
    }

    pub(crate) fn host(&mut self) -> &mut Host {
        &mut self.env.as_mut(&mut self.store).host
    }

    /// Runs the start function, if the module has one.
    fn run_start_function(&mut self) -> Result<(), TransportError> {
        if !self.instance.exports.contains(stop_points::START) {
            return Ok(());
        }
        match self.call_function(stop_points::START, &[]) {
            Ok(_) => Ok(()),
            Err(CallError::Trap(message)) => Err(TransportError::Trapped {
                function: START,
                message: message.into(),
            }),
            Err(CallError::Exit(code)) => Err(TransportError::Exited {
                function: START,
                code,
            }),
            Err(CallError::Stopped) => Err(TransportError::Interrupted),
        }
    }

    fn call_function(
        &mut self,
        name: &'static str,
        params: &[Value],
    ) -> Result<Box<[Value]>, CallError> {
        if self.link.is_stopping() {
            return Err(CallError::Stopped);
        }
        let function: Function = match self.instance.exports.get_function(name) {
            Ok(function) => function.clone(),
            // This cannot happen, since the module was checked. It is still no reason to panic.
            Err(error) => return Err(CallError::Trap(error.to_string())),
        };
        self.host().tell_of_entry();
        let result = function
            .call(&mut self.store, params)
            .map_err(|error| self.call_error(error));
        let outcome = match &result {
            Ok(values) => ExportOutcome::Returned(values.first().and_then(Value::i32)),
            Err(CallError::Exit(code)) => ExportOutcome::Exited(*code),
            Err(CallError::Stopped) => ExportOutcome::Stopped,
            Err(CallError::Trap(_)) => ExportOutcome::Trapped,
        };
        let name = if name == stop_points::START {
            START
        } else {
            name
        };
        self.host().tell_of_return(name, outcome);
        result
    }

    fn call_error(&mut self, error: RuntimeError) -> CallError {
        match error.downcast_ref::<Unwind>() {
            Some(Unwind::Exit(code)) => return CallError::Exit(*code),
            Some(Unwind::Stop) => return CallError::Stopped,
            None => {}
        }
        // If the worker was stopped, that is the reason, whatever the guest did at its end.
        if self.link.is_stopping() {
            return CallError::Stopped;
        }
        CallError::Trap(
            traps::cause(&self.instance, &mut self.store)
                .map_or_else(|| Excerpt(&error.message()).to_string(), Into::into),
        )
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // The interrupt reaches into the store, so remove it first.
        self.link.set_interrupt(None);
    }
}

/// Grows a memory by so many pages, but by no more than half of what it may grow: the module's own
/// allocator needs the rest. Without headroom, the module works as well.
fn add_headroom(memory: &Memory, store: &mut Store, pages: Pages) {
    let size = memory.size(store);
    let most = memory.ty(store).maximum.unwrap_or(size);
    let pages = pages.0.min(most.0.saturating_sub(size.0) / 2);
    if pages > 0
        && let Err(error) = memory.grow(store, pages)
    {
        log::debug!("an instance has no memory headroom: {error}");
    }
}

/// The error when the system has no address space for the memory of another instance. Its message
/// says what to raise.
fn no_address_space() -> io::Error {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current;
    io::Error::new(io::ErrorKind::OutOfMemory, out_of_address_space(limit))
}

fn out_of_address_space(limit: Option<u64>) -> String {
    let needs = "there is no address space for the module's memory: each connection reserves 8 GiB \
                 of it, whatever the module uses";
    match limit {
        Some(limit) => format!(
            "{needs}, and the process may have {} MiB: raise its limit (ulimit -v)",
            limit >> 20
        ),
        None => format!(
            "{needs}, and the system gives no more: have fewer connections, or allow more memory \
             and mappings (sysctl vm.overcommit_memory, vm.max_map_count)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_process_is_named_if_there_is_one() {
        let limited = out_of_address_space(Some(4 << 30));
        assert!(limited.contains("4096 MiB"), "{limited}");
        assert!(limited.contains("ulimit -v"), "{limited}");
        let unlimited = out_of_address_space(None);
        assert!(!unlimited.contains("ulimit"), "{unlimited}");
        assert_eq!(no_address_space().kind(), io::ErrorKind::OutOfMemory);
    }
}
