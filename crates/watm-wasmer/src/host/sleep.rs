//! Where a worker sleeps, what wakes it, and what it sends before it sleeps.

use std::time::{Duration, Instant};

use watm_abi::{Errno, Subscription, SubscriptionKind};

use crate::channel::link::{Level, interest};
use crate::channel::pipe::{GuestEnd, PIPE_CAPACITY};
use crate::host::Host;
use crate::host::descriptor::{Abort, Call, Descriptor, Direction, Kind};
use crate::host::rest::Rest;
use crate::host::spin::{self, Looking, Spin};
use crate::net::outbound::WRITE_LIMIT;

/// Number of answers from cached readiness before the system is asked again.
const CACHED_ANSWERS: u32 = 16;

/// How long nothing must have moved on a closed connection before its guest is told to end.
const QUIET: Duration = Duration::from_millis(100);

/// How often a guest that waits for the host's own standard streams looks at them.
pub(super) const STREAM_TICK: Duration = Duration::from_millis(50);

/// What a call waits for.
#[derive(Clone, Copy)]
pub(super) enum Waits<'a> {
    One(u32, Direction),
    /// Whatever comes first. This does not include clocks.
    Any(&'a [Subscription]),
}

impl Waits<'_> {
    pub(super) fn descriptors(self) -> impl Iterator<Item = (u32, Direction)> {
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

/// When a worker last slept, checked for changes and moved bytes, and what follows for its next
/// sleep.
pub(super) struct Sleeper {
    spin: Spin,
    pub(super) rest: Rest,
    /// Number of answers since the system was last asked.
    cached_answers: u32,
    /// Number of bytes moved since then.
    moved: usize,
    /// When a closed connection ran out of things to do, if it has.
    quiet_since: Option<Instant>,
    /// The level that the guest has had the chance to learn of.
    seen_level: Level,
}

impl Default for Sleeper {
    fn default() -> Self {
        Self {
            spin: Spin::default(),
            rest: Rest::default(),
            cached_answers: 0,
            moved: 0,
            quiet_since: None,
            seen_level: Level::Running,
        }
    }
}

impl Sleeper {
    /// Called when bytes were moved.
    pub(super) fn moved(&mut self, len: u32) {
        self.moved += len as usize;
        self.quiet_since = None;
    }

    /// Whether answers have come from the cache for long enough.
    pub(super) fn is_stale(&mut self) -> bool {
        self.cached_answers += 1;
        self.cached_answers >= CACHED_ANSWERS || self.moved >= PIPE_CAPACITY / 2
    }

    /// Called when the system was asked.
    fn looked(&mut self) {
        self.cached_answers = 0;
        self.moved = 0;
    }
}

impl Host {
    /// Sleeps until a blocking call on `fd` may make progress.
    pub(super) fn sleep(&mut self, fd: u32, direction: Direction) -> Call<()> {
        // The host's standard input is not in the reactor. The read itself waits a little.
        let deadline = match self.descriptors.get(fd) {
            Ok(Descriptor {
                kind: Kind::Std(_), ..
            }) => Some(Instant::now()),
            _ => None,
        };
        self.sleep_for(Waits::One(fd, direction), deadline)
    }

    /// Sends what waits, then sleeps until a socket, the application, the level or the clock
    /// changes something. Returns early rather than late: callers check again.
    pub(super) fn sleep_for(&mut self, waits: Waits<'_>, deadline: Option<Instant>) -> Call<()> {
        self.close_for_good();
        self.flush();
        if self.may_be_over() {
            self.check_plain();
        }
        let quiet = self.end_if_quiet();
        let deadline = [deadline, quiet].into_iter().flatten().min();
        self.check_stop()?;
        let is_far = |deadline: Instant| deadline > Instant::now() + spin::LIMIT;
        if self.sleeper.spin.is_worth_it()
            && deadline.is_none_or(is_far)
            && self.look_for_work(waits)?
        {
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
        self.sleeper.spin.slept(started.elapsed());
        result?;
        self.check_stop()
    }

    /// Looks for a moment for what [`Host::sleep_for`] would sleep for. Meanwhile nobody has to
    /// wake this worker.
    fn look_for_work(&mut self, waits: Waits<'_>) -> Call<bool> {
        let Some(mut looking) = Looking::start() else {
            return Ok(false);
        };
        loop {
            if self.take_in_changes(waits) || self.refresh()? {
                return Ok(true);
            }
            if !looking.goes_on() {
                self.sleeper.spin.was_in_vain();
                // Whatever came while others had the core counts.
                return Ok(self.take_in_changes(waits) || self.refresh()?);
            }
        }
    }

    /// Whether anything has changed since the guest last looked. Once the worker has announced that
    /// it sleeps, anything that comes later wakes it.
    fn take_in_changes(&mut self, waits: Waits<'_>) -> bool {
        let level = self.link.level();
        let failed = self.link.take_failure();
        if failed {
            self.check_plain();
        }
        let changed = failed || level != self.sleeper.seen_level || self.is_any_ready(waits);
        self.sleeper.seen_level = level;
        changed
    }

    /// Whether anything that is waited for has come. This asks neither the system's sockets nor its
    /// streams, because callers did so before they decided to sleep.
    fn is_any_ready(&mut self, waits: Waits<'_>) -> bool {
        waits.descriptors().any(|(fd, direction)| {
            let asks_the_system = matches!(
                self.descriptors.get(fd),
                Ok(Descriptor {
                    kind: Kind::Std(_),
                    ..
                })
            );
            !asks_the_system && self.readiness(fd, direction).is_some()
        })
    }

    /// Whether a descriptor is ready. If it is, returns how many bytes it has or takes, and whether
    /// it hung up.
    pub(super) fn readiness(&mut self, fd: u32, direction: Direction) -> Option<(u64, bool)> {
        let descriptor = self.descriptors.get_mut(fd).ok()?;
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
                self.sleeper.seen_level = self.link.level();
                (self.sleeper.seen_level >= Level::Cancelled && !self.control_read)
                    .then_some((1, false))
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
                .accepts(wanted)
                // A plain connection that is broken drops what is written.
                .then(|| (WRITE_LIMIT as u64, net.has_failed() && !net.is_plain())),
            (Kind::Unconnected, Direction::Read) => None,
            (Kind::Unconnected, Direction::Write) => Some((WRITE_LIMIT as u64, false)),
            (Kind::Std(stream), Direction::Read) => stream.is_readable().then_some((1, false)),
            (Kind::Std(_), Direction::Write) | (Kind::Directory(_) | Kind::File(_), _) => {
                Some((1, false))
            }
        }
    }

    /// The events for which others, not the system, must wake this worker while it waits for these.
    fn interests(&mut self, waits: Waits<'_>) -> u32 {
        let mut what = 0;
        let mut wanted = None::<usize>;
        let mut want = |room: usize| {
            wanted = Some(wanted.map_or(room, |wanted| wanted.min(room)));
        };
        for (fd, direction) in waits.descriptors() {
            let Ok(descriptor) = self.descriptors.get(fd) else {
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
                        // The end would be news. More bytes would not.
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

    /// Tells a guest that waits for more that nobody will come. This applies once the embedder has
    /// closed, or a plain connection was over for too long, the guest has read everything and was
    /// told so, and everything is sent. The guest may
    /// hold bytes until the peer has answered, so it is not told at once, but after nothing has
    /// moved for a while. Returns when that will be, if it is still to come.
    fn end_if_quiet(&mut self) -> Option<Instant> {
        let level = self.link.level();
        let pipe = self.internal.as_ref();
        let drained = pipe.is_some_and(GuestEnd::is_closed_and_drained)
            || self.plain_side.is_over() && level >= Level::Closing;
        if !drained || self.writes.unsent || level >= Level::Cancelled {
            self.sleeper.quiet_since = None;
            return None;
        }
        let end = *self.sleeper.quiet_since.get_or_insert_with(Instant::now) + QUIET;
        if Instant::now() < end {
            return Some(end);
        }
        self.link.raise(Level::Cancelled);
        None
    }

    /// Takes in what the system knows, without sleeping. Returns whether there was anything.
    pub(super) fn refresh(&mut self) -> Call<bool> {
        self.wait(Some(Duration::ZERO))
    }

    /// Returns whether anything happened.
    fn wait(&mut self, timeout: Option<Duration>) -> Call<bool> {
        self.sleeper.looked();
        self.link.traffic.system_call();
        let sleeps = timeout != Some(Duration::ZERO);
        let before = (sleeps && self.measures.times()).then(Instant::now);
        let mut has_ended = false;
        let result = self.reactor.wait(timeout, |token, readiness| {
            let open = self.descriptors.iter_mut().filter_map(|(_, descriptor)| {
                match &mut descriptor.kind {
                    Kind::Net(net) => Some(net),
                    _ => None,
                }
            });
            if let Some(net) = open
                .chain(self.leaving.nets_mut())
                .find(|net| net.token == token)
            {
                self.plain_side.has_news |= net.is_plain() && (readiness.ended || net.is_deaf());
                has_ended |= readiness.ended;
                net.apply(readiness);
            }
        });
        if self.plain_side.has_news {
            self.look_at_plain();
        }
        if has_ended && let Some(guard) = &self.guard {
            guard.check();
        }
        if let Some(before) = before {
            self.measures.slept(before.elapsed());
        }
        result.map_err(|error| {
            log::error!("a worker cannot wait for its sockets: {error}");
            Abort::Errno(Errno::from_io(&error))
        })
    }

    /// Wakes the application, and sends as much of what waits as the sockets take.
    pub(crate) fn flush(&mut self) {
        if let Some(internal) = &mut self.internal {
            internal.wake_readers();
        }
        if !self.writes.unsent {
            return;
        }
        let mut waits = self.leaving.flush();
        for (_, descriptor) in self.descriptors.iter() {
            if let Kind::Net(net) = &descriptor.kind {
                waits |= !net.flush();
            }
        }
        self.writes.unsent = waits;
    }

    /// `sched_yield`.
    pub(crate) fn give_way(&mut self) -> Call<()> {
        self.begin()?;
        self.close_for_good();
        self.refresh()?;
        std::thread::yield_now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::Arc;

    use crate::channel::pipe::Patience;
    use crate::host::tests::{clock, fixture};

    #[test]
    fn a_guest_that_has_read_all_after_a_close_is_told_to_end() {
        let mut f = fixture();
        f.app.write(b"last", Patience::None).expect("room");
        f.link.raise(Level::Closing);
        f.app.shutdown_write();
        let control = [SubscriptionKind::FdRead { fd: f.control }];
        let both = [control[0], clock(1)];
        // The guest must first read the bytes and the end, and what it wrote must be sent.
        assert_eq!(f.poll(&both).expect("events")[0].0, 1);
        assert_eq!(f.read(f.internal, 8).expect("bytes"), b"last");
        assert_eq!(f.poll(&both).expect("events")[0].0, 1);
        assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
        f.write(f.net, b"last").expect("room");
        assert_eq!(f.poll(&control).expect("events")[0].0, 0);
        assert_eq!(f.peer.read(&mut [0; 8]).expect("bytes"), 4);
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
        assert_eq!(f.host.give_way(), Err(Abort::Stop));
        assert_eq!(f.host.water_dial_fixed(), Err(Abort::Stop));
    }
}
