//! One direction of a connection: reads one side, calls the codec, writes the other side.
//!
//! It reads only while all that it made of earlier input is written. So a side that takes nothing
//! stops the one that sends, and never more is kept than one read and one call of the codec make.

use std::mem;

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::output::Output;
use crate::worker::{Host, Interests, Limits, Side};

/// How often the codec gets new input or an empty output between two polls. Then it is the turn of
/// the other direction and of control.
const TURN: usize = 8;

pub(crate) struct Direction<C> {
    from: Side,
    to: Side,
    codec: C,
    input: Input,
    input_limit: usize,
    output: Output,
    /// Whether the codec is to be called before the next read.
    has_work: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing more is read. When the codec has done its work on what was, its direction ends.
    Stopping,
    /// Nothing more is read, and the codec has finished. When the output is written, the other side
    /// is told.
    Ending,
    /// Reading or the codec has failed. When the output is written, that is the worker's error.
    Failing(Error),
    /// The end is told, or nobody is there to be told.
    Over,
    /// The host could not tell the end.
    Stranded,
    /// A write has failed.
    Broken(Error),
}

impl<C: Codec> Direction<C> {
    /// `unread` is input that comes before what is read.
    pub(crate) fn new(from: Side, to: Side, codec: C, unread: Vec<u8>, limits: Limits) -> Self {
        Direction {
            from,
            to,
            codec,
            has_work: !unread.is_empty(),
            input: Input::new(unread, limits.read_size),
            input_limit: limits.input,
            output: Output::with_limit(limits.output),
            phase: Phase::Open,
        }
    }

    /// Adds what this direction waits for.
    pub(crate) fn want(&self, wanted: &mut Interests) {
        if self.result().is_some() {
            return;
        }
        if self.phase == Phase::Open && !self.has_work && self.output.is_empty() {
            wanted.of_mut(self.from).read = true;
        } else {
            wanted.of_mut(self.to).write = true;
        }
    }

    /// How it has ended, if it has.
    pub(crate) fn result(&self) -> Option<Result<()>> {
        match self.phase {
            Phase::Over | Phase::Stranded => Some(Ok(())),
            Phase::Broken(error) => Some(Err(error)),
            Phase::Open | Phase::Stopping | Phase::Ending | Phase::Failing(_) => None,
        }
    }

    /// Whether it has ended but the other side does not know, since the host has no half-close.
    pub(crate) fn is_stranded(&self) -> bool {
        self.phase == Phase::Stranded
    }

    /// Reads nothing more, since the connection is to end. What was read is not dropped: a part
    /// must not look like the whole.
    pub(crate) fn stop(&mut self, host: &mut impl Host) -> Result<()> {
        if self.phase == Phase::Open {
            self.phase = Phase::Stopping;
            self.advance(host, Interests::default())?;
        }
        Ok(())
    }

    /// Goes on as far as the sides are ready, for one turn.
    ///
    /// # Errors
    ///
    /// That of a failed read or of the codec, when all that came before is written.
    pub(crate) fn advance(&mut self, host: &mut impl Host, ready: Interests) -> Result<()> {
        let mut is_readable = ready.of(self.from).read;
        // What the poll has reported holds for one write.
        let mut is_writable = ready.of(self.to).write;
        let mut turn = TURN;
        while self.flush(host, mem::take(&mut is_writable)) {
            match self.phase {
                Phase::Open | Phase::Stopping if turn == 0 => break,
                Phase::Open | Phase::Stopping if self.has_work => {
                    turn -= 1;
                    self.transform();
                }
                Phase::Open if is_readable => is_readable = self.read(host),
                Phase::Stopping => self.finish(),
                Phase::Ending => self.forward_end(host),
                Phase::Failing(error) => return Err(error),
                Phase::Open | Phase::Over | Phase::Stranded | Phase::Broken(_) => break,
            }
        }
        Ok(())
    }

    /// Writes the output. Returns whether all is written.
    ///
    /// `is_writable` says that a poll has reported room. If the host refuses a write in spite of
    /// that, it takes it as a whole or not at all, and has less room: it gets smaller ones, since
    /// the next poll would report the same.
    fn flush(&mut self, host: &mut impl Host, is_writable: bool) -> bool {
        let mut length = self.output.len();
        while length > 0 {
            match host.write(self.to, &self.output.as_slice()[..length]) {
                Err(Error::AGAIN) if is_writable && length > 1 => length /= 2,
                Ok(0) | Err(Error::AGAIN) | Err(Error::INTR) => return false,
                Ok(written) => {
                    self.output.consume(written.min(length));
                    return self.output.is_empty();
                }
                Err(error) => {
                    self.output.truncate(0);
                    // The first failure is the cause.
                    if !matches!(self.phase, Phase::Failing(_)) {
                        self.phase = Phase::Broken(error);
                    }
                    return true;
                }
            }
        }
        true
    }

    /// Reads once. Returns whether there is probably more.
    fn read(&mut self, host: &mut impl Host) -> bool {
        let room = self.input.room();
        match host.read(self.from, room) {
            Ok(0) => {
                self.finish();
                false
            }
            Ok(length) => {
                let is_filled = length >= room.len();
                self.input.add(length);
                self.has_work = true;
                is_filled
            }
            Err(Error::AGAIN) | Err(Error::INTR) => false,
            Err(error) => {
                self.phase = Phase::Failing(error);
                false
            }
        }
    }

    /// Calls the codec until it needs more input, or its output has to be written first.
    fn transform(&mut self) {
        loop {
            let input = self.input.as_slice();
            let before = self.output.len();
            let taken = match self.codec.transform(input, &mut self.output) {
                Ok(taken) if taken <= input.len() => taken,
                Ok(_) => return self.fail(before, Error::OVERFLOW),
                Err(error) => return self.fail(before, error),
            };
            let left = input.len() - taken;
            self.input.consume(taken);
            if self.output.is_full() {
                return;
            }
            let is_stuck = taken == 0 && self.output.len() == before;
            if is_stuck && left >= self.input_limit {
                return self.fail(before, Error::MSGSIZE);
            }
            if is_stuck || left == 0 {
                self.has_work = false;
                return;
            }
        }
    }

    fn finish(&mut self) {
        self.phase = Phase::Ending;
        let before = self.output.len();
        if let Err(error) = self.codec.finish(self.input.as_slice(), &mut self.output) {
            self.fail(before, error);
        }
    }

    /// The codec has failed in a call before which the output had `before` bytes.
    fn fail(&mut self, before: usize, error: Error) {
        self.output.truncate(before);
        self.phase = Phase::Failing(error);
    }

    fn forward_end(&mut self, host: &mut impl Host) {
        self.phase = match host.shutdown_write(self.to) {
            // NOTCONN: the other side is gone, and there is nobody left to tell.
            Ok(()) | Err(Error::NOTCONN) => Phase::Over,
            Err(Error::NOSYS) | Err(Error::NOTSUP) | Err(Error::NOTSOCK) => Phase::Stranded,
            Err(error) => Phase::Broken(error),
        };
    }
}
