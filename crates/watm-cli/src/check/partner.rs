//! What is at the other end of a connection: a module in the opposite role, or a plain socket.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use watm_abi::Role;
use watm_wasmer::{
    Acceptor, AddressPolicy, Builder, DialAttempt, DialHook, Dialer, FixedDialer, Listener,
    Network, Stream, TransportModule,
};

use super::refusal::{Refusal, of_its_peer, refusal};
use super::side::Side;
use crate::args::TransportArgs;
use crate::setup;
use crate::terminal::failure::{Failure, chain};

/// The time that the last bytes have, unless the options allow less.
const DRAIN: Duration = Duration::from_secs(5);
/// Any free port.
pub(super) const LOOPBACK: &str = "127.0.0.1:0";

/// A module with what it is given.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) module: &'a TransportModule,
    /// Without the path of a configuration.
    pub(super) args: &'a TransportArgs,
    pub(super) config: Option<&'a [u8]>,
}

/// What is at the other end of the network connection.
#[derive(Clone, Copy)]
pub(super) enum Partner<'a> {
    /// A module in this role.
    Module(Given<'a>, Role),
    /// A plain socket.
    Socket,
}

impl Partner<'_> {
    /// Whether it is a module.
    pub(super) fn is_module(&self) -> bool {
        matches!(self, Self::Module(..))
    }

    /// What accepts the connections of the module that is checked, if it is a module.
    pub(super) fn acceptor(&self) -> Result<Option<Acceptor>, Failure> {
        match self {
            Self::Module(given, _) => {
                let builder = Listener::builder(given.module);
                let acceptor = configure(builder, *given, Towards(None))?.acceptor()?;
                Ok(Some(acceptor))
            }
            Self::Socket => Ok(None),
        }
    }

    /// Connects to where the module accepts.
    pub(super) fn dial(&self, address: SocketAddr) -> Result<Side, Refusal> {
        let (given, role) = match self {
            Self::Module(given, role) => (*given, *role),
            Self::Socket => return Ok(Side::Tcp(TcpStream::connect(address)?)),
        };
        let hook = Towards(Some(address));
        let dialled = if role == Role::FixedDialer {
            let builder = configure(FixedDialer::builder(given.module), given, hook)?;
            builder.build().map_err(Failure::from)?.dial()
        } else {
            let builder = configure(Dialer::builder(given.module), given, hook)?;
            let dialer = builder.build().map_err(Failure::from)?;
            dialer.dial(address.to_string())
        };
        dialled
            .map(Side::Conn)
            .map_err(|error| refusal(&of_its_peer(&chain(&error)), false))
    }
}

/// The far side of a connection that the module has made.
pub(super) fn accepted(acceptor: &Acceptor, socket: TcpStream) -> Result<Side, Refusal> {
    let accepted = acceptor.accept(socket).map(Side::Conn);
    accepted.map_err(|error| refusal(&of_its_peer(&chain(&error)), false))
}

/// Leads all connections to one address, or refuses them.
pub(super) struct Towards(pub(super) Option<SocketAddr>);

impl DialHook for Towards {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        match self.0 {
            Some(address) => attempt.connect_to(Network::Tcp, address.to_string()),
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

pub(super) fn configure<R>(
    builder: Builder<R>,
    given: Given<'_>,
    hook: Towards,
) -> Result<Builder<R>, Failure> {
    let mut builder = setup::configure(builder, given.args)?;
    if let Some(config) = given.config {
        builder = builder.config(config);
    }
    Ok(builder
        .policy(AddressPolicy::allow_all())
        .dial_hook(hook)
        .drain_timeout(given.args.drain_timeout.min(DRAIN)))
}
