//! One tunnel of a configuration file: what it says, what it names, and the builders made from it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use watm_abi::{InterfaceError, Role};

use super::apply::{self, TunnelRole};
use super::file::{ModuleKey, Settings, StdioKey, StdioName, StreamName};
use super::fronts::Fronts;
use super::node::{Document, Step};
use super::resolved::Resolved;
use super::value::{KeyOrFile, Parsed};
use crate::error::{
    ConfigError, ConfigFileError, ConfigFileProblem, KeyPlace, LoadError, missing_role,
};
use crate::module::hash::ModuleHash;
use crate::module::info::ModuleInfo;
use crate::module::signature::TrustedKey;
use crate::module::{ModuleLoader, TransportModule};
use crate::net::address::{Address, ListenAddress};
use crate::net::proxy::UpstreamProxy;
use crate::roles::builder::Builder;
use crate::roles::dialer::{Dialer, FixedDialer};
use crate::roles::listener::Listener;
use crate::roles::relay::Relay;
use crate::roles::server::Server;

/// The file that a tunnel comes from.
pub(super) struct Source {
    pub(super) path: Option<PathBuf>,
    /// Where relative paths start.
    pub(super) base: PathBuf,
    /// The keys of the file, for modules that name none.
    pub(super) trusted_keys: Option<Arc<[Parsed<KeyOrFile>]>>,
    pub(super) document: Document,
}

/// Where in its file a tunnel stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// It is one of the tables `[[tunnel]]`.
    Toml(usize),
    /// It is one of the modules below that of a tunnel.
    Below { tunnel: usize, below: usize },
    /// It is the whole configuration of the Go runtime.
    Water,
}

/// A tunnel of a [`Config`](crate::Config): a module, its role, the addresses on both sides, and
/// the settings.
///
/// The functions that return a builder load the module and read the files that are named. The
/// builder can still be adjusted.
///
/// ```
/// use watm_wasmer::{Config, Role};
///
/// # let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built");
/// let file = r#"
///     [[tunnel]]
///     name = "web"
///     role = "dialer"
///     module = "plain.wasm"
///     remote = "server.example:443"
///     listen = ["127.0.0.1:1080"]
///
///     [tunnel.settings]
///     setup_timeout = "10s"
/// "#;
/// let config = Config::from_toml(file, modules)?;
/// for tunnel in config.tunnels() {
///     // Nothing is compiled, bound or dialled for this.
///     let info = tunnel.check()?;
///     println!("{:?}: a module of {} bytes", tunnel.name(), info.size());
///     for (key, value) in tunnel.settings() {
///         println!("    {key} = {value}");
///     }
/// }
///
/// let tunnel = config.tunnel("web")?;
/// assert_eq!(tunnel.role(), Some(Role::Dialer));
/// assert_eq!(tunnel.remote().map(|remote| remote.host()), Some("server.example"));
/// assert!(tunnel.sets("setup_timeout") && !tunnel.sets("keepalive"));
/// let dialer = tunnel.dialer()?.build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tunnel {
    pub(super) source: Arc<Source>,
    origin: Origin,
    pub(super) name: Option<String>,
    pub(super) role: Option<Role>,
    pub(super) module: ModuleKey,
    pub(super) listen: Vec<ListenAddress>,
    pub(super) remote: Option<Address>,
    pub(super) forward: Option<Address>,
    pub(super) fronts: Fronts,
    pub(super) settings: Settings,
    /// The modules between that of this tunnel and the network; the last is next to the network.
    pub(super) below: Vec<Tunnel>,
    /// Those of the file, unless they are left out.
    pub(super) trusted_keys: Option<Arc<[Parsed<KeyOrFile>]>>,
    pub(super) loader: ModuleLoader,
}

impl Origin {
    /// The steps to its table.
    fn steps(self) -> Vec<Step> {
        match self {
            Self::Toml(index) => vec!["tunnel".into(), index.into()],
            Self::Below { tunnel, below } => {
                vec!["tunnel".into(), tunnel.into(), "below".into(), below.into()]
            }
            Self::Water => Vec::new(),
        }
    }
}

impl fmt::Debug for Tunnel {
    /// Without the values of settings, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("module", &self.module_file())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Tunnel {
    pub(super) fn new(source: Arc<Source>, origin: Origin, module: ModuleKey) -> Self {
        Self {
            trusted_keys: source.trusted_keys.clone(),
            source,
            origin,
            name: None,
            role: None,
            module,
            listen: Vec::new(),
            remote: None,
            forward: None,
            fronts: Fronts::default(),
            settings: Settings::default(),
            below: Vec::new(),
            loader: ModuleLoader::new(),
        }
    }

    /// The name. A configuration of the Go runtime has none.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The role. A configuration of the Go runtime has none, and fits each.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// The file of the module. A relative path starts at the directory of the configuration file,
    /// or at the working directory if that is one of the Go runtime.
    pub fn module_file(&self) -> PathBuf {
        self.source.base.join(&self.module.file().value.0)
    }

    /// The SHA-256 that the module must have.
    pub fn sha256(&self) -> Option<ModuleHash> {
        match &self.module {
            ModuleKey::Table(table) => table.sha256.as_ref().map(|hash| hash.value),
            ModuleKey::File(_) => None,
        }
    }

    /// The addresses to listen on.
    pub fn listen(&self) -> &[ListenAddress] {
        &self.listen
    }

    /// Where a dialer or a relay connects to.
    pub fn remote(&self) -> Option<&Address> {
        self.remote.as_ref()
    }

    /// The plain server that a listener forwards to.
    pub fn forward(&self) -> Option<&Address> {
        self.forward.as_ref()
    }

    /// The modules of a chain that stand between that of this tunnel and the network, with their
    /// settings. The last is next to the network. The functions that return a builder put it over
    /// them.
    pub fn below(&self) -> &[Tunnel] {
        &self.below
    }

    /// The settings of the file, by their keys in TOML, with their values as a person reads them.
    /// Values that may be secret are left out: the text of a configuration, and those of variables.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        super::shown::shown(&self.settings)
    }

    /// Whether the file has the setting with this key of TOML.
    pub fn sets(&self, key: &str) -> bool {
        self.settings.keys().contains(&key)
    }

    /// Sets the proxy that outgoing connections are made through, in place of that of the file.
    pub fn proxy(mut self, proxy: UpstreamProxy) -> Self {
        self.settings.proxy = Some(Parsed {
            text: proxy.to_string(),
            value: proxy,
        });
        self
    }

    /// Leaves out the modules below this one.
    pub fn alone(mut self) -> Self {
        self.below.clear();
        self
    }

    /// The grace period that the file sets: see [`Builder::close_grace`].
    pub fn close_grace(&self) -> Option<Duration> {
        let grace = self.settings.close_grace.as_ref();
        grace.map(|grace| grace.value.0)
    }

    /// The drain timeout that the file sets: see [`Builder::drain_timeout`].
    pub fn drain_timeout(&self) -> Option<Duration> {
        let timeout = self.settings.drain_timeout.as_ref();
        timeout.map(|timeout| timeout.value.0)
    }

    /// The maximum number of connections at the same time that the file sets. It holds for servers
    /// and relays, whose builders the functions below return.
    pub fn connection_limit(&self) -> Option<usize> {
        let limit = self.settings.connection_limit?;
        Some(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// Whether the module gets the standard input or the standard output of the host, which then
    /// cannot be a connection.
    pub fn uses_stdio(&self) -> bool {
        match &self.settings.stdio {
            Some(StdioKey::All(name)) => *name == StdioName::Inherit,
            Some(StdioKey::These(names)) => {
                names.contains(&StreamName::Stdin) || names.contains(&StreamName::Stdout)
            }
            None => false,
        }
    }

    /// Leaves out the setting with this key of TOML, so that the default holds, or what the program
    /// sets. Does nothing if the file does not have it. With the key `trusted_keys`, neither the
    /// module nor those below it have any but those of their loader.
    pub fn without(mut self, key: &str) -> Self {
        if key != "trusted_keys" {
            self.settings.clear(key);
            return self;
        }
        self.trusted_keys = None;
        if let ModuleKey::Table(table) = &mut self.module {
            table.trusted_keys = None;
        }
        let below = self.below.into_iter();
        self.below = below.map(|part| part.without(key)).collect();
        self
    }

    /// Sets the loader for the module, with its limits and its cache. The conditions of the file
    /// replace its own.
    pub fn loader(mut self, loader: ModuleLoader) -> Self {
        let below = self.below.into_iter();
        self.below = below.map(|part| part.loader(loader.clone())).collect();
        self.loader = loader;
        self
    }

    /// The loader for the module, with the conditions of the file.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if the file of a trusted key cannot be used.
    pub fn module_loader(&self) -> Result<ModuleLoader, ConfigFileError> {
        let mut loader = self.loader.clone();
        if let Some(keys) = self.keys()? {
            loader = loader.trusted_keys(keys);
        }
        if let ModuleKey::Table(table) = &self.module {
            if let Some(signature) = &table.signature {
                loader = loader.signature_file(self.source.base.join(&signature.value.0));
            }
            if let Some(hash) = &table.sha256 {
                loader = loader.sha256(hash.value);
            }
            if let Some(size) = &table.max_size {
                loader = loader.max_size(size.value.0);
            }
            if let Some(limit) = &table.compile_timeout {
                loader = loader.compile_timeout(limit.value.0);
            }
        }
        Ok(loader)
    }

    /// The keys by one of which the module has to be signed, if a signature is demanded.
    fn keys(&self) -> Result<Option<Vec<TrustedKey>>, ConfigFileError> {
        let own = match &self.module {
            ModuleKey::Table(table) => table.trusted_keys.as_deref(),
            ModuleKey::File(_) => None,
        };
        let Some(keys) = own.or(self.trusted_keys.as_deref()) else {
            return Ok(None);
        };
        let keys = keys.iter().enumerate();
        let read = keys.map(|(index, key)| match &key.value {
            KeyOrFile::Key(key) => Ok(key.clone()),
            KeyOrFile::File(path) => {
                let path = self.source.base.join(&path.0);
                TrustedKey::from_file(&path).map_err(|error| {
                    let steps = ["trusted_keys".into(), index.into()];
                    let message = error.to_string();
                    match own {
                        Some(_) => {
                            self.invalid(&[&["module".into()], &steps[..]].concat(), message)
                        }
                        None => self.error_at(&steps, ConfigFileProblem::Invalid(message)),
                    }
                })
            }
        });
        read.collect::<Result<_, _>>().map(Some)
    }

    /// Loads the module.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] with the [`LoadError`].
    pub fn load_module(&self) -> Result<TransportModule, ConfigFileError> {
        let loaded = self.module_loader()?.load_file(self.module_file());
        loaded.map_err(|error| self.load_error(error))
    }

    /// Checks all that can be checked without compiling the module or binding an address: the
    /// module's hash, signature, interface and role, the files and directories that are named, and
    /// the same of the modules below it. Returns what the module declares.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] with the first problem.
    pub fn check(&self) -> Result<ModuleInfo, ConfigFileError> {
        let info = self.check_module()?;
        for part in &self.below {
            part.check_module()?;
        }
        Ok(info)
    }

    fn check_module(&self) -> Result<ModuleInfo, ConfigFileError> {
        let file = self.module_file();
        let loader = self.module_loader()?;
        let verified = loader.read_file(&file).and_then(|bytes| {
            loader.verify_read(&bytes, Some(&file))?;
            Ok(bytes)
        });
        let bytes = verified.map_err(|error| self.load_error(error))?;
        let info = ModuleInfo::parse(&bytes).map_err(|error| self.load_error(error))?;
        let problems: Vec<InterfaceError> = info.problems().to_vec();
        if !problems.is_empty() {
            return Err(self.load_error(LoadError::Interface(problems)));
        }
        if let Some(role) = self.role
            && !info.roles().contains(role)
        {
            let problem = ConfigFileProblem::Config(missing_role(role, info.roles()));
            let key = match self.origin {
                Origin::Below { .. } => "module",
                _ => "role",
            };
            return Err(self.error(&[key.into()], problem));
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let resolved = self.resolve()?;
        let checked = resolved.check(&self.settings, &name);
        checked.map_err(|(steps, problem)| self.setting_error(&steps, problem))?;
        Ok(info)
    }

    /// Applies the settings to a builder, over what it has, and the remote to that of a relay. Puts
    /// it over the modules below, which are loaded, and has it use the proxy. Either becomes its dial
    /// hook, in place of one that it has; one that the program sets afterwards replaces them in turn.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if a file that is named cannot be used.
    pub fn configure<R: TunnelRole>(
        &self,
        builder: Builder<R>,
    ) -> Result<Builder<R>, ConfigFileError> {
        let resolved = self.resolve()?;
        let builder = apply::settings(builder, &self.settings, resolved);
        R::stand_on(R::apply(builder, self), self)
    }

    /// The dialer of this tunnel. Its remote is in [`Tunnel::remote`].
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if the tunnel has another role, or if the module or another file that is
    /// named cannot be used.
    pub fn dialer(&self) -> Result<Builder<Dialer>, ConfigFileError> {
        self.check_role(Role::Dialer)?;
        self.configure(Dialer::builder(&self.load_module()?))
    }

    /// The fixed dialer of this tunnel.
    ///
    /// # Errors
    ///
    /// As [`Tunnel::dialer`].
    pub fn fixed_dialer(&self) -> Result<Builder<FixedDialer>, ConfigFileError> {
        self.check_role(Role::FixedDialer)?;
        self.configure(FixedDialer::builder(&self.load_module()?))
    }

    /// The listener of this tunnel. Its addresses are in [`Tunnel::listen`].
    ///
    /// # Errors
    ///
    /// As [`Tunnel::dialer`].
    pub fn listener(&self) -> Result<Builder<Listener>, ConfigFileError> {
        self.check_role(Role::Listener)?;
        self.configure(Listener::builder(&self.load_module()?))
    }

    /// The relay of this tunnel, with its remote, and with what its connections begin with. Its addresses are in [`Tunnel::listen`].
    ///
    /// # Errors
    ///
    /// As [`Tunnel::dialer`].
    pub fn relay(&self) -> Result<Builder<Relay>, ConfigFileError> {
        self.check_role(Role::Relay)?;
        let relay = self.configure(Relay::builder(&self.load_module()?))?;
        Ok(if self.fronts.proxy_protocol {
            relay.proxy_protocol()
        } else {
            relay
        })
    }

    /// The server of this tunnel, which carries plain connections: of a dialer to its remote or to where
    /// each client asks, of a fixed dialer to where the module says, and of a listener to the plain
    /// server that it forwards to or to where each client asks. Its addresses are in
    /// [`Tunnel::listen`].
    ///
    /// # Errors
    ///
    /// As [`Tunnel::dialer`], and if the file does not say where connections go. A relay is no such
    /// server, and neither is a tunnel without a role.
    pub fn server(&self) -> Result<Builder<Server>, ConfigFileError> {
        let missing = |key: &str| {
            let message = "this key is missing: it says where connections go".to_owned();
            self.invalid(&[key.into()], message)
        };
        match self.role {
            Some(Role::Dialer) if self.remote.is_none() && !self.fronts.socks => {
                Err(missing("remote"))
            }
            Some(Role::Dialer) => self.with_fronts(self.dialer()?),
            Some(Role::FixedDialer) => self.with_fronts(self.fixed_dialer()?),
            Some(Role::Listener) if self.forward.is_none() && !self.fronts.open_proxy => {
                Err(missing("forward"))
            }
            Some(Role::Listener) => self.with_fronts(self.listener()?),
            Some(Role::Relay) => {
                let message = "a relay is not a server of plain connections: see `Tunnel::relay`";
                Err(self.invalid(&["role".into()], message.to_owned()))
            }
            None => {
                let message = "the configuration does not say in which role the module is used";
                Err(self.invalid(&[], message.to_owned()))
            }
        }
    }

    /// Checks that the tunnel can be used in a role.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if the file says that it has another.
    pub fn check_role(&self, role: Role) -> Result<(), ConfigFileError> {
        match self.role {
            Some(own) if own != role => {
                let message = format!("this tunnel is a {own}, not a {role}");
                Err(self.invalid(&["role".into()], message))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the addresses are those of the role.
    pub(super) fn check_addresses(&self) -> Result<(), ConfigFileError> {
        let Some(role) = self.role else {
            return Ok(());
        };
        let refuse = |key: &str, message: &str| Err(self.invalid(&[key.into()], message.into()));
        if self.forward.is_some() && role != Role::Listener {
            return refuse(
                "forward",
                "only a listener forwards; a dialer or relay has a `remote`",
            );
        }
        match (role, &self.remote) {
            (Role::Listener, Some(_)) => {
                return refuse(
                    "remote",
                    "a listener has no remote; the key `forward` says where \
                    what it unwraps goes",
                );
            }
            (Role::FixedDialer, Some(_)) => {
                return refuse(
                    "remote",
                    "the module of a fixed dialer chooses the remote; the role \
                    that takes one is \"dialer\"",
                );
            }
            _ => {}
        }
        let policy = self.settings.policy.as_ref();
        let allows = policy.is_some_and(|policy| policy.allow_all || !policy.allow.is_empty());
        let chooses = role == Role::FixedDialer
            || (role == Role::Relay && self.remote.is_none())
            || self.fronts.open_proxy;
        if chooses && !allows {
            let who = if self.fronts.open_proxy {
                "clients choose where they are connected to, but may go nowhere"
            } else {
                "the module chooses where it connects to, but may connect to nothing"
            };
            let message = format!("{who}: name the addresses with `policy = {{ allow = [..] }}`");
            return Err(self.setting_error(&["policy".into()], ConfigFileProblem::Invalid(message)));
        }
        Ok(())
    }

    pub(super) fn resolve(&self) -> Result<Resolved, ConfigFileError> {
        Resolved::read(&self.settings, &self.source.base)
            .map_err(|(steps, problem)| self.setting_error(&steps, problem))
    }

    /// The error for a module that cannot be what it is used as, or for its settings.
    pub(super) fn unfit(&self, error: ConfigError) -> ConfigFileError {
        let key = match &error {
            ConfigError::Role(_) => "module",
            _ => "settings",
        };
        self.error(&[key.into()], ConfigFileProblem::Config(error))
    }

    pub(super) fn load_error(&self, error: LoadError) -> ConfigFileError {
        let mut steps: Vec<Step> = match self.origin {
            Origin::Toml(_) | Origin::Below { .. } => vec!["module".into()],
            Origin::Water => vec!["transport_module".into(), "bin".into()],
        };
        if let ModuleKey::Table(table) = &self.module {
            let key = match &error {
                LoadError::Hash { .. } => "sha256",
                LoadError::Signature { .. } if table.signature.is_some() => "signature",
                LoadError::TooLarge { .. } => "max_size",
                LoadError::CompileTimeout { .. } => "compile_timeout",
                _ => "file",
            };
            steps.push(key.into());
        }
        self.error(&steps, ConfigFileProblem::Load(error))
    }

    pub(super) fn invalid(&self, steps: &[Step], message: String) -> ConfigFileError {
        self.error(steps, ConfigFileProblem::Invalid(message))
    }

    /// An error at a key of this tunnel.
    pub(super) fn error(
        &self,
        steps: &[Step],
        problem: impl Into<Box<ConfigFileProblem>>,
    ) -> ConfigFileError {
        let mut path = self.origin.steps();
        path.extend_from_slice(steps);
        self.error_at(&path, problem)
    }

    /// An error at a key of the file.
    fn error_at(
        &self,
        path: &[Step],
        problem: impl Into<Box<ConfigFileProblem>>,
    ) -> ConfigFileError {
        let place = self.source.document.find(path);
        ConfigFileError::new(self.source.path.as_deref(), place, problem)
    }

    /// An error at a setting, wherever in the file that is set.
    fn setting_error(
        &self,
        steps: &[Step],
        problem: impl Into<Box<ConfigFileProblem>>,
    ) -> ConfigFileError {
        let place = self.setting_place(steps);
        ConfigFileError::new(self.source.path.as_deref(), place, problem)
    }

    fn setting_place(&self, steps: &[Step]) -> KeyPlace {
        let document = &self.source.document;
        if let Origin::Water = self.origin {
            return document.find(&water_key(steps.first()));
        }
        let mut own = self.origin.steps();
        own.push("settings".into());
        own.extend(steps.iter().take(1).cloned());
        let mut path = if document.has(&own) {
            own
        } else {
            let mut default = vec![Step::from("defaults")];
            default.extend(steps.iter().take(1).cloned());
            if document.has(&default) { default } else { own }
        };
        path.extend(steps.iter().skip(1).cloned());
        document.find(&path)
    }
}

/// Where a setting stands in a configuration of the Go runtime.
fn water_key(key: Option<&Step>) -> Vec<Step> {
    let Some(Step::Key(key)) = key else {
        return Vec::new();
    };
    let path: &[&str] = match key.as_str() {
        "config" => &["transport_module", "config"],
        "args" => &["module", "argv"],
        "env" => &["module", "env"],
        "dirs" => &["module", "preopened_dirs"],
        "policy" => &["network", "address_validator"],
        _ => &[],
    };
    path.iter().map(|key| Step::from(*key)).collect()
}
