//! Configuration files: what they say, and what is made of it.

use std::ffi::{CString, c_char};
use std::ptr::null;

use watm_wasmer::{Builder, Config, Dialer, FixedDialer, Listener, Relay, Role, Server, Tunnel};

use crate::border::{Counted, given, make, optional_text, path, quietly};
use crate::dialer::{watm_dialer, watm_fixed_dialer};
use crate::listener::watm_listener;
use crate::module::{role_bit, snapshot, watm_loader};
use crate::server::watm_server;
use crate::settings::{self, Kept, watm_settings};
use crate::status::{Fault, c_text, watm_error, watm_status};

/// A configuration file: one or more tunnels, each with a module, its role, addresses and settings.
/// `docs/configuration.md` in the repository explains the format.
pub struct watm_config {
    config: Config,
    warnings: Vec<CString>,
    tunnels: Vec<Texts>,
    _counted: Counted,
}

/// What a tunnel says, for C.
struct Texts {
    name: Option<CString>,
    remote: Option<CString>,
    role: u32,
}

impl watm_config {
    fn new(config: Config) -> Self {
        let warnings = config.warnings().iter();
        let tunnels = config.tunnels().iter().map(|tunnel| Texts {
            name: tunnel.name().map(c_text),
            remote: tunnel.remote().map(|remote| c_text(remote.as_str())),
            role: tunnel.role().map_or(0, role_bit),
        });
        Self {
            warnings: warnings.map(|warning| c_text(warning)).collect(),
            tunnels: tunnels.collect(),
            config,
            _counted: Counted::new(),
        }
    }

    /// The tunnel with this name, or the only one.
    ///
    /// # Safety
    ///
    /// `name` is null or a text.
    unsafe fn tunnel(&self, name: *const c_char) -> Result<&Tunnel, Fault> {
        // SAFETY: the same demand.
        let name = unsafe { optional_text("the name", name) }?;
        Ok(match name {
            Some(name) => self.config.tunnel(name)?,
            None => self.config.only()?,
        })
    }
}

/// Reads a configuration file, in TOML or in the JSON form of the Go runtime. The files that it
/// names are not looked at yet.
///
/// `loader` is for the modules, with its limits and its cache; the conditions of the file replace
/// its own. Null is one without conditions. Fails with WATM_STATUS_CONFIG, and a message that names
/// the line and the key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_config_load_file(
    file: *const c_char,
    loader: Option<&watm_loader>,
    config: Option<&mut *mut watm_config>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(config, error, || {
        // SAFETY: the caller's text.
        let config = Config::from_file(unsafe { path("the file", file) }?)?;
        Ok(watm_config::new(match loader {
            Some(loader) => config.loader(snapshot(Some(loader))?),
            None => config,
        }))
    })
}

/// What the file says that means nothing here, or something else: one line of text for each, from 0
/// on. It lives as long as the handle. Null if there are not that many, or if `config` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_config_warning(config: Option<&watm_config>, index: usize) -> *const c_char {
    let warning = config.and_then(|config| config.warnings.get(index));
    warning.map_or(null(), |warning| warning.as_ptr())
}

/// How many tunnels there are: at least one. 0 if `config` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_config_tunnel_count(config: Option<&watm_config>) -> usize {
    config.map_or(0, |config| config.tunnels.len())
}

fn tunnel_text(
    config: Option<&watm_config>,
    index: usize,
    text: impl FnOnce(&Texts) -> Option<&CString>,
) -> *const c_char {
    let tunnel = config.and_then(|config| config.tunnels.get(index));
    tunnel.and_then(text).map_or(null(), |text| text.as_ptr())
}

/// The name of a tunnel, from 0 on in the order of the file. It lives as long as the handle. Null
/// if there are not that many, if it has none (in a file of the Go runtime), or if `config` is
/// null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_config_tunnel_name(
    config: Option<&watm_config>,
    index: usize,
) -> *const c_char {
    tunnel_text(config, index, |tunnel| tunnel.name.as_ref())
}

/// Where a tunnel connects to, which is what a dialer made from it is to dial. As for
/// watm_config_tunnel_name(); null also if it has no remote.
#[unsafe(no_mangle)]
pub extern "C" fn watm_config_tunnel_remote(
    config: Option<&watm_config>,
    index: usize,
) -> *const c_char {
    tunnel_text(config, index, |tunnel| tunnel.remote.as_ref())
}

/// The role of a tunnel: WATM_ROLE_DIALER and so on. 0 if there are not that many, if it has none
/// (in a file of the Go runtime), or if `config` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_config_tunnel_role(config: Option<&watm_config>, index: usize) -> u32 {
    let tunnel = config.and_then(|config| config.tunnels.get(index));
    tunnel.map_or(0, |tunnel| tunnel.role)
}

/// Makes the dialer of a tunnel. This loads its module, which compiles it, and reads the files that
/// are named.
///
/// `name` is that of the tunnel; null is the only one. `settings`, which may be null, are what the
/// file does not set: a dial hook, an observer. The dialer is left in `*dialer` and belongs to the
/// caller. A proxy or a chain of the file replaces those of `settings`, and is refused if they
/// prepare sockets, since it would not be done there.
///
/// Fails as watm_dialer_new() and watm_loader_load_file() do, and with WATM_STATUS_CONFIG if there
/// is no such tunnel, if it has another role, or if something that it names cannot be used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_config_dialer(
    config: Option<&watm_config>,
    name: *const c_char,
    settings: Option<&watm_settings>,
    dialer: Option<&mut *mut watm_dialer>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(dialer, error, || {
        // SAFETY: the caller's text.
        let tunnel = unsafe { given("the configuration", config)?.tunnel(name) }?;
        tunnel.check_role(Role::Dialer)?;
        let kept = settings::of(settings);
        Ok(watm_dialer::new(dialer_of(tunnel, &kept)?.build()?))
    })
}

/// Makes the fixed dialer of a tunnel, as watm_config_dialer() makes a dialer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_config_fixed_dialer(
    config: Option<&watm_config>,
    name: *const c_char,
    settings: Option<&watm_settings>,
    dialer: Option<&mut *mut watm_fixed_dialer>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(dialer, error, || {
        // SAFETY: the caller's text.
        let tunnel = unsafe { given("the configuration", config)?.tunnel(name) }?;
        tunnel.check_role(Role::FixedDialer)?;
        let kept = settings::of(settings);
        let dialer = fixed_dialer_of(tunnel, &kept)?.build()?;
        Ok(watm_fixed_dialer::new(dialer))
    })
}

/// Makes the listener of a tunnel, which listens on its addresses, as watm_config_dialer() makes a
/// dialer. Fails as watm_listener_bind() does too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_config_listener(
    config: Option<&watm_config>,
    name: *const c_char,
    settings: Option<&watm_settings>,
    listener: Option<&mut *mut watm_listener>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(listener, error, || {
        // SAFETY: the caller's text.
        let tunnel = unsafe { given("the configuration", config)?.tunnel(name) }?;
        tunnel.check_role(Role::Listener)?;
        let kept = settings::of(settings);
        let listener = listener_of(tunnel, &kept)?.bind_all(addresses(tunnel))?;
        Ok(watm_listener::new(listener))
    })
}

/// Starts the server of a tunnel, which listens on its addresses, as watm_config_dialer() makes a
/// dialer: it carries plain connections to the remote of a dialer or to what a fixed dialer
/// chooses, forwards what a listener unwraps, or relays. Fails as watm_relay_spawn() does too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_config_server(
    config: Option<&watm_config>,
    name: *const c_char,
    settings: Option<&watm_settings>,
    server: Option<&mut *mut watm_server>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(server, error, || {
        // SAFETY: the caller's text.
        let tunnel = unsafe { given("the configuration", config)?.tunnel(name) }?;
        let kept = settings::of(settings);
        if tunnel.role() == Some(Role::Relay) {
            check_way_out(tunnel, &kept)?;
            let relay = kept.relay(Relay::builder(&tunnel.load_module()?));
            let relay = tunnel.configure(relay)?.bind_all(addresses(tunnel))?;
            return Ok(watm_server::new(relay.spawn()?, Role::Relay));
        }
        let (builder, role) = server_of(tunnel, &kept)?;
        let mut builder = kept.server(builder);
        if let Some(limit) = tunnel.connection_limit() {
            builder = builder.connection_limit(limit);
        }
        let server = builder.bind_all(addresses(tunnel))?;
        Ok(watm_server::new(server.spawn()?, role))
    })
}

/// Frees a configuration. What was made from it goes on. `config` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_config_free(config: Option<Box<watm_config>>) {
    quietly((), || drop(config));
}

fn addresses(tunnel: &Tunnel) -> impl Iterator<Item = &str> {
    tunnel.listen().iter().map(|address| address.as_str())
}

/// Refuses a tunnel whose connections to the network would not be prepared, although the settings
/// say so. A program that protects its sockets must not find that out from where its packets go.
fn check_way_out(tunnel: &Tunnel, kept: &Kept) -> Result<(), Fault> {
    let is_elsewhere = tunnel.sets("proxy") || !tunnel.below().is_empty();
    if !is_elsewhere || !kept.prepares_sockets() {
        return Ok(());
    }
    let message = "sockets are to be prepared, but the file has connections made through a proxy or \
        other modules, where they would not be: set those with watm_settings_upstream_proxy() or \
        watm_settings_dial_through() in place of the file";
    Err(Fault::new(
        watm_status::Config,
        "invalid",
        libc::EINVAL,
        message,
    ))
}

fn dialer_of(tunnel: &Tunnel, kept: &Kept) -> Result<Builder<Dialer>, Fault> {
    check_way_out(tunnel, kept)?;
    let builder = Dialer::builder(&tunnel.load_module()?);
    Ok(tunnel.configure(builder.settings(&kept.settings))?)
}

fn fixed_dialer_of(tunnel: &Tunnel, kept: &Kept) -> Result<Builder<FixedDialer>, Fault> {
    check_way_out(tunnel, kept)?;
    let builder = FixedDialer::builder(&tunnel.load_module()?);
    Ok(tunnel.configure(builder.settings(&kept.settings))?)
}

fn listener_of(tunnel: &Tunnel, kept: &Kept) -> Result<Builder<Listener>, Fault> {
    let builder = Listener::builder(&tunnel.load_module()?);
    Ok(tunnel.configure(kept.listener(builder))?)
}

/// A server of plain connections.
fn server_of(tunnel: &Tunnel, kept: &Kept) -> Result<(Builder<Server>, Role), Fault> {
    match (tunnel.role(), tunnel.remote(), tunnel.forward()) {
        (Some(role @ Role::Dialer), Some(remote), _) => {
            Ok((dialer_of(tunnel, kept)?.carry_to(remote.as_str()), role))
        }
        (Some(role @ Role::FixedDialer), ..) => Ok((fixed_dialer_of(tunnel, kept)?.carry(), role)),
        (Some(role @ Role::Listener), _, Some(forward)) => {
            let listener = listener_of(tunnel, kept)?;
            Ok((listener.forward_to(forward.as_str()), role))
        }
        // It says what is missing.
        (role, ..) => Ok((tunnel.server()?, role.unwrap_or(Role::Dialer))),
    }
}
