//! The application's side of a connection that a transport carries: a plain connection behind the
//! internal descriptor, in place of a pipe.
//!
//! The guest reads and writes it like a network connection. What differs is what follows from its
//! end: the application of a pipe waits for the transport and closes it, but nobody stands behind a
//! plain connection. So the transport gets a limited time once the plain connection has ended in
//! both directions. This file knows neither who accepted the connection nor how it is announced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use watm_abi::Errno;

use crate::channel::link::{Level, Side, Stage};
use crate::channel::supervisor;
use crate::host::Host;
use crate::host::descriptor::{Call, Descriptor, Kind};
use crate::net::address::{Address, Network};
use crate::net::connect::Outgoing;
use crate::net::socket::NetStream;
use crate::net::stream::Stream;

mod named;

/// A plain server that the application's side connects to.
#[derive(Clone)]
pub(crate) struct Target {
    /// `None` if the client names it, in front of its bytes.
    pub(crate) address: Option<Address>,
    pub(crate) outgoing: Outgoing,
}

/// A plain connection, as it is handed to the host.
pub(super) enum Plain {
    Connected(Stream),
    /// It is made once the transport is set up, or when the guest first writes to it.
    To(Target),
    /// It is made once the client has named its target. These are the bytes that have come of that.
    Named(Outgoing, Vec<u8>),
}

/// How long the transport of a plain connection may take to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// After the plain connection has ended in both directions.
    pub(crate) patience: Duration,
    /// After it was closed, as after a close by the application.
    pub(crate) grace: Duration,
    /// For a client to name its target.
    pub(crate) naming: Duration,
}

/// What is known of a plain connection on the application's side.
pub(super) struct PlainSide {
    pub(super) limits: Limits,
    /// What there is before the guest has a descriptor of a socket for it.
    pub(super) plain: Option<Plain>,
    /// Whether the application's side is a plain connection.
    pub(super) is_there: bool,
    /// The system has said something of it that may be its end.
    pub(super) has_news: bool,
    /// The guest has read its end, or reads no more.
    read_over: bool,
    /// The guest writes no more.
    write_over: bool,
    /// It was noticed that both directions have ended.
    is_over: bool,
    /// The guest has been told to end, since it has lost the other side.
    is_closing: bool,
}

impl PlainSide {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            plain: None,
            is_there: false,
            has_news: false,
            read_over: false,
            write_over: false,
            is_over: false,
            is_closing: false,
        }
    }

    pub(super) fn set(&mut self, plain: Plain) {
        self.plain = Some(plain);
        self.is_there = true;
    }

    /// Whether the transport has no more business with it.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Host {
    /// The descriptor of a plain connection, which may not be connected yet.
    pub(super) fn plain_descriptor(&mut self) -> Result<Descriptor, Errno> {
        let kind = match self.plain_side.plain.take() {
            Some(Plain::Connected(stream)) => {
                let net = self.plain_net(stream);
                Kind::Net(net.map_err(|error| Errno::from_io(&error))?)
            }
            Some(target) => {
                self.plain_side.plain = Some(target);
                Kind::Unconnected
            }
            None => Kind::Internal,
        };
        Ok(Descriptor::new(kind))
    }

    fn plain_net(&mut self, stream: Stream) -> std::io::Result<Box<NetStream>> {
        let (side, keepalive) = (Side::Application, self.connections.keepalive);
        let link = Arc::clone(&self.link);
        let net = NetStream::new(stream, side, keepalive, link, &mut self.reactor)?;
        if let Some(guard) = &self.guard {
            guard.add(net.outbound());
        }
        Ok(Box::new(net))
    }

    /// Connects the application's side to its target, if that has yet to be done and the guest has
    /// not closed the descriptor.
    ///
    /// # Errors
    ///
    /// If there is no connection; [`Host::take_failure`] has the reason.
    pub(crate) fn connect_target(&mut self) -> Call<()> {
        let Some(Plain::To(target)) = &self.plain_side.plain else {
            return Ok(());
        };
        let Target { address, outgoing } = target.clone();
        let Some(address) = address else {
            return Ok(());
        };
        self.connect_plain(outgoing, &address, false)
    }

    /// Connects the application's side.
    fn connect_plain(
        &mut self,
        mut outgoing: Outgoing,
        address: &Address,
        chosen_by_client: bool,
    ) -> Call<()> {
        let Some(fd) = self.unconnected() else {
            return Ok(());
        };
        outgoing.client = self.connections.client;
        let stream = self.connect_to(&outgoing, Network::Tcp, address, chosen_by_client)?;
        let net = self
            .plain_net(stream)
            .map_err(|error| Errno::from_io(&error))?;
        self.descriptors.get_mut(fd)?.kind = Kind::Net(net);
        self.plain_side.plain = None;
        Ok(())
    }

    /// Whether the application's side has not been connected to its target.
    pub(crate) fn awaits_target(&self) -> bool {
        matches!(self.plain_side.plain, Some(Plain::To(_) | Plain::Named(..)))
    }

    fn unconnected(&self) -> Option<u32> {
        let mut open = self.descriptors.iter();
        open.find_map(|(fd, open)| matches!(open.kind, Kind::Unconnected).then_some(fd))
    }

    /// Whether this is the descriptor of a plain connection on the application's side.
    pub(super) fn is_plain(&self, fd: u32) -> bool {
        self.descriptors
            .get(fd)
            .is_ok_and(|open| matches!(&open.kind, Kind::Net(net) if net.is_plain()))
    }

    /// Called when a read has shown the end of a stream, or has failed.
    pub(super) fn note_plain_read(&mut self, fd: u32) {
        if self.is_plain(fd) {
            self.plain_ends(true, false);
        }
    }

    /// Called when the guest ends one direction of the plain connection or both.
    pub(super) fn plain_ends(&mut self, read: bool, write: bool) {
        self.plain_side.read_over |= read;
        self.plain_side.write_over |= write;
        self.check_plain();
    }

    /// Looks at what has become of the plain connection, for a guest that does not look itself.
    pub(super) fn look_at_plain(&mut self) {
        self.plain_side.has_news = false;
        for (_, open) in self.descriptors.iter_mut() {
            if let Kind::Net(net) = &mut open.kind
                && net.is_plain()
            {
                self.plain_side.has_news |= net.look();
            }
        }
        self.check_plain();
    }

    /// Whether both directions have ended, as far as the guest is concerned, and it has yet to be
    /// noticed.
    pub(super) fn may_be_over(&self) -> bool {
        let plain = &self.plain_side;
        plain.read_over && plain.write_over && !plain.is_over
    }

    /// Limits the time of the transport if the plain connection has ended in both directions.
    /// Called whenever that may have come about.
    pub(super) fn check_plain(&mut self) {
        if !self.plain_side.is_there || self.plain_side.is_over {
            return;
        }
        let is_lost = self.link.plain_lost().is_some();
        if is_lost && self.link.give_up(Stage::GivenUp) {
            // Nobody waits for the transport any more.
            self.plain_side.is_over = true;
            return;
        }
        if is_lost || self.may_be_over() && self.is_plain_sent() {
            self.plain_side.is_over = true;
            if let Some(guard) = &self.guard {
                guard.end_guest();
            }
        }
    }

    /// Whether the system has taken all that the guest wrote to the plain connection.
    fn is_plain_sent(&self) -> bool {
        let open = self
            .descriptors
            .iter()
            .filter_map(|(_, open)| match &open.kind {
                Kind::Net(net) => Some(net),
                _ => None,
            });
        open.chain(self.leaving.nets())
            .all(|net| !net.is_plain() || net.is_write_over())
    }

    /// Called before the plain connection sees the end of the stream while the guest goes on. If
    /// the guest has met a failure of the other side, the plain connection is reset in place of
    /// that, and the guest has to end.
    pub(super) fn explain_plain_end(&mut self) {
        if !self.plain_side.is_closing && self.explain_end() {
            self.plain_side.is_closing = true;
            self.link.set_broken();
            self.link.raise(Level::Closing);
            let grace = self.plain_side.limits.grace;
            supervisor::end_guest_at(Instant::now(), &self.link, grace);
        }
    }
}

#[cfg(test)]
mod tests;
