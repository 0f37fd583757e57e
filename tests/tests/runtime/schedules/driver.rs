//! Drives both sides of one connection from one thread and tells the model about each result.
//!
//! No call here waits longer than it is told to, so a schedule always ends. If a module has
//! stopped, its bytes never arrive, which the checks notice.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use watm_tests::{Pair, SHORT};
use watm_wasmer::{Conn, Outcome, TransportError};

use super::model::{Manner, Model, Side, Wait};

const BRIEFLY: Duration = Duration::from_millis(1);

/// One step of a schedule.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// One write of this many bytes.
    Write(Side, usize, Wait),
    /// One read into a buffer of this many bytes.
    Read(Side, usize, Wait),
    /// A read of this many bytes that waits, if the model says that something must come.
    Await(Side, usize),
    /// A shutdown for writing.
    Shutdown(Side),
    /// A close of both directions.
    Close(Side),
}

/// How a connection ends after its schedule.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// This side shuts down writing first, then the other does.
    Shutdown(Side),
    /// This side closes.
    Close(Side),
    /// The application drops its connection.
    Drop,
}

/// What both kinds of ends can do.
pub(super) trait Socket {
    /// Sets how long later calls wait.
    fn set_wait(&self, wait: Wait);
    /// One read.
    fn get(&self, buf: &mut [u8]) -> io::Result<usize>;
    /// One write.
    fn put(&self, buf: &[u8]) -> io::Result<usize>;
    /// A shutdown for writing.
    fn end(&self);
}

macro_rules! socket {
    ($type:ty) => {
        impl Socket for $type {
            fn set_wait(&self, wait: Wait) {
                let limit = if wait == Wait::Long { SHORT } else { BRIEFLY };
                self.set_nonblocking(wait == Wait::Not).expect("a mode");
                self.set_read_timeout(Some(limit)).expect("a timeout");
                self.set_write_timeout(Some(limit)).expect("a timeout");
            }

            fn get(&self, buf: &mut [u8]) -> io::Result<usize> {
                (&mut &*self).read(buf)
            }

            fn put(&self, buf: &[u8]) -> io::Result<usize> {
                (&mut &*self).write(buf)
            }

            fn end(&self) {
                // On the peer's side this fails after a reset, which the peer's reads report.
                let _ = self.shutdown(Shutdown::Write);
            }
        }
    };
}

socket!(Conn);
socket!(TcpStream);

/// Does one read. A read that waits until its timeout finds data that arrived without waking it,
/// which is an error.
#[track_caller]
pub(super) fn get_timely(socket: &dyn Socket, buf: &mut [u8]) -> io::Result<usize> {
    let started = Instant::now();
    let result = socket.get(buf);
    assert!(
        result.is_err() || started.elapsed() < SHORT,
        "a read was not woken by what it waited for"
    );
    result
}

/// Gives up when nothing has moved for too long.
pub(super) struct Patience {
    moves: u64,
    since: Instant,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            moves: 0,
            since: Instant::now(),
        }
    }

    /// Records how much has moved so far, in any unit.
    #[track_caller]
    pub(super) fn note(&mut self, moves: u64, what: impl std::fmt::Debug) {
        if moves != self.moves {
            self.moves = moves;
            self.since = Instant::now();
        }
        assert!(
            self.since.elapsed() < SHORT,
            "nothing has moved for {SHORT:?}: {what:?}"
        );
    }
}

/// Both sides of a connection, and its model.
pub(super) struct Driver {
    conn: Option<Arc<Conn>>,
    peer: Option<TcpStream>,
    closing: Option<JoinHandle<Result<Outcome, TransportError>>>,
    model: Model,
    manner: Manner,
    /// Maximum number of bytes that each side writes.
    budget: u64,
}

impl Driver {
    pub(super) fn new(pair: Pair, manner: Manner, budget: u64) -> Self {
        Self {
            conn: Some(Arc::new(pair.conn)),
            peer: Some(pair.peer),
            closing: None,
            model: Model::new(manner),
            manner,
            budget,
        }
    }

    /// Takes one step, unless its side has left.
    pub(super) fn perform(&mut self, op: &Op) {
        match *op {
            Op::Write(side, len, wait) => {
                let left = self.budget.saturating_sub(self.model.written(side));
                let len = len.min(usize::try_from(left).unwrap_or(len));
                self.write(side, len, wait);
            }
            Op::Read(side, len, wait) => {
                self.read(side, len, wait);
            }
            Op::Await(side, len) => {
                if self.model.is_due(side) {
                    self.read(side, len, Wait::Long);
                }
            }
            Op::Shutdown(side) if self.model.may_end() => self.shut_down(side),
            Op::Close(side) if self.model.may_end() => self.close(side),
            Op::Shutdown(_) | Op::Close(_) => {}
        }
    }

    /// Reads everything that is still to come, ends the connection, and checks the result.
    pub(super) fn finish(mut self, ending: &Ending) {
        self.drain();
        let side = match *ending {
            Ending::Shutdown(side) | Ending::Close(side) => side,
            Ending::Drop => Side::Application,
        };
        match self.manner {
            Manner::TakesTurns(first) => self.end_in_turns(first, side, ending),
            _ => self.end(ending),
        }
    }

    /// Brings a module that takes turns to the point where it reads from `side` next.
    fn end_in_turns(mut self, first: Side, side: Side, ending: &Ending) {
        let goals = self.model.turns_end((side != first).then_some(first));
        let mut patience = Patience::new();
        loop {
            let written = Side::BOTH.map(|side| self.model.written(side));
            if written == goals {
                return self.end(ending);
            }
            patience.note(written.iter().sum(), &self.model);
            for (side, goal) in Side::BOTH.into_iter().zip(goals) {
                let lacks = goal - self.model.written(side);
                self.write(side, usize::try_from(lacks).expect("a few"), Wait::Not);
            }
            self.drain();
        }
    }

    fn end(mut self, ending: &Ending) {
        match *ending {
            Ending::Shutdown(side) => self.shut_down(side),
            Ending::Close(side) => self.close(side),
            Ending::Drop => self.drop_conn(),
        }
        self.drain();
        for side in Side::BOTH {
            self.shut_down(side);
        }
        self.drain();
        self.check_outcome();
    }

    fn socket(&self, side: Side) -> Option<&dyn Socket> {
        match side {
            Side::Application => self.conn.as_deref().map(|conn| conn as &dyn Socket),
            Side::Peer => self.peer.as_ref().map(|peer| peer as &dyn Socket),
        }
    }

    fn write(&mut self, side: Side, len: usize, wait: Wait) {
        let Some(socket) = self.socket(side).filter(|_| len > 0) else {
            return;
        };
        if self.closing.is_some() && side == Side::Application {
            // Only the closing thread knows when writes begin to fail.
            return;
        }
        socket.set_wait(wait);
        match socket.put(&self.model.next(side, len)) {
            Ok(taken) => self.model.wrote(side, taken, len),
            Err(error) => self.model.write_failed(side, wait, &error),
        }
    }

    /// Does one read. Returns whether anything came, bytes or the end.
    fn read(&mut self, side: Side, len: usize, wait: Wait) -> bool {
        let Some(socket) = self.socket(side) else {
            return false;
        };
        let mut buf = vec![0; len];
        socket.set_wait(wait);
        match get_timely(socket, &mut buf) {
            Ok(len) => {
                self.model.read(side, &buf[..len]);
                true
            }
            Err(error) => {
                self.model.read_failed(side, wait, &error);
                false
            }
        }
    }

    fn shut_down(&mut self, side: Side) {
        if let Some(socket) = self.socket(side) {
            socket.end();
            self.model.shut_down(side);
        }
    }

    fn close(&mut self, side: Side) {
        match side {
            Side::Application => self.close_conn(),
            Side::Peer if self.peer.take().is_some() => self.model.closed(side),
            Side::Peer => {}
        }
    }

    /// Closes on a separate thread, because the close waits for the peer to take the bytes in
    /// flight.
    fn close_conn(&mut self) {
        let Some(conn) = self.conn.clone().filter(|_| self.closing.is_none()) else {
            return;
        };
        let closing = Arc::clone(&conn);
        self.closing = Some(thread::spawn(move || closing.close()));
        // The close has begun once a read says so, after all earlier bytes.
        conn.set_wait(Wait::Long);
        let mut buf = vec![0; 64 * 1024];
        while !self.model.is_gone(Side::Application) {
            match get_timely(&*conn, &mut buf) {
                Ok(0) => self.model.closed(Side::Application),
                Ok(len) => self.model.read(Side::Application, &buf[..len]),
                Err(error) => {
                    assert!(self.model.is_broken(), "{error:?}");
                    self.model.closed(Side::Application);
                }
            }
        }
    }

    fn drop_conn(&mut self) {
        if self.closing.is_none() && self.conn.take().is_some() {
            self.model.closed(Side::Application);
        }
    }

    /// Reads on both sides until the model expects no more.
    fn drain(&mut self) {
        let mut patience = Patience::new();
        let mut moves = 0;
        let mut wait = Wait::Not;
        loop {
            let open = Side::BOTH.into_iter();
            let open: Vec<_> = open.filter(|side| !self.model.is_settled(*side)).collect();
            let Some(first) = open.first() else { return };
            let mut moved = false;
            for side in &open {
                // Waiting on one side would keep the other waiting.
                let wait = if side == first { wait } else { Wait::Not };
                moved |= self.read(*side, 64 * 1024, wait);
            }
            moves += u64::from(moved);
            wait = if moved { Wait::Not } else { Wait::Briefly };
            patience.note(moves, &self.model);
        }
    }

    /// Both streams have ended, so the transport must end too. It must end cleanly, unless the
    /// model knows a reason.
    fn check_outcome(mut self) {
        let Some(conn) = self.conn.take() else { return };
        let closed = self.closing.is_some();
        let outcome = match self.closing.take() {
            Some(closing) => closing.join().expect("it returns"),
            None => conn.close(),
        };
        if !self.model.is_broken() {
            let end = outcome.unwrap_or_else(|error| panic!("it ended with {error:?}"));
            assert!(closed || end == Outcome::Completed, "it ended with {end:?}");
        }
        conn.set_wait(Wait::Not);
        assert!(
            matches!(conn.get(&mut [0; 8]), Ok(0)),
            "a closed connection reads nothing"
        );
        let error = conn.put(b"late").expect_err("it is closed");
        assert!(
            error.kind() == io::ErrorKind::BrokenPipe || self.model.is_broken(),
            "{error:?}"
        );
    }
}
