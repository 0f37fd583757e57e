//! The interface of WebAssembly Transport Modules (WATM v1) as plain data: what crosses the border
//! between a host and a guest, and how its bytes are laid out.
//!
//! A host built on any engine uses this crate to decode what a guest passes and to encode what the
//! guest reads back: I/O vectors, error numbers, poll and file records, the names and signatures of
//! the interface, and the table of the descriptors it gave out. Nothing here knows an engine, an
//! operating system, a socket or a thread, and nothing that a guest passes can make it panic.
//!
//! ```
//! use watm_abi::{Errno, GuestMemory, IovecArray, encode_result};
//!
//! // One page of guest memory, in which the guest has put one I/O vector: 5 bytes at address 64.
//! let mut memory = vec![0u8; 65536];
//! memory.write_bytes(64, b"hello")?;
//! memory.write_u32(8, 64)?;
//! memory.write_u32(12, 5)?;
//!
//! // `fd_write(fd, 8, 1, ..)`
//! let iovecs = IovecArray::decode(&memory, 8, 1)?;
//! let sent: Vec<u8> = iovecs.slices(&memory).flatten().copied().collect();
//! assert_eq!(sent, b"hello");
//!
//! // What `water_dial_fixed` returns: a descriptor, or an error number below zero.
//! assert_eq!(encode_result(Ok(64)), 64);
//! assert_eq!(encode_result(Err(Errno::Connrefused)), -14);
//! # Ok::<(), Errno>(())
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unwrap_used,
    )
)]

mod excerpt;
pub use excerpt::{Excerpt, MAX_EXCERPT, is_disruptive};

mod table;
pub use table::{FD_LIMIT, FdTable};

mod wasi;
pub use wasi::{
    Advice, ClockId, DIRENT_SIZE, Dirent, EVENT_SIZE, Errno, Event, EventType, FDSTAT_SIZE,
    FILESTAT_SIZE, FdFlags, Fdstat, FileType, Filestat, FstFlags, GuestMemory, IOVEC_SIZE, Iovec,
    IovecArray, LookupFlags, MAX_IOVECS, MAX_SUBSCRIPTIONS, OFlags, OsFamily, PRESTAT_SIZE,
    Prestat, RiFlags, Rights, RoFlags, SUBSCRIPTION_SIZE, SdFlags, SiFlags, Subscription,
    SubscriptionKind, Whence, decode_subscriptions, write_events,
};

mod watm;
pub use watm::{
    Entry, ExportDecl, GuestError, ImportDecl, InterfaceError, ItemKind, MAX_STRING, ModuleKind,
    Role, Roles, Signature, ValType, ValTypes, aead_functions, check, decode_errno, decode_value,
    encode_result, export_signature, exports, extension_signature, gather_string, import_signature,
    imports, names,
};
