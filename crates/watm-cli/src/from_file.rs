//! Brings a configuration file and the options of the command line together. The options win.

use std::path::Path;

use watm_wasmer::{
    Address, AddressPolicy, Builder, Config, ListenAddress, ProxyProtocol, ProxyServer, Role,
    TransportModule, Tunnel, TunnelRole, UpstreamProxy,
};

use crate::args::{ConfigFileArgs, ListenArgs, LoadArgs, RunArgs};
use crate::setup;
use crate::terminal::failure::Failure;

/// Options with the keys that they replace.
const REPLACED: &[(&str, &str)] = &[
    ("config", "config"),
    ("env", "env"),
    ("arg", "args"),
    ("dir", "dirs"),
    ("file", "files"),
    ("inherit_stdio", "stdio"),
    ("allow", "policy"),
    ("deny", "policy"),
    ("allow_all", "policy"),
    ("nat64_prefix", "policy"),
    ("no_host_aead", "host_aead"),
    ("proxy", "proxy"),
    ("connect_timeout", "connect_timeout"),
    ("setup_timeout", "setup_timeout"),
    ("close_grace", "close_grace"),
    ("drain_timeout", "drain_timeout"),
    ("keepalive", "keepalive"),
    ("memory_limit", "memory_limit"),
    ("memory_headroom", "memory_headroom"),
    ("descriptor_limit", "descriptor_limit"),
    ("handshake_limit", "handshake_limit"),
    ("max_connections", "connection_limit"),
    ("spare_instances", "spare_instances"),
];

/// What the file says that the command line does not.
pub(crate) struct FromFile {
    tunnel: Option<Tunnel>,
}

impl FromFile {
    /// Nothing: there is no file.
    pub(crate) const NONE: Self = Self { tunnel: None };

    /// Reads the file, if there is one, and logs its warnings.
    pub(crate) fn read(args: &ConfigFileArgs, role: Role) -> Result<Self, Failure> {
        let Some(path) = &args.config_file else {
            return Ok(Self::NONE);
        };
        let config = Config::from_file(path)?;
        for warning in config.warnings() {
            log::warn!("{}: {warning}", path.display());
        }
        let tunnel = match &args.tunnel {
            Some(name) => config.tunnel(name),
            None => config.only(),
        };
        let mut tunnel = tunnel
            .map_err(|error| Failure::from(error).hint("name the tunnel with --tunnel"))?
            .clone();
        tunnel.check_role(role).map_err(|error| {
            let hint = tunnel.role().map_or("", command);
            Failure::from(error).hint(format!("the command for it is `watm {hint}`"))
        })?;
        for (option, key) in REPLACED {
            if args.is_given(option) {
                tunnel = tunnel.without(key);
            }
        }
        if args.is_given("trusted_key") {
            tunnel = tunnel.without("trusted_keys");
        }
        if args.is_given("module") {
            // The options name the whole chain.
            tunnel = tunnel.alone();
        }
        Ok(Self {
            tunnel: Some(tunnel),
        })
    }

    /// The tunnel of the file, without what the options replace.
    pub(crate) fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.as_ref()
    }

    /// What the file calls the tunnel.
    pub(crate) fn name(&self) -> Option<&str> {
        self.tunnel.as_ref().and_then(Tunnel::name)
    }

    /// Whether the command decides about a setting: the file does not have it, or an option
    /// replaces it.
    pub(crate) fn lacks(&self, key: &str) -> bool {
        !self.tunnel.as_ref().is_some_and(|tunnel| tunnel.sets(key))
    }

    /// Applies what the file says to a builder: also the modules below, and the proxy. That of an
    /// option, which there may be without a file, stands in its place.
    pub(crate) fn apply<R: TunnelRole>(
        &self,
        builder: Builder<R>,
        args: &LoadArgs,
        proxy: Option<&UpstreamProxy>,
    ) -> Result<Builder<R>, Failure> {
        let Some(tunnel) = &self.tunnel else {
            return Ok(match proxy {
                Some(proxy) => builder.dial_hook(proxy.clone()),
                None => builder,
            });
        };
        let mut tunnel = tunnel.clone();
        if let Some(proxy) = proxy {
            tunnel = tunnel.proxy(proxy.clone());
        }
        if !tunnel.below().is_empty() {
            tunnel = tunnel.loader(setup::loader_below(args)?);
        }
        Ok(tunnel.configure(builder)?)
    }

    /// Loads the module that the option names, or else the file.
    pub(crate) fn load(
        &self,
        module: Option<&Path>,
        file: &ConfigFileArgs,
        args: &LoadArgs,
    ) -> Result<TransportModule, Failure> {
        let tunnel = match (module, &self.tunnel) {
            (Some(path), _) => return setup::load(path, args),
            (None, Some(tunnel)) => tunnel,
            // The command line demands one of them.
            (None, None) => return Err(Failure::new("no module is named").hint("add --module")),
        };
        let path = tunnel.module_file();
        let loader = setup::loader(&path, args)?;
        let mut loader = tunnel.clone().loader(loader).module_loader()?;
        if let Some(hash) = args.sha256 {
            loader = loader.sha256(hash);
        }
        if let Some(signature) = &args.trust.signature {
            loader = loader.signature_file(signature);
        }
        if file.is_given("max_module_size") {
            loader = loader.max_size(args.max_module_size);
        }
        if file.is_given("compile_timeout") {
            loader = loader.compile_timeout(args.compile_timeout);
        }
        let module = loader.load_file(&path)?;
        log::debug!("loaded {module:?}");
        Ok(module)
    }

    /// Takes over what is not set in builders.
    pub(crate) fn complete(&self, run: &mut RunArgs) {
        let Some(tunnel) = &self.tunnel else {
            return;
        };
        if let Some(grace) = tunnel.close_grace() {
            run.transport.close_grace = grace;
        }
        if let Some(timeout) = tunnel.drain_timeout() {
            run.transport.drain_timeout = timeout;
        }
        run.transport.inherit_stdio |= tunnel.uses_stdio();
    }

    /// The maximum number of connections.
    pub(crate) fn connection_limit(&self, option: u32) -> usize {
        let limit = self.tunnel.as_ref().and_then(Tunnel::connection_limit);
        limit.unwrap_or(usize::try_from(option).unwrap_or(usize::MAX))
    }

    /// Where to listen: as the options say, or else the file.
    pub(crate) fn listen(&self, options: &[ListenAddress]) -> Vec<ListenAddress> {
        match &self.tunnel {
            Some(tunnel) if options.is_empty() => tunnel.listen().to_vec(),
            _ => options.to_vec(),
        }
    }

    /// Where to connect to.
    pub(crate) fn remote(&self, option: Option<&Address>) -> Option<Address> {
        let own = self.tunnel.as_ref().and_then(Tunnel::remote);
        option.or(own).cloned()
    }

    /// Whether plain clients find a proxy.
    pub(crate) fn is_proxy(&self) -> bool {
        self.tunnel.as_ref().is_some_and(Tunnel::is_proxy)
    }

    /// The proxy that plain clients find, if the file says so.
    pub(crate) fn proxy_server(&self) -> Result<Option<ProxyServer>, Failure> {
        Ok(match &self.tunnel {
            Some(tunnel) => tunnel.proxy_server()?,
            None => None,
        })
    }

    /// Whether connections begin with a header of the PROXY protocol.
    pub(crate) fn proxy_protocol(&self, option: bool) -> bool {
        let own = self.tunnel.as_ref();
        option || own.is_some_and(Tunnel::expects_proxy_protocol)
    }

    /// The version of the PROXY protocol by which the plain server is told who the client is.
    pub(crate) fn send_proxy_protocol(
        &self,
        option: Option<ProxyProtocol>,
    ) -> Option<ProxyProtocol> {
        let own = self.tunnel.as_ref();
        option.or_else(|| own.and_then(Tunnel::sends_proxy_protocol))
    }

    /// Where clients may ask to be forwarded to, if they may: as the options say, or else the file.
    pub(crate) fn asked(&self, args: &ListenArgs) -> Option<AddressPolicy> {
        let own = self.tunnel.as_ref().and_then(Tunnel::asked);
        match own {
            _ if args.forward.is_some() => None,
            Some(policy) if !self.lacks("policy") => Some(policy),
            None if !args.open_proxy => None,
            _ => Some(AddressPolicy::from(&args.policy)),
        }
    }

    /// Where to forward to.
    pub(crate) fn forward(&self, option: Option<&Address>) -> Option<Address> {
        let own = self.tunnel.as_ref().and_then(Tunnel::forward);
        option.or(own).cloned()
    }
}

/// The command that runs a role.
fn command(role: Role) -> &'static str {
    match role {
        Role::Dialer => "dial",
        Role::FixedDialer => "dial-fixed",
        Role::Listener => "listen",
        Role::Relay => "relay",
    }
}

/// The error for an address that a command cannot do without.
pub(crate) fn missing(what: &str, option: &str, source: &ConfigFileArgs) -> Failure {
    let file = source.config_file.as_deref().unwrap_or(Path::new(""));
    let file = file.display();
    Failure::new(format!("neither an option nor {file} says {what}")).hint(format!("add {option}"))
}

/// The error for standard streams that are wanted by both the module and a connection.
pub(crate) fn stdio_is_taken(option: &str) -> Failure {
    Failure::new(
        "the configuration file gives standard input or output to the module, but without an \
         address they are the connection",
    )
    .hint(format!("add {option}, or set `stdio = \"log\"`"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Args;

    /// The example has every key.
    #[test]
    fn the_options_and_keys_that_replace_each_other_exist() {
        let command = Args::command();
        let commands = ["dial", "dial-fixed", "listen", "relay"];
        let commands = commands.map(|name| command.find_subcommand(name).expect(name));
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/watm-config.toml");
        let config = Config::from_file(example).expect("the example");
        let tunnel = config.tunnel("client").expect("a tunnel");
        for (option, key) in REPLACED {
            let mut options = commands.iter().flat_map(|command| command.get_arguments());
            assert!(options.any(|known| known.get_id() == option), "{option}");
            assert!(tunnel.sets(key), "{key}");
            let without = tunnel.clone().without(key);
            assert!(!without.sets(key), "{key}");
        }
    }
}
