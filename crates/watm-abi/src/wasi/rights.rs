//! What a descriptor may be used for, as `fd_fdstat_get` and `path_open` carry it.
//!
//! Knows the bits, and must never know who is granted them.

use super::bits::bit_set;

bit_set! {
    /// What a descriptor may be used for: `rights` of WASI Preview 1, each named after the function
    /// it allows.
    ///
    /// ```
    /// use watm_abi::Rights;
    ///
    /// // A guest asks for everything, and for bits that no standard defines; the host grants less.
    /// let asked = Rights::from_bits_truncate(u64::MAX);
    /// assert_eq!(asked, Rights::ALL);
    /// let granted = asked & (Rights::FD_READ | Rights::FD_SEEK);
    /// assert!(granted.contains(Rights::FD_READ));
    /// assert!(!granted.contains(Rights::FD_WRITE));
    /// ```
    Rights(u64) {
        /// `fd_datasync`; with `PATH_OPEN`, opening with `DSYNC`.
        FD_DATASYNC = 1 << 0;
        /// `fd_read` and `sock_recv`; with `FD_SEEK`, `fd_pread`.
        FD_READ = 1 << 1;
        /// `fd_seek`, which includes `FD_TELL`.
        FD_SEEK = 1 << 2;
        /// `fd_fdstat_set_flags`.
        FD_FDSTAT_SET_FLAGS = 1 << 3;
        /// `fd_sync`; with `PATH_OPEN`, opening with `RSYNC` and `DSYNC`.
        FD_SYNC = 1 << 4;
        /// `fd_tell`, and `fd_seek` that does not move.
        FD_TELL = 1 << 5;
        /// `fd_write` and `sock_send`; with `FD_SEEK`, `fd_pwrite`.
        FD_WRITE = 1 << 6;
        /// `fd_advise`.
        FD_ADVISE = 1 << 7;
        /// `fd_allocate`.
        FD_ALLOCATE = 1 << 8;
        /// `path_create_directory`.
        PATH_CREATE_DIRECTORY = 1 << 9;
        /// `path_open` that creates a file.
        PATH_CREATE_FILE = 1 << 10;
        /// `path_link` with this descriptor as the source.
        PATH_LINK_SOURCE = 1 << 11;
        /// `path_link` with this descriptor as the target.
        PATH_LINK_TARGET = 1 << 12;
        /// `path_open`.
        PATH_OPEN = 1 << 13;
        /// `fd_readdir`.
        FD_READDIR = 1 << 14;
        /// `path_readlink`.
        PATH_READLINK = 1 << 15;
        /// `path_rename` with this descriptor as the source.
        PATH_RENAME_SOURCE = 1 << 16;
        /// `path_rename` with this descriptor as the target.
        PATH_RENAME_TARGET = 1 << 17;
        /// `path_filestat_get`.
        PATH_FILESTAT_GET = 1 << 18;
        /// `path_open` that truncates a file.
        PATH_FILESTAT_SET_SIZE = 1 << 19;
        /// `path_filestat_set_times`.
        PATH_FILESTAT_SET_TIMES = 1 << 20;
        /// `fd_filestat_get`.
        FD_FILESTAT_GET = 1 << 21;
        /// `fd_filestat_set_size`.
        FD_FILESTAT_SET_SIZE = 1 << 22;
        /// `fd_filestat_set_times`.
        FD_FILESTAT_SET_TIMES = 1 << 23;
        /// `path_symlink`.
        PATH_SYMLINK = 1 << 24;
        /// `path_remove_directory`.
        PATH_REMOVE_DIRECTORY = 1 << 25;
        /// `path_unlink_file`.
        PATH_UNLINK_FILE = 1 << 26;
        /// `poll_oneoff`, on what `FD_READ` and `FD_WRITE` allow.
        POLL_FD_READWRITE = 1 << 27;
        /// `sock_shutdown`.
        SOCK_SHUTDOWN = 1 << 28;
        /// `sock_accept`.
        SOCK_ACCEPT = 1 << 29;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thirty_rights_fill_the_low_bits() {
        assert_eq!(Rights::ALL.bits(), (1 << 30) - 1);
        assert_eq!(Rights::from_bits_truncate(u64::MAX), Rights::ALL);
        assert_eq!(Rights::from_bits(1 << 30), None);
    }
}
