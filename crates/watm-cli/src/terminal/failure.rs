//! Why a command failed, as the person at the terminal reads it: the message, its whole chain of
//! causes, and what to do about it.

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, Write};
use std::net::Ipv6Addr;

use watm_abi::MAX_EXCERPT;
use watm_wasmer::{
    AcceptError, AddressEntry, CacheError, ConfigError, DialError, ListenError, LoadError,
    TransportError,
};

use super::escape::printable;
use crate::args::address;

/// What ends a command with exit code 1.
#[derive(Debug)]
pub(crate) struct Failure {
    /// None when there is nobody to tell, or it was told already.
    error: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<Cow<'static, str>>,
}

/// A message with a cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Because {
    message: String,
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            error: Some(error.into()),
            hint: None,
        }
    }

    /// A failure with its cause.
    pub(crate) fn because(
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::new(Because {
            message: message.into(),
            source: source.into(),
        })
    }

    /// Ends with exit code 1 and no message: all was said, or nobody listens any more.
    pub(crate) fn silent() -> Self {
        Self {
            error: None,
            hint: None,
        }
    }

    /// Standard output could not be written. Whoever closed the pipe knows it.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::silent()
        } else {
            Self::because("cannot write standard output", error)
        }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints it on standard error.
    pub(crate) fn print(&self) {
        let mut text = String::new();
        if let Some(error) = &self.error {
            text = format!("watm: error: {}\n", chain(&**error));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("watm: hint: {hint}\n"));
        }
        // If standard error is closed, the exit code is all that is left.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// How to allow an address that a module has asked for, if it is one that means itself alone and the
/// same thing to a shell: a module may ask for anything. An entry holds in every zone.
fn allow_hint(address: &str) -> Option<String> {
    let address = &without_zone(address);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".:-[]".contains(c);
    let fits = address.len() <= MAX_EXCERPT && address.chars().all(is_plain);
    if !fits || address.starts_with('-') || address.parse::<AddressEntry>().is_err() {
        return None;
    }
    // A shell takes brackets for a pattern.
    let quote = if address.contains('[') { "'" } else { "" };
    Some(format!(
        "if the module may connect there: --allow {quote}{address}{quote}"
    ))
}

/// `[fe80::1]:80` for `[fe80::1%eth0]:80`.
fn without_zone(text: &str) -> String {
    if text.starts_with('[')
        && let Some((host, port)) = address::split(text)
        && let Some((ip, _zone)) = host.split_once('%')
        && ip.parse::<Ipv6Addr>().is_ok()
    {
        return format!("[{ip}]:{port}");
    }
    text.to_owned()
}

/// An error and its causes, in one line. A cause that the message before it spells out already is
/// not repeated. Some texts come from modules: nothing in them may move the cursor.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    printable(&text)
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let hint = match &error {
            LoadError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("check the path of the module")
            }
            LoadError::TooLarge { .. } => Some("--max-module-size raises the limit"),
            LoadError::Hash { .. } => {
                Some("get the module from where the hash comes from, or correct --sha256")
            }
            LoadError::CompileTimeout { .. } => Some("--compile-timeout allows more time"),
            LoadError::NotAModule(_) | LoadError::Malformed(_) => {
                Some("a transport module is a core WebAssembly module")
            }
            LoadError::Unsupported(_) => {
                Some("build the module without that feature; toolchains have a switch for each")
            }
            LoadError::Interface(_) => Some("`watm inspect` shows all that the module offers"),
            _ => None,
        };
        Self::with(error, hint)
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::new(error).hint("--cache-dir names another directory, which only you may write")
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = config_hint(&error);
        Self::with(error, hint)
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let hint = match &error {
            ListenError::Config(error) => config_hint(error),
            ListenError::Bind { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    Some("another program listens there: choose another port, or 0 for a free one")
                }
                io::ErrorKind::AddrNotAvailable => {
                    Some("the address to listen on has to be one of this machine, or :PORT for all")
                }
                io::ErrorKind::PermissionDenied => {
                    Some("ports below 1024 need a privilege: choose a higher one")
                }
                _ => None,
            },
            _ => None,
        };
        Self::with(error, hint)
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        let hint = match &error {
            DialError::Connect { source, .. } => connect_hint(source),
            DialError::Denied { address } => {
                let hint = allow_hint(address);
                return Self {
                    hint: hint.map(Cow::from),
                    ..Self::new(error)
                };
            }
            DialError::Transport(error) => transport_hint(error),
            DialError::Instantiate(_) => Some(INSTANTIATE_HINT),
            DialError::TimedOut { .. } => Some(
                "the peer may not speak the module's protocol; --handshake-timeout gives it longer",
            ),
            _ => None,
        };
        Self::with(error, hint)
    }
}

impl From<AcceptError> for Failure {
    fn from(error: AcceptError) -> Self {
        let hint = match &error {
            AcceptError::Transport(error) => transport_hint(error),
            AcceptError::Instantiate(_) => Some(INSTANTIATE_HINT),
            _ => None,
        };
        Self::with(error, hint)
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        let hint = transport_hint(&error);
        Self::with(error, hint)
    }
}

impl Failure {
    fn with(error: impl Into<Box<dyn Error + Send + Sync>>, hint: Option<&'static str>) -> Self {
        Self {
            error: Some(error.into()),
            hint: hint.map(Cow::Borrowed),
        }
    }
}

const INSTANTIATE_HINT: &str = "the module may need more memory: --memory-limit";

fn config_hint(error: &ConfigError) -> Option<&'static str> {
    match error {
        ConfigError::Role(_) => Some("`watm inspect` shows what the module can do"),
        ConfigError::Directory { .. } | ConfigError::Invalid { setting: "dir", .. } => {
            Some("check the option --dir")
        }
        ConfigError::Invalid {
            setting: "file", ..
        } => Some("check the option --file, and --dir beside it"),
        _ => None,
    }
}

/// What to do when a connection could not be made.
pub(crate) fn connect_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Some("nothing listens at that address: check it, and that the server runs")
        }
        io::ErrorKind::TimedOut => {
            Some("check the address and the firewalls; --connect-timeout gives it longer")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some("there is no route to that address: check it and the network")
        }
        _ => None,
    }
}

fn transport_hint(error: &TransportError) -> Option<&'static str> {
    match error {
        TransportError::Failed {
            function: watm_abi::names::INIT,
            ..
        } => Some("the module may need a configuration (--config); -v shows what it logs"),
        TransportError::Failed { .. }
        | TransportError::Trapped { .. }
        | TransportError::Exited { .. } => Some("-v shows what the module logs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_every_cause_once() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = DialError::Connect {
            address: "h:1".into(),
            source: refused,
        };
        assert_eq!(chain(&error), "no connection to h:1: connection refused");

        let error = TransportError::Failed {
            function: "watm_init_v1",
            error: watm_wasmer::GuestError::Errno(watm_wasmer::Errno::Inval),
        };
        let text = chain(&error);
        assert_eq!(text.matches("invalid").count(), 1, "{text}");
    }

    #[test]
    fn only_an_address_that_means_itself_is_proposed_to_be_allowed() {
        for (address, as_typed) in [
            ("example.com:443", "example.com:443"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[2001:db8::1]:22", "'[2001:db8::1]:22'"),
            ("[fe80::1%eth0]:22", "'[fe80::1]:22'"),
            ("[fe80::1%;touch pwned;]:22", "'[fe80::1]:22'"),
        ] {
            let hint = allow_hint(address).expect(address);
            assert!(hint.ends_with(&format!(": --allow {as_typed}")), "{hint}");
        }
        let long = format!("{}:1", "x".repeat(MAX_EXCERPT));
        for other in [
            "x;touch pwned; :1",
            "127.0.0.1 --allow-all:1",
            "*:443",
            "--allow-all",
            "a'b:1",
            "$(x):1",
            "[%]:1",
            "[x%]y]:1",
            "x%y:1",
            &long,
        ] {
            assert_eq!(allow_hint(other), None);
        }
    }
}
