//! Making connections: networks and addresses, the dial hook, and connecting without blocking
//! past a deadline or a stop.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use watm_abi::Excerpt;

use crate::link::Link;
use crate::policy::AddressPolicy;
use crate::reactor::Reactor;
use crate::stream::{self, Stream};

/// The network of an address, as `water_dial` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Network {
    /// `tcp`: over IPv4 or IPv6.
    #[default]
    Tcp,
    /// `tcp4`: over IPv4 alone.
    Tcp4,
    /// `tcp6`: over IPv6 alone.
    Tcp6,
}

impl Network {
    pub(crate) fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Tcp => true,
            Self::Tcp4 => ip.is_ipv4(),
            Self::Tcp6 => ip.is_ipv6(),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tcp4 => "tcp4",
            Self::Tcp6 => "tcp6",
        })
    }
}

/// A network that the runtime does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNetwork(String);

impl fmt::Display for UnknownNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the network {:?} is not known; expected tcp, tcp4 or tcp6",
            self.0
        )
    }
}

impl std::error::Error for UnknownNetwork {}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "tcp4" => Ok(Self::Tcp4),
            "tcp6" => Ok(Self::Tcp6),
            _ => Err(UnknownNetwork(text.chars().take(32).collect())),
        }
    }
}

/// Replaces or watches how connections are made.
///
/// Each outgoing connection of a transport goes through the hook, whether the application or the
/// module chose the address; what the module chose and no entry of the policy could allow never
/// comes here. A hook that connects by itself answers for the addresses behind a name. It runs on the connection's own worker thread and may block there;
/// the handshake timeout is kept all the same. A panic in it fails that one connection. That thread
/// blocks the signals that are the application's; a process that is started there inherits this.
pub trait DialHook: Send + Sync {
    /// Makes the connection. The default connects to the address asked for; an implementation
    /// may connect elsewhere ([`DialAttempt::connect_to`]), through something else, or refuse.
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        attempt.connect()
    }

    /// Sees each socket before it connects to `remote`: to bind it to an interface or an address,
    /// to mark or protect it. An error fails this address; the next one is tried.
    fn prepare(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
        let _ = (socket, remote);
        Ok(())
    }
}

/// The hook of those who set none.
pub(crate) struct PlainDial;

impl DialHook for PlainDial {}

/// One outgoing connection about to be made, as a [`DialHook`] sees it.
pub struct DialAttempt<'a> {
    network: Network,
    address: &'a str,
    /// The policy that an address chosen by the module passes; none for the application's.
    policy: Option<&'a AddressPolicy>,
    hook: &'a dyn DialHook,
    deadline: Instant,
    link: &'a Link,
    reactor: RefCell<&'a mut Reactor>,
}

impl fmt::Debug for DialAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialAttempt")
            .field("network", &self.network)
            .field("address", &self.address)
            .field("chosen_by_module", &self.is_chosen_by_module())
            .finish_non_exhaustive()
    }
}

impl DialAttempt<'_> {
    /// The network asked for.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The address asked for, `host:port` or `[v6]:port`.
    pub fn address(&self) -> &str {
        self.address
    }

    /// Whether the module chose the address (`water_dial`), not the application.
    pub fn is_chosen_by_module(&self) -> bool {
        self.policy.is_some()
    }

    /// When the connect timeout ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Resolves and connects to the address asked for. If the module chose it, each address it
    /// resolves to is checked against the policy.
    pub fn connect(&self) -> io::Result<Stream> {
        self.resolve_and_connect(self.network, self.address, self.policy)
    }

    /// Resolves and connects to another address, which is the hook's own choice: no policy is
    /// asked.
    pub fn connect_to(&self, network: Network, address: &str) -> io::Result<Stream> {
        self.resolve_and_connect(network, address, None)
    }

    fn resolve_and_connect(
        &self,
        network: Network,
        address: &str,
        policy: Option<&AddressPolicy>,
    ) -> io::Result<Stream> {
        let (host, port) = split_address(address)?;
        let found: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        let mut candidates: Vec<SocketAddr> = found
            .into_iter()
            .filter(|address| network.admits(address.ip()))
            .collect();
        if candidates.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("{} has no address for the network {network}", Excerpt(host)),
            ));
        }
        if let Some(policy) = policy {
            candidates.retain(|address| policy.permits(host, *address));
            if candidates.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    PolicyDenies,
                ));
            }
        }
        let mut last = None;
        for (tried, candidate) in candidates.iter().enumerate() {
            // An address that never answers must not use up the time of those behind it.
            let left = self.deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(candidates.len() - tried).unwrap_or(1);
            match self.connect_one(*candidate, Instant::now() + share) {
                Ok(stream) => return Ok(stream),
                Err(error) if self.link.is_stopping() => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }

    fn connect_one(&self, address: SocketAddr, deadline: Instant) -> io::Result<Stream> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        self.hook.prepare(&socket, address)?;
        // It may be connected before anybody here knows of it, and given up then.
        stream::reset_on_drop(&socket);
        match socket.connect(&SockAddr::from(address)) {
            Ok(()) => return Ok(socket.into()),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let mut reactor = self.reactor.borrow_mut();
        let fd = socket.as_raw_fd();
        let token = reactor.watch(fd)?;
        let result = wait_connected(&socket, token, &mut reactor, self.link, deadline);
        reactor.forget(fd);
        result.map(|()| socket.into())
    }
}

/// Waits until a connect under way has succeeded or failed.
fn wait_connected(
    socket: &Socket,
    token: usize,
    reactor: &mut Reactor,
    link: &Link,
    deadline: Instant,
) -> io::Result<()> {
    loop {
        link.announce(0);
        if link.is_stopping() {
            link.withdraw();
            return Err(io::Error::new(
                io::ErrorKind::Interrupted,
                "the dial was given up",
            ));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            link.withdraw();
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer within the connect timeout",
            ));
        }
        let decided = reactor.wait_for(token, left);
        link.withdraw();
        if decided? {
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            match socket.peer_addr() {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Marks the error of an address that the policy does not allow.
#[derive(Debug)]
struct PolicyDenies;

impl fmt::Display for PolicyDenies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address policy does not allow it")
    }
}

impl std::error::Error for PolicyDenies {}

/// Whether an error says that the policy does not allow the address.
pub(crate) fn is_denied(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<PolicyDenies>())
}

/// Splits `host:port` or `[v6]:port`.
pub(crate) fn split_address(address: &str) -> io::Result<(&str, u16)> {
    let invalid = |problem: &str| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "`{}` is not an address: {problem}; expected host:port or [v6]:port",
                Excerpt(address)
            ),
        )
    };
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest
            .split_once("]:")
            .ok_or_else(|| invalid("the port is missing"))?,
        None => address
            .rsplit_once(':')
            .ok_or_else(|| invalid("the port is missing"))?,
    };
    if host.is_empty() {
        return Err(invalid("the host is missing"));
    }
    if host.contains(':') && !address.starts_with('[') {
        return Err(invalid("an IPv6 address with a port stands in brackets"));
    }
    let port = port
        .parse()
        .map_err(|_| invalid("the port is not a number up to 65535"))?;
    Ok((host, port))
}

/// How a worker makes its outgoing connections.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) hook: Arc<dyn DialHook>,
    pub(crate) policy: Arc<AddressPolicy>,
    pub(crate) timeout: Duration,
}

impl Outgoing {
    /// Makes one connection. A panic in the hook is an error like others.
    pub(crate) fn connect(
        &self,
        network: Network,
        address: &str,
        chosen_by_module: bool,
        link: &Link,
        reactor: &mut Reactor,
    ) -> io::Result<Stream> {
        if chosen_by_module {
            let (host, port) = split_address(address)?;
            if !self.policy.could_permit(network, host, port) {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    PolicyDenies,
                ));
            }
        }
        let attempt = DialAttempt {
            network,
            address,
            policy: chosen_by_module.then_some(&*self.policy),
            hook: &*self.hook,
            deadline: Instant::now() + self.timeout,
            link,
            reactor: RefCell::new(reactor),
        };
        let call = std::panic::AssertUnwindSafe(|| self.hook.dial(&attempt));
        std::panic::catch_unwind(call)
            .unwrap_or_else(|_| Err(io::Error::other("the dial hook panicked")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_at_the_port() {
        assert_eq!(
            split_address("example.com:80").expect("an address"),
            ("example.com", 80)
        );
        assert_eq!(
            split_address("[::1]:443").expect("an address"),
            ("::1", 443)
        );
        for bad in [
            "", "host", "host:", ":80", "::1:80", "[::1]", "[::1]80", "h:99999", "[]:1",
        ] {
            let error = split_address(bad).expect_err(bad);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn networks_are_known_by_name() {
        assert_eq!("tcp4".parse(), Ok(Network::Tcp4));
        assert!("udp".parse::<Network>().is_err());
    }
}
