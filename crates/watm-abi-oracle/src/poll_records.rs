//! The oracle for the records of `poll_oneoff`.
//!
//! Knows how subscriptions are read and events written, and models of both that handle one field at
//! a time.

use arbitrary::Arbitrary;
use watm_abi::{
    EVENT_SIZE, Errno, Event, EventType, MAX_SUBSCRIPTIONS, SUBSCRIPTION_SIZE, Subscription,
    SubscriptionKind, decode_subscriptions, write_events,
};

use crate::guest::{number, put};
use crate::{Addr, Count, Guest, List};

/// The unit of a large memory. The maximum number of subscriptions fits into it.
const UNIT: usize = 4;

/// A call of `poll_oneoff`.
#[derive(Clone, Debug, Arbitrary)]
pub struct PollCase {
    /// The memory.
    pub guest: Guest,
    /// Where the subscriptions lie.
    pub subscriptions_ptr: Addr,
    /// Number of subscriptions according to the guest.
    pub count: Count,
    /// Subscriptions to put there: a record, and a valid tag that replaces its own.
    pub records: List<([u8; SUBSCRIPTION_SIZE as usize], Option<u8>)>,
    /// Where the events go.
    pub events_ptr: Addr,
    /// What happened.
    pub events: List<EventCase>,
}

/// An event, as arbitrary parts.
#[derive(Clone, Debug, Arbitrary)]
pub struct EventCase {
    /// `userdata`, `nbytes` and `hangup`.
    pub fields: (u64, u64, bool),
    /// The error, modulo the number of errors.
    pub error: u8,
    /// The type, modulo the number of types.
    pub kind: u8,
}

impl EventCase {
    fn event(&self) -> Event {
        let (userdata, nbytes, hangup) = self.fields;
        let error = Errno::from_raw(u16::from(self.error) % 77).expect("there are 77 errors");
        let kind = EventType::from_raw(self.kind % 3).expect("there are 3 types");
        Event {
            userdata,
            error,
            kind,
            nbytes,
            hangup,
        }
    }
}

/// The results of reading the subscriptions and writing the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollOutcome {
    /// Number of subscriptions read.
    pub read: Result<usize, Errno>,
    /// Number of events written.
    pub written: Result<usize, Errno>,
}

/// Reads the subscriptions, writes the events, and compares both with the models.
pub fn poll_records(case: &PollCase) -> PollOutcome {
    let mut memory = case.guest.memory(UNIT);
    let size = memory.len();
    let ptr = case.subscriptions_ptr.resolve(size);
    for (index, (record, tag)) in (0..).zip(&*case.records) {
        let mut record = *record;
        record[8] = match tag {
            None => record[8],
            Some(tag) => tag % 3,
        };
        put(&mut memory, u64::from(ptr) + 48 * index, &record);
    }
    let read = read(
        &memory,
        ptr,
        case.count.resolve(case.records.len(), MAX_SUBSCRIPTIONS),
    );

    let events: Vec<Event> = case.events.iter().map(EventCase::event).collect();
    let written = write(memory, case.events_ptr.resolve(size), &events);
    PollOutcome { read, written }
}

fn read(memory: &[u8], ptr: u32, count: u32) -> Result<usize, Errno> {
    // An entry from before the call: it must be gone, whatever happens.
    let stale = Subscription {
        userdata: 1,
        kind: SubscriptionKind::FdRead { fd: 2 },
    };
    let mut list = vec![stale; 3];
    let got = decode_subscriptions(memory, ptr, count, &mut list);
    let expected = read_model(memory, ptr, count);
    assert_eq!(got, expected.as_ref().map(|_| ()).map_err(|errno| *errno));
    assert_eq!(list, expected.unwrap_or_default());
    for subscription in &list {
        assert_eq!(
            Subscription::decode(&subscription.encode()),
            Ok(*subscription)
        );
    }
    got.map(|()| list.len())
}

fn read_model(memory: &[u8], ptr: u32, count: u32) -> Result<Vec<Subscription>, Errno> {
    if count == 0 || count > 4096 {
        return Err(Errno::Inval);
    }
    if u64::from(ptr) + 48 * u64::from(count) > memory.len() as u64 {
        return Err(Errno::Fault);
    }
    let mut list = Vec::new();
    for index in 0..u64::from(count) {
        let record = u64::from(ptr) + 48 * index;
        let field = |at, width| number(memory, record + at, width).ok_or(Errno::Fault);
        let kind = match field(8, 1)? {
            0 => SubscriptionKind::Clock {
                id: field(16, 4)? as u32,
                timeout: field(24, 8)?,
                precision: field(32, 8)?,
                absolute: field(40, 2)? % 2 == 1,
            },
            1 => SubscriptionKind::FdRead {
                fd: field(16, 4)? as u32,
            },
            2 => SubscriptionKind::FdWrite {
                fd: field(16, 4)? as u32,
            },
            _ => return Err(Errno::Inval),
        };
        list.push(Subscription {
            userdata: field(0, 8)?,
            kind,
        });
    }
    Ok(list)
}

fn write(mut memory: Vec<u8>, ptr: u32, events: &[Event]) -> Result<usize, Errno> {
    let mut expected = memory.clone();
    let end = u64::from(ptr) + 32 * events.len() as u64;
    let fits = events.is_empty() || end <= memory.len() as u64;
    let got = write_events(&mut memory, ptr, events);
    assert_eq!(got, if fits { Ok(()) } else { Err(Errno::Fault) });
    if fits {
        for (index, event) in (0..).zip(events) {
            let at = u64::from(ptr) + index * u64::from(EVENT_SIZE);
            put(&mut expected, at, &[0; 32]);
            put(&mut expected, at, &event.userdata.to_le_bytes());
            put(&mut expected, at + 8, &event.error.raw().to_le_bytes());
            put(&mut expected, at + 10, &[event.kind.raw()]);
            put(&mut expected, at + 16, &event.nbytes.to_le_bytes());
            put(&mut expected, at + 24, &[u8::from(event.hangup)]);
            assert_eq!(Event::decode(&event.encode()), Ok(*event));
        }
    }
    // Compares the whole memory, to catch an extra slot or a stray byte.
    assert!(
        memory == expected,
        "memory differs after {events:?} at {ptr}"
    );
    got.map(|()| events.len())
}
