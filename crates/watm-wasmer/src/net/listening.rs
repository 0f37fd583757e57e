//! A socket that listens: of TCP, or a Unix socket; bound here, by the application, or by whoever
//! started the process.
//!
//! It knows nothing of what happens to the connections that it brings.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::ListenError;
use crate::net::address::{Inherited, ListenAddress};
use crate::net::plain;
use crate::net::stream::Stream;

/// The first descriptor that systemd passes on.
const FIRST_PASSED: RawFd = 3;

/// A socket that listens for stream connections, of TCP or a Unix socket.
///
/// ```
/// use watm_wasmer::{ListenAddress, ListenSocket, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// # let directory = std::env::temp_dir().join(format!("watm-listening-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// # let path = directory.join("app.sock");
/// let module = TransportModule::from_file(file)?;
/// let address: ListenAddress = format!("unix:{}", path.display()).parse()?;
/// let sockets = ListenSocket::open(&address)?;
/// assert_eq!(sockets[0].to_string(), address.to_string());
/// let listener = Listener::builder(&module).listen_all(sockets)?;
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ListenSocket {
    socket: Socket,
    local: Local,
}

/// Where a socket listens.
#[derive(Clone, Debug)]
enum Local {
    Tcp(SocketAddr),
    /// As it is shown.
    Other(Box<str>),
}

impl ListenSocket {
    /// Listens on an address, or takes the sockets over that the process was started with. These are
    /// several if systemd passes several on under one name.
    ///
    /// A Unix socket that is left of a process which has ended is replaced. Its file stays when the
    /// socket is closed. Who may connect is up to the directory and the umask.
    ///
    /// An inherited descriptor is duplicated, so that it can be taken over several times.
    ///
    /// # Errors
    ///
    /// [`ListenError::Bind`] if the address cannot be listened on, or if there is no such socket.
    pub fn open(address: &ListenAddress) -> Result<Vec<Self>, ListenError> {
        let failed = |source| ListenError::Bind {
            address: address.to_string(),
            source,
        };
        if let Some(which) = address.inherited() {
            return inherited(which).map_err(failed);
        }
        if let Some(path) = address.unix() {
            return Ok(vec![bind_unix(path).map_err(failed)?]);
        }
        Ok(vec![plain::bind(address.as_str())?.into()])
    }

    /// The address of a socket of TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self.local {
            Local::Tcp(address) => Some(address),
            Local::Other(_) => None,
        }
    }

    /// The same socket once more: both accept from one queue, which ends with the last of them.
    ///
    /// # Errors
    ///
    /// Those of the system, if it has no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            local: self.local.clone(),
        })
    }

    fn new(socket: Socket) -> Self {
        let local = socket.local_addr().ok();
        let local = match local.as_ref().and_then(SockAddr::as_socket) {
            Some(address) => Local::Tcp(address),
            None => Local::Other(shown(local.as_ref()).into()),
        };
        Self { socket, local }
    }

    /// Makes accepting return at once.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Accepts a connection, and says from where if it has an IP address.
    pub(crate) fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        let (socket, client) = self.socket.accept()?;
        Ok((socket.into(), client.as_socket()))
    }
}

/// The address of a Unix socket, as it is written.
fn shown(address: Option<&SockAddr>) -> String {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Some(name) = address.and_then(SockAddr::as_abstract_namespace) {
        return format!("unix:@{}", String::from_utf8_lossy(name));
    }
    match address.and_then(SockAddr::as_pathname) {
        Some(path) => format!("unix:{}", path.display()),
        None => "a socket without an address".to_owned(),
    }
}

/// The address of a Unix socket.
pub(crate) fn unix_address(path: &str) -> io::Result<SockAddr> {
    match path.strip_prefix('@') {
        None => SockAddr::unix(path),
        // How the system writes it.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        Some(name) => SockAddr::unix(format!("\0{name}")),
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        Some(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this system has no abstract Unix sockets",
        )),
    }
}

fn bind_unix(path: &str) -> io::Result<ListenSocket> {
    let address = unix_address(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path, &address)? => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        result => result?,
    }
    socket.listen(plain::BACKLOG)?;
    Ok(ListenSocket::new(socket))
}

/// Whether the file of a Unix socket is there, and nobody listens behind it.
fn is_left_over(path: &str, address: &SockAddr) -> io::Result<bool> {
    if path.starts_with('@') || !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server that is busy makes this wait, and it is there.
    client.set_nonblocking(true)?;
    let refused = client.connect(address);
    Ok(refused.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// The sockets that the process was started with.
fn inherited(which: &Inherited) -> io::Result<Vec<ListenSocket>> {
    let numbers = match which {
        Inherited::Number(number) => vec![*number],
        Inherited::Name(name) => {
            let passed = passed_on(|name| std::env::var(name).ok())?;
            let named = passed.iter().filter(|(_, passed)| **passed == **name);
            named.map(|(number, _)| *number).collect()
        }
    };
    if numbers.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no socket of this name was passed on; the environment variables LISTEN_FDS and \
             LISTEN_FDNAMES say which were",
        ));
    }
    numbers.into_iter().map(taken_over).collect()
}

/// The numbers and names of the descriptors that systemd has passed on to this process.
fn passed_on(variable: impl Fn(&str) -> Option<String>) -> io::Result<Vec<(RawFd, String)>> {
    let missing = |message: &str| io::Error::new(io::ErrorKind::NotFound, message);
    let of_us = variable("LISTEN_PID").and_then(|pid| pid.parse().ok());
    if of_us != Some(std::process::id()) {
        return Err(missing(
            "no sockets were passed on to this process; LISTEN_PID does not name it",
        ));
    }
    let count = variable("LISTEN_FDS").and_then(|count| count.parse::<u16>().ok());
    let count = count.ok_or_else(|| missing("LISTEN_FDS is not the number of sockets"))?;
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    let named = (0..count).map(|i| {
        let name = names.next().unwrap_or("unknown");
        (FIRST_PASSED + RawFd::from(i), name.to_owned())
    });
    Ok(named.collect())
}

/// A duplicate of a descriptor of the process, which has to be a stream socket that listens.
fn taken_over(number: RawFd) -> io::Result<ListenSocket> {
    // SAFETY: the call takes the number as it is, and fails if no such descriptor is open.
    let duplicate = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    if duplicate < 0 {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("descriptor {number} is not open"),
        ));
    }
    // SAFETY: it was just made, and nobody else knows of it.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(duplicate) });
    let listens = socket.r#type().is_ok_and(|kind| kind == Type::STREAM) && is_listening(&socket);
    if !listens {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("descriptor {number} is not a stream socket that listens"),
        ));
    }
    Ok(ListenSocket::new(socket))
}

fn is_listening(socket: &Socket) -> bool {
    #[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux"))]
    return socket.is_listener().unwrap_or(false);
    #[cfg(not(any(target_os = "android", target_os = "freebsd", target_os = "linux")))]
    {
        let _ = socket;
        true
    }
}

impl From<TcpListener> for ListenSocket {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener.into())
    }
}

impl From<UnixListener> for ListenSocket {
    fn from(listener: UnixListener) -> Self {
        Self::new(OwnedFd::from(listener).into())
    }
}

impl fmt::Display for ListenSocket {
    /// Where it listens: `127.0.0.1:80`, `unix:/run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.local {
            Local::Tcp(address) => address.fmt(f),
            Local::Other(text) => f.pad(text),
        }
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for ListenSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn open(address: &str) -> Result<Vec<ListenSocket>, ListenError> {
        ListenSocket::open(&address.parse().expect("an address"))
    }

    fn cause(error: &ListenError) -> String {
        std::error::Error::source(error)
            .expect("a cause")
            .to_string()
    }

    #[test]
    fn a_unix_socket_of_a_process_that_has_ended_is_replaced_and_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let address = format!("unix:{}", path.display());
        let first = open(&address).expect("nobody has it");
        assert_eq!(first[0].to_string(), address);
        let error = open(&address).expect_err("somebody listens there");
        assert!(cause(&error).contains("in use"), "{error:?}");
        drop(first);
        let again = open(&address).expect("nobody listens there any more");
        let mut client = UnixStream::connect(&path).expect("a connection");
        client.write_all(b"x").expect("room");
        let (mut stream, peer) = again[0].accept().expect("the client");
        assert_eq!(peer, None);
        stream.read_exact(&mut [0]).expect("a byte");
        drop(again);
        fs::remove_file(&path).expect("it is left");
        fs::write(&path, "precious").expect("a file");
        open(&address).expect_err("it is no socket");
        assert_eq!(fs::read(&path).expect("it is there"), b"precious");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_abstract_socket_has_no_file() {
        let name = format!("unix:@watm-test-{}", std::process::id());
        let sockets = open(&name).expect("nobody has it");
        assert_eq!(sockets[0].to_string(), name);
        assert!(open(&name).is_err(), "somebody has it");
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let address = unix_address(&name["unix:".len()..]).expect("an address");
        client.connect(&address).expect("a connection");
        sockets[0].accept().expect("the client");
    }

    #[test]
    fn a_descriptor_is_taken_over_if_it_is_a_socket_that_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let number = listener.as_raw_fd();
        for _ in 0..2 {
            let sockets = open(&format!("fd:{number}")).expect("it listens");
            assert_eq!(sockets[0].local_addr(), listener.local_addr().ok());
        }
        let (near, _far) = UnixStream::pair().expect("a pair");
        let error = open(&format!("fd:{}", near.as_raw_fd())).expect_err("it does not listen");
        assert!(cause(&error).contains("not a stream socket"), "{error:?}");
        let error = open("fd:999999").expect_err("there is none");
        assert!(cause(&error).contains("is not open"), "{error:?}");
    }

    #[test]
    fn systemd_says_which_descriptors_it_has_passed_on() {
        let pid = std::process::id().to_string();
        let passed = |pid: &str, fds: &str, names: &str| {
            let variables = [
                ("LISTEN_PID", pid),
                ("LISTEN_FDS", fds),
                ("LISTEN_FDNAMES", names),
            ];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            passed_on(|name| {
                let found = variables.iter().find(|(known, _)| known == name);
                found
                    .map(|(_, value)| value.clone())
                    .filter(|value| !value.is_empty())
            })
        };
        let two = passed(&pid, "3", "web:other:web").expect("they are ours");
        let numbers = |name: &str| -> Vec<_> {
            two.iter()
                .filter(|(_, one)| one == name)
                .map(|(number, _)| *number)
                .collect()
        };
        assert_eq!((numbers("web"), numbers("other")), (vec![3, 5], vec![4]));
        assert_eq!(
            passed(&pid, "1", "").expect("ours")[0],
            (3, "unknown".into())
        );
        for (pid, fds) in [
            ("1", "1"),
            ("", "1"),
            (&*pid, ""),
            (&pid, "many"),
            (&pid, "-1"),
        ] {
            assert!(passed(pid, fds, "web").is_err(), "{pid} {fds}");
        }
    }
}
