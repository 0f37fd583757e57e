//! A connection through the module that is checked: what uses it on the near side, its peer on the
//! far side, and the probe that watches it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use watm_abi::{Role, names};
use watm_wasmer::{
    AcceptError, Acceptor, AddressPolicy, Builder, Conn, DialAttempt, DialError, DialHook, Dialer,
    ExportReturn, FixedDialer, Listener, Network, Relay, ServerHandle, Stream, TransportError,
    TransportModule,
};

use super::probe::{Manner, Probe};
use super::side::Side;
use crate::args::TransportArgs;
use crate::carry::poll::{Interest, wait_until};
use crate::setup;
use crate::terminal::failure::{Failure, chain};

/// The time that a transport has to be set up, unless the options allow less.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The time that a transport has to end after it is closed. The control pipe is used in the middle.
pub(super) const GRACE: Duration = Duration::from_secs(1);
const LOOPBACK: &str = "127.0.0.1:0";
/// The address of a remote that refuses. Nobody connects to it.
const NOWHERE: &str = "127.0.0.1:1";

/// Dials an address.
type Dial = dyn Fn(&str) -> Result<Conn, Refusal> + Send + Sync;

/// A module with what it is given.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) module: &'a TransportModule,
    pub(super) args: &'a TransportArgs,
}

/// What is at the other end of the network connection.
#[derive(Clone, Copy)]
pub(super) enum Partner<'a> {
    /// A module in this role.
    Module(Given<'a>, Role),
    /// A plain socket.
    Socket,
}

/// A module in one role, with its partner.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) given: Given<'a>,
    pub(super) role: Role,
    pub(super) partner: Partner<'a>,
}

/// Why a connection could not be set up.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The module, or the host for it, gave a reason.
    Because {
        text: String,
        /// Whether a trap, an exit or a timeout was it, not an error number.
        is_rude: bool,
    },
    /// The check itself could not go on.
    Host(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Host(failure)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Host(cannot(error))
    }
}

fn cannot(error: io::Error) -> Failure {
    Failure::because("cannot set up the check", error)
}

pub(super) struct Line {
    pub(super) near: Side,
    pub(super) far: Side,
    pub(super) probe: Arc<Probe>,
    relay: Option<ServerHandle>,
}

impl Line {
    /// How the transport failed, if it has.
    pub(super) fn failure(&self) -> Option<String> {
        match &self.near {
            Side::Conn(conn) => conn.outcome()?.err().map(|error| chain(&error)),
            Side::Tcp(_) | Side::Gone => None,
        }
    }

    /// The same, as the end of a sentence.
    pub(super) fn because(&self) -> String {
        self.failure()
            .map_or_else(String::new, |failure| format!("; {failure}"))
    }

    /// Closes the near side and waits until the transport has ended. The far side stays open
    /// meanwhile. An error says what the module did in place of an end.
    pub(super) fn close(self) -> Result<(), String> {
        let Self {
            near,
            far,
            probe,
            relay,
        } = self;
        let result = match (near, relay) {
            (Side::Conn(conn), _) => match conn.close() {
                Err(error @ (TransportError::Interrupted | TransportError::Trapped { .. }))
                | Err(error @ TransportError::Exited { .. }) => Err(chain(&error)),
                _ => Ok(()),
            },
            (near, Some(relay)) => {
                relay.shutdown();
                drop(near);
                match probe.record().returned(names::START) {
                    Some(returned) if returned.value.is_none() => {
                        Err("the module did not return from watm_start_v1".into())
                    }
                    _ => Ok(()),
                }
            }
            (Side::Tcp(_) | Side::Gone, None) => Ok(()),
        };
        drop(far);
        result
    }
}

impl<'a> Subject<'a> {
    /// Whether the partner is a module.
    pub(super) fn has_module_as_partner(&self) -> bool {
        matches!(self.partner, Partner::Module(..))
    }

    /// The same with a plain socket as its partner.
    pub(super) fn with_socket(self) -> Self {
        Self {
            partner: Partner::Socket,
            ..self
        }
    }

    /// Sets a connection up.
    pub(super) fn open(&self, manner: Manner) -> Result<Line, Refusal> {
        self.open_with(&Arc::new(Probe::new(manner)), |_| Ok(()))
    }

    /// Sets a connection up. The far side begins with what `greet` does.
    pub(super) fn open_with(
        &self,
        probe: &Arc<Probe>,
        greet: impl FnOnce(&Side) -> io::Result<()> + Send,
    ) -> Result<Line, Refusal> {
        let listener = TcpListener::bind(LOOPBACK)?;
        let address = listener.local_addr()?;
        let hook = Towards(Some(address));
        if self.role == Role::Listener {
            return self.accept(probe, hook, &listener, greet);
        }
        if self.role == Role::Relay {
            return self.relay(probe, hook, &listener, greet);
        }
        let dial = self.dialer(probe, hook)?;
        let acceptor = self.partner.acceptor()?;
        let (near, far) = thread::scope(|scope| {
            let dialling = scope.spawn(|| dial(&address.to_string()));
            let far = accept(&listener, || dialling.is_finished())
                .and_then(|socket| self.partner.accept(acceptor.as_ref(), socket))
                .and_then(|far| greet(&far).map(|()| far).map_err(Refusal::from));
            (dialling.join(), far)
        });
        let near = near.unwrap_or_else(|_| Err(refusal("the check panicked", true)))?;
        Ok(Line {
            near: Side::Conn(near),
            far: far?,
            probe: Arc::clone(probe),
            relay: None,
        })
    }

    /// Dials a remote that refuses, and returns why that failed. `None` if it did not.
    pub(super) fn dial_refused(&self) -> Result<Option<Refusal>, Failure> {
        let probe = Arc::new(Probe::new(Manner::Usual));
        let hook = Towards(None);
        if self.role != Role::Relay {
            return Ok(self.dialer(&probe, hook)?(NOWHERE).err());
        }
        let relay = self.start_relay(&probe, hook, NOWHERE)?;
        let near = TcpStream::connect(relay.local_addr()).map_err(cannot)?;
        let returned = probe.wait_for(Role::Relay.export(), PATIENCE + GRACE);
        relay.shutdown();
        drop(near);
        Ok(match returned.map(|returned| returned.value) {
            Some(Some(0)) => None,
            Some(Some(value)) => Some(refusal(&format!("it returned {value}"), false)),
            Some(None) => Some(refusal("it trapped, exited or was stopped; see -v", true)),
            None => Some(refusal("it did not return", true)),
        })
    }

    /// What dials, for the two roles that an application dials with.
    fn dialer(&self, probe: &Arc<Probe>, hook: Towards) -> Result<Box<Dial>, Failure> {
        if self.role == Role::FixedDialer {
            let builder = configure(FixedDialer::builder(self.given.module), self.given, hook)?;
            let dialer = builder.call_hook(Arc::clone(probe)).build()?;
            return Ok(Box::new(move |_| Ok(dialer.dial()?)));
        }
        let builder = configure(Dialer::builder(self.given.module), self.given, hook)?;
        let dialer = builder.call_hook(Arc::clone(probe)).build()?;
        Ok(Box::new(move |address| Ok(dialer.dial(address)?)))
    }

    fn accept(
        &self,
        probe: &Arc<Probe>,
        hook: Towards,
        listener: &TcpListener,
        greet: impl FnOnce(&Side) -> io::Result<()> + Send,
    ) -> Result<Line, Refusal> {
        let address = listener.local_addr()?;
        let builder = configure(Listener::builder(self.given.module), self.given, hook)?;
        let acceptor = builder
            .call_hook(Arc::clone(probe))
            .acceptor()
            .map_err(Failure::from)?;
        let (near, far) = thread::scope(|scope| {
            let dialling = scope.spawn(|| {
                let far = self.partner.dial(address)?;
                greet(&far)?;
                Ok(far)
            });
            let near = accept(listener, || false).and_then(|socket| Ok(acceptor.accept(socket)?));
            (near, dialling.join())
        });
        let far = far.unwrap_or_else(|_| Err(refusal("the check panicked", true)));
        Ok(Line {
            near: Side::Conn(near?),
            far: far?,
            probe: Arc::clone(probe),
            relay: None,
        })
    }

    fn relay(
        &self,
        probe: &Arc<Probe>,
        hook: Towards,
        listener: &TcpListener,
        greet: impl FnOnce(&Side) -> io::Result<()>,
    ) -> Result<Line, Refusal> {
        let remote = listener.local_addr()?.to_string();
        let relay = self.start_relay(probe, hook, &remote)?;
        let near = TcpStream::connect(relay.local_addr())?;
        let acceptor = self.partner.acceptor()?;
        let associate = Role::Relay.export();
        let failed = |export| {
            let returned = probe.record().returned(export).copied();
            returned.filter(|returned| returned.value != Some(0))
        };
        // Whoever has failed dials no more.
        let has_failed = || failed(names::INIT).or_else(|| failed(associate)).is_some();
        let far = accept(listener, has_failed)
            .and_then(|socket| self.partner.accept(acceptor.as_ref(), socket))
            .and_then(|far| greet(&far).map(|()| far).map_err(Refusal::from));
        // A relay does not say when it is ready.
        probe.wait_for(associate, PATIENCE);
        if let Some(ExportReturn { value, export, .. }) =
            failed(names::INIT).or_else(|| failed(associate))
        {
            return Err(match value {
                Some(value) => refusal(&format!("{export} returned {value}; see -v"), false),
                None => {
                    let text = format!(
                        "{export} trapped, exited, or did not return in {PATIENCE:?}; see -v"
                    );
                    refusal(&text, true)
                }
            });
        }
        Ok(Line {
            near: Side::Tcp(near),
            far: far?,
            probe: Arc::clone(probe),
            relay: Some(relay),
        })
    }

    fn start_relay(
        &self,
        probe: &Arc<Probe>,
        hook: Towards,
        remote: &str,
    ) -> Result<ServerHandle, Failure> {
        let builder = configure(Relay::builder(self.given.module), self.given, hook)?;
        let relay = builder
            .call_hook(Arc::clone(probe))
            .remote(remote)
            .bind(LOOPBACK)?;
        Ok(relay.spawn()?)
    }
}

impl Partner<'_> {
    fn acceptor(&self) -> Result<Option<Acceptor>, Failure> {
        match self {
            Self::Module(given, _) => {
                let builder = Listener::builder(given.module);
                let acceptor = configure(builder, *given, Towards(None))?.acceptor()?;
                Ok(Some(acceptor))
            }
            Self::Socket => Ok(None),
        }
    }

    /// The far side of a connection that the module has dialled.
    fn accept(&self, acceptor: Option<&Acceptor>, socket: TcpStream) -> Result<Side, Refusal> {
        match acceptor {
            Some(acceptor) => acceptor.accept(socket).map(Side::Conn).map_err(|error| {
                let error = chain(&error);
                refusal(&format!("the partner did not accept: {error}"), false)
            }),
            None => Ok(Side::Tcp(socket)),
        }
    }

    /// The far side of a connection that the module accepts.
    fn dial(&self, address: SocketAddr) -> Result<Side, Refusal> {
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
            dialer.dial(&address.to_string())
        };
        dialled.map(Side::Conn).map_err(|error| {
            let error = chain(&error);
            refusal(&format!("the partner did not connect: {error}"), false)
        })
    }
}

/// Leads all connections to one address, or refuses them.
struct Towards(Option<SocketAddr>);

impl DialHook for Towards {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        match self.0 {
            Some(address) => attempt.connect_to(Network::Tcp, &address.to_string()),
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

fn configure<R>(
    builder: Builder<R>,
    given: Given<'_>,
    hook: Towards,
) -> Result<Builder<R>, Failure> {
    Ok(setup::configure(builder, given.args)?
        .policy(AddressPolicy::allow_all())
        .dial_hook(hook)
        .handshake_timeout(given.args.handshake_timeout.min(PATIENCE))
        .close_grace(given.args.close_grace.min(GRACE))
        .drain_timeout(given.args.drain_timeout.min(PATIENCE)))
}

/// Accepts the connection that the module makes, unless it gives up.
fn accept(listener: &TcpListener, has_given_up: impl Fn() -> bool) -> Result<TcpStream, Refusal> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let look = (Instant::now() + Duration::from_millis(10)).min(deadline);
        if wait_until(listener.as_fd(), Interest::Readable, look)? {
            let (socket, _) = listener.accept()?;
            socket.set_nodelay(true)?;
            return Ok(socket);
        }
        if has_given_up() || Instant::now() >= deadline {
            return Err(refusal("the module made no connection", true));
        }
    }
}

fn refusal(text: &str, is_rude: bool) -> Refusal {
    Refusal::Because {
        text: text.to_owned(),
        is_rude,
    }
}

impl From<DialError> for Refusal {
    fn from(error: DialError) -> Self {
        let is_rude = match &error {
            DialError::Transport(error) => is_rude(error),
            error => matches!(error, DialError::TimedOut { .. }),
        };
        refusal(&chain(&error), is_rude)
    }
}

impl From<AcceptError> for Refusal {
    fn from(error: AcceptError) -> Self {
        let is_rude = match &error {
            AcceptError::Transport(error) => is_rude(error),
            error => matches!(error, AcceptError::TimedOut { .. }),
        };
        refusal(&chain(&error), is_rude)
    }
}

/// Whether the module did something else than return an error number.
fn is_rude(error: &TransportError) -> bool {
    !matches!(error, TransportError::Failed { .. })
}
