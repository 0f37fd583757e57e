//! The records of `poll_oneoff`: what the guest waits for, and what happened.
//!
//! Knows their bytes. Must never know clocks, descriptors or how to wait.

use super::layout::{put, take};
use crate::{Errno, GuestMemory};

/// The size of a [`Subscription`] in guest memory, in bytes.
pub const SUBSCRIPTION_SIZE: u32 = 48;

/// The size of an [`Event`] in guest memory, in bytes.
pub const EVENT_SIZE: u32 = 32;

/// The most subscriptions that one call may pass: more than a guest can have descriptors, twice
/// over, and clocks.
pub const MAX_SUBSCRIPTIONS: u32 = 4096;

/// `subscription_clock_abstime`: the timeout is a point in time.
const ABSTIME: u16 = 1 << 0;

/// `event_fd_readwrite_hangup`: the other side is gone.
const HANGUP: u16 = 1 << 0;

/// A clock: `clockid` of WASI Preview 1.
///
/// ```
/// use watm_abi::{ClockId, Errno};
///
/// // The first argument of `clock_time_get`.
/// let clock = |raw| ClockId::from_raw(raw).ok_or(Errno::Inval);
/// assert_eq!(clock(1), Ok(ClockId::Monotonic));
/// assert_eq!(clock(4), Err(Errno::Inval));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ClockId {
    /// The time of day: nanoseconds since 1970.
    Realtime = 0,
    /// A clock that never goes back, from a point in the past that means nothing.
    Monotonic = 1,
    /// The processor time that the process has used.
    ProcessCputime = 2,
    /// The processor time that the thread has used.
    ThreadCputime = 3,
}

impl ClockId {
    /// The number of WASI Preview 1.
    pub const fn raw(self) -> u32 {
        self as u32
    }

    /// The clock with this number, or `None` when there is none.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(ClockId::Realtime),
            1 => Some(ClockId::Monotonic),
            2 => Some(ClockId::ProcessCputime),
            3 => Some(ClockId::ThreadCputime),
            _ => None,
        }
    }
}

/// Something that the guest waits for: `subscription` of WASI Preview 1.
///
/// ```
/// use watm_abi::{Errno, Subscription, SubscriptionKind};
///
/// let readable = Subscription {
///     userdata: 7,
///     kind: SubscriptionKind::FdRead { fd: 3 },
/// };
/// assert_eq!(Subscription::decode(&readable.encode())?, readable);
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// A value of the guest's, which comes back in the event.
    pub userdata: u64,
    /// What it waits for.
    pub kind: SubscriptionKind,
}

/// What a [`Subscription`] waits for.
///
/// ```
/// use std::time::Duration;
/// use watm_abi::{ClockId, EventType, SubscriptionKind};
///
/// /// How long a guest waits at most, if it subscribes to this.
/// fn patience(kind: SubscriptionKind, now: u64) -> Option<Duration> {
///     match kind {
///         SubscriptionKind::Clock { timeout, absolute: true, .. } => {
///             Some(Duration::from_nanos(timeout.saturating_sub(now)))
///         }
///         SubscriptionKind::Clock { timeout, .. } => Some(Duration::from_nanos(timeout)),
///         SubscriptionKind::FdRead { .. } | SubscriptionKind::FdWrite { .. } => None,
///     }
/// }
///
/// let clock = SubscriptionKind::Clock {
///     id: ClockId::Monotonic.raw(),
///     timeout: 5_000,
///     precision: 0,
///     absolute: true,
/// };
/// assert_eq!(patience(clock, 3_000), Some(Duration::from_micros(2)));
/// assert_eq!(clock.event_type(), EventType::Clock);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionKind {
    /// A point in time.
    Clock {
        /// The number of the clock, as the guest gave it: see [`ClockId::from_raw`]. A clock that
        /// does not exist is reported in the event of this subscription, and is no reason to refuse
        /// the others.
        id: u32,
        /// How long to wait, or until when, in nanoseconds.
        timeout: u64,
        /// By how much the event may be late, in nanoseconds.
        precision: u64,
        /// Whether `timeout` is a point in time of the clock, and not a duration.
        absolute: bool,
    },
    /// Something to read, or the end of the stream.
    FdRead {
        /// The descriptor.
        fd: u32,
    },
    /// Room to write.
    FdWrite {
        /// The descriptor.
        fd: u32,
    },
}

impl SubscriptionKind {
    /// The type of the event that answers.
    pub const fn event_type(self) -> EventType {
        match self {
            SubscriptionKind::Clock { .. } => EventType::Clock,
            SubscriptionKind::FdRead { .. } => EventType::FdRead,
            SubscriptionKind::FdWrite { .. } => EventType::FdWrite,
        }
    }
}

impl Subscription {
    /// Reads a record; padding and flags that WASI Preview 1 does not define are ignored.
    ///
    /// # Errors
    ///
    /// [`Errno::Inval`] for a tag that is none of clock, read and write.
    pub fn decode(record: &[u8; SUBSCRIPTION_SIZE as usize]) -> Result<Self, Errno> {
        let [tag] = take::<8, 1, _>(record);
        let first = u32::from_le_bytes(take::<16, 4, _>(record));
        let kind = match EventType::from_raw(tag).ok_or(Errno::Inval)? {
            EventType::Clock => SubscriptionKind::Clock {
                id: first,
                timeout: u64::from_le_bytes(take::<24, 8, _>(record)),
                precision: u64::from_le_bytes(take::<32, 8, _>(record)),
                absolute: u16::from_le_bytes(take::<40, 2, _>(record)) & ABSTIME != 0,
            },
            EventType::FdRead => SubscriptionKind::FdRead { fd: first },
            EventType::FdWrite => SubscriptionKind::FdWrite { fd: first },
        };
        Ok(Subscription {
            userdata: u64::from_le_bytes(take::<0, 8, _>(record)),
            kind,
        })
    }

    /// The record as the guest writes it; padding is zero.
    pub fn encode(&self) -> [u8; SUBSCRIPTION_SIZE as usize] {
        let mut record = [0; SUBSCRIPTION_SIZE as usize];
        put::<0, _, _>(&mut record, self.userdata.to_le_bytes());
        put::<8, _, _>(&mut record, [self.kind.event_type().raw()]);
        match self.kind {
            SubscriptionKind::Clock {
                id,
                timeout,
                precision,
                absolute,
            } => {
                put::<16, _, _>(&mut record, id.to_le_bytes());
                put::<24, _, _>(&mut record, timeout.to_le_bytes());
                put::<32, _, _>(&mut record, precision.to_le_bytes());
                put::<40, _, _>(
                    &mut record,
                    if absolute { ABSTIME } else { 0 }.to_le_bytes(),
                );
            }
            SubscriptionKind::FdRead { fd } | SubscriptionKind::FdWrite { fd } => {
                put::<16, _, _>(&mut record, fd.to_le_bytes());
            }
        }
        record
    }
}

/// What kind of thing happened: `eventtype` of WASI Preview 1.
///
/// ```
/// use watm_abi::EventType;
///
/// assert_eq!(EventType::FdWrite.raw(), 2);
/// assert_eq!(EventType::from_raw(3), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventType {
    /// A point in time was reached.
    Clock = 0,
    /// A descriptor can be read, or its stream has ended.
    FdRead = 1,
    /// A descriptor can be written.
    FdWrite = 2,
}

impl EventType {
    /// The number of WASI Preview 1.
    pub const fn raw(self) -> u8 {
        self as u8
    }

    /// The type with this number, or `None` when there is none.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(EventType::Clock),
            1 => Some(EventType::FdRead),
            2 => Some(EventType::FdWrite),
            _ => None,
        }
    }
}

/// Something that happened: `event` of WASI Preview 1.
///
/// ```
/// use watm_abi::{Errno, Event, EventType};
///
/// // Descriptor 9 does not exist. That is an event of its subscription, with the value of that.
/// let event = Event {
///     userdata: 9,
///     error: Errno::Badf,
///     kind: EventType::FdRead,
///     nbytes: 0,
///     hangup: false,
/// };
/// assert_eq!(Event::decode(&event.encode())?, event);
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The value that the subscription carried.
    pub userdata: u64,
    /// What is wrong with the subscription; [`Errno::Success`] when nothing is. The end of a stream
    /// is no error.
    pub error: Errno,
    /// What kind of thing happened.
    pub kind: EventType,
    /// How many bytes can be read or written. Means nothing for a clock.
    pub nbytes: u64,
    /// Whether the other side is gone. Means nothing for a clock.
    pub hangup: bool,
}

impl Event {
    /// The record as the guest reads it; padding is zero.
    pub fn encode(&self) -> [u8; EVENT_SIZE as usize] {
        let mut record = [0; EVENT_SIZE as usize];
        put::<0, _, _>(&mut record, self.userdata.to_le_bytes());
        put::<8, _, _>(&mut record, self.error.raw().to_le_bytes());
        put::<10, _, _>(&mut record, [self.kind.raw()]);
        put::<16, _, _>(&mut record, self.nbytes.to_le_bytes());
        put::<24, _, _>(
            &mut record,
            if self.hangup { HANGUP } else { 0 }.to_le_bytes(),
        );
        record
    }

    /// Reads a record back; padding and flags that WASI Preview 1 does not define are ignored.
    ///
    /// # Errors
    ///
    /// [`Errno::Inval`] when the error or the type has a number that WASI Preview 1 does not
    /// define.
    pub fn decode(record: &[u8; EVENT_SIZE as usize]) -> Result<Self, Errno> {
        let [kind] = take::<10, 1, _>(record);
        Ok(Event {
            userdata: u64::from_le_bytes(take::<0, 8, _>(record)),
            error: Errno::from_raw(u16::from_le_bytes(take::<8, 2, _>(record)))
                .ok_or(Errno::Inval)?,
            kind: EventType::from_raw(kind).ok_or(Errno::Inval)?,
            nbytes: u64::from_le_bytes(take::<16, 8, _>(record)),
            hangup: u16::from_le_bytes(take::<24, 2, _>(record)) & HANGUP != 0,
        })
    }
}

/// Decodes the `count` subscriptions at `ptr` into `out`, which is cleared first and keeps its
/// capacity.
///
/// # Errors
///
/// - [`Errno::Inval`] for no subscription, for more than [`MAX_SUBSCRIPTIONS`], or for one with a
///   bad tag.
/// - [`Errno::Fault`] when the array is not wholly in memory.
///
/// `out` is then empty.
///
/// ```
/// use watm_abi::{Errno, GuestMemory, Subscription, SubscriptionKind, decode_subscriptions};
///
/// // `poll_oneoff(64, .., 1, ..)`
/// let mut memory = vec![0; 65536];
/// let kind = SubscriptionKind::FdWrite { fd: 5 };
/// memory.write_bytes(64, &Subscription { userdata: 1, kind }.encode())?;
/// let mut asked = Vec::new();
/// decode_subscriptions(&memory, 64, 1, &mut asked)?;
/// assert_eq!(asked[0].kind, kind);
/// // A guest that waits for nothing would wait for ever.
/// assert_eq!(decode_subscriptions(&memory, 64, 0, &mut asked), Err(Errno::Inval));
/// # Ok::<(), Errno>(())
/// ```
pub fn decode_subscriptions<M: GuestMemory + ?Sized>(
    memory: &M,
    ptr: u32,
    count: u32,
    out: &mut Vec<Subscription>,
) -> Result<(), Errno> {
    out.clear();
    if !(1..=MAX_SUBSCRIPTIONS).contains(&count) {
        return Err(Errno::Inval);
    }
    // Cannot overflow: `count` is at most `MAX_SUBSCRIPTIONS`.
    let array = memory.slice(ptr, count * SUBSCRIPTION_SIZE)?;
    let (records, _) = array.as_chunks::<{ SUBSCRIPTION_SIZE as usize }>();
    out.reserve(records.len());
    for record in records {
        match Subscription::decode(record) {
            Ok(subscription) => out.push(subscription),
            Err(errno) => {
                out.clear();
                return Err(errno);
            }
        }
    }
    Ok(())
}

/// Writes `events` at `ptr`, one after the other.
///
/// Only those: a guest reads every slot that it passed, so that the later ones have to stay as they
/// were. With no event, `ptr` may be anything.
///
/// # Errors
///
/// [`Errno::Fault`] when they do not all fit in memory; then nothing is written.
///
/// ```
/// use watm_abi::{EVENT_SIZE, Errno, Event, EventType, GuestMemory, write_events};
///
/// let event = |userdata| Event {
///     userdata,
///     error: Errno::Success,
///     kind: EventType::FdRead,
///     nbytes: 10,
///     hangup: false,
/// };
/// let mut memory = vec![0; 65536];
/// write_events(&mut memory, 1024, &[event(1), event(2)])?;
/// let second = memory.read_array(1024 + EVENT_SIZE)?;
/// assert_eq!(Event::decode(&second)?, event(2));
/// # Ok::<(), Errno>(())
/// ```
pub fn write_events<M: GuestMemory + ?Sized>(
    memory: &mut M,
    ptr: u32,
    events: &[Event],
) -> Result<(), Errno> {
    if events.is_empty() {
        return Ok(());
    }
    let count = u32::try_from(events.len()).map_err(|_| Errno::Fault)?;
    let len = count.checked_mul(EVENT_SIZE).ok_or(Errno::Fault)?;
    let (slots, _) = memory
        .slice_mut(ptr, len)?
        .as_chunks_mut::<{ EVENT_SIZE as usize }>();
    for (slot, event) in slots.iter_mut().zip(events) {
        *slot = event.encode();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subscriptions() -> impl Strategy<Value = Subscription> {
        let kind = prop_oneof![
            any::<(u32, u64, u64, bool)>().prop_map(|(id, timeout, precision, absolute)| {
                SubscriptionKind::Clock {
                    id,
                    timeout,
                    precision,
                    absolute,
                }
            }),
            any::<u32>().prop_map(|fd| SubscriptionKind::FdRead { fd }),
            any::<u32>().prop_map(|fd| SubscriptionKind::FdWrite { fd }),
        ];
        (any::<u64>(), kind).prop_map(|(userdata, kind)| Subscription { userdata, kind })
    }

    fn events() -> impl Strategy<Value = Event> {
        let kind = prop_oneof![
            Just(EventType::Clock),
            Just(EventType::FdRead),
            Just(EventType::FdWrite)
        ];
        let error = proptest::sample::select(Errno::ALL);
        (any::<(u64, u64, bool)>(), error, kind).prop_map(
            |((userdata, nbytes, hangup), error, kind)| Event {
                userdata,
                error,
                kind,
                nbytes,
                hangup,
            },
        )
    }

    fn memory_with(ptr: u32, subscriptions: &[Subscription]) -> Vec<u8> {
        let mut memory = vec![0u8; 65536];
        for (index, subscription) in subscriptions.iter().enumerate() {
            memory
                .write_bytes(ptr + 48 * index as u32, &subscription.encode())
                .unwrap();
        }
        memory
    }

    const READ: Subscription = Subscription {
        userdata: 7,
        kind: SubscriptionKind::FdRead { fd: 3 },
    };
    const EVENT: Event = Event {
        userdata: 7,
        error: Errno::Success,
        kind: EventType::FdRead,
        nbytes: 1,
        hangup: false,
    };

    #[test]
    fn the_fields_of_a_clock_subscription_lie_where_wasi_puts_them() {
        let mut expected = [0; 48];
        expected[0] = 0xAA; // userdata
        expected[16] = 1; // id
        expected[24] = 0xBB; // timeout
        expected[32] = 0xCC; // precision
        expected[40] = 1; // flags
        let kind = SubscriptionKind::Clock {
            id: ClockId::Monotonic.raw(),
            timeout: 0xBB,
            precision: 0xCC,
            absolute: true,
        };
        assert_eq!(
            Subscription {
                userdata: 0xAA,
                kind
            }
            .encode(),
            expected
        );
    }

    #[test]
    fn the_fields_of_a_descriptor_subscription_lie_where_wasi_puts_them() {
        let mut expected = [0; 48];
        expected[0] = 7;
        expected[8] = 1;
        expected[16] = 3;
        assert_eq!(READ.encode(), expected);
        expected[8] = 2;
        let write = Subscription::decode(&expected).unwrap();
        assert_eq!(write.kind, SubscriptionKind::FdWrite { fd: 3 });
    }

    #[test]
    fn the_fields_of_an_event_lie_where_wasi_puts_them() {
        let event = Event {
            userdata: 0x0102,
            error: Errno::Badf,
            kind: EventType::FdWrite,
            nbytes: 0x0304,
            hangup: true,
        };
        let mut expected = [0; 32];
        expected[..2].copy_from_slice(&[2, 1]);
        expected[8] = 8;
        expected[10] = 2;
        expected[16..18].copy_from_slice(&[4, 3]);
        expected[24] = 1;
        assert_eq!(event.encode(), expected);
    }

    #[test]
    fn a_subscription_with_a_bad_tag_is_invalid() {
        for tag in 3..=255 {
            let mut record = READ.encode();
            record[8] = tag;
            assert_eq!(Subscription::decode(&record), Err(Errno::Inval));
        }
    }

    #[test]
    fn undefined_flags_and_padding_of_a_subscription_are_ignored() {
        let kind = SubscriptionKind::Clock {
            id: 9,
            timeout: 1,
            precision: 2,
            absolute: false,
        };
        let clock = Subscription { userdata: 1, kind };
        let mut record = clock.encode();
        record[40..].fill(0xFE);
        record[9..16].fill(0xFF);
        record[20..24].fill(0xFF);
        assert_eq!(Subscription::decode(&record), Ok(clock));
    }

    #[test]
    fn an_event_with_undefined_numbers_is_invalid() {
        let mut record = EVENT.encode();
        record[10] = 3;
        assert_eq!(Event::decode(&record), Err(Errno::Inval));
        let mut record = EVENT.encode();
        record[8] = 77;
        assert_eq!(Event::decode(&record), Err(Errno::Inval));
    }

    #[test]
    fn the_clocks_have_the_numbers_of_wasi() {
        for raw in 0..4 {
            assert_eq!(ClockId::from_raw(raw).map(ClockId::raw), Some(raw));
        }
        assert_eq!(ClockId::from_raw(1), Some(ClockId::Monotonic));
        assert_eq!(ClockId::from_raw(4), None);
    }

    #[test]
    fn a_list_is_decoded_in_order_and_replaces_what_was_there() {
        let other = Subscription {
            userdata: 8,
            ..READ
        };
        let memory = memory_with(64, &[READ, other]);
        let mut out = vec![other; 5];
        decode_subscriptions(&memory, 64, 2, &mut out).unwrap();
        assert_eq!(out, [READ, other]);
    }

    #[test]
    fn a_list_reuses_its_memory() {
        let memory = memory_with(64, &[READ; 8]);
        let mut out = Vec::with_capacity(8);
        let before = out.as_ptr();
        decode_subscriptions(&memory, 64, 8, &mut out).unwrap();
        assert_eq!(out.as_ptr(), before);
    }

    #[test]
    fn no_subscription_and_too_many_are_invalid() {
        let memory = vec![0u8; 48 * 4097];
        let mut out = vec![READ];
        assert_eq!(
            decode_subscriptions(&memory, 0, 0, &mut out),
            Err(Errno::Inval)
        );
        assert_eq!(
            decode_subscriptions(&memory, 0, 4097, &mut out),
            Err(Errno::Inval)
        );
        assert_eq!(
            decode_subscriptions(&memory, 0, u32::MAX, &mut out),
            Err(Errno::Inval)
        );
        assert!(out.is_empty());
        assert_eq!(decode_subscriptions(&memory, 0, 4096, &mut out), Ok(()));
        assert_eq!(out.len(), 4096);
    }

    #[test]
    fn a_list_with_one_bad_record_is_invalid_and_leaves_nothing() {
        let mut memory = memory_with(64, &[READ; 3]);
        memory.write_u8(64 + 48 + 8, 3).unwrap();
        let mut out = vec![READ];
        assert_eq!(
            decode_subscriptions(&memory, 64, 3, &mut out),
            Err(Errno::Inval)
        );
        assert!(out.is_empty());
    }

    #[test]
    fn a_list_outside_of_memory_is_a_fault() {
        let memory = vec![0u8; 96];
        let mut out = vec![READ];
        assert_eq!(
            decode_subscriptions(&memory, 49, 1, &mut out),
            Err(Errno::Fault)
        );
        assert_eq!(
            decode_subscriptions(&memory, 0, 3, &mut out),
            Err(Errno::Fault)
        );
        assert_eq!(
            decode_subscriptions(&memory, u32::MAX, 1, &mut out),
            Err(Errno::Fault)
        );
        assert!(out.is_empty());
        assert_eq!(decode_subscriptions(&memory, 48, 1, &mut out), Ok(()));
    }

    #[test]
    fn only_the_slots_of_the_events_are_written() {
        let mut memory = vec![0xEE; 128];
        write_events(&mut memory, 32, &[EVENT, EVENT]).unwrap();
        assert_eq!(memory[..32], [0xEE; 32]);
        assert_eq!(memory[32..64], EVENT.encode());
        assert_eq!(memory[64..96], EVENT.encode());
        assert_eq!(memory[96..], [0xEE; 32]);
    }

    #[test]
    fn events_that_do_not_fit_are_a_fault_and_nothing_is_written() {
        let mut memory = vec![0xEE; 64];
        assert_eq!(
            write_events(&mut memory, 1, &[EVENT, EVENT]),
            Err(Errno::Fault)
        );
        assert_eq!(
            write_events(&mut memory, u32::MAX, &[EVENT]),
            Err(Errno::Fault)
        );
        assert_eq!(memory, [0xEE; 64]);
        assert_eq!(write_events(&mut memory, 0, &[EVENT, EVENT]), Ok(()));
    }

    #[test]
    fn no_event_is_written_anywhere() {
        assert_eq!(write_events(&mut vec![0u8; 0], u32::MAX, &[]), Ok(()));
    }

    proptest! {
        #[test]
        fn a_subscription_comes_back_as_it_was(subscription in subscriptions()) {
            prop_assert_eq!(Subscription::decode(&subscription.encode()), Ok(subscription));
        }

        #[test]
        fn an_event_comes_back_as_it_was(event in events()) {
            prop_assert_eq!(Event::decode(&event.encode()), Ok(event));
        }

        #[test]
        fn a_list_comes_back_as_it_was(
            list in proptest::collection::vec(subscriptions(), 1..20),
            ptr in 0u32..1000,
        ) {
            let memory = memory_with(ptr, &list);
            let mut out = Vec::new();
            prop_assert_eq!(
                decode_subscriptions(&memory, ptr, list.len() as u32, &mut out),
                Ok(())
            );
            prop_assert_eq!(out, list);
        }
    }
}
