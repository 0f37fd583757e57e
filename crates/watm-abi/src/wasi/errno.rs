//! Error numbers of WASI Preview 1, and their translation from and to `std::io::Error`.
//!
//! Knows the 77 numbers and what they are called. Must never know which call failed, nor how a
//! function of the interface returns a number (see `watm/guest_result.rs`).

use std::fmt;
use std::io;

use crate::OsFamily;

macro_rules! errnos {
    ($($number:literal $variant:ident $name:literal $message:literal;)*) => {
        /// An error number: `errno` of WASI Preview 1.
        ///
        /// These are the numbers that guests see, whatever the system that the host runs on.
        /// [`Display`](fmt::Display) gives the text and the name, such as `no such file or
        /// directory (ENOENT)`.
        ///
        /// ```
        /// use std::io;
        /// use watm_abi::Errno;
        ///
        /// // An error of the host becomes a number for the guest, and the other way round.
        /// let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        /// assert_eq!(Errno::from_io(&reset), Errno::Connreset);
        /// assert_eq!(Errno::Connreset.raw(), 15);
        /// assert_eq!(Errno::Connreset.to_io().kind(), io::ErrorKind::ConnectionReset);
        ///
        /// assert_eq!(Errno::from_raw(44), Some(Errno::Noent));
        /// assert_eq!(Errno::Noent.to_string(), "no such file or directory (ENOENT)");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Errno {
            $(
                #[doc = concat!("`", $name, "`: ", $message, ".")]
                $variant = $number,
            )*
        }

        impl Errno {
            /// Every error number, in the order of the numbers, from `Success` on.
            pub const ALL: &[Errno] = &[$(Errno::$variant),*];

            /// The error with this number, or `None` when there is none.
            pub const fn from_raw(raw: u16) -> Option<Errno> {
                match raw {
                    $($number => Some(Errno::$variant),)*
                    _ => None,
                }
            }

            /// What C calls it, such as `EAGAIN`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Errno::$variant => $name,)*
                }
            }

            /// What it means, in lower case and without a full stop.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Errno::$variant => $message,)*
                }
            }
        }
    };
}

errnos! {
    0 Success "ESUCCESS" "success";
    1 TooBig "E2BIG" "argument list too long";
    2 Acces "EACCES" "permission denied";
    3 Addrinuse "EADDRINUSE" "address in use";
    4 Addrnotavail "EADDRNOTAVAIL" "address not available";
    5 Afnosupport "EAFNOSUPPORT" "address family not supported";
    6 Again "EAGAIN" "resource temporarily unavailable";
    7 Already "EALREADY" "connection already in progress";
    8 Badf "EBADF" "bad file descriptor";
    9 Badmsg "EBADMSG" "bad message";
    10 Busy "EBUSY" "device or resource busy";
    11 Canceled "ECANCELED" "operation canceled";
    12 Child "ECHILD" "no child processes";
    13 Connaborted "ECONNABORTED" "connection aborted";
    14 Connrefused "ECONNREFUSED" "connection refused";
    15 Connreset "ECONNRESET" "connection reset";
    16 Deadlk "EDEADLK" "resource deadlock would occur";
    17 Destaddrreq "EDESTADDRREQ" "destination address required";
    18 Dom "EDOM" "argument out of domain";
    19 Dquot "EDQUOT" "disk quota exceeded";
    20 Exist "EEXIST" "file exists";
    21 Fault "EFAULT" "bad address";
    22 Fbig "EFBIG" "file too large";
    23 Hostunreach "EHOSTUNREACH" "host is unreachable";
    24 Idrm "EIDRM" "identifier removed";
    25 Ilseq "EILSEQ" "illegal byte sequence";
    26 Inprogress "EINPROGRESS" "operation in progress";
    27 Intr "EINTR" "interrupted function";
    28 Inval "EINVAL" "invalid argument";
    29 Io "EIO" "input/output error";
    30 Isconn "EISCONN" "socket is connected";
    31 Isdir "EISDIR" "is a directory";
    32 Loop "ELOOP" "too many levels of symbolic links";
    33 Mfile "EMFILE" "too many open descriptors";
    34 Mlink "EMLINK" "too many links";
    35 Msgsize "EMSGSIZE" "message too large";
    36 Multihop "EMULTIHOP" "multihop attempted";
    37 Nametoolong "ENAMETOOLONG" "file name too long";
    38 Netdown "ENETDOWN" "network is down";
    39 Netreset "ENETRESET" "connection aborted by network";
    40 Netunreach "ENETUNREACH" "network unreachable";
    41 Nfile "ENFILE" "too many files open in system";
    42 Nobufs "ENOBUFS" "no buffer space available";
    43 Nodev "ENODEV" "no such device";
    44 Noent "ENOENT" "no such file or directory";
    45 Noexec "ENOEXEC" "executable file format error";
    46 Nolck "ENOLCK" "no locks available";
    47 Nolink "ENOLINK" "link has been severed";
    48 Nomem "ENOMEM" "not enough memory";
    49 Nomsg "ENOMSG" "no message of the desired type";
    50 Noprotoopt "ENOPROTOOPT" "protocol option not available";
    51 Nospc "ENOSPC" "no space left on device";
    52 Nosys "ENOSYS" "function not supported";
    53 Notconn "ENOTCONN" "socket is not connected";
    54 Notdir "ENOTDIR" "not a directory";
    55 Notempty "ENOTEMPTY" "directory not empty";
    56 Notrecoverable "ENOTRECOVERABLE" "state not recoverable";
    57 Notsock "ENOTSOCK" "not a socket";
    58 Notsup "ENOTSUP" "not supported";
    59 Notty "ENOTTY" "inappropriate i/o control operation";
    60 Nxio "ENXIO" "no such device or address";
    61 Overflow "EOVERFLOW" "value too large";
    62 Ownerdead "EOWNERDEAD" "previous owner died";
    63 Perm "EPERM" "operation not permitted";
    64 Pipe "EPIPE" "broken pipe";
    65 Proto "EPROTO" "protocol error";
    66 Protonosupport "EPROTONOSUPPORT" "protocol not supported";
    67 Prototype "EPROTOTYPE" "protocol wrong type for socket";
    68 Range "ERANGE" "result too large";
    69 Rofs "EROFS" "read-only file system";
    70 Spipe "ESPIPE" "invalid seek";
    71 Srch "ESRCH" "no such process";
    72 Stale "ESTALE" "stale file handle";
    73 Timedout "ETIMEDOUT" "connection timed out";
    74 Txtbsy "ETXTBSY" "text file busy";
    75 Xdev "EXDEV" "cross-device link";
    76 Notcapable "ENOTCAPABLE" "capabilities insufficient";
}

impl Errno {
    /// The number, 0 to 76: what WASI functions return.
    pub const fn raw(self) -> u16 {
        self as u16
    }

    /// The negated number, -76 to 0: how the `s32` functions of WATM v1 report a failure.
    pub const fn to_signed(self) -> i32 {
        -(self.raw() as i32)
    }

    /// The error that comes closest to an `io::Error` of the host.
    ///
    /// In this order: the `Errno` that the error was made of (see [`to_io`](Self::to_io)), also
    /// through further layers of `io::Error`; the number of the operating system (see
    /// [`from_raw_os`](Self::from_raw_os)); the kind. An error is never taken for a success: what
    /// says so, or says nothing, is [`Errno::Io`].
    pub fn from_io(error: &io::Error) -> Errno {
        let mut error = error;
        while let Some(inner) = error.get_ref() {
            if let Some(&errno) = inner.downcast_ref::<Errno>() {
                return if errno == Errno::Success {
                    Errno::Io
                } else {
                    errno
                };
            }
            match inner.downcast_ref::<io::Error>() {
                Some(inner) => error = inner,
                None => break,
            }
        }
        let from_os = || Errno::from_raw_os(OsFamily::CURRENT?, error.raw_os_error()?);
        from_os().unwrap_or_else(|| Errno::from_kind(error.kind()))
    }

    /// An `io::Error` that has the fitting kind, and this error as its source.
    ///
    /// [`from_io`](Self::from_io) gives the same error back, [`Errno::Success`] excepted.
    pub fn to_io(self) -> io::Error {
        io::Error::new(self.io_kind(), self)
    }

    /// The kind of `io::Error` that fits; `Other` when none does.
    pub fn io_kind(self) -> io::ErrorKind {
        use io::ErrorKind as Kind;
        match self {
            Errno::TooBig => Kind::ArgumentListTooLong,
            Errno::Acces | Errno::Perm | Errno::Notcapable => Kind::PermissionDenied,
            Errno::Addrinuse => Kind::AddrInUse,
            Errno::Addrnotavail => Kind::AddrNotAvailable,
            Errno::Again => Kind::WouldBlock,
            Errno::Busy => Kind::ResourceBusy,
            Errno::Connaborted => Kind::ConnectionAborted,
            Errno::Connrefused => Kind::ConnectionRefused,
            Errno::Connreset => Kind::ConnectionReset,
            Errno::Deadlk => Kind::Deadlock,
            Errno::Dquot => Kind::QuotaExceeded,
            Errno::Exist => Kind::AlreadyExists,
            Errno::Fbig => Kind::FileTooLarge,
            Errno::Hostunreach => Kind::HostUnreachable,
            Errno::Intr => Kind::Interrupted,
            Errno::Inval => Kind::InvalidInput,
            Errno::Isdir => Kind::IsADirectory,
            Errno::Mlink => Kind::TooManyLinks,
            Errno::Nametoolong => Kind::InvalidFilename,
            Errno::Netdown => Kind::NetworkDown,
            Errno::Netunreach => Kind::NetworkUnreachable,
            Errno::Noent => Kind::NotFound,
            Errno::Nomem => Kind::OutOfMemory,
            Errno::Nospc => Kind::StorageFull,
            Errno::Nosys | Errno::Notsup | Errno::Afnosupport | Errno::Protonosupport => {
                Kind::Unsupported
            }
            Errno::Notconn => Kind::NotConnected,
            Errno::Notdir => Kind::NotADirectory,
            Errno::Notempty => Kind::DirectoryNotEmpty,
            Errno::Pipe => Kind::BrokenPipe,
            Errno::Proto | Errno::Badmsg | Errno::Ilseq => Kind::InvalidData,
            Errno::Rofs => Kind::ReadOnlyFilesystem,
            Errno::Spipe => Kind::NotSeekable,
            Errno::Stale => Kind::StaleNetworkFileHandle,
            Errno::Timedout => Kind::TimedOut,
            Errno::Txtbsy => Kind::ExecutableFileBusy,
            Errno::Xdev => Kind::CrossesDevices,
            _ => Kind::Other,
        }
    }

    /// The error that comes closest to a kind of `io::Error`; [`Errno::Io`] when none does.
    fn from_kind(kind: io::ErrorKind) -> Errno {
        use io::ErrorKind as Kind;
        match kind {
            Kind::AddrInUse => Errno::Addrinuse,
            Kind::AddrNotAvailable => Errno::Addrnotavail,
            Kind::AlreadyExists => Errno::Exist,
            Kind::ArgumentListTooLong => Errno::TooBig,
            Kind::BrokenPipe => Errno::Pipe,
            Kind::ConnectionAborted => Errno::Connaborted,
            Kind::ConnectionRefused => Errno::Connrefused,
            Kind::ConnectionReset => Errno::Connreset,
            Kind::CrossesDevices => Errno::Xdev,
            Kind::Deadlock => Errno::Deadlk,
            Kind::DirectoryNotEmpty => Errno::Notempty,
            Kind::ExecutableFileBusy => Errno::Txtbsy,
            Kind::FileTooLarge => Errno::Fbig,
            Kind::HostUnreachable => Errno::Hostunreach,
            Kind::Interrupted => Errno::Intr,
            // Something that came in is malformed, where a call's own arguments would be
            // `InvalidInput`.
            Kind::InvalidData => Errno::Proto,
            Kind::InvalidFilename => Errno::Nametoolong,
            Kind::InvalidInput => Errno::Inval,
            Kind::IsADirectory => Errno::Isdir,
            Kind::NetworkDown => Errno::Netdown,
            Kind::NetworkUnreachable => Errno::Netunreach,
            Kind::NotADirectory => Errno::Notdir,
            Kind::NotConnected => Errno::Notconn,
            Kind::NotFound => Errno::Noent,
            Kind::NotSeekable => Errno::Spipe,
            Kind::OutOfMemory => Errno::Nomem,
            Kind::PermissionDenied => Errno::Acces,
            Kind::QuotaExceeded => Errno::Dquot,
            Kind::ReadOnlyFilesystem => Errno::Rofs,
            Kind::ResourceBusy => Errno::Busy,
            Kind::StaleNetworkFileHandle => Errno::Stale,
            Kind::StorageFull => Errno::Nospc,
            Kind::TimedOut => Errno::Timedout,
            Kind::TooManyLinks => Errno::Mlink,
            Kind::Unsupported => Errno::Notsup,
            Kind::WouldBlock => Errno::Again,
            _ => Errno::Io,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message(), self.name())
    }
}

impl std::error::Error for Errno {}

impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        Errno::from_io(error)
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        errno.to_io()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_numbers_are_those_of_wasi_preview_1() {
        assert_eq!(Errno::ALL.len(), 77);
        for (number, errno) in Errno::ALL.iter().enumerate() {
            assert_eq!(usize::from(errno.raw()), number);
        }
        // The errors that the interface names, and both ends of each range between them.
        for (errno, number) in [
            (Errno::Again, 6),
            (Errno::Badf, 8),
            (Errno::Busy, 10),
            (Errno::Canceled, 11),
            (Errno::Connrefused, 14),
            (Errno::Fault, 21),
            (Errno::Inval, 28),
            (Errno::Io, 29),
            (Errno::Mfile, 33),
            (Errno::Nodev, 43),
            (Errno::Nosys, 52),
            (Errno::Notconn, 53),
            (Errno::Perm, 63),
            (Errno::Proto, 65),
            (Errno::Spipe, 70),
            (Errno::Timedout, 73),
            (Errno::Notcapable, 76),
        ] {
            assert_eq!(errno.raw(), number, "{errno:?}");
        }
    }

    #[test]
    fn names_are_unique_and_look_like_c() {
        for (index, errno) in Errno::ALL.iter().enumerate() {
            assert!(errno.name().starts_with('E'));
            assert!(
                Errno::ALL[..index]
                    .iter()
                    .all(|other| other.name() != errno.name())
            );
            // No variant can be named after `E2BIG`: identifiers do not start with a digit.
            if *errno != Errno::TooBig {
                assert_eq!(format!("E{errno:?}").to_uppercase(), errno.name());
            }
        }
    }

    #[test]
    fn messages_are_unique_lower_case_and_without_a_full_stop() {
        for (index, errno) in Errno::ALL.iter().enumerate() {
            let message = errno.message();
            assert!(!message.is_empty() && !message.ends_with('.'), "{message}");
            assert_eq!(message, message.to_lowercase());
            assert!(
                Errno::ALL[..index]
                    .iter()
                    .all(|other| other.message() != message)
            );
        }
    }

    #[test]
    fn an_error_prints_as_its_text_and_its_name() {
        assert_eq!(
            Errno::Noent.to_string(),
            "no such file or directory (ENOENT)"
        );
    }

    #[test]
    fn an_io_error_made_of_an_errno_carries_it() {
        for &errno in Errno::ALL {
            let error = errno.to_io();
            assert_eq!(error.kind(), errno.io_kind());
            assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&errno));
            assert_eq!(error.to_string(), errno.to_string());
            if errno != Errno::Success {
                assert_eq!(Errno::from(&error), errno);
                let wrapped = io::Error::other(io::Error::other(error));
                assert_eq!(Errno::from_io(&wrapped), errno);
            }
        }
    }

    #[test]
    fn no_io_error_is_taken_for_a_success() {
        assert_eq!(Errno::from_io(&Errno::Success.to_io()), Errno::Io);
        assert_ne!(
            Errno::from_io(&io::Error::from_raw_os_error(0)),
            Errno::Success
        );
    }

    #[test]
    fn an_io_error_with_another_source_goes_by_its_kind() {
        let error = io::Error::new(io::ErrorKind::TimedOut, "too slow");
        assert_eq!(Errno::from_io(&error), Errno::Timedout);
        let error = io::Error::other("no reason given");
        assert_eq!(Errno::from_io(&error), Errno::Io);
    }

    #[test]
    fn a_wrapped_system_error_keeps_its_number() {
        let Some(os) = OsFamily::CURRENT else { return };
        let raw = (0..20000).find(|&raw| Errno::from_raw_os(os, raw) == Some(Errno::Nobufs));
        let error = io::Error::other(io::Error::from_raw_os_error(raw.unwrap()));
        assert_eq!(Errno::from_io(&error), Errno::Nobufs);
    }

    #[test]
    fn an_error_has_the_kind_that_leads_back_to_it_or_to_a_relative() {
        for &errno in Errno::ALL {
            let kind = errno.io_kind();
            let back = Errno::from_kind(kind);
            assert_eq!(back.io_kind(), kind, "{errno:?}");
        }
        assert_eq!(Errno::from_kind(io::ErrorKind::UnexpectedEof), Errno::Io);
        assert_eq!(Errno::from_kind(io::ErrorKind::WriteZero), Errno::Io);
    }

    #[test]
    fn the_signed_form_is_the_negated_number() {
        assert_eq!(Errno::Success.to_signed(), 0);
        assert_eq!(Errno::Again.to_signed(), -6);
        assert_eq!(Errno::Notcapable.to_signed(), -76);
    }

    proptest! {
        #[test]
        fn a_number_is_an_error_exactly_when_it_is_below_77(raw: u16) {
            prop_assert_eq!(Errno::from_raw(raw).map(Errno::raw), (raw < 77).then_some(raw));
        }

        #[test]
        fn no_system_error_is_a_success(raw: i32) {
            prop_assert_ne!(Errno::from_io(&io::Error::from_raw_os_error(raw)), Errno::Success);
        }
    }
}
