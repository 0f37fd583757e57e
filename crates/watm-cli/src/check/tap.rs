//! A tap on the wire between a module and its peer: it forwards all bytes, and damages what goes
//! towards the module once it is told to. It either cuts the stream there, as if the peer had ended
//! it, or alters a bit.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::partner::LOOPBACK;
use crate::carry::poll::{Interest, wait_until};

/// How often is looked whether the tap is no longer needed.
const LOOK: Duration = Duration::from_millis(10);
const PIECE: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Cut,
    Alter,
}

/// The end of a connection through the tap that the module holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    /// It connects to the tap.
    Connects,
    /// The tap connects to it.
    IsConnected,
}

#[derive(Default)]
pub(super) struct Tap {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    is_over: AtomicBool,
}

#[derive(Default)]
struct State {
    /// What to do, and after how many more bytes.
    order: Option<(Damage, usize)>,
    is_done: bool,
    connections: Vec<Connection>,
}

/// A connection through the tap. The threads that forward it have sockets of their own.
struct Connection {
    /// Who has connected, and the tap's own address behind.
    from: SocketAddr,
    onward: SocketAddr,
    module: TcpStream,
    peer: TcpStream,
}

impl Tap {
    /// Starts to forward connections to an address. Returns the address to connect to instead.
    pub(super) fn before(&self, target: SocketAddr, module: Module) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(LOOPBACK)?;
        let address = listener.local_addr()?;
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().spawn(move || {
            if let Err(error) = shared.serve(&listener, target, module) {
                log::warn!("the tap between the module and its peer failed: {error}");
            }
        })?;
        Ok(address)
    }

    /// The address that the tap has behind a connection from this address.
    pub(super) fn onward(&self, from: SocketAddr) -> Option<SocketAddr> {
        let state = self.shared.state();
        let found = state.connections.iter().find(|found| found.from == from);
        found.map(|found| found.onward)
    }

    /// Damages the byte that comes after so many more on the way to the module.
    pub(super) fn damage(&self, damage: Damage, after: usize) {
        self.shared.state().order = Some((damage, after));
    }

    /// Cuts the way to the module now.
    pub(super) fn cut(&self) {
        let mut state = self.shared.state();
        state.is_done = true;
        for connection in &state.connections {
            // It may have ended already.
            let _ = connection.module.shutdown(Shutdown::Write);
        }
    }

    /// Whether something was damaged.
    pub(super) fn has_damaged(&self) -> bool {
        self.shared.state().is_done
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for connection in &self.shared.state().connections {
            // This ends the threads that forward it.
            let _ = connection.module.shutdown(Shutdown::Both);
            let _ = connection.peer.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(
        self: &Arc<Self>,
        listener: &TcpListener,
        target: SocketAddr,
        module: Module,
    ) -> io::Result<()> {
        while !self.is_over.load(Ordering::Relaxed) {
            if wait_until(listener.as_fd(), Interest::Readable, Instant::now() + LOOK)? {
                let (from, address) = listener.accept()?;
                let onward = TcpStream::connect(target)?;
                self.forward(from, address, onward, module)?;
            }
        }
        Ok(())
    }

    fn forward(
        self: &Arc<Self>,
        from: TcpStream,
        address: SocketAddr,
        onward: TcpStream,
        module: Module,
    ) -> io::Result<()> {
        // A connection that has been reset takes no options.
        let _ = from.set_nodelay(true);
        let _ = onward.set_nodelay(true);
        let behind = onward.local_addr()?;
        let (module, peer) = match module {
            Module::Connects => (from, onward),
            Module::IsConnected => (onward, from),
        };
        let ways = [
            (peer.try_clone()?, module.try_clone()?, true),
            (module.try_clone()?, peer.try_clone()?, false),
        ];
        self.state().connections.push(Connection {
            from: address,
            onward: behind,
            module,
            peer,
        });
        for (source, sink, is_towards_module) in ways {
            let shared = Arc::clone(self);
            thread::Builder::new().spawn(move || {
                // Whoever looks at either end sees what has become of it.
                let _ = shared.copy(&source, &sink, is_towards_module);
                let _ = sink.shutdown(Shutdown::Write);
            })?;
        }
        Ok(())
    }

    fn copy(
        &self,
        mut source: &TcpStream,
        mut sink: &TcpStream,
        is_towards_module: bool,
    ) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut is_cut = false;
        loop {
            let len = match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            // What comes after a cut is read, so that the peer does not notice.
            if is_cut {
                continue;
            }
            let piece = &mut buffer[..len];
            let left = if is_towards_module {
                self.state().pass(piece)
            } else {
                len
            };
            sink.write_all(&piece[..left])?;
            if left < len {
                is_cut = true;
                sink.shutdown(Shutdown::Write)?;
            }
        }
    }
}

impl State {
    /// Damages a piece if it is its turn. Returns how much of it is left.
    fn pass(&mut self, piece: &mut [u8]) -> usize {
        match &mut self.order {
            Some((_, after)) if *after >= piece.len() => {
                *after -= piece.len();
                piece.len()
            }
            Some((damage, after)) => {
                let (damage, after) = (*damage, *after);
                self.order = None;
                self.is_done = true;
                match damage {
                    Damage::Cut => after,
                    Damage::Alter => {
                        piece[after] ^= 1;
                        piece.len()
                    }
                }
            }
            None => piece.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two ends with a tap in between; the second is the module's.
    fn tapped() -> (Tap, TcpStream, TcpStream) {
        let listener = TcpListener::bind(LOOPBACK).expect("a listener");
        let target = listener.local_addr().expect("an address");
        let tap = Tap::default();
        let address = tap.before(target, Module::IsConnected).expect("a tap");
        let peer = TcpStream::connect(address).expect("a connection");
        let (module, behind) = listener.accept().expect("a connection");
        let from = peer.local_addr().expect("an address");
        let deadline = Instant::now() + Duration::from_secs(10);
        while tap.onward(from) != Some(behind) {
            assert!(
                Instant::now() < deadline,
                "the tap does not know its connection"
            );
            thread::yield_now();
        }
        let patience = Some(Duration::from_secs(10));
        module.set_read_timeout(patience).expect("a timeout");
        peer.set_read_timeout(patience).expect("a timeout");
        (tap, peer, module)
    }

    #[test]
    fn bytes_pass_unchanged_until_one_is_to_be_altered() {
        let (tap, mut peer, mut module) = tapped();
        let mut got = [0; 6];
        peer.write_all(b"before").expect("a write");
        module.read_exact(&mut got).expect("a read");
        assert_eq!((&got, tap.has_damaged()), (b"before", false));
        tap.damage(Damage::Alter, 2);
        peer.write_all(b"aaaaaa").expect("a write");
        module.read_exact(&mut got).expect("a read");
        assert_eq!((&got, tap.has_damaged()), (b"aa`aaa", true));
        module.write_all(b"answer").expect("a write");
        peer.read_exact(&mut got).expect("a read");
        assert_eq!(&got, b"answer");
    }

    #[test]
    fn a_cut_is_an_end_for_the_module_alone() {
        let (tap, mut peer, mut module) = tapped();
        tap.damage(Damage::Cut, 4);
        peer.write_all(b"abcdefgh").expect("a write");
        let mut got = Vec::new();
        module.read_to_end(&mut got).expect("an end");
        assert_eq!((&got[..], tap.has_damaged()), (&b"abcd"[..], true));
        peer.write_all(&[0; 100_000]).expect("a write");
        module.write_all(b"answer").expect("a write");
        peer.read_exact(&mut [0; 6]).expect("a read");
    }

    #[test]
    fn a_cut_needs_no_byte() {
        let (tap, _peer, mut module) = tapped();
        tap.cut();
        assert_eq!(module.read(&mut [0]).expect("an end"), 0);
    }
}
