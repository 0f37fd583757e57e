//! Settings: what a module is given, and what it may reach. Its limits are in `limits`, and how its
//! connections are made is in `outgoing`.

use std::ffi::{c_char, c_void};
use std::sync::Mutex;

use watm_wasmer::{
    Acceptor, AddressEntry, AddressPolicy, Builder, Listener, Nat64Prefix, Relay, Server, Settings,
    Stdio,
};

use crate::border::{Counted, bytes, call, given, handle, lock, path, quietly, text};
use crate::hooks::Outgoing;
use crate::status::{Fault, watm_error, watm_status};

/// Standard output and error of a module become log lines, at level info with the target
/// `watm::module::NAME`. This is the default.
pub const WATM_STDIO_LOG: u32 = 0;
/// A module has the standard streams of the process.
pub const WATM_STDIO_INHERIT: u32 = 1;
/// What a module writes to its standard streams is dropped.
pub const WATM_STDIO_NULL: u32 = 2;

/// What modules are given: a configuration, files, addresses that they may dial, limits. By default
/// they have no files and no environment, and may not choose addresses.
///
/// Settings are copied when something is made from them. They are checked as a whole then: the
/// calls here fail only for arguments that can never be right.
pub struct watm_settings {
    pub(crate) kept: Mutex<Kept>,
    _counted: Counted,
}

/// The settings, and what the library sets for single roles.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) settings: Settings,
    pub(crate) handshake_limit: Option<usize>,
    pub(crate) backlog: Option<usize>,
    pub(crate) connection_limit: Option<usize>,
    /// What unwraps accepted connections before the module does.
    pub(crate) below: Option<Acceptor>,
    outgoing: Outgoing,
    policy: Policy,
}

#[derive(Clone, Default)]
struct Policy {
    allow: Vec<AddressEntry>,
    deny: Vec<AddressEntry>,
    nat64: Vec<Nat64Prefix>,
    allow_others: bool,
}

impl Policy {
    fn build(&self) -> AddressPolicy {
        let policy = if self.allow_others {
            AddressPolicy::allow_all()
        } else {
            AddressPolicy::deny_all()
        };
        let policy = self
            .allow
            .iter()
            .cloned()
            .fold(policy, AddressPolicy::allow);
        let policy = self.deny.iter().cloned().fold(policy, AddressPolicy::deny);
        let nat64 = self.nat64.iter().copied();
        nat64.fold(policy, AddressPolicy::nat64_prefix)
    }
}

impl Kept {
    pub(crate) fn change(&mut self, change: impl FnOnce(Settings) -> Settings) {
        self.settings = change(std::mem::take(&mut self.settings));
    }

    fn change_policy(&mut self, change: impl FnOnce(&mut Policy)) {
        change(&mut self.policy);
        let policy = self.policy.build();
        self.change(|settings| settings.policy(policy));
    }

    /// Changes who makes the outgoing connections, or what prepares their sockets.
    pub(crate) fn change_outgoing(&mut self, change: impl FnOnce(&mut Outgoing)) {
        change(&mut self.outgoing);
        let hook = self.outgoing.clone();
        self.change(|settings| settings.dial_hook(hook));
    }

    /// Whether the application prepares the sockets of outgoing connections.
    pub(crate) fn prepares_sockets(&self) -> bool {
        self.outgoing.preparing.is_some()
    }

    /// Applies the settings to a listener, or to a server made of one.
    pub(crate) fn listener(&self, mut builder: Builder<Listener>) -> Builder<Listener> {
        builder = builder.settings(&self.settings);
        if let Some(count) = self.handshake_limit {
            builder = builder.handshake_limit(count);
        }
        if let Some(count) = self.backlog {
            builder = builder.backlog(count);
        }
        if let Some(below) = &self.below {
            builder = builder.over(below.clone());
        }
        builder
    }

    /// Applies the settings to a relay.
    pub(crate) fn relay(&self, mut builder: Builder<Relay>) -> Builder<Relay> {
        builder = builder.settings(&self.settings);
        if let Some(count) = self.handshake_limit {
            builder = builder.handshake_limit(count);
        }
        if let Some(count) = self.connection_limit {
            builder = builder.connection_limit(count);
        }
        if let Some(below) = &self.below {
            builder = builder.over(below.clone());
        }
        builder
    }

    /// Applies what only servers have.
    pub(crate) fn server(&self, builder: Builder<Server>) -> Builder<Server> {
        match self.connection_limit {
            Some(count) => builder.connection_limit(count),
            None => builder,
        }
    }
}

/// The settings, or the defaults if there are none.
pub(crate) fn of(settings: Option<&watm_settings>) -> Kept {
    settings.map_or_else(Kept::default, |settings| lock(&settings.kept).clone())
}

/// Changes settings by a value, which is looked at first.
pub(crate) fn change<T>(
    settings: Option<&watm_settings>,
    error: Option<&mut *mut watm_error>,
    value: impl FnOnce() -> Result<T, Fault>,
    change: impl FnOnce(&mut Kept, T),
) -> watm_status {
    call(error, || {
        let settings = given("the handle of the settings", settings)?;
        let value = value()?;
        change(&mut lock(&settings.kept), value);
        Ok(())
    })
}

/// Makes settings with their defaults. Null if there is no memory.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_new() -> *mut watm_settings {
    handle(|| watm_settings {
        kept: Mutex::default(),
        _counted: Counted::new(),
    })
}

/// Frees settings. What was made from them keeps them. `settings` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_free(settings: Option<Box<watm_settings>>) {
    quietly((), || drop(settings));
}

/// Sets the configuration of the module: the contents of its read-only file `/conf/watm.cfg`, which
/// exists in memory only. The `length` bytes are copied. Without a configuration there is no file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_config(
    settings: Option<&watm_settings>,
    data: *const c_void,
    length: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    // SAFETY: the caller's bytes.
    let given = || unsafe { bytes("the configuration", data, length) };
    change(settings, error, given, |kept, data| {
        kept.change(|settings| settings.config(data));
    })
}

/// Adds an argument. Argument 0 is always the name of the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_arg(
    settings: Option<&watm_settings>,
    argument: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    // SAFETY: the caller's text.
    let given = || unsafe { text("the argument", argument) };
    change(settings, error, given, |kept, argument| {
        kept.change(|settings| settings.arg(argument));
    })
}

/// Adds an environment variable. Those of the process are not passed to modules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_env(
    settings: Option<&watm_settings>,
    name: *const c_char,
    value: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let given = || {
        // SAFETY: the caller's texts.
        unsafe { Ok((text("the name", name)?, text("the value", value)?)) }
    };
    change(settings, error, given, |kept, (name, value)| {
        kept.change(|settings| settings.env(name, value));
    })
}

/// Gives the module a directory of the host under the absolute path `guest`, for reading, or for
/// writing as well. Nothing outside of it can be reached.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_dir(
    settings: Option<&watm_settings>,
    host: *const c_char,
    guest: *const c_char,
    writable: bool,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let given = || {
        // SAFETY: the caller's texts.
        unsafe {
            Ok((
                path("the directory", host)?,
                text("the guest's path", guest)?,
            ))
        }
    };
    change(settings, error, given, |kept, (host, guest)| {
        kept.change(|settings| {
            if writable {
                settings.dir_writable(host, guest)
            } else {
                settings.dir(host, guest)
            }
        });
    })
}

/// Gives the module a file for reading, which exists in memory only, under the absolute path
/// `guest`. The `length` bytes are copied. A module may have 64 files, of 64 MiB together.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_file(
    settings: Option<&watm_settings>,
    guest: *const c_char,
    data: *const c_void,
    length: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let given = || {
        // SAFETY: the caller's text and bytes.
        unsafe {
            Ok((
                text("the guest's path", guest)?,
                bytes("the file", data, length)?,
            ))
        }
    };
    change(settings, error, given, |kept, (guest, data)| {
        kept.change(|settings| settings.file(guest, data));
    })
}

/// Sets what the module's standard streams are connected to: WATM_STDIO_LOG (the default),
/// WATM_STDIO_INHERIT or WATM_STDIO_NULL.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_stdio(
    settings: Option<&watm_settings>,
    stdio: u32,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let parse = || match stdio {
        WATM_STDIO_LOG => Ok(Stdio::Log),
        WATM_STDIO_INHERIT => Ok(Stdio::Inherit),
        WATM_STDIO_NULL => Ok(Stdio::Null),
        _ => Err(Fault::argument(format!("{stdio} is no WATM_STDIO"))),
    };
    change(settings, error, parse, |kept, stdio| {
        kept.change(|settings| settings.stdio(stdio));
    })
}

/// Parses an entry of the policy.
///
/// # Safety
///
/// `entry` is null or a text.
unsafe fn entry(entry: *const c_char) -> Result<AddressEntry, Fault> {
    // SAFETY: the same demand.
    let entry: Result<AddressEntry, _> = unsafe { text("the entry", entry) }?.parse();
    entry.map_err(|error| Fault::argument(error.to_string()))
}

/// Allows the module to dial addresses by itself: `[NETWORK://]HOST[:PORT]`, where `HOST` is a
/// name, `*.` and a name, `*`, an IP address or a CIDR block. Without any, it may dial none.
///
/// What the application names is not subject to these entries. Fails with WATM_STATUS_ARGUMENT if
/// the entry is malformed or could never match.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_allow(
    settings: Option<&watm_settings>,
    address: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    // SAFETY: the caller's text.
    change(
        settings,
        error,
        || unsafe { entry(address) },
        |kept, entry| {
            kept.change_policy(|policy| policy.allow.push(entry));
        },
    )
}

/// Denies the module addresses, in the form of watm_settings_allow(). What is denied stays denied,
/// whatever allows it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_deny(
    settings: Option<&watm_settings>,
    address: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    // SAFETY: the caller's text.
    change(
        settings,
        error,
        || unsafe { entry(address) },
        |kept, entry| {
            kept.change_policy(|policy| policy.deny.push(entry));
        },
    )
}

/// Sets whether the module may dial addresses that no entry names, which includes the host's own
/// network. False by default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_allow_others(
    settings: Option<&watm_settings>,
    allow: bool,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    change(
        settings,
        error,
        || Ok(allow),
        |kept, allow| {
            kept.change_policy(|policy| policy.allow_others = allow);
        },
    )
}

/// Adds a NAT64 prefix of the host's network, such as `64:ff9b:1::/96`. Its addresses count as the
/// IPv4 addresses that they carry, in all entries.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_settings_nat64_prefix(
    settings: Option<&watm_settings>,
    prefix: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let parse = || {
        // SAFETY: the caller's text.
        let prefix: Result<Nat64Prefix, _> = unsafe { text("the prefix", prefix) }?.parse();
        prefix.map_err(|error| Fault::argument(error.to_string()))
    };
    change(settings, error, parse, |kept, prefix| {
        kept.change_policy(|policy| policy.nat64.push(prefix));
    })
}
