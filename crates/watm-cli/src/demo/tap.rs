//! The tap on the wire: forwards bytes between the dialer and the listener, counts them, and keeps
//! the first bytes of each direction.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::LOOPBACK;
use super::sample::FIRST;
use crate::carry::accept::{Closer, PlainListener};

const BUFFER: usize = 64 * 1024;

pub(super) struct Tap {
    local: SocketAddr,
    /// From the dialer to the listener, and back.
    forth: Arc<Wire>,
    back: Arc<Wire>,
    closer: Closer,
}

/// What was seen in one direction.
#[derive(Default)]
pub(super) struct Wire {
    bytes: AtomicU64,
    first: Mutex<Vec<u8>>,
}

impl Tap {
    /// Listens for one connection, which is forwarded to `target`.
    pub(super) fn start(target: SocketAddr) -> io::Result<Self> {
        let (mut listener, closer) = PlainListener::bind(&[LOOPBACK]).map_err(io::Error::other)?;
        let (forth, back) = (Arc::new(Wire::default()), Arc::new(Wire::default()));
        let tap = Self {
            local: listener.local_addrs()[0],
            forth: Arc::clone(&forth),
            back: Arc::clone(&back),
            closer,
        };
        thread::Builder::new()
            .name("watm-demo-tap".into())
            .spawn(move || {
                if let Err(error) = pass_on(&mut listener, target, &forth, &back) {
                    log::error!("the tap failed: {error}");
                }
            })?;
        Ok(tap)
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn forth(&self) -> &Wire {
        &self.forth
    }

    pub(super) fn back(&self) -> &Wire {
        &self.back
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.closer.close();
    }
}

impl Wire {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The first bytes, up to [`FIRST`].
    pub(super) fn first(&self) -> Vec<u8> {
        self.lock().clone()
    }

    fn see(&self, bytes: &[u8]) {
        if self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed) < FIRST as u64 {
            let mut first = self.lock();
            let room = FIRST - first.len();
            first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pass_on(
    listener: &mut PlainListener,
    target: SocketAddr,
    forth: &Wire,
    back: &Wire,
) -> io::Result<()> {
    let Some(dialer) = listener.accept()? else {
        return Ok(());
    };
    dialer.set_nonblocking(false)?;
    dialer.set_nodelay(true)?;
    let listener = TcpStream::connect(target)?;
    listener.set_nodelay(true)?;
    thread::scope(|scope| {
        thread::Builder::new()
            .name("watm-demo-tap".into())
            .spawn_scoped(scope, || copy(&listener, &dialer, back))?;
        copy(&dialer, &listener, forth);
        Ok(())
    })
}

/// Forwards bytes until their end. An error on one side shuts down both, which ends both
/// directions.
fn copy(mut from: &TcpStream, mut to: &TcpStream, wire: &Wire) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let passed = from.read(&mut buffer).and_then(|length| {
            wire.see(&buffer[..length]);
            to.write_all(&buffer[..length]).map(|()| length)
        });
        match passed {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::debug!("the tap: {error}");
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
