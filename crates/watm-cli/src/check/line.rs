//! A connection through the module that is checked: what uses it on the near side, its peer on the
//! far side, and the probe that watches it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use watm_abi::{Role, names};
use watm_wasmer::{
    Builder, Conn, Dialer, ExportReturn, FixedDialer, Listener, Relay, ServerHandle, TransportError,
};

use super::arrivals::{Arrival, Arrivals};
use super::data::joined;
use super::partner::{Given, LOOPBACK, Partner, Towards, configure};
use super::probe::{Manner, Probe};
use super::refusal::{Refusal, ended, of_its_peer, refusal};
use super::side::Side;
use super::tap::{Module, Tap};
use crate::carry::poll::{Interest, wait_until};
use crate::terminal::failure::{Failure, chain};

/// How much longer than the module may take is waited for what the host does then.
const MARGIN: Duration = Duration::from_secs(2);
/// How often is looked whether the module has given up.
const LOOK: Duration = Duration::from_millis(10);
/// The address of a remote that refuses. Nobody connects to it.
const NOWHERE: &str = "127.0.0.1:1";

/// Dials an address.
type Dial = dyn Fn(&str) -> Result<Conn, Refusal> + Send + Sync;

/// A module in one role, with its partners.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) given: Given<'a>,
    pub(super) role: Role,
    /// Who connects to it, if it is a relay.
    pub(super) client: Partner<'a>,
    /// What is at the other end of its network connection.
    pub(super) partner: Partner<'a>,
    /// Damages what comes from there.
    pub(super) tap: Option<&'a Tap>,
}

/// What plain sockets do first.
#[derive(Clone, Copy, Default)]
pub(super) struct Greetings<'g> {
    /// The client of a relay.
    pub(super) client: Option<&'g Greeting>,
    pub(super) far: Option<&'g Greeting>,
}

pub(super) type Greeting = dyn Fn(&Side) + Sync;

pub(super) struct Line {
    pub(super) near: Side,
    pub(super) far: Side,
    pub(super) probe: Arc<Probe>,
    relay: Option<ServerHandle>,
    /// The index of its connection among those that the module made.
    used: usize,
    arrivals: Vec<Arrival>,
}

impl Line {
    /// How the transport failed, if it has.
    pub(super) fn failure(&self) -> Option<String> {
        // The near side of a relay is that of its client.
        let is_own = self.relay.is_none();
        is_own.then(|| failure_of(&self.near)).flatten()
    }

    /// The same, or else how its peer failed, as the end of a sentence.
    pub(super) fn because(&self) -> String {
        let of_peers = || {
            let mut failures = [&self.far, &self.near].into_iter().filter_map(failure_of);
            failures.next().map(|failure| of_its_peer(&failure))
        };
        self.failure()
            .or_else(of_peers)
            .map_or_else(String::new, |failure| format!("; {failure}"))
    }

    /// Which of the module's connections is used, if it has made several.
    pub(super) fn choice(&self) -> Option<String> {
        let count = self.arrivals.len();
        (count > 1).then(|| {
            format!(
                "it made {count} connections; connection {} is checked",
                self.used + 1
            )
        })
    }

    /// Closes the near side and waits until the transport has ended. The far side stays open
    /// meanwhile. An error says what the module did in place of an end.
    pub(super) fn close(self) -> Result<(), String> {
        let Self {
            near,
            far,
            probe,
            relay,
            arrivals,
            used: _,
        } = self;
        let result = match (near, relay) {
            (Side::Conn(conn), None) => match conn.close() {
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
        drop((far, arrivals));
        result
    }
}

impl<'a> Subject<'a> {
    /// The same with a plain socket as its partner.
    pub(super) fn with_socket(self) -> Self {
        Self {
            partner: Partner::Socket,
            ..self
        }
    }

    /// Sets a connection up.
    pub(super) fn open(&self, manner: Manner) -> Result<Line, Refusal> {
        self.open_with(&Arc::new(Probe::new(manner)), Greetings::default())
    }

    /// Sets a connection up, of which plain sockets begin with their greetings.
    pub(super) fn open_with(
        &self,
        probe: &Arc<Probe>,
        greetings: Greetings<'_>,
    ) -> Result<Line, Refusal> {
        let listener = TcpListener::bind(LOOPBACK)?;
        match self.role {
            Role::Listener => self.accept(probe, &listener, greetings),
            Role::Relay => self.relay(probe, listener, greetings),
            Role::Dialer | Role::FixedDialer => self.dial(probe, listener, greetings),
        }
    }

    fn dial(
        &self,
        probe: &Arc<Probe>,
        listener: TcpListener,
        greetings: Greetings<'_>,
    ) -> Result<Line, Refusal> {
        let address = self.tapped(listener.local_addr()?, Module::Connects)?;
        let dial = self.dialer(probe, Towards(Some(address)))?;
        let mut arrivals = Arrivals::new(listener, self.partner.acceptor()?);
        let (near, gathered) = thread::scope(|scope| {
            let dialling = scope.spawn(|| dial(&address.to_string()));
            let is_done = || dialling.is_finished();
            let gathered = arrivals.gather(self.deadline(), is_done, greetings.far());
            (joined(dialling.join()), gathered)
        });
        gathered?;
        let near = near.map_err(|near| self.with_reason_of_partner(near, &arrivals))?;
        let at = near.local_addr().ok();
        let used = arrivals.find(at, self.tap, Instant::now() + MARGIN)?;
        Ok(Line {
            near: Side::Conn(near),
            far: arrivals.far(used, self.deadline())?,
            probe: Arc::clone(probe),
            relay: None,
            used,
            arrivals: arrivals.into_all(),
        })
    }

    /// If both the module and its partner failed, the partner may be the reason.
    fn with_reason_of_partner(&self, near: Refusal, arrivals: &Arrivals) -> Refusal {
        if !self.partner.is_module() || arrivals.count() == 0 {
            return near;
        }
        match arrivals.far(0, self.deadline()) {
            Err(far) => near.with(far),
            Ok(_) => near,
        }
    }

    /// The address to connect to instead, if there is a tap.
    fn tapped(&self, address: SocketAddr, module: Module) -> Result<SocketAddr, Refusal> {
        Ok(match self.tap {
            Some(tap) => tap.before(address, module)?,
            None => address,
        })
    }

    /// When the module must be set up, from now on.
    fn deadline(&self) -> Instant {
        Instant::now() + self.patience()
    }

    /// How long the module may take to set a connection up.
    fn patience(&self) -> Duration {
        self.given.args.setup_timeout + MARGIN
    }

    /// Runs the module up to its init, and waits for that.
    pub(super) fn prepare(&self, probe: &Arc<Probe>) -> Result<Option<ExportReturn>, Failure> {
        // An instance that is kept ready has come so far. It is dropped with the dialer.
        fn with_spare<R>(builder: Builder<R>, probe: &Arc<Probe>) -> Builder<R> {
            builder.spare_instances(1).call_hook(Arc::clone(probe))
        }
        let Given { module, .. } = self.given;
        let wait = || probe.wait_for_or_failure(names::INIT, self.patience());
        let nowhere = Towards(None);
        Ok(match self.role {
            Role::Dialer => {
                let builder = configure(Dialer::builder(module), self.given, nowhere)?;
                let _dialer = with_spare(builder, probe).build()?;
                wait()
            }
            Role::FixedDialer => {
                let builder = configure(FixedDialer::builder(module), self.given, nowhere)?;
                let _dialer = with_spare(builder, probe).build()?;
                wait()
            }
            Role::Listener => {
                let builder = configure(Listener::builder(module), self.given, nowhere)?;
                let _acceptor = with_spare(builder, probe).acceptor()?;
                wait()
            }
            Role::Relay => {
                let builder = configure(Relay::builder(module), self.given, nowhere)?;
                let relay = with_spare(builder, probe).remote(NOWHERE).bind(LOOPBACK)?;
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
        let returned = thread::scope(|scope| {
            // A client that is a module may be refused, too.
            let client = scope.spawn(|| self.client.dial(relay.local_addr()));
            let returned = probe.wait_for(Role::Relay.export(), self.patience());
            relay.shutdown();
            drop(joined(client.join()));
            returned
        });
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
            let dialer = watched(builder, probe).build()?;
            return Ok(Box::new(move |_| Ok(dialer.dial()?)));
        }
        let builder = configure(Dialer::builder(self.given.module), self.given, hook)?;
        let dialer = watched(builder, probe).build()?;
        Ok(Box::new(move |address| Ok(dialer.dial(address)?)))
    }

    fn accept(
        &self,
        probe: &Arc<Probe>,
        listener: &TcpListener,
        greetings: Greetings<'_>,
    ) -> Result<Line, Refusal> {
        let address = self.tapped(listener.local_addr()?, Module::IsConnected)?;
        let builder = Listener::builder(self.given.module);
        let builder = configure(builder, self.given, Towards(Some(address)))?;
        let acceptor = watched(builder, probe).acceptor().map_err(Failure::from)?;
        let (near, far) = thread::scope(|scope| {
            let dialling = scope.spawn(|| {
                let far = self.partner.dial(address)?;
                greetings.far()(&far);
                Ok(far)
            });
            let near = self
                .take(listener, || dialling.is_finished())
                .and_then(|socket| Ok(acceptor.accept(socket)?));
            (near, joined(dialling.join()))
        });
        let (near, far) = match (near, far) {
            (Err(near), Err(far)) if self.partner.is_module() => return Err(near.with(far)),
            (near, far) => (near?, far?),
        };
        Ok(Line {
            near: Side::Conn(near),
            far,
            probe: Arc::clone(probe),
            relay: None,
            used: 0,
            arrivals: Vec::new(),
        })
    }

    fn relay(
        &self,
        probe: &Arc<Probe>,
        listener: TcpListener,
        greetings: Greetings<'_>,
    ) -> Result<Line, Refusal> {
        let remote = self.tapped(listener.local_addr()?, Module::Connects)?;
        let relay = self.start_relay(probe, Towards(Some(remote)), &remote.to_string())?;
        let mut arrivals = Arrivals::new(listener, self.partner.acceptor()?);
        let associate = Role::Relay.export();
        let failed = || {
            let record = probe.record();
            let of_both = [names::INIT, associate].map(|export| record.returned(export).copied());
            let mut of_both = of_both.into_iter().flatten();
            of_both.find(|returned| returned.value() != Some(0))
        };
        let has_returned = || probe.record().returned(associate).is_some();
        let (near, gathered) = thread::scope(|scope| {
            let client = scope.spawn(|| {
                let near = self.client.dial(relay.local_addr())?;
                greetings.client()(&near);
                Ok(near)
            });
            // A relay does not say when it is ready, and whoever has failed dials no more.
            let is_done = || has_returned() || failed().is_some();
            let gathered = arrivals.gather(self.deadline(), is_done, greetings.far());
            (joined(client.join()), gathered)
        });
        gathered?;
        if let Some(failed) = failed() {
            let text = format!("{}; see -v", ended(&failed));
            let own = refusal(&text, failed.value().is_none());
            return Err(match near {
                Err(client) if self.client.is_module() => own.with(client),
                _ => self.with_reason_of_partner(own, &arrivals),
            });
        }
        let near = near?;
        if !has_returned() {
            return Err(refusal(&format!("{associate} did not return"), true));
        }
        // It does not tell which connection it uses.
        let used = arrivals.find(None, self.tap, Instant::now() + MARGIN)?;
        Ok(Line {
            near,
            far: arrivals.far(used, self.deadline())?,
            probe: Arc::clone(probe),
            relay: Some(relay),
            used,
            arrivals: arrivals.into_all(),
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
        let relay = watched(builder, probe).remote(remote).bind(LOOPBACK)?;
        Ok(relay.spawn()?)
    }
}

/// Has `probe` watch a module. Where it answers as other hosts do, the module gets no extension,
/// since those have none.
fn watched<R>(builder: Builder<R>, probe: &Arc<Probe>) -> Builder<R> {
    let builder = match probe.manner() {
        Manner::Usual => builder,
        _ => builder.host_aead(false),
    };
    builder.call_hook(Arc::clone(probe))
}

/// How a side's transport failed, if it has.
fn failure_of(side: &Side) -> Option<String> {
    match side {
        Side::Conn(conn) => conn.outcome()?.err().map(|error| chain(&error)),
        Side::Tcp(_) | Side::Gone => None,
    }
}

impl<'g> Greetings<'g> {
    fn client(&self) -> &'g Greeting {
        self.client.unwrap_or(&|_| {})
    }

    fn far(&self) -> &'g Greeting {
        self.far.unwrap_or(&|_| {})
    }
}
