//! The table of a guest's descriptors, and the operations on descriptors as such: close, renumber,
//! inspect and shut down.

use watm_abi::{Errno, FD_LIMIT, FdFlags, FdTable, Fdstat, Filestat, Prestat, Rights, SdFlags};

use crate::host::Host;
use crate::host::descriptor::{Call, Descriptor, Kind};
use crate::host::directory::{Directory, Listing};
use crate::host::stdio::StdStream;
use crate::host::tree::Answer;

/// The first number after the standard streams. The directories that the guest is given start here,
/// without a gap, because C libraries search for them up to the first number that has none.
const FIRST: u32 = 3;

/// Everything that a guest has open, of any kind.
pub(crate) struct Descriptors {
    table: FdTable<Descriptor>,
    /// The listing in progress, and the descriptor that it goes through.
    pub(super) listing: Option<(u32, Listing)>,
}

impl Descriptors {
    /// Creates the table with the standard streams and then the directories that the guest is
    /// given. The guest can open up to `limit` more.
    pub(super) fn new(
        std_streams: [StdStream; 3],
        directories: Vec<(Box<str>, Directory)>,
        limit: usize,
    ) -> Self {
        let mut table = FdTable::new(FIRST..FD_LIMIT, limit);
        let streams = std_streams.map(|stream| Descriptor::new(Kind::Std(stream)));
        let directories = directories
            .into_iter()
            .map(|(name, directory)| Descriptor::given(name, directory));
        for (fd, descriptor) in (0..).zip(streams.into_iter().chain(directories)) {
            // There are few of them, so each gets a number.
            let _ = table.give(fd, descriptor);
        }
        Self {
            table,
            listing: None,
        }
    }

    pub(super) fn get(&self, fd: u32) -> Answer<&Descriptor> {
        self.table.get(fd).ok_or(Errno::Badf)
    }

    pub(super) fn get_mut(&mut self, fd: u32) -> Answer<&mut Descriptor> {
        self.table.get_mut(fd).ok_or(Errno::Badf)
    }

    /// Whether the guest has as many descriptors open as it may have.
    pub(super) fn is_full(&self) -> bool {
        self.table.is_full()
    }

    /// Number of descriptors that count towards the limit.
    pub(super) fn counted(&self) -> usize {
        self.table.counted()
    }

    /// Opens the lowest free number.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Answer<u32> {
        self.table.insert(descriptor)
    }

    /// Opens this number, which is free, for something that does not count against the limit.
    #[cfg(test)]
    pub(super) fn give(&mut self, fd: u32, descriptor: Descriptor) {
        let displaced = self.table.give(fd, descriptor);
        assert!(matches!(displaced, Ok(None)));
    }

    /// Removes a descriptor.
    pub(super) fn remove(&mut self, fd: u32) -> Answer<Descriptor> {
        self.end_listing(fd);
        self.table.remove(fd)
    }

    /// Moves one descriptor to the number of another and removes the other, if both are open.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Answer<Option<Descriptor>> {
        self.get(from).and_then(|_| self.get(to))?;
        if from == to {
            return Ok(None);
        }
        self.end_listing(from);
        self.end_listing(to);
        self.table.renumber(from, to)
    }

    fn end_listing(&mut self, fd: u32) {
        if matches!(self.listing, Some((listed, _)) if listed == fd) {
            self.listing = None;
        }
    }

    /// Removes all descriptors.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Descriptor> + use<> {
        self.listing = None;
        self.table.drain().map(|(_, descriptor)| descriptor)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Descriptor)> {
        self.table.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Descriptor)> {
        self.table.iter_mut()
    }

    /// `fd_fdstat_get`.
    pub(crate) fn fdstat(&self, fd: u32) -> Answer<Fdstat> {
        let descriptor = self.get(fd)?;
        Ok(Fdstat {
            file_type: descriptor.kind.file_type(),
            flags: descriptor.flags,
            rights_base: descriptor.rights,
            rights_inheriting: descriptor.inheriting,
        })
    }

    /// `fd_fdstat_set_rights`: rights can be given up, but not regained.
    pub(crate) fn set_rights(&mut self, fd: u32, base: u64, inheriting: u64) -> Answer<()> {
        self.get_mut(fd)?.keep(base, inheriting)
    }

    /// `fd_fdstat_set_flags`. A file can append. A stream keeps only NONBLOCK. Other flags are
    /// accepted and have no meaning.
    pub(crate) fn set_flags(&mut self, fd: u32, flags: u32) -> Answer<()> {
        let descriptor = self.get_mut(fd)?;
        descriptor.check(Rights::FD_FDSTAT_SET_FLAGS)?;
        let flags = fd_flags(flags)?;
        descriptor.flags = match &descriptor.kind {
            Kind::File(file) => {
                file.set_appending(flags.contains(FdFlags::APPEND))?;
                flags
            }
            Kind::Directory(_) => flags,
            _ => flags & FdFlags::NONBLOCK,
        };
        Ok(())
    }

    /// `fd_filestat_get`.
    pub(crate) fn filestat(&self, fd: u32) -> Answer<Filestat> {
        let descriptor = self.get(fd)?;
        descriptor.check(Rights::FD_FILESTAT_GET)?;
        match &descriptor.kind {
            Kind::Directory(open) => open.directory.filestat(),
            Kind::File(file) => file.filestat(),
            stream => Ok(Filestat {
                dev: 0,
                ino: 0,
                file_type: stream.file_type(),
                nlink: 1,
                size: 0,
                atim: 0,
                mtim: 0,
                ctim: 0,
            }),
        }
    }

    /// `fd_prestat_get`.
    pub(crate) fn prestat(&self, fd: u32) -> Answer<Prestat> {
        let name = self.given_name(fd)?;
        Ok(Prestat {
            name_len: u32::try_from(name.len()).map_err(|_| Errno::Nametoolong)?,
        })
    }

    /// The name under which the guest was given a directory.
    pub(crate) fn given_name(&self, fd: u32) -> Answer<&str> {
        match &self.get(fd)?.kind {
            Kind::Directory(open) => open.given.as_deref().ok_or(Errno::Badf),
            _ => Err(Errno::Badf),
        }
    }

    /// Fails if a poll needs these rights and the descriptor lacks them. A poll of a directory
    /// needs none.
    pub(super) fn check_poll(&self, fd: u32, rights: Rights) -> Answer<()> {
        let descriptor = self.get(fd)?;
        match descriptor.kind {
            Kind::Directory(_) => Ok(()),
            _ => descriptor.check(rights),
        }
    }

    /// Fails if the descriptor belongs to a file system. The functions on sockets need this check.
    pub(super) fn check_socket(&self, fd: u32) -> Answer<()> {
        if self.get(fd)?.kind.is_of_file_system() {
            Err(Errno::Notsock)
        } else {
            Ok(())
        }
    }
}

pub(super) fn fd_flags(flags: u32) -> Answer<FdFlags> {
    u16::try_from(flags)
        .ok()
        .and_then(FdFlags::from_bits)
        .ok_or(Errno::Inval)
}

impl Host {
    /// The descriptors, for a call that does not wait.
    pub(crate) fn descriptors(&mut self) -> Call<&mut Descriptors> {
        self.begin()?;
        Ok(&mut self.descriptors)
    }

    /// `fd_close`. Bytes that the guest wrote are still sent.
    pub(crate) fn close(&mut self, fd: u32) -> Call<()> {
        let closed = self.descriptors()?.remove(fd)?;
        self.dispose(closed);
        Ok(())
    }

    /// `fd_renumber`. Both numbers must be open.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Call<()> {
        let displaced = self.descriptors()?.renumber(from, to)?;
        if !self.descriptors.get(to)?.kind.is_of_file_system() {
            self.find_pair();
        }
        if let Some(displaced) = displaced {
            self.dispose(displaced);
        }
        Ok(())
    }

    /// `sock_shutdown`.
    pub(crate) fn shutdown(&mut self, fd: u32, how: u32) -> Call<()> {
        self.begin()?;
        self.descriptors.check_socket(fd)?;
        let descriptor = self.descriptors.get(fd)?;
        descriptor.check(Rights::SOCK_SHUTDOWN)?;
        let how = u8::try_from(how)
            .ok()
            .and_then(SdFlags::from_bits)
            .ok_or(Errno::Inval)?;
        let (read, write) = (how.contains(SdFlags::RD), how.contains(SdFlags::WR));
        if !read && !write {
            return Err(Errno::Inval.into());
        }
        match &descriptor.kind {
            Kind::Internal if write => {
                self.explain_end();
            }
            Kind::Net(net) if write && net.is_plain() => self.explain_plain_end(),
            Kind::Unconnected if self.is_unnamed(fd) => {
                // Nothing was named, and nothing will be.
                self.plain_ends(true, true);
                return Ok(());
            }
            Kind::Unconnected => self.connect_target()?,
            _ => {}
        }
        let descriptor = self.descriptors.get_mut(fd)?;
        match &mut descriptor.kind {
            Kind::Internal => {
                let internal = self.internal.as_mut().ok_or(Errno::Badf)?;
                if read {
                    internal.shutdown_read();
                }
                if write {
                    internal.shutdown_write();
                }
            }
            Kind::Net(net) => {
                let is_plain = net.is_plain();
                if read {
                    net.shutdown_read();
                }
                if write {
                    let shut = net.shutdown_write();
                    // A plain connection that is broken drops what is written, and its end too.
                    if !is_plain {
                        shut?;
                    }
                    self.writes.unsent |= !net.flush();
                }
                if is_plain {
                    self.plain_ends(read, write);
                }
            }
            // It was connected above.
            Kind::Unconnected => return Err(Errno::Notconn.into()),
            Kind::Control => return Err(Errno::Notsup.into()),
            Kind::Std(_) | Kind::Directory(_) | Kind::File(_) => {
                return Err(Errno::Notsock.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use watm_abi::{FileType, SubscriptionKind};

    use crate::host::tests::{Fixture, fixture};

    #[test]
    fn rights_to_a_stream_that_were_given_up_are_gone() {
        type Operation = fn(&mut Fixture) -> Call<()>;
        let operations: [(Rights, Operation); 5] = [
            (Rights::FD_READ, |f| f.read(f.net, 1).map(drop)),
            (Rights::FD_WRITE, |f| f.write(f.net, b"x").map(drop)),
            (Rights::SOCK_SHUTDOWN, |f| f.host.shutdown(f.net, 2)),
            (Rights::FD_FDSTAT_SET_FLAGS, |f| {
                Ok(f.host.descriptors.set_flags(f.net, 0)?)
            }),
            (Rights::FD_FILESTAT_GET, |f| {
                Ok(f.host.descriptors.filestat(f.net).map(drop)?)
            }),
        ];
        let refused = Err(Errno::Notcapable.into());
        for (right, operation) in operations {
            let mut f = fixture();
            f.peer.write_all(b"x").expect("room");
            let all = f
                .host
                .descriptors
                .fdstat(f.net)
                .expect("it is open")
                .rights_base;
            let kept = all.without(right);
            f.host
                .descriptors
                .set_rights(f.net, kept.bits(), 0)
                .expect("fewer");
            assert_eq!(operation(&mut f), refused, "{right:?}");
            let stat = f.host.descriptors.fdstat(f.net).expect("it is open");
            assert_eq!(stat.rights_base, kept);
            for (base, inheriting) in [(all.bits(), 0), (kept.bits(), 1), (1 << 40, 0)] {
                let more = f.host.descriptors.set_rights(f.net, base, inheriting);
                assert_eq!(more, Err(Errno::Notcapable), "{right:?}");
            }
            // The descriptor itself has lost the rights, whatever its number.
            f.host.renumber(f.net, 2).expect("an open number");
            f.net = 2;
            assert_eq!(operation(&mut f), refused, "{right:?}");
        }
        let mut f = fixture();
        assert_eq!(f.host.descriptors.set_rights(900, 0, 0), Err(Errno::Badf));
        f.host.descriptors.set_rights(f.net, 0, 0).expect("none");
        let kinds = [f.net, 41].map(|fd| SubscriptionKind::FdRead { fd });
        let events = f.poll(&kinds).expect("events");
        assert!(events.iter().all(|event| event.1 == Errno::Notcapable));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn a_standard_stream_is_a_terminal_only_where_it_is_one() {
        let f = fixture();
        // This fixture drops the output of the standard streams.
        for fd in 0..3 {
            let stat = f.host.descriptors.fdstat(fd).expect("it is open");
            assert_eq!(stat.file_type, FileType::Unknown);
            let stat = f.host.descriptors.filestat(fd).expect("it is open");
            assert_eq!(stat.file_type, FileType::Unknown);
        }
        let stat = f.host.descriptors.fdstat(f.net).expect("it is open");
        assert_eq!(stat.file_type, FileType::SocketStream);
    }
}
