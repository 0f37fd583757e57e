//! Settings that bound: times, sizes and numbers.
//!
//! They are checked when something is made from the settings; that then fails with
//! WATM_STATUS_CONFIG and the name of the setting.

use std::time::Duration;

use crate::border::limit;
use crate::settings::{change, watm_settings};
use crate::status::{watm_error, watm_status};

/// Sets one of the settings that all roles share.
macro_rules! shared {
    ($settings:ident, $error:ident, $setter:ident, $value:expr) => {
        change(
            $settings,
            $error,
            || Ok($value),
            |kept, value| {
                kept.change(|settings| settings.$setter(value));
            },
        )
    };
}

/// Sets the maximum time for one outgoing connection in milliseconds, over all addresses of its
/// name; 10,000 by default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_connect_timeout(
    settings: Option<&watm_settings>,
    milliseconds: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(
        settings,
        error,
        connect_timeout,
        Duration::from_millis(milliseconds)
    )
}

/// Sets the maximum time for the whole set-up of a transport in milliseconds: making the instance,
/// connecting, and the handshake; 30,000 by default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_setup_timeout(
    settings: Option<&watm_settings>,
    milliseconds: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(
        settings,
        error,
        setup_timeout,
        Duration::from_millis(milliseconds)
    )
}

/// Sets the time in milliseconds that a transport has to end after a close; 3,000 by default. After
/// half of it the transport is told to end, and at its end it is interrupted.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_close_grace(
    settings: Option<&watm_settings>,
    milliseconds: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(
        settings,
        error,
        close_grace,
        Duration::from_millis(milliseconds)
    )
}

/// Sets the maximum time in milliseconds to deliver what a transport wrote before it ended by
/// itself; 30,000 by default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_drain_timeout(
    settings: Option<&watm_settings>,
    milliseconds: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(
        settings,
        error,
        drain_timeout,
        Duration::from_millis(milliseconds)
    )
}

/// Sets the idle time in milliseconds after which the system probes a TCP peer; 60,000 by default,
/// at least 1,000. A negative time turns probes off: a peer that has vanished is then noticed only
/// when it does not take bytes.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_keepalive(
    settings: Option<&watm_settings>,
    milliseconds: i64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(settings, error, keepalive, limit(milliseconds))
}

/// Sets the maximum size of the memory of an instance in bytes, in pages of 64 KiB; 256 MiB by
/// default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_memory_limit(
    settings: Option<&watm_settings>,
    size: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(settings, error, memory_limit, size)
}

/// Sets how many bytes of memory an instance has from the start beyond what its module asks for;
/// 1.5 MiB by default. A garbage collector runs more rarely with more of it.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_memory_headroom(
    settings: Option<&watm_settings>,
    size: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(settings, error, memory_headroom, size)
}

/// Sets the maximum number of descriptors of an instance, from 3 to 480; 64 by default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_descriptor_limit(
    settings: Option<&watm_settings>,
    count: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(settings, error, descriptor_limit, count)
}

/// Sets the number of instances that are kept ready for new connections, up to 1,024; 0 by default.
/// Each takes about as much as an idle connection: memory, a thread and two descriptors.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_spare_instances(
    settings: Option<&watm_settings>,
    count: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(settings, error, spare_instances, count)
}

/// Sets the maximum number of instances per second with which those that are kept ready are made
/// anew, at least 1; 200 by default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_spare_refill_rate(
    settings: Option<&watm_settings>,
    per_second: u32,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(settings, error, spare_refill_rate, per_second)
}

/// Sets whether connections measure how long the module and the host work, for watm_traffic; false
/// by default. It costs about 50 nanoseconds for each call of the module.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_timing(
    settings: Option<&watm_settings>,
    on: bool,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(settings, error, timing, on)
}

/// Sets whether a module that asks for it may have the host encrypt and decrypt, which is faster
/// than its own cipher; true by default. See watm_module_wants_host_aead().
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_host_aead(
    settings: Option<&watm_settings>,
    on: bool,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    shared!(settings, error, host_aead, on)
}

/// Sets the maximum number of handshakes in progress with the clients of a listener or a relay, and
/// of a server that forwards; one more drops the oldest. 256 by default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_handshake_limit(
    settings: Option<&watm_settings>,
    count: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    change(
        settings,
        error,
        || Ok(count),
        |kept, count| kept.handshake_limit = Some(count),
    )
}

/// Sets the maximum number of connections that wait for watm_listener_accept(); 128 by default.
/// While that many wait, no more sockets are accepted.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_backlog(
    settings: Option<&watm_settings>,
    count: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    change(
        settings,
        error,
        || Ok(count),
        |kept, count| kept.backlog = Some(count),
    )
}

/// Sets the maximum number of connections of a relay or a server at the same time; 4,096 by
/// default. Further clients wait in the queue of the system.
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_connection_limit(
    settings: Option<&watm_settings>,
    count: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    change(
        settings,
        error,
        || Ok(count),
        |kept, count| kept.connection_limit = Some(count),
    )
}
