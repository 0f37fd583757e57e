//! What a single dial may have of its own: options, and a token that cancels it.

use std::ffi::{c_char, c_void};
use std::sync::Mutex;
use std::time::Duration;

use watm_wasmer::{CancelToken, DialOptions, Network};

use crate::border::{Counted, bytes, call, given, handle, lock, quietly, text};
use crate::settings::{self, watm_settings};
use crate::status::{Fault, watm_error, watm_status};

/// Options of single dials, in place of what their dialer has. They are copied when a dial begins.
pub struct watm_dial_options {
    options: Mutex<DialOptions>,
    _counted: Counted,
}

/// The options, or the defaults if there are none.
pub(crate) fn of(options: Option<&watm_dial_options>) -> DialOptions {
    options.map_or_else(DialOptions::new, |options| lock(&options.options).clone())
}

fn change<T>(
    options: Option<&watm_dial_options>,
    error: Option<&mut *mut watm_error>,
    value: impl FnOnce() -> Result<T, Fault>,
    change: impl FnOnce(DialOptions, T) -> DialOptions,
) -> watm_status {
    call(error, || {
        let options = given("the handle of the options", options)?;
        let value = value()?;
        let mut options = lock(&options.options);
        *options = change(std::mem::take(&mut options), value);
        Ok(())
    })
}

/// Makes options that change nothing. Null if there is no memory.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_options_new() -> *mut watm_dial_options {
    handle(|| watm_dial_options {
        options: Mutex::default(),
        _counted: Counted::new(),
    })
}

/// Frees options. Dials that have begun keep them. `options` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_options_free(options: Option<Box<watm_dial_options>>) {
    quietly((), || drop(options));
}

/// Sets all settings for these dials in place of those of their dialer: configuration, arguments,
/// files, policy, timeouts and the others. They are copied.
///
/// Settings that cannot be used fail the dial with WATM_STATUS_CONFIG. The connection makes an
/// instance of its own, and takes no spare one.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_options_settings(
    options: Option<&watm_dial_options>,
    settings: Option<&watm_settings>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let settings = || Ok(settings::of(Some(given("the settings", settings)?)));
    change(options, error, settings, |options, kept| {
        options.settings(&kept.settings)
    })
}

/// Sets the configuration of the module for these dials, also in place of what
/// watm_dial_options_settings() says: the contents of `/conf/watm.cfg`, which are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_dial_options_config(
    options: Option<&watm_dial_options>,
    data: *const c_void,
    length: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    // SAFETY: the caller's bytes.
    let given = || unsafe { bytes("the configuration", data, length) };
    change(options, error, given, |options, data| options.config(data))
}

/// Sets the network that is dialled: `tcp` (the default), `tcp4` or `tcp6`. It has no effect on a
/// fixed dialer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_dial_options_network(
    options: Option<&watm_dial_options>,
    network: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let parse = || {
        // SAFETY: the caller's text.
        let network: Result<Network, _> = unsafe { text("the network", network) }?.parse();
        network.map_err(|error| Fault::argument(error.to_string()))
    };
    change(options, error, parse, DialOptions::network)
}

/// Sets the maximum time for the whole set-up of a connection in milliseconds, in place of the
/// set-up timeout of the settings. 0 fails at once.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_options_timeout(
    options: Option<&watm_dial_options>,
    milliseconds: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let timeout = || Ok(Duration::from_millis(milliseconds));
    change(options, error, timeout, DialOptions::timeout)
}

/// Lets a token cancel these dials. The token may be freed before they are over.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_options_cancel(
    options: Option<&watm_dial_options>,
    token: Option<&watm_cancel_token>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let token = || given("the token", token);
    change(options, error, token, |options, token| {
        options.cancel(&token.token)
    })
}

/// Cancels dials, from any thread. A token that was cancelled stays so.
pub struct watm_cancel_token {
    token: CancelToken,
    _counted: Counted,
}

/// Makes a token that cancels nothing yet. Null if there is no memory.
#[unsafe(no_mangle)]
pub extern "C" fn watm_cancel_token_new() -> *mut watm_cancel_token {
    handle(|| watm_cancel_token {
        token: CancelToken::new(),
        _counted: Counted::new(),
    })
}

/// Cancels all dials that are under way and have this token: they fail with WATM_STATUS_CANCELLED,
/// as do those that begin later. Connections that are set up go on. Does not wait. `token` may be
/// null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_cancel_token_cancel(token: Option<&watm_cancel_token>) {
    quietly((), || {
        if let Some(token) = token {
            token.token.cancel();
        }
    });
}

/// Whether the token was cancelled. False if `token` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_cancel_token_is_cancelled(token: Option<&watm_cancel_token>) -> bool {
    quietly(false, || {
        token.is_some_and(|token| token.token.is_cancelled())
    })
}

/// Frees a token, which does not cancel its dials. `token` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_cancel_token_free(token: Option<Box<watm_cancel_token>>) {
    quietly((), || drop(token));
}
