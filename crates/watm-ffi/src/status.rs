//! What a call returns: a status, and an error that says more.

use std::any::Any;
use std::error::Error;
use std::ffi::{CString, c_char, c_int};
use std::io;

use watm_wasmer::{
    AcceptError, CacheError, ConfigError, ConfigFileError, ConfigFileProblem, DialError,
    ListenError, LoadError, ReplaceError, TransportError,
};

use crate::border::{Counted, quietly};
use crate::errno::of_kind;

/// How a call went. The numbers never change; later releases may add some.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum watm_status {
    /// It worked.
    Ok = 0,
    /// There is nothing to do yet: the call does not wait, or has waited for as long as it was told
    /// to. This is no failure, so there is no error. Call again later.
    Again = 1,
    /// An argument cannot be used: a null pointer, text that is not UTF-8, something malformed.
    /// Nothing was done. The code is `argument`, or `key` for a key that is none.
    Argument = 2,
    /// The module could not be loaded.
    Load = 3,
    /// The settings or the configuration file cannot be used, or the module does not have the role.
    Config = 4,
    /// It is not possible to listen on the address.
    Listen = 5,
    /// A connection could not be set up: the address, the network, the policy or the dial hook.
    Connect = 6,
    /// The transport failed: its module, or its connection.
    Transport = 7,
    /// A time limit has passed. The code is `timed-out`, or `connect` if it was the connection
    /// below that took too long.
    TimedOut = 8,
    /// The dial was cancelled.
    Cancelled = 9,
    /// It is closed: no more connections, or no more bytes.
    Closed = 10,
    /// The system failed: it had no thread, descriptor or memory left, for example.
    System = 11,
    /// The library failed. This is a defect; the message says where.
    Internal = 12,
}

/// Why a call failed. It belongs to whoever got it, and is freed with watm_error_free(). It does
/// not change, so any number of threads may look at it.
pub struct watm_error {
    status: watm_status,
    code: CString,
    errno: c_int,
    message: CString,
    _counted: Counted,
}

/// What went wrong, on its way to the caller.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: watm_status,
    pub(crate) code: &'static str,
    pub(crate) errno: c_int,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(
        status: watm_status,
        code: &'static str,
        errno: c_int,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            errno,
            message: message.into(),
        }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(watm_status::Argument, "argument", libc::EINVAL, message)
    }

    /// Nothing yet, which is no error.
    pub(crate) fn again() -> Self {
        Self::new(watm_status::Again, "again", libc::EAGAIN, "")
    }

    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Self::new(
            watm_status::Internal,
            "internal",
            libc::EIO,
            format!("the library panicked, which is a defect: {text}"),
        )
    }

    fn of(
        status: watm_status,
        code: &'static str,
        kind: io::ErrorKind,
        error: &(dyn Error + 'static),
    ) -> Self {
        let errno = match status {
            // The library has no kind for it that programs could tell from others.
            watm_status::Cancelled => libc::ECANCELED,
            _ => errno_within(error).unwrap_or_else(|| of_kind(kind)),
        };
        Self::new(status, code, errno, with_causes(error))
    }

    /// The error for the caller, or nothing if it is none.
    pub(crate) fn into_error(self) -> Option<Box<watm_error>> {
        if self.status == watm_status::Again {
            return None;
        }
        Some(Box::new(watm_error {
            status: self.status,
            code: c_text(self.code),
            errno: self.errno,
            message: c_text(&self.message),
            _counted: Counted::new(),
        }))
    }
}

/// Text for C, where a zero byte would end it.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The error number of the system that is the cause, if there is one.
fn errno_within(error: &(dyn Error + 'static)) -> Option<c_int> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let system = match error.downcast_ref::<TransportError>() {
            Some(TransportError::Host(system)) => Some(&**system),
            _ => error.downcast_ref::<io::Error>(),
        };
        if let Some(errno) = system.and_then(io::Error::raw_os_error) {
            return Some(errno);
        }
        cause = error.source();
    }
    None
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        Self::of(watm_status::Load, error.code(), error.kind(), &error)
    }
}

impl From<CacheError> for Fault {
    fn from(error: CacheError) -> Self {
        Self::of(watm_status::Load, "cache", io::ErrorKind::Other, &error)
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Self::of(watm_status::Config, error.code(), error.kind(), &error)
    }
}

impl From<ConfigFileError> for Fault {
    fn from(error: ConfigFileError) -> Self {
        let status = match error.problem() {
            ConfigFileProblem::Load(_) => watm_status::Load,
            _ => watm_status::Config,
        };
        Self::of(status, error.code(), error.kind(), &error)
    }
}

impl From<ReplaceError> for Fault {
    fn from(error: ReplaceError) -> Self {
        let status = match &error {
            ReplaceError::Instance(error) => dial_status(error),
            _ => watm_status::Config,
        };
        Self::of(status, error.code(), error.kind(), &error)
    }
}

impl From<ListenError> for Fault {
    fn from(error: ListenError) -> Self {
        let status = match &error {
            ListenError::Config(_) => watm_status::Config,
            ListenError::Host(_) => watm_status::System,
            _ => watm_status::Listen,
        };
        Self::of(status, error.code(), error.kind(), &error)
    }
}

fn dial_status(error: &DialError) -> watm_status {
    match error {
        DialError::Transport(_) => watm_status::Transport,
        DialError::TimedOut { .. } => watm_status::TimedOut,
        // The limit for one connection, or that of the whole, whichever is noticed first.
        DialError::Connect { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
            watm_status::TimedOut
        }
        DialError::Config(_) => watm_status::Config,
        DialError::Cancelled => watm_status::Cancelled,
        DialError::Host(_) => watm_status::System,
        _ => watm_status::Connect,
    }
}

impl From<DialError> for Fault {
    fn from(error: DialError) -> Self {
        let status = dial_status(&error);
        Self::of(status, error.code(), error.kind(), &error)
    }
}

impl From<AcceptError> for Fault {
    fn from(error: AcceptError) -> Self {
        let status = match &error {
            AcceptError::Transport(_) => watm_status::Transport,
            AcceptError::TimedOut { .. } => watm_status::TimedOut,
            // The limit for one connection, or that of the whole, whichever is noticed first.
            AcceptError::Connect { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
                watm_status::TimedOut
            }
            AcceptError::Closed => watm_status::Closed,
            AcceptError::Host(_) => watm_status::System,
            _ => watm_status::Connect,
        };
        Self::of(status, error.code(), error.kind(), &error)
    }
}

impl From<TransportError> for Fault {
    fn from(error: TransportError) -> Self {
        Self::of(watm_status::Transport, error.code(), error.kind(), &error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let transport = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<TransportError>());
        if let Some(transport) = transport {
            return transport.clone().into();
        }
        let (status, code) = match error.kind() {
            io::ErrorKind::WouldBlock => return Self::again(),
            io::ErrorKind::TimedOut => (watm_status::TimedOut, "timed-out"),
            io::ErrorKind::BrokenPipe => (watm_status::Closed, "closed"),
            _ => (watm_status::System, "system"),
        };
        Self::of(status, code, error.kind(), &error)
    }
}

/// The status that the call returned.
///
/// `error` may be null, which is WATM_STATUS_OK.
#[unsafe(no_mangle)]
pub extern "C" fn watm_error_status(error: Option<&watm_error>) -> watm_status {
    error.map_or(watm_status::Ok, |error| error.status)
}

/// A word for the error that stays the same in all releases, by status:
///
/// - WATM_STATUS_ARGUMENT: `argument`, `key`
/// - WATM_STATUS_LOAD: `read`, `too-large`, `hash`, `signature`, `not-a-module`, `malformed`,
///   `unsupported`, `interface`, `too-complex`, `compile-timeout`, `compile`, `cache`
/// - WATM_STATUS_CONFIG: `role`, `directory`, `invalid`, `log`; of a configuration file also
///   `read`, `too-large`, `syntax`, `unknown-key`, `no-such-tunnel`, `file`
/// - WATM_STATUS_LISTEN: `bind`
/// - WATM_STATUS_CONNECT: `address`, `resolve`, `connect`, `denied`, `instantiate`
/// - WATM_STATUS_TRANSPORT: `failed`, `trapped`, `exited`, `bad-descriptor`, `connection-lost`,
///   `plain-lost`, `interrupted`, `undelivered`, `host`
/// - WATM_STATUS_TIMED_OUT: `timed-out`, `connect`
/// - WATM_STATUS_CANCELLED: `cancelled`
/// - WATM_STATUS_CLOSED: `closed`
/// - WATM_STATUS_SYSTEM: `host`, `system`
/// - WATM_STATUS_INTERNAL: `internal`
///
/// Later releases may add some.
///
/// It lives as long as the error. `error` may be null, which gives an empty text.
#[unsafe(no_mangle)]
pub extern "C" fn watm_error_code(error: Option<&watm_error>) -> *const c_char {
    error.map_or(c"".as_ptr(), |error| error.code.as_ptr())
}

/// The error number of the system, such as `ECONNREFUSED`, that describes the error best: the one
/// that caused it if that is known, or else the one for its kind. `EIO` if none fits. It is for
/// decisions that the status is too coarse for.
///
/// 0 if `error` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_error_errno(error: Option<&watm_error>) -> c_int {
    error.map_or(0, |error| error.errno)
}

/// What went wrong, with all causes, in one line of UTF-8 in English. It says who is at fault: the
/// module, the peer, the configuration or the host. It may quote what they sent, escaped and cut.
///
/// It lives as long as the error. `error` may be null, which gives an empty text.
#[unsafe(no_mangle)]
pub extern "C" fn watm_error_message(error: Option<&watm_error>) -> *const c_char {
    error.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Frees an error. `error` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_error_free(error: Option<Box<watm_error>>) {
    quietly((), || drop(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_all_causes_and_ends_at_no_zero_byte() {
        let source = io::Error::other("the\0cable");
        let fault = Fault::from(DialError::Connect {
            address: "a:1".into(),
            source,
        });
        assert_eq!(fault.status, watm_status::Connect);
        let error = fault.into_error().expect("an error");
        assert_eq!(error.code.to_str(), Ok("connect"));
        assert_eq!(
            error.message.to_str(),
            Ok("no connection to a:1: the\u{fffd}cable")
        );
    }

    #[test]
    fn a_connection_that_took_too_long_has_the_status_of_a_time_limit() {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let fault = Fault::from(DialError::Connect {
            address: "a:1".into(),
            source: late(),
        });
        assert_eq!(
            (fault.status, fault.code),
            (watm_status::TimedOut, "connect")
        );
        let fault = Fault::from(late());
        assert_eq!(
            (fault.status, fault.code),
            (watm_status::TimedOut, "timed-out")
        );
    }

    #[test]
    fn the_error_number_is_that_of_the_cause_or_that_of_the_kind() {
        let refused = || DialError::Connect {
            address: "a:1".into(),
            source: io::Error::from_raw_os_error(libc::ENETDOWN),
        };
        let lost = TransportError::ConnectionLost {
            errno: watm_wasmer::Errno::Connreset,
        };
        let host = TransportError::Host(io::Error::from_raw_os_error(libc::EMFILE).into());
        for (fault, errno) in [
            (Fault::from(refused()), libc::ENETDOWN),
            (
                Fault::from(ReplaceError::Instance(refused())),
                libc::ENETDOWN,
            ),
            (Fault::from(lost.clone()), libc::ECONNRESET),
            (Fault::from(DialError::Transport(lost)), libc::ECONNRESET),
            (Fault::from(DialError::Transport(host)), libc::EMFILE),
            (Fault::from(DialError::Cancelled), libc::ECANCELED),
            (Fault::from(AcceptError::Closed), libc::ENOTCONN),
            (Fault::argument("it is wrong"), libc::EINVAL),
        ] {
            assert_eq!(fault.errno, errno, "{fault:?}");
        }
    }

    #[test]
    fn an_error_of_the_transport_is_found_in_that_of_a_read() {
        let fault = Fault::from(io::Error::from(TransportError::Interrupted));
        assert_eq!(fault.status, watm_status::Transport);
        assert_eq!(fault.code, "interrupted");
        let again = Fault::from(io::Error::from(io::ErrorKind::WouldBlock));
        assert!(again.into_error().is_none());
    }
}
