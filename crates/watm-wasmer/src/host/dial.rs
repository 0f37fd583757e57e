//! The connections that a guest asks for. It dials them, or takes the accepted one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use watm_abi::{Errno, Excerpt, GuestMemory, gather_string};

use crate::channel::link::Side;
use crate::error::SetupError;
use crate::host::Host;
use crate::host::descriptor::{Call, Descriptor, Kind};
use crate::net::address::{Address, Network};
use crate::net::connect::{self, Outgoing, is_denied, is_unresolved};
use crate::net::socket::NetStream;
use crate::net::stream::Stream;

/// Where the connections of a guest come from.
pub(super) struct Connections {
    outgoing: Outgoing,
    pub(super) keepalive: Option<Duration>,
    /// The client of the connection, if it has an address.
    pub(super) client: connect::Ends,
    /// The address that `water_dial_fixed` dials.
    pub(super) fixed: Option<(Network, Address)>,
    /// The connection that `water_accept` returns.
    pub(super) incoming: Option<Stream>,
    /// The reason why the last connection could not be made, unless one has been made since.
    pub(super) failure: Option<SetupError>,
}

impl Connections {
    pub(super) fn new(outgoing: Outgoing, keepalive: Option<Duration>) -> Self {
        Self {
            outgoing,
            keepalive,
            client: connect::Ends::default(),
            fixed: None,
            incoming: None,
            failure: None,
        }
    }

    pub(super) fn set_client(&mut self, client: connect::Ends) {
        self.client = client;
        self.outgoing.client = client;
    }
}

impl Host {
    /// `water_dial`: the module chose the address.
    pub(crate) fn water_dial<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        network: (u32, u32),
        address: (u32, u32),
    ) -> Call<u32> {
        self.begin()?;
        let network = gather_string(memory, network.0, network.1)?;
        let address = gather_string(memory, address.0, address.1)?;
        let network: Network = network.parse().map_err(|error| {
            log::debug!("water_dial: {error}");
            Errno::Protonosupport
        })?;
        match Address::parse_ip(&address) {
            Ok(address) => self.dial(network, &address, true),
            Err(error) => Err(self.no_connection(&address, error).into()),
        }
    }

    /// `water_dial_fixed`: the embedder chose the address.
    pub(crate) fn water_dial_fixed(&mut self) -> Call<u32> {
        self.begin()?;
        let (network, address) = self.connections.fixed.clone().ok_or(Errno::Nodev)?;
        self.dial(network, &address, false)
    }

    /// `water_accept`: the connection that the embedder accepted.
    pub(crate) fn water_accept(&mut self) -> Call<u32> {
        self.begin()?;
        if self.connections.incoming.is_none() {
            return Err(Errno::Nodev.into());
        }
        // Without a free number, the connection would be closed.
        if self.descriptors.is_full() {
            return Err(Errno::Mfile.into());
        }
        let stream = self.connections.incoming.take().ok_or(Errno::Nodev)?;
        let fd = self.open_net(stream, Side::Client)?;
        if let Some(guard) = &self.guard {
            guard.set_accepted();
        }
        Ok(fd)
    }

    fn dial(&mut self, network: Network, address: &Address, chosen_by_module: bool) -> Call<u32> {
        if self.descriptors.is_full() {
            return Err(Errno::Mfile.into());
        }
        let outgoing = self.connections.outgoing.clone();
        let stream = self.connect_to(&outgoing, network, address, chosen_by_module)?;
        self.open_net(stream, Side::Network)
    }

    /// Makes an outgoing connection. If there is none, the reason is kept.
    pub(super) fn connect_to(
        &mut self,
        outgoing: &Outgoing,
        network: Network,
        address: &Address,
        chosen_by_module: bool,
    ) -> Call<Stream> {
        self.close_for_good();
        self.flush();
        let result = outgoing.connect(
            network,
            address,
            chosen_by_module,
            &self.link,
            &mut self.reactor,
        );
        if let Ok(stream) = &result {
            // This applies whoever made the connection, because it may be given up right here.
            stream.reset_on_drop();
        }
        self.check_stop()?;
        match result {
            Ok(stream) => {
                self.connections.failure = None;
                if let Some(teller) = &self.teller {
                    teller.connected(stream.peer_addr());
                }
                Ok(stream)
            }
            Err(error) => Err(self.no_connection(address.as_str(), error).into()),
        }
    }

    /// Keeps the reason why a connection could not be made, and returns what the guest receives.
    fn no_connection(&mut self, address: &str, error: io::Error) -> Errno {
        log::debug!("no connection to {}: {error}", Excerpt(address));
        let address = address.to_owned();
        let (failure, errno) = if is_denied(&error) {
            (SetupError::Denied { address }, Errno::Notcapable)
        } else if is_unresolved(&error) {
            let (errno, source) = (Errno::from_io(&error), error);
            (SetupError::Resolve { address, source }, errno)
        } else {
            let (errno, source) = (Errno::from_io(&error), error);
            (SetupError::Connect { address, source }, errno)
        };
        self.connections.failure = Some(failure);
        errno
    }

    pub(super) fn open_net(&mut self, stream: Stream, side: Side) -> Call<u32> {
        let link = Arc::clone(&self.link);
        let net = NetStream::new(
            stream,
            side,
            self.connections.keepalive,
            link,
            &mut self.reactor,
        )
        .map_err(|error| Errno::from_io(&error))?;
        if let Some(guard) = &self.guard {
            guard.add(net.outbound());
        }
        let fd = self
            .descriptors
            .insert(Descriptor::new(Kind::Net(Box::new(net))))?;
        // A connection that broke earlier was given up for this one.
        self.learnt.forget_loss();
        self.find_pair();
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use watm_abi::RiFlags;

    use crate::channel::link::Link;
    use crate::channel::pipe::pipe;
    use crate::host::tests::{fixture, iovecs, memory, setup};
    use crate::host::{Ends, Internal};
    use crate::net::reactor::Reactor;

    #[test]
    fn an_accepted_connection_waits_until_there_is_a_number_for_it() {
        let link = Arc::new(Link::default());
        let reactor = Reactor::new(&link).expect("a reactor");
        let mut setup = setup();
        setup.descriptor_limit = 1;
        let mut host = Host::new(Arc::clone(&link), reactor, setup);
        let (ours, mut peer) = UnixStream::pair().expect("a pair");
        let (_app, guest) = pipe(Arc::clone(&link));
        host.connect(Ends {
            fixed: None,
            incoming: Some(ours.into()),
            internal: Internal::Pipe(guest),
        });
        let internal = host.open_internal().expect("a descriptor");
        for _ in 0..2 {
            assert_eq!(host.water_accept(), Err(Errno::Mfile.into()));
        }
        host.close(internal).expect("it is open");
        let net = host.water_accept().expect("it was not closed");
        peer.write_all(b"abc").expect("it is open");
        let mut memory = memory(3);
        let array = iovecs(&memory);
        let read = host.read(&mut memory[..], net, &array, RiFlags::default());
        assert_eq!(read, Ok(3));
    }

    #[test]
    fn descriptors_are_limited_and_get_the_lowest_free_numbers() {
        let mut f = fixture();
        assert_eq!([f.internal, f.control, f.net], [3, 4, 5]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address").to_string();
        let address = address.parse().expect("it is one");
        f.host.connections.fixed = Some((Network::Tcp, address));
        assert!(f.host.water_dial_fixed().is_ok());
        assert_eq!(f.host.water_dial_fixed(), Err(Errno::Mfile.into()));
        assert_eq!(
            f.host.water_accept(),
            Err(Errno::Nodev.into()),
            "there was one"
        );
    }

    #[test]
    fn a_module_dials_only_where_the_policy_lets_it() {
        let mut f = fixture();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address").to_string();
        let mut memory = vec![0; 1024];
        for (i, text) in ["tcp", &address].into_iter().enumerate() {
            let at = 128 + 128 * i as u32;
            memory.write_u32(8 * i as u32, at).expect("in memory");
            memory
                .write_u32(8 * i as u32 + 4, text.len() as u32)
                .expect("in memory");
            memory.write_bytes(at, text.as_bytes()).expect("in memory");
        }
        let dial = |host: &mut Host| host.water_dial(&memory[..], (0, 1), (8, 1));
        assert_eq!(dial(&mut f.host), Err(Errno::Notcapable.into()));
        assert!(matches!(
            f.host.take_failure(),
            Some(SetupError::Denied { .. })
        ));
        f.host.connections.outgoing.policy = Arc::new(
            crate::AddressPolicy::deny_all().allow("127.0.0.1".parse().expect("an entry")),
        );
        assert!(dial(&mut f.host).is_ok());
        assert_eq!(
            f.host.water_dial(&memory[..], (0, 1), (900, 2)),
            Err(Errno::Inval.into())
        );
        drop(TcpStream::connect(
            listener.local_addr().expect("an address"),
        ));
    }
}
