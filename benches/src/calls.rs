//! A guest that repeats one host call, and the application that tells it which one.

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use watm_wasmer::{Conn, Dialer, TransportModule};

use crate::socket_pair::{NOWHERE, SocketPairs};

/// Limit for one command, and for silence within one.
const PATIENCE: Duration = Duration::from_secs(60);
/// Minimum capacity of each direction of the internal descriptor, in bytes.
const PIPE: usize = 128 * 1024;
/// Maximum size of one read of what the guest writes to the network, in bytes.
const PIECE: usize = 64 * 1024;

/// What the guest can repeat, in the order of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    /// Nothing: the loop alone.
    Loop,
    /// A function of the guest, with as many parameters as most host calls.
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
    /// The measured calls, by name. The first two are the baselines of the others.
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

    /// Number of bytes that the guest sends before it reports completion.
    fn bytes_sent(self, count: u64) -> u64 {
        match self {
            Self::Write1 => count,
            _ => 0,
        }
    }
}

/// The running guest, with both of its ends.
#[derive(Debug)]
pub struct Calls {
    // Dropped first: the end of this stream ends the guest.
    commands: UnixStream,
    conn: Conn,
    piece: Vec<u8>,
}

impl Calls {
    /// Starts the guest.
    ///
    /// # Errors
    ///
    /// Fails if no connection can be made.
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

    /// Has the guest repeat a call, and waits for completion.
    ///
    /// # Errors
    ///
    /// Fails if the guest takes too long, or has ended. It ends when a call gives an unexpected
    /// answer.
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

    /// Writes `data` to the connection `count` times while the guest does nothing. When the pipe is
    /// full, the guest takes all bytes at once.
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

    /// Fills `data` from the connection `count` times, with what the guest has written before.
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

/// Splits a number of pieces into batches that fit into the pipe.
fn batches(size: usize, count: u64) -> impl Iterator<Item = u64> {
    let most = (PIPE / size).max(1) as u64;
    (0..count.div_ceil(most)).map(move |at| most.min(count - at * most))
}
