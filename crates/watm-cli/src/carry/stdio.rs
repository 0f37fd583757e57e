//! Carries a connection on standard input and output, like netcat.
//!
//! The end of standard input shuts down writing, and what still arrives is printed. The end of the
//! connection's output closes standard output, while standard input continues. Standard output
//! carries nothing but the connection's bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, unbounded};
use socket2::SockRef;
use watm_wasmer::Conn;

use super::ending::{Pauses, await_end};
use super::poll::{Interest, wait};
use super::signals::Signals;
use crate::terminal::failure::Failure;

const BUFFER: usize = 64 * 1024;
/// The stack of a copying thread, in bytes. The buffer is not on the stack.
const STACK: usize = 128 * 1024;
/// The time for a read and a write that do not have to wait.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// How standard input and output are carried.
pub(crate) struct Stdio {
    /// Whether writing stays open when standard input ends.
    pub(crate) keep_open: bool,
    /// The time a transport has to end after both its directions.
    pub(crate) patience: Duration,
    /// Whether the module also writes to standard output, which then stays open to the end.
    pub(crate) shared: bool,
}

/// An event from a copying thread or a signal.
enum Event {
    Up(Up),
    Down(Down),
    Signal(&'static str),
}

/// How the direction from standard input ended.
enum Up {
    Ended,
    /// Standard input could not be read.
    Unreadable(io::Error),
    /// The transport did not take what was read.
    NotTaken,
}

/// How the direction to standard output ended.
enum Down {
    Ended,
    /// The transport ended with an error.
    Failed(io::Error),
    /// Standard output could not be written.
    Unwritable(io::Error),
}

/// Sets up a connection on its own thread, so that a signal does not have to wait for it. Returns
/// `None` if a signal came first. The caller then ends the process, and the thread with it.
pub(crate) fn set_up(
    signals: &Signals,
    make: impl FnOnce() -> Result<Conn, Failure> + Send + 'static,
) -> Result<Option<Conn>, Failure> {
    let (sender, made) = bounded(1);
    thread::Builder::new()
        .name("watm-set-up".into())
        .spawn(move || {
            let _ = sender.send(make());
        })
        .map_err(|error| Failure::because("cannot start a thread", error))?;
    select! {
        recv(signals.first) -> _ => Ok(None),
        recv(made) -> made => match made {
            Ok(made) => made.map(Some),
            Err(_) => Err(Failure::new("the thread that set up the transport panicked")),
        },
    }
}

impl Stdio {
    /// Carries one connection to its end.
    pub(crate) fn carry(&self, conn: Conn, signals: &Signals) -> Result<(), Failure> {
        let conn = Arc::new(conn);
        let unsent = Arc::new(AtomicBool::new(false));
        let events = self.start(&conn, &unsent)?;
        let mut up = None;
        let mut down_ended = false;
        let mut pauses = Pauses::new();
        while !down_ended || (up.is_none() && conn.outcome().is_none()) {
            // Half-closed: nobody reads from the transport, so check whether it has ended.
            let pause = down_ended.then(|| pauses.next());
            match next(&events, signals, pause)? {
                None => {}
                Some(Event::Signal(name)) => {
                    let _ = conn.close();
                    return Err(interrupted(name));
                }
                Some(Event::Up(Up::Unreadable(error))) => {
                    let _ = conn.close();
                    return Err(Failure::because("cannot read standard input", error));
                }
                Some(Event::Up(ended)) => up = Some(ended),
                Some(Event::Down(Down::Ended)) => down_ended = true,
                Some(Event::Down(Down::Failed(error))) => {
                    return Err(match conn.close() {
                        Err(error) => error.into(),
                        Ok(_) => Failure::because("the transport failed", error),
                    });
                }
                Some(Event::Down(Down::Unwritable(error))) => {
                    let _ = conn.close();
                    return Err(Failure::output(error));
                }
            }
        }

        // With `keep_open`, the transport does not yet know that this side has ended.
        let _ = conn.shutdown(Shutdown::Write);
        await_end(&conn, self.patience + LAST_LOOK, || {
            !signals.first.is_empty()
        });
        conn.close()?;
        if up.is_none() && (unsent.load(Ordering::Acquire) || input_is_ready()) {
            // The other thread is about to find out whether there was more to send. A thread that
            // waits for input has nothing to send and is left waiting.
            if let Ok(Event::Up(ended)) = events.recv_timeout(LAST_LOOK) {
                up = Some(ended);
            }
        }
        match up {
            Some(Up::NotTaken) => Err(Failure::new(
                "the transport ended before it had taken all of standard input",
            )),
            _ => Ok(()),
        }
    }

    /// Starts a copying thread for each direction. `unsent` is true while the transport has not
    /// taken all bytes that were read.
    fn start(
        &self,
        conn: &Arc<Conn>,
        unsent: &Arc<AtomicBool>,
    ) -> Result<Receiver<Event>, Failure> {
        let (sender, events) = unbounded();
        let input = duplicate(io::stdin().as_fd(), "standard input")?;
        let output = duplicate(io::stdout().as_fd(), "standard output")?;
        // This thread lives as long as the process: a read of standard input cannot be interrupted.
        let (to, unsent, keep_open) = (Arc::clone(conn), Arc::clone(unsent), self.keep_open);
        spawn(&sender, move || {
            Event::Up(copy_up(&input, &to, keep_open, &unsent))
        })?;
        let (from, shared) = (Arc::clone(conn), self.shared);
        spawn(&sender, move || {
            let down = copy_down(&from, &output);
            if matches!(down, Down::Ended) && !shared {
                // The reader does not have to wait for the rest of standard input.
                close_output(output);
            }
            Event::Down(down)
        })?;
        Ok(events)
    }
}

/// Waits for the next event. Returns `None` if `pause` ends first.
fn next(
    events: &Receiver<Event>,
    signals: &Signals,
    pause: Option<Duration>,
) -> Result<Option<Event>, Failure> {
    let over = pause.map_or_else(never, after);
    select! {
        recv(signals.first) -> name => Ok(Some(Event::Signal(name.unwrap_or("a signal")))),
        recv(events) -> event => match event {
            Ok(event) => Ok(Some(event)),
            Err(_) => Err(Failure::new("a copying thread panicked")),
        },
        recv(over) -> _ => Ok(None),
    }
}

fn interrupted(name: &str) -> Failure {
    let message = format!("ended by {name} before the transfer was complete");
    if name == "SIGHUP" {
        // Nobody reads a message after a hang-up, such as the end of an ssh session.
        log::info!("{message}");
        return Failure::silent();
    }
    Failure::new(message)
}

fn spawn(
    events: &Sender<Event>,
    copy: impl FnOnce() -> Event + Send + 'static,
) -> Result<(), Failure> {
    let events = events.clone();
    thread::Builder::new()
        .name("watm-copy".into())
        .stack_size(STACK)
        .spawn(move || {
            let _ = events.send(copy());
        })
        .map(|_| ())
        .map_err(|error| Failure::because("cannot start a thread", error))
}

/// A standard stream without the standard library's buffers, which are made for lines.
fn duplicate(stream: std::os::fd::BorrowedFd<'_>, name: &str) -> Result<File, Failure> {
    stream
        .try_clone_to_owned()
        .map(File::from)
        .map_err(|error| Failure::because(format!("cannot use {name}"), error))
}

/// Closes standard output, so that its reader sees the end. The descriptor stays taken.
fn close_output(output: File) {
    // A socket may have other descriptors, such as standard input. Only sockets can be shut down.
    let _ = SockRef::from(&output).shutdown(Shutdown::Write);
    drop(output);
    let closed = File::options()
        .write(true)
        .open("/dev/null")
        .and_then(|null| Ok(rustix::stdio::dup2_stdout(&null)?));
    if let Err(error) = closed {
        log::debug!("standard output stays open to the end: {error}");
    }
}

fn copy_up(input: &File, conn: &Conn, keep_open: bool, unsent: &AtomicBool) -> Up {
    let mut buffer = vec![0; BUFFER];
    loop {
        match read(input, &mut buffer) {
            Ok(0) => {
                if !keep_open {
                    let _ = conn.shutdown(Shutdown::Write);
                }
                return Up::Ended;
            }
            Ok(len) => {
                unsent.store(true, Ordering::Release);
                if write_all(conn, &buffer[..len]).is_err() {
                    return Up::NotTaken;
                }
                unsent.store(false, Ordering::Release);
            }
            Err(error) => return Up::Unreadable(error),
        }
    }
}

/// Writes everything to a transport. Unlike [`Write::write_all`], it treats every error as the end.
/// A transport that fails with the kind "interrupted" must not be retried forever.
fn write_all(mut to: &Conn, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            len => bytes = &bytes[len..],
        }
    }
    Ok(())
}

/// Whether a read of standard input would return at once, with bytes or the end.
fn input_is_ready() -> bool {
    let ready = wait(
        [(io::stdin().as_fd(), Interest::Readable)],
        Some(Duration::ZERO),
    );
    matches!(ready, Ok([true]))
}

fn copy_down(mut conn: &Conn, output: &File) -> Down {
    let mut buffer = vec![0; BUFFER];
    loop {
        match conn.read(&mut buffer) {
            Ok(0) => return Down::Ended,
            Ok(len) => {
                if let Err(error) = write(output, &buffer[..len]) {
                    return Down::Unwritable(error);
                }
            }
            Err(error) => return Down::Failed(error),
        }
    }
}

/// Reads from a standard stream, which another process that shares it may have made non-blocking.
fn read(mut input: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait([(input.as_fd(), Interest::Readable)], None)?;
            }
            result => return result,
        }
    }
}

/// Writes everything, even to a non-blocking stream.
fn write(mut output: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait([(output.as_fd(), Interest::Writable)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
