//! `poll_oneoff`: which of the things that a guest waits for have come.

use std::time::{Duration, Instant};

use watm_abi::{
    ClockId, Errno, Event, EventType, GuestMemory, Rights, Subscription, SubscriptionKind,
    decode_subscriptions, write_events,
};

use crate::host::Host;
use crate::host::clocks::now;
use crate::host::descriptor::{Abort, Call, Descriptor, Direction, Kind};
use crate::host::sleep::{STREAM_TICK, Waits};
use crate::host::stdio::StdStream;

impl Host {
    /// `poll_oneoff`. Returns the number of events that were written to memory.
    pub(crate) fn poll<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        subscriptions_at: u32,
        events_at: u32,
        count: u32,
    ) -> Call<u32> {
        self.begin()?;
        self.close_for_good();
        self.reads.look_around();
        let mut subscriptions = std::mem::take(&mut self.subscriptions);
        let mut events = std::mem::take(&mut self.events);
        let result = decode_subscriptions(memory, subscriptions_at, count, &mut subscriptions)
            .map_err(Abort::from)
            .and_then(|()| {
                self.prediction.polls(self.measures.calls, &subscriptions);
                self.wait_for_events(&subscriptions, &mut events)
            })
            .map(|()| self.note_what_came(&subscriptions, &events))
            .and_then(|()| Ok(write_events(memory, events_at, &events)?))
            .map(|()| u32::try_from(events.len()).unwrap_or(u32::MAX));
        if let Some(watch) = &mut self.watch {
            watch.found(events.len());
        }
        subscriptions.clear();
        events.clear();
        if subscriptions.capacity() <= 64 {
            self.subscriptions = subscriptions;
            self.events = events;
        }
        result
    }

    /// Records whether the guest's last read before the poll would have got something.
    fn note_what_came(&mut self, subscriptions: &[Subscription], events: &[Event]) {
        let last = self.prediction.last_read();
        let mut of_last = subscriptions.iter().filter(|subscription| {
            matches!(subscription.kind, SubscriptionKind::FdRead { fd } if fd == last)
        });
        if let Some(of_last) = of_last.next() {
            let is_it = |event: &Event| event.userdata == of_last.userdata;
            self.prediction.came(events.iter().any(is_it));
        }
    }

    fn wait_for_events(
        &mut self,
        subscriptions: &[Subscription],
        events: &mut Vec<Event>,
    ) -> Call<()> {
        // Reading the clocks costs as much as the rest of a poll that can be answered at once.
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
        self.writes.polls_for_room = self.writes.polls_for_room
            || Waits::Any(subscriptions)
                .descriptors()
                .any(|(fd, direction)| direction == Direction::Write && self.is_stream(fd));
        let (mut asked, mut rested) = (false, false);
        if self.sleeper.is_stale() {
            asked = true;
            self.refresh()?;
        }
        loop {
            self.collect(subscriptions, events, clocks.as_ref());
            if !events.is_empty() {
                let only_clocks = events.iter().all(|event| event.kind == EventType::Clock);
                if !only_clocks || asked {
                    if !self.sleeper.rest.is_known(events) || rested {
                        return Ok(());
                    }
                    self.rest(subscriptions, deadline)?;
                    rested = true;
                    events.clear();
                    continue;
                }
                // The time is up, but the system has not been asked yet.
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

    /// Lets a guest rest if it was told the same before and has done nothing with it.
    fn rest(&mut self, subscriptions: &[Subscription], deadline: Option<Instant>) -> Call<()> {
        let end = Instant::now() + self.sleeper.rest.next();
        let end = deadline.map_or(end, |deadline| deadline.min(end));
        let others = self.sleeper.rest.other(subscriptions);
        self.sleep_for(Waits::Any(&others), Some(end))
    }

    /// Adds an event for each subscription whose condition holds now.
    fn collect(
        &mut self,
        subscriptions: &[Subscription],
        events: &mut Vec<Event>,
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
                    if let Err(error) = self.descriptors.check_poll(fd, rights) {
                        events.push(Event {
                            userdata,
                            error,
                            kind,
                            nbytes: 0,
                            hangup: false,
                        });
                        continue;
                    }
                    let Some((nbytes, hangup)) = self.readiness(fd, direction) else {
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

    /// Whether a poll waits for the host's own standard input, which is not in the reactor.
    fn watches_host_input(&self, subscriptions: &[Subscription]) -> bool {
        subscriptions
            .iter()
            .any(|subscription| match subscription.kind {
                SubscriptionKind::FdRead { fd } => {
                    matches!(
                        self.descriptors.get(fd),
                        Ok(Descriptor {
                            kind: Kind::Std(StdStream::HostInput),
                            ..
                        })
                    )
                }
                _ => false,
            })
    }
}

/// The clocks at the start of a poll. Its subscriptions count from there.
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

    /// When a subscription is due. `None` means too far away to ever come.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    use crate::channel::link::Level;
    use crate::channel::pipe::Patience;
    use crate::host::tests::{AGAIN, clock, fixture};

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
        // The end of the network side is visible after the first poll has slept, or earlier.
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
        // Times in the past are due at once.
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
}
