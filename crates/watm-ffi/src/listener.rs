//! Listeners, and acceptors for sockets that the application accepts.

use std::ffi::{CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::time::Duration;

use watm_wasmer::{Acceptor, Listener, ServerStats};

use crate::border::{Counted, call, given, make, quietly, socket, text};
use crate::carried::watm_carried;
use crate::conn::{put, watm_conn};
use crate::module::watm_module;
use crate::open::watm_connections;
use crate::pending::watm_pending;
use crate::settings::{self, watm_settings};
use crate::status::{Fault, c_text, watm_error, watm_status};

/// Accepts connections and unwraps what comes over them. Each handshake runs on a thread of its
/// own.
pub struct watm_listener {
    listener: Listener,
    addresses: Vec<CString>,
    _counted: Counted,
}

impl watm_listener {
    pub(crate) fn new(listener: Listener) -> Self {
        Self {
            addresses: c_addresses(listener.local_addrs()),
            listener,
            _counted: Counted::new(),
        }
    }
}

/// Addresses as texts for C.
pub(crate) fn c_addresses(addresses: &[SocketAddr]) -> Vec<CString> {
    let texts = addresses.iter().map(|address| c_text(&address.to_string()));
    texts.collect()
}

/// What a listener or a server has done so far.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct watm_tally {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that are open, including those that are being set up.
    pub active: u64,
    /// Connections whose transport could not be set up.
    pub refused: u64,
    /// Connections whose transport ended well.
    pub completed: u64,
    /// Connections whose transport ended with an error.
    pub failed: u64,
    /// Connections that were cut off by a shutdown.
    pub cut: u64,
    /// Bytes that ended connections have received from the network.
    pub received: u64,
    /// Bytes that ended connections have sent to the network.
    pub sent: u64,
    /// The part of `received` that came from the clients of a listener or a relay.
    pub client_received: u64,
    /// The part of `sent` that went to them.
    pub client_sent: u64,
    /// Bytes that ended connections have received from plain connections.
    pub plain_received: u64,
    /// Bytes that ended connections have sent to plain connections.
    pub plain_sent: u64,
}

impl From<ServerStats> for watm_tally {
    fn from(stats: ServerStats) -> Self {
        Self {
            accepted: stats.accepted,
            active: stats.active,
            refused: stats.refused,
            completed: stats.completed,
            failed: stats.failed,
            cut: stats.cut,
            received: stats.received,
            sent: stats.sent,
            client_received: stats.client_received,
            client_sent: stats.client_sent,
            plain_received: stats.plain_received,
            plain_sent: stats.plain_sent,
        }
    }
}

/// Listens on `address` (`host:port` or `[v6]:port`); port 0 lets the system choose, and `:port`
/// means all addresses of this machine. Null `settings` are the defaults.
///
/// The listener is left in `*listener` and belongs to the caller. Fails with WATM_STATUS_CONFIG,
/// WATM_STATUS_LISTEN (`bind`) or WATM_STATUS_SYSTEM (`host`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_listener_bind(
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    address: *const c_char,
    listener: Option<&mut *mut watm_listener>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(listener, error, || {
        let builder = Listener::builder(&given("the module", module)?.module);
        // SAFETY: the caller's text.
        let address = unsafe { text("the address", address) }?;
        let builder = settings::of(settings).listener(builder);
        Ok(watm_listener::new(builder.bind(address)?))
    })
}

/// Listens on `fd`, a socket that the application has bound and that listens, as
/// watm_listener_bind() does.
///
/// The library owns `fd` from then on, and closes it if the call fails. Only if that is with
/// WATM_STATUS_ARGUMENT does it stay the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_listener_from_fd(
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    fd: c_int,
    listener: Option<&mut *mut watm_listener>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(listener, error, || {
        let builder = Listener::builder(&given("the module", module)?.module);
        // SAFETY: the caller gives it away.
        let socket = TcpListener::from(unsafe { socket("the listening socket", fd) }?);
        let builder = settings::of(settings).listener(builder);
        Ok(watm_listener::new(builder.listen(socket)?))
    })
}

/// Waits for the next connection whose transport is set up. A client whose handshake fails is
/// logged, and causes no error here.
///
/// Fails with WATM_STATUS_CLOSED once the listener is closed, or accepts no more and has none left,
/// and with WATM_STATUS_SYSTEM if its socket failed.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_accept(
    listener: Option<&watm_listener>,
    conn: Option<&mut *mut watm_conn>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(conn, error, || {
        let listener = given("the listener", listener)?;
        Ok(watm_conn::new(listener.listener.accept()?))
    })
}

/// Returns the next connection whose transport is set up, as watm_listener_accept() does, or
/// WATM_STATUS_AGAIN if there is none yet.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_try_accept(
    listener: Option<&watm_listener>,
    conn: Option<&mut *mut watm_conn>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(conn, error, || {
        let listener = given("the listener", listener)?;
        let conn = listener.listener.try_accept()?;
        Ok(watm_conn::new(conn.ok_or_else(Fault::again)?))
    })
}

/// A descriptor for event loops: it is readable while watm_listener_try_accept() may have something
/// to return. See watm_conn_readiness().
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_readiness(
    listener: Option<&watm_listener>,
    fd: Option<&mut MaybeUninit<c_int>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let listener = given("the listener", listener)?;
        let fd = given("the place for the descriptor", fd)?;
        fd.write(listener.listener.readiness()?.into_raw_fd());
        Ok(())
    })
}

/// Replaces the module and the settings for connections that begin from now on, as
/// watm_dialer_replace() does. What was there before is put back only if the new module traps or
/// exits; a handshake that fails does not count, since anybody may be the client.
///
/// What unwraps connections before this module is replaced with it: see
/// watm_settings_accept_through(). The addresses, the backlog and the limit of handshakes stay.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_replace(
    listener: Option<&watm_listener>,
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let listener = given("the listener", listener)?;
        let module = &given("the module", module)?.module;
        let builder = settings::of(settings).listener(Listener::builder(module));
        Ok(listener.listener.replace(builder)?)
    })
}

/// The address listened on, with the port that the system chose; the first, if there are several.
/// It lives as long as the handle. Empty if `listener` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_local_addr(listener: Option<&watm_listener>) -> *const c_char {
    let first = listener.and_then(|listener| listener.addresses.first());
    first.map_or(c"".as_ptr(), |first| first.as_ptr())
}

/// One of the addresses listened on, from 0 on: there are several if a configuration file names
/// several. It lives as long as the handle. Null if there are not that many, or if `listener` is
/// null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_local_addr_at(
    listener: Option<&watm_listener>,
    index: usize,
) -> *const c_char {
    let address = listener.and_then(|listener| listener.addresses.get(index));
    address.map_or(std::ptr::null(), |address| address.as_ptr())
}

/// Tells which connections are open, including those that are being set up. What is told is left in
/// `*connections` and belongs to the caller.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_connections(
    listener: Option<&watm_listener>,
    connections: Option<&mut *mut watm_connections>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(connections, error, || {
        let listener = given("the listener", listener)?;
        Ok(watm_connections::new(&listener.listener.connections()))
    })
}

/// What the listener has done so far. `size` is `sizeof(watm_tally)` as the caller knows it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_listener_stats(
    listener: Option<&watm_listener>,
    tally: *mut watm_tally,
    size: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let listener = given("the listener", listener)?;
        // SAFETY: the caller's record.
        unsafe { put(watm_tally::from(listener.listener.stats()), tally, size) }
    })
}

/// Stops listening. Handshakes in progress and connections go on, and watm_listener_accept()
/// returns those that are set up. `listener` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_stop_accepting(listener: Option<&watm_listener>) {
    quietly((), || {
        if let Some(listener) = listener {
            listener.listener.stop_accepting();
        }
    });
}

/// Stops listening and waits until all connections have ended by themselves, up to a time in
/// milliseconds. Returns WATM_STATUS_AGAIN if some have not; those go on.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_drain(
    listener: Option<&watm_listener>,
    milliseconds: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let listener = given("the listener", listener)?;
        drained(listener.listener.drain(Duration::from_millis(milliseconds)))
    })
}

pub(crate) fn drained(all: bool) -> Result<(), Fault> {
    if all { Ok(()) } else { Err(Fault::again()) }
}

/// Stops listening and cuts all connections off, also those that were accepted, and waits until
/// that is done: within the grace period, and a little more for modules that do not cooperate.
/// `listener` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_shutdown(listener: Option<&watm_listener>) {
    quietly((), || {
        if let Some(listener) = listener {
            listener.listener.shutdown();
        }
    });
}

/// Stops listening: watm_listener_accept() fails with WATM_STATUS_CLOSED at once in all threads,
/// and handshakes and connections that nobody has accepted are dropped. Connections that were
/// accepted live on. `listener` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_close(listener: Option<&watm_listener>) {
    quietly((), || {
        if let Some(listener) = listener {
            listener.listener.close();
        }
    });
}

/// Closes and frees a listener. No thread may be in one of its functions: call
/// watm_listener_close() first, and wait for them. `listener` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_listener_free(listener: Option<Box<watm_listener>>) {
    quietly((), || drop(listener));
}

/// Unwraps sockets that the application accepts by itself.
pub struct watm_acceptor {
    pub(crate) acceptor: Acceptor,
    _counted: Counted,
}

/// Makes an acceptor of a module with the role of a listener. Null `settings` are the defaults.
/// Fails with WATM_STATUS_CONFIG.
#[unsafe(no_mangle)]
pub extern "C" fn watm_acceptor_new(
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    acceptor: Option<&mut *mut watm_acceptor>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(acceptor, error, || {
        let builder = Listener::builder(&given("the module", module)?.module);
        let builder = settings::of(settings).listener(builder);
        Ok(watm_acceptor {
            acceptor: builder.acceptor()?,
            _counted: Counted::new(),
        })
    })
}

/// Runs the module's handshake over `fd`, an accepted stream socket, and returns when it is done.
///
/// The library owns `fd` from then on, and resets it if the handshake fails. Only if the call fails
/// with WATM_STATUS_ARGUMENT does it stay the caller's. It fails as watm_dialer_dial() does
/// otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_acceptor_accept(
    acceptor: Option<&watm_acceptor>,
    fd: c_int,
    conn: Option<&mut *mut watm_conn>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(conn, error, || {
        let acceptor = given("the acceptor", acceptor)?;
        // SAFETY: the caller gives it away.
        let stream = unsafe { socket("the accepted socket", fd) }?;
        Ok(watm_conn::new(acceptor.acceptor.accept(stream)?))
    })
}

/// Begins the module's handshake over `fd`, as watm_acceptor_accept() does, and does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_acceptor_begin(
    acceptor: Option<&watm_acceptor>,
    fd: c_int,
    pending: Option<&mut *mut watm_pending>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(pending, error, || {
        let acceptor = given("the acceptor", acceptor)?;
        // SAFETY: the caller gives it away.
        let stream = unsafe { socket("the accepted socket", fd) }?;
        Ok(watm_pending::new(acceptor.acceptor.begin(stream)))
    })
}

/// Takes over an accepted socket and a plain connection, or neither.
///
/// # Safety
///
/// As for `socket`.
unsafe fn both(fd: c_int, plain: c_int) -> Result<(OwnedFd, OwnedFd), Fault> {
    if fd == plain {
        return Err(Fault::argument("both sides are the same descriptor"));
    }
    // SAFETY: the same demand.
    let stream = unsafe { socket("the accepted socket", fd) }?;
    // SAFETY: the same demand.
    match unsafe { socket("the plain connection", plain) } {
        Ok(plain) => Ok((stream, plain)),
        Err(fault) => {
            // It stays the caller's.
            let _ = stream.into_raw_fd();
            Err(fault)
        }
    }
}

/// Runs the module's handshake over `fd`, and carries what it unwraps to `plain`, a connected
/// stream socket, and the other way round. Returns when the handshake is done.
///
/// The library owns both descriptors from then on, as for watm_acceptor_accept().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_acceptor_carry(
    acceptor: Option<&watm_acceptor>,
    fd: c_int,
    plain: c_int,
    carried: Option<&mut *mut watm_carried>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(carried, error, || {
        let acceptor = given("the acceptor", acceptor)?;
        // SAFETY: the caller gives both away.
        let (stream, plain) = unsafe { both(fd, plain) }?;
        let carried = acceptor.acceptor.carry(stream, plain)?;
        Ok(watm_carried::new(carried))
    })
}

/// Begins to carry what `fd` brings to `plain`, as watm_acceptor_carry() does, and does not wait
/// for the handshake: see watm_pending_wait_carried().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_acceptor_begin_carrying(
    acceptor: Option<&watm_acceptor>,
    fd: c_int,
    plain: c_int,
    pending: Option<&mut *mut watm_pending>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(pending, error, || {
        let acceptor = given("the acceptor", acceptor)?;
        // SAFETY: the caller gives both away.
        let (stream, plain) = unsafe { both(fd, plain) }?;
        let pending = acceptor.acceptor.begin_carrying(stream, plain);
        Ok(watm_pending::carried(pending))
    })
}

/// Replaces the module and the settings for connections that begin from now on, as
/// watm_listener_replace() does.
#[unsafe(no_mangle)]
pub extern "C" fn watm_acceptor_replace(
    acceptor: Option<&watm_acceptor>,
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let acceptor = given("the acceptor", acceptor)?;
        let module = &given("the module", module)?.module;
        let builder = settings::of(settings).listener(Listener::builder(module));
        Ok(acceptor.acceptor.replace(builder)?)
    })
}

/// Frees an acceptor. Its connections and pending handshakes go on. `acceptor` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_acceptor_free(acceptor: Option<Box<watm_acceptor>>) {
    quietly((), || drop(acceptor));
}
