//! The guest that makes one host call over and over, and the application that tells it which.

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use watm_wasmer::{Conn, Dialer, TransportModule};

use crate::socket_pair::{NOWHERE, SocketPairs};

/// How long the guest may take for one command, or be silent within one.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that each direction of the internal descriptor holds at least.
const PIPE: usize = 128 * 1024;
/// Bytes of what the guest writes to the network that are taken at once.
const PIECE: usize = 64 * 1024;

/// What the guest can be told to repeat; the order is that of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    /// Nothing: the loop alone.
    Loop,
    /// A function of the guest itself, with as many parameters as most host calls have.
    WasmCall,
    /// `fd_read` of the empty, non-blocking internal descriptor: `EAGAIN`.
    ReadAgain,
    /// `fd_write` of 0 bytes.
    Write0,
    /// `fd_write` of 1 byte to the network.
    Write1,
    /// `poll_oneoff` with one subscription, which is ready.
    Poll1,
    /// `poll_oneoff` with three subscriptions, of which one is ready.
    Poll3,
    /// `clock_time_get`.
    ClockTimeGet,
    /// `random_get` of 8 bytes.
    RandomGet8,
    /// `sched_yield`.
    SchedYield,
    /// `fd_fdstat_get` of the internal descriptor.
    FdstatGet,
    /// Reads a number of bytes from the application, in large pieces.
    Drain,
    /// Writes a number of bytes for the application, in large pieces.
    Fill,
}

impl Call {
    /// Those that are measured, by name; the first two are what the others stand beside.
    pub const MEASURED: [(&str, Self); 11] = [
        ("raw/loop", Self::Loop),
        ("raw/wasm_call", Self::WasmCall),
        ("fd_read_again", Self::ReadAgain),
        ("fd_write_0", Self::Write0),
        ("fd_write_1", Self::Write1),
        ("poll_oneoff_1", Self::Poll1),
        ("poll_oneoff_3", Self::Poll3),
        ("clock_time_get", Self::ClockTimeGet),
        ("random_get_8", Self::RandomGet8),
        ("sched_yield", Self::SchedYield),
        ("fd_fdstat_get", Self::FdstatGet),
    ];

    /// Bytes that the guest sends before it says that it is done.
    fn bytes_sent(self, count: u64) -> u64 {
        match self {
            Self::Write1 => count,
            _ => 0,
        }
    }
}

/// The guest at work, at both of its ends.
#[derive(Debug)]
pub struct Calls {
    // Dropped first: the guest ends by itself at the end of this stream.
    commands: UnixStream,
    conn: Conn,
    piece: Vec<u8>,
}

impl Calls {
    /// Starts the guest.
    ///
    /// # Errors
    ///
    /// What keeps a connection from being made.
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let module =
            TransportModule::from_bytes(wat::parse_str(include_str!("../guests/calls.wat"))?)?;
        let pairs = SocketPairs::default();
        let dialer = Dialer::builder(&module).dial_hook(pairs.clone()).build()?;
        let commands = pairs.make()?;
        commands.set_read_timeout(Some(PATIENCE))?;
        commands.set_write_timeout(Some(PATIENCE))?;
        let conn = dialer.dial(NOWHERE)?;
        conn.set_read_timeout(Some(PATIENCE))?;
        conn.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            commands,
            conn,
            piece: vec![0; PIECE],
        })
    }

    /// Has the guest repeat a call, and waits until it is done.
    ///
    /// # Errors
    ///
    /// The guest ended, as it does when a call does not answer as it should, or took too long.
    pub fn run(&mut self, call: Call, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut command = [0; 16];
        command[..8].copy_from_slice(&u64::from(call as u8).to_le_bytes());
        command[8..].copy_from_slice(&count.to_le_bytes());
        self.commands.write_all(&command)?;
        let mut left = call.bytes_sent(count) + 1;
        while left > 0 {
            match self.commands.read(&mut self.piece)? as u64 {
                0 => return Err(io::Error::other(format!("the guest gave up in {call:?}"))),
                len => left = left.saturating_sub(len),
            }
        }
        Ok(())
    }

    /// Writes to the connection `count` times, `data` each time, while the guest does nothing. It
    /// takes the bytes at once when the pipe is full.
    ///
    /// # Errors
    ///
    /// Those of the connection and of [`Calls::run`].
    pub fn write(&mut self, data: &[u8], count: u64) -> io::Result<()> {
        for batch in batches(data.len(), count) {
            for _ in 0..batch {
                self.conn.write_all(data)?;
            }
            self.run(Call::Drain, batch * data.len() as u64)?;
        }
        Ok(())
    }

    /// Reads from the connection `count` times, as much as `data` holds each time, what the guest
    /// has written before.
    ///
    /// # Errors
    ///
    /// Those of the connection and of [`Calls::run`].
    pub fn read(&mut self, data: &mut [u8], count: u64) -> io::Result<()> {
        for batch in batches(data.len(), count) {
            self.run(Call::Fill, batch * data.len() as u64)?;
            for _ in 0..batch {
                self.conn.read_exact(data)?;
            }
        }
        Ok(())
    }
}

/// Splits a count of pieces into parts that fit into the pipe.
fn batches(size: usize, count: u64) -> impl Iterator<Item = u64> {
    let most = (PIPE / size).max(1) as u64;
    (0..count.div_ceil(most)).map(move |at| most.min(count - at * most))
}
