//! The JSON configuration of the Go runtime, and what it means here.
//!
//! `docs/configuration.md` has the same as a table. Go's decoder takes keys in either case, and
//! leaves out what is null. Unlike it, this refuses keys that it does not know.

use std::collections::BTreeMap;

use serde::Deserialize;
use watm_abi::Excerpt;

use super::file::{
    ConfigKey, DirectoryTable, ModuleKey, PolicyTable, Settings, StdioKey, StdioName, StreamName,
};
use super::node::{Document, Refused, Step};
use super::read::{Keys, read};
use super::value::{HostPath, Parsed};
use crate::error::{ConfigFileProblem, KeyPlace};
use crate::net::address::{Address, ListenAddress};
use crate::net::policy::AddressEntry;

/// What a configuration says, in the terms of this runtime.
pub(super) struct Translated {
    pub(super) module: ModuleKey,
    pub(super) listen: Vec<Parsed<ListenAddress>>,
    pub(super) settings: Settings,
    /// What means nothing here, or something else.
    pub(super) warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    transport_module: TransportModule,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    module: Module,
    #[serde(default)]
    runtime: Runtime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransportModule {
    bin: Parsed<HostPath>,
    #[serde(default)]
    config: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    address_validator: Option<AddressValidator>,
    #[serde(default)]
    listener: Listener,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressValidator {
    #[serde(default)]
    catch_all: bool,
    allowlist: Option<Networks>,
    denylist: Option<Networks>,
}

/// Addresses, each with the names of networks. In Go, null is a list that was forgotten.
type Networks = BTreeMap<String, Option<Vec<String>>>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listener {
    #[serde(default)]
    network: String,
    #[serde(default)]
    address: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    #[serde(default)]
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    inherit_stdin: bool,
    #[serde(default)]
    inherit_stdout: bool,
    #[serde(default)]
    inherit_stderr: bool,
    #[serde(default)]
    preopened_dirs: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Runtime {
    #[serde(default)]
    force_interpreter: bool,
    #[serde(default)]
    do_not_close_on_context_done: bool,
}

/// Reads a configuration of the Go runtime.
pub(super) fn translate(document: &Document) -> Result<Translated, Refused> {
    let Root {
        transport_module,
        network,
        module,
        runtime,
    } = read(document, Keys::AnyCase)?;
    let mut notes = Notes {
        document,
        warnings: Vec::new(),
    };
    let mut settings = Settings::default();
    if !transport_module.config.is_empty() {
        let key = ["transport_module", "config"];
        settings.config = Some(ConfigKey::File(
            notes.parsed(&key, &transport_module.config)?,
        ));
    }
    settings.policy = network
        .address_validator
        .map(|validator| notes.policy(validator))
        .transpose()?;
    let listen = notes.listener(&network.listener)?;
    settings.args = notes.arguments(module.argv, &transport_module.bin.value);
    settings.env = Some(module.env).filter(|env| !env.is_empty());
    settings.stdio = stdio(
        module.inherit_stdin,
        module.inherit_stdout,
        module.inherit_stderr,
    );
    settings.dirs = notes.directories(module.preopened_dirs)?;
    if runtime.force_interpreter {
        notes.warn(
            &["runtime", "force_interpreter"],
            "there is no interpreter here: the module is compiled",
        );
    }
    if runtime.do_not_close_on_context_done {
        notes.warn(
            &["runtime", "do_not_close_on_context_done"],
            "there are no contexts here: connections end when they are closed or dropped",
        );
    }
    Ok(Translated {
        module: ModuleKey::File(transport_module.bin),
        listen,
        settings,
        warnings: notes.warnings,
    })
}

/// The streams that are the host's own. The Go runtime drops what goes to the others; here it goes
/// to the log.
fn stdio(stdin: bool, stdout: bool, stderr: bool) -> Option<StdioKey> {
    let streams = [
        (stdin, StreamName::Stdin),
        (stdout, StreamName::Stdout),
        (stderr, StreamName::Stderr),
    ];
    match [stdin, stdout, stderr] {
        [false, false, false] => None,
        [true, true, true] => Some(StdioKey::All(StdioName::Inherit)),
        _ => {
            let inherited = streams.into_iter().filter(|(inherits, _)| *inherits);
            Some(StdioKey::These(inherited.map(|(_, name)| name).collect()))
        }
    }
}

/// How the Go runtime would treat an address in one of its lists.
enum Listed {
    /// This entry is what it means.
    Entry(String),
    /// It never dials such an address, and neither does this runtime.
    Never(&'static str),
}

/// Collects warnings, and knows where things stand.
struct Notes<'d> {
    document: &'d Document,
    warnings: Vec<String>,
}

impl Notes<'_> {
    fn place(&self, key: &[&str]) -> KeyPlace {
        let path: Vec<Step> = key.iter().map(|key| Step::from(*key)).collect();
        self.document.find(&path)
    }

    fn warn(&mut self, key: &[&str], message: &str) {
        let place = self.place(key);
        self.warnings.push(format!("{place}: {message}"));
    }

    fn invalid(&self, key: &[&str], message: impl Into<String>) -> Refused {
        let problem = ConfigFileProblem::Invalid(message.into());
        (self.place(key), Box::new(problem))
    }

    fn parsed<T: super::value::Written>(
        &self,
        key: &[&str],
        text: &str,
    ) -> Result<Parsed<T>, Refused> {
        text.parse()
            .map_err(|error: String| self.invalid(key, error))
    }

    /// One of two lists counts: that of denied addresses with `catch_all`, and else that of allowed
    /// ones. If it is missing, the Go runtime denies everything.
    fn policy(&mut self, validator: AddressValidator) -> Result<PolicyTable, Refused> {
        const HERE: &str = "address_validator";
        let AddressValidator {
            catch_all,
            allowlist,
            denylist,
        } = validator;
        let (name, list, other_name, other) = if catch_all {
            ("denylist", denylist, "allowlist", allowlist)
        } else {
            ("allowlist", allowlist, "denylist", denylist)
        };
        if other.is_some_and(|other| !other.is_empty()) {
            let message = if catch_all {
                "with `catch_all`, this list means nothing: what is not denied is allowed"
            } else {
                "without `catch_all`, this list means nothing: what is not allowed is denied"
            };
            self.warn(&["network", HERE, other_name], message);
        }
        let mut policy = PolicyTable::default();
        let Some(list) = list else {
            if catch_all {
                self.warn(
                    &["network", HERE],
                    "with `catch_all` and no `denylist`, the Go runtime denies everything, and so \
                     does this one; write \"denylist\": {} to allow everything",
                );
            }
            return Ok(policy);
        };
        policy.allow_all = catch_all;
        for (address, networks) in list {
            let key = ["network", HERE, name, address.as_str()];
            let networks = match networks {
                Some(networks) => networks,
                // Then the Go runtime denies this address, whatever the network.
                None if catch_all => vec!["tcp".to_owned()],
                None => Vec::new(),
            };
            for network in networks {
                let Some(entry) = self.entry(&key, &address, &network, catch_all)? else {
                    continue;
                };
                if catch_all {
                    policy.deny.push(entry);
                } else {
                    policy.allow.push(entry);
                }
            }
        }
        Ok(policy)
    }

    /// The entry for an address and a network; nothing if no module can dial it.
    fn entry(
        &mut self,
        key: &[&str],
        address: &str,
        network: &str,
        denies: bool,
    ) -> Result<Option<Parsed<AddressEntry>>, Refused> {
        if !matches!(network, "tcp" | "tcp4" | "tcp6") {
            let message = format!(
                "the network \"{}\" means nothing here: modules dial tcp, tcp4 and tcp6",
                Excerpt(network)
            );
            self.warn(key, &message);
            return Ok(None);
        }
        let address = match listed(address) {
            Listed::Entry(address) => address,
            Listed::Never(why) => {
                self.warn(key, &format!("this never applies: {why}"));
                return Ok(None);
            }
        };
        match format!("{network}://{address}").parse::<Parsed<AddressEntry>>() {
            Ok(entry) => Ok(Some(entry)),
            // What is allowed by mistake is worse than what is denied by mistake.
            Err(error) if denies => Err(self.invalid(key, error)),
            Err(error) => {
                self.warn(key, &format!("this allows nothing: {error}"));
                Ok(None)
            }
        }
    }

    fn listener(&mut self, listener: &Listener) -> Result<Vec<Parsed<ListenAddress>>, Refused> {
        let Listener { network, address } = listener;
        let key = ["network", "listener"];
        if network.is_empty() && address.is_empty() {
            return Ok(Vec::new());
        }
        if network.is_empty() || address.is_empty() {
            let message = "without both `network` and `address`, this means nothing";
            self.warn(&key, message);
            return Ok(Vec::new());
        }
        if !matches!(network.as_str(), "tcp" | "tcp4" | "tcp6") {
            let message = format!(
                "it is not possible to listen on the network \"{}\"; expected tcp, tcp4 or tcp6",
                Excerpt(network)
            );
            return Err(self.invalid(&["network", "listener", "network"], message));
        }
        let key = ["network", "listener", "address"];
        let parsed: Parsed<ListenAddress> = self.parsed(&key, address)?;
        let ip = parsed
            .value
            .host()
            .and_then(|host| host.parse::<std::net::IpAddr>().ok());
        let port = parsed.value.port();
        if parsed.value.unix().is_some() || parsed.value.inherited().is_some() {
            return Err(self.invalid(&key, "it is no address of TCP; expected HOST:PORT"));
        }
        let all = parsed.value.host().is_none();
        match network.as_str() {
            "tcp4" if all => Ok(vec![self.parsed(&key, &format!("0.0.0.0:{port}"))?]),
            "tcp6" if all => Ok(vec![self.parsed(&key, &format!("[::]:{port}"))?]),
            "tcp4" if ip.is_some_and(|ip| ip.is_ipv6()) => {
                Err(self.invalid(&key, "the network is tcp4, but this is an IPv6 address"))
            }
            "tcp6" if ip.is_some_and(|ip| ip.is_ipv4()) => {
                Err(self.invalid(&key, "the network is tcp6, but this is an IPv4 address"))
            }
            _ => Ok(vec![parsed]),
        }
    }

    /// Argument 0 is the name of the module here, so the first of Go's is left out.
    fn arguments(&mut self, argv: Vec<String>, module: &HostPath) -> Option<Vec<String>> {
        let mut argv = argv.into_iter();
        let first = argv.next()?;
        let name = module.0.file_stem().unwrap_or_default().to_string_lossy();
        if first != name {
            let message = format!(
                "argument 0 is the name of the module here, \"{}\", not \"{}\"; the others are \
                 passed on",
                Excerpt(&name),
                Excerpt(&first)
            );
            self.warn(&["module", "argv"], &message);
        }
        Some(argv)
            .filter(|argv| argv.len() > 0)
            .map(Iterator::collect)
    }

    /// The Go runtime gives directories for reading and writing. It takes a path of the guest
    /// without a slash for one below the root.
    fn directories(
        &mut self,
        dirs: BTreeMap<String, String>,
    ) -> Result<Option<Vec<DirectoryTable>>, Refused> {
        if dirs.is_empty() {
            return Ok(None);
        }
        let dirs = dirs.into_iter().map(|(host, guest)| {
            Ok(DirectoryTable {
                host: self.parsed(&["module", "preopened_dirs", &host], &host)?,
                guest: absolute(&guest),
                writable: true,
            })
        });
        dirs.collect::<Result<_, _>>().map(Some)
    }
}

/// A path of a guest from its root, without what Go strips off.
fn absolute(guest: &str) -> String {
    let mut path = guest;
    loop {
        let shorter = path.strip_prefix('/').or_else(|| path.strip_prefix("./"));
        match shorter {
            Some(shorter) => path = shorter,
            None => break,
        }
    }
    match path.trim_end_matches('/') {
        "" | "." => "/".to_owned(),
        path => format!("/{path}"),
    }
}

/// What an address in a list of the Go runtime stands for. It is compared as it is written.
fn listed(text: &str) -> Listed {
    let address: Address = match text.parse() {
        Ok(address) => address,
        Err(_) => {
            return Listed::Never(
                "an address is written as HOST:PORT, with the number of the port",
            );
        }
    };
    let host = address.host();
    if address.port() == 0 {
        return Listed::Never("nothing is dialled at port 0");
    }
    // They would mean more here.
    if host.contains(['*', '/']) {
        return Listed::Never("the Go runtime knows no patterns and no blocks of addresses");
    }
    match host.split_once('%') {
        // An entry holds in every zone.
        Some((ip, _)) => Listed::Entry(format!("[{ip}]:{}", address.port())),
        None => Listed::Entry(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
