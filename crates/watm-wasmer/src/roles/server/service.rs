//! What a server does with a connection that it has accepted, and what is known of it by that.
//!
//! Knows roles, ends and addresses. Must never know how a connection is run.

use std::net::SocketAddr;

use watm_abi::Role;

use crate::channel::link::{Link, Side};
use crate::guest::exports::Established;
use crate::guest::settings::Settings;
use crate::host::plain::Target as Destination;
use crate::host::{Ends, Internal};
use crate::net::address::{Address, Network};
use crate::net::stream::Stream;
use crate::roles::book::{ServerStats, Sides};

/// What happens to each connection that is accepted.
pub(in crate::roles) enum Service {
    /// It is wrapped, and the module dials on: to this remote, or where it chooses.
    Relay(Option<(Network, Address)>),
    /// It is carried to this remote, or to one that the module chooses or the client names.
    Dial(Role, Option<(Network, Address)>),
    /// It is unwrapped and carried to a plain server.
    Forward(Destination),
}

impl Service {
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Relay(_) => Role::Relay,
            Self::Dial(role, _) => *role,
            Self::Forward(_) => Role::Listener,
        }
    }

    /// Maximum number of handshakes in progress with clients. Plain clients have none.
    pub(super) fn handshake_limit(&self, settings: &Settings) -> usize {
        match self {
            Self::Relay(_) | Self::Forward(_) => settings.handshake_limit,
            Self::Dial(..) => usize::MAX,
        }
    }

    /// The ends of the connection that an accepted socket becomes. Its client may have named a remote.
    pub(super) fn ends(&self, stream: Stream, named: Option<(Network, Address)>) -> Ends {
        match self {
            Self::Relay(remote) => Ends {
                fixed: remote.clone(),
                incoming: Some(stream),
                internal: Internal::None,
            },
            Self::Dial(_, remote) => Ends {
                fixed: named.or_else(|| remote.clone()),
                incoming: None,
                internal: Internal::Plain(stream),
            },
            Self::Forward(target) => Ends {
                fixed: None,
                incoming: Some(stream),
                internal: Internal::Target(target.clone()),
            },
        }
    }

    /// Where the client and what it is carried to are.
    pub(super) fn sides(&self) -> Sides {
        let (client, remote) = match self {
            Self::Relay(_) => (Side::Client, Side::Network),
            Self::Dial(..) => (Side::Application, Side::Network),
            Self::Forward(_) => (Side::Client, Side::Application),
        };
        Sides { client, remote }
    }

    /// The address that a connection leads to, if it is known.
    pub(super) fn remote_of(&self, established: &Established) -> Option<SocketAddr> {
        match self {
            Self::Dial(..) => established.peer,
            // What is known is the client.
            Self::Relay(_) | Self::Forward(_) => None,
        }
    }

    /// Where all connections are carried to, if that is one place.
    pub(super) fn target(&self) -> Option<&Address> {
        match self {
            Self::Relay(remote) | Self::Dial(_, remote) => {
                remote.as_ref().map(|(_, address)| address)
            }
            Self::Forward(target) => target.address.as_ref(),
        }
    }

    /// How much a connection has carried, for the log.
    pub(super) fn carried(&self, link: &Link) -> String {
        let stats = ServerStats::of_one(&link.traffic);
        match self {
            Self::Relay(_) => format!("{} bytes received, {} sent", stats.received, stats.sent),
            Self::Dial(..) | Self::Forward(_) => format!(
                "{} bytes to the transport, {} from it",
                stats.plain_received, stats.plain_sent
            ),
        }
    }
}
