//! The other end of the network. It sends a few bytes to every client, and takes whatever comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// What every client gets.
pub(crate) const GREETING: &[u8] = b"a few bytes from the network";

/// The address of the process's only peer.
pub(crate) fn address() -> String {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    ADDRESS
        .get_or_init(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("an address");
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let served = thread::Builder::new()
                        .stack_size(64 * 1024)
                        .spawn(move || serve(&stream));
                    drop(served);
                }
            });
            address
        })
        .to_string()
}

fn serve(mut stream: &TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    if stream.write_all(GREETING).is_err() {
        return;
    }
    let mut buf = [0; 4096];
    while let Ok(1..) = stream.read(&mut buf) {}
}
