//! Servers: relays, and those that carry plain connections.

use std::ffi::{CString, c_char};
use std::time::Duration;

use watm_wasmer::{Dialer, FixedDialer, Listener, Relay, Role, ServerHandle};

use crate::border::{Counted, call, given, make, optional_text, quietly, text};
use crate::conn::put;
use crate::listener::{c_addresses, drained, watm_tally};
use crate::module::watm_module;
use crate::open::watm_connections;
use crate::settings::{self, watm_settings};
use crate::status::{watm_error, watm_status};

/// A running server: it accepts connections and carries each over a transport, on threads of its
/// own.
pub struct watm_server {
    server: ServerHandle,
    /// What the module is used as.
    role: Role,
    addresses: Vec<CString>,
    _counted: Counted,
}

impl watm_server {
    pub(crate) fn new(server: ServerHandle, role: Role) -> Self {
        Self {
            addresses: c_addresses(server.local_addrs()),
            role,
            server,
            _counted: Counted::new(),
        }
    }
}

/// Starts a relay, which accepts connections on `address`, wraps each and dials on: to `remote`
/// (`host:port`), or, if that is null, to what the module chooses.
///
/// `address` is as for watm_listener_bind(), and null `settings` are the defaults. The server is
/// left in `*server` and belongs to the caller. Fails with WATM_STATUS_CONFIG, WATM_STATUS_LISTEN
/// (`bind`) or WATM_STATUS_SYSTEM (`host`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_relay_spawn(
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    address: *const c_char,
    remote: *const c_char,
    server: Option<&mut *mut watm_server>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(server, error, || {
        let builder = Relay::builder(&given("the module", module)?.module);
        // SAFETY: the caller's text.
        let address = unsafe { text("the address", address) }?;
        // SAFETY: the caller's text.
        let remote = unsafe { optional_text("the remote", remote) }?;
        let kept = settings::of(settings);
        let mut builder = kept.relay(builder);
        if let Some(remote) = remote {
            builder = builder.remote(remote);
        }
        Ok(watm_server::new(
            builder.bind(address)?.spawn()?,
            Role::Relay,
        ))
    })
}

/// Starts a server that accepts plain connections on `address` and carries each to `remote`
/// (`host:port`), as watm_dialer_carry() does; or, if that is null, to what the module chooses as a
/// fixed dialer.
///
/// The rest is as for watm_relay_spawn().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_server_carry(
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    address: *const c_char,
    remote: *const c_char,
    server: Option<&mut *mut watm_server>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(server, error, || {
        let module = &given("the module", module)?.module;
        // SAFETY: the caller's text.
        let address = unsafe { text("the address", address) }?;
        // SAFETY: the caller's text.
        let remote = unsafe { optional_text("the remote", remote) }?;
        let kept = settings::of(settings);
        let builder = match remote {
            Some(remote) => {
                let builder = Dialer::builder(module).settings(&kept.settings);
                builder.carry_to(remote)
            }
            None => FixedDialer::builder(module)
                .settings(&kept.settings)
                .carry(),
        };
        let role = match remote {
            Some(_) => Role::Dialer,
            None => Role::FixedDialer,
        };
        let bound = kept.server(builder).bind(address)?;
        Ok(watm_server::new(bound.spawn()?, role))
    })
}

/// Starts a server that accepts the clients of a listener on `address`, and carries what it unwraps
/// to the plain server `target` (`host:port`).
///
/// The rest is as for watm_relay_spawn().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_server_forward(
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    address: *const c_char,
    target: *const c_char,
    server: Option<&mut *mut watm_server>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(server, error, || {
        let builder = Listener::builder(&given("the module", module)?.module);
        // SAFETY: the caller's text.
        let address = unsafe { text("the address", address) }?;
        // SAFETY: the caller's text.
        let target = unsafe { text("the target", target) }?;
        let kept = settings::of(settings);
        let builder = kept.listener(builder).forward_to(target);
        let bound = kept.server(builder).bind(address)?;
        Ok(watm_server::new(bound.spawn()?, Role::Listener))
    })
}

/// The address listened on, with the port that the system chose; the first, if there are several.
/// It lives as long as the handle. Empty if `server` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_server_local_addr(server: Option<&watm_server>) -> *const c_char {
    let first = server.and_then(|server| server.addresses.first());
    first.map_or(c"".as_ptr(), |first| first.as_ptr())
}

/// One of the addresses listened on, from 0 on: there are several if a configuration file names
/// several. It lives as long as the handle. Null if there are not that many, or if `server` is
/// null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_server_local_addr_at(
    server: Option<&watm_server>,
    index: usize,
) -> *const c_char {
    let address = server.and_then(|server| server.addresses.get(index));
    address.map_or(std::ptr::null(), |address| address.as_ptr())
}

/// Tells which connections are open, including those that are being set up. What is told is left in
/// `*connections` and belongs to the caller.
#[unsafe(no_mangle)]
pub extern "C" fn watm_server_connections(
    server: Option<&watm_server>,
    connections: Option<&mut *mut watm_connections>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(connections, error, || {
        let server = given("the server", server)?;
        Ok(watm_connections::new(&server.server.connections()))
    })
}

/// What the server has done so far. `size` is `sizeof(watm_tally)` as the caller knows it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_server_stats(
    server: Option<&watm_server>,
    tally: *mut watm_tally,
    size: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let server = given("the server", server)?;
        // SAFETY: the caller's record.
        unsafe { put(watm_tally::from(server.server.stats()), tally, size) }
    })
}

/// Replaces the module and the settings for connections that begin from now on, as
/// watm_dialer_replace() does if the server dials for plain clients, and as watm_listener_replace()
/// does otherwise.
///
/// The module is used in the same role. What unwraps connections before it is replaced with it: see
/// watm_settings_accept_through(). The addresses, the remote or target, and the limits of
/// handshakes and connections stay.
#[unsafe(no_mangle)]
pub extern "C" fn watm_server_replace(
    server: Option<&watm_server>,
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let server = given("the server", server)?;
        let module = &given("the module", module)?.module;
        let kept = settings::of(settings);
        Ok(match server.role {
            Role::Dialer => {
                let builder = Dialer::builder(module).settings(&kept.settings);
                server.server.replace(builder)
            }
            Role::FixedDialer => {
                let builder = FixedDialer::builder(module).settings(&kept.settings);
                server.server.replace(builder)
            }
            Role::Listener => server
                .server
                .replace(kept.listener(Listener::builder(module))),
            Role::Relay => server.server.replace(kept.relay(Relay::builder(module))),
        }?)
    })
}

/// Waits until the server accepts no more connections, because it was told to end. Connections may
/// still be open then. Fails with WATM_STATUS_SYSTEM if its listening socket failed.
#[unsafe(no_mangle)]
pub extern "C" fn watm_server_wait(
    server: Option<&watm_server>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || Ok(given("the server", server)?.server.wait()?))
}

/// Stops listening. Open connections go on. `server` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_server_stop_accepting(server: Option<&watm_server>) {
    quietly((), || {
        if let Some(server) = server {
            server.server.stop_accepting();
        }
    });
}

/// Stops listening and waits until all connections have ended by themselves, up to a time in
/// milliseconds. Returns WATM_STATUS_AGAIN if some have not; those go on.
#[unsafe(no_mangle)]
pub extern "C" fn watm_server_drain(
    server: Option<&watm_server>,
    milliseconds: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let server = given("the server", server)?;
        drained(server.server.drain(Duration::from_millis(milliseconds)))
    })
}

/// Stops listening and cuts all connections off, and waits until that is done: within the grace
/// period, and a little more for modules that do not cooperate. `server` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_server_shutdown(server: Option<&watm_server>) {
    quietly((), || {
        if let Some(server) = server {
            server.server.shutdown();
        }
    });
}

/// Frees a server. Its connections are cut off as by watm_server_shutdown(), without waiting.
/// `server` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_server_free(server: Option<Box<watm_server>>) {
    quietly((), || drop(server));
}
