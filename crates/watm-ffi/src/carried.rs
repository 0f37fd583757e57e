//! Plain connections that a transport carries.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use watm_wasmer::Carried;

use crate::border::{Counted, call, given, limit, quietly};
use crate::conn::{Addresses, put, report, watm_outcome, watm_traffic};
use crate::status::{watm_error, watm_status};

/// A plain connection that a transport carries. The transport's thread moves the bytes, and the
/// connection ends by itself.
pub struct watm_carried {
    carried: Carried,
    addresses: Addresses,
    _counted: Counted,
}

impl watm_carried {
    pub(crate) fn new(carried: Carried) -> Self {
        Self {
            carried,
            addresses: Addresses::default(),
            _counted: Counted::new(),
        }
    }
}

/// Waits, up to a time in milliseconds, until the transport has ended and all that it wrote is
/// delivered to both sides. A negative time is none. `*outcome` is how it ended; `outcome` may be
/// null.
///
/// Returns WATM_STATUS_AGAIN if that takes longer, and fails with WATM_STATUS_TRANSPORT if the
/// transport failed.
#[unsafe(no_mangle)]
pub extern "C" fn watm_carried_wait(
    carried: Option<&watm_carried>,
    milliseconds: i64,
    outcome: Option<&mut MaybeUninit<watm_outcome>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let carried = given("the carried connection", carried)?;
        report(outcome, carried.carried.wait(limit(milliseconds)))
    })
}

/// How the transport ended, as watm_carried_wait() reports it, without waiting. What it wrote may
/// still be on its way.
#[unsafe(no_mangle)]
pub extern "C" fn watm_carried_outcome(
    carried: Option<&watm_carried>,
    outcome: Option<&mut MaybeUninit<watm_outcome>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let carried = given("the carried connection", carried)?;
        report(outcome, carried.carried.outcome())
    })
}

/// What the connection has moved so far. `size` is `sizeof(watm_traffic)` as the caller knows it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_carried_stats(
    carried: Option<&watm_carried>,
    traffic: *mut watm_traffic,
    size: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let carried = given("the carried connection", carried)?;
        // SAFETY: the caller's record.
        unsafe { put(watm_traffic::from(carried.carried.stats()), traffic, size) }
    })
}

/// The local address of the network connection, as for watm_conn_local_addr().
#[unsafe(no_mangle)]
pub extern "C" fn watm_carried_local_addr(carried: Option<&watm_carried>) -> *const c_char {
    quietly(std::ptr::null(), || {
        let of = |carried: &watm_carried| carried.addresses.local(|| carried.carried.local_addr());
        carried.map_or(std::ptr::null(), of)
    })
}

/// The address of the peer of the network connection, as for watm_conn_local_addr().
#[unsafe(no_mangle)]
pub extern "C" fn watm_carried_peer_addr(carried: Option<&watm_carried>) -> *const c_char {
    quietly(std::ptr::null(), || {
        let of = |carried: &watm_carried| carried.addresses.peer(|| carried.carried.peer_addr());
        carried.map_or(std::ptr::null(), of)
    })
}

/// Cuts the connection off: both sides are reset after they have received what came before. Does
/// not wait. `carried` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_carried_abort(carried: Option<&watm_carried>) {
    quietly((), || {
        if let Some(carried) = carried {
            carried.carried.abort();
        }
    });
}

/// Cuts the connection off as watm_carried_abort() does, unless it has ended by itself, and waits
/// until that is done: within the grace period, and a little more for a module that does not
/// cooperate. `*outcome` is how it ended; `outcome` may be null. The handle still has to be freed.
///
/// Fails with WATM_STATUS_TRANSPORT if the transport failed.
#[unsafe(no_mangle)]
pub extern "C" fn watm_carried_close(
    carried: Option<&watm_carried>,
    outcome: Option<&mut MaybeUninit<watm_outcome>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let carried = given("the carried connection", carried)?;
        report(outcome, Some(carried.carried.close()))
    })
}

/// Frees the handle of a carried connection. The connection goes on, and nobody can cut it off any
/// more. `carried` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_carried_free(carried: Option<Box<watm_carried>>) {
    quietly((), || drop(carried));
}
