//! Error numbers of the system for kinds of errors, which is what C programs know.

use std::ffi::c_int;
use std::io::ErrorKind;

/// The error number that describes a kind best; `EIO` if none does.
pub(crate) fn of_kind(kind: ErrorKind) -> c_int {
    match kind {
        ErrorKind::NotFound => libc::ENOENT,
        ErrorKind::PermissionDenied => libc::EACCES,
        ErrorKind::ConnectionRefused => libc::ECONNREFUSED,
        ErrorKind::ConnectionReset => libc::ECONNRESET,
        ErrorKind::ConnectionAborted => libc::ECONNABORTED,
        ErrorKind::HostUnreachable => libc::EHOSTUNREACH,
        ErrorKind::NetworkUnreachable => libc::ENETUNREACH,
        ErrorKind::NetworkDown => libc::ENETDOWN,
        ErrorKind::NotConnected => libc::ENOTCONN,
        ErrorKind::AddrInUse => libc::EADDRINUSE,
        ErrorKind::AddrNotAvailable => libc::EADDRNOTAVAIL,
        ErrorKind::BrokenPipe => libc::EPIPE,
        ErrorKind::AlreadyExists => libc::EEXIST,
        ErrorKind::WouldBlock => libc::EAGAIN,
        ErrorKind::NotADirectory => libc::ENOTDIR,
        ErrorKind::IsADirectory => libc::EISDIR,
        ErrorKind::ReadOnlyFilesystem => libc::EROFS,
        ErrorKind::InvalidInput | ErrorKind::InvalidData => libc::EINVAL,
        ErrorKind::TimedOut => libc::ETIMEDOUT,
        ErrorKind::StorageFull => libc::ENOSPC,
        ErrorKind::QuotaExceeded => libc::EDQUOT,
        ErrorKind::FileTooLarge => libc::EFBIG,
        ErrorKind::ResourceBusy => libc::EBUSY,
        ErrorKind::Interrupted => libc::EINTR,
        ErrorKind::Unsupported => libc::ENOTSUP,
        ErrorKind::OutOfMemory => libc::ENOMEM,
        _ => libc::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn an_error_number_has_a_kind_that_leads_back_to_it() {
        for errno in [
            libc::ENOENT,
            libc::EACCES,
            libc::ECONNREFUSED,
            libc::ECONNRESET,
            libc::ECONNABORTED,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::ENETDOWN,
            libc::ENOTCONN,
            libc::EADDRINUSE,
            libc::EADDRNOTAVAIL,
            libc::EPIPE,
            libc::EEXIST,
            libc::EAGAIN,
            libc::ENOTDIR,
            libc::EISDIR,
            libc::EROFS,
            libc::EINVAL,
            libc::ETIMEDOUT,
            libc::ENOSPC,
            libc::EDQUOT,
            libc::EFBIG,
            libc::EBUSY,
            libc::EINTR,
            libc::ENOTSUP,
            libc::ENOMEM,
        ] {
            assert_eq!(of_kind(Error::from_raw_os_error(errno).kind()), errno);
        }
        assert_eq!(of_kind(ErrorKind::Other), libc::EIO);
    }
}
