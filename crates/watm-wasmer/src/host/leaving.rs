//! What a guest has closed, until the other sides may see the end of it and all of it has been
//! sent.
//!
//! A guest that closes everything and then returns an error must not look like one that ended well.
//! So what it closes is held back until the guest goes on or ends. Knows no descriptors.

use crate::channel::pipe::GuestEnd;
use crate::net::socket::NetStream;

/// Maximum number of sockets that the guest closed while bytes were waiting in them.
const LINGERING_SOCKETS: usize = 16;

#[derive(Default)]
#[expect(
    clippy::vec_box,
    reason = "they come out of descriptors in their boxes"
)]
pub(super) struct Leaving {
    /// The application's side, held back.
    internal: Option<GuestEnd>,
    /// Sockets that are held back.
    closed: Vec<Box<NetStream>>,
    /// Sockets that still have bytes to send.
    lingering: Vec<Box<NetStream>>,
    /// Whether bytes of a socket were lost.
    lost: bool,
    /// The guest has ended. A plain connection may now take its time to close.
    guest_ended: bool,
}

impl Leaving {
    pub(super) fn hold_internal(&mut self, internal: Option<GuestEnd>) {
        self.internal = internal;
    }

    pub(super) fn take_internal(&mut self) -> Option<GuestEnd> {
        self.internal.take()
    }

    pub(super) fn hold_net(&mut self, net: Box<NetStream>) {
        net.flush();
        self.closed.push(net);
    }

    /// Whether no more sockets can be held back.
    pub(super) fn is_full(&self) -> bool {
        self.closed.len() >= LINGERING_SOCKETS
    }

    /// Shows peers the end of what was held back. Returns whether bytes still have to be sent
    /// before it.
    pub(super) fn close_nets(&mut self) -> bool {
        let mut waits = false;
        for mut net in self.closed.drain(..) {
            net.close();
            if net.is_delivered(false) {
                self.lost |= net.is_lossy();
            } else {
                if self.lingering.len() == LINGERING_SOCKETS {
                    self.lost |= self.lingering.remove(0).is_lossy();
                }
                self.lingering.push(net);
                waits = true;
            }
        }
        waits
    }

    /// Sends waiting bytes. Returns whether some of them still wait.
    pub(super) fn flush(&mut self) -> bool {
        self.settle();
        !self.lingering.is_empty()
    }

    /// Whether a plain connection on the application's side is held back.
    pub(super) fn holds_plain(&self) -> bool {
        self.closed.iter().any(|net| net.is_plain())
    }

    pub(super) fn nets(&self) -> impl Iterator<Item = &Box<NetStream>> {
        self.closed.iter().chain(&self.lingering)
    }

    /// The sockets that events of the system refer to.
    pub(super) fn nets_mut(&mut self) -> impl Iterator<Item = &mut Box<NetStream>> {
        self.closed.iter_mut().chain(&mut self.lingering)
    }

    /// Shows all peers the end after the waiting bytes, since the guest has ended, or resets them.
    /// This includes the given sockets.
    pub(super) fn close_all(&mut self, more: impl Iterator<Item = Box<NetStream>>, resets: bool) {
        self.guest_ended = true;
        self.lingering.append(&mut self.closed);
        self.lingering.extend(more);
        for net in &self.lingering {
            if resets {
                // This includes a socket that the guest has already shut down for writing.
                net.reset_on_drop();
            }
            // First sends everything that waits.
            net.close();
        }
    }

    /// Drops the sockets that have sent everything or never will. Returns whether none are left.
    pub(super) fn settle(&mut self) -> bool {
        self.lingering.retain_mut(|net| {
            let waits_for_peer = self.guest_ended && net.is_plain();
            let done = net.is_delivered(waits_for_peer);
            self.lost |= done && net.is_lossy();
            !done
        });
        self.lingering.is_empty()
    }

    /// Whether no event tells when one of the sockets is done.
    pub(super) fn needs_looks(&self) -> bool {
        self.lingering
            .iter()
            .any(|net| net.needs_looks(self.guest_ended && net.is_plain()))
    }

    /// Whether bytes wait that the system has not taken.
    pub(super) fn waits(&self) -> bool {
        // Ask every socket to send, not only those up to the first that waits.
        self.lingering
            .iter()
            .fold(false, |waits, net| waits | !net.flush())
    }

    /// Gives up on the waiting bytes.
    pub(super) fn give_up(&mut self) {
        self.lost |= self.waits();
    }

    /// Whether any bytes were lost that the guest believes to be on their way.
    pub(super) fn has_lost(&self) -> bool {
        self.lost
    }
}
