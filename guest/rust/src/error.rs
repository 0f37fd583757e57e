//! The error of this crate: an error number of WASI, which is what a module reports to its host.
//!
//! Must never know which call failed, nor how an export returns the number.

use std::fmt;
use std::io;
use std::num::NonZeroU16;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error number of WASI Preview 1, from 1 to 65535; never a success.
///
/// Each number has a constant, without the `E` of C: [`Error::PROTO`] is `EPROTO`. The host reports
/// the number to its application, so choose one that says who is at fault:
///
/// | whose fault | error |
/// | --- | --- |
/// | the configuration is missing or wrong | [`INVAL`](Error::INVAL) |
/// | the peer does not follow the protocol, or its stream is cut | [`PROTO`](Error::PROTO) |
/// | the peer is not who it should be | [`ACCES`](Error::ACCES) |
/// | the transport cannot do this | [`NOTSUP`](Error::NOTSUP) |
/// | anything else | [`IO`](Error::IO) |
///
/// Two have a meaning of their own if the worker of a module ends with them. Do not choose them:
/// [`CANCELED`](Error::CANCELED) says that the host has asked for the end, and a host may take
/// [`PIPE`](Error::PIPE) after an end of stream for the habit of an older library that means no
/// harm.
///
/// An [`io::Error`] becomes an `Error` with `?`: on WASI by its number, elsewhere by its kind. An
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), which is what
/// [`read_exact`](io::Read::read_exact) says of a stream that ends too early, becomes
/// [`Error::PROTO`].
///
/// ```
/// use watm_guest::Error;
///
/// assert_eq!(Error::PROTO.raw(), 65);
/// assert_eq!(Error::PROTO.to_string(), "protocol error (EPROTO)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Error(NonZeroU16);

macro_rules! errors {
    ($($number:literal $name:ident $message:literal;)*) => {
        impl Error {
            $(
                #[doc = concat!("`E", stringify!($name), "`: ", $message, ".")]
                pub const $name: Error = Error::from_raw($number);
            )*

            /// What C calls it, such as `EPROTO`; `None` if WASI has no name for the number.
            pub const fn name(self) -> Option<&'static str> {
                match self.raw() {
                    $($number => Some(concat!("E", stringify!($name))),)*
                    _ => None,
                }
            }

            /// What it means, in lower case and without a full stop.
            const fn message(self) -> &'static str {
                match self.raw() {
                    $($number => $message,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

errors! {
    2 ACCES "permission denied";
    3 ADDRINUSE "address in use";
    4 ADDRNOTAVAIL "address not available";
    5 AFNOSUPPORT "address family not supported";
    6 AGAIN "resource temporarily unavailable";
    7 ALREADY "already done or in progress";
    8 BADF "bad file descriptor";
    9 BADMSG "bad message";
    10 BUSY "device or resource busy";
    11 CANCELED "operation canceled";
    12 CHILD "no child processes";
    13 CONNABORTED "connection aborted";
    14 CONNREFUSED "connection refused";
    15 CONNRESET "connection reset";
    16 DEADLK "resource deadlock would occur";
    17 DESTADDRREQ "destination address required";
    18 DOM "argument out of domain";
    19 DQUOT "disk quota exceeded";
    20 EXIST "file exists";
    21 FAULT "bad address";
    22 FBIG "file too large";
    23 HOSTUNREACH "host is unreachable";
    24 IDRM "identifier removed";
    25 ILSEQ "illegal byte sequence";
    26 INPROGRESS "operation in progress";
    27 INTR "interrupted function";
    28 INVAL "invalid argument";
    29 IO "input/output error";
    30 ISCONN "socket is connected";
    31 ISDIR "is a directory";
    32 LOOP "too many levels of symbolic links";
    33 MFILE "too many open descriptors";
    34 MLINK "too many links";
    35 MSGSIZE "message too large";
    36 MULTIHOP "multihop attempted";
    37 NAMETOOLONG "name too long";
    38 NETDOWN "network is down";
    39 NETRESET "connection aborted by network";
    40 NETUNREACH "network unreachable";
    41 NFILE "too many files open in system";
    42 NOBUFS "no buffer space available";
    43 NODEV "no such device";
    44 NOENT "no such file or directory";
    45 NOEXEC "executable file format error";
    46 NOLCK "no locks available";
    47 NOLINK "link has been severed";
    48 NOMEM "not enough memory";
    49 NOMSG "no message of the desired type";
    50 NOPROTOOPT "protocol option not available";
    51 NOSPC "no space left on device";
    52 NOSYS "function not supported by the host";
    53 NOTCONN "socket is not connected";
    54 NOTDIR "not a directory";
    55 NOTEMPTY "directory not empty";
    56 NOTRECOVERABLE "state not recoverable";
    57 NOTSOCK "not a socket";
    58 NOTSUP "not supported";
    59 NOTTY "inappropriate i/o control operation";
    60 NXIO "no such device or address";
    61 OVERFLOW "value too large";
    62 OWNERDEAD "previous owner died";
    63 PERM "operation not permitted";
    64 PIPE "broken pipe";
    65 PROTO "protocol error";
    66 PROTONOSUPPORT "protocol not supported";
    67 PROTOTYPE "protocol wrong type for socket";
    68 RANGE "result too large";
    69 ROFS "read-only file system";
    70 SPIPE "invalid seek";
    71 SRCH "no such process";
    72 STALE "stale file handle";
    73 TIMEDOUT "connection timed out";
    74 TXTBSY "text file busy";
    75 XDEV "cross-device link";
    76 NOTCAPABLE "capabilities insufficient";
}

impl Error {
    /// `E2BIG`: argument list too long.
    pub const TOOBIG: Error = Error::from_raw(1);

    /// The error with this number. Success, 0, is no error: it becomes [`Error::IO`].
    pub const fn from_raw(number: u16) -> Error {
        match NonZeroU16::new(number) {
            Some(number) => Error(number),
            None => Error::from_raw(29),
        }
    }

    /// The number, as WASI functions return it.
    pub const fn raw(self) -> u16 {
        self.0.get()
    }

    /// The negated number, as the functions of WATM v1 return it.
    ///
    /// ```
    /// assert_eq!(watm_guest::Error::PROTO.negated(), -65);
    /// ```
    pub const fn negated(self) -> i32 {
        -(self.raw() as i32)
    }

    /// What a function of WATM v1 has returned: a value from 0, or a negated error number.
    #[cfg(any(test, target_os = "wasi"))]
    pub(crate) fn check(result: i32) -> Result<i32> {
        if result >= 0 {
            return Ok(result);
        }
        Err(match u16::try_from(result.unsigned_abs()) {
            Ok(number) => Error::from_raw(number),
            Err(_) => Error::IO,
        })
    }

    fn kind(self) -> io::ErrorKind {
        use io::ErrorKind as Kind;
        match self {
            Error::ACCES | Error::PERM | Error::NOTCAPABLE => Kind::PermissionDenied,
            Error::ADDRINUSE => Kind::AddrInUse,
            Error::ADDRNOTAVAIL => Kind::AddrNotAvailable,
            Error::AGAIN => Kind::WouldBlock,
            Error::CONNABORTED => Kind::ConnectionAborted,
            Error::CONNREFUSED => Kind::ConnectionRefused,
            Error::CONNRESET => Kind::ConnectionReset,
            Error::EXIST => Kind::AlreadyExists,
            Error::INTR => Kind::Interrupted,
            Error::INVAL => Kind::InvalidInput,
            Error::NOENT => Kind::NotFound,
            Error::NOMEM => Kind::OutOfMemory,
            Error::NOSYS | Error::NOTSUP => Kind::Unsupported,
            Error::NOTCONN => Kind::NotConnected,
            Error::PIPE => Kind::BrokenPipe,
            Error::PROTO => Kind::InvalidData,
            Error::TIMEDOUT => Kind::TimedOut,
            _ => Kind::Other,
        }
    }

    fn from_kind(kind: io::ErrorKind) -> Error {
        use io::ErrorKind as Kind;
        match kind {
            Kind::AddrInUse => Error::ADDRINUSE,
            Kind::AddrNotAvailable => Error::ADDRNOTAVAIL,
            Kind::AlreadyExists => Error::EXIST,
            Kind::BrokenPipe => Error::PIPE,
            Kind::ConnectionAborted => Error::CONNABORTED,
            Kind::ConnectionRefused => Error::CONNREFUSED,
            Kind::ConnectionReset => Error::CONNRESET,
            Kind::Interrupted => Error::INTR,
            // What came in is malformed or cut.
            Kind::InvalidData | Kind::UnexpectedEof => Error::PROTO,
            Kind::InvalidInput => Error::INVAL,
            Kind::NotConnected => Error::NOTCONN,
            Kind::NotFound => Error::NOENT,
            Kind::OutOfMemory => Error::NOMEM,
            Kind::PermissionDenied => Error::ACCES,
            Kind::TimedOut => Error::TIMEDOUT,
            Kind::Unsupported => Error::NOTSUP,
            Kind::WouldBlock => Error::AGAIN,
            _ => Error::IO,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({})", self.message(), name),
            None if *self == Error::TOOBIG => f.write_str("argument list too long (E2BIG)"),
            None => write!(f, "{} ({})", self.message(), self.raw()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "Error({name})"),
            None => write!(f, "Error({})", self.raw()),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        if let Some(&inner) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>())
        {
            return inner;
        }
        // Only on WASI are the numbers of the system those of WASI.
        if cfg!(target_os = "wasi") {
            if let Some(number) = error.raw_os_error() {
                return Error::from_raw(u16::try_from(number).unwrap_or(0));
            }
        }
        Error::from_kind(error.kind())
    }
}

impl From<Error> for io::Error {
    /// An error of the fitting kind, which holds this one: the way back gives the same number.
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_wasi_preview_1() {
        let numbers = [
            (Error::AGAIN, 6),
            (Error::BADF, 8),
            (Error::CANCELED, 11),
            (Error::INVAL, 28),
            (Error::IO, 29),
            (Error::NOTCONN, 53),
            (Error::PROTO, 65),
            (Error::TIMEDOUT, 73),
            (Error::NOTCAPABLE, 76),
        ];
        for (error, number) in numbers {
            assert_eq!(error.raw(), number, "{error:?}");
        }
    }

    #[test]
    fn every_number_up_to_76_has_a_text() {
        for number in 1..=76 {
            let error = Error::from_raw(number);
            let text = error.to_string();
            assert!(!text.contains("unknown") && text.contains(" (E"), "{text}");
        }
        assert_eq!(Error::from_raw(77).to_string(), "unknown error (77)");
        assert_eq!(format!("{:?}", Error::PROTO), "Error(EPROTO)");
    }

    #[test]
    fn a_success_is_never_an_error() {
        assert_eq!(Error::from_raw(0), Error::IO);
    }

    #[test]
    fn an_error_survives_the_way_through_an_io_error() {
        for number in 1..=80 {
            let error = Error::from_raw(number);
            assert_eq!(Error::from(io::Error::from(error)), error);
        }
        assert_eq!(
            io::Error::from(Error::AGAIN).kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn a_stream_that_ends_too_early_is_a_protocol_error() {
        let mut empty: &[u8] = b"";
        let error = io::Read::read_exact(&mut empty, &mut [0]).expect_err("nothing to read");
        assert_eq!(Error::from(error), Error::PROTO);
    }

    #[test]
    fn a_negative_result_is_an_error() {
        assert_eq!(Error::check(5), Ok(5));
        assert_eq!(Error::check(-65), Err(Error::PROTO));
        assert_eq!(Error::check(i32::MIN), Err(Error::IO));
    }
}
