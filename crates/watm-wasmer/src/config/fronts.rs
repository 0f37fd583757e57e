//! What a tunnel says of its plain clients and of those of a balancer: who they are, and where they may
//! go.

use std::path::PathBuf;

use watm_abi::Role;

use super::apply;
use super::tunnel::Tunnel;
use super::value::HostPath;
use crate::error::{ConfigFileError, ConfigFileProblem};
use crate::net::policy::AddressPolicy;
use crate::roles::builder::Builder;
use crate::roles::dialer::{Dialer, FixedDialer};
use crate::roles::front::proxy_header::ProxyProtocol;
use crate::roles::front::proxy_server::ProxyServer;
use crate::roles::listener::Listener;
use crate::roles::server::Server;

/// The keys of a tunnel that say it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fronts {
    pub(super) socks: bool,
    pub(super) socks_auth: Option<HostPath>,
    pub(super) open_proxy: bool,
    pub(super) proxy_protocol: bool,
    pub(super) send_proxy_protocol: Option<ProxyProtocol>,
}

/// What becomes of a role with fronts.
pub(super) trait Serves: Sized {
    fn serve(
        builder: Builder<Self>,
        tunnel: &Tunnel,
        proxy: Option<ProxyServer>,
    ) -> Builder<Server>;
}

impl Serves for Dialer {
    fn serve(
        builder: Builder<Self>,
        tunnel: &Tunnel,
        proxy: Option<ProxyServer>,
    ) -> Builder<Server> {
        match (proxy, tunnel.remote()) {
            (Some(proxy), Some(remote)) => builder.front(proxy.target_in_front(remote)),
            (Some(proxy), None) => builder.front(proxy),
            (None, Some(remote)) => builder.carry_to(remote),
            // Whoever asks for the server is told that the key is missing.
            (None, None) => builder.carry_to(""),
        }
    }
}

impl Serves for FixedDialer {
    fn serve(builder: Builder<Self>, _: &Tunnel, proxy: Option<ProxyServer>) -> Builder<Server> {
        match proxy {
            Some(proxy) => builder.carry().front(proxy.only_in_front()),
            None => builder.carry(),
        }
    }
}

impl Serves for Listener {
    fn serve(builder: Builder<Self>, tunnel: &Tunnel, _: Option<ProxyServer>) -> Builder<Server> {
        let builder = match (tunnel.asked(), tunnel.forward()) {
            (None, Some(forward)) => builder.forward_to(forward),
            (asked, _) => builder.forward_where_asked(asked.unwrap_or_default()),
        };
        match tunnel.fronts.send_proxy_protocol {
            Some(version) => builder.forward_hook(version),
            None => builder,
        }
    }
}

impl Tunnel {
    /// Whether plain clients of a dialer or a fixed dialer find a proxy.
    pub fn is_proxy(&self) -> bool {
        self.fronts.socks
    }

    /// The file with the user name and the password that this proxy demands.
    pub fn socks_auth(&self) -> Option<PathBuf> {
        let path = self.fronts.socks_auth.as_ref();
        path.map(|path| self.source.base.join(&path.0))
    }

    /// Whether it says the same of clients as another tunnel: who they are, and where they may go.
    pub fn has_fronts_of(&self, other: &Self) -> bool {
        let has_policy = !self.fronts.open_proxy || self.settings.policy == other.settings.policy;
        self.fronts == other.fronts && has_policy
    }

    /// The proxy that plain clients of a dialer or a fixed dialer find, if the file says so.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if the file with its user name and password cannot be used.
    pub fn proxy_server(&self) -> Result<Option<ProxyServer>, ConfigFileError> {
        if !self.fronts.socks {
            return Ok(None);
        }
        let proxy = ProxyServer::new();
        let Some(path) = self.socks_auth() else {
            return Ok(Some(proxy));
        };
        let read = proxy.credentials_file(path);
        read.map(Some).map_err(|error| {
            let problem = ConfigFileProblem::Invalid(error.to_string());
            self.error(&["socks_auth".into()], problem)
        })
    }

    /// Where the clients of a listener may ask to be forwarded to, if the file says that they may:
    /// see [`Builder::forward_where_asked`].
    pub fn asked(&self) -> Option<AddressPolicy> {
        let policy = self.settings.policy.as_ref();
        let policy = policy.map(apply::addresses).unwrap_or_default();
        self.fronts.open_proxy.then_some(policy)
    }

    /// Whether a header of the PROXY protocol comes in front of each connection: see
    /// [`Builder::proxy_protocol`].
    pub fn expects_proxy_protocol(&self) -> bool {
        self.fronts.proxy_protocol
    }

    /// The version of the PROXY protocol by which a listener tells its plain server who a client is.
    pub fn sends_proxy_protocol(&self) -> Option<ProxyProtocol> {
        self.fronts.send_proxy_protocol
    }

    /// The server that a role becomes.
    pub(super) fn with_fronts<R: Serves>(
        &self,
        builder: Builder<R>,
    ) -> Result<Builder<Server>, ConfigFileError> {
        let builder = R::serve(builder, self, self.proxy_server()?);
        let builder = apply::server(builder, &self.settings);
        Ok(if self.fronts.proxy_protocol {
            builder.proxy_protocol()
        } else {
            builder
        })
    }

    /// Checks that the keys are those of the role.
    pub(super) fn check_fronts(&self) -> Result<(), ConfigFileError> {
        let Fronts {
            socks,
            socks_auth,
            open_proxy,
            send_proxy_protocol,
            ..
        } = &self.fronts;
        let dials = matches!(self.role(), Some(Role::Dialer | Role::FixedDialer));
        let forwards = self.role() == Some(Role::Listener);
        let refused = if *socks && !dials {
            ("socks", "only a dialer or a fixed dialer has plain clients")
        } else if socks_auth.is_some() && !socks {
            ("socks_auth", "it is for a tunnel with `socks = true`")
        } else if *open_proxy && !forwards {
            ("open_proxy", "only a listener forwards")
        } else if *open_proxy && self.forward().is_some() {
            (
                "open_proxy",
                "the key `forward` says already where all clients go",
            )
        } else if send_proxy_protocol.is_some() && !forwards {
            ("send_proxy_protocol", "only a listener forwards")
        } else {
            return Ok(());
        };
        let (key, message) = refused;
        Err(self.invalid(&[key.into()], message.to_owned()))
    }
}
