//! WASI Preview 1 as bytes: error numbers, flags and the records that a guest passes and reads
//! back.
//!
//! Knows how each record lies in guest memory. Must never know WATM (see `watm.rs`), nor what a
//! host does with a record.

mod bits;
mod layout;

mod advice;
pub use advice::Advice;

mod dirent;
pub use dirent::{DIRENT_SIZE, Dirent};

mod errno;
pub use errno::Errno;

mod fdflags;
pub use fdflags::FdFlags;

mod fdstat;
pub use fdstat::{FDSTAT_SIZE, Fdstat, FileType};

mod filestat;
pub use filestat::{FILESTAT_SIZE, Filestat};

mod fstflags;
pub use fstflags::FstFlags;

mod iovec;
pub use iovec::{IOVEC_SIZE, Iovec, IovecArray, MAX_IOVECS};

mod lookupflags;
pub use lookupflags::LookupFlags;

mod memory;
pub use memory::GuestMemory;

mod oflags;
pub use oflags::OFlags;

mod os_errno;
pub use os_errno::OsFamily;

mod poll;
pub use poll::{
    ClockId, EVENT_SIZE, Event, EventType, MAX_SUBSCRIPTIONS, SUBSCRIPTION_SIZE, Subscription,
    SubscriptionKind, decode_subscriptions, write_events,
};

mod prestat;
pub use prestat::{PRESTAT_SIZE, Prestat};

mod rights;
pub use rights::Rights;

mod sock;
pub use sock::{RiFlags, RoFlags, SdFlags, SiFlags};

mod whence;
pub use whence::Whence;
