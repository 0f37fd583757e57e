//! What becomes of bytes that are on their way when a guest has closed a descriptor, or has ended.

use std::io;
use std::time::{Duration, Instant};

use crate::error::TransportError;
use crate::host::Host;
use crate::host::descriptor::{Descriptor, Kind};
use crate::net::socket::NetStream;
use crate::net::stream;

/// Sockets that the guest closed while bytes waited in them, kept until those are sent.
const LINGERING_SOCKETS: usize = 16;

impl Host {
    pub(super) fn dispose(&mut self, descriptor: Descriptor) {
        if !descriptor.kind.is_of_file_system() {
            self.find_pair();
        }
        match descriptor.kind {
            Kind::Internal => self.closed_internal = self.internal.take(),
            Kind::Net(net) => {
                if self.closed_nets.len() == LINGERING_SOCKETS {
                    self.close_for_good();
                }
                net.out.flush();
                self.closed_nets.push(net);
            }
            Kind::Control | Kind::Std(_) | Kind::Directory(_) | Kind::File(_) => {}
        }
    }

    /// Shows the other sides the end of what the guest has closed, now that it reads, polls or dials
    /// and so does not end with an error right after.
    pub(super) fn close_for_good(&mut self) {
        if let Some(internal) = self.closed_internal.take() {
            self.explain_end();
            drop(internal);
        }
        for mut net in self.closed_nets.drain(..) {
            net.out.close();
            if net.is_delivered() {
                self.lost |= net.out.is_lossy();
            } else {
                if self.lingering.len() == LINGERING_SOCKETS {
                    self.lost |= self.lingering.remove(0).out.is_lossy();
                }
                self.lingering.push(net);
                self.unsent = true;
            }
        }
    }

    /// Before the application sees the end of the stream, though the guest goes on: it reads the
    /// failure of the connection in its place, if the guest has met one.
    pub(super) fn explain_end(&self) {
        if let Some(errno) = self.learnt.lost {
            let lost = TransportError::ConnectionLost { errno };
            self.link.set_outcome(Err(lost));
        }
    }

    /// The guest has ended, however it did: the application reads what is left and then the end.
    pub(crate) fn end_guest(&mut self) {
        self.internal = None;
        self.closed_internal = None;
        self.pair = None;
        if let Some(incoming) = self.incoming.take()
            && !self.link.is_broken()
        {
            incoming.end_on_drop();
        }
    }

    /// Delivers what the guest wrote, up to `limit`, and gives the peers the chance to receive it; then
    /// they see the end, or are reset if the connection has failed. A stop ends it early.
    ///
    /// # Errors
    ///
    /// Bytes were left, or the reactor failed.
    pub(crate) fn drain(&mut self, limit: Duration) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        let mut nets = std::mem::take(&mut self.lingering);
        nets.append(&mut self.closed_nets);
        for descriptor in self.descriptors.drain() {
            if let Kind::Net(net) = descriptor.kind {
                nets.push(net);
            }
        }
        for net in &nets {
            if self.link.is_broken() {
                // Also one that the guest has shut down for writing before.
                stream::reset_on_drop(&net.out.socket);
            }
            // Sends all that waits first.
            net.out.close();
        }
        let mut pause = Duration::from_micros(200);
        loop {
            self.lost |= settle(&mut nets);
            let left = deadline.saturating_duration_since(Instant::now());
            if nets.is_empty() {
                return if self.lost {
                    Err(io::Error::other("the network failed before it had left"))
                } else {
                    Ok(())
                };
            }
            let stopped = self.link.is_stopping();
            if stopped || left == Duration::ZERO {
                self.lost |= nets.iter().any(|net| !net.out.flush());
                let message = "the peer did not take all that was written in time";
                return if self.lost {
                    Err(io::Error::new(io::ErrorKind::TimedOut, message))
                } else {
                    Ok(())
                };
            }
            // Acknowledgements make no event, so this looks again after growing pauses.
            let waiting = nets.iter().any(|net| !net.out.flush());
            pause = (pause * 2).min(Duration::from_millis(if waiting { 500 } else { 50 }));
            self.link.announce(0);
            let stopped = self.link.is_stopping();
            let timeout = if stopped {
                Duration::ZERO
            } else {
                pause.min(left)
            };
            let result = self.reactor.wait(Some(timeout), |token, readiness| {
                if let Some(net) = nets.iter_mut().find(|net| net.token == token) {
                    net.apply(readiness);
                }
            });
            self.link.withdraw();
            result?;
        }
    }
}

/// Lets go of the sockets over which all has left, or never will. Returns whether anything of what
/// the guest believes to be on its way was lost.
#[expect(clippy::vec_box, reason = "they were boxed where they come from")]
pub(super) fn settle(nets: &mut Vec<Box<NetStream>>) -> bool {
    let mut lost = false;
    nets.retain_mut(|net| {
        let done = net.is_delivered();
        lost |= done && net.out.is_lossy();
        !done
    });
    lost
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
        // The end does when the guest sleeps: it might have failed.
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
