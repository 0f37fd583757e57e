//! The two halves of a connection.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::ops::Deref;
use std::sync::Arc;

use crate::roles::conn::Conn;

/// The half of a [`Conn`] that reads: see [`Conn::into_split`]. It dereferences to the connection.
///
/// ```
/// use std::io::{Read, Write};
/// use watm_wasmer::{Dialer, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let conn = Dialer::builder(&module).build()?.dial(listener.local_addr())?;
/// let mut peer = listener.accept()?;
///
/// let (mut read, mut write) = conn.into_split();
/// let reader = std::thread::spawn(move || {
///     let mut answer = String::new();
///     read.read_to_string(&mut answer).map(|_| answer)
/// });
/// write.write_all(b"hello")?;
/// let mut request = [0; 5];
/// peer.read_exact(&mut request)?;
/// peer.write_all(b"world")?;
/// peer.close()?;
/// assert_eq!(reader.join().expect("it reads")?, "world");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReadHalf(Arc<Conn>);

/// The half of a [`Conn`] that writes: see [`Conn::into_split`]. It dereferences to the connection.
///
/// When it is dropped, writing is shut down: the module reads the end of stream. The connection is
/// closed when both halves are dropped, as a [`Conn`] is that is dropped.
///
/// ```
/// use std::io::{Read, Write};
/// use watm_wasmer::{Dialer, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/halfclose.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let conn = Dialer::builder(&module).build()?.dial(listener.local_addr())?;
/// let mut peer = listener.accept()?;
///
/// let (_read, mut write) = conn.into_split();
/// write.write_all(b"all of it")?;
/// // This module passes the end on, while its other direction stays open.
/// drop(write);
/// let mut request = String::new();
/// peer.read_to_string(&mut request)?;
/// assert_eq!(request, "all of it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WriteHalf {
    conn: Arc<Conn>,
    /// The halves were put together again.
    is_reunited: bool,
}

/// Two halves of different connections, which [`ReadHalf::reunite`] returns as they are.
///
/// ```
/// use watm_wasmer::{Dialer, Listener, ReuniteError, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let dialer = Dialer::builder(&module).build()?;
/// let (first_read, first_write) = dialer.dial(listener.local_addr())?.into_split();
/// let (second_read, second_write) = dialer.dial(listener.local_addr())?.into_split();
///
/// // Nothing is lost by the mistake.
/// let mixed = first_read.reunite(second_write);
/// let ReuniteError(first_read, second_write) = mixed.expect_err("they are of two connections");
/// first_read.reunite(first_write)?.close()?;
/// second_read.reunite(second_write)?.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReuniteError(pub ReadHalf, pub WriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves belong to different connections")
    }
}

impl std::error::Error for ReuniteError {}

pub(super) fn halves(conn: Conn) -> (ReadHalf, WriteHalf) {
    let conn = Arc::new(conn);
    let read = ReadHalf(Arc::clone(&conn));
    let is_reunited = false;
    (read, WriteHalf { conn, is_reunited })
}

impl ReadHalf {
    /// Puts both halves together again.
    ///
    /// # Errors
    ///
    /// Both halves, if they belong to different connections.
    pub fn reunite(self, mut write: WriteHalf) -> Result<Conn, ReuniteError> {
        if !Arc::ptr_eq(&self.0, &write.conn) {
            return Err(ReuniteError(self, write));
        }
        write.is_reunited = true;
        drop(write);
        Ok(Arc::into_inner(self.0).expect("nobody else holds it"))
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if !self.is_reunited {
            // It cannot fail.
            let _ = self.conn.shutdown(Shutdown::Write);
        }
    }
}

impl Deref for ReadHalf {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl Deref for WriteHalf {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl Read for ReadHalf {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buf)
    }
}

impl Write for WriteHalf {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self.conn).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.conn).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadHalf").field(&self.0).finish()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteHalf").field(&self.conn).finish()
    }
}
