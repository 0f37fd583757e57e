//! Dialers: the application chooses the address, or the module does.

use std::ffi::{c_char, c_int};

use watm_wasmer::{Dialer, FixedDialer};

use crate::border::{Counted, call, given, make, quietly, socket, text};
use crate::carried::watm_carried;
use crate::conn::watm_conn;
use crate::module::watm_module;
use crate::options::{self, watm_dial_options};
use crate::pending::watm_pending;
use crate::settings::{self, watm_settings};
use crate::status::{watm_error, watm_status};

/// Dials addresses that the application chooses.
pub struct watm_dialer {
    pub(crate) dialer: Dialer,
    _counted: Counted,
}

impl watm_dialer {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self {
            dialer,
            _counted: Counted::new(),
        }
    }
}

/// Makes a dialer of a module. Null `settings` are the defaults.
///
/// It is left in `*dialer` and belongs to the caller, as does what the other functions here make.
/// Fails with WATM_STATUS_CONFIG: `role`, `directory` or `invalid`.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dialer_new(
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    dialer: Option<&mut *mut watm_dialer>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(dialer, error, || {
        let builder = Dialer::builder(&given("the module", module)?.module);
        let builder = builder.settings(&settings::of(settings).settings);
        Ok(watm_dialer::new(builder.build()?))
    })
}

/// Dials `target` (`host:port` or `[v6]:port`), and returns after the handshake of the module. Null
/// `options` are the defaults.
///
/// Fails with WATM_STATUS_CONNECT (`address`, `resolve`, `connect`, `instantiate`),
/// WATM_STATUS_TRANSPORT, WATM_STATUS_TIMED_OUT, WATM_STATUS_CANCELLED, WATM_STATUS_SYSTEM, or
/// WATM_STATUS_CONFIG for settings of these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_dialer_dial(
    dialer: Option<&watm_dialer>,
    target: *const c_char,
    options: Option<&watm_dial_options>,
    conn: Option<&mut *mut watm_conn>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(conn, error, || {
        let dialer = given("the dialer", dialer)?;
        // SAFETY: the caller's text.
        let target = unsafe { text("the target", target) }?;
        let conn = dialer.dialer.dial_with(target, options::of(options))?;
        Ok(watm_conn::new(conn))
    })
}

/// Begins to dial, and does not wait. What goes wrong after the arguments were checked is the
/// result of watm_pending_wait().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_dialer_begin(
    dialer: Option<&watm_dialer>,
    target: *const c_char,
    options: Option<&watm_dial_options>,
    pending: Option<&mut *mut watm_pending>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(pending, error, || {
        let dialer = given("the dialer", dialer)?;
        // SAFETY: the caller's text.
        let target = unsafe { text("the target", target) }?;
        let pending = dialer.dialer.begin(target, options::of(options));
        Ok(watm_pending::new(pending))
    })
}

/// Dials `target` as watm_dialer_dial() does, and carries the plain connection `fd`, a connected
/// stream socket, over the transport. Returns after the handshake of the module.
///
/// The library owns `fd` from then on, and resets it if the dial fails. Only if the call fails with
/// WATM_STATUS_ARGUMENT does it stay the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_dialer_carry(
    dialer: Option<&watm_dialer>,
    fd: c_int,
    target: *const c_char,
    options: Option<&watm_dial_options>,
    carried: Option<&mut *mut watm_carried>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(carried, error, || {
        let dialer = given("the dialer", dialer)?;
        // SAFETY: the caller's text.
        let target = unsafe { text("the target", target) }?;
        // SAFETY: the caller gives it away.
        let plain = unsafe { socket("the plain connection", fd) }?;
        let options = options::of(options);
        let carried = dialer.dialer.carry_with(plain, target, options)?;
        Ok(watm_carried::new(carried))
    })
}

/// Begins to carry the plain connection `fd`, as watm_dialer_carry() does, and does not wait: see
/// watm_pending_wait_carried().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_dialer_begin_carrying(
    dialer: Option<&watm_dialer>,
    fd: c_int,
    target: *const c_char,
    options: Option<&watm_dial_options>,
    pending: Option<&mut *mut watm_pending>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(pending, error, || {
        let dialer = given("the dialer", dialer)?;
        // SAFETY: the caller's text.
        let target = unsafe { text("the target", target) }?;
        // SAFETY: the caller gives it away.
        let plain = unsafe { socket("the plain connection", fd) }?;
        let options = options::of(options);
        let pending = dialer.dialer.begin_carrying(plain, target, options);
        Ok(watm_pending::carried(pending))
    })
}

/// Replaces the module and the settings for connections that begin from now on; those that are
/// there go on as they are. Null `settings` are the defaults. Pending dials go on with what they
/// began with.
///
/// Nothing changes unless one instance of the new module could be made. If then the first three
/// connections all fail because of it (it returns an error, traps, exits or does not finish its
/// handshake), what was there before is put back, and the log says so.
///
/// Fails with WATM_STATUS_CONFIG, or as a dial does if no instance can be made.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dialer_replace(
    dialer: Option<&watm_dialer>,
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let dialer = given("the dialer", dialer)?;
        let module = &given("the module", module)?.module;
        let builder = Dialer::builder(module).settings(&settings::of(settings).settings);
        Ok(dialer.dialer.replace(builder)?)
    })
}

/// Frees a dialer. Its connections and pending dials go on. `dialer` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dialer_free(dialer: Option<Box<watm_dialer>>) {
    quietly((), || drop(dialer));
}

/// Dials addresses that the module chooses, as far as watm_settings_allow() lets it.
pub struct watm_fixed_dialer {
    dialer: FixedDialer,
    _counted: Counted,
}

impl watm_fixed_dialer {
    pub(crate) fn new(dialer: FixedDialer) -> Self {
        Self {
            dialer,
            _counted: Counted::new(),
        }
    }
}

/// Makes a fixed dialer of a module, as watm_dialer_new() makes a dialer.
#[unsafe(no_mangle)]
pub extern "C" fn watm_fixed_dialer_new(
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    dialer: Option<&mut *mut watm_fixed_dialer>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(dialer, error, || {
        let builder = FixedDialer::builder(&given("the module", module)?.module);
        let builder = builder.settings(&settings::of(settings).settings);
        Ok(watm_fixed_dialer::new(builder.build()?))
    })
}

/// Lets the module dial, and returns after its handshake. Fails as watm_dialer_dial() does, and
/// with WATM_STATUS_CONNECT and the code `denied` if the policy does not allow the address.
#[unsafe(no_mangle)]
pub extern "C" fn watm_fixed_dialer_dial(
    dialer: Option<&watm_fixed_dialer>,
    options: Option<&watm_dial_options>,
    conn: Option<&mut *mut watm_conn>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(conn, error, || {
        let dialer = given("the dialer", dialer)?;
        let conn = dialer.dialer.dial_with(options::of(options))?;
        Ok(watm_conn::new(conn))
    })
}

/// Begins to let the module dial, as watm_dialer_begin() does.
#[unsafe(no_mangle)]
pub extern "C" fn watm_fixed_dialer_begin(
    dialer: Option<&watm_fixed_dialer>,
    options: Option<&watm_dial_options>,
    pending: Option<&mut *mut watm_pending>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(pending, error, || {
        let dialer = given("the dialer", dialer)?;
        Ok(watm_pending::new(dialer.dialer.begin(options::of(options))))
    })
}

/// Lets the module dial, and carries the plain connection `fd` over the transport, as
/// watm_dialer_carry() does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_fixed_dialer_carry(
    dialer: Option<&watm_fixed_dialer>,
    fd: c_int,
    options: Option<&watm_dial_options>,
    carried: Option<&mut *mut watm_carried>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(carried, error, || {
        let dialer = given("the dialer", dialer)?;
        // SAFETY: the caller gives it away.
        let plain = unsafe { socket("the plain connection", fd) }?;
        let carried = dialer.dialer.carry_with(plain, options::of(options))?;
        Ok(watm_carried::new(carried))
    })
}

/// Lets the module dial, and begins to carry the plain connection `fd`, as
/// watm_dialer_begin_carrying() does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_fixed_dialer_begin_carrying(
    dialer: Option<&watm_fixed_dialer>,
    fd: c_int,
    options: Option<&watm_dial_options>,
    pending: Option<&mut *mut watm_pending>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(pending, error, || {
        let dialer = given("the dialer", dialer)?;
        // SAFETY: the caller gives it away.
        let plain = unsafe { socket("the plain connection", fd) }?;
        let pending = dialer.dialer.begin_carrying(plain, options::of(options));
        Ok(watm_pending::carried(pending))
    })
}

/// Replaces the module and the settings for connections that begin from now on, as
/// watm_dialer_replace() does.
#[unsafe(no_mangle)]
pub extern "C" fn watm_fixed_dialer_replace(
    dialer: Option<&watm_fixed_dialer>,
    module: Option<&watm_module>,
    settings: Option<&watm_settings>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let dialer = given("the dialer", dialer)?;
        let module = &given("the module", module)?.module;
        let builder = FixedDialer::builder(module).settings(&settings::of(settings).settings);
        Ok(dialer.dialer.replace(builder)?)
    })
}

/// Frees a fixed dialer. Its connections and pending dials go on. `dialer` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_fixed_dialer_free(dialer: Option<Box<watm_fixed_dialer>>) {
    quietly((), || drop(dialer));
}
