//! What a guest does with a descriptor as such: it closes it, moves it, looks at it, shuts it down.

use watm_abi::{Errno, FdFlags, Fdstat, FileType, Filestat, Rights, SdFlags};

use crate::host::Host;
use crate::host::descriptor::{Call, Kind, fewer};

impl Host {
    /// `fd_close` of one of ours. Bytes that the guest wrote are still sent.
    pub(crate) fn close(&mut self, fd: u32) -> Call<()> {
        self.begin()?;
        let descriptor = self.table.remove(fd)?;
        self.dispose(descriptor);
        Ok(())
    }

    /// Takes a descriptor of ours away, for one that replaces it.
    pub(crate) fn displace(&mut self, fd: u32) {
        if let Ok(descriptor) = self.table.remove(fd) {
            self.dispose(descriptor);
        }
    }

    /// `fd_renumber` of one of ours onto another of ours, or onto a free number of our range.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Call<()> {
        self.begin()?;
        if let Some(displaced) = self.table.renumber(from, to)? {
            self.dispose(displaced);
        }
        self.find_pair();
        Ok(())
    }

    /// Notes that a number is now taken by one of the files.
    pub(crate) fn reserve(&mut self, fd: u32) {
        let _ = self.table.reserve(fd);
    }

    /// Notes that a number is no longer taken by one of the files.
    pub(crate) fn release(&mut self, fd: u32) {
        self.table.release(fd);
    }

    /// `fd_fdstat_get`.
    pub(crate) fn fdstat(&mut self, fd: u32) -> Call<Fdstat> {
        self.begin()?;
        let descriptor = self.table.get(fd).ok_or(Errno::Badf)?;
        let file_type = match &descriptor.kind {
            Kind::Internal | Kind::Control | Kind::Net(_) => FileType::SocketStream,
            // Programs take a character device without a place for a terminal.
            Kind::Std(stream) if stream.is_terminal() => FileType::CharacterDevice,
            Kind::Std(_) => FileType::Unknown,
        };
        let flags = if descriptor.nonblocking {
            FdFlags::NONBLOCK
        } else {
            FdFlags::default()
        };
        Ok(Fdstat {
            file_type,
            flags,
            rights_base: descriptor.rights(),
            rights_inheriting: Rights::default(),
        })
    }

    /// `fd_fdstat_set_rights`: rights can be given up, and are not won back.
    pub(crate) fn set_rights(&mut self, fd: u32, base: u64, inheriting: u64) -> Call<()> {
        self.begin()?;
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
        let rights = descriptor.rights();
        let kept = fewer(rights, base)?;
        fewer(Rights::default(), inheriting)?;
        descriptor.given_up |= rights.without(kept);
        Ok(())
    }

    /// `fd_fdstat_set_flags`. Only NONBLOCK has a meaning here; the others are accepted.
    pub(crate) fn set_flags(&mut self, fd: u32, flags: u32) -> Call<()> {
        self.begin()?;
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
        descriptor.check(Rights::FD_FDSTAT_SET_FLAGS)?;
        let flags = u16::try_from(flags)
            .ok()
            .and_then(FdFlags::from_bits)
            .ok_or(Errno::Inval)?;
        descriptor.nonblocking = flags.contains(FdFlags::NONBLOCK);
        Ok(())
    }

    /// `fd_filestat_get`.
    pub(crate) fn filestat(&mut self, fd: u32) -> Call<Filestat> {
        let file_type = self.fdstat(fd)?.file_type;
        let descriptor = self.table.get(fd).ok_or(Errno::Badf)?;
        descriptor.check(Rights::FD_FILESTAT_GET)?;
        Ok(Filestat {
            dev: 0,
            ino: 0,
            file_type,
            nlink: 1,
            size: 0,
            atim: 0,
            mtim: 0,
            ctim: 0,
        })
    }

    /// `sock_shutdown`.
    pub(crate) fn shutdown(&mut self, fd: u32, how: u32) -> Call<()> {
        self.begin()?;
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
        descriptor.check(Rights::SOCK_SHUTDOWN)?;
        let how = u8::try_from(how)
            .ok()
            .and_then(SdFlags::from_bits)
            .ok_or(Errno::Inval)?;
        let (read, write) = (how.contains(SdFlags::RD), how.contains(SdFlags::WR));
        if !read && !write {
            return Err(Errno::Inval.into());
        }
        if write && matches!(descriptor.kind, Kind::Internal) {
            self.explain_end();
        }
        let descriptor = self.table.get_mut(fd).ok_or(Errno::Badf)?;
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
                if read {
                    net.shutdown_read();
                }
                if write {
                    net.out.shutdown_write()?;
                    self.unsent |= !net.out.flush();
                }
            }
            Kind::Control => return Err(Errno::Notsup.into()),
            Kind::Std(_) => return Err(Errno::Notsock.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use watm_abi::SubscriptionKind;

    use crate::host::tests::{Fixture, fixture};

    #[test]
    fn rights_to_a_stream_that_were_given_up_are_gone() {
        type Operation = fn(&mut Fixture) -> Call<()>;
        let operations: [(Rights, Operation); 5] = [
            (Rights::FD_READ, |f| f.read(f.net, 1).map(drop)),
            (Rights::FD_WRITE, |f| f.write(f.net, b"x").map(drop)),
            (Rights::SOCK_SHUTDOWN, |f| f.host.shutdown(f.net, 2)),
            (Rights::FD_FDSTAT_SET_FLAGS, |f| f.host.set_flags(f.net, 0)),
            (Rights::FD_FILESTAT_GET, |f| {
                f.host.filestat(f.net).map(drop)
            }),
        ];
        let refused = Err(Errno::Notcapable.into());
        for (right, operation) in operations {
            let mut f = fixture();
            f.peer.write_all(b"x").expect("room");
            let all = f.host.fdstat(f.net).expect("it is open").rights_base;
            let kept = all.without(right);
            f.host.set_rights(f.net, kept.bits(), 0).expect("fewer");
            assert_eq!(operation(&mut f), refused, "{right:?}");
            let stat = f.host.fdstat(f.net).expect("it is open");
            assert_eq!(stat.rights_base, kept);
            for (base, inheriting) in [(all.bits(), 0), (kept.bits(), 1), (1 << 40, 0)] {
                let more = f.host.set_rights(f.net, base, inheriting);
                assert_eq!(more, refused, "{right:?}");
            }
            // It is the descriptor that has lost them, whatever its number.
            f.host.renumber(f.net, 600).expect("a free number");
            f.net = 600;
            assert_eq!(operation(&mut f), refused, "{right:?}");
        }
        let mut f = fixture();
        assert_eq!(f.host.set_rights(900, 0, 0), Err(Errno::Badf.into()));
        f.host.set_rights(f.net, 0, 0).expect("none");
        let kinds = [f.net, 41].map(|fd| SubscriptionKind::FdRead { fd });
        let events = f.poll(&kinds).expect("events");
        assert!(events.iter().all(|event| event.1 == Errno::Notcapable));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn a_standard_stream_is_a_terminal_only_where_it_is_one() {
        let mut f = fixture();
        // They are dropped here.
        for fd in 0..3 {
            let stat = f.host.fdstat(fd).expect("it is open");
            assert_eq!(stat.file_type, FileType::Unknown);
            let stat = f.host.filestat(fd).expect("it is open");
            assert_eq!(stat.file_type, FileType::Unknown);
        }
        let stat = f.host.fdstat(f.net).expect("it is open");
        assert_eq!(stat.file_type, FileType::SocketStream);
    }
}
