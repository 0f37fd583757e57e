//! A worker: the thread that runs the whole life of one connection.
//!
//! Instantiate, initialise, dial or accept or associate, control pipe, start, deliver what is
//! left. The embedder hears from it over a channel when the transport is set up, and through the
//! [`Link`] and the pipe from then on. How a guest is called is the engine's business, behind
//! [`Guest`].

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use watm_abi::{Errno, GuestError, Role, decode_errno, decode_value, names};

use crate::connect::Network;
use crate::error::{End, SetupError, TransportError};
use crate::host::{Host, HostSetup};
use crate::instance::Instance;
use crate::link::{Level, Link};
use crate::pipe::GuestEnd;
use crate::reactor::Reactor;
use crate::settings::Settings;
use crate::stdio::StdStream;
use crate::stream::Stream;
use crate::supervisor;

/// Stack of a worker's thread in bytes: guest code runs on the engine's own stack.
const STACK: usize = 512 * 1024;

/// What is called when a worker has ended.
pub(crate) type Ended = Box<dyn FnOnce(&Link) + Send>;

/// What one worker is to do.
pub(crate) struct Job {
    pub(crate) settings: Arc<Settings>,
    pub(crate) role: Role,
    /// The configuration of this connection alone, in place of the common one.
    pub(crate) config: Option<Arc<[u8]>>,
    pub(crate) fixed: Option<(Network, String)>,
    pub(crate) incoming: Option<Stream>,
    pub(crate) internal: Option<GuestEnd>,
    pub(crate) link: Arc<Link>,
    /// Called on the worker's thread when all is over.
    pub(crate) ended: Option<Ended>,
}

/// What is known of a transport that was set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Established {
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
}

/// How a call into the guest failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// It trapped or panicked.
    Trap(String),
    /// It called `proc_exit`.
    Exit(i32),
    /// It was stopped, at a host call or by an interrupt.
    Stopped,
}

/// An instance of a module, as the worker drives it.
pub(crate) trait Guest {
    /// Runs `_start` or `_initialize`, whichever there is.
    fn run_main(&mut self) -> Result<(), CallError>;
    /// Calls an export that takes at most one `i32` and returns one.
    fn call(&mut self, function: &'static str, param: Option<u32>) -> Result<i32, CallError>;
    fn host(&mut self) -> &mut Host;
}

type Report = Box<dyn FnOnce(Result<Established, SetupError>) + Send>;

/// Starts a worker. `report` is called on its thread once: when the transport is set up, or when
/// that has failed. If the thread cannot be started, neither it nor `ended` is called.
pub(crate) fn spawn(
    job: Job,
    report: impl FnOnce(Result<Established, SetupError>) + Send + 'static,
) -> Result<(), SetupError> {
    let link = Arc::clone(&job.link);
    supervisor::end_handshake_at(Instant::now() + job.settings.handshake_timeout, &link);
    let report: Report = Box::new(report);
    thread::Builder::new()
        .name("watm-worker".into())
        .stack_size(STACK)
        .spawn(move || run(job, report))
        .map(|_| ())
        .map_err(|error| {
            link.finish();
            SetupError::Host(error)
        })
}

/// Starts a worker and waits until its transport is set up. If that takes too long, the worker is
/// stopped and ends on its own.
pub(crate) fn spawn_and_wait(job: Job) -> Result<Established, SetupError> {
    let limit = job.settings.handshake_timeout;
    let link = Arc::clone(&job.link);
    let (sender, receiver) = bounded(1);
    spawn(job, move |result| {
        let _ = sender.send(result);
    })?;
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            supervisor::stop(&link);
            Err(SetupError::TimedOut { after: limit })
        }
        Err(RecvTimeoutError::Disconnected) => Err(SetupError::Host(io::Error::other(
            "the worker ended without a word",
        ))),
    }
}

/// Signals the end of the worker however its thread is left.
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

fn run(mut job: Job, report: Report) {
    crate::signals::block_all();
    let link = Arc::clone(&job.link);
    let _finish = Finish {
        link: Arc::clone(&link),
        ended: job.ended.take(),
    };
    let mut report = Some(report);
    let drain_timeout = job.settings.drain_timeout;
    let log_target = Arc::clone(&job.settings.log_target);
    let mut instance = None;
    // Nothing here should panic; if something does, it ends this connection alone.
    let unwound = catch_unwind(AssertUnwindSafe(|| live(job, &mut instance, &mut report)));
    let panicked = unwound.is_err();
    let result = unwound.unwrap_or_else(|_| {
        Err(TransportError::Host(Arc::new(io::Error::other(
            "the worker panicked",
        ))))
    });
    match &result {
        Ok(end) => log::debug!(target: &log_target, "the transport ended: {end}"),
        Err(error) if link.is_established() => {
            log::info!(target: &log_target, "the transport failed: {error}");
        }
        Err(_) => {}
    }
    // Before the pipe closes, so that the application finds the reason when it finds the end.
    link.set_outcome(result.clone());
    if let Some(report) = report.take() {
        report(Err(result
            .err()
            .map_or(SetupError::Closed, SetupError::Transport)));
    }
    let Some(mut instance) = instance else { return };
    instance.host().end_guest();
    if let Err(error) = instance.host().drain(drain_timeout) {
        log::warn!(target: &log_target, "bytes were lost: {error}");
        link.set_undelivered();
    }
    if panicked {
        // What panicked may have left its locks poisoned, and dropping it would panic again. A
        // leak is the smaller evil.
        std::mem::forget(instance);
    }
}

/// The life of the guest, which is in `kept` when this returns or panics. Whoever is to be told of
/// the set-up is told through `report`, which is gone then.
fn live(
    job: Job,
    kept: &mut Option<Instance>,
    report: &mut Option<Report>,
) -> Result<End, TransportError> {
    let timeout = job.settings.handshake_timeout;
    let timing = job.settings.timing;
    let link = Arc::clone(&job.link);
    let role = job.role;
    let mut fail = |error: SetupError| {
        // Whatever a stop has hit, the reason is that the time was over.
        let error = if link.is_stopping() {
            SetupError::TimedOut { after: timeout }
        } else {
            error
        };
        if let Some(report) = report.take() {
            report(Err(error));
        }
        Err(TransportError::Interrupted)
    };
    let instance = match instantiate(job) {
        Ok(instance) => kept.insert(instance),
        Err(error) => return fail(error),
    };
    let established = match set_up(instance, role) {
        Ok(established) => established,
        Err(error) => {
            let result = match &error {
                SetupError::Transport(error) => Err(error.clone()),
                _ => Err(TransportError::Interrupted),
            };
            let _ = fail(error);
            return result;
        }
    };
    // From here on the deadline of the handshake must not stop the worker any more.
    if !link.establish() {
        return fail(SetupError::TimedOut { after: timeout });
    }
    if timing {
        instance.host().start_timing();
    }
    if let Some(report) = report.take() {
        report(Ok(established));
    }
    start(instance, &link)
}

fn instantiate(job: Job) -> Result<Instance, SetupError> {
    let Job {
        settings,
        config,
        fixed,
        incoming,
        internal,
        link,
        ..
    } = job;
    if link.is_stopping() {
        return Err(SetupError::Closed);
    }
    let reactor = Reactor::new(&link).map_err(SetupError::Host)?;
    let host = Host::new(
        Arc::clone(&link),
        reactor,
        HostSetup {
            outgoing: settings.outgoing.clone(),
            fixed,
            incoming,
            internal,
            std_streams: StdStream::all(settings.stdio, &settings.log_target),
            descriptor_limit: settings.descriptor_limit,
        },
    );
    Instance::new(
        &settings,
        config.or_else(|| settings.config.clone()),
        host,
        &link,
    )
}

/// Everything up to the worker: `_start`, init, the role's function, the control pipe.
fn set_up(guest: &mut impl Guest, role: Role) -> Result<Established, SetupError> {
    guest
        .run_main()
        .map_err(|error| call_error(names::MAIN, error))?;
    expect_success(guest, names::INIT, None)?;

    // Opened before the guest can use up its descriptors, told to it when its turn comes.
    let control = guest.host().open_control().map_err(no_descriptor)?;
    let function = role.export();
    let established = if role == Role::Relay {
        match expect_success(guest, function, None) {
            Ok(()) => Established {
                local: None,
                peer: None,
            },
            Err(error) => return Err(explain(guest, error)),
        }
    } else {
        let internal = guest.host().open_internal().map_err(no_descriptor)?;
        let returned = guest
            .call(function, Some(internal))
            .map_err(|error| call_error(function, error))?;
        let fd = match decode_value(returned) {
            Ok(fd) => fd,
            Err(error) => return Err(explain(guest, TransportError::Failed { function, error })),
        };
        match guest.host().net(fd) {
            Some(net) => Established {
                local: net.local,
                peer: net.peer,
            },
            None => return Err(TransportError::BadDescriptor { function, fd }.into()),
        }
    };

    expect_success(guest, names::CTRLPIPE, Some(control))?;
    Ok(established)
}

/// `watm_start_v1`, which lasts as long as the transport.
fn start(guest: &mut impl Guest, link: &Link) -> Result<End, TransportError> {
    match guest.call(names::START, None) {
        Ok(returned) => match decode_errno(returned) {
            Ok(()) => Ok(End::Completed),
            Err(GuestError::Errno(Errno::Canceled)) if link.level() >= Level::Cancelled => {
                Ok(End::Cancelled)
            }
            Err(error) => Err(TransportError::Failed {
                function: names::START,
                error,
            }),
        },
        Err(error) => Err(call_error(names::START, error)),
    }
}

fn expect_success(
    guest: &mut impl Guest,
    function: &'static str,
    param: Option<u32>,
) -> Result<(), TransportError> {
    let returned = guest
        .call(function, param)
        .map_err(|error| call_error(function, error))?;
    decode_errno(returned).map_err(|error| TransportError::Failed { function, error })
}

fn call_error(function: &'static str, error: CallError) -> TransportError {
    match error {
        CallError::Trap(message) => TransportError::Trapped {
            function,
            message: message.into(),
        },
        CallError::Exit(code) => TransportError::Exited { function, code },
        CallError::Stopped => TransportError::Interrupted,
    }
}

fn no_descriptor(errno: Errno) -> SetupError {
    SetupError::Host(errno.to_io())
}

/// A guest that gave up since its connection could not be made: the reason is that, not the
/// number that it returned.
fn explain(guest: &mut impl Guest, error: TransportError) -> SetupError {
    match (guest.host().take_failure(), &error) {
        (Some(failure), TransportError::Failed { .. }) => failure,
        _ => error.into(),
    }
}

/// Waits until a worker that was told to end within `grace` has done so.
pub(crate) fn wait_ended(link: &Link, grace: Duration) -> Result<End, TransportError> {
    // The supervisor stops the guest at the end of the grace period; what is longer than this can
    // only be the system's (a name being resolved), and the worker ends by itself after it.
    link.wait_finished(Some(Instant::now() + grace + Duration::from_millis(500)));
    link.final_outcome()
        .unwrap_or(Err(TransportError::Interrupted))
}
