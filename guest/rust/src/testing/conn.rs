//! The application's end of a connection, and the thread that runs the transport behind it.

use std::fmt;
use std::io::{self, Read, Write};
use std::panic;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use super::pipe::Signal;
use super::wire::{PATIENCE, Wire};
use crate::error::{Error, Result};
use crate::session::{self, Handshake};
use crate::stream::Io;
use crate::transport::Transport;
use crate::worker::{self, Host, Interests, Limits, Ready, Side};

/// The application's end of a connection through a transport.
///
/// What is written passes through the encoder to the network; what the decoder makes is read. A
/// write never waits: this side holds any number of bytes for the transport, so that a test can
/// write on one end and then read on the other. A read that waits for 30 seconds fails with
/// [`TimedOut`](io::ErrorKind::TimedOut). When the transport has failed, a read returns its error
/// after the bytes that it has delivered.
///
/// Dropping it closes the application's side, like an application that leaves.
///
/// ```
/// use std::io::{Read, Write};
/// use watm_guest::{testing, Error};
/// # use watm_guest::{Identity, Result, Stream, Transport};
/// # struct Plain;
/// # impl Transport for Plain {
/// #     type Encoder = Identity;
/// #     type Decoder = Identity;
/// #     fn new(_: Option<&[u8]>) -> Result<Self> { Ok(Plain) }
/// #     fn dial(&mut self, _: &mut Stream) -> Result<(Identity, Identity)> {
/// #         Ok((Identity, Identity))
/// #     }
/// #     fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
/// #         self.dial(stream)
/// #     }
/// # }
///
/// let (mut dialer, mut listener) = testing::pair::<Plain>(None, None)?;
/// dialer.write_all(b"hello")?;
/// let mut request = [0; 5];
/// listener.read_exact(&mut request)?;
/// // The host of the listener wants to end.
/// assert_eq!(listener.cancel(), Err(Error::CANCELED));
/// // A transport that fails resets its peer.
/// assert_eq!(dialer.join(), Err(Error::CONNRESET));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Conn {
    wire: Wire,
    cancel: Cancel,
    established: Receiver<Result<()>>,
    handshake: Option<Result<()>>,
    worker: JoinHandle<Result<()>>,
}

impl Conn {
    pub(super) fn start<T: Transport>(
        config: Option<&[u8]>,
        handshake: Handshake,
        network: Wire,
    ) -> Self {
        const CAPACITY: usize = 64 * 1024;
        let (wire, internal) = Wire::pair(usize::MAX, CAPACITY, network.piece());
        let cancel = Cancel::default();
        let (sender, established) = mpsc::channel();
        let config = config.map(<[u8]>::to_vec);
        let cancelled = cancel.clone();
        let worker = thread::spawn(move || {
            let network = Rc::new(network);
            let ends = Ends {
                internal,
                network,
                cancelled,
            };
            let result = ends.work::<T>(config.as_deref(), handshake, &sender);
            if let Err(error) = result {
                // Fails only if nobody waits for the handshake.
                let _ = sender.send(Err(error));
                ends.fail(error);
            }
            result
        });
        Conn {
            wire,
            cancel,
            established,
            handshake: None,
            worker,
        }
    }

    /// Waits until the handshake is over.
    ///
    /// # Errors
    ///
    /// That of the configuration or the handshake, or [`Error::TIMEDOUT`] after 30 seconds.
    pub fn established(&mut self) -> Result<()> {
        let received = || match self.established.recv_timeout(PATIENCE) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Error::TIMEDOUT),
            // It has panicked. `join` passes the panic on.
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Error::IO),
        };
        *self.handshake.get_or_insert_with(received)
    }

    /// Ends the outgoing stream: the transport reads all bytes, and then the end.
    pub fn shutdown_write(&self) {
        self.wire.shutdown_write();
    }

    /// Asks the transport to end, as a host does by control, and returns how it has ended: most
    /// often with [`Error::CANCELED`].
    ///
    /// # Errors
    ///
    /// As in [`join`](Self::join).
    pub fn cancel(self) -> Result<()> {
        self.cancel.request();
        self.result()
    }

    /// Ends the outgoing stream, reads and drops what still arrives, and returns how the transport
    /// has ended.
    ///
    /// # Errors
    ///
    /// The error of the handshake or of the worker, as the module would return it.
    /// [`Error::TIMEDOUT`] if nothing happens for 30 seconds.
    ///
    /// # Panics
    ///
    /// With the panic of the transport, if it has panicked.
    pub fn join(mut self) -> Result<()> {
        self.shutdown_write();
        let mut buffer = [0; 4096];
        loop {
            match self.wire.read(&mut buffer).map_err(Error::from) {
                Ok(0) => break,
                Ok(_) => {}
                Err(Error::TIMEDOUT) if !self.worker.is_finished() => return Err(Error::TIMEDOUT),
                Err(_) => break,
            }
        }
        self.result()
    }

    fn result(self) -> Result<()> {
        self.worker
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic))
    }
}

impl Read for Conn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wire.read(buffer)
    }
}

impl Write for Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
    }
}

/// Stands for the control descriptor.
#[derive(Clone, Default)]
struct Cancel {
    is_requested: Arc<AtomicBool>,
    signal: Arc<Signal>,
}

impl Cancel {
    fn request(&self) {
        self.is_requested.store(true, Ordering::SeqCst);
        self.signal.raise();
    }
}

/// The transport's ends of both sides.
struct Ends {
    internal: Wire,
    network: Rc<Wire>,
    cancelled: Cancel,
}

impl Ends {
    fn work<T: Transport>(
        &self,
        config: Option<&[u8]>,
        handshake: Handshake,
        established: &Sender<Result<()>>,
    ) -> Result<()> {
        let mut transport = T::new(config)?;
        let session = session::begin(&mut transport, handshake, self.network.clone())?;
        // Fails only if nobody waits for the handshake.
        let _ = established.send(Ok(()));
        self.internal.watch(&self.cancelled.signal);
        self.network.watch(&self.cancelled.signal);
        worker::run(&mut Polled(self), session, Limits::of::<T>())
    }

    /// As hosts do when a transport has failed: nobody takes a part for the whole.
    fn fail(&self, error: Error) {
        self.internal.fail(error);
        self.network.reset();
    }
}

/// The worker's host.
struct Polled<'a>(&'a Ends);

impl Polled<'_> {
    fn side(&self, side: Side) -> &Wire {
        match side {
            Side::Internal => &self.0.internal,
            Side::Network => &self.0.network,
        }
    }
}

impl Host for Polled<'_> {
    fn poll(&mut self, wanted: Interests) -> Result<Ready> {
        let Cancel {
            is_requested,
            signal,
        } = &self.0.cancelled;
        signal.wait_for(None, || {
            let mut ready = Ready {
                cancelled: is_requested.load(Ordering::SeqCst),
                ..Ready::default()
            };
            for side in [Side::Internal, Side::Network] {
                let (wire, wanted) = (self.side(side), wanted.of(side));
                let found = ready.sides.of_mut(side);
                found.read = wanted.read && wire.is_readable();
                found.write = wanted.write && wire.is_writable();
            }
            (ready != Ready::default()).then_some(ready)
        })
    }

    fn read(&mut self, side: Side, buffer: &mut [u8]) -> Result<usize> {
        self.side(side).try_read(buffer)
    }

    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize> {
        self.side(side).try_write(bytes)
    }

    fn shutdown_write(&mut self, side: Side) -> Result<()> {
        self.side(side).shutdown_write();
        Ok(())
    }
}
