//! From options to the library: loading the module and configuring what runs it.

use std::fs;
use std::path::Path;

use watm_wasmer::{AddressPolicy, Builder, ModuleLoader, Stdio, TransportModule};

use crate::args::{LoadArgs, PolicyArgs, RequiredPolicyArgs, TransportArgs};
use crate::failure::Failure;

/// A loader with the conditions that the options set.
pub(crate) fn loader(args: &LoadArgs) -> ModuleLoader {
    let loader = ModuleLoader::new().max_size(args.max_module_size);
    match args.sha256 {
        Some(hash) => loader.sha256(hash.0),
        None => loader,
    }
}

pub(crate) fn load(path: &Path, args: &LoadArgs) -> Result<TransportModule, Failure> {
    let module = loader(args).load_file(path)?;
    log::debug!("loaded {module:?}");
    Ok(module)
}

/// Gives a dialer, listener or relay what the options say.
pub(crate) fn configure<R>(
    mut builder: Builder<R>,
    args: &TransportArgs,
) -> Result<Builder<R>, Failure> {
    if let Some(path) = &args.config {
        let bytes = fs::read(path).map_err(|error| {
            let message = format!("cannot read the configuration {}", path.display());
            Failure::because(message, error).hint("check the option --config")
        })?;
        builder = builder.config(bytes);
    }
    for variable in &args.env {
        builder = builder.env(&variable.name, &variable.value);
    }
    for arg in &args.arg {
        builder = builder.arg(arg);
    }
    for directory in &args.dir {
        builder = if directory.writable {
            builder.dir_writable(&directory.host, &directory.guest)
        } else {
            builder.dir(&directory.host, &directory.guest)
        };
    }
    if args.inherit_stdio {
        builder = builder.stdio(Stdio::Inherit);
    }
    Ok(builder
        .connect_timeout(args.connect_timeout)
        .handshake_timeout(args.handshake_timeout)
        .close_grace(args.close_grace)
        .drain_timeout(args.drain_timeout)
        .memory_limit(args.memory_limit)
        .descriptor_limit(args.descriptor_limit.into()))
}

impl From<&PolicyArgs> for AddressPolicy {
    fn from(args: &PolicyArgs) -> Self {
        policy(&args.allow, &args.deny, args.allow_all)
    }
}

impl From<&RequiredPolicyArgs> for AddressPolicy {
    fn from(args: &RequiredPolicyArgs) -> Self {
        policy(&args.allow, &args.deny, args.allow_all)
    }
}

fn policy(
    allow: &[watm_wasmer::AddressEntry],
    deny: &[watm_wasmer::AddressEntry],
    allow_all: bool,
) -> AddressPolicy {
    let start = if allow_all {
        AddressPolicy::allow_all()
    } else {
        AddressPolicy::deny_all()
    };
    let allowing = allow.iter().cloned().fold(start, AddressPolicy::allow);
    deny.iter().cloned().fold(allowing, AddressPolicy::deny)
}
