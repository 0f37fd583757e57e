//! Forwarding: what comes out of the transports of a listener goes to a plain TCP server, and its
//! answers go back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use watm_wasmer::plain::Connector;
use watm_wasmer::{AcceptError, Conn, Listener};

use super::clients::{Busy, Clients, Place};
use super::copy::Carried;
use super::plain;
use super::serve;
use crate::terminal::failure::{Failure, chain, printable};

/// What all connections of a forwarding listener share.
#[derive(Clone)]
pub(crate) struct Forward {
    /// The plain server, `HOST:PORT`.
    pub(crate) target: Arc<str>,
    pub(crate) connector: Connector,
    pub(crate) connect_timeout: Duration,
    /// See [`super::copy::Pair::carry`].
    pub(crate) patience: Duration,
    pub(crate) clients: Clients,
}

/// A forwarding listener at work.
pub(crate) struct Forwarding {
    listener: Arc<Listener>,
    thread: JoinHandle<()>,
}

impl Forward {
    /// Starts accepting. If the listener fails, `failures` is told.
    pub(crate) fn start(
        self,
        listener: Listener,
        failures: Sender<Failure>,
    ) -> Result<Forwarding, Failure> {
        let listener = Arc::new(listener);
        let accepting = Arc::clone(&listener);
        let thread = thread::Builder::new()
            .name("watm-forward".into())
            .spawn(move || {
                while let Some(place) = self.clients.admit() {
                    match accepting.accept() {
                        Ok(conn) => {
                            let (forward, busy) = (self.clone(), place.busy());
                            serve::spawn_client(move || forward.serve(place, busy, conn));
                        }
                        Err(AcceptError::Closed) => return,
                        Err(error) => {
                            let _ = failures.try_send(error.into());
                            return;
                        }
                    }
                }
            })
            .map_err(|error| Failure::because("cannot start a thread", error))?;
        Ok(Forwarding { listener, thread })
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
                // Not an end of stream, which could be taken for an empty answer.
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

    /// Stops accepting, gives all connections the grace period to come to their own end, those being
    /// set up included, and then cuts off those that are left.
    pub(crate) fn stop(self, clients: &Clients, close_grace: Duration) {
        let deadline = Instant::now() + close_grace;
        self.listener.drain(close_grace);
        self.listener.close();
        let left = deadline.saturating_duration_since(Instant::now());
        serve::stop(clients, left, close_grace);
        if self.thread.join().is_err() {
            log::error!("the accepting thread panicked");
        }
    }
}

/// Logs how the connection of a client ended.
pub(crate) fn report(client: &str, carried: Option<std::io::Result<Carried>>) {
    match carried {
        None => log::info!("{client} was dropped: the command is ending"),
        Some(Err(error)) => log::error!("{client} was dropped: no thread for it: {error}"),
        Some(Ok(carried)) => {
            let Carried { up, down, .. } = carried;
            let bytes = format!("{up} bytes to the transport, {down} from it");
            if carried.cut {
                log::info!("{client} was cut off: {bytes}");
            } else if let Err(error) = &carried.transport {
                log::warn!("{client}: {} ({bytes})", chain(error));
            } else if let Some(error) = &carried.plain {
                let error = printable(&error.to_string());
                log::info!("{client}: the plain connection broke: {error} ({bytes})");
            } else {
                log::info!("{client} has ended: {bytes}");
            }
        }
    }
}
