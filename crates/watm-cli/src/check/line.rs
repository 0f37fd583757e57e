//! A connection through the module that is checked: what uses it on the near side, its peer on the
//! far side, and the probe that watches it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use watm_abi::{Role, names};
use watm_wasmer::{
    AcceptError, Acceptor, AddressPolicy, Builder, Conn, DialAttempt, DialError, DialHook, Dialer,
    ExportOutcome, ExportReturn, FixedDialer, Listener, Network, Relay, ServerHandle, Stream,
    TransportError, TransportModule,
};

use super::probe::{Manner, Probe};
use super::side::Side;
use crate::args::TransportArgs;
use crate::carry::poll::{Interest, wait_until};
use crate::setup;
use crate::terminal::failure::{Failure, chain};

/// How much longer than the module may take is waited for what the host does then.
const MARGIN: Duration = Duration::from_secs(2);
/// The time that the last bytes have, unless the options allow less.
const DRAIN: Duration = Duration::from_secs(5);
/// How often is looked whether the module has given up.
const LOOK: Duration = Duration::from_millis(10);
const LOOPBACK: &str = "127.0.0.1:0";
/// The address of a remote that refuses. Nobody connects to it.
const NOWHERE: &str = "127.0.0.1:1";

/// Dials an address.
type Dial = dyn Fn(&str) -> Result<Conn, Refusal> + Send + Sync;

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
    /// The module made no connection.
    NoConnection,
    /// The check itself could not go on.
    Host(Failure),
}

impl Refusal {
    /// The text, and whether something else than an error number was the reason.
    pub(super) fn into_text(self) -> Result<(String, bool), Failure> {
        match self {
            Self::Because { text, is_rude } => Ok((text, is_rude)),
            Self::NoConnection => Ok(("the module made no connection".into(), true)),
            Self::Host(failure) => Err(failure),
        }
    }

    /// The same, with what went wrong at the other end.
    fn with(self, far: Self) -> Self {
        match (self, far) {
            (Self::Because { text, is_rude }, Self::Because { text: far, .. }) => {
                refusal(&format!("{far}; {text}"), is_rude)
            }
            (Self::NoConnection, far @ Self::Because { .. }) => far,
            (near, _) => near,
        }
    }
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
        failure_of(&self.near)
    }

    /// The same, or else how its peer failed, as the end of a sentence.
    pub(super) fn because(&self) -> String {
        let of_peer = || failure_of(&self.far).map(|failure| of_its_peer(&failure));
        self.failure()
            .or_else(of_peer)
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
                    Some(returned) if returned.value().is_none() => {
                        Err(format!("the module's {}", ended(returned)))
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
        self.open_with(&Arc::new(Probe::new(manner)), |_| {})
    }

    /// Sets a connection up. The far side begins with what `greet` does.
    pub(super) fn open_with(
        &self,
        probe: &Arc<Probe>,
        greet: impl FnOnce(&Side) + Send,
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
            let far = self
                .take(&listener, || dialling.is_finished())
                .and_then(|socket| self.partner.accept(acceptor.as_ref(), socket));
            if let Ok(far) = &far {
                greet(far);
            }
            (
                dialling.join().unwrap_or_else(|panic| resume_unwind(panic)),
                far,
            )
        });
        self.connected(near, far, probe)
    }

    /// A connection with both of its sides, or why there is none. If both failed, the peer may be
    /// the reason for the module's failure.
    fn connected(
        &self,
        near: Result<Conn, Refusal>,
        far: Result<Side, Refusal>,
        probe: &Arc<Probe>,
    ) -> Result<Line, Refusal> {
        let (near, far) = match (near, far) {
            (Err(near), Err(far)) if self.has_module_as_partner() => return Err(near.with(far)),
            (near, far) => (near?, far?),
        };
        Ok(Line {
            near: Side::Conn(near),
            far,
            probe: Arc::clone(probe),
            relay: None,
        })
    }

    /// How long the module may take to set a connection up.
    fn patience(&self) -> Duration {
        self.given.args.handshake_timeout + MARGIN
    }

    /// Runs the module up to its init, and waits for that.
    pub(super) fn prepare(&self, probe: &Arc<Probe>) -> Result<Option<ExportReturn>, Failure> {
        // An instance that is kept ready has come so far. It is dropped with the dialer.
        fn stocked<R>(builder: Builder<R>, probe: &Arc<Probe>) -> Builder<R> {
            builder.stock(1).call_hook(Arc::clone(probe))
        }
        let Given { module, .. } = self.given;
        let wait = || probe.wait_for_or_failure(names::INIT, self.patience());
        let nowhere = Towards(None);
        Ok(match self.role {
            Role::Dialer => {
                let builder = configure(Dialer::builder(module), self.given, nowhere)?;
                let _dialer = stocked(builder, probe).build()?;
                wait()
            }
            Role::FixedDialer => {
                let builder = configure(FixedDialer::builder(module), self.given, nowhere)?;
                let _dialer = stocked(builder, probe).build()?;
                wait()
            }
            Role::Listener => {
                let builder = configure(Listener::builder(module), self.given, nowhere)?;
                let _acceptor = stocked(builder, probe).acceptor()?;
                wait()
            }
            Role::Relay => {
                let builder = configure(Relay::builder(module), self.given, nowhere)?;
                let relay = stocked(builder, probe).remote(NOWHERE).bind(LOOPBACK)?;
                let _relay = relay.spawn()?;
                wait()
            }
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
        let returned = probe.wait_for(Role::Relay.export(), self.patience());
        relay.shutdown();
        drop(near);
        Ok(match returned {
            Some(returned) if returned.value() == Some(0) => None,
            Some(returned) => Some(refusal(&ended(&returned), returned.value().is_none())),
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
        greet: impl FnOnce(&Side) + Send,
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
                greet(&far);
                Ok(far)
            });
            let near = self
                .take(listener, || dialling.is_finished())
                .and_then(|socket| Ok(acceptor.accept(socket)?));
            (
                near,
                dialling.join().unwrap_or_else(|panic| resume_unwind(panic)),
            )
        });
        self.connected(near, far, probe)
    }

    fn relay(
        &self,
        probe: &Arc<Probe>,
        hook: Towards,
        listener: &TcpListener,
        greet: impl FnOnce(&Side),
    ) -> Result<Line, Refusal> {
        let remote = listener.local_addr()?.to_string();
        let relay = self.start_relay(probe, hook, &remote)?;
        let near = TcpStream::connect(relay.local_addr())?;
        let acceptor = self.partner.acceptor()?;
        let associate = Role::Relay.export();
        let failed = || {
            let record = probe.record();
            let of_both = [names::INIT, associate].map(|export| record.returned(export).copied());
            let mut of_both = of_both.into_iter().flatten();
            of_both.find(|returned| returned.value() != Some(0))
        };
        // Whoever has failed dials no more.
        let far = self
            .take(listener, || failed().is_some())
            .and_then(|socket| self.partner.accept(acceptor.as_ref(), socket));
        if let Ok(far) = &far {
            greet(far);
        }
        // A relay does not say when it is ready.
        let returned = probe.wait_for(associate, self.patience());
        if let Some(failed) = failed() {
            let near = refusal(
                &format!("{}; see -v", ended(&failed)),
                failed.value().is_none(),
            );
            return Err(match far {
                Err(far) if self.has_module_as_partner() => near.with(far),
                _ => near,
            });
        }
        let far = far?;
        if returned.is_none() {
            return Err(refusal(&format!("{associate} did not return"), true));
        }
        Ok(Line {
            near: Side::Tcp(near),
            far,
            probe: Arc::clone(probe),
            relay: Some(relay),
        })
    }

    /// Accepts the connection that is made, unless whoever should make it gives up.
    fn take(
        &self,
        listener: &TcpListener,
        has_given_up: impl Fn() -> bool,
    ) -> Result<TcpStream, Refusal> {
        let deadline = Instant::now() + self.patience();
        loop {
            // The last look comes after the question.
            let is_last = has_given_up() || Instant::now() >= deadline;
            let look = (Instant::now() + LOOK).min(deadline);
            if wait_until(listener.as_fd(), Interest::Readable, look)? {
                let (socket, _) = listener.accept()?;
                // A connection that has been reset takes no options.
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            if is_last {
                return Err(Refusal::NoConnection);
            }
        }
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
            Some(acceptor) => acceptor
                .accept(socket)
                .map(Side::Conn)
                .map_err(|error| refusal(&of_its_peer(&chain(&error)), false)),
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
            dialer.dial(address.to_string())
        };
        dialled
            .map(Side::Conn)
            .map_err(|error| refusal(&of_its_peer(&chain(&error)), false))
    }
}

/// Leads all connections to one address, or refuses them.
struct Towards(Option<SocketAddr>);

impl DialHook for Towards {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        match self.0 {
            Some(address) => attempt.connect_to(Network::Tcp, address.to_string()),
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

fn configure<R>(
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

/// How a side's transport failed, if it has.
fn failure_of(side: &Side) -> Option<String> {
    match side {
        Side::Conn(conn) => conn.outcome()?.err().map(|error| chain(&error)),
        Side::Tcp(_) | Side::Gone => None,
    }
}

/// What was said of a module, said of the module at the other end.
pub(super) fn of_its_peer(text: &str) -> String {
    format!("at its peer, {text}")
}

/// How an export has ended.
pub(super) fn ended(returned: &ExportReturn) -> String {
    let export = returned.export;
    match returned.outcome {
        ExportOutcome::Returned(Some(value)) => format!("{export} returned {value}"),
        ExportOutcome::Exited(code) => format!("{export} exited with code {code}"),
        ExportOutcome::Trapped => format!("{export} trapped"),
        ExportOutcome::Stopped => format!("{export} did not return and was stopped"),
        _ => format!("{export} returned"),
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
