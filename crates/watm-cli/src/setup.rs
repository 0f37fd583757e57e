//! Turns options into library settings: loads the module and configures what runs it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use watm_wasmer::{
    Acceptor, AddressPolicy, ArtifactCache, Builder, CacheError, Dialer, KeyError, Listener,
    LoadError, ModuleLoader, Role, SignatureInfo, Stdio, TransportModule, TrustedKey, TunnelRole,
};

use crate::args::{
    CacheDirectoryArgs, ConfigFileArgs, KeyOrFile, LoadArgs, PolicyArgs, RunArgs, TransportArgs,
    TrustArgs,
};
use crate::from_file::FromFile;
use crate::terminal::bytes::count;
use crate::terminal::escape::printable;
use crate::terminal::failure::{Failure, chain};
use crate::terminal::logging;

/// Compiling a module of this size takes noticeable time.
const LARGE_MODULE: u64 = 256 << 10;
/// The maximum size of a configuration, which is kept in memory.
const CONFIG_LIMIT: u64 = 16 << 20;
/// The maximum total size of the files that are kept in memory: the limit of the library.
const FILES_LIMIT: u64 = 64 << 20;

/// A loader with the conditions and the cache that the options set. It prints a message if loading
/// the module will take a while.
pub(crate) fn loader(path: &Path, args: &LoadArgs) -> Result<ModuleLoader, Failure> {
    let cache = cache(args)?;
    let mut loader = common(args, cache.as_ref());
    if let Some(hash) = args.sha256 {
        loader = loader.sha256(hash);
    }
    if !args.trust.trusted_key.is_empty() {
        let keys = trusted_keys(&args.trust)?;
        loader = demanding(loader, path, &args.trust, &keys);
    }
    let remark = cache
        .as_ref()
        .map_or("", |_| "; later starts find it compiled");
    let shown = printable(&path.display().to_string()).to_string();
    Ok(loader.before_compiling(move |size| {
        if size >= LARGE_MODULE {
            let text = format!("watm: compiling {shown}, {}{remark}\n", count(size));
            logging::tell(log::Level::Info, &text);
        }
    }))
}

/// A loader with the limits that the options set for all modules, and the cache.
fn common(args: &LoadArgs, cache: Option<&ArtifactCache>) -> ModuleLoader {
    let loader = ModuleLoader::new()
        .max_size(args.max_module_size)
        .compile_timeout(args.compile_timeout);
    match cache {
        Some(cache) => loader.cache(cache),
        None => loader,
    }
}

/// A loader for modules that a configuration file names below another.
pub(crate) fn loader_below(args: &LoadArgs) -> Result<ModuleLoader, Failure> {
    let loader = common(args, cache(args)?.as_ref());
    if args.trust.trusted_key.is_empty() {
        return Ok(loader);
    }
    // The signature of each is beside it.
    Ok(loader.trusted_keys(trusted_keys(&args.trust)?))
}

/// A loader that demands a signature of the file at `path` by one of the keys.
pub(crate) fn demanding(
    loader: ModuleLoader,
    path: &Path,
    args: &TrustArgs,
    keys: &[TrustedKey],
) -> ModuleLoader {
    let loader = loader.trusted_keys(keys.iter().cloned());
    match &args.signature {
        Some(signature) => loader.signature_file(signature),
        None => {
            let mut beside = OsString::from(path);
            beside.push(".minisig");
            loader.signature_file(Path::new(&beside))
        }
    }
}

/// Verifies the signature of a module that is looked into before it is loaded. Another hash than the
/// expected is a problem of the module, and told with the others.
pub(crate) fn verify(
    loader: &ModuleLoader,
    bytes: &[u8],
) -> Result<Option<SignatureInfo>, Failure> {
    match loader.verify(bytes) {
        Ok(signature) => Ok(signature),
        Err(LoadError::Hash { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The keys that the options name.
pub(crate) fn trusted_keys(args: &TrustArgs) -> Result<Vec<TrustedKey>, Failure> {
    let keys = args.trusted_key.iter();
    keys.map(|key| match key {
        KeyOrFile::Key(key) => Ok(key.clone()),
        KeyOrFile::File(path) => TrustedKey::from_file(path).map_err(|error| {
            let hint = match &error {
                KeyError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                    "a key has 56 characters that begin with RW; anything else is taken for a file"
                }
                KeyError::Read { .. } => "check the option --trusted-key",
                _ => "the public key is in the file that `minisign -G` made, such as minisign.pub",
            };
            let message = format!("cannot use the trusted key {}", path.display());
            Failure::because(message, error).hint(hint)
        }),
    })
    .collect()
}

pub(crate) fn load(path: &Path, args: &LoadArgs) -> Result<TransportModule, Failure> {
    let module = loader(path, args)?.load_file(path)?;
    log::debug!("loaded {module:?}");
    Ok(module)
}

/// The cache to use, if any. A directory that was asked for must work. The user's own is used if
/// possible.
fn cache(args: &LoadArgs) -> Result<Option<ArtifactCache>, Failure> {
    if args.no_cache {
        return Ok(None);
    }
    match open_cache(&args.cache) {
        Ok(cache) => Ok(Some(cache)),
        Err(error) if args.cache.cache_dir.is_some() => Err(error.into()),
        Err(error) => {
            log::info!("compiled modules are not stored: {}", chain(&error));
            Ok(None)
        }
    }
}

/// The cache in the given directory, or the user's own.
pub(crate) fn open_cache(args: &CacheDirectoryArgs) -> Result<ArtifactCache, CacheError> {
    match &args.cache_dir {
        Some(directory) => ArtifactCache::open(directory),
        None => ArtifactCache::of_user(),
    }
}

/// What the connections of a command that runs for long are made with: the module, and the settings
/// that the configuration file and the options give, as all of these are now. The modules below the
/// first are below it.
pub(crate) fn builder<R: TunnelRole>(
    (file, source): (&FromFile, &ConfigFileArgs),
    modules: &[PathBuf],
    run: &RunArgs,
    policy: Option<&PolicyArgs>,
    (role, start): (Role, fn(&TransportModule) -> Builder<R>),
) -> Result<Builder<R>, Failure> {
    let mut run = run.clone();
    file.complete(&mut run);
    let configs = configs(modules, &run)?;
    let module = file.load(modules.first().map(PathBuf::as_path), source, &run.load)?;
    let builder = file.apply(start(&module), &run.load, run.proxy.as_ref())?;
    let mut builder = configure_from(file, builder, &run.transport)?;
    if let Some(config) = configs.first().copied().flatten() {
        builder = builder.config(read_config(config, "--config")?);
    }
    if let Some(policy) = policy.filter(|_| file.lacks("policy")) {
        builder = builder.policy(AddressPolicy::from(policy));
    }
    let below = match role {
        // What accepts has the modules below at its sockets: see `acceptors_below`.
        Role::Listener => None,
        _ => below(modules, &configs, &run)?,
    };
    if let Some(below) = below {
        builder = builder.dial_hook(below);
    }
    Ok(spare_instances(file, builder, run.spare_instances))
}

/// The configuration of each module, if it has one.
fn configs<'a>(modules: &[PathBuf], run: &'a RunArgs) -> Result<Vec<Option<&'a Path>>, Failure> {
    let configs = &run.transport.config;
    if modules.len() > 1 && run.load.sha256.is_some() {
        return Err(
            Failure::new("--sha256 is for one module, and there are several")
                .hint("sign the modules, and name the key with --trusted-key"),
        );
    }
    if modules.len() > 1 && run.load.trust.signature.is_some() {
        return Err(
            Failure::new("--signature is for one module, and there are several")
                .hint("keep the signature of each module beside it, with the ending .minisig"),
        );
    }
    let needed = modules.len().max(1);
    if !configs.is_empty() && configs.len() != needed {
        let (configs, modules) = (configs.len(), needed);
        let message = format!("there are {configs} configurations for {modules} modules");
        return Err(Failure::new(message)
            .hint("give one --config for each --module, in the same order; '' stands for none"));
    }
    let named =
        |path: &'a PathBuf| Some(path.as_path()).filter(|path| !path.as_os_str().is_empty());
    Ok(configs.iter().map(named).collect())
}

/// The dialer of the modules below the first, if there are any.
fn below(
    modules: &[PathBuf],
    configs: &[Option<&Path>],
    run: &RunArgs,
) -> Result<Option<Dialer>, Failure> {
    let mut below: Option<Dialer> = None;
    for (i, path) in modules.iter().enumerate().skip(1).rev() {
        let module = load(path, &run.load)?;
        let builder = configure_one(Dialer::builder(&module), configs.get(i).copied(), run)?;
        let builder = match (below, &run.proxy) {
            (Some(below), _) => builder.dial_hook(below),
            (None, Some(proxy)) => builder.dial_hook(proxy.clone()),
            (None, None) => builder,
        };
        below = Some(builder.build()?);
    }
    Ok(below)
}

/// What unwraps accepted connections for the first module, if there are others below it.
pub(crate) fn acceptors_below(
    modules: &[PathBuf],
    run: &RunArgs,
) -> Result<Option<Acceptor>, Failure> {
    let configs = configs(modules, run)?;
    let mut below: Option<Acceptor> = None;
    for (i, path) in modules.iter().enumerate().skip(1).rev() {
        let module = load(path, &run.load)?;
        let builder = configure_one(Listener::builder(&module), configs.get(i).copied(), run)?;
        let builder = match below {
            Some(below) => builder.over(below),
            None => builder,
        };
        below = Some(builder.acceptor()?);
    }
    Ok(below)
}

/// Applies the options to a module below another, which has its own configuration.
fn configure_one<R>(
    builder: Builder<R>,
    config: Option<Option<&Path>>,
    run: &RunArgs,
) -> Result<Builder<R>, Failure> {
    let builder = configure_from(&FromFile::NONE, builder, &run.transport)?;
    Ok(match config.flatten() {
        Some(config) => builder.config(read_config(config, "--config")?),
        None => builder,
    })
}

/// Applies the options to a dialer, listener or relay.
pub(crate) fn configure<R>(
    builder: Builder<R>,
    args: &TransportArgs,
) -> Result<Builder<R>, Failure> {
    let builder = configure_from(&FromFile::NONE, builder, args)?;
    Ok(match one_config(args)? {
        Some(path) => builder.config(read_config(path, "--config")?),
        None => builder,
    })
}

/// The configuration of a command that runs one module.
pub(crate) fn one_config(args: &TransportArgs) -> Result<Option<&Path>, Failure> {
    match &args.config[..] {
        [] => Ok(None),
        [path] => Ok(Some(path)),
        _ => Err(Failure::new(
            "--config is given twice, and there is one module",
        )),
    }
}

/// Applies the options to a builder that has what a configuration file says.
fn configure_from<R>(
    file: &FromFile,
    mut builder: Builder<R>,
    args: &TransportArgs,
) -> Result<Builder<R>, Failure> {
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
    let mut left = FILES_LIMIT;
    for file in &args.file {
        let bytes = read(&file.host, left).map_err(|error| {
            let message = format!("cannot read the file {}", file.host.display());
            Failure::because(message, error).hint(
                "check the option --file: all files together may take at most 64 MiB; give larger \
                 files in a directory with --dir",
            )
        })?;
        left -= bytes.len() as u64;
        builder = builder.file(&file.guest, bytes);
    }
    if args.inherit_stdio && file.lacks("stdio") {
        builder = builder.stdio(Stdio::Inherit);
    }
    Ok(limits(file, builder, args))
}

/// Applies the options for time and memory, and the defaults of the command.
fn limits<R>(file: &FromFile, mut builder: Builder<R>, args: &TransportArgs) -> Builder<R> {
    if file.lacks("connect_timeout") {
        builder = builder.connect_timeout(args.connect_timeout);
    }
    if file.lacks("setup_timeout") {
        builder = builder.setup_timeout(args.setup_timeout);
    }
    if file.lacks("close_grace") {
        builder = builder.close_grace(args.close_grace);
    }
    if file.lacks("drain_timeout") {
        builder = builder.drain_timeout(args.drain_timeout);
    }
    if file.lacks("keepalive") {
        builder = builder.keepalive(Some(args.keepalive).filter(|idle| !idle.is_zero()));
    }
    if file.lacks("memory_limit") {
        builder = builder.memory_limit(args.memory_limit);
    }
    if file.lacks("memory_headroom") {
        builder = builder.memory_headroom(args.memory_headroom);
    }
    if file.lacks("host_aead") {
        builder = builder.host_aead(!args.no_host_aead);
    }
    if file.lacks("descriptor_limit") {
        builder = builder.descriptor_limit(args.descriptor_limit.into());
    }
    builder
}

/// Applies the number of instances to keep ready.
fn spare_instances<R>(file: &FromFile, builder: Builder<R>, count: u16) -> Builder<R> {
    if file.lacks("spare_instances") {
        builder.spare_instances(count.into())
    } else {
        builder
    }
}

/// Reads the configuration that an option names.
pub(crate) fn read_config(path: &Path, option: &str) -> Result<Vec<u8>, Failure> {
    read(path, CONFIG_LIMIT).map_err(|error| {
        let message = format!("cannot read the configuration {}", path.display());
        Failure::because(message, error).hint(format!("check the option {option}"))
    })
}

/// Reads a file that is kept in memory. The file may be a pipe.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = fs::File::open(path)?.take(limit + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it is larger than {}", count(limit));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

impl From<&PolicyArgs> for AddressPolicy {
    fn from(args: &PolicyArgs) -> Self {
        let start = if args.allow_all {
            Self::allow_all()
        } else {
            Self::deny_all()
        };
        let allowing = args.allow.iter().cloned().fold(start, Self::allow);
        let denying = args.deny.iter().cloned().fold(allowing, Self::deny);
        let prefixes = args.nat64_prefix.iter().copied();
        prefixes.fold(denying, Self::nat64_prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_an_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert_eq!(read(file.path(), CONFIG_LIMIT).expect("nothing"), b"");
        fs::write(file.path(), "key").expect("a file");
        assert_eq!(read(file.path(), CONFIG_LIMIT).expect("a key"), b"key");
        file.as_file().set_len(CONFIG_LIMIT).expect("a size");
        let most = read(file.path(), CONFIG_LIMIT).expect("exactly the limit");
        assert_eq!(most.len() as u64, CONFIG_LIMIT);
        file.as_file().set_len(1 << 40).expect("a sparse file");
        for path in [file.path(), Path::new("/dev/zero")] {
            let error = read(path, CONFIG_LIMIT).expect_err("too much");
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
            assert!(error.to_string().contains("16.0 MiB"), "{error}");
        }
    }
}
