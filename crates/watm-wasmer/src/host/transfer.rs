//! Moves bytes: reads and writes, fairness between the two sides, and holding one side back while
//! the other has no room.

use std::time::{Duration, Instant};

use watm_abi::{Errno, GuestMemory, IovecArray, RiFlags, Rights};

use crate::channel::gate::{Gate, Room};
use crate::channel::link::Level;
use crate::channel::pipe::GuestEnd;
use crate::host::Host;
use crate::host::descriptor::{Abort, Call, Descriptor, Direction, Kind};
use crate::host::sleep::{STREAM_TICK, Waits};
use crate::host::streams::StreamKind;
use crate::net::outbound::{self, WRITE_LIMIT};
use crate::net::socket::NetStream;

/// Maximum number of bytes that a guest writes to a standard stream: in one try, between two checks
/// for a stop, and in one call. A line takes longer than its bytes suggest, and an array of buffers
/// may name the guest's memory a thousand times.
const STREAM_PIECE: usize = 64 * 1024;
const STREAM_LIMIT: u32 = 1024 * 1024;

/// Maximum number of bytes that a non-blocking write moves. A peer that is fast enough takes all of
/// it at once.
const NONBLOCKING_PIECE: usize = 1024 * 1024;

impl Host {
    /// `fd_read`, and `sock_recv` with its flags. Returns the number of bytes read. 0 is the end of
    /// stream.
    pub(crate) fn read<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
        flags: RiFlags,
    ) -> Call<u32> {
        self.begin()?;
        let kind = &self.descriptors.get(fd)?.kind;
        if kind.is_of_file_system() {
            return Ok(self.descriptors.read(memory, fd, iovecs)?);
        }
        let is_stream = kind.is_stream();
        self.close_for_good();
        let fewer = if self.watch.is_some() && flags.is_empty() {
            self.answer_like_others(fd, Direction::Read, iovecs)?
        } else {
            None
        };
        let iovecs = fewer.as_deref().unwrap_or(iovecs);
        let read = self.read_from(memory, fd, iovecs, flags);
        if self.watch.is_some() {
            self.note_done(fd, &read);
        }
        if is_stream {
            self.note_deed(&read);
            let kind = self.stream_kind(fd);
            self.learnt.note_read(&read, iovecs.total_len(), kind);
            if self.plain_side.is_there && is_end(&read) && iovecs.total_len() > 0 {
                self.note_plain_read(fd);
            }
        }
        read
    }

    fn read_from<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
        flags: RiFlags,
    ) -> Call<u32> {
        let total = iovecs.total_len();
        let descriptor = self.descriptors.get(fd)?;
        descriptor.check(Rights::FD_READ)?;
        let nonblocking = descriptor.is_nonblocking();
        if total == 0 {
            return Ok(0);
        }
        let peek = flags.contains(RiFlags::PEEK);
        if nonblocking {
            return self.read_nonblocking(memory, fd, iovecs, peek);
        }
        let all = flags.contains(RiFlags::WAITALL);
        let mut done = 0;
        loop {
            // A peek leaves everything in place, so each try starts over.
            let skip = if peek { 0 } else { done };
            match self.try_read(memory, fd, iovecs, skip, peek) {
                Ok(0) => return Ok(done),
                Ok(len) => {
                    done = if peek { done.max(len) } else { done + len };
                    self.note_read(fd, len);
                    // A peek cannot promise more than one look, because the buffer may be full.
                    if !all || done == total || peek {
                        return Ok(done);
                    }
                    // If the peer is fast enough, this loop never sleeps.
                    self.check_stop()?;
                }
                Err(Abort::Errno(Errno::Again)) => self.sleep(fd, Direction::Read)?,
                // Report the bytes that came before the error. The error comes again.
                Err(Abort::Errno(errno)) if done > 0 => {
                    if let Ok(Descriptor {
                        kind: Kind::Net(net),
                        ..
                    }) = self.descriptors.get_mut(fd)
                    {
                        net.put_back(errno);
                    }
                    return Ok(done);
                }
                Err(abort) => return Err(abort),
            }
        }
    }

    /// A read that does not wait, except for the rest of a record.
    fn read_nonblocking<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
        peek: bool,
    ) -> Call<u32> {
        let asked = iovecs.total_len();
        let is_within = !peek && self.continues_record(fd, asked);
        if !is_within && self.is_unfair(fd)? {
            self.flush();
            self.prediction.refused(self.measures.calls, fd, false);
            return Err(Errno::Again.into());
        }
        self.reads.set_within_record(is_within.then_some(fd));
        let read = self.try_to_read(memory, fd, iovecs, peek);
        self.reads.set_within_record(None);
        // A read that slept has begun a new turn.
        let turn = self.reads.turn();
        if let (false, Ok(descriptor)) = (peek, self.descriptors.get_mut(fd)) {
            match read {
                Ok(0) => {}
                Ok(len) => descriptor.records.read(turn, asked, len),
                Err(_) => descriptor.records.refused(turn, asked),
            }
        }
        read
    }

    /// Tries to read. Within a record, it tries once more each time that something has come.
    fn try_to_read<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
        peek: bool,
    ) -> Call<u32> {
        let mut refreshed = false;
        let mut waited = Waited::default();
        loop {
            match self.try_read(memory, fd, iovecs, 0, peek) {
                Ok(len) => {
                    self.note_read(fd, len);
                    return Ok(len);
                }
                Err(Abort::Errno(Errno::Again)) => {
                    self.flush();
                    if !refreshed && self.sleeper.is_stale() {
                        refreshed = true;
                        self.refresh()?;
                    } else if peek || !self.await_more(fd, &mut waited)? {
                        return Err(Errno::Again.into());
                    }
                }
                Err(abort) => return Err(abort),
            }
        }
    }

    /// Waits within a non-blocking read if the guest counts on the rest of a record, or if it would
    /// poll next. Returns whether to try once more.
    fn await_more(&mut self, fd: u32, waited: &mut Waited) -> Call<bool> {
        if self.reads.is_within_record(fd) {
            return self.await_record(fd, &mut waited.for_record);
        }
        let mut has_come = false;
        if !waited.like_poll
            && let Some(found) = self.sleep_like_poll(fd)?
        {
            waited.like_poll = true;
            has_come = found;
        }
        if !has_come {
            let call = self.measures.calls;
            self.prediction.refused(call, fd, waited.like_poll);
        }
        Ok(has_come)
    }

    /// Whether the next read of `asked` bytes is within a record. This concerns only the network,
    /// which takes its time: what the application writes arrives as a whole, and no module knows of
    /// records in a plain connection.
    fn continues_record(&self, fd: u32, asked: u32) -> bool {
        self.descriptors.get(fd).is_ok_and(|descriptor| {
            matches!(&descriptor.kind, Kind::Net(net) if !net.is_plain())
                && descriptor.records.continues(self.reads.turn(), asked)
        })
    }

    /// Sleeps until more of a record may be there. Returns false if the read is not within a
    /// record, if it has waited long enough, or once the guest should end.
    fn await_record(&mut self, fd: u32, deadline: &mut Option<Instant>) -> Call<bool> {
        if !self.reads.is_within_record(fd) || self.link.level() >= Level::Cancelled {
            return Ok(false);
        }
        let now = Instant::now();
        let end = *deadline.get_or_insert(now + self.reads.patience);
        if now >= end {
            return Ok(false);
        }
        self.sleep_for(Waits::One(fd, Direction::Read), Some(end))?;
        Ok(true)
    }

    /// Whether a guest has read so much from one side, with no end in sight, that it is time for
    /// the other side, which has something to read. Otherwise, a guest that reads until there is
    /// nothing left would never get to the other side, as long as a fast peer goes on.
    fn is_unfair(&mut self, fd: u32) -> Call<bool> {
        if !self.reads.has_fair_share(fd) {
            return Ok(false);
        }
        self.reads.begin_streak();
        self.refresh()?;
        let others: Vec<u32> = self
            .descriptors
            .iter()
            .filter(|(other, descriptor)| *other != fd && descriptor.kind.is_stream())
            .map(|(other, _)| other)
            .collect();
        Ok(others
            .into_iter()
            .any(|other| self.readiness(other, Direction::Read).is_some()))
    }

    /// Tries to read once, without waiting. Returns `Again` if there is nothing.
    fn try_read<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
        skip: u32,
        peek: bool,
    ) -> Call<u32> {
        let mut allowance = self.allowance(fd);
        let descriptor = self.descriptors.get_mut(fd)?;
        let nonblocking = descriptor.is_nonblocking();
        if let (0, Kind::Net(net)) = (allowance, &mut descriptor.kind) {
            if !net.poll_read() || net.buffered() > 0 {
                return Err(Errno::Again.into());
            }
            // There are no bytes, but the end or an error, which need not wait for anything.
            allowance = 1;
        }
        let spans = spans(iovecs, skip, allowance);
        let done = match &mut descriptor.kind {
            Kind::Internal => {
                let internal = self.internal.as_mut().ok_or(Errno::Badf)?;
                read_internal(internal, memory, spans, peek)?
            }
            Kind::Net(net) => {
                let done = read_net(net, memory, spans, peek)?;
                self.reads.set_more_to_read(net.has_more());
                done
            }
            Kind::Control => {
                if self.control_read || self.link.level() < Level::Cancelled {
                    return Err(Errno::Again.into());
                }
                let mut done = 0;
                for (addr, _) in spans.take(1) {
                    memory.write_u8(addr, 0)?;
                    done = 1;
                }
                self.control_read = !peek;
                done
            }
            Kind::Unconnected => return Err(Errno::Again.into()),
            // A peek is impossible here: looking at the bytes takes them.
            Kind::Std(_) if peek => return Err(Errno::Notsup.into()),
            Kind::Std(stream) => {
                let wait = if nonblocking {
                    Duration::ZERO
                } else {
                    STREAM_TICK
                };
                let mut done = 0;
                for (addr, len) in spans.take(1) {
                    done = stream.read(memory.slice_mut(addr, len)?, wait)?;
                }
                done
            }
            Kind::Directory(_) | Kind::File(_) => return Err(Errno::Notsock.into()),
        };
        Ok(u32::try_from(done).unwrap_or(u32::MAX))
    }

    /// `fd_write` and `sock_send`. Returns the number of bytes taken.
    ///
    /// A blocking descriptor takes all, and so does any descriptor of a guest that has never polled
    /// for room. Otherwise, a write of up to 128 KiB is taken completely or fails with `Again`. In
    /// one call, a standard stream takes 1 MiB, or 64 KiB if it is non-blocking.
    pub(crate) fn write<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        fd: u32,
        iovecs: &IovecArray,
    ) -> Call<u32> {
        self.check_stop()?;
        let kind = &self.descriptors.get(fd)?.kind;
        if kind.is_of_file_system() {
            return Ok(self.descriptors.write(memory, fd, iovecs)?);
        }
        let is_stream = kind.is_stream();
        let mut named = 0;
        if matches!(kind, Kind::Unconnected) {
            if self.is_unnamed(fd) {
                self.descriptors.get(fd)?.check(Rights::FD_WRITE)?;
                named = self.take_name(memory, iovecs)?;
                if self.is_unnamed(fd) || named == iovecs.total_len() {
                    return Ok(named);
                }
            }
            self.connect_target()?;
        }
        self.reads.next_turn();
        // What names the target is taken already.
        let fewer = if self.watch.is_some() && named == 0 {
            self.answer_like_others(fd, Direction::Write, iovecs)?
        } else {
            None
        };
        let iovecs = fewer.as_deref().unwrap_or(iovecs);
        let written = self.write_to(memory, fd, iovecs, named);
        if self.watch.is_some() {
            self.note_done(fd, &written);
        }
        if is_stream {
            self.note_deed(&written);
            self.learnt.note_failure(&written, self.stream_kind(fd));
            if self.plain_side.has_news {
                self.look_at_plain();
            }
        }
        written
    }

    /// Records that the guest has acted on what a poll told it, unless the action was in vain.
    fn note_deed(&mut self, result: &Call<u32>) {
        if *result != Err(Abort::Errno(Errno::Again)) {
            self.sleeper.rest.is_over();
        }
    }

    /// Whether the guest has reached the end of a stream without any failure of a stream. In that
    /// case, EPIPE is how the first modules say that they have ended.
    pub(crate) fn has_ended_in_order(&self) -> bool {
        self.learnt.has_ended_in_order()
    }

    /// Called when the transport is set up. Whatever the guest has met on the way did not prevent
    /// that.
    pub(crate) fn begin_transport(&mut self) {
        self.learnt.forget_loss();
        if let Some(guard) = &self.guard {
            guard.begin();
        }
        self.begin_naming();
    }

    /// Why a connection broke, if the guest has met that since the transport was set up and since
    /// it last dialled. Whatever the guest makes of it, this was not the end of a stream.
    pub(crate) fn lost_connection(&self) -> Option<Errno> {
        self.learnt.lost()
    }

    fn write_to<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        fd: u32,
        iovecs: &IovecArray,
        mut done: u32,
    ) -> Call<u32> {
        let refused_before = self.writes.take_refused();
        let total = iovecs.total_len();
        let descriptor = self.descriptors.get(fd)?;
        descriptor.check(Rights::FD_WRITE)?;
        let nonblocking = descriptor.is_nonblocking();
        let is_stream = descriptor.kind.is_stream();
        if total == 0 {
            return Ok(0);
        }
        loop {
            let returns = nonblocking && !(is_stream && self.parks());
            match self.try_write(memory, fd, iovecs, done, nonblocking) {
                Ok(len) => {
                    done += len;
                    self.sleeper.moved(len);
                    if done >= total || returns || self.is_enough(fd, done) {
                        return Ok(done);
                    }
                    // If the application is fast enough, this loop never sleeps.
                    self.check_stop()?;
                }
                Err(Abort::Errno(Errno::Again)) if returns && done > 0 => return Ok(done),
                Err(Abort::Errno(Errno::Again)) => {
                    self.set_refused(fd, total - done);
                    // The guest repeats the same write with nothing in between, so it spins. Spare
                    // the core until there is room.
                    if returns && refused_before != Some(fd) {
                        self.flush();
                        self.writes.refuse(fd);
                        return Err(Errno::Again.into());
                    }
                    self.sleep(fd, Direction::Write)?;
                }
                Err(Abort::Errno(_)) if done > 0 => return Ok(done),
                Err(abort) => return Err(abort),
            }
        }
    }

    /// Whether a write that finds no room waits for it, even on a non-blocking descriptor. A guest
    /// that has never polled for room would lose what is refused. Once the guest should end, that
    /// matters more.
    fn parks(&self) -> bool {
        !self.writes.polls_for_room && self.link.level() < Level::Cancelled
    }

    /// Tries once to write what follows the first `skip` bytes, without waiting.
    fn try_write<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        fd: u32,
        iovecs: &IovecArray,
        skip: u32,
        nonblocking: bool,
    ) -> Call<u32> {
        let descriptor = self.descriptors.get_mut(fd)?;
        let left = (iovecs.total_len() - skip) as usize;
        let piece = match descriptor.kind {
            Kind::Std(_) => left.min(STREAM_PIECE),
            // A blocking write may be split. Each piece must fit into an empty buffer.
            _ if !nonblocking => left.min(WRITE_LIMIT),
            _ => left.min(NONBLOCKING_PIECE),
        };
        // The array was checked when it was decoded, and memory never shrinks.
        let slices =
            spans(iovecs, skip, piece).map_while(|(addr, len)| memory.slice(addr, len).ok());
        let taken = match &mut descriptor.kind {
            Kind::Internal => {
                let internal = self.internal.as_mut().ok_or(Errno::Badf)?;
                if internal.is_write_closed() {
                    return Err(Errno::Pipe.into());
                }
                if !internal.accepts(piece) {
                    return Err(Errno::Again.into());
                }
                let taken = slices.map(|slice| internal.write(slice)).sum();
                internal.write_done(self.reads.has_more_to_read());
                taken
            }
            Kind::Net(net) => match net.write(piece, slices) {
                Ok((taken, waits)) => {
                    self.writes.unsent |= waits;
                    taken
                }
                // As with a pipe that nobody reads, the bytes are dropped: what came from there may
                // still be on its way.
                Err(_) if net.is_plain() && net.has_failed() => {
                    self.plain_side.has_news = !self.plain_side.is_over();
                    piece
                }
                Err(errno) => return Err(errno.into()),
            },
            Kind::Unconnected => return Err(Errno::Notconn.into()),
            Kind::Control => return Err(Errno::Badf.into()),
            Kind::Directory(_) | Kind::File(_) => return Err(Errno::Notsock.into()),
            Kind::Std(stream) => {
                let mut taken = 0;
                let wait = if nonblocking {
                    Duration::ZERO
                } else {
                    STREAM_TICK
                };
                for slice in slices {
                    match stream.write(slice, wait) {
                        Ok(len) if len == slice.len() => taken += len,
                        Ok(len) => {
                            taken += len;
                            break;
                        }
                        Err(_) if taken > 0 => break,
                        Err(errno) => return Err(errno.into()),
                    }
                }
                taken
            }
        };
        descriptor.refused = 0;
        Ok(u32::try_from(taken).unwrap_or(u32::MAX))
    }

    /// Whether a call has written so much that the rest is left to the next call.
    fn is_enough(&self, fd: u32, done: u32) -> bool {
        let descriptor = self.descriptors.get(fd);
        let is_stream = descriptor.is_ok_and(|found| matches!(found.kind, Kind::Std(_)));
        is_stream && done >= STREAM_LIMIT
    }

    fn set_refused(&mut self, fd: u32, len: u32) {
        if let Ok(descriptor) = self.descriptors.get_mut(fd) {
            descriptor.refused = len.min(WRITE_LIMIT as u32);
        }
    }

    fn note_read(&mut self, fd: u32, len: u32) {
        if len > 0 {
            self.sleeper.moved(len);
            self.reads.note(fd, len);
        }
    }

    fn stream_kind(&self, fd: u32) -> StreamKind {
        if self.is_plain(fd) {
            StreamKind::Plain
        } else {
            StreamKind::Other
        }
    }

    pub(super) fn is_stream(&self, fd: u32) -> bool {
        self.descriptors
            .get(fd)
            .is_ok_and(|descriptor| descriptor.kind.is_stream())
    }

    /// Must be called whenever a stream was opened, closed or renumbered.
    pub(super) fn find_pair(&mut self) {
        self.sleeper.rest.is_over();
        let mut streams = Vec::new();
        for (fd, descriptor) in self.descriptors.iter_mut() {
            if descriptor.kind.is_stream() {
                descriptor.gate = Gate::default();
                streams.push(fd);
            }
        }
        self.reads.set_pair(streams.try_into().ok());
    }

    /// Maximum size of the next read, in bytes. It is 0 if the read has to wait because the other
    /// side has no room for what the guest would make of it. The end of a stream never has to wait.
    pub(super) fn allowance(&mut self, fd: u32) -> usize {
        // The guest can do nothing with part of a record. Writing all of it may have to wait.
        if self.reads.is_within_record(fd) {
            return usize::MAX;
        }
        let Some(other) = self.reads.counterpart(fd) else {
            return usize::MAX;
        };
        let room = match self.descriptors.get(other).map(|other| &other.kind) {
            Ok(Kind::Internal) => self.internal.as_mut().map(GuestEnd::room),
            Ok(Kind::Net(net)) if self.writes.unsent => Some(net.room()),
            Ok(Kind::Net(_)) => Some(outbound::room(0)),
            _ => None,
        };
        let room = room.unwrap_or(Room::UNLIMITED);
        self.descriptors
            .get_mut(fd)
            .map_or(usize::MAX, |descriptor| descriptor.gate.allowance(room))
    }
}

/// Whether a read has shown the end of a stream, or has failed.
fn is_end(read: &Call<u32>) -> bool {
    match read {
        Ok(len) => *len == 0,
        Err(Abort::Errno(errno)) => *errno != Errno::Again,
        Err(Abort::Stop) => false,
    }
}

/// Reads what the application has written. A peek leaves it in place.
fn read_internal<M: GuestMemory + ?Sized>(
    internal: &mut GuestEnd,
    memory: &mut M,
    spans: impl Iterator<Item = (u32, u32)>,
    peek: bool,
) -> Result<usize, Errno> {
    let mut done = 0;
    for (addr, len) in spans {
        let into = memory.slice_mut(addr, len)?;
        let part = if peek {
            internal.peek(done, into)
        } else {
            internal.read(into)
        };
        done += part;
        if part < len as usize {
            break;
        }
    }
    if done == 0 && !internal.at_end() {
        return Err(Errno::Again);
    }
    if !peek {
        internal.read_done(done);
    }
    if done == 0 && internal.is_broken() {
        return Err(Errno::Connreset);
    }
    Ok(done)
}

/// Reads what has come from a peer. A peek leaves it in place.
fn read_net<M: GuestMemory + ?Sized>(
    net: &mut NetStream,
    memory: &mut M,
    spans: impl Iterator<Item = (u32, u32)>,
    peek: bool,
) -> Result<usize, Errno> {
    if peek {
        if !net.poll_read() {
            return Err(Errno::Again);
        }
        net.peek_error()?;
    }
    let mut done = 0;
    for (addr, len) in spans {
        let into = memory.slice_mut(addr, len)?;
        let part = if peek {
            net.peek(done, into)
        } else if done > 0 && net.buffered() == 0 {
            // The first piece decides whether the socket is asked at all.
            break;
        } else {
            match net.read(into) {
                Ok(part) => part,
                Err(errno) if done > 0 => {
                    net.put_back(errno);
                    break;
                }
                Err(errno) => return Err(errno),
            }
        };
        done += part;
        if part < len as usize {
            break;
        }
    }
    Ok(done)
}

/// The buffers of an array as addresses and lengths, without the first `skip` bytes, and limited to
/// `limit` bytes in total.
fn spans(iovecs: &IovecArray, skip: u32, limit: usize) -> impl Iterator<Item = (u32, u32)> + '_ {
    let mut skip = skip;
    let mut left = u32::try_from(limit).unwrap_or(u32::MAX);
    iovecs.iter().filter_map(move |iovec| {
        let part = skip.min(iovec.len);
        skip -= part;
        let len = (iovec.len - part).min(left);
        left -= len;
        // This is inside a checked buffer, so the sum does not overflow.
        (len > 0).then(|| (iovec.buf.wrapping_add(part), len))
    })
}

/// What a non-blocking read has waited for.
#[derive(Default)]
struct Waited {
    /// When it gives up on the rest of a record.
    for_record: Option<Instant>,
    /// It has slept in place of the next poll.
    like_poll: bool,
}

#[cfg(test)]
mod tests;
