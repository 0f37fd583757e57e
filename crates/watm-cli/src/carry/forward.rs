//! Forwards the transports of a listener to a plain TCP server, and the server's answers back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watm_wasmer::plain::Connector;
use watm_wasmer::{AcceptError, Conn, Listener};

use super::clients::{Busy, Clients, Place};
use super::plain;
use super::serve::{Serving, report};
use super::signals::Signals;
use crate::terminal::failure::Failure;

/// The settings that all connections of a forwarding listener share.
pub(crate) struct Forward {
    /// The plain server, `HOST:PORT`.
    pub(crate) target: String,
    pub(crate) connector: Connector,
    pub(crate) connect_timeout: Duration,
    /// See [`super::copy::Pair::carry`].
    pub(crate) patience: Duration,
}

/// A running forwarding listener.
pub(crate) struct Forwarding {
    listener: Arc<Listener>,
    serving: Serving,
}

impl Forward {
    /// Starts accepting.
    pub(crate) fn start(self, listener: Listener, clients: Clients) -> Result<Forwarding, Failure> {
        let listener = Arc::new(listener);
        let accepting = Arc::clone(&listener);
        let accept = move || match accepting.accept() {
            Ok(conn) => Ok(Some(conn)),
            Err(AcceptError::Closed) => Ok(None),
            Err(error) => Err(error.into()),
        };
        let serving = Serving::start(clients, accept, move |place, busy, conn| {
            self.serve(place, busy, conn);
        })?;
        Ok(Forwarding { listener, serving })
    }

    fn serve(&self, place: Place, busy: Busy, conn: Conn) {
        let client = plain::client_name(conn.peer_addr());
        let target = &self.target;
        let connected = self
            .connector
            .connect(target, self.connect_timeout)
            .and_then(|stream| plain::prepare(&stream).map(|()| stream));
        match connected {
            Ok(stream) => {
                log::debug!("{client}: forwarded to {target}");
                let patience = self.patience;
                place.carry(busy, conn, stream, patience, |carried| {
                    report(&client, carried);
                });
            }
            Err(error) => {
                log::warn!("{client} was dropped: no connection to {target}: {error}");
                // An end of stream could be mistaken for an empty answer.
                conn.abort();
                drop(busy);
                place.free_after(&conn);
            }
        }
    }
}

impl Forwarding {
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// See [`Serving::until_stopped`].
    pub(crate) fn until_stopped(&self, signals: &Signals) -> Result<(), Failure> {
        self.serving.until_stopped(signals)
    }

    /// Waits up to `limit` until no client is being connected or carried.
    pub(crate) fn wait_idle(&self, limit: Duration) {
        self.serving.clients().wait_idle(limit);
    }

    /// Stops accepting. All connections, including those being set up, get the grace period to end
    /// by themselves. The rest are then cut off.
    pub(crate) fn stop(self, close_grace: Duration) {
        let deadline = Instant::now() + close_grace;
        self.listener.drain(close_grace);
        self.listener.close();
        let left = deadline.saturating_duration_since(Instant::now());
        self.serving.stop(left, close_grace);
    }
}
