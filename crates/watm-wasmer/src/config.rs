//! Configuration files: tunnels in TOML, or the JSON configuration of the Go runtime.
//!
//! Knows how a file is written and what it names. Must never know how a setting takes effect: only
//! [`apply`] calls the builders.

mod apply;
mod contents;
mod file;
mod fronts;
mod node;
mod read;
mod resolved;
mod shown;
mod tunnel;
mod units;
mod value;
mod water;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watm_abi::{Excerpt, Role};

use self::file::{BelowTable, File, RoleName, TunnelTable};
use self::fronts::Fronts;
use self::node::{Document, Step};
use self::tunnel::{Origin, Source};
use crate::error::{ConfigFileError, ConfigFileProblem, KeyPlace};
use crate::module::ModuleLoader;
use crate::nearest::nearest;
use crate::roles::builder::Builder;
use crate::roles::dialer::{Dialer, FixedDialer};
use crate::roles::listener::Listener;
use crate::roles::relay::Relay;
use crate::roles::server::Server;

pub use self::apply::TunnelRole;
pub use self::tunnel::Tunnel;

/// Maximum size of a configuration file in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// A configuration file: one or more [`Tunnel`]s, each with a module, its role, addresses and
/// settings.
///
/// ```toml
/// [[tunnel]]
/// name = "web"
/// role = "dialer"
/// module = "plain.wasm"
/// remote = "server.example:443"
/// listen = ["127.0.0.1:1080"]
///
/// [tunnel.settings]
/// config = "key.txt"
/// setup_timeout = "10s"
/// ```
///
/// In the repository, `docs/configuration.md` explains the format, and `docs/watm-config.toml` is
/// an example with every key. The JSON configuration of the Go runtime can be read as well: see
/// [`Config::from_json`].
///
/// A key that is not known is an error, which names the nearest that there is. So is a value that
/// cannot be used.
///
/// ```no_run
/// use watm_wasmer::Config;
///
/// let config = Config::from_file("watm.toml")?;
/// for warning in config.warnings() {
///     eprintln!("{warning}");
/// }
/// // The builder is ready, and can be adjusted.
/// let dialer = config.dialer()?.timing(true).build()?;
/// let conn = dialer.dial("server.example:443")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    tunnels: Vec<Tunnel>,
    warnings: Vec<String>,
    path: Option<PathBuf>,
}

impl Config {
    /// Reads a configuration file of at most 1 MiB.
    ///
    /// A file that ends in `.json` is a configuration of the Go runtime, and one that ends in
    /// `.toml` is TOML. Any other is JSON if it begins with `{`.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if it cannot be read or makes no sense. The files that it names are not
    /// looked at.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigFileError> {
        let path = path.as_ref();
        // One byte more than allowed, which is what tells that there is more.
        let bytes = resolved::read_regular(path, FILE_LIMIT).map_err(|source| {
            let problem = match source.kind() {
                std::io::ErrorKind::FileTooLarge => {
                    ConfigFileProblem::TooLarge { limit: FILE_LIMIT }
                }
                _ => ConfigFileProblem::Read(source),
            };
            ConfigFileError::new(Some(path), KeyPlace::default(), problem)
        })?;
        let is_json = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => true,
            Some("toml") => false,
            _ => without_mark(&bytes).trim_ascii_start().starts_with(b"{"),
        };
        if is_json {
            Self::json(&bytes, Some(path))
        } else {
            Self::toml(&bytes, Some(path), resolved::directory_of(path))
        }
    }

    /// Parses a configuration in TOML. Relative paths in it start at the directory `base`.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if it makes no sense.
    pub fn from_toml(
        toml: impl AsRef<[u8]>,
        base: impl Into<PathBuf>,
    ) -> Result<Self, ConfigFileError> {
        Self::toml(toml.as_ref(), None, base.into())
    }

    /// Parses a configuration of the Go runtime for WATM modules, `water`, as its `Config` takes it
    /// from JSON. Relative paths in it start at the working directory, as they do there.
    ///
    /// Such a configuration has neither a role nor a remote, which the program chooses. What means
    /// nothing here becomes a warning ([`Config::warnings`]).
    ///
    /// | key | here |
    /// | --- | --- |
    /// | `transport_module.bin` | the path of the module |
    /// | `transport_module.config` | the path of its configuration |
    /// | `network.address_validator` | the [`AddressPolicy`](crate::AddressPolicy): with `catch_all`, all addresses but those of `denylist` are allowed; else none but those of `allowlist` |
    /// | `network.listener` | the address of [`Tunnel::listen`] |
    /// | `module.argv` | the arguments; the first is left out, since argument 0 is the name of the module |
    /// | `module.env` | the environment |
    /// | `module.inherit_stdin`, `inherit_stdout`, `inherit_stderr` | [`Stdio`](crate::Stdio); the other streams go to the log |
    /// | `module.preopened_dirs` | directories for reading and writing |
    /// | `runtime.force_interpreter`, `runtime.do_not_close_on_context_done` | nothing |
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if it makes no sense. A key that is not known is an error, unlike there.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, ConfigFileError> {
        Self::json(json.as_ref(), None)
    }

    fn json(bytes: &[u8], path: Option<&Path>) -> Result<Self, ConfigFileError> {
        let bytes = within_limit(bytes, path)?;
        let failed = |(place, problem)| ConfigFileError::new(path, place, problem);
        let document = Document::of_json(bytes).map_err(failed)?;
        let translated = water::translate(&document).map_err(failed)?;
        let source = Arc::new(Source {
            path: path.map(Path::to_owned),
            base: PathBuf::new(),
            trusted_keys: None,
            document,
        });
        let mut tunnel = Tunnel::new(source, Origin::Water, translated.module);
        tunnel.listen = values(translated.listen);
        tunnel.settings = translated.settings;
        Ok(Self {
            tunnels: vec![tunnel],
            warnings: translated.warnings,
            path: path.map(Path::to_owned),
        })
    }

    fn toml(bytes: &[u8], path: Option<&Path>, base: PathBuf) -> Result<Self, ConfigFileError> {
        let bytes = within_limit(bytes, path)?;
        let failed = |(place, problem)| ConfigFileError::new(path, place, problem);
        let document = Document::of_toml(bytes).map_err(failed)?;
        let file: File = read::read(&document, read::Keys::Exact).map_err(failed)?;
        let File {
            defaults,
            tunnel,
            trusted_keys,
            ..
        } = file;
        let source = Arc::new(Source {
            path: path.map(Path::to_owned),
            base,
            trusted_keys: trusted_keys.map(Arc::from),
            document,
        });
        let tables = tunnel.into_iter().enumerate();
        let tunnels: Vec<Tunnel> = tables
            .map(|(index, table)| tunnel_of(&source, index, table, &defaults))
            .collect::<Result<_, _>>()?;
        let mut names = HashMap::new();
        for (index, tunnel) in tunnels.iter().enumerate() {
            tunnel.check_addresses()?;
            tunnel.check_fronts()?;
            if let Some(before) = names.insert(tunnel.name().unwrap_or_default(), index) {
                let message = format!("`tunnel[{before}]` has this name already");
                return Err(tunnel.invalid(&["name".into()], message));
            }
        }
        if tunnels.is_empty() {
            let message = "there is no tunnel; each begins with a line `[[tunnel]]`";
            let place = source.document.find(&[Step::from("tunnel")]);
            let problem = ConfigFileProblem::Invalid(message.to_owned());
            return Err(ConfigFileError::new(path, place, problem));
        }
        Ok(Self {
            tunnels,
            warnings: Vec::new(),
            path: path.map(Path::to_owned),
        })
    }

    /// Sets the loader for modules, with its limits and its cache. The conditions of the file
    /// replace its own.
    pub fn loader(mut self, loader: ModuleLoader) -> Self {
        let tunnels = self.tunnels.into_iter();
        self.tunnels = tunnels
            .map(|tunnel| tunnel.loader(loader.clone()))
            .collect();
        self
    }

    /// What the file says that means nothing here, or something else. Each is a line of text.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The tunnels, in the order of the file. There is at least one.
    pub fn tunnels(&self) -> &[Tunnel] {
        &self.tunnels
    }

    /// The tunnel with this name.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if there is none.
    pub fn tunnel(&self, name: &str) -> Result<&Tunnel, ConfigFileError> {
        let mut tunnels = self.tunnels.iter();
        tunnels
            .find(|tunnel| tunnel.name() == Some(name))
            .ok_or_else(|| {
                let names = self.tunnels.iter().filter_map(Tunnel::name);
                let asked = Excerpt(name);
                self.no_such_tunnel(match nearest(name, names) {
                    Some(nearest) => {
                        format!("there is no tunnel `{asked}`; the nearest is `{nearest}`")
                    }
                    None => {
                        format!("there is no tunnel `{asked}`: the file has one without a name")
                    }
                })
            })
    }

    /// The only tunnel.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if there are several.
    pub fn only(&self) -> Result<&Tunnel, ConfigFileError> {
        match self.tunnels.as_slice() {
            [tunnel] => Ok(tunnel),
            tunnels => {
                let names = tunnels.iter().filter_map(Tunnel::name).take(10);
                let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
                let count = tunnels.len();
                let names = names.join(", ");
                Err(self.no_such_tunnel(format!(
                    "there are {count} tunnels, of which one has to be named: {names}"
                )))
            }
        }
    }

    fn no_such_tunnel(&self, message: String) -> ConfigFileError {
        let problem = ConfigFileProblem::NoSuchTunnel(message);
        ConfigFileError::new(self.path.as_deref(), KeyPlace::default(), problem)
    }
}

/// For a file with one tunnel. Each loads the module and returns the builder with all settings.
impl Config {
    /// The dialer that the file describes: see [`Tunnel::dialer`].
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if there are several tunnels, if the only one has another role, or if
    /// the module or another file that is named cannot be used.
    pub fn dialer(&self) -> Result<Builder<Dialer>, ConfigFileError> {
        self.only()?.dialer()
    }

    /// The fixed dialer that the file describes.
    ///
    /// # Errors
    ///
    /// As [`Config::dialer`].
    pub fn fixed_dialer(&self) -> Result<Builder<FixedDialer>, ConfigFileError> {
        self.only()?.fixed_dialer()
    }

    /// The listener that the file describes.
    ///
    /// # Errors
    ///
    /// As [`Config::dialer`].
    pub fn listener(&self) -> Result<Builder<Listener>, ConfigFileError> {
        self.only()?.listener()
    }

    /// The relay that the file describes.
    ///
    /// # Errors
    ///
    /// As [`Config::dialer`].
    pub fn relay(&self) -> Result<Builder<Relay>, ConfigFileError> {
        self.only()?.relay()
    }

    /// The server that the file describes: see [`Tunnel::server`].
    ///
    /// # Errors
    ///
    /// As [`Config::dialer`].
    pub fn server(&self) -> Result<Builder<Server>, ConfigFileError> {
        self.only()?.server()
    }
}

fn tunnel_of(
    source: &Arc<Source>,
    index: usize,
    table: TunnelTable,
    defaults: &file::Settings,
) -> Result<Tunnel, ConfigFileError> {
    let mut tunnel = Tunnel::new(Arc::clone(source), Origin::Toml(index), table.module);
    tunnel.name = Some(table.name.text);
    let role = match table.role {
        RoleName::Dialer => Role::Dialer,
        RoleName::FixedDialer => Role::FixedDialer,
        RoleName::Listener => Role::Listener,
        RoleName::Relay => Role::Relay,
    };
    tunnel.role = Some(role);
    tunnel.listen = values(table.listen);
    tunnel.remote = table.remote.map(|remote| remote.value);
    tunnel.forward = table.forward.map(|forward| forward.value);
    tunnel.fronts = Fronts {
        socks: table.socks,
        socks_auth: table.socks_auth.map(|path| path.value),
        open_proxy: table.open_proxy,
        proxy_protocol: table.proxy_protocol,
        send_proxy_protocol: table.send_proxy_protocol.map(|version| version.value),
    };
    if role == Role::Listener && table.settings.proxy.is_some() {
        let message = "a listener connects to no remote, and so needs no proxy";
        let key = ["settings".into(), "proxy".into()];
        return Err(tunnel.invalid(&key, message.to_owned()));
    }
    tunnel.settings = table.settings.or(defaults);
    let parts = table.below.into_iter().enumerate();
    let parts = parts.map(|(below, table)| {
        let origin = Origin::Below {
            tunnel: index,
            below,
        };
        part_of(source, origin, table, (role, defaults))
    });
    tunnel.below = parts.collect::<Result<_, _>>()?;
    Ok(tunnel)
}

/// A module below that of a tunnel of this role.
fn part_of(
    source: &Arc<Source>,
    origin: Origin,
    table: BelowTable,
    (role, defaults): (Role, &file::Settings),
) -> Result<Tunnel, ConfigFileError> {
    let mut part = Tunnel::new(Arc::clone(source), origin, table.module);
    part.role = Some(match role {
        Role::Listener => Role::Listener,
        _ => Role::Dialer,
    });
    if table.settings.proxy.is_some() {
        let message = "the proxy of a tunnel is set in its own settings; the last module uses it";
        let key = ["settings".into(), "proxy".into()];
        return Err(part.invalid(&key, message.to_owned()));
    }
    part.settings = table.settings.or(defaults);
    part.settings.proxy = None;
    Ok(part)
}

fn values<T>(parsed: Vec<value::Parsed<T>>) -> Vec<T> {
    parsed.into_iter().map(|parsed| parsed.value).collect()
}

/// The text without the mark that some editors put before it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn within_limit<'b>(bytes: &'b [u8], path: Option<&Path>) -> Result<&'b [u8], ConfigFileError> {
    if bytes.len() as u64 > FILE_LIMIT {
        let problem = ConfigFileProblem::TooLarge { limit: FILE_LIMIT };
        return Err(ConfigFileError::new(path, KeyPlace::default(), problem));
    }
    Ok(without_mark(bytes))
}

#[cfg(test)]
mod tests;
