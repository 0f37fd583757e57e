//! `poll_oneoff`: its records, and the call.

use std::time::Duration;

use super::descriptor::Descriptor;
use super::sys;
use crate::error::{Error, Result};

const CLOCK: u8 = 0;
const READ: u8 = 1;
const WRITE: u8 = 2;

/// What a poll waits for: a `subscription` of WASI, of 48 bytes.
///
/// ```
/// use std::time::Duration;
/// use watm_guest::raw::{self, Descriptor, Event, Subscription};
/// use watm_guest::Result;
///
/// const INPUT: u64 = 0;
/// const PADDING: u64 = 1;
///
/// /// Whether there is something to read before it is time to send padding.
/// fn has_input(internal: &Descriptor) -> Result<bool> {
///     let wanted = [
///         Subscription::readable(internal, INPUT),
///         Subscription::timeout(Duration::from_millis(500), PADDING),
///     ];
///     let mut events = [Event::default(); 2];
///     let count = raw::poll(&wanted, &mut events)?;
///     Ok(events[..count].iter().any(|event| event.token() == INPUT))
/// }
/// # assert_eq!(has_input(&Descriptor::from_raw(3)), Err(watm_guest::Error::NOSYS));
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Subscription {
    userdata: u64,
    tag: u8,
    padding: [u8; 7],
    /// A union. Of a descriptor: its number, in the first 4 bytes. Of a clock: its number, the
    /// time, the precision and the flags, each in 8 bytes.
    body: [u64; 4],
}

/// What has happened: an `event` of WASI, of 32 bytes.
///
/// ```
/// use watm_guest::raw::Event;
/// use watm_guest::Result;
///
/// /// The tokens of what has happened, or why a descriptor cannot be waited for.
/// fn tokens(events: &[Event]) -> Result<Vec<u64>> {
///     let token = |event: &Event| event.error().map_or(Ok(event.token()), Err);
///     events.iter().map(token).collect()
/// }
/// # assert_eq!(tokens(&[Event::default()]), Ok(vec![0]));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Event {
    userdata: u64,
    error: u16,
    tag: u8,
    bytes: u64,
    flags: u16,
}

const _: () =
    assert!(std::mem::size_of::<Subscription>() == 48 && std::mem::align_of::<Subscription>() == 8);
const _: () = assert!(std::mem::size_of::<Event>() == 32 && std::mem::align_of::<Event>() == 8);

impl Subscription {
    /// Waits until there is something to read, be it the end of the stream. `token` comes back in
    /// the event.
    pub fn readable(descriptor: &Descriptor, token: u64) -> Self {
        Subscription::of_descriptor(READ, descriptor, token)
    }

    /// Waits until there is room to write.
    ///
    /// A host may take this as the sign that the module can handle a refused write, also elsewhere.
    /// Without the sign, a write that has no room may stop the whole module until there is room: no
    /// other direction goes on meanwhile. So a worker should give it before its first write, in a
    /// poll that also has a [`timeout`](Self::timeout) of zero. [`carry`](super::carry()) does so.
    pub fn writable(descriptor: &Descriptor, token: u64) -> Self {
        Subscription::of_descriptor(WRITE, descriptor, token)
    }

    /// Waits for a time from now on, of up to 584 years, on the monotonic clock.
    pub fn timeout(timeout: Duration, token: u64) -> Self {
        const MONOTONIC: u64 = 1;
        let time = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Subscription {
            userdata: token,
            tag: CLOCK,
            padding: [0; 7],
            body: [MONOTONIC, time, 0, 0],
        }
    }

    fn of_descriptor(tag: u8, descriptor: &Descriptor, token: u64) -> Self {
        // WASI has little-endian records, and 4 bytes of padding after the number.
        let number = u64::from(descriptor.as_raw() as u32).to_le();
        Subscription {
            userdata: token,
            tag,
            padding: [0; 7],
            body: [number, 0, 0, 0],
        }
    }
}

impl Event {
    /// The token of the subscription.
    pub const fn token(&self) -> u64 {
        self.userdata
    }

    /// Why the subscription has failed: most often [`Error::BADF`]. A stream that has ended or was
    /// reset is no failure. It is readable, and the read tells.
    pub const fn error(&self) -> Option<Error> {
        match self.error {
            0 => None,
            number => Some(Error::from_raw(number)),
        }
    }
}

/// Waits until something has happened: `poll_oneoff`. Returns how many events, from the first on,
/// the host has filled in.
///
/// `events` must have room for as many as there are subscriptions. Hosts return with no event only
/// by mistake, so a caller must not poll again at once.
///
/// # Errors
///
/// [`Error::INVAL`] if there are no subscriptions, or fewer events than subscriptions.
///
/// ```
/// use watm_guest::raw::{self, Descriptor, Event, Subscription};
/// use watm_guest::Result;
///
/// /// Waits until there is room to write.
/// fn wait_for_room(network: &Descriptor) -> Result<()> {
///     let mut events = [Event::default()];
///     raw::poll(&[Subscription::writable(network, 0)], &mut events)?;
///     events[0].error().map_or(Ok(()), Err)
/// }
/// ```
pub fn poll(subscriptions: &[Subscription], events: &mut [Event]) -> Result<usize> {
    if subscriptions.is_empty() || events.len() < subscriptions.len() {
        return Err(Error::INVAL);
    }
    let count = sys::poll_oneoff(subscriptions, &mut events[..subscriptions.len()])?;
    Ok(count.min(subscriptions.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_has_the_number_where_wasi_has_it() {
        let subscription = Subscription::writable(&Descriptor::from_raw(0x0102_0304), 7);
        assert_eq!((subscription.userdata, subscription.tag), (7, 2));
        assert_eq!(subscription.body[0].to_ne_bytes()[..4], [4, 3, 2, 1]);
        assert_eq!(Subscription::readable(&Descriptor::from_raw(5), 0).tag, 1);
    }

    #[test]
    fn a_timeout_is_in_nanoseconds() {
        let subscription = Subscription::timeout(Duration::from_millis(3), 9);
        assert_eq!((subscription.userdata, subscription.tag), (9, 0));
        assert_eq!(subscription.body, [1, 3_000_000, 0, 0]);
        assert_eq!(Subscription::timeout(Duration::MAX, 0).body[1], u64::MAX);
    }

    #[test]
    fn a_poll_needs_subscriptions_and_room_for_their_events() {
        let subscription = Subscription::timeout(Duration::ZERO, 0);
        assert_eq!(poll(&[], &mut []), Err(Error::INVAL));
        assert_eq!(poll(&[subscription], &mut []), Err(Error::INVAL));
    }

    #[test]
    fn an_event_without_an_error_has_none() {
        assert_eq!(Event::default().error(), None);
        assert_eq!(
            Event {
                error: 8,
                ..Event::default()
            }
            .error(),
            Some(Error::BADF)
        );
    }
}
