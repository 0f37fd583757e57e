//! Connections through a transport.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::IntoRawFd;
use std::sync::OnceLock;
use std::time::Duration;

use watm_wasmer::{Conn, ConnStats, Outcome, TransportError};

use crate::border::{Counted, buffer, bytes, call, given, limit, quietly};
use crate::status::{Fault, c_text, watm_error, watm_status};

/// Shut down reading.
pub const WATM_SHUTDOWN_READ: u32 = 0;
/// Shut down writing.
pub const WATM_SHUTDOWN_WRITE: u32 = 1;
/// Shut down both directions.
pub const WATM_SHUTDOWN_BOTH: u32 = 2;

/// A connection through a transport module. Two threads may use both directions at once.
pub struct watm_conn {
    conn: Conn,
    addresses: Addresses,
    _counted: Counted,
}

impl watm_conn {
    pub(crate) fn new(conn: Conn) -> Self {
        Self {
            conn,
            addresses: Addresses::default(),
            _counted: Counted::new(),
        }
    }
}

/// The addresses of a connection as texts, once they were asked for.
#[derive(Default)]
pub(crate) struct Addresses {
    local: OnceLock<Option<CString>>,
    peer: OnceLock<Option<CString>>,
}

impl Addresses {
    pub(crate) fn local(&self, address: impl FnOnce() -> io::Result<SocketAddr>) -> *const c_char {
        text_of(&self.local, address)
    }

    pub(crate) fn peer(&self, address: impl FnOnce() -> io::Result<SocketAddr>) -> *const c_char {
        text_of(&self.peer, address)
    }
}

fn text_of(
    kept: &OnceLock<Option<CString>>,
    address: impl FnOnce() -> io::Result<SocketAddr>,
) -> *const c_char {
    let text = kept.get_or_init(|| address().ok().map(|address| c_text(&address.to_string())));
    text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr())
}

/// How a transport ended when nothing went wrong.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum watm_outcome {
    /// The module returned because one side reached the end of its stream.
    Completed = 0,
    /// The module returned because it was asked to.
    Cancelled = 1,
}

impl From<Outcome> for watm_outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Cancelled => Self::Cancelled,
            _ => Self::Completed,
        }
    }
}

/// Reports how a transport ended, if it has.
pub(crate) fn report(
    place: Option<&mut MaybeUninit<watm_outcome>>,
    result: Option<Result<Outcome, TransportError>>,
) -> Result<(), Fault> {
    let outcome = result.ok_or_else(Fault::again)??;
    if let Some(place) = place {
        place.write(outcome.into());
    }
    Ok(())
}

/// How much a connection has moved, and what that took.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct watm_traffic {
    /// Bytes received from the network, as they were on the wire.
    pub received: u64,
    /// Bytes sent to the network, as they were on the wire.
    pub sent: u64,
    /// The part of `received` that came from the client of a listener or a relay.
    pub client_received: u64,
    /// The part of `sent` that went to the client.
    pub client_sent: u64,
    /// Bytes received from the plain connection that is carried; 0 for a watm_conn.
    pub plain_received: u64,
    /// Bytes sent to the plain connection that is carried; 0 for a watm_conn.
    pub plain_sent: u64,
    /// Functions of the host that the module has called.
    pub host_calls: u64,
    /// System calls that moved bytes, polled, or woke a thread.
    pub system_calls: u64,
    /// Nanoseconds that the module's own code ran. This and the next two are 0 unless
    /// watm_settings_timing() is on.
    pub guest_nanoseconds: u64,
    /// Nanoseconds that the host worked in calls of the module.
    pub host_nanoseconds: u64,
    /// Nanoseconds that the module waited in calls of the host.
    pub asleep_nanoseconds: u64,
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<ConnStats> for watm_traffic {
    fn from(stats: ConnStats) -> Self {
        Self {
            received: stats.received,
            sent: stats.sent,
            client_received: stats.client_received,
            client_sent: stats.client_sent,
            plain_received: stats.plain_received,
            plain_sent: stats.plain_sent,
            host_calls: stats.host_calls,
            system_calls: stats.system_calls,
            guest_nanoseconds: nanoseconds(stats.guest_time),
            host_nanoseconds: nanoseconds(stats.host_time),
            asleep_nanoseconds: nanoseconds(stats.asleep),
        }
    }
}

/// Reads up to `size` bytes into `data`, and waits for the first. `*read` is their number; 0 is the
/// end of the stream, unless `size` is 0.
///
/// Fails with WATM_STATUS_AGAIN if there is nothing and the connection does not block,
/// WATM_STATUS_TIMED_OUT after the read timeout, and WATM_STATUS_TRANSPORT once the transport has
/// failed and everything that came before was read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_conn_read(
    conn: Option<&watm_conn>,
    data: *mut c_void,
    size: usize,
    read: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        let read = given("the place for the number", read)?;
        read.write(0);
        // SAFETY: the caller's memory.
        let data = unsafe { buffer("the buffer", data, size) }?;
        read.write((&mut &conn.conn).read(data)?);
        Ok(())
    })
}

/// Writes up to `length` bytes of `data`, and waits until there is room for the first. `*written`
/// is the number of those that were taken. The module has them then, which is no promise of
/// delivery.
///
/// Fails with WATM_STATUS_AGAIN if there is no room and the connection does not block,
/// WATM_STATUS_TIMED_OUT after the write timeout, WATM_STATUS_CLOSED once writing was shut down or
/// the transport has ended, and WATM_STATUS_TRANSPORT once it has failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_conn_write(
    conn: Option<&watm_conn>,
    data: *const c_void,
    length: usize,
    written: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        let written = given("the place for the number", written)?;
        written.write(0);
        // SAFETY: the caller's bytes.
        let data = unsafe { bytes("the bytes", data, length) }?;
        written.write((&mut &conn.conn).write(data)?);
        Ok(())
    })
}

/// Writes all `length` bytes of `data`, as several calls of watm_conn_write() would. If it fails,
/// `*written` is the number of those that were taken before. `written` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_conn_write_all(
    conn: Option<&watm_conn>,
    data: *const c_void,
    length: usize,
    written: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let mut unheard = MaybeUninit::uninit();
        let written = written.unwrap_or(&mut unheard);
        let mut taken = 0;
        written.write(taken);
        let conn = given("the connection", conn)?;
        // SAFETY: the caller's bytes.
        let data = unsafe { bytes("the bytes", data, length) }?;
        while taken < data.len() {
            match (&mut &conn.conn).write(&data[taken..])? {
                0 => return Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
                more => taken += more,
            }
            written.write(taken);
        }
        Ok(())
    })
}

/// Shuts down one direction or both: WATM_SHUTDOWN_READ, WATM_SHUTDOWN_WRITE or WATM_SHUTDOWN_BOTH.
///
/// After a shutdown for writing, the module reads end of stream once it has read all bytes. Many
/// modules then end the transport; those that know half-close go on the other way.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_shutdown(
    conn: Option<&watm_conn>,
    how: u32,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        let how = match how {
            WATM_SHUTDOWN_READ => Shutdown::Read,
            WATM_SHUTDOWN_WRITE => Shutdown::Write,
            WATM_SHUTDOWN_BOTH => Shutdown::Both,
            _ => return Err(Fault::argument(format!("{how} is no WATM_SHUTDOWN"))),
        };
        Ok(conn.conn.shutdown(how)?)
    })
}

/// Closes the connection and waits until the transport has ended: within the grace period of the
/// settings, and a little more for a module that does not cooperate. `*outcome` is how; `outcome`
/// may be null.
///
/// What was written before is delivered first, as far as the peer takes it in that time. Reads
/// return 0 from now on. Closing twice reports the same again. The handle still has to be freed.
///
/// An event loop, which must not wait, shuts down writing, reads until the end, and asks
/// watm_conn_outcome(); or it frees the connection.
///
/// Fails with WATM_STATUS_TRANSPORT if the transport failed; with the code `undelivered` if not all
/// was delivered.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_close(
    conn: Option<&watm_conn>,
    outcome: Option<&mut MaybeUninit<watm_outcome>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        report(outcome, Some(conn.conn.close()))
    })
}

/// Ends the connection as one that has failed: the peer is reset after what was written before, so
/// that it does not take a part for the whole. Does not wait. `conn` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_abort(conn: Option<&watm_conn>) {
    quietly((), || {
        if let Some(conn) = conn {
            conn.conn.abort();
        }
    });
}

/// Waits, up to a time in milliseconds, until the transport has ended by itself and all that it
/// wrote is delivered. A negative time is none. `*outcome` is how it ended; `outcome` may be null.
///
/// Returns WATM_STATUS_AGAIN if that takes longer, and fails with WATM_STATUS_TRANSPORT if the
/// transport failed.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_wait(
    conn: Option<&watm_conn>,
    milliseconds: i64,
    outcome: Option<&mut MaybeUninit<watm_outcome>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        report(outcome, conn.conn.wait(limit(milliseconds)))
    })
}

/// How the transport ended, as watm_conn_wait() reports it, without waiting. What it wrote may
/// still be on its way.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_outcome(
    conn: Option<&watm_conn>,
    outcome: Option<&mut MaybeUninit<watm_outcome>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        report(outcome, conn.conn.outcome())
    })
}

/// What the connection has moved so far. `size` is `sizeof(watm_traffic)` as the caller knows it,
/// and no more bytes are written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_conn_stats(
    conn: Option<&watm_conn>,
    traffic: *mut watm_traffic,
    size: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        // SAFETY: the caller's record.
        unsafe { put(watm_traffic::from(conn.conn.stats()), traffic, size) }
    })
}

/// Copies a record to a caller who may know an older form of it, which is shorter, or a newer one,
/// whose rest becomes 0.
///
/// # Safety
///
/// `to` is null, or `size` bytes can be written there. `T` consists of integers without gaps.
pub(crate) unsafe fn put<T: Copy>(record: T, to: *mut T, size: usize) -> Result<(), Fault> {
    // SAFETY: the same demand.
    let to = unsafe { buffer("the record", to.cast(), size) }?;
    // SAFETY: a value without gaps is that many bytes, and lives on the stack meanwhile.
    let from = unsafe { bytes("the record", (&raw const record).cast(), size_of::<T>()) }?;
    to.fill(0);
    let common = from.len().min(to.len());
    to[..common].copy_from_slice(&from[..common]);
    Ok(())
}

/// The local address of the network connection, such as `192.0.2.1:443` or `[2001:db8::1]:443`. It
/// lives as long as the handle. Null if there is no IP address, or if `conn` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_local_addr(conn: Option<&watm_conn>) -> *const c_char {
    quietly(std::ptr::null(), || {
        let of = |conn: &watm_conn| conn.addresses.local(|| conn.conn.local_addr());
        conn.map_or(std::ptr::null(), of)
    })
}

/// The address of the peer of the network connection, as for watm_conn_local_addr().
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_peer_addr(conn: Option<&watm_conn>) -> *const c_char {
    quietly(std::ptr::null(), || {
        let of = |conn: &watm_conn| conn.addresses.peer(|| conn.conn.peer_addr());
        conn.map_or(std::ptr::null(), of)
    })
}

/// Sets the maximum time in milliseconds that a read waits; a negative time, the default, is none.
/// Fails with WATM_STATUS_ARGUMENT for 0.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_read_timeout(
    conn: Option<&watm_conn>,
    milliseconds: i64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        let set = conn.conn.set_read_timeout(limit(milliseconds));
        set.map_err(|error| Fault::argument(error.to_string()))
    })
}

/// Sets the maximum time in milliseconds that a write waits for room; a negative time, the default,
/// is none. Fails with WATM_STATUS_ARGUMENT for 0.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_write_timeout(
    conn: Option<&watm_conn>,
    milliseconds: i64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        let set = conn.conn.set_write_timeout(limit(milliseconds));
        set.map_err(|error| Fault::argument(error.to_string()))
    })
}

/// Makes reads and writes return WATM_STATUS_AGAIN in place of waiting, or lets them wait again.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_nonblocking(
    conn: Option<&watm_conn>,
    nonblocking: bool,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        Ok(conn.conn.set_nonblocking(nonblocking)?)
    })
}

/// A descriptor for event loops, such as poll or epoll: readable while a read may go on, and
/// writable while a write may. There is nothing to read from it or to write to it.
///
/// It says what the last call learnt: reads and writes that returned WATM_STATUS_AGAIN clear it
/// until that changes, and it is ready at first. So make the connection nonblocking, and go on
/// until WATM_STATUS_AGAIN, as with a socket. The caller closes the descriptor. Fails with
/// WATM_STATUS_SYSTEM if there are none left.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_readiness(
    conn: Option<&watm_conn>,
    fd: Option<&mut MaybeUninit<c_int>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let conn = given("the connection", conn)?;
        let fd = given("the place for the descriptor", fd)?;
        fd.write(conn.conn.readiness()?.into_raw_fd());
        Ok(())
    })
}

/// Frees a connection. If it was not closed, it is closed without waiting: what was written is
/// still delivered within the grace period, as long as the process lives (see watm_drain()). `conn`
/// may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_conn_free(conn: Option<Box<watm_conn>>) {
    quietly((), || drop(conn));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_cut_for_an_older_caller_and_filled_for_a_newer_one() {
        let record = watm_traffic {
            received: 1,
            sent: 2,
            ..watm_traffic::default()
        };
        let mut older = [u64::MAX; 2];
        let mut newer = [u64::MAX; 12];
        // SAFETY: the sizes are those of the arrays, or smaller.
        unsafe {
            put(record, older.as_mut_ptr().cast(), 8).expect("it fits");
            put(record, newer.as_mut_ptr().cast(), size_of_val(&newer)).expect("it fits");
            put(record, std::ptr::null_mut(), 8).expect_err("null");
        }
        assert_eq!(older, [1, u64::MAX]);
        assert_eq!(newer[..2], [1, 2]);
        assert_eq!(newer[2..], [0; 10]);
    }
}
