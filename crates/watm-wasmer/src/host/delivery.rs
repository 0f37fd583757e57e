//! What happens to bytes in transit when a guest has closed a descriptor or has ended.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::error::TransportError;
use crate::host::Host;
use crate::host::descriptor::{Descriptor, Kind};

impl Host {
    pub(super) fn dispose(&mut self, descriptor: Descriptor) {
        if !descriptor.kind.is_of_file_system() {
            self.find_pair();
        }
        match descriptor.kind {
            Kind::Unconnected => self.plain_ends(true, true),
            Kind::Internal => self.leaving.hold_internal(self.internal.take()),
            Kind::Net(net) => {
                if self.leaving.is_full() {
                    self.close_for_good();
                }
                let is_plain = net.is_plain();
                self.leaving.hold_net(net);
                if is_plain {
                    self.plain_ends(true, true);
                }
            }
            Kind::Control | Kind::Std(_) | Kind::Directory(_) | Kind::File(_) => {}
        }
    }

    /// Shows the other sides the end of what the guest has closed. The guest now reads, polls or
    /// dials, so it does not end with an error right after the close.
    pub(super) fn close_for_good(&mut self) {
        if let Some(internal) = self.leaving.take_internal() {
            self.explain_end();
            drop(internal);
        }
        if self.leaving.holds_plain() {
            self.explain_plain_end();
        }
        self.writes.unsent |= self.leaving.close_nets();
    }

    /// Called before the application sees the end of the stream while the guest goes on. If the
    /// guest has met a failure of the connection, the application reads that failure instead of the
    /// end. Returns whether it has.
    pub(super) fn explain_end(&self) -> bool {
        let lost = match (self.link.plain_lost(), self.learnt.lost()) {
            (Some(errno), _) => TransportError::PlainLost { errno },
            (None, Some(errno)) => TransportError::ConnectionLost { errno },
            (None, None) => return false,
        };
        self.link.set_outcome(Err(lost));
        true
    }

    /// Called when the guest has ended in any way. The application reads what is left and then the
    /// end.
    pub(crate) fn end_guest(&mut self) {
        self.internal = None;
        drop(self.leaving.take_internal());
        self.reads.set_pair(None);
        if let Some(incoming) = self.connections.incoming.take()
            && !self.link.is_broken()
        {
            incoming.end_on_drop();
        }
    }

    /// Delivers what the guest wrote, for at most `limit`, and gives the peers the chance to
    /// receive it. The peers then see the end, or are reset if the connection has failed. A stop
    /// ends this early. A plain client is slow for reasons of its own: as long as it takes
    /// something within `limit`, it has `limit` for more.
    ///
    /// # Errors
    ///
    /// Fails if bytes were left, or if the reactor failed.
    pub(crate) fn drain(&mut self, limit: Duration) -> io::Result<()> {
        let mut deadline = Instant::now() + limit;
        let mut taken = self.plain_sent();
        let nets = self.descriptors.drain().filter_map(|open| match open.kind {
            Kind::Net(net) => Some(net),
            _ => None,
        });
        self.leaving.close_all(nets, self.link.is_broken());
        let mut pause = Duration::from_micros(200);
        while !self.leaving.settle() {
            if self.plain_sent() != taken {
                taken = self.plain_sent();
                deadline = Instant::now() + limit;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.link.is_stopping() || left == Duration::ZERO {
                self.leaving.give_up();
                return self.loss(
                    io::ErrorKind::TimedOut,
                    "the peer did not take all that was written in time",
                );
            }
            // Acknowledgements cause no event, so this checks again after growing pauses.
            let longest = if self.leaving.waits() {
                Duration::from_millis(500)
            } else if self.leaving.needs_looks() {
                Duration::from_millis(50)
            } else {
                left
            };
            pause = (pause * 2).min(longest);
            self.await_peers(pause.min(left))?;
        }
        self.loss(
            io::ErrorKind::Other,
            "the network failed before it had left",
        )
    }

    /// Bytes that the system has taken for a plain connection.
    fn plain_sent(&self) -> u64 {
        self.link.traffic.plain_sent.load(Ordering::Relaxed)
    }

    /// Waits for events of the sockets that the guest has left behind. A stop ends the wait.
    fn await_peers(&mut self, time: Duration) -> io::Result<()> {
        self.link.announce(0);
        let timeout = if self.link.is_stopping() {
            Duration::ZERO
        } else {
            time
        };
        let result = self.reactor.wait(Some(timeout), |token, readiness| {
            if let Some(net) = self.leaving.nets_mut().find(|net| net.token == token) {
                net.apply(readiness);
            }
        });
        self.link.withdraw();
        result.map(|_| ())
    }

    /// Returns an error if bytes were lost.
    fn loss(&self, kind: io::ErrorKind, message: &str) -> io::Result<()> {
        if self.leaving.has_lost() {
            Err(io::Error::new(kind, message))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use watm_abi::Errno;

    use crate::host::tests::{clock, fill_net, fixture};

    #[test]
    fn what_was_written_is_sent_after_a_close_and_at_the_end() {
        let mut f = fixture();
        f.write(f.net, b"closing").expect("room");
        f.host.close(f.net).expect("it was open");
        assert_eq!(f.read(f.net, 8), Err(Errno::Badf.into()));
        let mut all = vec![0; 7];
        f.peer.read_exact(&mut all).expect("it leaves at once");
        // The end is shown once the guest sleeps. Until then it might still have failed.
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
}
