// The worker of the TinyGo library: waits only for reading, reads each side until EAGAIN, writes by
// spinning, ends at the first end of stream. watm_start_v1 calls it with a function for each piece.
use crate::guest::{self, Result, Subscription, AGAIN, IO};

pub fn run(mut change: impl FnMut(&mut [u8])) -> Result<i32> {
    let guest::Descriptors { source, remote, control } = guest::descriptors();
    for fd in [control, source, remote] {
        guest::set_nonblocking(fd)?;
    }
    let subscriptions = [control, source, remote].map(Subscription::readable);
    loop {
        guest::poll(&subscriptions)?;
        guest::check_control(control)?;
        if pump(source, remote, &mut change)? || pump(remote, source, &mut change)? {
            return Ok(0);
        }
    }
}

/// Returns whether the stream has ended.
fn pump(from: i32, to: i32, change: &mut impl FnMut(&mut [u8])) -> Result<bool> {
    let mut buffer = [0; 1024];
    loop {
        let piece = match guest::read(from, &mut buffer) {
            Ok(0) => return Ok(true),
            Ok(length) => &mut buffer[..length],
            Err(AGAIN) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        change(piece);
        write_spinning(to, piece)?;
    }
}

fn write_spinning(fd: i32, piece: &[u8]) -> Result<()> {
    loop {
        match guest::write(fd, piece) {
            Ok(length) if length == piece.len() => return Ok(()),
            Ok(_) => return Err(IO),
            Err(AGAIN) => continue,
            Err(errno) => return Err(errno),
        }
    }
}
