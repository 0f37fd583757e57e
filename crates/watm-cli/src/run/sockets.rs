//! The listening sockets of the tunnels. This is the only place that binds them.
//!
//! The command keeps a duplicate of each. So a server can take the place of another without one
//! client being refused: those that come in between wait in the queue of the system.

use watm_wasmer::{ListenAddress, ListenError, ListenSocket};

use crate::terminal::failure::Failure;

/// What listens for an address of the file: one socket, or those that systemd passes on under a name.
pub(super) struct Socket {
    address: ListenAddress,
    listeners: Vec<ListenSocket>,
    /// It was bound by the last start or reload.
    pub(super) is_new: bool,
}

impl Socket {
    fn bind(address: &ListenAddress) -> Result<Self, Failure> {
        Ok(Self {
            address: address.clone(),
            listeners: ListenSocket::open(address)?,
            is_new: true,
        })
    }

    /// Where it listens, as that is shown.
    pub(super) fn shown(&self) -> impl Iterator<Item = String> {
        self.listeners.iter().map(ToString::to_string)
    }

    /// The same socket once more.
    pub(super) fn duplicate(&self) -> Result<Self, Failure> {
        Ok(Self {
            address: self.address.clone(),
            listeners: self.for_server()?,
            is_new: false,
        })
    }

    /// The same socket for a server, which closes its own when it stops.
    pub(super) fn for_server(&self) -> Result<Vec<ListenSocket>, Failure> {
        let duplicates = self.listeners.iter().map(ListenSocket::try_clone);
        let duplicates = duplicates.collect::<Result<_, _>>();
        Ok(duplicates.map_err(ListenError::Host)?)
    }
}

/// The sockets that there are already, of all tunnels.
#[derive(Default)]
pub(super) struct Pool(Vec<(String, Socket)>);

impl Pool {
    /// Adds duplicates of the sockets of a tunnel.
    pub(super) fn add(&mut self, tunnel: &str, sockets: &[Socket]) -> Result<(), Failure> {
        for socket in sockets {
            self.0.push((tunnel.to_owned(), socket.duplicate()?));
        }
        Ok(())
    }

    /// Takes a socket with this address: one of this tunnel, or one of any.
    fn take(&mut self, tunnel: Option<&str>, address: &ListenAddress) -> Option<Socket> {
        let at = self.0.iter().position(|(owner, socket)| {
            socket.address == *address && tunnel.is_none_or(|tunnel| tunnel == owner)
        })?;
        Some(self.0.swap_remove(at).1)
    }
}

/// The sockets for each of the tunnels: those of the pool where it has them, and new ones. All are
/// bound, or none.
pub(super) fn bind_all(
    tunnels: &[(&str, &[ListenAddress])],
    mut pool: Pool,
) -> Result<Vec<Vec<Socket>>, Failure> {
    // Each keeps what is its own before others may take over what is left.
    let own: Vec<Vec<Option<Socket>>> = tunnels
        .iter()
        .map(|(name, addresses)| {
            let addresses = addresses.iter();
            addresses
                .map(|address| pool.take(Some(name), address))
                .collect()
        })
        .collect();
    let tunnels = tunnels.iter().zip(own);
    tunnels
        .map(|((name, addresses), own)| {
            let sockets = addresses.iter().zip(own).map(|(address, own)| {
                match own.or_else(|| pool.take(None, address)) {
                    Some(socket) => Ok(socket),
                    None => Socket::bind(address)
                        .map_err(|failure| failure.within(format!("tunnel `{name}`"))),
                }
            });
            sockets.collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<ListenAddress> {
        let parsed = texts.iter().map(|text| text.parse());
        parsed.collect::<Result<_, _>>().expect("addresses")
    }

    #[test]
    fn sockets_stay_with_their_tunnel_and_move_if_it_is_gone() {
        let any = addresses(&["127.0.0.1:0", "127.0.0.1:0"]);
        let first = bind_all(&[("a", &any), ("b", &any[..1])], Pool::default());
        let first = first.expect("sockets");
        let locals =
            |sockets: &[Socket]| -> Vec<_> { sockets.iter().flat_map(Socket::shown).collect() };
        let (a, b) = (locals(&first[0]), locals(&first[1]));
        let mut pool = Pool::default();
        pool.add("a", &first[0]).expect("duplicates");
        pool.add("b", &first[1]).expect("duplicates");
        // `c` comes first, but `b` keeps its own. One of those of `a` is left.
        let next = bind_all(&[("c", &any[..1]), ("b", &any[..1])], pool).expect("sockets");
        assert_eq!(locals(&next[1]), b);
        assert!(next[0][0].shown().all(|shown| a.contains(&shown)));
        assert!(next.iter().flatten().all(|socket| !socket.is_new));
        let taken = addresses(&[&b[0]]);
        let failure = bind_all(&[("d", &taken)], Pool::default())
            .err()
            .expect("in use");
        assert!(failure.text().contains("tunnel `d`"), "{}", failure.text());
    }
}
