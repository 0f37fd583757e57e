//! How outgoing connections are made: from where, through what, and by whom.

use std::ffi::{c_char, c_void};
use std::net::IpAddr;
use std::sync::Arc;

use watm_wasmer::UpstreamProxy;

use crate::border::{given, text};
use crate::dialer::watm_dialer;
use crate::hooks::{
    Dialling, Preparing, Resolving, User, watm_destroy_fn, watm_dial_fn, watm_prepare_fn,
    watm_resolve_fn,
};
use crate::listener::watm_acceptor;
use crate::settings::{change, watm_settings};
use crate::status::{Fault, watm_error, watm_status};

/// Sets the local IP address of outgoing connections, one for each family. A family without one is
/// left to the system.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_source_address(
    settings: Option<&watm_settings>,
    address: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let parse = || {
        // SAFETY: the caller's text.
        let address: Result<IpAddr, _> = unsafe { text("the address", address) }?.parse();
        address.map_err(|error| Fault::argument(format!("the address: {error}")))
    };
    change(settings, error, parse, |kept, address| {
        kept.change(|settings| settings.source_address(address));
    })
}

/// Binds outgoing connections to a network interface (`SO_BINDTODEVICE`), such as `eth0`. Kernels
/// before 5.7 allow it to privileged processes alone. Linux and Android only.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_interface(
    settings: Option<&watm_settings>,
    name: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    // SAFETY: the caller's text.
    let given = || unsafe { text("the interface", name) };
    change(settings, error, given, |kept, name| {
        kept.change(|settings| settings.interface(name));
    })
}

/// Marks the packets of outgoing connections for routing and filters (`SO_MARK`), which needs
/// `CAP_NET_ADMIN`. Linux and Android only.
#[cfg(any(target_os = "android", target_os = "linux"))]
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_mark(
    settings: Option<&watm_settings>,
    mark: u32,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    change(
        settings,
        error,
        || Ok(mark),
        |kept, mark| {
            kept.change(|settings| settings.mark(mark));
        },
    )
}

/// Makes outgoing connections through a proxy: `socks5://HOST:PORT` or `http://HOST:PORT`, where
/// `USER:PASSWORD@` may stand before the host, percent-encoded.
///
/// Names are passed to the proxy and resolved there, so they do not reach the system's resolver;
/// except those that the module chose, since each of their addresses has to pass the policy. What
/// the functions above and watm_settings_prepare() say applies to the connection to the proxy.
///
/// It replaces what watm_settings_dial_through() or watm_settings_dial_hook() has set. Fails with
/// WATM_STATUS_ARGUMENT if it is no such proxy; the message does not quote it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_upstream_proxy(
    settings: Option<&watm_settings>,
    proxy: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let parse = || {
        // SAFETY: the caller's text.
        let proxy: Result<UpstreamProxy, _> = unsafe { text("the proxy", proxy) }?.parse();
        proxy.map_err(|error| Fault::argument(error.to_string()))
    };
    change(settings, error, parse, |kept, proxy| {
        kept.change_outgoing(|outgoing| outgoing.maker = Some(Arc::new(proxy)));
    })
}

/// Makes outgoing connections through another dialer: a chain of modules. Bytes that are written go
/// through the module of these settings first, and that of `dialer` is next to the network.
///
/// Connections to the network are made as the settings of `dialer` say. The handle may be freed
/// before the connections end. It replaces what watm_settings_upstream_proxy() or
/// watm_settings_dial_hook() has set.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_dial_through(
    settings: Option<&watm_settings>,
    dialer: Option<&watm_dialer>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let dialer = || Ok(given("the dialer", dialer)?.dialer.clone());
    change(settings, error, dialer, |kept, dialer| {
        kept.change_outgoing(|outgoing| outgoing.maker = Some(Arc::new(dialer)));
    })
}

/// Has `acceptor` unwrap each connection that a listener, an acceptor, a relay or a server that
/// forwards accepts before its own module does: the other end of a chain.
///
/// The handle may be freed before the connections end.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_accept_through(
    settings: Option<&watm_settings>,
    acceptor: Option<&watm_acceptor>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let acceptor = || Ok(given("the acceptor", acceptor)?.acceptor.clone());
    change(settings, error, acceptor, |kept, acceptor| {
        kept.below = Some(acceptor);
    })
}

/// Makes outgoing connections in the application: see watm_dial_fn. It replaces what
/// watm_settings_upstream_proxy() or watm_settings_dial_through() has set.
///
/// The callback gets `user`. It is called from threads of the library, several at a time, until
/// `destroy` was called with `user`: once, from any thread, when nothing uses it any more. That
/// happens at once if the call fails. `destroy` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_dial_hook(
    settings: Option<&watm_settings>,
    dial: watm_dial_fn,
    user: *mut c_void,
    destroy: watm_destroy_fn,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let user = User::new(user, destroy);
    let hook = || Ok(Dialling::new(given("the dial hook", dial)?, user));
    change(settings, error, hook, |kept, hook| {
        kept.change_outgoing(|outgoing| outgoing.maker = Some(Arc::new(hook)));
    })
}

/// Prepares each socket before it connects, which is where a VPN program protects it: see
/// watm_prepare_fn. `user` and `destroy` are as for watm_settings_dial_hook().
///
/// It is not called for sockets that a dial hook of the application makes, nor for those of a
/// dialer that connections go through, which has settings of its own.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_prepare(
    settings: Option<&watm_settings>,
    prepare: watm_prepare_fn,
    user: *mut c_void,
    destroy: watm_destroy_fn,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let user = User::new(user, destroy);
    let preparing = || Ok(Preparing::new(given("the callback", prepare)?, user));
    change(settings, error, preparing, |kept, preparing| {
        kept.change_outgoing(|outgoing| outgoing.preparing = Some(Arc::new(preparing)));
    })
}

/// Finds the addresses of names in place of the system's resolver, which is then never asked: see
/// watm_resolve_fn. `user` and `destroy` are as for watm_settings_dial_hook().
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_resolver(
    settings: Option<&watm_settings>,
    resolve: watm_resolve_fn,
    user: *mut c_void,
    destroy: watm_destroy_fn,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let user = User::new(user, destroy);
    let resolver = || Ok(Resolving::new(given("the resolver", resolve)?, user));
    change(settings, error, resolver, |kept, resolver| {
        kept.change(|settings| settings.resolver(resolver));
    })
}
