//! A target that the client names: an address of SOCKS5 in front of its bytes, as clients of
//! Shadowsocks send it. The host takes it out of what the guest writes, and connects there.

use std::time::Instant;

use watm_abi::{Errno, GuestMemory, IovecArray};

use super::{Plain, Target};
use crate::channel::supervisor;
use crate::error::{DialError, SetupError};
use crate::host::Host;
use crate::host::descriptor::{Abort, Call, Kind};
use crate::net::address::{Address, Client};
use crate::net::connect::Outgoing;
use crate::net::socks::{self, Parsed};

impl Host {
    /// Sets where the application's side leads to.
    pub(in crate::host) fn set_target(&mut self, target: Target) {
        let Target { address, outgoing } = target;
        let plain = if address.is_some() {
            Plain::To(Target { address, outgoing })
        } else {
            self.link.set_awaits_target(true);
            Plain::Named(outgoing, Vec::new())
        };
        self.plain_side.set(plain);
    }

    /// Called when the transport is set up: from now on, the client has a limited time to name its
    /// target.
    pub(in crate::host) fn begin_naming(&self) {
        if let Some(Plain::Named(..)) = &self.plain_side.plain {
            let limits = self.plain_side.limits;
            let when = Instant::now() + limits.naming;
            supervisor::end_without_target_at(when, &self.link, limits.grace);
        }
    }

    /// Whether this is the descriptor of a plain connection whose target has yet to be named.
    pub(in crate::host) fn is_unnamed(&self, fd: u32) -> bool {
        let open = self.descriptors.get(fd);
        open.is_ok_and(|open| matches!(open.kind, Kind::Unconnected))
            && matches!(self.plain_side.plain, Some(Plain::Named(..)))
    }

    /// Takes what belongs to the name of the target out of a write, and connects once that is
    /// complete. Returns how many bytes it has taken.
    ///
    /// # Errors
    ///
    /// If it is no address, or if there is no connection. The client is then reset.
    pub(in crate::host) fn take_name<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        iovecs: &IovecArray,
    ) -> Call<u32> {
        let Some(Plain::Named(outgoing, bytes)) = &mut self.plain_side.plain else {
            return Ok(0);
        };
        let had = bytes.len();
        for span in iovecs.iter() {
            let room = socks::LONGEST - bytes.len();
            let len = span.len.min(u32::try_from(room).unwrap_or(0));
            bytes.extend_from_slice(memory.slice(span.buf, len)?);
        }
        let taken = bytes.len() - had;
        let (address, len) = match socks::parse(bytes) {
            Parsed::Incomplete => return Ok(u32::try_from(taken).unwrap_or(u32::MAX)),
            Parsed::Complete(address, len) => (address, len),
            Parsed::Invalid(why) => {
                let client = Client(self.connections.client.peer);
                log::info!("client {client}: it does not begin with an address: {why}");
                return Err(self.without_target(Errno::Inval).into());
            }
        };
        let outgoing = outgoing.clone();
        self.connect_named(outgoing, &address)?;
        // What had come before was incomplete, so that the end of the address is in this write.
        Ok(u32::try_from(len - had).unwrap_or(0))
    }

    fn connect_named(&mut self, outgoing: Outgoing, address: &Address) -> Call<()> {
        let client = Client(self.connections.client.peer);
        match self.connect_plain(outgoing, address, true) {
            Ok(()) => {
                self.link.set_awaits_target(false);
                log::debug!("client {client}: forwarded to {address}");
                Ok(())
            }
            Err(Abort::Errno(errno)) => {
                match self.take_failure() {
                    Some(SetupError::Denied { .. }) => log::info!(
                        "client {client}: it asks for {address}, which the policy does not allow"
                    ),
                    Some(failure) => {
                        let failure = DialError::from(failure);
                        log::info!("client {client}: {}", std::io::Error::from(failure));
                    }
                    None => log::info!("client {client}: no connection to {address}"),
                }
                Err(self.without_target(errno).into())
            }
            Err(abort) => Err(abort),
        }
    }

    /// Ends a connection that has nowhere to go. Its client waits for an answer, so that the guest is
    /// told at once, whatever it makes of the error.
    fn without_target(&mut self, errno: Errno) -> Errno {
        self.link.lose_plain(errno);
        self.plain_side.is_over = true;
        supervisor::cut(&self.link, Instant::now() + self.plain_side.limits.grace);
        errno
    }
}
