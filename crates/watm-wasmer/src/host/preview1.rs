//! The functions of WASI Preview 1, each under its own name and with the numbers that the guest
//! passes.
//!
//! Each function decodes the numbers, lets the host answer the call, and writes the answer to the
//! guest's memory. The place for the answer is checked first, so that nothing is done that could
//! not be reported. The answer is written last, because it may overwrite an array of buffers.
#![allow(
    clippy::too_many_arguments,
    reason = "they have the parameters that the interface gives them"
)]

use watm_abi::{Errno, GuestMemory, IovecArray, RiFlags, Rights};

use crate::host::Host;
use crate::host::arguments::Strings;
use crate::host::descriptor::Call;
use crate::host::paths::{At, Opening};

/// Arguments and environment.
impl Host {
    pub(crate) fn args_get(&mut self, memory: &mut [u8], pointers: u32, bytes: u32) -> Call<()> {
        self.begin()?;
        Ok(self.arguments.args.write(memory, pointers, bytes)?)
    }

    pub(crate) fn args_sizes_get(&mut self, memory: &mut [u8], count: u32, size: u32) -> Call<()> {
        self.begin()?;
        Ok(write_sizes(&self.arguments.args, memory, count, size)?)
    }

    pub(crate) fn environ_get(&mut self, memory: &mut [u8], pointers: u32, bytes: u32) -> Call<()> {
        self.begin()?;
        Ok(self.arguments.environment.write(memory, pointers, bytes)?)
    }

    pub(crate) fn environ_sizes_get(
        &mut self,
        memory: &mut [u8],
        count: u32,
        size: u32,
    ) -> Call<()> {
        self.begin()?;
        let environment = &self.arguments.environment;
        Ok(write_sizes(environment, memory, count, size)?)
    }
}

fn write_sizes(strings: &Strings, memory: &mut [u8], count: u32, size: u32) -> Result<(), Errno> {
    memory.slice(size, 4)?;
    memory.write_u32(count, strings.count())?;
    memory.write_u32(size, strings.size())
}

/// Time, random numbers and the processor.
impl Host {
    pub(crate) fn clock_res_get(
        &mut self,
        memory: &mut [u8],
        id: u32,
        resolution: u32,
    ) -> Call<()> {
        let found = self.clock_resolution(id)?;
        Ok(memory.write_u64(resolution, found)?)
    }

    pub(crate) fn clock_time_get(
        &mut self,
        memory: &mut [u8],
        id: u32,
        _precision: u64,
        time: u32,
    ) -> Call<()> {
        let now = self.clock_time(id)?;
        Ok(memory.write_u64(time, now)?)
    }

    pub(crate) fn random_get(&mut self, memory: &mut [u8], buf: u32, len: u32) -> Call<()> {
        self.random(memory.slice_mut(buf, len)?)
    }

    pub(crate) fn poll_oneoff(
        &mut self,
        memory: &mut [u8],
        subscriptions: u32,
        events: u32,
        count: u32,
        ready: u32,
    ) -> Call<()> {
        memory.slice(ready, 4)?;
        let found = self.poll(memory, subscriptions, events, count)?;
        Ok(memory.write_u32(ready, found)?)
    }

    pub(crate) fn sched_yield(&mut self, _memory: &mut [u8]) -> Call<()> {
        self.give_way()
    }
}

/// All descriptors.
impl Host {
    pub(crate) fn fd_close(&mut self, _memory: &mut [u8], fd: u32) -> Call<()> {
        self.close(fd)
    }

    pub(crate) fn fd_renumber(&mut self, _memory: &mut [u8], from: u32, to: u32) -> Call<()> {
        self.renumber(from, to)
    }

    pub(crate) fn fd_fdstat_get(&mut self, memory: &mut [u8], fd: u32, stat: u32) -> Call<()> {
        let found = self.descriptors()?.fdstat(fd)?;
        Ok(memory.write_bytes(stat, &found.encode())?)
    }

    pub(crate) fn fd_fdstat_set_flags(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        flags: u32,
    ) -> Call<()> {
        Ok(self.descriptors()?.set_flags(fd, flags)?)
    }

    pub(crate) fn fd_fdstat_set_rights(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        base: u64,
        inheriting: u64,
    ) -> Call<()> {
        Ok(self.descriptors()?.set_rights(fd, base, inheriting)?)
    }

    pub(crate) fn fd_filestat_get(&mut self, memory: &mut [u8], fd: u32, stat: u32) -> Call<()> {
        let found = self.descriptors()?.filestat(fd)?;
        Ok(memory.write_bytes(stat, &found.encode())?)
    }

    pub(crate) fn fd_read(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovecs: u32,
        count: u32,
        done: u32,
    ) -> Call<()> {
        memory.slice(done, 4)?;
        let iovecs = IovecArray::decode(memory, iovecs, count)?;
        let len = self.read(memory, fd, &iovecs, RiFlags::default())?;
        Ok(memory.write_u32(done, len)?)
    }

    pub(crate) fn fd_write(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovecs: u32,
        count: u32,
        done: u32,
    ) -> Call<()> {
        memory.slice(done, 4)?;
        let iovecs = IovecArray::decode(memory, iovecs, count)?;
        let len = self.write(memory, fd, &iovecs)?;
        Ok(memory.write_u32(done, len)?)
    }
}

/// Sockets. No descriptor of a guest listens.
impl Host {
    pub(crate) fn sock_accept(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        _flags: u32,
        _accepted: u32,
    ) -> Call<()> {
        self.descriptors()?.check_socket(fd)?;
        Err(Errno::Inval.into())
    }

    pub(crate) fn sock_recv(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovecs: u32,
        count: u32,
        flags: u32,
        done: u32,
        flags_out: u32,
    ) -> Call<()> {
        self.descriptors()?.check_socket(fd)?;
        let flags = u16::try_from(flags).ok().and_then(RiFlags::from_bits);
        let flags = flags.ok_or(Errno::Inval)?;
        memory.slice(done, 4)?;
        memory.slice(flags_out, 2)?;
        let iovecs = IovecArray::decode(memory, iovecs, count)?;
        let len = self.read(memory, fd, &iovecs, flags)?;
        memory.write_u16(flags_out, 0)?;
        Ok(memory.write_u32(done, len)?)
    }

    pub(crate) fn sock_send(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovecs: u32,
        count: u32,
        _flags: u32,
        done: u32,
    ) -> Call<()> {
        self.check_stop()?;
        self.descriptors.check_socket(fd)?;
        self.fd_write(memory, fd, iovecs, count, done)
    }

    pub(crate) fn sock_shutdown(&mut self, _memory: &mut [u8], fd: u32, how: u32) -> Call<()> {
        self.shutdown(fd, how)
    }
}

/// Files.
impl Host {
    pub(crate) fn fd_advise(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        _offset: u64,
        _len: u64,
        advice: u32,
    ) -> Call<()> {
        Ok(self.descriptors()?.advise(fd, advice)?)
    }

    pub(crate) fn fd_allocate(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        offset: u64,
        len: u64,
    ) -> Call<()> {
        Ok(self.descriptors()?.allocate(fd, offset, len)?)
    }

    pub(crate) fn fd_datasync(&mut self, _memory: &mut [u8], fd: u32) -> Call<()> {
        Ok(self.descriptors()?.sync(fd, Rights::FD_DATASYNC)?)
    }

    pub(crate) fn fd_sync(&mut self, _memory: &mut [u8], fd: u32) -> Call<()> {
        Ok(self.descriptors()?.sync(fd, Rights::FD_SYNC)?)
    }

    pub(crate) fn fd_filestat_set_size(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        size: u64,
    ) -> Call<()> {
        Ok(self.descriptors()?.set_size(fd, size)?)
    }

    pub(crate) fn fd_filestat_set_times(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        accessed: u64,
        modified: u64,
        which: u32,
    ) -> Call<()> {
        let times = [accessed, modified];
        Ok(self.descriptors()?.set_times(fd, times, which)?)
    }

    pub(crate) fn fd_pread(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovecs: u32,
        count: u32,
        from: u64,
        done: u32,
    ) -> Call<()> {
        let descriptors = self.descriptors()?;
        memory.slice(done, 4)?;
        let iovecs = IovecArray::decode(memory, iovecs, count)?;
        let len = descriptors.read_at(memory, fd, &iovecs, from)?;
        Ok(memory.write_u32(done, len)?)
    }

    pub(crate) fn fd_pwrite(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovecs: u32,
        count: u32,
        to: u64,
        done: u32,
    ) -> Call<()> {
        let descriptors = self.descriptors()?;
        memory.slice(done, 4)?;
        let iovecs = IovecArray::decode(memory, iovecs, count)?;
        let len = descriptors.write_at(memory, fd, &iovecs, to)?;
        Ok(memory.write_u32(done, len)?)
    }

    pub(crate) fn fd_seek(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        offset: i64,
        whence: u32,
        place: u32,
    ) -> Call<()> {
        let descriptors = self.descriptors()?;
        memory.slice(place, 8)?;
        let found = descriptors.seek(fd, offset, whence)?;
        Ok(memory.write_u64(place, found)?)
    }

    pub(crate) fn fd_tell(&mut self, memory: &mut [u8], fd: u32, place: u32) -> Call<()> {
        let found = self.descriptors()?.tell(fd)?;
        Ok(memory.write_u64(place, found)?)
    }
}

/// Directories, and paths below them.
impl Host {
    pub(crate) fn fd_prestat_get(&mut self, memory: &mut [u8], fd: u32, prestat: u32) -> Call<()> {
        let found = self.descriptors()?.prestat(fd)?;
        Ok(memory.write_bytes(prestat, &found.encode())?)
    }

    pub(crate) fn fd_prestat_dir_name(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        name: u32,
        len: u32,
    ) -> Call<()> {
        let given = self.descriptors()?.given_name(fd)?;
        if given.len() > len as usize {
            return Err(Errno::Nametoolong.into());
        }
        Ok(memory.write_bytes(name, given.as_bytes())?)
    }

    pub(crate) fn fd_readdir(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        buf: u32,
        len: u32,
        from: u64,
        used: u32,
    ) -> Call<()> {
        let descriptors = self.descriptors()?;
        memory.slice(used, 4)?;
        let listed = descriptors.list(memory, fd, (buf, len), from)?;
        Ok(memory.write_u32(used, listed)?)
    }

    pub(crate) fn path_create_directory(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        path: u32,
        len: u32,
    ) -> Call<()> {
        let at = At { fd, path, len };
        Ok(self.descriptors()?.create_directory(memory, at)?)
    }

    pub(crate) fn path_filestat_get(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        stat: u32,
    ) -> Call<()> {
        let at = At { fd, path, len };
        let found = self.descriptors()?.filestat_at(memory, at, lookup)?;
        Ok(memory.write_bytes(stat, &found.encode())?)
    }

    pub(crate) fn path_filestat_set_times(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        accessed: u64,
        modified: u64,
        which: u32,
    ) -> Call<()> {
        let (at, times) = (At { fd, path, len }, [accessed, modified]);
        let descriptors = self.descriptors()?;
        Ok(descriptors.set_times_at(memory, at, lookup, times, which)?)
    }

    pub(crate) fn path_link(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        _lookup: u32,
        _path: u32,
        _len: u32,
        to: u32,
        _to_path: u32,
        _to_len: u32,
    ) -> Call<()> {
        Ok(self.descriptors()?.refuse_link(&[
            (fd, Rights::PATH_LINK_SOURCE),
            (to, Rights::PATH_LINK_TARGET),
        ])?)
    }

    pub(crate) fn path_open(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        how: u32,
        rights: u64,
        inheriting: u64,
        flags: u32,
        opened: u32,
    ) -> Call<()> {
        let opening = Opening {
            lookup,
            how,
            rights,
            inheriting,
            flags,
        };
        let descriptors = self.descriptors()?;
        memory.slice(opened, 4)?;
        let number = descriptors.open(memory, At { fd, path, len }, opening)?;
        Ok(memory.write_u32(opened, number)?)
    }

    pub(crate) fn path_readlink(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        path: u32,
        len: u32,
        buf: u32,
        room: u32,
        used: u32,
    ) -> Call<()> {
        let descriptors = self.descriptors()?;
        memory.slice(used, 4)?;
        let len = descriptors.read_link(memory, At { fd, path, len }, (buf, room))?;
        Ok(memory.write_u32(used, len)?)
    }

    pub(crate) fn path_remove_directory(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        path: u32,
        len: u32,
    ) -> Call<()> {
        let at = At { fd, path, len };
        Ok(self.descriptors()?.remove_directory(memory, at)?)
    }

    pub(crate) fn path_rename(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        path: u32,
        len: u32,
        to: u32,
        to_path: u32,
        to_len: u32,
    ) -> Call<()> {
        let from = At { fd, path, len };
        let to = At {
            fd: to,
            path: to_path,
            len: to_len,
        };
        Ok(self.descriptors()?.rename(memory, from, to)?)
    }

    pub(crate) fn path_symlink(
        &mut self,
        _memory: &mut [u8],
        _target: u32,
        _target_len: u32,
        fd: u32,
        _path: u32,
        _len: u32,
    ) -> Call<()> {
        let part = (fd, Rights::PATH_SYMLINK);
        Ok(self.descriptors()?.refuse_link(&[part])?)
    }

    pub(crate) fn path_unlink_file(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        path: u32,
        len: u32,
    ) -> Call<()> {
        let at = At { fd, path, len };
        Ok(self.descriptors()?.unlink_file(memory, at)?)
    }
}
