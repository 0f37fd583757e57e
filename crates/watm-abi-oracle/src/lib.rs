//! What must hold for `watm-abi`, whatever a guest passes.
//!
//! Each oracle takes a case and does the same thing with `watm-abi` and with a model that is too
//! simple to be wrong. It panics if they differ. It returns how the case ended, so that a test can
//! see whether the cases reach every ending. Cases are built from arbitrary bytes, weighted towards
//! the boundaries where mistakes live.
//!
//! The property tests of this crate and the targets in `fuzz/` run the same oracles. Nothing here
//! is part of a host.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod guest;
pub use guest::{Addr, Count, Guest};

mod dial_strings;
pub use dial_strings::{DialStringCase, dial_strings};

mod fd_table;
pub use fd_table::{FdTableCase, Len, Number, Rare, Start, TableOp, fd_table};

mod interface_check;
pub use interface_check::{
    ExportName, ImportName, InterfaceCase, KindChoice, TypeChoice, interface_check,
};

mod iovecs;
pub use iovecs::{IovecCase, iovecs};

mod list;
pub use list::List;

mod poll_records;
pub use poll_records::{EventCase, PollCase, PollOutcome, poll_records};
