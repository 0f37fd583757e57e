//! The host's side of one instance: its descriptors and what the guest can do with them.
//!
//! Every function here serves one import. It is given guest memory as plain bytes, so that all of
//! it is tested without an engine, and it runs on the worker's thread, which it may put to sleep.
//! Files and directories are in `files` and never come here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{Timespec, clock_getres, clock_gettime};
use watm_abi::{
    ClockId, Errno, Event, EventType, Excerpt, FdFlags, FdTable, Fdstat, FileType, Filestat,
    GuestMemory, IovecArray, RiFlags, Rights, SdFlags, Subscription, SubscriptionKind,
    decode_subscriptions, gather_string, write_events,
};

use crate::channel::gate::{Gate, Room};
use crate::channel::link::{Level, Link, interest};
use crate::channel::pipe::{GuestEnd, PIPE_CAPACITY};
use crate::error::{SetupError, TransportError};
use crate::files::fewer;
use crate::net::address::Network;
use crate::net::connect::{Outgoing, is_denied};
use crate::net::outbound::{self, WRITE_LIMIT};
use crate::net::reactor::Reactor;
use crate::net::socket::NetStream;
use crate::net::stream::{self, Stream};
use crate::rest::Rest;
use crate::spin::Spin;
use crate::stdio::StdStream;

/// The first number of a descriptor that the host gives out. Files count upwards from 0 and are
/// kept below it.
pub(crate) const FIRST_FD: u32 = 512;
const LAST_FD: u32 = watm_abi::FD_LIMIT;

/// Answers given from cached readiness before the system is asked again.
const CACHED_ANSWERS: u32 = 16;
/// How long nothing must have moved on a closed connection before its guest is told to end.
const QUIET: Duration = Duration::from_millis(100);
/// How often a guest that waits for the host's own standard streams looks at them.
const STREAM_TICK: Duration = Duration::from_millis(50);
/// Bytes that a guest may read from one side at a stretch while the other waits.
const FAIR_SHARE: u32 = 256 * 1024;
/// Random bytes that are asked for at once.
const RANDOM_PART: usize = 64 * 1024;
/// Bytes that a guest writes to a standard stream in one try, between two looks for a stop, and in one
/// call. A line takes longer than its bytes, and an array of buffers may name the guest's memory a
/// thousand times.
const STREAM_PIECE: usize = 64 * 1024;
const STREAM_LIMIT: u32 = 1024 * 1024;
/// Bytes that a non-blocking write moves at most: a peer that is fast enough takes all of it at once.
const NONBLOCKING_PIECE: usize = 1024 * 1024;
/// Sockets that the guest closed while bytes waited in them, kept until those are sent.
const LINGERING_SOCKETS: usize = 16;

/// Why a host function does not return to the guest as usual.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    /// It returns this error number.
    Errno(Errno),
    /// The worker was told to stop: the guest is unwound.
    Stop,
}

impl From<Errno> for Abort {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

pub(crate) type Call<T> = Result<T, Abort>;

enum Kind {
    /// The application's side.
    Internal,
    /// Readable once the guest should end.
    Control,
    Net(Box<NetStream>),
    Std(StdStream),
}

impl Kind {
    /// Whether bytes of the connection pass here.
    fn is_stream(&self) -> bool {
        matches!(self, Self::Internal | Self::Net(_))
    }
}

struct Descriptor {
    kind: Kind,
    nonblocking: bool,
    /// The size of the last write that was refused: less room than that is no room.
    refused: u32,
    /// Lets reads through, if they may have to wait for room on another side.
    gate: Gate,
    /// The rights that the guest has given up.
    given_up: Rights,
}

/// What a call waits for on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// What a call waits for.
#[derive(Clone, Copy)]
enum Waits<'a> {
    One(u32, Direction),
    /// Whatever comes first. Clocks are not among it.
    Any(&'a [Subscription]),
}

impl Waits<'_> {
    fn descriptors(self) -> impl Iterator<Item = (u32, Direction)> {
        let (one, any) = match self {
            Self::One(fd, direction) => (Some((fd, direction)), &[][..]),
            Self::Any(subscriptions) => (None, subscriptions),
        };
        one.into_iter().chain(
            any.iter()
                .filter_map(|subscription| match subscription.kind {
                    SubscriptionKind::FdRead { fd } => Some((fd, Direction::Read)),
                    SubscriptionKind::FdWrite { fd } => Some((fd, Direction::Write)),
                    SubscriptionKind::Clock { .. } => None,
                }),
        )
    }
}

/// What a new instance is made with.
pub(crate) struct HostSetup {
    pub(crate) outgoing: Outgoing,
    pub(crate) std_streams: [StdStream; 3],
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
    table: FdTable<Descriptor>,
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
    calls: u64,
    timing: Option<Timing>,
    failure: Option<SetupError>,
    subscriptions: Vec<Subscription>,
    events: Vec<Event>,
}

impl Host {
    pub(crate) fn new(link: Arc<Link>, reactor: Reactor, setup: HostSetup) -> Self {
        let mut host = Self {
            link,
            reactor,
            table: FdTable::new(FIRST_FD..LAST_FD, setup.descriptor_limit),
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
            calls: 0,
            timing: None,
            failure: None,
            subscriptions: Vec::new(),
            events: Vec::new(),
        };
        for (fd, stream) in (0..).zip(setup.std_streams) {
            // The number is one that there is, so this cannot fail.
            let _ = host.table.give(fd, Descriptor::new(Kind::Std(stream)));
        }
        host
    }

    /// Gives the instance its connection. Called once, before a role function.
    pub(crate) fn connect(&mut self, ends: Ends) {
        self.fixed = ends.fixed;
        self.incoming = ends.incoming;
        self.internal = ends.internal;
    }

    /// Gives the guest the application's side. Called once, before a role function.
    pub(crate) fn open_internal(&mut self) -> Result<u32, Errno> {
        let fd = self.table.insert(Descriptor::new(Kind::Internal))?;
        self.find_pair();
        Ok(fd)
    }

    /// Gives the guest the control descriptor.
    pub(crate) fn open_control(&mut self) -> Result<u32, Errno> {
        self.table.insert(Descriptor::new(Kind::Control))
    }

    /// Whether the worker was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.link.is_stopping()
    }

    /// Whether the descriptor is one of ours.
    pub(crate) fn owns(&self, fd: u32) -> bool {
        self.table.contains(fd)
    }

    /// The network connection behind a descriptor that a role function returned.
    pub(crate) fn net(&self, fd: u32) -> Option<&NetStream> {
        match &self.table.get(fd)?.kind {
            Kind::Net(net) => Some(net),
            _ => None,
        }
    }

    /// Why the last connection could not be made, if none was made since.
    pub(crate) fn take_failure(&mut self) -> Option<SetupError> {
        self.failure.take()
    }

    // ---- what it takes ------------------------------------------------------------------------

    /// Starts measuring how long the guest and the host work and how long both sleep.
    pub(crate) fn start_timing(&mut self) {
        self.timing = Some(Timing {
            since: Instant::now(),
            asleep: Duration::ZERO,
        });
    }

    /// A host call begins.
    pub(crate) fn enter(&mut self) {
        // Nobody else writes it, so this need not be one step.
        self.calls += 1;
        let traffic = &self.link.traffic;
        traffic.host_calls.store(self.calls, Ordering::Relaxed);
        if let Some(timing) = &mut self.timing {
            add(&traffic.guest_time, timing.lap());
        }
    }

    /// A host call ends.
    pub(crate) fn leave(&mut self) {
        if let Some(timing) = &mut self.timing {
            let asleep = std::mem::take(&mut timing.asleep);
            let traffic = &self.link.traffic;
            add(&traffic.host_time, timing.lap().saturating_sub(asleep));
            add(&traffic.asleep, asleep);
        }
    }

    // ---- making connections -------------------------------------------------------------------

    /// `water_dial`: the module chose the address.
    pub(crate) fn water_dial<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        network: (u32, u32),
        address: (u32, u32),
    ) -> Call<u32> {
        self.begin()?;
        let network = gather_string(memory, network.0, network.1)?;
        let address = gather_string(memory, address.0, address.1)?;
        let network: Network = network.parse().map_err(|error| {
            log::debug!("water_dial: {error}");
            Errno::Protonosupport
        })?;
        self.dial(network, &address, true)
    }

    /// `water_dial_fixed`: the embedder chose the address.
    pub(crate) fn water_dial_fixed(&mut self) -> Call<u32> {
        self.begin()?;
        let (network, address) = self.fixed.clone().ok_or(Errno::Nodev)?;
        self.dial(network, &address, false)
    }

    /// `water_accept`: the connection that the embedder accepted.
    pub(crate) fn water_accept(&mut self) -> Call<u32> {
        self.begin()?;
        if self.incoming.is_none() {
            return Err(Errno::Nodev.into());
        }
        // It would be closed if there were no number for it.
        if self.table.is_full() {
            return Err(Errno::Mfile.into());
        }
        let stream = self.incoming.take().ok_or(Errno::Nodev)?;
        self.open_net(stream)
    }

    fn dial(&mut self, network: Network, address: &str, chosen_by_module: bool) -> Call<u32> {
        if self.table.is_full() {
            return Err(Errno::Mfile.into());
        }
        self.close_for_good();
        self.flush();
        let result = self.outgoing.connect(
            network,
            address,
            chosen_by_module,
            &self.link,
            &mut self.reactor,
        );
        if let Ok(stream) = &result {
            // Whoever made it: it may be given up right here.
            stream.reset_on_drop();
        }
        self.check_stop()?;
        match result {
            Ok(stream) => {
                self.failure = None;
                self.open_net(stream)
            }
            Err(error) => {
                let denied = is_denied(&error);
                let errno = if denied {
                    Errno::Notcapable
                } else {
                    Errno::from_io(&error)
                };
                log::debug!("no connection to {}: {error}", Excerpt(address));
                let address = address.to_owned();
                self.failure = Some(if denied {
                    SetupError::Denied { address }
                } else {
                    SetupError::Connect {
                        address,
                        source: error,
                    }
                });
                Err(errno.into())
            }
        }
    }

    fn open_net(&mut self, stream: Stream) -> Call<u32> {
        let link = Arc::clone(&self.link);
        let net = NetStream::new(stream, self.keepalive, link, &mut self.reactor)
            .map_err(|error| Errno::from_io(&error))?;
        let fd = self
            .table
            .insert(Descriptor::new(Kind::Net(Box::new(net))))?;
        // One that broke before was given up for this one.
        self.learnt.lost = None;
        self.find_pair();
        Ok(fd)
    }

    // ---- moving bytes -------------------------------------------------------------------------

    /// `fd_read`, and `sock_recv` with its flags. Returns the bytes read; 0 is the end of stream.
    pub(crate) fn read<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
        flags: RiFlags,
    ) -> Call<u32> {
        self.begin()?;
        self.close_for_good();
        let read = self.read_from(memory, fd, iovecs, flags);
        if self.is_stream(fd) {
            self.note_deed(&read);
            self.learnt.end |= read == Ok(0) && iovecs.total_len() > 0;
            self.learnt.note(&read);
        }
        read
    }

    fn read_from<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
        flags: RiFlags,
    ) -> Call<u32> {
        let total = iovecs.total_len();
        let descriptor = self.table.get(fd).ok_or(Errno::Badf)?;
        descriptor.check(Rights::FD_READ)?;
        let nonblocking = descriptor.nonblocking;
        if total == 0 {
            return Ok(0);
        }
        let peek = flags.contains(RiFlags::PEEK);
        let all = flags.contains(RiFlags::WAITALL) && !nonblocking;
        let mut done = 0;
        let mut refreshed = false;
        if nonblocking && self.is_unfair(fd)? {
            self.flush();
            return Err(Errno::Again.into());
        }
        loop {
            // A peek leaves everything in place, so each try starts over.
            let skip = if peek { 0 } else { done };
            match self.try_read(memory, fd, iovecs, skip, peek) {
                Ok(0) => return Ok(done),
                Ok(len) => {
                    done = if peek { done.max(len) } else { done + len };
                    self.note_moved(len);
                    self.streak.read(fd, len);
                    // A peek cannot be promised more than one look: the buffer may be full.
                    if !all || done == total || peek {
                        return Ok(done);
                    }
                    // A peer that is fast enough never makes it sleep.
                    self.check_stop()?;
                }
                Err(Abort::Errno(Errno::Again)) if nonblocking => {
                    self.flush();
                    if !refreshed && self.is_stale() {
                        refreshed = true;
                        self.refresh()?;
                        continue;
                    }
                    return Err(Errno::Again.into());
                }
                Err(Abort::Errno(Errno::Again)) => self.sleep(fd, Direction::Read)?,
                // What came before the error counts; the error comes again.
                Err(Abort::Errno(errno)) if done > 0 => {
                    if let Some(Descriptor {
                        kind: Kind::Net(net),
                        ..
                    }) = self.table.get_mut(fd)
                    {
                        net.put_back(errno);
                    }
                    return Ok(done);
                }
                Err(abort) => return Err(abort),
            }
        }
    }

    /// Whether a guest has read from one side for so long, with no end in sight, that it is time
    /// for the other, which has something. A guest that reads until there is nothing would otherwise
    /// never come to it, as long as a fast peer goes on.
    fn is_unfair(&mut self, fd: u32) -> Call<bool> {
        if self.streak.fd != fd || self.streak.len < FAIR_SHARE {
            return Ok(false);
        }
        self.streak = Streak::default();
        self.refresh()?;
        let others: Vec<u32> = self
            .table
            .iter()
            .filter(|(other, descriptor)| *other != fd && descriptor.kind.is_stream())
            .map(|(other, _)| other)
            .collect();
        Ok(others
            .into_iter()
            .any(|other| self.readiness(other, Direction::Read).is_some()))
    }

    /// One try to read, without waiting: `Again` if there is nothing.
    fn try_read<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
        skip: u32,
        peek: bool,
    ) -> Call<u32> {
        let mut allowance = self.allowance(fd);
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
        if let (0, Kind::Net(net)) = (allowance, &mut descriptor.kind) {
            if !net.poll_read() || net.buffered() > 0 {
                return Err(Errno::Again.into());
            }
            // No bytes, but the end or an error, which nothing has to wait for.
            allowance = 1;
        }
        let spans = spans(iovecs, skip, allowance);
        let mut done = 0usize;
        match &mut descriptor.kind {
            Kind::Internal => {
                let internal = self.internal.as_mut().ok_or(Errno::Badf)?;
                for (addr, len) in spans {
                    let into = memory.slice_mut(addr, len)?;
                    let part = if peek {
                        internal.peek(done, into)
                    } else {
                        internal.read(into)
                    };
                    done += part;
                    if part < len as usize {
                        break;
                    }
                }
                if done == 0 && !internal.at_end() {
                    return Err(Errno::Again.into());
                }
                if !peek {
                    internal.read_done(done);
                }
                if done == 0 && internal.is_broken() {
                    return Err(Errno::Connreset.into());
                }
            }
            Kind::Net(net) => {
                if peek {
                    if !net.poll_read() {
                        return Err(Errno::Again.into());
                    }
                    net.peek_error()?;
                }
                for (addr, len) in spans {
                    let into = memory.slice_mut(addr, len)?;
                    let part = if peek {
                        net.peek(done, into)
                    } else if done > 0 && net.buffered() == 0 {
                        // The first piece decides whether the socket is asked at all.
                        break;
                    } else {
                        match net.read(into) {
                            Ok(part) => part,
                            Err(errno) if done > 0 => {
                                net.put_back(errno);
                                break;
                            }
                            Err(errno) => return Err(errno.into()),
                        }
                    };
                    done += part;
                    if part < len as usize {
                        break;
                    }
                }
                self.more_to_read = net.has_more();
            }
            Kind::Control => {
                if self.control_read || self.link.level() < Level::Cancelled {
                    return Err(Errno::Again.into());
                }
                for (addr, _) in spans.take(1) {
                    memory.write_u8(addr, 0)?;
                    done = 1;
                }
                self.control_read = !peek;
            }
            // What is there cannot be looked at without taking it.
            Kind::Std(_) if peek => return Err(Errno::Notsup.into()),
            Kind::Std(stream) => {
                let wait = if descriptor.nonblocking {
                    Duration::ZERO
                } else {
                    STREAM_TICK
                };
                for (addr, len) in spans.take(1) {
                    done = stream.read(memory.slice_mut(addr, len)?, wait)?;
                }
            }
        }
        Ok(u32::try_from(done).unwrap_or(u32::MAX))
    }

    /// `fd_write` and `sock_send`. Returns the bytes taken: all on a blocking descriptor, and to a
    /// guest that has never polled for room; else all, or `Again`, up to 128 KiB. A standard stream
    /// takes 1 MiB in a call, and 64 KiB if it is non-blocking.
    pub(crate) fn write<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        fd: u32,
        iovecs: &IovecArray,
    ) -> Call<u32> {
        self.check_stop()?;
        let written = self.write_to(memory, fd, iovecs);
        if self.is_stream(fd) {
            self.note_deed(&written);
            self.learnt.note(&written);
        }
        written
    }

    /// The guest has done something with what a poll told it, unless it was in vain.
    fn note_deed(&mut self, result: &Call<u32>) {
        if *result != Err(Abort::Errno(Errno::Again)) {
            self.rest.is_over();
        }
    }

    /// Whether the guest has reached the end of a stream and met no failure of one: then EPIPE is
    /// how the first modules say that they have ended.
    pub(crate) fn has_ended_in_order(&self) -> bool {
        self.learnt.end && !self.learnt.failure
    }

    /// The transport is set up: whatever the guest has met on the way did not keep it from that.
    pub(crate) fn begin_transport(&mut self) {
        self.learnt.lost = None;
    }

    /// Why a connection broke, if the guest has met that since the transport was set up and since it
    /// last dialled: whatever it makes of it, this was not the end of a stream.
    pub(crate) fn lost_connection(&self) -> Option<Errno> {
        self.learnt.lost
    }

    fn write_to<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        fd: u32,
        iovecs: &IovecArray,
    ) -> Call<u32> {
        let refused_before = self.refused.take();
        let total = iovecs.total_len();
        let descriptor = self.table.get(fd).ok_or(Errno::Badf)?;
        descriptor.check(Rights::FD_WRITE)?;
        let nonblocking = descriptor.nonblocking;
        let is_stream = descriptor.kind.is_stream();
        if total == 0 {
            return Ok(0);
        }
        let mut done = 0;
        loop {
            let returns = nonblocking && !(is_stream && self.parks());
            match self.try_write(memory, fd, iovecs, done, nonblocking) {
                Ok(len) => {
                    done += len;
                    self.note_moved(len);
                    if done >= total || returns || self.is_enough(fd, done) {
                        return Ok(done);
                    }
                    // An application that is fast enough never makes it sleep.
                    self.check_stop()?;
                }
                Err(Abort::Errno(Errno::Again)) => {
                    self.set_refused(fd, total - done);
                    // The same write again, and nothing else in between: the guest spins. Spare the
                    // core until there is room.
                    if returns && refused_before != Some(fd) {
                        self.flush();
                        self.refused = Some(fd);
                        return Err(Errno::Again.into());
                    }
                    self.sleep(fd, Direction::Write)?;
                }
                Err(Abort::Errno(_)) if done > 0 => return Ok(done),
                Err(abort) => return Err(abort),
            }
        }
    }

    /// Whether a write that finds no room waits for it, also on a non-blocking descriptor: a guest
    /// that has never polled for room would lose what is refused. Once it should end, that counts
    /// more.
    fn parks(&self) -> bool {
        !self.polls_for_room && self.link.level() < Level::Cancelled
    }

    /// One try to write what follows the first `skip` bytes, without waiting.
    fn try_write<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        fd: u32,
        iovecs: &IovecArray,
        skip: u32,
        nonblocking: bool,
    ) -> Call<u32> {
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
        let left = (iovecs.total_len() - skip) as usize;
        let piece = match descriptor.kind {
            Kind::Std(_) => left.min(STREAM_PIECE),
            // A blocking write may go in pieces; each must fit into an empty buffer.
            _ if !nonblocking => left.min(WRITE_LIMIT),
            _ => left.min(NONBLOCKING_PIECE),
        };
        // The array was checked when it was decoded, and memory never shrinks.
        let slices =
            spans(iovecs, skip, piece).map_while(|(addr, len)| memory.slice(addr, len).ok());
        let taken = match &mut descriptor.kind {
            Kind::Internal => {
                let internal = self.internal.as_mut().ok_or(Errno::Badf)?;
                if internal.is_write_closed() {
                    return Err(Errno::Pipe.into());
                }
                if !internal.accepts(piece) {
                    return Err(Errno::Again.into());
                }
                let taken = slices.map(|slice| internal.write(slice)).sum();
                internal.write_done(self.more_to_read);
                taken
            }
            Kind::Net(net) => {
                let (taken, waits) = net.out.push(piece, slices)?;
                self.unsent |= waits;
                taken
            }
            Kind::Control => return Err(Errno::Badf.into()),
            Kind::Std(stream) => {
                let mut taken = 0;
                let wait = if nonblocking {
                    Duration::ZERO
                } else {
                    STREAM_TICK
                };
                for slice in slices {
                    match stream.write(slice, wait) {
                        Ok(len) if len == slice.len() => taken += len,
                        Ok(len) => {
                            taken += len;
                            break;
                        }
                        Err(_) if taken > 0 => break,
                        Err(errno) => return Err(errno.into()),
                    }
                }
                taken
            }
        };
        descriptor.refused = 0;
        Ok(u32::try_from(taken).unwrap_or(u32::MAX))
    }

    /// Whether a call has written so much that the rest is for the next.
    fn is_enough(&self, fd: u32, done: u32) -> bool {
        let descriptor = self.table.get(fd);
        let is_stream = descriptor.is_some_and(|found| matches!(found.kind, Kind::Std(_)));
        is_stream && done >= STREAM_LIMIT
    }

    fn set_refused(&mut self, fd: u32, len: u32) {
        if let Some(descriptor) = self.table.get_mut(fd) {
            descriptor.refused = len.min(WRITE_LIMIT as u32);
        }
    }

    // ---- waiting ------------------------------------------------------------------------------

    /// `poll_oneoff`. `check_file` says whether a descriptor that is not ours is one of the files,
    /// which are always ready, and may be asked for. Returns the number of events, which stand in
    /// memory.
    pub(crate) fn poll_oneoff<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        subscriptions_at: u32,
        events_at: u32,
        count: u32,
        check_file: &dyn Fn(u32, Rights) -> Result<(), Errno>,
    ) -> Call<u32> {
        self.begin()?;
        self.close_for_good();
        self.end_streak();
        let mut subscriptions = std::mem::take(&mut self.subscriptions);
        let mut events = std::mem::take(&mut self.events);
        let result = decode_subscriptions(memory, subscriptions_at, count, &mut subscriptions)
            .map_err(Abort::from)
            .and_then(|()| self.wait_for_events(&subscriptions, &mut events, check_file))
            .and_then(|()| Ok(write_events(memory, events_at, &events)?))
            .map(|()| u32::try_from(events.len()).unwrap_or(u32::MAX));
        subscriptions.clear();
        events.clear();
        if subscriptions.capacity() <= 64 {
            self.subscriptions = subscriptions;
            self.events = events;
        }
        result
    }

    fn wait_for_events(
        &mut self,
        subscriptions: &[Subscription],
        events: &mut Vec<Event>,
        check_file: &dyn Fn(u32, Rights) -> Result<(), Errno>,
    ) -> Call<()> {
        // Reading the clocks costs as much as the rest of a poll that has its answer at once.
        let has_clocks = subscriptions
            .iter()
            .any(|subscription| matches!(subscription.kind, SubscriptionKind::Clock { .. }));
        let clocks = has_clocks.then(Clocks::now);
        let mut deadline = None::<Instant>;
        for subscription in subscriptions {
            if let SubscriptionKind::Clock {
                id,
                timeout,
                absolute,
                ..
            } = subscription.kind
                && let Some(clocks) = &clocks
                && let Ok(Some(when)) = clocks.due(id, timeout, absolute)
            {
                deadline = Some(deadline.map_or(when, |known| known.min(when)));
            }
        }
        self.polls_for_room = self.polls_for_room
            || Waits::Any(subscriptions)
                .descriptors()
                .any(|(fd, direction)| direction == Direction::Write && self.is_stream(fd));
        let (mut asked, mut rested) = (false, false);
        if self.is_stale() {
            asked = true;
            self.refresh()?;
        }
        loop {
            self.collect(subscriptions, events, check_file, clocks.as_ref());
            if !events.is_empty() {
                let only_clocks = events.iter().all(|event| event.kind == EventType::Clock);
                if !only_clocks || asked {
                    if !self.rest.is_known(events) || rested {
                        return Ok(());
                    }
                    self.rest(subscriptions, deadline)?;
                    rested = true;
                    events.clear();
                    continue;
                }
                // The time is up, but what the system knows was not asked yet.
                asked = true;
                events.clear();
                self.flush();
                self.refresh()?;
                continue;
            }
            let look_again = self
                .watches_host_input(subscriptions)
                .then(|| Instant::now() + STREAM_TICK);
            self.sleep_for(
                Waits::Any(subscriptions),
                [deadline, look_again].into_iter().flatten().min(),
            )?;
            asked = true;
        }
    }

    /// Lets a guest rest that was told the same before and has done nothing with it.
    fn rest(&mut self, subscriptions: &[Subscription], deadline: Option<Instant>) -> Call<()> {
        let end = Instant::now() + self.rest.next();
        let end = deadline.map_or(end, |deadline| deadline.min(end));
        let others = self.rest.other(subscriptions);
        self.sleep_for(Waits::Any(&others), Some(end))
    }

    /// Adds an event for each subscription whose condition holds now.
    fn collect(
        &mut self,
        subscriptions: &[Subscription],
        events: &mut Vec<Event>,
        check_file: &dyn Fn(u32, Rights) -> Result<(), Errno>,
        clocks: Option<&Clocks>,
    ) {
        let now = clocks.map(|_| Instant::now());
        for subscription in subscriptions {
            let userdata = subscription.userdata;
            let event = match subscription.kind {
                SubscriptionKind::Clock {
                    id,
                    timeout,
                    absolute,
                    ..
                } => {
                    let Some(clocks) = clocks else { continue };
                    let error = match clocks.due(id, timeout, absolute) {
                        Ok(Some(when)) if now.is_some_and(|now| when <= now) => Errno::Success,
                        Ok(_) => continue,
                        Err(errno) => errno,
                    };
                    Event {
                        userdata,
                        error,
                        kind: EventType::Clock,
                        nbytes: 0,
                        hangup: false,
                    }
                }
                SubscriptionKind::FdRead { fd } | SubscriptionKind::FdWrite { fd } => {
                    let (kind, direction, right) = match subscription.kind {
                        SubscriptionKind::FdRead { .. } => {
                            (EventType::FdRead, Direction::Read, Rights::FD_READ)
                        }
                        _ => (EventType::FdWrite, Direction::Write, Rights::FD_WRITE),
                    };
                    let rights = right | Rights::POLL_FD_READWRITE;
                    let checked = match self.table.get(fd) {
                        Some(descriptor) => descriptor.check(rights),
                        None => check_file(fd, rights),
                    };
                    if let Err(error) = checked {
                        events.push(Event {
                            userdata,
                            error,
                            kind,
                            nbytes: 0,
                            hangup: false,
                        });
                        continue;
                    }
                    let ready = if self.owns(fd) {
                        self.readiness(fd, direction)
                    } else {
                        Some((1, false))
                    };
                    let Some((nbytes, hangup)) = ready else {
                        continue;
                    };
                    Event {
                        userdata,
                        error: Errno::Success,
                        kind,
                        nbytes,
                        hangup,
                    }
                }
            };
            events.push(event);
        }
    }

    /// Whether a descriptor is ready: how many bytes it has or takes, and whether it hung up.
    fn readiness(&mut self, fd: u32, direction: Direction) -> Option<(u64, bool)> {
        let descriptor = self.table.get_mut(fd)?;
        let wanted = descriptor.refused.max(1) as usize;
        match (&mut descriptor.kind, direction) {
            (Kind::Internal, Direction::Read) => {
                if !self.internal.as_mut()?.is_readable() {
                    return None;
                }
                let allowance = self.allowance(fd);
                let internal = self.internal.as_mut()?;
                let available = internal.available().min(allowance);
                (available > 0 || internal.at_end()).then_some((available as u64, available == 0))
            }
            (Kind::Internal, Direction::Write) => {
                let internal = self.internal.as_mut()?;
                (internal.is_write_closed() || internal.accepts(wanted))
                    .then_some((PIPE_CAPACITY as u64, internal.is_write_closed()))
            }
            (Kind::Control, Direction::Read) => {
                self.seen_level = self.link.level();
                (self.seen_level >= Level::Cancelled && !self.control_read).then_some((1, false))
            }
            (Kind::Control, Direction::Write) => None,
            (Kind::Net(net), Direction::Read) => {
                if !net.poll_read() {
                    return None;
                }
                let (buffered, at_end) = (net.buffered(), net.at_end());
                let available = buffered.min(self.allowance(fd));
                (available > 0 || buffered == 0).then_some((available as u64, at_end))
            }
            (Kind::Net(net), Direction::Write) => net
                .out
                .accepts(wanted)
                .then(|| (WRITE_LIMIT as u64, net.out.error().is_some())),
            (Kind::Std(stream), Direction::Read) => stream.is_readable().then_some((1, false)),
            (Kind::Std(_), Direction::Write) => Some((1, false)),
        }
    }

    /// Whether anything that is waited for has come. Asks neither the system's sockets nor its
    /// streams: callers have, before they decided to sleep.
    fn is_any_ready(&mut self, waits: Waits<'_>) -> bool {
        waits.descriptors().any(|(fd, direction)| {
            let asks_the_system = matches!(
                self.table.get(fd),
                Some(Descriptor {
                    kind: Kind::Std(_),
                    ..
                })
            );
            !asks_the_system && self.readiness(fd, direction).is_some()
        })
    }

    // ---- holding back -------------------------------------------------------------------------

    fn is_stream(&self, fd: u32) -> bool {
        self.table
            .get(fd)
            .is_some_and(|descriptor| descriptor.kind.is_stream())
    }

    /// To be called whenever a stream was opened, closed or got another number.
    fn find_pair(&mut self) {
        self.rest.is_over();
        let mut streams = Vec::new();
        for (fd, descriptor) in self.table.iter_mut() {
            if descriptor.kind.is_stream() {
                descriptor.gate = Gate::default();
                streams.push(fd);
            }
        }
        self.pair = streams.try_into().ok();
    }

    /// The other of two streams.
    fn counterpart(&self, fd: u32) -> Option<u32> {
        match self.pair? {
            [one, other] if one == fd => Some(other),
            [other, one] if one == fd => Some(other),
            _ => None,
        }
    }

    /// Maximum size of the next read, in bytes. 0 if it has to wait, since what the guest would make
    /// of it has no room on the other side. The end of a stream never has to.
    fn allowance(&mut self, fd: u32) -> usize {
        let Some(other) = self.counterpart(fd) else {
            return usize::MAX;
        };
        let room = match self.table.get(other).map(|other| &other.kind) {
            Some(Kind::Internal) => self.internal.as_mut().map(GuestEnd::room),
            Some(Kind::Net(net)) if self.unsent => Some(net.out.room()),
            Some(Kind::Net(_)) => Some(outbound::room(0)),
            _ => None,
        };
        let room = room.unwrap_or(Room::UNLIMITED);
        self.table
            .get_mut(fd)
            .map_or(usize::MAX, |descriptor| descriptor.gate.allowance(room))
    }

    // ---- sleeping -----------------------------------------------------------------------------

    /// What this worker must be woken for by others than the system while it waits for these.
    fn interests(&mut self, waits: Waits<'_>) -> u32 {
        let mut what = 0;
        let mut wanted = None::<usize>;
        let mut want = |room: usize| {
            wanted = Some(wanted.map_or(room, |wanted| wanted.min(room)));
        };
        for (fd, direction) in waits.descriptors() {
            let Some(descriptor) = self.table.get(fd) else {
                continue;
            };
            match (&descriptor.kind, direction) {
                (Kind::Internal | Kind::Net(_), Direction::Read) if descriptor.gate.is_closed() => {
                    what |= interest::ROOM;
                    let internal = self.internal.as_mut();
                    if matches!(descriptor.kind, Kind::Net(_)) {
                        if let Some(internal) = internal {
                            want(internal.room().high);
                        }
                    } else if internal.is_some_and(|internal| internal.available() == 0) {
                        // Its end would be news, as more bytes would not.
                        what |= interest::DATA;
                    }
                }
                (Kind::Internal, Direction::Read) => what |= interest::DATA,
                (Kind::Internal, Direction::Write) => {
                    what |= interest::ROOM;
                    want(descriptor.refused as usize);
                }
                (Kind::Net(_), Direction::Write) => what |= interest::ROOM,
                _ => {}
            }
        }
        if let (Some(wanted), Some(internal)) = (wanted, &self.internal) {
            internal.want_room(wanted);
        }
        what
    }

    /// Sleeps until a blocking call on `fd` may get on.
    fn sleep(&mut self, fd: u32, direction: Direction) -> Call<()> {
        // The host's standard input is not in the reactor; the read itself waits a little.
        let deadline = match self.table.get(fd) {
            Some(Descriptor {
                kind: Kind::Std(_), ..
            }) => Some(Instant::now()),
            _ => None,
        };
        self.sleep_for(Waits::One(fd, direction), deadline)
    }

    /// Sends what waits, then sleeps until a socket, the application, the level or the clock
    /// changes something. Returns early rather than late: callers look again.
    fn sleep_for(&mut self, waits: Waits<'_>, deadline: Option<Instant>) -> Call<()> {
        self.close_for_good();
        self.flush();
        let quiet = self.end_if_quiet();
        let deadline = [deadline, quiet].into_iter().flatten().min();
        self.check_stop()?;
        if deadline.is_none() && self.spin.is_worth_it() && self.look_for_work(waits)? {
            return self.check_stop();
        }
        let what = self.interests(waits);
        self.link.announce(what);
        let started = Instant::now();
        let timeout = if self.take_in_changes(waits) {
            Some(Duration::ZERO)
        } else {
            deadline.map(|deadline| deadline.saturating_duration_since(started))
        };
        let result = self.wait(timeout);
        self.link.withdraw();
        self.spin.slept(started.elapsed());
        result?;
        self.check_stop()
    }

    /// Looks for what [`Host::sleep_for`] would sleep for, for a moment, while nobody has to wake
    /// this worker.
    fn look_for_work(&mut self, waits: Waits<'_>) -> Call<bool> {
        let mut spin = std::mem::take(&mut self.spin);
        let found = spin.look(|| Ok(self.take_in_changes(waits) || self.refresh()?));
        self.spin = spin;
        found
    }

    /// Whether anything has changed since the guest looked. Once the worker has announced that it
    /// sleeps, whatever comes later wakes it.
    fn take_in_changes(&mut self, waits: Waits<'_>) -> bool {
        let level = self.link.level();
        let failed = self.link.take_failure();
        let changed = failed || level != self.seen_level || self.is_any_ready(waits);
        self.seen_level = level;
        changed
    }

    /// Whether a poll waits for the host's own standard input, which is not in the reactor.
    fn watches_host_input(&self, subscriptions: &[Subscription]) -> bool {
        subscriptions
            .iter()
            .any(|subscription| match subscription.kind {
                SubscriptionKind::FdRead { fd } => {
                    matches!(
                        self.table.get(fd),
                        Some(Descriptor {
                            kind: Kind::Std(StdStream::HostInput),
                            ..
                        })
                    )
                }
                _ => false,
            })
    }

    /// The embedder closed, the guest has read all and was told so, and all is sent. What is left
    /// is to tell a guest that waits for more that nobody will come: not at once, since it may
    /// hold bytes until the peer has answered, but when nothing has moved for a while. Returns
    /// when that will be, if it is not yet.
    fn end_if_quiet(&mut self) -> Option<Instant> {
        let drained = self
            .internal
            .as_ref()
            .is_some_and(GuestEnd::is_closed_and_drained);
        if !drained || self.unsent || self.link.level() >= Level::Cancelled {
            self.quiet_since = None;
            return None;
        }
        let end = *self.quiet_since.get_or_insert_with(Instant::now) + QUIET;
        if Instant::now() < end {
            return Some(end);
        }
        self.link.raise(Level::Cancelled);
        None
    }

    /// Takes in what the system knows, without sleeping, and says whether there was anything.
    fn refresh(&mut self) -> Call<bool> {
        self.wait(Some(Duration::ZERO))
    }

    /// The guest looks around, so it neglects nobody.
    fn end_streak(&mut self) {
        self.streak = Streak::default();
    }

    fn note_moved(&mut self, len: u32) {
        self.moved += len as usize;
        self.quiet_since = None;
    }

    /// Whether answers have come from the cache for long enough.
    fn is_stale(&mut self) -> bool {
        self.cached_answers += 1;
        self.cached_answers >= CACHED_ANSWERS || self.moved >= PIPE_CAPACITY / 2
    }

    /// Returns whether anything happened.
    fn wait(&mut self, timeout: Option<Duration>) -> Call<bool> {
        self.cached_answers = 0;
        self.moved = 0;
        let Self {
            reactor,
            table,
            closed_nets,
            lingering,
            ..
        } = self;
        self.link.traffic.system_call();
        let sleeps = timeout != Some(Duration::ZERO);
        let before = (sleeps && self.timing.is_some()).then(Instant::now);
        let result = reactor.wait(timeout, |token, readiness| {
            let open = table
                .iter_mut()
                .filter_map(|(_, descriptor)| match &mut descriptor.kind {
                    Kind::Net(net) => Some(net),
                    _ => None,
                });
            if let Some(net) = open
                .chain(closed_nets.iter_mut())
                .chain(lingering.iter_mut())
                .find(|net| net.token == token)
            {
                net.apply(readiness);
            }
        });
        if let (Some(timing), Some(before)) = (&mut self.timing, before) {
            timing.asleep += before.elapsed();
        }
        result.map_err(|error| {
            log::error!("a worker cannot wait for its sockets: {error}");
            Abort::Errno(Errno::from_io(&error))
        })
    }

    /// Wakes the application and sends what waits, as far as the sockets take it.
    pub(crate) fn flush(&mut self) {
        if let Some(internal) = &mut self.internal {
            internal.wake_readers();
        }
        if !self.unsent {
            return;
        }
        let mut waits = false;
        for (_, descriptor) in self.table.iter() {
            if let Kind::Net(net) = &descriptor.kind {
                waits |= !net.out.flush();
            }
        }
        self.lost |= settle(&mut self.lingering);
        self.unsent = waits || !self.lingering.is_empty();
    }

    /// `sched_yield`.
    pub(crate) fn sched_yield(&mut self) -> Call<()> {
        self.begin()?;
        self.close_for_good();
        self.refresh()?;
        std::thread::yield_now();
        Ok(())
    }

    // ---- clocks and chance --------------------------------------------------------------------

    /// `clock_time_get`, in nanoseconds.
    pub(crate) fn clock_time(&mut self, id: u32) -> Call<u64> {
        self.begin()?;
        nanos(now(ClockId::from_raw(id).ok_or(Errno::Inval)?))
    }

    /// `clock_res_get`, in nanoseconds.
    pub(crate) fn clock_resolution(&mut self, id: u32) -> Call<u64> {
        self.begin()?;
        let id = ClockId::from_raw(id).ok_or(Errno::Inval)?;
        nanos(duration(clock_getres(system_clock(id))))
    }

    /// `random_get`: random numbers of the system, good enough for keys.
    pub(crate) fn random(&mut self, into: &mut [u8]) -> Call<()> {
        self.begin()?;
        for part in into.chunks_mut(RANDOM_PART) {
            fill_random(part).map_err(|error| Errno::from_io(&error))?;
            // All of a large memory takes a while.
            self.check_stop()?;
        }
        Ok(())
    }

    // ---- descriptors --------------------------------------------------------------------------

    /// `fd_close` of one of ours. Bytes that the guest wrote are still sent.
    pub(crate) fn close(&mut self, fd: u32) -> Call<()> {
        self.begin()?;
        let descriptor = self.table.remove(fd)?;
        self.dispose(descriptor);
        Ok(())
    }

    fn dispose(&mut self, descriptor: Descriptor) {
        self.find_pair();
        match descriptor.kind {
            Kind::Internal => self.closed_internal = self.internal.take(),
            Kind::Net(net) => {
                if self.closed_nets.len() == LINGERING_SOCKETS {
                    self.close_for_good();
                }
                net.out.flush();
                self.closed_nets.push(net);
            }
            Kind::Control | Kind::Std(_) => {}
        }
    }

    /// Shows the other sides the end of what the guest has closed, now that it reads, polls or dials
    /// and so does not end with an error right after.
    fn close_for_good(&mut self) {
        if let Some(internal) = self.closed_internal.take() {
            self.explain_end();
            drop(internal);
        }
        for mut net in self.closed_nets.drain(..) {
            net.out.close();
            if net.is_delivered() {
                self.lost |= net.out.is_lossy();
            } else {
                if self.lingering.len() == LINGERING_SOCKETS {
                    self.lost |= self.lingering.remove(0).out.is_lossy();
                }
                self.lingering.push(net);
                self.unsent = true;
            }
        }
    }

    /// Before the application sees the end of the stream, though the guest goes on: it reads the
    /// failure of the connection in its place, if the guest has met one.
    fn explain_end(&self) {
        if let Some(errno) = self.learnt.lost {
            let lost = TransportError::ConnectionLost { errno };
            self.link.set_outcome(Err(lost));
        }
    }

    /// Takes a descriptor of ours away, for one that replaces it.
    pub(crate) fn displace(&mut self, fd: u32) {
        if let Ok(descriptor) = self.table.remove(fd) {
            self.dispose(descriptor);
        }
    }

    /// `fd_renumber` of one of ours onto another of ours, or onto a free number of our range.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Call<()> {
        self.begin()?;
        if let Some(displaced) = self.table.renumber(from, to)? {
            self.dispose(displaced);
        }
        self.find_pair();
        Ok(())
    }

    /// Notes that a number is now taken by one of the files.
    pub(crate) fn reserve(&mut self, fd: u32) {
        let _ = self.table.reserve(fd);
    }

    /// Notes that a number is no longer taken by one of the files.
    pub(crate) fn release(&mut self, fd: u32) {
        self.table.release(fd);
    }

    /// `fd_fdstat_get`.
    pub(crate) fn fdstat(&mut self, fd: u32) -> Call<Fdstat> {
        self.begin()?;
        let descriptor = self.table.get(fd).ok_or(Errno::Badf)?;
        let file_type = match &descriptor.kind {
            Kind::Internal | Kind::Control | Kind::Net(_) => FileType::SocketStream,
            // Programs take a character device without a place for a terminal.
            Kind::Std(stream) if stream.is_terminal() => FileType::CharacterDevice,
            Kind::Std(_) => FileType::Unknown,
        };
        let flags = if descriptor.nonblocking {
            FdFlags::NONBLOCK
        } else {
            FdFlags::default()
        };
        Ok(Fdstat {
            file_type,
            flags,
            rights_base: descriptor.rights(),
            rights_inheriting: Rights::default(),
        })
    }

    /// `fd_fdstat_set_rights`: rights can be given up, and are not won back.
    pub(crate) fn set_rights(&mut self, fd: u32, base: u64, inheriting: u64) -> Call<()> {
        self.begin()?;
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
        let rights = descriptor.rights();
        let kept = fewer(rights, base)?;
        fewer(Rights::default(), inheriting)?;
        descriptor.given_up |= rights.without(kept);
        Ok(())
    }

    /// `fd_fdstat_set_flags`. Only NONBLOCK has a meaning here; the others are accepted.
    pub(crate) fn set_flags(&mut self, fd: u32, flags: u32) -> Call<()> {
        self.begin()?;
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
        descriptor.check(Rights::FD_FDSTAT_SET_FLAGS)?;
        let flags = u16::try_from(flags)
            .ok()
            .and_then(FdFlags::from_bits)
            .ok_or(Errno::Inval)?;
        descriptor.nonblocking = flags.contains(FdFlags::NONBLOCK);
        Ok(())
    }

    /// `fd_filestat_get`.
    pub(crate) fn filestat(&mut self, fd: u32) -> Call<Filestat> {
        let file_type = self.fdstat(fd)?.file_type;
        let descriptor = self.table.get(fd).ok_or(Errno::Badf)?;
        descriptor.check(Rights::FD_FILESTAT_GET)?;
        Ok(Filestat {
            dev: 0,
            ino: 0,
            file_type,
            nlink: 1,
            size: 0,
            atim: 0,
            mtim: 0,
            ctim: 0,
        })
    }

    /// `sock_shutdown`.
    pub(crate) fn shutdown(&mut self, fd: u32, how: u32) -> Call<()> {
        self.begin()?;
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
        descriptor.check(Rights::SOCK_SHUTDOWN)?;
        let how = u8::try_from(how)
            .ok()
            .and_then(SdFlags::from_bits)
            .ok_or(Errno::Inval)?;
        let (read, write) = (how.contains(SdFlags::RD), how.contains(SdFlags::WR));
        if !read && !write {
            return Err(Errno::Inval.into());
        }
        if write && matches!(descriptor.kind, Kind::Internal) {
            self.explain_end();
        }
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
        match &mut descriptor.kind {
            Kind::Internal => {
                let internal = self.internal.as_mut().ok_or(Errno::Badf)?;
                if read {
                    internal.shutdown_read();
                }
                if write {
                    internal.shutdown_write();
                }
            }
            Kind::Net(net) => {
                if read {
                    net.shutdown_read();
                }
                if write {
                    net.out.shutdown_write()?;
                    self.unsent |= !net.out.flush();
                }
            }
            Kind::Control => return Err(Errno::Notsup.into()),
            Kind::Std(_) => return Err(Errno::Notsock.into()),
        }
        Ok(())
    }

    // ---- the end ------------------------------------------------------------------------------

    /// The guest has ended, however it did: the application reads what is left and then the end.
    pub(crate) fn end_guest(&mut self) {
        self.internal = None;
        self.closed_internal = None;
        self.pair = None;
        if let Some(incoming) = self.incoming.take()
            && !self.link.is_broken()
        {
            incoming.end_on_drop();
        }
    }

    /// Delivers what the guest wrote, up to `limit`, and gives the peers the chance to receive it; then
    /// they see the end, or are reset if the connection has failed. A stop ends it early.
    ///
    /// # Errors
    ///
    /// Bytes were left, or the reactor failed.
    pub(crate) fn drain(&mut self, limit: Duration) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        let mut nets = std::mem::take(&mut self.lingering);
        nets.append(&mut self.closed_nets);
        for (_, descriptor) in self.table.drain() {
            if let Kind::Net(net) = descriptor.kind {
                nets.push(net);
            }
        }
        for net in &nets {
            if self.link.is_broken() {
                // Also one that the guest has shut down for writing before.
                stream::reset_on_drop(&net.out.socket);
            }
            // Sends all that waits first.
            net.out.close();
        }
        let mut pause = Duration::from_micros(200);
        loop {
            self.lost |= settle(&mut nets);
            let left = deadline.saturating_duration_since(Instant::now());
            if nets.is_empty() {
                return if self.lost {
                    Err(io::Error::other("the network failed before it had left"))
                } else {
                    Ok(())
                };
            }
            let stopped = self.link.is_stopping();
            if stopped || left == Duration::ZERO {
                self.lost |= nets.iter().any(|net| !net.out.flush());
                let message = "the peer did not take all that was written in time";
                return if self.lost {
                    Err(io::Error::new(io::ErrorKind::TimedOut, message))
                } else {
                    Ok(())
                };
            }
            // Acknowledgements make no event, so this looks again after growing pauses.
            let waiting = nets.iter().any(|net| !net.out.flush());
            pause = (pause * 2).min(Duration::from_millis(if waiting { 500 } else { 50 }));
            self.link.announce(0);
            let stopped = self.link.is_stopping();
            let timeout = if stopped {
                Duration::ZERO
            } else {
                pause.min(left)
            };
            let result = self.reactor.wait(Some(timeout), |token, readiness| {
                if let Some(net) = nets.iter_mut().find(|net| net.token == token) {
                    net.apply(readiness);
                }
            });
            self.link.withdraw();
            result?;
        }
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

/// Lets go of the sockets over which all has left, or never will. Returns whether anything of what
/// the guest believes to be on its way was lost.
#[expect(clippy::vec_box, reason = "they were boxed where they come from")]
fn settle(nets: &mut Vec<Box<NetStream>>) -> bool {
    let mut lost = false;
    nets.retain_mut(|net| {
        let done = net.is_delivered();
        lost |= done && net.out.is_lossy();
        !done
    });
    lost
}

/// What the guest has read or been told of its streams.
#[derive(Debug, Default)]
struct Learnt {
    /// One has come to its end.
    end: bool,
    /// A read or a write of one failed.
    failure: bool,
    /// Why a connection broke.
    lost: Option<Errno>,
}

impl Learnt {
    fn note(&mut self, result: &Call<u32>) {
        let Err(Abort::Errno(errno)) = result else {
            return;
        };
        self.failure |= *errno != Errno::Again;
        // Not EPIPE: the peer has ended before, and only what was sent to it later is lost.
        if matches!(
            errno,
            Errno::Connreset
                | Errno::Connaborted
                | Errno::Timedout
                | Errno::Hostunreach
                | Errno::Netunreach
                | Errno::Netdown
                | Errno::Netreset
        ) {
            self.lost = Some(*errno);
        }
    }
}

/// What a guest has read from one descriptor without looking at another.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    fd: u32,
    len: u32,
}

impl Streak {
    fn read(&mut self, fd: u32, len: u32) {
        if self.fd == fd {
            self.len = self.len.saturating_add(len);
        } else {
            *self = Self { fd, len };
        }
    }
}

/// The stop-watch of a worker.
struct Timing {
    /// When the guest or the host began what it does now.
    since: Instant,
    /// How long this host call has slept.
    asleep: Duration,
}

impl Timing {
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.since, now))
    }
}

fn add(to: &AtomicU64, time: Duration) {
    to.fetch_add(
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
}

impl Descriptor {
    /// What it may be used for.
    fn rights(&self) -> Rights {
        let common =
            Rights::POLL_FD_READWRITE | Rights::FD_FDSTAT_SET_FLAGS | Rights::FD_FILESTAT_GET;
        let rights = match &self.kind {
            Kind::Internal | Kind::Net(_) => {
                common | Rights::FD_READ | Rights::FD_WRITE | Rights::SOCK_SHUTDOWN
            }
            Kind::Control => common | Rights::FD_READ,
            Kind::Std(stream) if stream.is_input() => common | Rights::FD_READ,
            Kind::Std(_) => common | Rights::FD_WRITE,
        };
        rights.without(self.given_up)
    }

    /// Fails if any of these rights was given up. One that there never was has a refusal of its
    /// own.
    fn check(&self, rights: Rights) -> Result<(), Errno> {
        if (self.given_up & rights).is_empty() {
            Ok(())
        } else {
            Err(Errno::Notcapable)
        }
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            nonblocking: false,
            refused: 0,
            gate: Gate::default(),
            given_up: Rights::default(),
        }
    }
}

/// The buffers of an array as address and length, without the first `skip` bytes and up to `limit`
/// bytes in all.
fn spans(iovecs: &IovecArray, skip: u32, limit: usize) -> impl Iterator<Item = (u32, u32)> + '_ {
    let mut skip = skip;
    let mut left = u32::try_from(limit).unwrap_or(u32::MAX);
    iovecs.iter().filter_map(move |iovec| {
        let part = skip.min(iovec.len);
        skip -= part;
        let len = (iovec.len - part).min(left);
        left -= len;
        // Inside a buffer that was checked, so the sum does not overflow.
        (len > 0).then(|| (iovec.buf.wrapping_add(part), len))
    })
}

/// The clocks at the moment a poll began, which its subscriptions count from.
struct Clocks {
    started: Instant,
    realtime: Duration,
    monotonic: Duration,
}

impl Clocks {
    fn now() -> Self {
        Self {
            started: Instant::now(),
            realtime: now(ClockId::Realtime),
            monotonic: now(ClockId::Monotonic),
        }
    }

    /// When a subscription is due: `None` is too far away to ever come.
    fn due(&self, id: u32, timeout: u64, absolute: bool) -> Result<Option<Instant>, Errno> {
        let timeout = Duration::from_nanos(timeout);
        let from = match (ClockId::from_raw(id).ok_or(Errno::Inval)?, absolute) {
            (ClockId::Realtime | ClockId::Monotonic, false) => Duration::ZERO,
            (ClockId::Realtime, true) => self.realtime,
            (ClockId::Monotonic, true) => self.monotonic,
            _ => return Err(Errno::Notsup),
        };
        Ok(self.started.checked_add(timeout.saturating_sub(from)))
    }
}

/// Fills all of `into`, which is [`RANDOM_PART`] bytes at most.
fn fill_random(into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        // SAFETY: the pointer and the length are those of one slice that is ours alone.
        let len = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(len) {
            Ok(len) => done += len,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// A clock as the guest reads it.
fn now(id: ClockId) -> Duration {
    duration(clock_gettime(system_clock(id)))
}

const fn system_clock(id: ClockId) -> rustix::time::ClockId {
    match id {
        ClockId::Realtime => rustix::time::ClockId::Realtime,
        ClockId::Monotonic => rustix::time::ClockId::Monotonic,
        ClockId::ProcessCputime => rustix::time::ClockId::ProcessCPUTime,
        ClockId::ThreadCputime => rustix::time::ClockId::ThreadCPUTime,
    }
}

/// What the system says; zero for a time before 1970.
fn duration(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

fn nanos(duration: Duration) -> Call<u64> {
    u64::try_from(duration.as_nanos()).map_err(|_| Errno::Overflow.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::pipe::{ApplicationEnd, Patience, pipe};
    use crate::stdio::{LogTarget, Stdio};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    /// Guest memory with one iovec record at 0 over the bytes from 1024.
    fn memory(len: u32) -> Vec<u8> {
        let mut memory = vec![0; 256 * 1024];
        memory.write_u32(0, 1024).expect("in memory");
        memory.write_u32(4, len).expect("in memory");
        memory
    }

    fn iovecs(memory: &[u8]) -> IovecArray {
        IovecArray::decode(memory, 0, 1).expect("an array")
    }

    /// A host with its internal and control descriptors, the application's end, and a network
    /// descriptor with its peer.
    struct Fixture {
        host: Host,
        link: Arc<Link>,
        app: ApplicationEnd,
        peer: UnixStream,
        internal: u32,
        control: u32,
        net: u32,
    }

    fn setup() -> HostSetup {
        HostSetup {
            outgoing: Outgoing::within(Duration::from_secs(20)),
            std_streams: StdStream::all(Stdio::Null, &Arc::new(LogTarget::of("test"))),
            descriptor_limit: 4,
            keepalive: None,
        }
    }

    fn fixture() -> Fixture {
        let link = Arc::new(Link::default());
        let (app, guest) = pipe(Arc::clone(&link));
        let reactor = Reactor::new(&link).expect("a reactor");
        let mut host = Host::new(Arc::clone(&link), reactor, setup());
        let (ours, peer) = UnixStream::pair().expect("a pair");
        peer.set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        host.connect(Ends {
            fixed: None,
            incoming: Some(ours.into()),
            internal: Some(guest),
        });
        let internal = host.open_internal().expect("a descriptor");
        let control = host.open_control().expect("a descriptor");
        let net = host.water_accept().expect("a descriptor");
        Fixture {
            host,
            link,
            app,
            peer,
            internal,
            control,
            net,
        }
    }

    impl Fixture {
        fn nonblocking(&mut self) {
            for fd in [self.internal, self.control, self.net] {
                self.host
                    .set_flags(fd, u32::from(FdFlags::NONBLOCK.bits()))
                    .expect("a flag");
            }
        }

        /// A guest that polls for room to write: it is told of refusals.
        fn polls_for_room(&mut self) {
            let kinds = [SubscriptionKind::FdWrite { fd: self.net }];
            assert_eq!(self.poll(&kinds).expect("room").len(), 1);
        }

        /// Whether there is anything to read, by a poll that does not wait.
        fn is_readable(&mut self, fd: u32) -> bool {
            let kinds = [SubscriptionKind::FdRead { fd }, clock(0)];
            let events = self.poll(&kinds).expect("events");
            events.iter().any(|event| event.0 == 0)
        }

        /// Moves pieces as a guest does whose writes follow its reads, until nothing is to be read.
        /// No write may be refused or cut short.
        #[track_caller]
        fn pump(&mut self, from: u32, to: u32, len: u32) -> usize {
            let mut moved = 0;
            loop {
                match self.read(from, len) {
                    Ok(piece) if piece.is_empty() => return moved,
                    Ok(piece) => {
                        assert_eq!(self.write(to, &piece), Ok(piece.len() as u32));
                        moved += piece.len();
                    }
                    Err(abort) => {
                        assert_eq!(abort, AGAIN);
                        return moved;
                    }
                }
            }
        }

        fn read(&mut self, fd: u32, len: u32) -> Call<Vec<u8>> {
            let mut memory = memory(len);
            let array = iovecs(&memory);
            let len = self
                .host
                .read(&mut memory[..], fd, &array, RiFlags::default())?;
            Ok(memory[1024..1024 + len as usize].to_vec())
        }

        fn write(&mut self, fd: u32, data: &[u8]) -> Call<u32> {
            let mut memory = memory(data.len() as u32);
            memory[1024..1024 + data.len()].copy_from_slice(data);
            let array = iovecs(&memory);
            self.host.write(&memory[..], fd, &array)
        }

        /// Polls and returns userdata, error, type and hang-up of the events.
        fn poll(&mut self, kinds: &[SubscriptionKind]) -> Call<Vec<(u64, Errno, EventType, bool)>> {
            let mut memory = memory(0);
            for (i, kind) in kinds.iter().enumerate() {
                let record = Subscription {
                    userdata: i as u64,
                    kind: *kind,
                }
                .encode();
                memory
                    .write_bytes(4096 + 48 * i as u32, &record)
                    .expect("in memory");
            }
            memory[65536..65536 + 32 * kinds.len()].fill(0xee);
            let count = kinds.len() as u32;
            let ready = self
                .host
                .poll_oneoff(&mut memory[..], 4096, 65536, count, &|fd, _| match fd {
                    40 => Ok(()),
                    41 => Err(Errno::Notcapable),
                    _ => Err(Errno::Badf),
                })?;
            let rest = &memory[65536 + 32 * ready as usize..65536 + 32 * kinds.len()];
            assert!(
                rest.iter().all(|byte| *byte == 0xee),
                "slots beyond the events are untouched"
            );
            let event = |i: u32| {
                let record = memory.read_array(65536 + 32 * i).expect("in memory");
                let event = Event::decode(&record).expect("an event");
                (event.userdata, event.error, event.kind, event.hangup)
            };
            Ok((0..ready).map(event).collect())
        }
    }

    const AGAIN: Abort = Abort::Errno(Errno::Again);

    fn clock(nanos: u64) -> SubscriptionKind {
        SubscriptionKind::Clock {
            id: 1,
            timeout: nanos,
            precision: 0,
            absolute: false,
        }
    }

    #[test]
    fn bytes_move_between_the_application_and_the_network() {
        let mut f = fixture();
        f.app.write(b"out", Patience::None).expect("room");
        assert_eq!(f.read(f.internal, 16).expect("bytes"), b"out");
        assert_eq!(f.write(f.net, b"wrapped"), Ok(7));
        f.host.flush();
        let mut buf = [0; 16];
        assert_eq!(f.peer.read(&mut buf).expect("bytes"), 7);
        f.peer.write_all(b"reply").expect("room");
        assert_eq!(f.read(f.net, 16).expect("bytes"), b"reply");
        assert_eq!(f.write(f.internal, b"in"), Ok(2));
        assert_eq!(f.app.read(&mut buf, Patience::None).expect("bytes"), 2);
    }

    #[test]
    fn a_nonblocking_descriptor_never_waits() {
        let mut f = fixture();
        f.nonblocking();
        for fd in [f.internal, f.control, f.net] {
            assert_eq!(f.read(fd, 16), Err(AGAIN));
        }
        assert_eq!(
            f.host.fdstat(f.net).expect("a stat").flags,
            FdFlags::NONBLOCK
        );
        f.host.set_flags(f.net, 0).expect("a flag");
        assert_eq!(
            f.host.fdstat(f.net).expect("a stat").flags,
            FdFlags::default()
        );
    }

    #[test]
    fn a_guest_that_reads_on_and_on_is_told_of_nothing_once_the_other_side_waits() {
        let mut f = fixture();
        f.nonblocking();
        f.peer.write_all(b"abc").expect("room");
        let long = |fd| Streak {
            fd,
            len: FAIR_SHARE,
        };
        f.host.streak = long(f.net);
        assert_eq!(f.read(f.net, 1).expect("nobody waits"), b"a");
        f.app.write(b"x", Patience::None).expect("room");
        f.host.streak = long(f.net);
        assert_eq!(f.read(f.net, 1), Err(AGAIN));
        assert_eq!(f.read(f.net, 1).expect("once only"), b"b");
        // And the other way round, where the bytes are still the system's.
        f.peer.write_all(b"d").expect("room");
        assert_eq!(f.read(f.net, 8).expect("bytes"), b"c");
        f.host.streak = long(f.internal);
        assert_eq!(f.read(f.internal, 1), Err(AGAIN));
        assert_eq!(f.read(f.internal, 1).expect("once only"), b"x");
        // Who looks around neglects nobody.
        f.app.write(b"y", Patience::None).expect("room");
        f.host.streak = long(f.internal);
        let _ = f.poll(&[clock(0)]).expect("events");
        assert_eq!(f.read(f.internal, 1).expect("bytes"), b"y");
    }

    #[test]
    fn a_blocking_read_waits_for_the_application() {
        let mut f = fixture();
        let app = f.app.clone();
        let writer = std::thread::spawn(move || app.write(b"late", Patience::None).expect("room"));
        assert_eq!(f.read(f.internal, 16).expect("bytes"), b"late");
        writer.join().expect("the writer ends");
    }

    #[test]
    fn a_blocking_write_takes_all_however_large() {
        let mut f = fixture();
        let app = f.app.clone();
        let reader = std::thread::spawn(move || {
            let mut total = 0;
            let mut buf = vec![0; 10_000];
            while total < 200_000 {
                let wait = Patience::Wait(Some(Duration::from_secs(20)));
                total += app.read(&mut buf, wait).expect("bytes");
            }
            total
        });
        assert_eq!(f.write(f.internal, &vec![1; 200_000]), Ok(200_000));
        assert_eq!(reader.join().expect("the reader ends"), 200_000);
    }

    #[test]
    fn a_write_that_is_refused_leaves_nothing_behind_and_parks_when_repeated() {
        let mut f = fixture();
        f.nonblocking();
        f.polls_for_room();
        let piece = vec![3; 60_000];
        let mut accepted = 0;
        while f.write(f.internal, &piece) == Ok(60_000) {
            accepted += 60_000;
        }
        let app = f.app.clone();
        let reader = std::thread::spawn(move || {
            let mut total = 0;
            let mut buf = vec![0; 64 * 1024];
            let wait = Patience::Wait(Some(Duration::from_secs(20)));
            while total < accepted + 60_000 {
                total += app.read(&mut buf, wait).expect("bytes");
            }
            total
        });
        // The same write again: the host parks it until the reader has made room.
        assert_eq!(f.write(f.internal, &piece), Ok(60_000));
        assert_eq!(reader.join().expect("the reader ends"), accepted + 60_000);
    }

    #[test]
    fn a_poll_for_writing_waits_until_the_refused_write_fits() {
        let mut f = fixture();
        f.nonblocking();
        f.polls_for_room();
        let piece = vec![3; 60_000];
        while f.write(f.internal, &piece).is_ok() {}
        let kinds = [SubscriptionKind::FdWrite { fd: f.internal }, clock(1)];
        let events = f.poll(&kinds).expect("events");
        assert_eq!(events, [(1, Errno::Success, EventType::Clock, false)]);
        let mut buf = vec![0; 100_000];
        while f.app.read(&mut buf, Patience::None).is_ok() {}
        let events = f.poll(&kinds[..1]).expect("events");
        assert_eq!(events, [(0, Errno::Success, EventType::FdWrite, false)]);
        assert_eq!(f.write(f.internal, &piece), Ok(60_000));
    }

    #[test]
    fn polls_are_level_triggered_and_name_what_does_not_exist() {
        let mut f = fixture();
        f.peer.write_all(b"x").expect("room");
        let kinds = [
            SubscriptionKind::FdRead { fd: f.internal },
            SubscriptionKind::FdRead { fd: f.net },
            SubscriptionKind::FdRead { fd: 9 },
            SubscriptionKind::FdRead { fd: 40 },
        ];
        for _ in 0..40 {
            let events = f.poll(&kinds).expect("events");
            assert_eq!(
                events,
                [
                    (1, Errno::Success, EventType::FdRead, false),
                    (2, Errno::Badf, EventType::FdRead, false),
                    (3, Errno::Success, EventType::FdRead, false),
                ]
            );
        }
        assert_eq!(f.poll(&[]), Err(Errno::Inval.into()));
    }

    #[test]
    fn the_end_of_a_stream_is_a_readable_event_with_hang_up() {
        let mut f = fixture();
        f.app.shutdown_write();
        f.peer
            .shutdown(std::net::Shutdown::Write)
            .expect("a shutdown");
        let kinds = [
            SubscriptionKind::FdRead { fd: f.internal },
            SubscriptionKind::FdRead { fd: f.net },
        ];
        // The end of the network side is there at the latest when the first poll has slept.
        let both = (0..100).any(|_| {
            let events = f.poll(&kinds).expect("events");
            assert!(
                events
                    .iter()
                    .all(|event| event.1 == Errno::Success && event.3)
            );
            events.len() == 2
        });
        assert!(both);
        assert_eq!(f.read(f.internal, 4).expect("the end"), b"");
        assert_eq!(f.read(f.net, 4).expect("the end"), b"");
    }

    #[test]
    fn clocks_wait_as_long_as_they_say_and_bad_ones_say_so() {
        let mut f = fixture();
        let started = Instant::now();
        assert_eq!(f.poll(&[clock(5_000_000)]).expect("events").len(), 1);
        assert!(started.elapsed() >= Duration::from_millis(5));
        let absolute = |id, timeout| SubscriptionKind::Clock {
            id,
            timeout,
            precision: 0,
            absolute: true,
        };
        // In the past, and so at once.
        for id in [0, 1] {
            assert_eq!(
                f.poll(&[absolute(id, 1)]).expect("events")[0].1,
                Errno::Success
            );
        }
        let soon = u64::try_from(now(ClockId::Monotonic).as_nanos()).expect("a time") + 3_000_000;
        assert_eq!(
            f.poll(&[absolute(1, soon)]).expect("events")[0].1,
            Errno::Success
        );
        assert!(now(ClockId::Monotonic) >= Duration::from_nanos(soon));
        assert_eq!(
            f.poll(&[absolute(2, 1)]).expect("events")[0].1,
            Errno::Notsup
        );
        assert_eq!(
            f.poll(&[absolute(77, 1)]).expect("events")[0].1,
            Errno::Inval
        );
    }

    #[test]
    fn rights_to_a_stream_that_were_given_up_are_gone() {
        type Operation = fn(&mut Fixture) -> Call<()>;
        let operations: [(Rights, Operation); 5] = [
            (Rights::FD_READ, |f| f.read(f.net, 1).map(drop)),
            (Rights::FD_WRITE, |f| f.write(f.net, b"x").map(drop)),
            (Rights::SOCK_SHUTDOWN, |f| f.host.shutdown(f.net, 2)),
            (Rights::FD_FDSTAT_SET_FLAGS, |f| f.host.set_flags(f.net, 0)),
            (Rights::FD_FILESTAT_GET, |f| {
                f.host.filestat(f.net).map(drop)
            }),
        ];
        let refused = Err(Errno::Notcapable.into());
        for (right, operation) in operations {
            let mut f = fixture();
            f.peer.write_all(b"x").expect("room");
            let all = f.host.fdstat(f.net).expect("it is open").rights_base;
            let kept = all.without(right);
            f.host.set_rights(f.net, kept.bits(), 0).expect("fewer");
            assert_eq!(operation(&mut f), refused, "{right:?}");
            let stat = f.host.fdstat(f.net).expect("it is open");
            assert_eq!(stat.rights_base, kept);
            for (base, inheriting) in [(all.bits(), 0), (kept.bits(), 1), (1 << 40, 0)] {
                let more = f.host.set_rights(f.net, base, inheriting);
                assert_eq!(more, refused, "{right:?}");
            }
            // It is the descriptor that has lost them, whatever its number.
            f.host.renumber(f.net, 600).expect("a free number");
            f.net = 600;
            assert_eq!(operation(&mut f), refused, "{right:?}");
        }
        let mut f = fixture();
        assert_eq!(f.host.set_rights(900, 0, 0), Err(Errno::Badf.into()));
        f.host.set_rights(f.net, 0, 0).expect("none");
        let kinds = [f.net, 41].map(|fd| SubscriptionKind::FdRead { fd });
        let events = f.poll(&kinds).expect("events");
        assert!(events.iter().all(|event| event.1 == Errno::Notcapable));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn a_standard_stream_is_a_terminal_only_where_it_is_one() {
        let mut f = fixture();
        // They are dropped here.
        for fd in 0..3 {
            let stat = f.host.fdstat(fd).expect("it is open");
            assert_eq!(stat.file_type, FileType::Unknown);
            let stat = f.host.filestat(fd).expect("it is open");
            assert_eq!(stat.file_type, FileType::Unknown);
        }
        let stat = f.host.fdstat(f.net).expect("it is open");
        assert_eq!(stat.file_type, FileType::SocketStream);
    }

    #[test]
    fn clocks_go_on_and_random_numbers_differ() {
        let mut f = fixture();
        let first = f.host.clock_time(1).expect("a time");
        assert!(f.host.clock_time(1).expect("a time") >= first);
        let real = Duration::from_nanos(f.host.clock_time(0).expect("a time"));
        assert!(now(ClockId::Realtime).abs_diff(real) < Duration::from_secs(60));
        assert_eq!(f.host.clock_time(7), Err(Errno::Inval.into()));
        for id in 0..4 {
            let resolution = f.host.clock_resolution(id).expect("a resolution");
            assert!(
                (1..=1_000_000_000).contains(&resolution),
                "clock {id}: {resolution} ns"
            );
        }
        assert_eq!(f.host.clock_resolution(4), Err(Errno::Inval.into()));
        let mut bytes = vec![0; 2 * RANDOM_PART + 1];
        f.host.random(&mut bytes).expect("random numbers");
        let (a, b) = bytes.split_at(RANDOM_PART);
        assert_ne!(a, &b[..RANDOM_PART]);
        assert!(
            bytes
                .chunks(1024)
                .take(128)
                .all(|part| part.iter().any(|byte| *byte != 0))
        );
        f.host.random(&mut []).expect("nothing");
        f.link.raise(Level::Stopping);
        assert_eq!(f.host.random(&mut bytes), Err(Abort::Stop));
    }

    #[test]
    fn a_sleeping_poll_wakes_for_the_application_the_network_and_control() {
        let mut f = fixture();
        let kinds = [
            SubscriptionKind::FdRead { fd: f.control },
            SubscriptionKind::FdRead { fd: f.internal },
            SubscriptionKind::FdRead { fd: f.net },
        ];
        let app = f.app.clone();
        let thread = std::thread::spawn(move || app.write(b"a", Patience::None));
        assert_eq!(f.poll(&kinds).expect("events")[0].0, 1);
        f.read(f.internal, 8).expect("bytes");
        thread.join().expect("it ends").expect("room");

        let mut peer = f.peer.try_clone().expect("a clone");
        let thread = std::thread::spawn(move || peer.write_all(b"b"));
        assert_eq!(f.poll(&kinds).expect("events")[0].0, 2);
        f.read(f.net, 8).expect("bytes");
        thread.join().expect("it ends").expect("room");

        let link = Arc::clone(&f.link);
        let thread = std::thread::spawn(move || link.raise(Level::Cancelled));
        assert_eq!(f.poll(&kinds).expect("events")[0].0, 0);
        assert_eq!(f.read(f.control, 8).expect("a byte"), [0]);
        thread.join().expect("it ends");
        f.nonblocking();
        assert_eq!(f.read(f.control, 8), Err(AGAIN));
    }

    #[test]
    fn a_stop_ends_every_call_also_one_that_sleeps() {
        let mut f = fixture();
        let link = Arc::clone(&f.link);
        let thread = std::thread::spawn(move || link.raise(Level::Stopping));
        assert_eq!(f.read(f.net, 8), Err(Abort::Stop));
        thread.join().expect("it ends");
        assert_eq!(f.write(f.net, b"x"), Err(Abort::Stop));
        assert_eq!(f.poll(&[clock(0)]), Err(Abort::Stop));
        assert_eq!(f.host.close(f.net), Err(Abort::Stop));
        assert_eq!(f.host.sched_yield(), Err(Abort::Stop));
        assert_eq!(f.host.water_dial_fixed(), Err(Abort::Stop));
    }

    #[test]
    fn a_guest_that_has_read_all_after_a_close_is_told_to_end() {
        let mut f = fixture();
        f.app.write(b"last", Patience::None).expect("room");
        f.link.raise(Level::Closing);
        f.app.shutdown_write();
        let control = [SubscriptionKind::FdRead { fd: f.control }];
        let both = [control[0], clock(1)];
        // Not before it has read the bytes and the end, and what it wrote is sent.
        assert_eq!(f.poll(&both).expect("events")[0].0, 1);
        assert_eq!(f.read(f.internal, 8).expect("bytes"), b"last");
        assert_eq!(f.poll(&both).expect("events")[0].0, 1);
        assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
        f.write(f.net, b"last").expect("room");
        assert_eq!(f.poll(&control).expect("events")[0].0, 0);
        assert_eq!(f.peer.read(&mut [0; 8]).expect("bytes"), 4);
    }

    #[test]
    fn what_was_written_is_sent_after_a_close_and_at_the_end() {
        let mut f = fixture();
        f.write(f.net, b"closing").expect("room");
        f.host.close(f.net).expect("it was open");
        assert_eq!(f.read(f.net, 8), Err(Errno::Badf.into()));
        let mut all = vec![0; 7];
        f.peer.read_exact(&mut all).expect("it leaves at once");
        // The end does when the guest sleeps: it might have failed.
        let _ = f.poll(&[clock(1_000_000)]).expect("events");
        f.peer.read_to_end(&mut all).expect("the end");
        assert_eq!(all, b"closing");

        let mut f = fixture();
        f.write(f.net, &vec![5; 120_000]).expect("room");
        let mut peer = f.peer.try_clone().expect("a clone");
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).expect("the end");
            all.len()
        });
        f.host.end_guest();
        f.host.drain(Duration::from_secs(20)).expect("it drains");
        assert_eq!(reader.join().expect("the reader ends"), 120_000);
    }

    #[test]
    fn bytes_that_the_peer_does_not_take_in_time_are_told_of() {
        let mut f = fixture();
        fill_net(&mut f);
        f.host.end_guest();
        let error = f
            .host
            .drain(Duration::from_millis(20))
            .expect_err("bytes are left");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn flags_of_a_receive_are_kept() {
        let mut f = fixture();
        f.peer.write_all(b"abc").expect("room");
        let mut memory = memory(16);
        let array = iovecs(&memory);
        assert_eq!(
            f.host.read(&mut memory[..], f.net, &array, RiFlags::PEEK),
            Ok(3)
        );
        assert_eq!(&memory[1024..1027], b"abc");
        let mut peer = f.peer.try_clone().expect("a clone");
        let thread = std::thread::spawn(move || {
            for _ in 0..13 {
                peer.write_all(b"d").expect("room");
            }
        });
        assert_eq!(
            f.host
                .read(&mut memory[..], f.net, &array, RiFlags::WAITALL),
            Ok(16)
        );
        assert_eq!(&memory[1024..1040], b"abcddddddddddddd");
        thread.join().expect("it ends");
    }

    #[test]
    fn a_side_has_nothing_to_read_while_the_other_has_no_room() {
        for (len, polls) in [
            (1024, false),
            (16_384, false),
            (100_000, false),
            (16_384, true),
        ] {
            let mut f = fixture();
            f.nonblocking();
            if polls {
                // Whoever could bear a refusal is spared it too.
                f.polls_for_room();
            }
            // To the network.
            let mut sent = 0;
            let data = vec![7; PIPE_CAPACITY];
            loop {
                sent += f.app.write(&data, Patience::None).unwrap_or(0);
                if f.pump(f.internal, f.net, len) == 0 {
                    break;
                }
            }
            assert!(f.host.internal.as_mut().expect("it is open").available() > 0);
            assert!(!f.is_readable(f.internal));
            f.peer.set_nonblocking(true).expect("a mode");
            let mut buf = vec![0; 1 << 20];
            let mut received = 0;
            while received < sent {
                received += f.peer.read(&mut buf).unwrap_or(0);
                // The socket takes more, and the poll lets more through.
                if f.is_readable(f.internal) {
                    assert_ne!(f.pump(f.internal, f.net, len), 0);
                }
                f.host.flush();
            }
            assert_eq!(received, sent);
            // And to the application.
            let mut sent = 0;
            loop {
                sent += f.peer.write(&data).unwrap_or(0);
                if !f.is_readable(f.net) {
                    break;
                }
                f.pump(f.net, f.internal, len);
            }
            let mut received = 0;
            while received < sent {
                received += f.app.read(&mut buf, Patience::None).unwrap_or(0);
                if f.is_readable(f.net) {
                    assert_ne!(f.pump(f.net, f.internal, len), 0);
                }
                f.host.flush();
            }
            assert_eq!(received, sent);
        }
    }

    /// Fills the buffer to the network: no write of 60,000 bytes fits in any more.
    fn fill_net(f: &mut Fixture) {
        f.nonblocking();
        f.polls_for_room();
        while f.write(f.net, &[5; 60_000]).is_ok() {}
    }

    #[test]
    fn an_end_or_a_failure_has_not_to_wait_for_room() {
        let mut f = fixture();
        fill_net(&mut f);
        f.app.write(b"abc", Patience::None).expect("room");
        assert!(!f.is_readable(f.internal));
        let mut f = fixture();
        fill_net(&mut f);
        f.app.shutdown_write();
        assert!(f.is_readable(f.internal));
        assert_eq!(f.read(f.internal, 16).expect("the end"), b"");
        // From the network too.
        let mut f = fixture();
        f.nonblocking();
        f.polls_for_room();
        while f.write(f.internal, &[5; 60_000]).is_ok() {}
        f.peer.write_all(b"abc").expect("room");
        assert!(!f.is_readable(f.net));
        drop(f.peer.shutdown(std::net::Shutdown::Write));
        assert!(!f.is_readable(f.net), "the bytes come first");
        let mut buf = vec![0; PIPE_CAPACITY];
        f.app.read(&mut buf, Patience::None).expect("bytes");
        assert_eq!(f.read(f.net, 16).expect("bytes"), b"abc");
        while f.write(f.internal, &[5; 60_000]).is_ok() {}
        assert!(f.is_readable(f.net));
        assert_eq!(f.read(f.net, 16).expect("the end"), b"");
    }

    #[test]
    fn a_side_that_takes_no_more_holds_nobody_back() {
        let mut f = fixture();
        f.nonblocking();
        f.polls_for_room();
        while f.write(f.internal, &[5; 60_000]).is_ok() {}
        f.peer.write_all(b"abc").expect("room");
        assert!(!f.is_readable(f.net));
        // The application reads no more.
        f.app.shutdown_read();
        assert_eq!(f.read(f.net, 2).expect("bytes"), b"ab");
        let mut f = fixture();
        fill_net(&mut f);
        f.app.write(b"abc", Patience::None).expect("room");
        assert!(!f.is_readable(f.internal));
        // The guest closes the other side: one is left.
        f.host.close(f.net).expect("it is open");
        assert_eq!(f.read(f.internal, 16).expect("bytes"), b"abc");
    }

    #[test]
    fn with_a_third_stream_no_read_waits_for_room() {
        let mut f = fixture();
        fill_net(&mut f);
        f.app.write(b"abc", Patience::None).expect("room");
        assert!(!f.is_readable(f.internal));
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let third = f.host.open_net(ours.into()).expect("a descriptor");
        assert_eq!(f.read(f.internal, 1).expect("bytes"), b"a");
        f.host.close(third).expect("it is open");
        assert!(!f.is_readable(f.internal));
    }

    #[test]
    fn a_refused_write_waits_for_a_guest_that_never_polled_for_room() {
        let mut f = fixture();
        f.nonblocking();
        let mut peer = f.peer.try_clone().expect("a clone");
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; 4_000_000];
            peer.read_exact(&mut received).expect("all of it");
            assert!(received.iter().all(|byte| *byte == 5));
        });
        // More than fits, and with no end that is cut short.
        for _ in 0..20 {
            assert_eq!(f.write(f.net, &[5; 200_000]), Ok(200_000));
        }
        f.host.flush();
        f.host.end_guest();
        f.host.drain(Duration::from_secs(20)).expect("all leaves");
        reader.join().expect("all came");
        // Told to end, it is not held up any more.
        let mut f = fixture();
        f.nonblocking();
        let link = Arc::clone(&f.link);
        let embedder = std::thread::spawn(move || link.raise(Level::Cancelled));
        while f.write(f.net, &[5; 60_000]).is_ok() {}
        embedder.join().expect("it ends");
    }

    /// Guest memory whose worker is told to stop as soon as anything is put into it.
    struct Stopping<'a> {
        bytes: &'a mut [u8],
        link: &'a Link,
    }

    impl GuestMemory for Stopping<'_> {
        fn size(&self) -> u64 {
            self.bytes.size()
        }

        fn slice(&self, addr: u32, len: u32) -> Result<&[u8], Errno> {
            self.bytes.slice(addr, len)
        }

        fn slice_mut(&mut self, addr: u32, len: u32) -> Result<&mut [u8], Errno> {
            self.link.raise(Level::Stopping);
            self.bytes.slice_mut(addr, len)
        }
    }

    #[test]
    fn a_receive_that_never_has_to_sleep_ends_when_it_should() {
        let mut f = fixture();
        // More than one try takes, and all of it there before the first.
        f.peer.write_all(&[7; 100_000]).expect("room");
        let mut bytes = memory(50_000);
        bytes.write_u32(8, 1024 + 50_000).expect("in memory");
        bytes.write_u32(12, 50_000).expect("in memory");
        let array = IovecArray::decode(&bytes[..], 0, 2).expect("an array");
        let mut memory = Stopping {
            bytes: &mut bytes,
            link: &f.link,
        };
        let stopped = f.host.read(&mut memory, f.net, &array, RiFlags::WAITALL);
        assert_eq!(stopped, Err(Abort::Stop));
    }

    #[test]
    fn an_accepted_connection_waits_until_there_is_a_number_for_it() {
        let link = Arc::new(Link::default());
        let reactor = Reactor::new(&link).expect("a reactor");
        let mut setup = setup();
        setup.descriptor_limit = 1;
        let mut host = Host::new(Arc::clone(&link), reactor, setup);
        let (ours, mut peer) = UnixStream::pair().expect("a pair");
        let (_app, guest) = pipe(Arc::clone(&link));
        host.connect(Ends {
            fixed: None,
            incoming: Some(ours.into()),
            internal: Some(guest),
        });
        let internal = host.open_internal().expect("a descriptor");
        for _ in 0..2 {
            assert_eq!(host.water_accept(), Err(Errno::Mfile.into()));
        }
        host.close(internal).expect("it is open");
        let net = host.water_accept().expect("it was not closed");
        peer.write_all(b"abc").expect("it is open");
        let mut memory = memory(3);
        let array = iovecs(&memory);
        let read = host.read(&mut memory[..], net, &array, RiFlags::default());
        assert_eq!(read, Ok(3));
    }

    #[test]
    fn one_message_is_one_read_across_several_buffers() {
        let mut f = fixture();
        f.app
            .write(b"a message of one write", Patience::None)
            .expect("room");
        let mut memory = vec![0; 4096];
        for (i, (at, len)) in [(1000u32, 3u32), (2000, 0), (3000, 100)]
            .into_iter()
            .enumerate()
        {
            memory.write_u32(8 * i as u32, at).expect("in memory");
            memory.write_u32(8 * i as u32 + 4, len).expect("in memory");
        }
        let array = IovecArray::decode(&memory, 0, 3).expect("an array");
        assert_eq!(
            f.host
                .read(&mut memory[..], f.internal, &array, RiFlags::default()),
            Ok(22)
        );
        assert_eq!(&memory[1000..1003], b"a m");
        assert_eq!(&memory[3000..3019], b"essage of one write");
    }

    #[test]
    fn descriptors_are_limited_and_start_above_the_files() {
        let mut f = fixture();
        assert!(
            [f.internal, f.control, f.net]
                .iter()
                .all(|fd| *fd >= FIRST_FD)
        );
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address").to_string();
        f.host.fixed = Some((Network::Tcp, address));
        assert!(f.host.water_dial_fixed().is_ok());
        assert_eq!(f.host.water_dial_fixed(), Err(Errno::Mfile.into()));
        assert_eq!(
            f.host.water_accept(),
            Err(Errno::Nodev.into()),
            "there was one"
        );
    }

    #[test]
    fn a_module_dials_only_where_the_policy_lets_it() {
        let mut f = fixture();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address").to_string();
        let mut memory = vec![0; 1024];
        for (i, text) in ["tcp", &address].into_iter().enumerate() {
            let at = 128 + 128 * i as u32;
            memory.write_u32(8 * i as u32, at).expect("in memory");
            memory
                .write_u32(8 * i as u32 + 4, text.len() as u32)
                .expect("in memory");
            memory.write_bytes(at, text.as_bytes()).expect("in memory");
        }
        let dial = |host: &mut Host| host.water_dial(&memory[..], (0, 1), (8, 1));
        assert_eq!(dial(&mut f.host), Err(Errno::Notcapable.into()));
        assert!(matches!(
            f.host.take_failure(),
            Some(SetupError::Denied { .. })
        ));
        f.host.outgoing.policy = Arc::new(
            crate::AddressPolicy::deny_all().allow("127.0.0.1".parse().expect("an entry")),
        );
        assert!(dial(&mut f.host).is_ok());
        assert_eq!(
            f.host.water_dial(&memory[..], (0, 1), (900, 2)),
            Err(Errno::Inval.into())
        );
        drop(TcpStream::connect(
            listener.local_addr().expect("an address"),
        ));
    }
}
