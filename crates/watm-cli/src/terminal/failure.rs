//! Why a command failed, for a person at a terminal: the message, its chain of causes, and a hint.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use watm_abi::MAX_EXCERPT;
use watm_wasmer::{
    AcceptError, Address, AddressEntry, CacheError, ConfigError, ConfigFileError,
    ConfigFileProblem, DialError, ListenError, LoadError, ReplaceError, SignatureError,
    TransportError,
};

use super::escape::printable;
use super::logging;

/// What ends a command with an exit code other than 0.
#[derive(Debug)]
pub(crate) struct Failure {
    /// 1, unless a command tells its failures apart.
    exit_code: u8,
    /// `None` if there is nobody to tell, or the error has been reported already.
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
            exit_code: 1,
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

    /// Ends with no message: everything was reported, or nobody reads it.
    pub(crate) fn silent() -> Self {
        Self {
            exit_code: 1,
            error: None,
            hint: None,
        }
    }

    /// A failed write to standard output. Whoever closed the pipe already knows.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::silent()
        } else {
            Self::because("cannot write standard output", error)
        }
    }

    /// The same failure of something that is named: a tunnel, for example.
    pub(crate) fn within(mut self, what: impl Into<String>) -> Self {
        self.error = self.error.map(|source| {
            let message = what.into();
            Box::new(Because { message, source }) as Box<dyn Error + Send + Sync>
        });
        self
    }

    /// Adds a hint about what to do.
    pub(crate) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Ends with this exit code in place of 1.
    pub(crate) fn with_exit_code(self, exit_code: u8) -> Self {
        Self { exit_code, ..self }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// What went wrong, for a log line.
    pub(crate) fn text(&self) -> String {
        self.error
            .as_ref()
            .map_or_else(String::new, |error| chain(&**error))
    }

    /// What kind of error of the system is at the bottom of it, if one is.
    pub(crate) fn io_kind(&self) -> Option<io::ErrorKind> {
        let mut error: Option<&(dyn Error + 'static)> =
            self.error.as_deref().map(|error| error as _);
        let mut kind = None;
        while let Some(cause) = error {
            kind = cause.downcast_ref().map(io::Error::kind).or(kind);
            error = cause.source();
        }
        kind
    }

    /// Prints the failure on standard error.
    pub(crate) fn print(&self) {
        let mut text = String::new();
        if let Some(error) = &self.error {
            text = format!("watm: error: {}\n", chain(&**error));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("watm: hint: {hint}\n"));
        }
        // If standard error is closed, the exit code is all that is left.
        logging::tell(log::Level::Error, &text);
    }
}

/// How to allow an address that a module has asked for. A module may ask for anything, so there is
/// a hint only if the entry allows just this address and a shell takes it literally. An entry
/// applies to every zone.
fn allow_hint(address: &str) -> Option<String> {
    let address = &without_zone(address);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".:-[]".contains(c);
    let fits = address.len() <= MAX_EXCERPT && address.chars().all(is_plain);
    if !fits || address.starts_with('-') || address.parse::<AddressEntry>().is_err() {
        return None;
    }
    // A shell would expand brackets as a pattern.
    let quote = if address.contains('[') { "'" } else { "" };
    Some(format!(
        "to let the module connect there, add --allow {quote}{address}{quote}"
    ))
}

/// `[fe80::1]:80` for `[fe80::1%eth0]:80`.
fn without_zone(text: &str) -> String {
    match text.parse::<Address>() {
        Ok(address) if text.starts_with('[') => match address.host().split_once('%') {
            Some((ip, _zone)) => format!("[{ip}]:{}", address.port()),
            None => text.to_owned(),
        },
        _ => text.to_owned(),
    }
}

/// An error and its causes, in one line. A cause is not repeated if a message before it contains
/// it. The text is escaped, since parts of it may come from a module.
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
            LoadError::TooLarge { .. } => Some("raise the limit with --max-module-size"),
            LoadError::Hash { .. } => {
                Some("get the module from the source of the hash, or correct --sha256")
            }
            LoadError::Signature { source, .. } => signature_hint(source),
            LoadError::CompileTimeout { .. } => Some("allow more time with --compile-timeout"),
            LoadError::NotAModule(_) | LoadError::Malformed(_) => {
                Some("a transport module must be a core WebAssembly module")
            }
            LoadError::Unsupported(_) => Some(
                "build the module without this feature; toolchains have an option for each feature",
            ),
            LoadError::Interface(_) => Some("run `watm inspect` to see what the module offers"),
            _ => None,
        };
        Self::with(error, hint)
    }
}

impl From<ConfigFileError> for Failure {
    fn from(error: ConfigFileError) -> Self {
        let hint = match error.problem() {
            ConfigFileProblem::Load(LoadError::Hash { .. }) => {
                Some("get the module from the source of the hash, or correct the hash in the file")
            }
            ConfigFileProblem::Config(ConfigError::Role(_)) => {
                Some("run `watm inspect` to see what the module can do")
            }
            _ => None,
        };
        Self::with(error, hint)
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::new(error).hint("choose a directory that only you can write to with --cache-dir")
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = config_hint(&error);
        Self::with(error, hint)
    }
}

impl From<ReplaceError> for Failure {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Config(error) => error.into(),
            ReplaceError::Instance(error) => error.into(),
            error => Self::because("the module cannot be replaced", error),
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let hint = match &error {
            ListenError::Config(error) => config_hint(error),
            ListenError::Bind { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => Some(
                    "another program is listening there: choose another port, or 0 for a free one",
                ),
                io::ErrorKind::AddrNotAvailable => {
                    Some("listen on an address of this machine, or on :PORT for all addresses")
                }
                io::ErrorKind::PermissionDenied => {
                    Some("ports below 1024 require privileges: choose a higher port")
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
            DialError::Connect { source, .. } | DialError::Resolve { source, .. } => {
                connect_hint(source)
            }
            DialError::Denied { address } => {
                let hint = allow_hint(address);
                return Self {
                    hint: hint.map(Cow::from),
                    ..Self::new(error)
                };
            }
            DialError::Transport(error) => transport_hint(error),
            DialError::Instantiate(_) => Some(INSTANTIATE_HINT),
            DialError::TimedOut {
                connecting: true, ..
            } => {
                Some("check the address and any firewall, or allow more time with --setup-timeout")
            }
            DialError::TimedOut { .. } => Some(
                "the peer may not speak the module's protocol; allow more time with --setup-timeout",
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
            hint: hint.map(Cow::Borrowed),
            ..Self::new(error)
        }
    }
}

fn signature_hint(error: &SignatureError) -> Option<&'static str> {
    match error {
        SignatureError::Missing => Some(
            "get the file .minisig from whoever made the module, or name it with --signature; \
             `minisign -Sm FILE` signs a module of your own",
        ),
        SignatureError::UnknownKey { .. } => {
            Some("add the key with --trusted-key, once you know from another source whose it is")
        }
        SignatureError::Wrong { .. } => {
            Some("get the module and its signature once more from whoever made them")
        }
        _ => None,
    }
}

const INSTANTIATE_HINT: &str = "the module may need more memory: raise --memory-limit";

fn config_hint(error: &ConfigError) -> Option<&'static str> {
    match error {
        ConfigError::Role(_) => Some("run `watm inspect` to see what the module can do"),
        ConfigError::Directory { .. } | ConfigError::Invalid { setting: "dir", .. } => {
            Some("check the option --dir")
        }
        ConfigError::Invalid {
            setting: "file", ..
        } => Some("check the option --file, and --dir if it is used too"),
        _ => None,
    }
}

/// A hint for a connection that could not be established.
pub(crate) fn connect_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Some("nothing is listening there: check the address and that the server is running")
        }
        io::ErrorKind::TimedOut => {
            Some("check the address and any firewall, or allow more time with --connect-timeout")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some("there is no route to this address: check the address and the network")
        }
        _ => None,
    }
}

fn transport_hint(error: &TransportError) -> Option<&'static str> {
    match error {
        TransportError::Failed {
            function: watm_abi::names::INIT,
            ..
        } => Some("the module may need a configuration (--config); use -v to see what it logs"),
        TransportError::Failed { .. }
        | TransportError::Trapped { .. }
        | TransportError::Exited { .. } => Some("use -v to see what the module logs"),
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
            assert!(hint.ends_with(&format!(" --allow {as_typed}")), "{hint}");
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
