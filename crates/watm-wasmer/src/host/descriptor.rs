//! What a descriptor is, and how a call on one may end.
//!
//! It has no way to the host that it belongs to: what can be done with it is decided by the others.

use watm_abi::{Errno, Rights};

use crate::channel::gate::Gate;
use crate::host::record::Records;
use crate::host::stdio::StdStream;
use crate::net::socket::NetStream;

/// The first number of a descriptor that the host gives out. Files count upwards from 0 and are
/// kept below it.
pub(crate) const FIRST_FD: u32 = 512;

/// Why a host function does not return to the guest as usual.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    /// It returns this error number.
    Errno(Errno),
    /// The worker was told to stop: the guest is unwound.
    Stop,
}

impl From<Errno> for Abort {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

pub(crate) type Call<T> = Result<T, Abort>;

pub(super) enum Kind {
    /// The application's side.
    Internal,
    /// Readable once the guest should end.
    Control,
    Net(Box<NetStream>),
    Std(StdStream),
}

impl Kind {
    /// Whether bytes of the connection pass here.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Internal | Self::Net(_))
    }
}

pub(super) struct Descriptor {
    pub(super) kind: Kind,
    pub(super) nonblocking: bool,
    /// The size of the last write that was refused: less room than that is no room.
    pub(super) refused: u32,
    /// Lets reads through, if they may have to wait for room on another side.
    pub(super) gate: Gate,
    /// How the guest reads from it.
    pub(super) records: Records,
    /// The rights that the guest has given up.
    pub(super) given_up: Rights,
}

/// What a call waits for on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Descriptor {
    /// What it may be used for.
    pub(super) fn rights(&self) -> Rights {
        let common =
            Rights::POLL_FD_READWRITE | Rights::FD_FDSTAT_SET_FLAGS | Rights::FD_FILESTAT_GET;
        let rights = match &self.kind {
            Kind::Internal | Kind::Net(_) => {
                common | Rights::FD_READ | Rights::FD_WRITE | Rights::SOCK_SHUTDOWN
            }
            Kind::Control => common | Rights::FD_READ,
            Kind::Std(stream) if stream.is_input() => common | Rights::FD_READ,
            Kind::Std(_) => common | Rights::FD_WRITE,
        };
        rights.without(self.given_up)
    }

    /// Fails if any of these rights was given up. One that there never was has a refusal of its
    /// own.
    pub(super) fn check(&self, rights: Rights) -> Result<(), Errno> {
        if (self.given_up & rights).is_empty() {
            Ok(())
        } else {
            Err(Errno::Notcapable)
        }
    }

    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            nonblocking: false,
            refused: 0,
            gate: Gate::default(),
            records: Records::default(),
            given_up: Rights::default(),
        }
    }
}

/// Those rights that are kept of what there is.
pub(super) fn fewer(rights: Rights, kept: u64) -> Result<Rights, Errno> {
    match Rights::from_bits(kept) {
        Some(kept) if rights.contains(kept) => Ok(kept),
        _ => Err(Errno::Notcapable),
    }
}
