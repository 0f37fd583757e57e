//! Who hears of the stages of each connection.

use std::ffi::{CString, c_char, c_void};
use std::net::SocketAddr;
use std::ptr::null;
use std::time::Duration;

use watm_wasmer::{ConnectionInfo, Event, Observer};

use crate::border::given;
use crate::conn::{nanoseconds, watm_outcome, watm_traffic};
use crate::hooks::{User, watm_destroy_fn};
use crate::module::role_bit;
use crate::settings::{change, watm_settings};
use crate::status::{c_text, watm_error, watm_status};

/// A connection begins to be set up.
pub const WATM_EVENT_BEGUN: u32 = 1;
/// The module, or a server that forwards, has connected to a remote: `peer`.
pub const WATM_EVENT_CONNECTED: u32 = 2;
/// The transport is set up, between `local` and `peer`.
pub const WATM_EVENT_ESTABLISHED: u32 = 3;
/// The transport could not be set up: `code` and `message`. That is all for this connection.
pub const WATM_EVENT_FAILED: u32 = 4;
/// The transport has ended, and what it wrote is delivered or lost: `outcome` and `traffic`, or
/// `code`, `message` and `traffic` if it failed. That is all for this connection.
pub const WATM_EVENT_ENDED: u32 = 5;

/// A stage of a connection. It is valid during the call, as is all that it points to. Later
/// releases may add fields at its end.
#[repr(C)]
pub struct watm_event {
    /// WATM_EVENT_BEGUN and so on. Later releases may add some.
    pub kind: u32,
    /// What the module is used as: WATM_ROLE_DIALER and so on.
    pub role: u32,
    /// A number that no other connection of this process has. The numbers grow.
    pub connection: u64,
    /// The time since the connection began, in nanoseconds.
    pub after_nanoseconds: u64,
    /// The name of the module.
    pub module: *const c_char,
    /// The address of the client, for a connection that was accepted or that is carried. Otherwise,
    /// and if it has no IP address, null.
    pub client: *const c_char,
    /// The local address of the network connection. Null where it is not said.
    pub local: *const c_char,
    /// The address of the peer of the network connection. Null where it is not said.
    pub peer: *const c_char,
    /// A word for what went wrong, as of watm_error_code(); also `displaced` and `gave-way` for
    /// handshakes that had to make room, and `closed` for what was cancelled. Null if nothing went
    /// wrong.
    pub code: *const c_char,
    /// What went wrong, as of watm_error_message(). Null if nothing went wrong.
    pub message: *const c_char,
    /// How the transport ended, if it has and nothing went wrong.
    pub outcome: watm_outcome,
    /// What the connection has moved, if it has ended. Null otherwise.
    pub traffic: *const watm_traffic,
}

/// Hears of a stage of a connection. It is called on the thread of the connection, in order for
/// each, and for several connections at a time. That thread blocks the application's signals, and
/// should not be held up.
///
/// Each connection begins. Then it is established or fails, and one that was established ends. In
/// between, it connects as often as its module dials.
pub type watm_observe_fn =
    Option<unsafe extern "C-unwind" fn(user: *mut c_void, event: *const watm_event)>;

type Observe = unsafe extern "C-unwind" fn(*mut c_void, *const watm_event);

struct Observing {
    observe: Observe,
    user: User,
}

/// The texts of an event, which it points to.
#[derive(Default)]
struct Texts {
    local: Option<CString>,
    peer: Option<CString>,
    code: Option<CString>,
    message: Option<CString>,
}

fn address(address: Option<SocketAddr>) -> Option<CString> {
    address.map(|address| c_text(&address.to_string()))
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(null(), |text| text.as_ptr())
}

impl Observer for Observing {
    fn observe(&self, connection: &ConnectionInfo, event: &Event<'_>) {
        let mut texts = Texts::default();
        let mut outcome = watm_outcome::Completed;
        let mut traffic = None;
        let (kind, after) = match event {
            Event::Begun => (WATM_EVENT_BEGUN, Duration::ZERO),
            Event::Connected { remote, after, .. } => {
                texts.peer = address(*remote);
                (WATM_EVENT_CONNECTED, *after)
            }
            Event::Established {
                local, peer, after, ..
            } => {
                texts.local = address(*local);
                texts.peer = address(*peer);
                (WATM_EVENT_ESTABLISHED, *after)
            }
            Event::Failed {
                code,
                message,
                after,
                ..
            } => {
                texts.code = Some(c_text(code));
                texts.message = Some(c_text(message));
                (WATM_EVENT_FAILED, *after)
            }
            Event::Ended {
                result,
                stats,
                after,
                ..
            } => {
                match result {
                    Ok(how) => outcome = (*how).into(),
                    Err(error) => {
                        texts.code = Some(c_text(error.code()));
                        texts.message = Some(c_text(&error.to_string()));
                    }
                }
                traffic = Some(watm_traffic::from(*stats));
                (WATM_EVENT_ENDED, *after)
            }
            // One that a later release of the library has, and this interface not yet.
            _ => return,
        };
        let module = c_text(&connection.module);
        let client = address(connection.client);
        let event = watm_event {
            kind,
            role: role_bit(connection.role),
            connection: connection.id,
            after_nanoseconds: nanoseconds(after),
            module: module.as_ptr(),
            client: pointer(&client),
            local: pointer(&texts.local),
            peer: pointer(&texts.peer),
            code: pointer(&texts.code),
            message: pointer(&texts.message),
            outcome,
            traffic: traffic.as_ref().map_or(null(), std::ptr::from_ref),
        };
        // SAFETY: the application's function with its pointer, and an event that outlives the call
        // with all that it points to.
        unsafe { (self.observe)(self.user.data, &event) };
    }
}

/// Tells a callback of the stages of each connection, whoever holds it: see watm_observe_fn. `user`
/// and `destroy` are as for watm_settings_dial_hook().
#[unsafe(no_mangle)]
pub extern "C" fn watm_settings_observer(
    settings: Option<&watm_settings>,
    observe: watm_observe_fn,
    user: *mut c_void,
    destroy: watm_destroy_fn,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let user = User::new(user, destroy);
    let observing = || {
        let observe = given("the callback", observe)?;
        Ok(Observing { observe, user })
    };
    change(settings, error, observing, |kept, observing| {
        kept.change(|settings| settings.observer(observing));
    })
}
