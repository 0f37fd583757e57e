//! The error numbers of the systems that a host runs on, and what they are in WASI Preview 1.
//!
//! Knows numbers alone. All tables are compiled everywhere, so that each is tested everywhere; must
//! never ask the operating system anything.

use crate::Errno;

/// Systems that share a set of error numbers.
///
/// ```
/// use watm_abi::{Errno, OsFamily};
///
/// // The same error has a number of its own in each.
/// for (os, raw) in [(OsFamily::Linux, 111), (OsFamily::MacOs, 61), (OsFamily::Windows, 10061)] {
///     assert_eq!(Errno::from_raw_os(os, raw), Some(Errno::Connrefused));
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OsFamily {
    /// Linux and Android, on the processors that use its generic numbers: all but MIPS, SPARC,
    /// Alpha and PA-RISC.
    Linux,
    /// macOS and its relatives, such as iOS.
    MacOs,
    /// Windows: the numbers of Winsock (`WSAE..`, 10000 and up) and of the system (`ERROR_..`).
    Windows,
}

impl OsFamily {
    /// The family of the system that this crate is compiled for, or `None` for another one, whose
    /// numbers are not known here.
    pub const CURRENT: Option<OsFamily> = if cfg!(any(
        target_arch = "mips",
        target_arch = "mips32r6",
        target_arch = "mips64",
        target_arch = "mips64r6",
        target_arch = "sparc",
        target_arch = "sparc64",
    )) {
        None
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        Some(OsFamily::Linux)
    } else if cfg!(target_vendor = "apple") {
        Some(OsFamily::MacOs)
    } else if cfg!(windows) {
        Some(OsFamily::Windows)
    } else {
        None
    };

    /// The numbers of this family, in ascending order.
    const fn table(self) -> &'static [(i32, Errno)] {
        match self {
            OsFamily::Linux => LINUX,
            OsFamily::MacOs => MACOS,
            OsFamily::Windows => WINDOWS,
        }
    }
}

impl Errno {
    /// The error that a system's number stands for, as `std::io::Error::raw_os_error` gives it.
    ///
    /// `None` for a number that has no counterpart, and for 0, which is no error.
    pub fn from_raw_os(os: OsFamily, raw: i32) -> Option<Errno> {
        let table = os.table();
        let position = table
            .binary_search_by_key(&raw, |(number, _)| *number)
            .ok()?;
        table.get(position).map(|(_, errno)| *errno)
    }
}

/// `asm-generic/errno-base.h` and `asm-generic/errno.h`.
const LINUX: &[(i32, Errno)] = &[
    (1, Errno::Perm),
    (2, Errno::Noent),
    (3, Errno::Srch),
    (4, Errno::Intr),
    (5, Errno::Io),
    (6, Errno::Nxio),
    (7, Errno::TooBig),
    (8, Errno::Noexec),
    (9, Errno::Badf),
    (10, Errno::Child),
    (11, Errno::Again),
    (12, Errno::Nomem),
    (13, Errno::Acces),
    (14, Errno::Fault),
    (16, Errno::Busy),
    (17, Errno::Exist),
    (18, Errno::Xdev),
    (19, Errno::Nodev),
    (20, Errno::Notdir),
    (21, Errno::Isdir),
    (22, Errno::Inval),
    (23, Errno::Nfile),
    (24, Errno::Mfile),
    (25, Errno::Notty),
    (26, Errno::Txtbsy),
    (27, Errno::Fbig),
    (28, Errno::Nospc),
    (29, Errno::Spipe),
    (30, Errno::Rofs),
    (31, Errno::Mlink),
    (32, Errno::Pipe),
    (33, Errno::Dom),
    (34, Errno::Range),
    (35, Errno::Deadlk),
    (36, Errno::Nametoolong),
    (37, Errno::Nolck),
    (38, Errno::Nosys),
    (39, Errno::Notempty),
    (40, Errno::Loop),
    (42, Errno::Nomsg),
    (43, Errno::Idrm),
    (62, Errno::Timedout), // ETIME
    (64, Errno::Netdown),  // ENONET, which accept returns for an error of the network
    (67, Errno::Nolink),
    (71, Errno::Proto),
    (72, Errno::Multihop),
    (74, Errno::Badmsg),
    (75, Errno::Overflow),
    (84, Errno::Ilseq),
    (88, Errno::Notsock),
    (89, Errno::Destaddrreq),
    (90, Errno::Msgsize),
    (91, Errno::Prototype),
    (92, Errno::Noprotoopt),
    (93, Errno::Protonosupport),
    (94, Errno::Protonosupport), // ESOCKTNOSUPPORT
    (95, Errno::Notsup),         // EOPNOTSUPP, which is ENOTSUP here
    (96, Errno::Afnosupport),    // EPFNOSUPPORT
    (97, Errno::Afnosupport),
    (98, Errno::Addrinuse),
    (99, Errno::Addrnotavail),
    (100, Errno::Netdown),
    (101, Errno::Netunreach),
    (102, Errno::Netreset),
    (103, Errno::Connaborted),
    (104, Errno::Connreset),
    (105, Errno::Nobufs),
    (106, Errno::Isconn),
    (107, Errno::Notconn),
    (108, Errno::Pipe), // ESHUTDOWN
    (110, Errno::Timedout),
    (111, Errno::Connrefused),
    (112, Errno::Hostunreach), // EHOSTDOWN
    (113, Errno::Hostunreach),
    (114, Errno::Already),
    (115, Errno::Inprogress),
    (116, Errno::Stale),
    (121, Errno::Io), // EREMOTEIO
    (122, Errno::Dquot),
    (125, Errno::Canceled),
    (130, Errno::Ownerdead),
    (131, Errno::Notrecoverable),
];

/// `sys/errno.h`.
const MACOS: &[(i32, Errno)] = &[
    (1, Errno::Perm),
    (2, Errno::Noent),
    (3, Errno::Srch),
    (4, Errno::Intr),
    (5, Errno::Io),
    (6, Errno::Nxio),
    (7, Errno::TooBig),
    (8, Errno::Noexec),
    (9, Errno::Badf),
    (10, Errno::Child),
    (11, Errno::Deadlk),
    (12, Errno::Nomem),
    (13, Errno::Acces),
    (14, Errno::Fault),
    (16, Errno::Busy),
    (17, Errno::Exist),
    (18, Errno::Xdev),
    (19, Errno::Nodev),
    (20, Errno::Notdir),
    (21, Errno::Isdir),
    (22, Errno::Inval),
    (23, Errno::Nfile),
    (24, Errno::Mfile),
    (25, Errno::Notty),
    (26, Errno::Txtbsy),
    (27, Errno::Fbig),
    (28, Errno::Nospc),
    (29, Errno::Spipe),
    (30, Errno::Rofs),
    (31, Errno::Mlink),
    (32, Errno::Pipe),
    (33, Errno::Dom),
    (34, Errno::Range),
    (35, Errno::Again),
    (36, Errno::Inprogress),
    (37, Errno::Already),
    (38, Errno::Notsock),
    (39, Errno::Destaddrreq),
    (40, Errno::Msgsize),
    (41, Errno::Prototype),
    (42, Errno::Noprotoopt),
    (43, Errno::Protonosupport),
    (44, Errno::Protonosupport), // ESOCKTNOSUPPORT
    (45, Errno::Notsup),
    (46, Errno::Afnosupport), // EPFNOSUPPORT
    (47, Errno::Afnosupport),
    (48, Errno::Addrinuse),
    (49, Errno::Addrnotavail),
    (50, Errno::Netdown),
    (51, Errno::Netunreach),
    (52, Errno::Netreset),
    (53, Errno::Connaborted),
    (54, Errno::Connreset),
    (55, Errno::Nobufs),
    (56, Errno::Isconn),
    (57, Errno::Notconn),
    (58, Errno::Pipe), // ESHUTDOWN
    (60, Errno::Timedout),
    (61, Errno::Connrefused),
    (62, Errno::Loop),
    (63, Errno::Nametoolong),
    (64, Errno::Hostunreach), // EHOSTDOWN
    (65, Errno::Hostunreach),
    (66, Errno::Notempty),
    (69, Errno::Dquot),
    (70, Errno::Stale),
    (77, Errno::Nolck),
    (78, Errno::Nosys),
    (84, Errno::Overflow),
    (89, Errno::Canceled),
    (90, Errno::Idrm),
    (91, Errno::Nomsg),
    (92, Errno::Ilseq),
    (94, Errno::Badmsg),
    (95, Errno::Multihop),
    (97, Errno::Nolink),
    (100, Errno::Proto),
    (101, Errno::Timedout), // ETIME
    (102, Errno::Notsup),   // EOPNOTSUPP
    (104, Errno::Notrecoverable),
    (105, Errno::Ownerdead),
    (107, Errno::Notcapable),
];

/// `winerror.h`.
const WINDOWS: &[(i32, Errno)] = &[
    (2, Errno::Noent),          // ERROR_FILE_NOT_FOUND
    (3, Errno::Noent),          // ERROR_PATH_NOT_FOUND
    (4, Errno::Mfile),          // ERROR_TOO_MANY_OPEN_FILES
    (5, Errno::Acces),          // ERROR_ACCESS_DENIED
    (6, Errno::Badf),           // ERROR_INVALID_HANDLE
    (8, Errno::Nomem),          // ERROR_NOT_ENOUGH_MEMORY
    (14, Errno::Nomem),         // ERROR_OUTOFMEMORY
    (17, Errno::Xdev),          // ERROR_NOT_SAME_DEVICE
    (19, Errno::Rofs),          // ERROR_WRITE_PROTECT
    (32, Errno::Busy),          // ERROR_SHARING_VIOLATION
    (33, Errno::Busy),          // ERROR_LOCK_VIOLATION
    (39, Errno::Nospc),         // ERROR_HANDLE_DISK_FULL
    (50, Errno::Notsup),        // ERROR_NOT_SUPPORTED
    (53, Errno::Noent),         // ERROR_BAD_NETPATH
    (64, Errno::Connreset),     // ERROR_NETNAME_DELETED
    (67, Errno::Noent),         // ERROR_BAD_NET_NAME
    (80, Errno::Exist),         // ERROR_FILE_EXISTS
    (87, Errno::Inval),         // ERROR_INVALID_PARAMETER
    (109, Errno::Pipe),         // ERROR_BROKEN_PIPE
    (112, Errno::Nospc),        // ERROR_DISK_FULL
    (120, Errno::Nosys),        // ERROR_CALL_NOT_IMPLEMENTED
    (121, Errno::Timedout),     // ERROR_SEM_TIMEOUT
    (123, Errno::Noent),        // ERROR_INVALID_NAME
    (132, Errno::Spipe),        // ERROR_SEEK_ON_DEVICE
    (145, Errno::Notempty),     // ERROR_DIR_NOT_EMPTY
    (170, Errno::Busy),         // ERROR_BUSY
    (183, Errno::Exist),        // ERROR_ALREADY_EXISTS
    (206, Errno::Nametoolong),  // ERROR_FILENAME_EXCED_RANGE
    (223, Errno::Fbig),         // ERROR_FILE_TOO_LARGE
    (230, Errno::Pipe),         // ERROR_BAD_PIPE
    (231, Errno::Busy),         // ERROR_PIPE_BUSY
    (232, Errno::Pipe),         // ERROR_NO_DATA
    (233, Errno::Pipe),         // ERROR_PIPE_NOT_CONNECTED
    (258, Errno::Timedout),     // WAIT_TIMEOUT
    (267, Errno::Notdir),       // ERROR_DIRECTORY
    (487, Errno::Fault),        // ERROR_INVALID_ADDRESS
    (995, Errno::Canceled),     // ERROR_OPERATION_ABORTED
    (998, Errno::Fault),        // ERROR_NOACCESS
    (1117, Errno::Io),          // ERROR_IO_DEVICE
    (1131, Errno::Deadlk),      // ERROR_POSSIBLE_DEADLOCK
    (1142, Errno::Mlink),       // ERROR_TOO_MANY_LINKS
    (1223, Errno::Canceled),    // ERROR_CANCELLED
    (1225, Errno::Connrefused), // ERROR_CONNECTION_REFUSED
    (1227, Errno::Addrinuse),   // ERROR_ADDRESS_ALREADY_ASSOCIATED
    (1229, Errno::Notconn),     // ERROR_CONNECTION_INVALID
    (1231, Errno::Netunreach),  // ERROR_NETWORK_UNREACHABLE
    (1232, Errno::Hostunreach), // ERROR_HOST_UNREACHABLE
    (1233, Errno::Netunreach),  // ERROR_PROTOCOL_UNREACHABLE
    (1234, Errno::Connrefused), // ERROR_PORT_UNREACHABLE
    (1236, Errno::Connaborted), // ERROR_CONNECTION_ABORTED
    (1295, Errno::Dquot),       // ERROR_DISK_QUOTA_EXCEEDED
    (1314, Errno::Perm),        // ERROR_PRIVILEGE_NOT_HELD
    (1450, Errno::Nobufs),      // ERROR_NO_SYSTEM_RESOURCES
    (1455, Errno::Nomem),       // ERROR_COMMITMENT_LIMIT
    (1460, Errno::Timedout),    // ERROR_TIMEOUT
    (1921, Errno::Loop),        // ERROR_CANT_RESOLVE_FILENAME
    (10004, Errno::Intr),
    (10009, Errno::Badf),
    (10013, Errno::Acces),
    (10014, Errno::Fault),
    (10022, Errno::Inval),
    (10024, Errno::Mfile),
    (10035, Errno::Again), // WSAEWOULDBLOCK
    (10036, Errno::Inprogress),
    (10037, Errno::Already),
    (10038, Errno::Notsock),
    (10039, Errno::Destaddrreq),
    (10040, Errno::Msgsize),
    (10041, Errno::Prototype),
    (10042, Errno::Noprotoopt),
    (10043, Errno::Protonosupport),
    (10044, Errno::Protonosupport), // WSAESOCKTNOSUPPORT
    (10045, Errno::Notsup),         // WSAEOPNOTSUPP
    (10046, Errno::Afnosupport),    // WSAEPFNOSUPPORT
    (10047, Errno::Afnosupport),
    (10048, Errno::Addrinuse),
    (10049, Errno::Addrnotavail),
    (10050, Errno::Netdown),
    (10051, Errno::Netunreach),
    (10052, Errno::Netreset),
    (10053, Errno::Connaborted),
    (10054, Errno::Connreset),
    (10055, Errno::Nobufs),
    (10056, Errno::Isconn),
    (10057, Errno::Notconn),
    (10058, Errno::Pipe), // WSAESHUTDOWN
    (10060, Errno::Timedout),
    (10061, Errno::Connrefused),
    (10062, Errno::Loop),
    (10063, Errno::Nametoolong),
    (10064, Errno::Hostunreach), // WSAEHOSTDOWN
    (10065, Errno::Hostunreach),
    (10066, Errno::Notempty),
    (10069, Errno::Dquot),
    (10070, Errno::Stale),
    (10103, Errno::Canceled),
    (10111, Errno::Canceled), // WSA_E_CANCELLED
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io;

    const ALL: [OsFamily; 3] = [OsFamily::Linux, OsFamily::MacOs, OsFamily::Windows];

    #[test]
    fn the_tables_ascend_and_hold_no_success() {
        for os in ALL {
            assert!(os.table().is_sorted_by(|(a, _), (b, _)| a < b), "{os:?}");
            assert!(
                os.table()
                    .iter()
                    .all(|(raw, errno)| *raw > 0 && *errno != Errno::Success)
            );
        }
    }

    #[test]
    fn the_errors_of_connections_are_known_on_every_system() {
        use OsFamily::{Linux, MacOs, Windows};
        for (errno, linux, macos, windows) in [
            (Errno::Acces, 13, 13, 10013),
            (Errno::Addrinuse, 98, 48, 10048),
            (Errno::Addrnotavail, 99, 49, 10049),
            (Errno::Afnosupport, 97, 47, 10047),
            (Errno::Again, 11, 35, 10035),
            (Errno::Already, 114, 37, 10037),
            (Errno::Badf, 9, 9, 10009),
            (Errno::Canceled, 125, 89, 10103),
            (Errno::Connaborted, 103, 53, 10053),
            (Errno::Connrefused, 111, 61, 10061),
            (Errno::Connreset, 104, 54, 10054),
            (Errno::Destaddrreq, 89, 39, 10039),
            (Errno::Fault, 14, 14, 10014),
            (Errno::Hostunreach, 113, 65, 10065),
            (Errno::Inprogress, 115, 36, 10036),
            (Errno::Intr, 4, 4, 10004),
            (Errno::Inval, 22, 22, 10022),
            (Errno::Isconn, 106, 56, 10056),
            (Errno::Mfile, 24, 24, 10024),
            (Errno::Msgsize, 90, 40, 10040),
            (Errno::Netdown, 100, 50, 10050),
            (Errno::Netreset, 102, 52, 10052),
            (Errno::Netunreach, 101, 51, 10051),
            (Errno::Nobufs, 105, 55, 10055),
            (Errno::Noprotoopt, 92, 42, 10042),
            (Errno::Notconn, 107, 57, 10057),
            (Errno::Notsock, 88, 38, 10038),
            (Errno::Notsup, 95, 102, 10045),
            (Errno::Pipe, 32, 32, 109),
            (Errno::Pipe, 108, 58, 10058),
            (Errno::Protonosupport, 93, 43, 10043),
            (Errno::Prototype, 91, 41, 10041),
            (Errno::Timedout, 110, 60, 10060),
        ] {
            assert_eq!(Errno::from_raw_os(Linux, linux), Some(errno));
            assert_eq!(Errno::from_raw_os(MacOs, macos), Some(errno));
            assert_eq!(Errno::from_raw_os(Windows, windows), Some(errno));
        }
    }

    #[test]
    fn only_what_a_system_lacks_is_missing_from_its_table() {
        let missing = |os: OsFamily| -> Vec<Errno> {
            let known = |errno: &Errno| os.table().iter().any(|(_, other)| other == errno);
            Errno::ALL[1..]
                .iter()
                .copied()
                .filter(|errno| !known(errno))
                .collect()
        };
        assert_eq!(missing(OsFamily::Linux), [Errno::Notcapable]);
        assert_eq!(missing(OsFamily::MacOs), []);
        assert!(
            missing(OsFamily::Windows)
                .iter()
                .all(|errno| errno.io_kind() != io::ErrorKind::WouldBlock)
        );
    }

    // Compares with what the standard library knows about the numbers of this system.
    #[cfg(unix)]
    #[test]
    fn the_table_of_this_system_agrees_with_the_standard_library() {
        let Some(os) = OsFamily::CURRENT else { return };
        let mut compared = 0;
        for (raw, errno) in os.table() {
            let kind = io::Error::from_raw_os_error(*raw).kind();
            let of_kind = Errno::from_io(&kind.into());
            // The standard library has no public kind for the other numbers.
            if of_kind != Errno::Io {
                assert_eq!(errno.io_kind(), kind, "{raw} {errno:?}");
                compared += 1;
            }
        }
        assert!(compared > 30, "{compared}");
    }

    #[test]
    fn zero_and_unknown_numbers_stand_for_no_error() {
        for os in ALL {
            for raw in [i32::MIN, -1, 0, 15, 9999, i32::MAX] {
                assert_eq!(Errno::from_raw_os(os, raw), None, "{os:?} {raw}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_lookup_finds_exactly_what_the_table_lists(raw in -10..12000) {
            for os in ALL {
                let listed = os.table().iter().find(|(number, _)| *number == raw).map(|(_, e)| *e);
                prop_assert_eq!(Errno::from_raw_os(os, raw), listed);
            }
        }
    }
}
