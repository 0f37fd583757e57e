//! The host's side of one instance: its descriptors, and what the guest can do with them.
//!
//! Each function here serves one import. It receives guest memory as plain bytes, so that
//! everything can be tested without an engine. It runs on the worker's thread, which it may put to
//! sleep. It knows neither the engine nor who holds the other end of a connection.
//!
//! This file holds the state and what is common to the start of all calls. The operations are in
//! the files of this folder.

#[cfg(feature = "aead")]
mod aead;
pub(crate) mod arguments;
mod clocks;
mod delivery;
pub(crate) mod descriptor;
mod descriptors;
mod dial;
pub(crate) mod directory;
mod file;
mod files;
mod guard;
mod leaving;
pub(crate) mod log_lines;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod observer;
mod paths;
pub(crate) mod plain;
mod poll;
mod prediction;
pub(crate) mod preopens;
mod preview1;
mod record;
mod rest;
mod sleep;
mod spin;
pub(crate) mod stats;
pub(crate) mod stdio;
mod stopwatch;
mod streams;
mod transfer;
mod tree;
pub(crate) mod watch;

use std::sync::Arc;
use std::time::Duration;

use watm_abi::{Errno, Event, Subscription};

use crate::channel::link::Link;
use crate::channel::pipe::GuestEnd;
use crate::error::SetupError;
use crate::host::arguments::Arguments;
use crate::host::descriptor::{Abort, Call, Descriptor, Kind};
use crate::host::descriptors::Descriptors;
use crate::host::dial::Connections;
use crate::host::directory::Directory;
use crate::host::guard::{Guard, Whom};
use crate::host::leaving::Leaving;
use crate::host::observer::Teller;
use crate::host::plain::{Limits, Plain, PlainSide, Target};
use crate::host::prediction::Prediction;
use crate::host::sleep::Sleeper;
use crate::host::stdio::StdStream;
use crate::host::stopwatch::Measures;
use crate::host::streams::{Learnt, Reads, Writes};
use crate::host::watch::{CallHook, Watch};
use crate::net::address::{Address, Network};
use crate::net::connect::{self, Outgoing};
use crate::net::reactor::Reactor;
use crate::net::socket::NetStream;
use crate::net::stream::Stream;

/// The parts that a new instance is created from.
pub(crate) struct HostSetup {
    pub(crate) outgoing: Outgoing,
    pub(crate) arguments: Arc<Arguments>,
    pub(crate) std_streams: [StdStream; 3],
    /// The directories that the guest is given, with their names.
    pub(crate) directories: Vec<(Box<str>, Directory)>,
    /// Maximum number of other descriptors.
    pub(crate) descriptor_limit: usize,
    pub(crate) keepalive: Option<Duration>,
    /// For a transport that carries a plain connection.
    pub(crate) limits: Limits,
    /// Watches what the guest asks for.
    pub(crate) hook: Option<Arc<dyn CallHook>>,
}

/// The ends of the connection that an instance serves.
pub(crate) struct Ends {
    /// The address that `water_dial_fixed` dials.
    pub(crate) fixed: Option<(Network, Address)>,
    /// The connection that `water_accept` returns.
    pub(crate) incoming: Option<Stream>,
    /// What the internal descriptor leads to.
    pub(crate) internal: Internal,
}

/// The application's side of a connection.
pub(crate) enum Internal {
    /// A relay has no application's side.
    None,
    /// The application reads and writes the other end.
    Pipe(GuestEnd),
    /// The transport carries a plain connection.
    Plain(Stream),
    /// The same, but the worker connects to this target once the transport is set up.
    Target(Target),
}

impl Internal {
    /// The plain connection, if there is one already.
    pub(crate) fn plain(&self) -> Option<&Stream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::None | Self::Pipe(_) | Self::Target(_) => None,
        }
    }
}

pub(crate) struct Host {
    link: Arc<Link>,
    reactor: Reactor,
    descriptors: Descriptors,
    arguments: Arc<Arguments>,
    connections: Connections,
    /// The application's side, while the guest has it open, if it is a pipe.
    internal: Option<GuestEnd>,
    /// The application's side, if it is a plain connection.
    plain_side: PlainSide,
    /// Ends the guest when nobody is left whom it serves, unless there is an application.
    guard: Option<Arc<Guard>>,
    /// Whether the guest has read that it should end.
    control_read: bool,
    reads: Reads,
    writes: Writes,
    learnt: Learnt,
    sleeper: Sleeper,
    prediction: Prediction,
    leaving: Leaving,
    measures: Measures,
    /// The keys that the guest has the host encrypt with.
    #[cfg(feature = "aead")]
    keys: aead::Keys,
    /// Whom to tell of the stages of the connection, if anybody.
    teller: Option<Arc<Teller>>,
    /// Whom to tell of each call, if anybody.
    watch: Option<Box<Watch>>,
    /// The subscriptions and events of a poll, kept for the next poll to reuse.
    subscriptions: Vec<Subscription>,
    events: Vec<Event>,
}

impl Host {
    /// Sets whom to tell of the stages of the connection.
    pub(crate) fn set_teller(&mut self, teller: Option<Arc<Teller>>) {
        self.teller = teller;
    }

    pub(crate) fn new(link: Arc<Link>, reactor: Reactor, setup: HostSetup) -> Self {
        Self {
            link,
            reactor,
            descriptors: Descriptors::new(
                setup.std_streams,
                setup.directories,
                setup.descriptor_limit,
            ),
            arguments: setup.arguments,
            connections: Connections::new(setup.outgoing, setup.keepalive),
            internal: None,
            plain_side: PlainSide::new(setup.limits),
            guard: None,
            control_read: false,
            reads: Reads::default(),
            writes: Writes::default(),
            learnt: Learnt::default(),
            sleeper: Sleeper::default(),
            prediction: Prediction::default(),
            leaving: Leaving::default(),
            measures: Measures::default(),
            #[cfg(feature = "aead")]
            keys: aead::Keys::default(),
            teller: None,
            watch: setup.hook.map(|hook| Box::new(Watch::new(hook))),
            subscriptions: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Gives the instance its connection. Called once, before a role function.
    pub(crate) fn connect(&mut self, ends: Ends) {
        let client = ends.incoming.as_ref().or(ends.internal.plain());
        self.connections
            .set_client(client.map(connect::Ends::of).unwrap_or_default());
        self.connections.fixed = ends.fixed;
        self.connections.incoming = ends.incoming;
        let whom = match &ends.internal {
            Internal::Pipe(_) => None,
            Internal::None => Some(Whom::Peers),
            Internal::Plain(_) | Internal::Target(_) => Some(Whom::Plain),
        };
        let limits = self.plain_side.limits;
        self.guard = whom.map(|whom| Arc::new(Guard::new(whom, limits, Arc::clone(&self.link))));
        match ends.internal {
            Internal::None => {}
            Internal::Pipe(end) => self.internal = Some(end),
            Internal::Plain(stream) => self.plain_side.set(Plain::Connected(stream)),
            Internal::Target(target) => self.set_target(target),
        }
    }

    /// Gives the guest the application's side. Called once, before a role function.
    pub(crate) fn open_internal(&mut self) -> Result<u32, Errno> {
        let descriptor = self.plain_descriptor()?;
        let fd = self.descriptors.insert(descriptor)?;
        self.find_pair();
        Ok(fd)
    }

    /// Gives the guest the control descriptor.
    pub(crate) fn open_control(&mut self) -> Result<u32, Errno> {
        self.descriptors.insert(Descriptor::new(Kind::Control))
    }

    /// The network connection behind a descriptor that a role function returned.
    pub(crate) fn net(&self, fd: u32) -> Option<&NetStream> {
        match &self.descriptors.get(fd).ok()?.kind {
            Kind::Net(net) if !net.is_plain() => Some(net),
            _ => None,
        }
    }

    /// The reason why the last connection could not be made, unless one has been made since.
    pub(crate) fn take_failure(&mut self) -> Option<SetupError> {
        self.connections.failure.take()
    }

    /// Called at the start of every call except a write.
    fn begin(&mut self) -> Call<()> {
        self.writes.forget_refused();
        self.check_stop()
    }

    pub(crate) fn check_stop(&self) -> Call<()> {
        if self.link.is_stopping() {
            Err(Abort::Stop)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
