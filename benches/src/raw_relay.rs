//! A relay without a module, as a baseline: raw TCP, with one thread per direction.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Size of one read, in bytes.
const PIECE: usize = 64 * 1024;

/// Starts a relay to `remote` on loopback, for the rest of the process.
///
/// # Errors
///
/// Fails if no socket can be bound.
pub fn raw_relay(remote: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A refused client reads the end of the stream.
            let _ = wrap(client, remote);
        }
    });
    Ok(address)
}

fn wrap(client: TcpStream, remote: SocketAddr) -> io::Result<()> {
    let remote = TcpStream::connect(remote)?;
    client.set_nodelay(true)?;
    remote.set_nodelay(true)?;
    let back = (remote.try_clone()?, client.try_clone()?);
    thread::spawn(move || pump(client, remote));
    thread::spawn(move || pump(back.0, back.1));
    Ok(())
}

/// Not `std::io::copy`, which leaves the bytes in the kernel: a module has to see them.
fn pump(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece)? {
            0 => return to.shutdown(Shutdown::Write),
            len => to.write_all(&piece[..len])?,
        }
    }
}
