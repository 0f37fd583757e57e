//! Applies the settings of a file to the builders: the only place that calls their setters.

use super::file::{PolicyTable, Settings, StdioKey, StdioName, StreamName};
use super::resolved::Resolved;
use super::tunnel::Tunnel;
use crate::error::ConfigFileError;
use crate::host::stdio::Stdio;
use crate::net::policy::AddressPolicy;
use crate::roles::builder::Builder;
use crate::roles::dialer::{Dialer, FixedDialer};
use crate::roles::listener::{Acceptor, Listener};
use crate::roles::relay::Relay;
use crate::roles::server::Server;

/// Applies what all roles have.
pub(super) fn settings<R>(
    mut builder: Builder<R>,
    settings: &Settings,
    resolved: Resolved,
) -> Builder<R> {
    let Resolved {
        config,
        dirs,
        files,
    } = resolved;
    if let Some(config) = config {
        builder = builder.config(config);
    }
    for arg in settings.args.iter().flatten() {
        builder = builder.arg(arg);
    }
    for (name, value) in settings.env.iter().flatten() {
        builder = builder.env(name, value);
    }
    for dir in dirs {
        builder = if dir.writable {
            builder.dir_writable(dir.host, dir.guest)
        } else {
            builder.dir(dir.host, dir.guest)
        };
    }
    for file in files {
        builder = builder.file(file.guest, &*file.bytes);
    }
    if let Some(stdio) = &settings.stdio {
        builder = builder.stdio(streams(stdio));
    }
    if let Some(policy) = &settings.policy {
        builder = builder.policy(addresses(policy));
    }
    limits(times(outgoing(builder, settings), settings), settings)
}

fn outgoing<R>(mut builder: Builder<R>, settings: &Settings) -> Builder<R> {
    for address in settings.source_addresses.iter().flatten() {
        builder = builder.source_address(address.value);
    }
    #[cfg(any(target_os = "android", target_os = "linux"))]
    {
        if let Some(name) = &settings.interface {
            builder = builder.interface(name);
        }
        if let Some(mark) = settings.mark {
            builder = builder.mark(u32::try_from(mark).unwrap_or(u32::MAX));
        }
    }
    builder
}

fn times<R>(mut builder: Builder<R>, settings: &Settings) -> Builder<R> {
    if let Some(timeout) = &settings.connect_timeout {
        builder = builder.connect_timeout(timeout.value.0);
    }
    if let Some(timeout) = &settings.setup_timeout {
        builder = builder.setup_timeout(timeout.value.0);
    }
    if let Some(grace) = &settings.close_grace {
        builder = builder.close_grace(grace.value.0);
    }
    if let Some(timeout) = &settings.drain_timeout {
        builder = builder.drain_timeout(timeout.value.0);
    }
    if let Some(idle) = &settings.keepalive {
        builder = builder.keepalive(idle.value.0);
    }
    builder
}

fn limits<R>(mut builder: Builder<R>, settings: &Settings) -> Builder<R> {
    if let Some(limit) = &settings.memory_limit {
        builder = builder.memory_limit(limit.value.0);
    }
    if let Some(headroom) = &settings.memory_headroom {
        builder = builder.memory_headroom(headroom.value.0);
    }
    if let Some(limit) = settings.descriptor_limit {
        builder = builder.descriptor_limit(count(limit));
    }
    if let Some(spares) = settings.spare_instances {
        builder = builder.spare_instances(count(spares));
    }
    if let Some(rate) = settings.spare_refill_rate {
        builder = builder.spare_refill_rate(u32::try_from(rate).unwrap_or(u32::MAX));
    }
    #[cfg(feature = "aead")]
    if let Some(on) = settings.host_aead {
        builder = builder.host_aead(on);
    }
    if let Some(timing) = settings.timing {
        builder = builder.timing(timing);
    }
    builder
}

/// What a [`Tunnel`] can configure: a [`Dialer`], [`FixedDialer`], [`Listener`] or [`Relay`].
///
/// Users of the library cannot implement it.
///
/// ```
/// use watm_wasmer::{Builder, Config, ConfigFileError, Dialer, TransportModule};
/// use watm_wasmer::{Tunnel, TunnelRole};
///
/// /// The settings of the file, and those of this program, whatever the role is.
/// fn configured<R: TunnelRole>(
///     tunnel: &Tunnel,
///     builder: Builder<R>,
/// ) -> Result<Builder<R>, ConfigFileError> {
///     Ok(tunnel.configure(builder)?.timing(true))
/// }
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let json = r#"{ "transport_module": { "bin": "plain.wasm" } }"#;
/// let config = Config::from_json(json)?;
/// let module = TransportModule::from_file(file)?;
/// let dialer = configured(config.only()?, Dialer::builder(&module))?.build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TunnelRole: Applied {}

/// What only the library can implement, since nobody else can name it.
pub trait Applied: Sized {
    /// Applies what this role has besides the settings of all roles.
    fn apply(builder: Builder<Self>, tunnel: &Tunnel) -> Builder<Self>;

    /// Puts it over the modules below.
    fn stand_on(builder: Builder<Self>, tunnel: &Tunnel) -> Result<Builder<Self>, ConfigFileError> {
        way_out(builder, tunnel)
    }
}

/// Makes outgoing connections through the modules below, and through the proxy.
fn way_out<R>(builder: Builder<R>, tunnel: &Tunnel) -> Result<Builder<R>, ConfigFileError> {
    let mut below: Option<Dialer> = None;
    for part in tunnel.below().iter().rev() {
        let own = part.configure(Dialer::builder(&part.load_module()?))?;
        let built = over(own, below, tunnel).build();
        below = Some(built.map_err(|error| part.unfit(error))?);
    }
    Ok(over(builder, below, tunnel))
}

/// Puts a module over another, or at the network.
fn over<R>(builder: Builder<R>, below: Option<Dialer>, tunnel: &Tunnel) -> Builder<R> {
    match (below, &tunnel.settings.proxy) {
        (Some(below), _) => builder.dial_hook(below),
        (None, Some(proxy)) => builder.dial_hook(proxy.value.clone()),
        (None, None) => builder,
    }
}

impl TunnelRole for Dialer {}

impl Applied for Dialer {
    fn apply(builder: Builder<Self>, _: &Tunnel) -> Builder<Self> {
        builder
    }
}

impl TunnelRole for FixedDialer {}

impl Applied for FixedDialer {
    fn apply(builder: Builder<Self>, _: &Tunnel) -> Builder<Self> {
        builder
    }
}

impl TunnelRole for Listener {}

impl Applied for Listener {
    fn stand_on(builder: Builder<Self>, tunnel: &Tunnel) -> Result<Builder<Self>, ConfigFileError> {
        let mut below: Option<Acceptor> = None;
        for part in tunnel.below().iter().rev() {
            let own = part.configure(Self::builder(&part.load_module()?))?;
            let own = match below {
                Some(below) => own.over(below),
                None => own,
            };
            below = Some(own.acceptor().map_err(|error| part.unfit(error))?);
        }
        Ok(match below {
            Some(below) => builder.over(below),
            None => builder,
        })
    }

    fn apply(mut builder: Builder<Self>, tunnel: &Tunnel) -> Builder<Self> {
        if let Some(limit) = tunnel.settings.handshake_limit {
            builder = builder.handshake_limit(count(limit));
        }
        if let Some(backlog) = tunnel.settings.backlog {
            builder = builder.backlog(count(backlog));
        }
        builder
    }
}

impl TunnelRole for Relay {}

impl Applied for Relay {
    fn apply(mut builder: Builder<Self>, tunnel: &Tunnel) -> Builder<Self> {
        if let Some(remote) = tunnel.remote() {
            builder = builder.remote(remote.as_str());
        }
        if let Some(limit) = tunnel.settings.handshake_limit {
            builder = builder.handshake_limit(count(limit));
        }
        if let Some(limit) = tunnel.settings.connection_limit {
            builder = builder.connection_limit(count(limit));
        }
        builder
    }
}

/// Applies what holds for servers alone.
pub(super) fn server(mut builder: Builder<Server>, settings: &Settings) -> Builder<Server> {
    if let Some(limit) = settings.connection_limit {
        builder = builder.connection_limit(count(limit));
    }
    builder
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn streams(stdio: &StdioKey) -> Stdio {
    match stdio {
        StdioKey::All(StdioName::Log) => Stdio::Log,
        StdioKey::All(StdioName::Inherit) => Stdio::Inherit,
        StdioKey::All(StdioName::Null) => Stdio::Null,
        StdioKey::These(names) => Stdio::InheritSome {
            stdin: names.contains(&StreamName::Stdin),
            stdout: names.contains(&StreamName::Stdout),
            stderr: names.contains(&StreamName::Stderr),
        },
    }
}

pub(super) fn addresses(policy: &PolicyTable) -> AddressPolicy {
    let start = if policy.allow_all {
        AddressPolicy::allow_all()
    } else {
        AddressPolicy::deny_all()
    };
    let entries = policy.allow.iter().map(|entry| entry.value.clone());
    let allowing = entries.fold(start, AddressPolicy::allow);
    let entries = policy.deny.iter().map(|entry| entry.value.clone());
    let denying = entries.fold(allowing, AddressPolicy::deny);
    let prefixes = policy.nat64_prefixes.iter().map(|prefix| prefix.value);
    prefixes.fold(denying, AddressPolicy::nat64_prefix)
}
