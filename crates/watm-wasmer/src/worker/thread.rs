//! The thread of one worker: the whole life of one connection.
//!
//! The steps are: instantiate, initialise, dial or accept or associate, control pipe, start,
//! deliver what is left.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use watm_abi::Role;

use crate::channel::link::{Level, Link, Stage};
use crate::channel::supervisor;
use crate::error::{Outcome, SetupError, TransportError};
use crate::guest::exports::{Established, prepare_guest, set_up, start};
use crate::guest::instance::Instance;
use crate::guest::settings::Settings;
use crate::host::observer::Teller;
use crate::host::plain::Limits;
use crate::host::preopens;
use crate::host::stats::ConnStats;
use crate::host::stdio::StdStream;
use crate::host::{Ends, Host, HostSetup};
use crate::net::reactor::Reactor;
use crate::net::stream::Stream;
use crate::threads;
use crate::worker::census::Counted;
use crate::worker::mappings;

/// Stack of a worker's thread, in bytes. Guest code runs on the engine's own stack.
const STACK: usize = 512 * 1024;

/// Called when a guest begins with its connection.
pub(crate) type Begins = Box<dyn FnOnce() + Send>;

/// Called when a worker has ended.
pub(crate) type Ended = Box<dyn FnOnce(&Link) + Send>;

/// The connection that a worker will serve.
pub(crate) struct Connection {
    pub(crate) ends: Ends,
    /// Called on the worker's thread when the guest is about to get the connection.
    pub(crate) begins: Option<Begins>,
    /// Called once on the worker's thread, when the transport is set up or when the set-up has
    /// failed.
    pub(crate) report: Report,
    /// Called on the worker's thread when everything is over.
    pub(crate) ended: Option<Ended>,
}

/// The task of one worker.
pub(super) struct Job {
    pub(super) settings: Arc<Settings>,
    pub(super) role: Role,
    /// The configuration of this connection alone, which replaces the common one.
    pub(super) config: Option<Arc<[u8]>>,
    pub(super) link: Arc<Link>,
}

/// Where a worker gets its connection from.
#[allow(
    clippy::large_enum_variant,
    reason = "a connection has one, for a moment"
)]
pub(super) enum Source {
    Given(Connection),
    /// It waits in a pool until it gets one.
    Pool {
        connection: Receiver<Connection>,
        /// Receives a message when the instance is ready.
        prepared: Sender<Result<(), SetupError>>,
    },
}

pub(crate) type Report = Box<dyn FnOnce(Result<Established, SetupError>) + Send>;

/// Starts a worker that creates an instance with the common configuration and then waits for a
/// connection. Returns once the worker waits.
pub(super) fn prepare(
    settings: &Arc<Settings>,
    role: Role,
    link: &Arc<Link>,
    connection: Receiver<Connection>,
) -> Result<(), SetupError> {
    let limit = settings.setup_timeout;
    let (prepared, receiver) = bounded(1);
    let source = Source::Pool {
        connection,
        prepared,
    };
    let job = Job {
        settings: Arc::clone(settings),
        role,
        config: None,
        link: Arc::clone(link),
    };
    supervisor::end_stage_at(Instant::now() + limit, link, Stage::Preparing);
    spawn(job, source)?;
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            link.raise(Level::Stopping);
            Err(timed_out(link, settings))
        }
        Err(RecvTimeoutError::Disconnected) => Err(without_a_word()),
    }
}

pub(super) fn without_a_word() -> SetupError {
    SetupError::Host(io::Error::other("the worker ended without a word"))
}

pub(super) fn spawn(job: Job, source: Source) -> Result<(), SetupError> {
    let link = Arc::clone(&job.link);
    mappings::take_room()
        .and_then(|()| threads::spawn("watm-worker", STACK, move || run(job, source)))
        .map(|_| ())
        .map_err(|error| {
            link.finish();
            SetupError::Host(error)
        })
}

/// Signals the end of the worker, however its thread is left.
struct Finish {
    link: Arc<Link>,
    ended: Option<Ended>,
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.link.set_interrupt(None);
        if let Some(ended) = self.ended.take() {
            ended(&self.link);
        }
        self.link.finish();
    }
}

/// Those who wait to hear from a worker.
#[derive(Default)]
struct Waiting {
    prepared: Option<Sender<Result<(), SetupError>>>,
    begins: Option<Begins>,
    report: Option<Report>,
    teller: Option<Arc<Teller>>,
}

impl Waiting {
    /// Tells the pool that the instance is ready.
    fn ready(&mut self) {
        if let Some(prepared) = self.prepared.take() {
            let _ = prepared.send(Ok(()));
        }
    }

    /// Announces that the guest is about to get its connection.
    fn begin(&mut self) {
        if let Some(begins) = self.begins.take() {
            begins();
        }
    }

    fn established(&mut self, established: Established) {
        if let Some(teller) = &self.teller {
            teller.established(established.local, established.peer);
        }
        if let Some(report) = self.report.take() {
            report(Ok(established));
        }
    }

    /// Tells whoever waits for the set-up that it has failed.
    fn fail(&mut self, error: SetupError) {
        if let Some(report) = self.report.take() {
            if let Some(teller) = &self.teller {
                teller.failed(&error);
            }
            report(Err(error));
        } else if let Some(prepared) = self.prepared.take() {
            let _ = prepared.send(Err(error));
        }
    }
}

impl Connection {
    /// Lets those who wait for the connection hear of it, and returns the remaining parts.
    fn attach(
        self,
        settings: &Settings,
        role: Role,
        waiting: &mut Waiting,
        finish: &mut Finish,
    ) -> Ends {
        if let Some(observer) = &settings.observer {
            let Ends {
                incoming, internal, ..
            } = &self.ends;
            let client = incoming.as_ref().or(internal.plain());
            let client = client.and_then(Stream::peer_addr);
            waiting.teller = Some(Teller::begin(
                observer,
                settings.module.name(),
                role,
                client,
            ));
        }
        waiting.begins = self.begins;
        waiting.report = Some(self.report);
        finish.ended = self.ended;
        self.ends
    }
}

fn run(job: Job, source: Source) {
    let _counted = Counted::new();
    let link = Arc::clone(&job.link);
    let mut finish = Finish {
        link: Arc::clone(&link),
        ended: None,
    };
    let mut waiting = Waiting::default();
    let settings = Arc::clone(&job.settings);
    let name = settings.module.name();
    let mut instance = None;
    // Nothing here should panic. If something does, it ends only this connection.
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        live(job, source, &mut instance, &mut waiting, &mut finish)
    }));
    let panicked = unwound.is_err();
    let result = unwound.unwrap_or_else(|_| {
        Err(TransportError::Host(Arc::new(io::Error::other(
            "the worker panicked",
        ))))
    });
    match &result {
        Ok(end) => log::debug!("the transport {name} ended: {end}"),
        Err(error) if link.is_established() => {
            log::info!("the transport {name} failed: {error}");
        }
        Err(_) => {}
    }
    if result.is_err() {
        link.set_broken();
    }
    // This comes before the pipe closes, so that the application finds the reason when it finds the
    // end.
    link.set_outcome(result.clone());
    waiting.fail(
        result
            .err()
            .map_or(SetupError::Closed, SetupError::Transport),
    );
    let Some(mut instance) = instance else { return };
    instance.host().end_guest();
    // From here on, what was to stop the guest must not cut the delivery.
    link.set_guest_ended();
    // A connection that was never set up has little to deliver, and nobody waits for it.
    let patience = if link.is_established() {
        settings.drain_timeout
    } else {
        settings.drain_timeout.min(settings.close_grace)
    };
    if let Err(error) = instance.host().drain(patience) {
        // A plain client that has gone loses what it does not want.
        let level = if link.plain_lost().is_some() {
            log::Level::Info
        } else {
            log::Level::Warn
        };
        log::log!(level, "the transport {name} lost bytes: {error}");
        link.set_undelivered();
    }
    if let Some(teller) = waiting.teller.filter(|_| link.is_established()) {
        let outcome = link.final_outcome();
        let outcome = outcome.unwrap_or(Err(TransportError::Interrupted));
        teller.ended(&outcome, ConnStats::of(&link.traffic));
    }
    if panicked {
        // A panic may have left the locks of this value poisoned, and dropping it would panic
        // again. A leak is the smaller evil.
        std::mem::forget(instance);
    }
}

/// The life of the guest. The guest is in `kept` when this returns or panics. Whoever must be told
/// of the set-up is told through `waiting`.
fn live(
    job: Job,
    source: Source,
    kept: &mut Option<Instance>,
    waiting: &mut Waiting,
    finish: &mut Finish,
) -> Result<Outcome, TransportError> {
    let link = Arc::clone(&job.link);
    let settings = Arc::clone(&job.settings);
    match establish(job, source, kept, waiting, finish) {
        Ok((instance, established)) => {
            if settings.timing {
                instance.host().start_timing();
            }
            waiting.established(established);
            start(instance, &link)
        }
        Err(error) => {
            let result = match &error {
                SetupError::Transport(error) => error.clone(),
                _ => TransportError::Interrupted,
            };
            waiting.fail(cause(error, &link, &settings));
            Err(result)
        }
    }
}

/// Creates the instance, gets its connection, and lets the guest set up the transport.
fn establish<'a>(
    job: Job,
    source: Source,
    kept: &'a mut Option<Instance>,
    waiting: &mut Waiting,
    finish: &mut Finish,
) -> Result<(&'a mut Instance, Established), SetupError> {
    let link = Arc::clone(&job.link);
    let settings = Arc::clone(&job.settings);
    let role = job.role;
    // Whoever waits hears of a failure, including a failure to create the instance.
    let awaited = match source {
        Source::Given(connection) => {
            Awaited::Here(connection.attach(&settings, role, waiting, finish))
        }
        Source::Pool {
            connection,
            prepared,
        } => {
            waiting.prepared = Some(prepared);
            Awaited::Spare(connection)
        }
    };
    let instance = kept.insert(instantiate(job)?);
    prepare_guest(instance)?;
    let ends = match awaited {
        Awaited::Here(ends) => ends,
        Awaited::Spare(connection) => {
            if !link.advance(Stage::Preparing, Stage::Ready) {
                return Err(timed_out(&link, &settings));
            }
            waiting.ready();
            // If no connection comes, the pool was given up.
            let connection = connection.recv().map_err(|_| SetupError::Closed)?;
            connection.attach(&settings, role, waiting, finish)
        }
    };
    instance.host().set_teller(waiting.teller.clone());
    instance.host().connect(ends);
    waiting.begin();
    let established = set_up(instance, role)?;
    // From here on, the deadline of the handshake must not stop the worker any more.
    if link.advance(Stage::SettingUp, Stage::Established) {
        Ok((instance, established))
    } else {
        Err(timed_out(&link, &settings))
    }
}

/// The connection that an instance is created for.
#[allow(
    clippy::large_enum_variant,
    reason = "a connection has one, for a moment"
)]
enum Awaited {
    Here(Ends),
    Spare(Receiver<Connection>),
}

/// Why a set-up failed. If the worker was stopped, the cause is the reason for the stop, whatever
/// the stop hit.
fn cause(error: SetupError, link: &Link, settings: &Settings) -> SetupError {
    if link.is_displaced() {
        SetupError::Displaced {
            limit: settings.handshake_limit,
        }
    } else if link.gave_way() {
        SetupError::GaveWay
    } else if link.is_given_up() {
        given_up(link)
    } else if link.is_stopping() || link.set_up_by().is_some_and(|by| Instant::now() >= by) {
        // A connect ends at the same time, and may be faster to say so than whoever stops the worker.
        timed_out(link, settings)
    } else {
        error
    }
}

/// Why a set-up was given up: the plain connection that it was for is lost, or nobody wants it.
pub(super) fn given_up(link: &Link) -> SetupError {
    match link.plain_lost() {
        Some(errno) => SetupError::Transport(TransportError::PlainLost { errno }),
        None => SetupError::Closed,
    }
}

fn timed_out(link: &Link, settings: &Settings) -> SetupError {
    SetupError::TimedOut {
        after: link.limit().unwrap_or(settings.setup_timeout),
        connecting: link.is_connecting(),
    }
}

fn instantiate(job: Job) -> Result<Instance, SetupError> {
    let Job {
        settings,
        config,
        link,
        ..
    } = job;
    if link.is_stopping() {
        return Err(SetupError::Closed);
    }
    let config = config.or_else(|| settings.config.clone());
    let in_memory = settings
        .in_memory(config.as_ref())
        .map_err(|error| SetupError::Instantiate(error.to_string()))?;
    let directories =
        preopens::open(&settings.directories, &in_memory).map_err(SetupError::Instantiate)?;
    let reactor = Reactor::new(&link).map_err(SetupError::Host)?;
    let host = Host::new(
        Arc::clone(&link),
        reactor,
        HostSetup {
            outgoing: settings.outgoing.clone(),
            arguments: Arc::clone(&settings.arguments),
            std_streams: StdStream::all(settings.stdio, &settings.log_target),
            directories,
            descriptor_limit: settings.descriptor_limit,
            keepalive: settings.keepalive,
            limits: Limits {
                patience: settings.drain_timeout,
                grace: settings.close_grace,
                naming: settings.setup_timeout,
            },
            hook: settings.call_hook.clone(),
        },
    );
    Instance::new(&settings, host, &link)
}
