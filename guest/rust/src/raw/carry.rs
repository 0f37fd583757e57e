//! The worker on descriptors.

use std::thread;
use std::time::Duration;

use super::descriptor::{Descriptor, Shutdown};
use super::poll::{Event, Subscription, poll};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::worker::{self, Host, Interests, Limits, Ready, Side};

/// Moves the bytes of a connection until both directions have ended: the worker of all transports.
///
/// `control` is the descriptor that becomes readable when the host asks for the end. `encoder` gets
/// what is read from `internal`, and `decoder` what is read from `network`. The descriptors become
/// non-blocking. None is closed.
///
/// The limits are those that [`Transport`](crate::Transport) has by default.
///
/// # Errors
///
/// [`Error::CANCELED`] when the host asks for the end, which is what `watm_start_v1` should return
/// then. Otherwise the error of a codec or of a descriptor.
///
/// ```
/// use watm_guest::raw::{self, Descriptor};
/// use watm_guest::Identity;
///
/// /// What `watm_start_v1` returns, once the other exports have got the three descriptors.
/// fn start(control: i32, internal: i32, network: i32) -> i32 {
///     let [control, internal, network] = [control, internal, network].map(Descriptor::from_raw);
///     match raw::carry(&control, &internal, &network, Identity, Identity) {
///         Ok(()) => 0,
///         Err(error) => error.negated(),
///     }
/// }
/// # assert_eq!(start(5, 3, 4), watm_guest::Error::NOSYS.negated());
/// ```
pub fn carry(
    control: &Descriptor,
    internal: &Descriptor,
    network: &Descriptor,
    encoder: impl Codec,
    decoder: impl Codec,
) -> Result<()> {
    let limits = Limits::DEFAULT;
    let session = Session {
        encoder,
        decoder,
        unread: Vec::new(),
    };
    worker::run(
        &mut Descriptors::new(control, internal, network)?,
        session,
        limits,
    )
}

/// The worker's host in a module.
pub(crate) struct Descriptors<'a> {
    control: &'a Descriptor,
    internal: &'a Descriptor,
    network: &'a Descriptor,
}

const CONTROL: u64 = 0;
const INTERNAL_READ: u64 = 1;
const INTERNAL_WRITE: u64 = 2;
const NETWORK_READ: u64 = 3;
const NETWORK_WRITE: u64 = 4;
const NO_WAIT: u64 = 5;

impl<'a> Descriptors<'a> {
    pub(crate) fn new(
        control: &'a Descriptor,
        internal: &'a Descriptor,
        network: &'a Descriptor,
    ) -> Result<Self> {
        for descriptor in [control, internal, network] {
            descriptor.set_nonblocking(true)?;
        }
        // The worker's own polls ask for room after a refused write, and so too late for the sign.
        // No event of this one counts, nor does its failure: the next poll meets what is wrong.
        let sign = sign(internal, network);
        let _ = poll(&sign, &mut [Event::default(); 3]);
        Ok(Descriptors {
            control,
            internal,
            network,
        })
    }

    fn side(&self, side: Side) -> &Descriptor {
        match side {
            Side::Internal => self.internal,
            Side::Network => self.network,
        }
    }

    /// Whether control was used. One byte says so, or the end of the stream.
    fn is_cancelled(&self) -> Result<bool> {
        match self.control.read(&mut [0]) {
            Ok(_) => Ok(true),
            Err(Error::AGAIN) | Err(Error::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What tells a host that refused writes are handled: see [`Subscription::writable`]. A poll of it
/// waits for nothing.
fn sign(internal: &Descriptor, network: &Descriptor) -> [Subscription; 3] {
    [
        Subscription::writable(internal, INTERNAL_WRITE),
        Subscription::writable(network, NETWORK_WRITE),
        Subscription::timeout(Duration::ZERO, NO_WAIT),
    ]
}

impl Host for Descriptors<'_> {
    fn poll(&mut self, wanted: Interests) -> Result<Ready> {
        let control = Subscription::readable(self.control, CONTROL);
        let mut subscriptions = [control; 5];
        let mut count = 1;
        let mut add = |is_wanted: bool, subscription: Subscription| {
            if is_wanted {
                subscriptions[count] = subscription;
                count += 1;
            }
        };
        add(
            wanted.internal.read,
            Subscription::readable(self.internal, INTERNAL_READ),
        );
        add(
            wanted.internal.write,
            Subscription::writable(self.internal, INTERNAL_WRITE),
        );
        add(
            wanted.network.read,
            Subscription::readable(self.network, NETWORK_READ),
        );
        add(
            wanted.network.write,
            Subscription::writable(self.network, NETWORK_WRITE),
        );

        let mut events = [Event::default(); 5];
        let filled = match poll(&subscriptions[..count], &mut events) {
            Ok(filled) => filled,
            Err(Error::INTR) => 0,
            Err(error) => return Err(error),
        };
        if filled == 0 {
            // No host should do so. Those that do would keep the processor busy.
            thread::sleep(Duration::from_micros(100));
        }
        let mut ready = Ready::default();
        for event in &events[..filled] {
            // The descriptor does not exist. Read and written on, it would be reported for ever.
            if let Some(error) = event.error() {
                return Err(error);
            }
            match event.token() {
                CONTROL => ready.cancelled = self.is_cancelled()?,
                INTERNAL_READ => ready.sides.internal.read = true,
                INTERNAL_WRITE => ready.sides.internal.write = true,
                NETWORK_READ => ready.sides.network.read = true,
                NETWORK_WRITE => ready.sides.network.write = true,
                _ => return Err(Error::IO),
            }
        }
        Ok(ready)
    }

    fn read(&mut self, side: Side, buffer: &mut [u8]) -> Result<usize> {
        self.side(side).read(buffer)
    }

    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize> {
        self.side(side).write(bytes)
    }

    fn shutdown_write(&mut self, side: Side) -> Result<()> {
        self.side(side).shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_asks_for_room_on_both_streams_and_waits_for_nothing() {
        let [internal, network, timeout] = sign(&Descriptor::from_raw(3), &Descriptor::from_raw(4));
        let writable = |number, token| {
            let subscription = Subscription::writable(&Descriptor::from_raw(number), token);
            format!("{subscription:?}")
        };
        assert_eq!(format!("{internal:?}"), writable(3, INTERNAL_WRITE));
        assert_eq!(format!("{network:?}"), writable(4, NETWORK_WRITE));
        let zero = Subscription::timeout(Duration::ZERO, NO_WAIT);
        assert_eq!(format!("{timeout:?}"), format!("{zero:?}"));
    }
}
