//! The host's side of one instance: its descriptors and what the guest can do with them.
//!
//! Every function here serves one import. It is given guest memory as plain bytes, so that all of
//! it is tested without an engine, and it runs on the worker's thread, which it may put to sleep.
//! It knows neither the engine nor who holds the other end of a connection.
//!
//! This file has the state and what every call begins with; what can be done is in the files of
//! this folder.

pub(crate) mod arguments;
mod clocks;
mod delivery;
pub(crate) mod descriptor;
mod descriptors;
mod dial;
pub(crate) mod directory;
mod file;
mod files;
pub(crate) mod log_lines;
mod paths;
mod poll;
pub(crate) mod preopens;
mod preview1;
mod record;
mod rest;
mod sleep;
mod spin;
pub(crate) mod stdio;
mod stopwatch;
mod transfer;
mod tree;

use std::sync::Arc;
use std::time::{Duration, Instant};

use watm_abi::{Errno, Event, Subscription};

use crate::channel::link::{Level, Link};
use crate::channel::pipe::GuestEnd;
use crate::error::SetupError;
use crate::host::arguments::Arguments;
use crate::host::descriptor::{Abort, Call, Descriptor, Kind};
use crate::host::descriptors::Descriptors;
use crate::host::directory::Directory;
use crate::host::rest::Rest;
use crate::host::spin::Spin;
use crate::host::stdio::StdStream;
use crate::host::stopwatch::Timing;
use crate::host::transfer::{Learnt, Streak};
use crate::net::address::Network;
use crate::net::connect::Outgoing;
use crate::net::reactor::Reactor;
use crate::net::socket::NetStream;
use crate::net::stream::Stream;

/// What a new instance is made with.
pub(crate) struct HostSetup {
    pub(crate) outgoing: Outgoing,
    pub(crate) arguments: Arc<Arguments>,
    pub(crate) std_streams: [StdStream; 3],
    /// The directories that the guest is given, and their names.
    pub(crate) directories: Vec<(Box<str>, Directory)>,
    /// Maximum number of descriptors beside those.
    pub(crate) descriptor_limit: usize,
    pub(crate) keepalive: Option<Duration>,
}

/// The ends of the connection that an instance serves.
pub(crate) struct Ends {
    /// The address that `water_dial_fixed` dials.
    pub(crate) fixed: Option<(Network, String)>,
    /// The connection that `water_accept` returns.
    pub(crate) incoming: Option<Stream>,
    /// The application's side; a relay has none.
    pub(crate) internal: Option<GuestEnd>,
}

pub(crate) struct Host {
    link: Arc<Link>,
    reactor: Reactor,
    descriptors: Descriptors,
    arguments: Arc<Arguments>,
    /// The two streams, if exactly two are open: reads of each wait for room on the other.
    pair: Option<[u32; 2]>,
    internal: Option<GuestEnd>,
    /// The application's side after the guest has closed it. It is held back until the guest
    /// goes on or ends: a guest that closes everything and then returns an error must not be taken
    /// for one that ended well.
    closed_internal: Option<GuestEnd>,
    outgoing: Outgoing,
    keepalive: Option<Duration>,
    fixed: Option<(Network, String)>,
    incoming: Option<Stream>,
    /// Sockets that the guest has closed, until it goes on or ends: like the application's side.
    #[allow(
        clippy::vec_box,
        reason = "they come out of descriptors in their boxes"
    )]
    closed_nets: Vec<Box<NetStream>>,
    /// Sockets that the guest has closed but that still have bytes to send.
    #[allow(
        clippy::vec_box,
        reason = "they come out of descriptors in their boxes"
    )]
    lingering: Vec<Box<NetStream>>,
    /// Bytes of a socket that the guest has closed were lost.
    lost: bool,
    /// Whether some write-behind buffer may hold bytes.
    unsent: bool,
    /// The descriptor whose write was refused by the call just before, if it was.
    refused: Option<u32>,
    /// The guest has polled for room to write, so it knows what to do when a write is refused.
    polls_for_room: bool,
    learnt: Learnt,
    /// The level that the guest could have learnt of.
    seen_level: Level,
    /// Since when a closed connection has had nothing left to do, if it has.
    quiet_since: Option<Instant>,
    control_read: bool,
    cached_answers: u32,
    moved: usize,
    spin: Spin,
    rest: Rest,
    /// The guest's last read of the network left bytes behind.
    more_to_read: bool,
    streak: Streak,
    /// Changes when the guest writes or polls.
    turn: u32,
    /// The descriptor on which a read within a record is under way.
    within_record: Option<u32>,
    /// How long a read within a record waits.
    patience: Duration,
    calls: u64,
    timing: Option<Timing>,
    failure: Option<SetupError>,
    subscriptions: Vec<Subscription>,
    events: Vec<Event>,
}

impl Host {
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
            pair: None,
            internal: None,
            closed_internal: None,
            outgoing: setup.outgoing,
            keepalive: setup.keepalive,
            fixed: None,
            incoming: None,
            closed_nets: Vec::new(),
            lingering: Vec::new(),
            lost: false,
            unsent: false,
            refused: None,
            polls_for_room: false,
            learnt: Learnt::default(),
            seen_level: Level::Running,
            quiet_since: None,
            control_read: false,
            cached_answers: 0,
            moved: 0,
            spin: Spin::default(),
            rest: Rest::default(),
            more_to_read: false,
            streak: Streak::default(),
            turn: 0,
            within_record: None,
            patience: record::PATIENCE,
            calls: 0,
            timing: None,
            failure: None,
            subscriptions: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Gives the instance its connection. Called once, before a role function.
    pub(crate) fn connect(&mut self, ends: Ends) {
        self.fixed = ends.fixed;
        self.incoming = ends.incoming;
        self.internal = ends.internal;
    }

    /// Gives the guest the application's side. Called once, before a role function.
    pub(crate) fn open_internal(&mut self) -> Result<u32, Errno> {
        let fd = self.descriptors.insert(Descriptor::new(Kind::Internal))?;
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
            Kind::Net(net) => Some(net),
            _ => None,
        }
    }

    /// Why the last connection could not be made, if none was made since.
    pub(crate) fn take_failure(&mut self) -> Option<SetupError> {
        self.failure.take()
    }

    /// What every call but a write begins with.
    fn begin(&mut self) -> Call<()> {
        self.refused = None;
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
