//! What a descriptor is, and how a call on one may end.
//!
//! A descriptor has no access to the host that it belongs to. Other files decide what can be done
//! with it.

use watm_abi::{Errno, FdFlags, FileType, Rights};

use crate::channel::gate::Gate;
use crate::host::directory::Directory;
use crate::host::file::OpenFile;
use crate::host::record::Records;
use crate::host::stdio::StdStream;
use crate::net::socket::NetStream;

/// Why a host function does not return to the guest normally.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    /// The call returns this error number.
    Errno(Errno),
    /// The worker was told to stop, so the guest is unwound.
    Stop,
}

impl From<Errno> for Abort {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

pub(crate) type Call<T> = Result<T, Abort>;

pub(super) enum Kind {
    /// The application's side, if it is a pipe.
    Internal,
    /// The application's side, as long as it is not connected to its target.
    Unconnected,
    /// Becomes readable once the guest should end.
    Control,
    /// A socket: of the network, or a plain connection on the application's side.
    Net(Box<NetStream>),
    Std(StdStream),
    Directory(Box<OpenDirectory>),
    File(Box<OpenFile>),
}

/// A directory, with the name under which the guest was given it, if it was given.
pub(super) struct OpenDirectory {
    pub(super) directory: Directory,
    pub(super) given: Option<Box<str>>,
}

impl Kind {
    /// Whether it carries bytes of the connection.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Internal | Self::Unconnected | Self::Net(_))
    }

    /// Whether it belongs to a file system, where calls never wait.
    pub(super) fn is_of_file_system(&self) -> bool {
        matches!(self, Self::Directory(_) | Self::File(_))
    }

    pub(super) fn file_type(&self) -> FileType {
        match self {
            Self::Internal | Self::Unconnected | Self::Control | Self::Net(_) => {
                FileType::SocketStream
            }
            // Programs treat a character device without a file position as a terminal.
            Self::Std(stream) if stream.is_terminal() => FileType::CharacterDevice,
            Self::Std(_) => FileType::Unknown,
            Self::Directory(_) => FileType::Directory,
            Self::File(_) => FileType::RegularFile,
        }
    }

    /// The rights that apply to it.
    fn rights(&self) -> Rights {
        let common =
            Rights::POLL_FD_READWRITE | Rights::FD_FDSTAT_SET_FLAGS | Rights::FD_FILESTAT_GET;
        match self {
            Self::Internal | Self::Unconnected | Self::Net(_) => {
                common | Rights::FD_READ | Rights::FD_WRITE | Rights::SOCK_SHUTDOWN
            }
            Self::Control => common | Rights::FD_READ,
            Self::Std(stream) if stream.is_input() => common | Rights::FD_READ,
            Self::Std(_) => common | Rights::FD_WRITE,
            Self::Directory(_) | Self::File(_) => Rights::ALL,
        }
    }
}

pub(super) struct Descriptor {
    pub(super) kind: Kind,
    pub(super) flags: FdFlags,
    /// What the descriptor may be used for.
    pub(super) rights: Rights,
    /// What descriptors that are opened through this one may be used for.
    pub(super) inheriting: Rights,
    /// Size of the last write that was refused, in bytes. Less room than that counts as no room.
    pub(super) refused: u32,
    /// Lets reads through, if they may have to wait for room on another side.
    pub(super) gate: Gate,
    /// How the guest reads from it.
    pub(super) records: Records,
}

/// What a call waits for on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Descriptor {
    /// Creates a descriptor with all rights that apply to it and none to pass on.
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            rights: kind.rights(),
            inheriting: Rights::NONE,
            flags: FdFlags::NONE,
            kind,
            refused: 0,
            gate: Gate::default(),
            records: Records::default(),
        }
    }

    /// Fails if one of these rights applies to the descriptor and is missing. A missing right that
    /// does not apply is no failure here: such an operation has an error of its own.
    pub(super) fn check(&self, rights: Rights) -> Result<(), Errno> {
        if self.rights.contains(rights & self.kind.rights()) {
            Ok(())
        } else {
            Err(Errno::Notcapable)
        }
    }

    pub(super) fn is_nonblocking(&self) -> bool {
        self.flags.contains(FdFlags::NONBLOCK)
    }

    /// Gives up all rights except these.
    pub(super) fn keep(&mut self, base: u64, inheriting: u64) -> Result<(), Errno> {
        let (base, inheriting) = (
            fewer(self.rights, base)?,
            fewer(self.inheriting, inheriting)?,
        );
        (self.rights, self.inheriting) = (base, inheriting);
        Ok(())
    }
}

/// Returns the rights to keep, which must be among `rights`.
fn fewer(rights: Rights, kept: u64) -> Result<Rights, Errno> {
    match Rights::from_bits(kept) {
        Some(kept) if rights.contains(kept) => Ok(kept),
        _ => Err(Errno::Notcapable),
    }
}
