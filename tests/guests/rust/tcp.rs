// rust_tcp: passes both directions through with the types of std, as a transport written for std
// does: TcpStream over the descriptors, half-close in both directions, no spinning. The polls and
// shutdowns are by hand, because std has no poll_oneoff, and the pinned std no shutdown.
mod guest;

use guest::{Result, Subscription, IO, NOTCONN};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::wasi::io::{AsRawFd, FromRawFd};

fn main() {
    guest::register();
}

#[no_mangle]
extern "C" fn watm_start_v1() -> i32 {
    guest::negated(work())
}

fn work() -> Result<i32> {
    let guest::Descriptors { source, remote, control } = guest::descriptors();
    let source = stream(source)?;
    let remote = stream(remote)?;
    guest::set_nonblocking(control)?;
    // Only for the import: a host must provide sched_yield.
    std::thread::yield_now();

    let mut directions = [Direction::new(&source, &remote), Direction::new(&remote, &source)];
    while directions.iter().any(|direction| !direction.finished) {
        let mut subscriptions = vec![Subscription::readable(control)];
        subscriptions.extend(directions.iter().filter_map(Direction::subscription));
        guest::poll(&subscriptions)?;
        guest::check_control(control)?;
        for direction in &mut directions {
            direction.advance()?;
        }
    }
    Ok(0)
}

/// The host's descriptor as a non-blocking stream. Dropping the stream closes it.
fn stream(fd: i32) -> Result<TcpStream> {
    // SAFETY: the host gave this descriptor to the module, and nothing else here owns it.
    let stream = unsafe { TcpStream::from_raw_fd(fd) };
    stream.set_nonblocking(true).map_err(errno)?;
    Ok(stream)
}

fn errno(error: Error) -> i32 {
    error.raw_os_error().unwrap_or(IO)
}

struct Direction<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    buffer: Vec<u8>,
    /// Bytes that were read and not yet written.
    pending: std::ops::Range<usize>,
    ended: bool,
    finished: bool,
}

impl<'a> Direction<'a> {
    fn new(from: &'a TcpStream, to: &'a TcpStream) -> Self {
        Direction { from, to, buffer: vec![0; 8192], pending: 0..0, ended: false, finished: false }
    }

    /// What this direction waits for.
    fn subscription(&self) -> Option<Subscription> {
        match self.finished {
            true => None,
            false if self.pending.is_empty() => Some(Subscription::readable(self.from.as_raw_fd())),
            false => Some(Subscription::writable(self.to.as_raw_fd())),
        }
    }

    fn advance(&mut self) -> Result<()> {
        loop {
            match self.step() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(errno(error)),
            }
        }
    }

    /// Does one read, write or shutdown. Returns whether the direction has finished.
    fn step(&mut self) -> std::io::Result<bool> {
        if self.finished {
            return Ok(true);
        }
        if !self.pending.is_empty() {
            self.pending.start += self.to.write(&self.buffer[self.pending.clone()])?;
        } else if !self.ended {
            self.pending = 0..self.from.read(&mut self.buffer)?;
            self.ended = self.pending.is_empty();
        } else {
            match guest::shutdown_write(self.to.as_raw_fd()) {
                // NOTCONN: the other side is gone, and there is nobody left to tell.
                Ok(()) | Err(NOTCONN) => self.finished = true,
                Err(errno) => return Err(Error::from_raw_os_error(errno)),
            }
        }
        Ok(self.finished)
    }
}
