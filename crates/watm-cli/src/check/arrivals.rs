//! The connections that a module makes while it is set up. It may make several: the one that it
//! uses is looked for among them.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use watm_wasmer::Acceptor;

use super::partner::accepted;
use super::refusal::{Refusal, refusal};
use super::side::Side;
use super::tap::Tap;
use crate::carry::poll::{Interest, wait_until};

/// How often is looked whether the module has made its last connection: before its first, and then.
const LOOK: Duration = Duration::from_millis(10);
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// The most connections that are accepted. Each may have a peer with an instance of its own.
const MOST: usize = 64;

pub(super) struct Arrivals {
    listener: TcpListener,
    /// Of the module at the other end, if there is one.
    acceptor: Option<Acceptor>,
    all: Vec<Arrival>,
}

/// A connection that has arrived. What was not asked for is closed when its peer gives up or the
/// module ends it.
pub(super) struct Arrival {
    from: SocketAddr,
    side: Receiver<Result<Side, Refusal>>,
}

impl Arrivals {
    pub(super) fn new(listener: TcpListener, acceptor: Option<Acceptor>) -> Self {
        Self {
            listener,
            acceptor,
            all: Vec::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Takes what the module connects, until it has made its last connection. The far side of each
    /// begins with what `greet` does, if it is a plain socket.
    pub(super) fn gather(
        &mut self,
        deadline: Instant,
        is_done: impl Fn() -> bool,
        greet: impl Fn(&Side),
    ) -> Result<(), Refusal> {
        loop {
            // The last look comes after the question.
            let is_last = is_done() || Instant::now() >= deadline;
            let look = if self.all.is_empty() {
                LOOK
            } else {
                LOOK_AGAIN
            };
            let until = |is_last| Instant::now() + if is_last { Duration::ZERO } else { look };
            while self.take(until(is_last), &greet)? {
                if is_last && self.all.len() >= MOST {
                    break;
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Takes one connection, if it comes in time.
    fn take(&mut self, until: Instant, greet: &impl Fn(&Side)) -> Result<bool, Refusal> {
        if self.all.len() >= MOST {
            thread::sleep(until.saturating_duration_since(Instant::now()));
            return Ok(false);
        }
        if !wait_until(self.listener.as_fd(), Interest::Readable, until)? {
            return Ok(false);
        }
        let (socket, from) = self.listener.accept()?;
        // A connection that has been reset takes no options.
        let _ = socket.set_nodelay(true);
        let side = self.far_side(socket, greet)?;
        self.all.push(Arrival { from, side });
        Ok(true)
    }

    fn far_side(
        &self,
        socket: TcpStream,
        greet: &impl Fn(&Side),
    ) -> io::Result<Receiver<Result<Side, Refusal>>> {
        let (sender, side) = bounded(1);
        match self.acceptor.clone() {
            // A module that the connection is of no use for may wait in its handshake for long.
            Some(acceptor) => {
                thread::Builder::new().spawn(move || {
                    // Nobody may be waiting for it any more.
                    let _ = sender.send(accepted(&acceptor, socket));
                })?;
            }
            None => {
                let far = Side::Tcp(socket);
                greet(&far);
                // There is room for one.
                let _ = sender.send(Ok(far));
            }
        }
        Ok(side)
    }

    /// Looks for the connection that the module has at this address: the first, if it is not known.
    /// There may be a tap in between, through which it comes later.
    pub(super) fn find(
        &mut self,
        at: Option<SocketAddr>,
        tap: Option<&Tap>,
        deadline: Instant,
    ) -> Result<usize, Refusal> {
        loop {
            let found = match (at, tap) {
                (None, _) => (!self.all.is_empty()).then_some(0),
                (Some(at), None) => self.position(at),
                (Some(at), Some(tap)) => tap.onward(at).and_then(|at| self.position(at)),
            };
            if let Some(found) = found {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(self.none());
            }
            self.take(Instant::now() + LOOK_AGAIN, &|_: &Side| {})?;
        }
    }

    fn position(&self, from: SocketAddr) -> Option<usize> {
        self.all.iter().position(|arrival| arrival.from == from)
    }

    fn none(&self) -> Refusal {
        match self.all.len() {
            0 => Refusal::NoConnection,
            count => refusal(
                &format!("the module uses none of the first {count} connections that it made"),
                false,
            ),
        }
    }

    /// The far side of the connection with this index, once its peer is set up.
    pub(super) fn far(&self, index: usize, deadline: Instant) -> Result<Side, Refusal> {
        let arrival = self.all.get(index).ok_or(Refusal::NoConnection)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let side = arrival.side.recv_timeout(left);
        side.unwrap_or_else(|_| Err(refusal("at its peer, the handshake did not end", false)))
    }

    /// The connections, to be kept for as long as the one among them that is used.
    pub(super) fn into_all(self) -> Vec<Arrival> {
        self.all
    }
}
