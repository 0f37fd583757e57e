//! Copies bytes both ways between a transport and a plain TCP connection until both directions have
//! ended.
//!
//! The end of one direction shuts down writing on the other side, while the other direction
//! continues. The end of the transport ends both directions. If it ended in order, the plain side
//! sees the end of the stream. If it ended with an error, the plain side receives everything before
//! the error and is then reset, so that it cannot mistake a part for the whole. A broken plain side
//! is passed on in the same way: first what came before, then a reset.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use socket2::SockRef;
use watm_wasmer::plain::unacknowledged;
use watm_wasmer::{Conn, End, TransportError};

use super::ending::{Pauses, await_end, check_until};
use super::plain;

const BUFFER: usize = 64 * 1024;
/// The stack of a copying thread, in bytes. The buffer is not on the stack.
pub(crate) const STACK: usize = 128 * 1024;

/// A transport and a plain connection that belong together.
pub(crate) struct Pair {
    conn: Conn,
    plain: TcpStream,
    cut: AtomicBool,
    /// Everything is over. A thread that still discards what the plain side sends must stop.
    finished: AtomicBool,
}

/// How much was carried, and how it ended.
#[derive(Debug)]
pub(crate) struct Carried {
    /// Bytes from the plain side to the transport.
    pub(crate) up: u64,
    /// Bytes from the transport to the plain side.
    pub(crate) down: u64,
    pub(crate) transport: Result<End, TransportError>,
    /// The error of the plain side, if it had one.
    pub(crate) plain: Option<io::Error>,
    /// Whether it was ended by [`Pair::cut`].
    pub(crate) cut: bool,
}

/// One direction, after its end.
struct Direction {
    bytes: u64,
    plain: Option<io::Error>,
}

impl Pair {
    pub(crate) fn new(conn: Conn, plain: TcpStream) -> Self {
        Self {
            conn,
            plain,
            cut: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
    }

    pub(crate) fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Cuts off both directions, which both sides see as a reset. Does not wait: [`Pair::carry`]
    /// returns within the grace period of the transport.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.conn.abort();
        // This also holds if the plain side ended in order a moment before.
        plain::reset_on_drop(&self.plain);
        // Wakes a thread that reads and a thread that writes. The end of the stream waits behind
        // the data that the peer does not take, and the reset overtakes it.
        let _ = self.plain.shutdown(Shutdown::Read);
        if plain::is_full(&self.plain) {
            let _ = self.plain.shutdown(Shutdown::Write);
        }
    }

    /// Copies until both directions or the transport have ended. `patience` limits the last steps:
    /// the time for a transport to end after both its directions, and for a peer to take the last
    /// bytes and close.
    ///
    /// # Errors
    ///
    /// If the thread for the second direction cannot be started. Nothing was copied then.
    pub(crate) fn carry(&self, patience: Duration) -> io::Result<Carried> {
        let (ended, up_ended) = bounded(1);
        thread::scope(|scope| {
            let up = thread::Builder::new()
                .name("watm-copy".into())
                .stack_size(STACK)
                .spawn_scoped(scope, move || {
                    let up = self.copy_up();
                    let _ = ended.send(());
                    up
                })
                .inspect_err(|_| self.conn.abort())?;
            let down = self.copy_down();
            self.await_both_ends(&up_ended, patience);
            if down.plain.is_some() {
                self.conn.abort();
            }

            // A transport that ended in order has `patience` to deliver what it wrote. A close
            // would allow only the grace period.
            if let Some(Ok(_)) = self.conn.outcome() {
                await_end(&self.conn, patience, || self.is_cut());
            }
            let failed = matches!(self.conn.outcome(), Some(Err(_)));
            let transport = self.conn.close();
            if failed && !self.is_cut() {
                self.await_acknowledged(patience);
            } else {
                // Closing a socket while its peer still sends resets it, and the peer may lose what
                // it has not read yet. So the peer gets time to close first.
                let _ = up_ended.recv_timeout(patience);
                if !self.is_cut() {
                    plain::end_on_drop(&self.plain);
                }
            }
            // Wakes the other thread if it is still reading.
            self.finished.store(true, Ordering::Release);
            let _ = self.plain.shutdown(Shutdown::Read);
            let up = up.join().unwrap_or_else(|_| Direction {
                bytes: 0,
                plain: Some(io::Error::other("the copying thread panicked")),
            });
            Ok(Carried {
                up: up.bytes,
                down: down.bytes,
                transport,
                plain: down.plain.or(up.plain),
                cut: self.is_cut(),
            })
        })
    }

    /// Copies from the plain side to the transport until the plain side ends. If the transport ends
    /// first, what still arrives is read and discarded.
    fn copy_up(&self) -> Direction {
        let mut buffer = vec![0; BUFFER];
        let mut bytes = 0;
        let mut taken = true;
        loop {
            match read(&self.plain, &mut buffer) {
                Ok(0) => {
                    if !self.is_cut() {
                        let _ = self.conn.shutdown(Shutdown::Write);
                    }
                    return Direction { bytes, plain: None };
                }
                Ok(len) if taken => match write_all(&self.conn, &buffer[..len]) {
                    Ok(()) => bytes += len as u64,
                    // The other direction finds out why.
                    Err(_) => taken = false,
                },
                // Shutting down a socket does not end reads while the peer keeps sending.
                Ok(_) if self.finished.load(Ordering::Acquire) => {
                    return Direction { bytes, plain: None };
                }
                Ok(_) => {}
                Err(error) => {
                    // The plain side is gone. The transport still gets what it sent before.
                    self.conn.abort();
                    let plain = Some(error).filter(|_| !self.is_cut());
                    return Direction { bytes, plain };
                }
            }
        }
    }

    /// Copies from the transport to the plain side until the transport stops writing or the plain
    /// side stops reading.
    fn copy_down(&self) -> Direction {
        let mut buffer = vec![0; BUFFER];
        let mut bytes = 0;
        loop {
            // Never retried: any error of the transport is its end, whatever its kind.
            match (&self.conn).read(&mut buffer) {
                Ok(0) => {
                    if !self.is_cut() {
                        let _ = self.plain.shutdown(Shutdown::Write);
                    }
                    return Direction { bytes, plain: None };
                }
                Ok(len) => match (&self.plain).write_all(&buffer[..len]) {
                    Ok(()) => bytes += len as u64,
                    Err(error) => {
                        // What the plain side sent before may still be on its way up.
                        let _ = self.conn.shutdown(Shutdown::Read);
                        let plain = Some(error).filter(|_| !self.is_cut());
                        return Direction { bytes, plain };
                    }
                },
                Err(_) => return Direction { bytes, plain: None },
            }
        }
    }

    /// Waits until the transport has ended, or until `patience` is over after the direction to it
    /// has ended.
    fn await_both_ends(&self, up_ended: &Receiver<()>, patience: Duration) {
        let mut pauses = Pauses::new();
        while self.conn.outcome().is_none() && !self.is_cut() {
            match up_ended.recv_timeout(pauses.next()) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return await_end(&self.conn, patience, || self.is_cut()),
            }
        }
    }

    /// Waits until the peer's system has received everything written to the plain side. A reset
    /// would overtake it.
    fn await_acknowledged(&self, patience: Duration) {
        check_until(patience, |pause| {
            let is_over = unacknowledged(&self.plain) == 0
                || self.is_cut()
                || !matches!(SockRef::from(&self.plain).take_error(), Ok(None));
            if !is_over {
                thread::sleep(pause);
            }
            is_over
        });
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }
}

/// Reads from a plain socket and retries if a signal interrupts it.
fn read(mut from: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Writes everything to a transport. Unlike [`Write::write_all`], it treats every error as the end.
/// A transport that fails with the kind "interrupted" must not be retried forever.
pub(crate) fn write_all(mut to: &Conn, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            len => bytes = &bytes[len..],
        }
    }
    Ok(())
}
