//! Serves many clients: accepts them, waits for the signal to stop, and stops within the grace
//! period.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use watm_wasmer::Conn;

use super::clients::{Busy, Clients, Place};
use super::copy::Carried;
use super::plain;
use super::signals::Signals;
use crate::terminal::escape::printable;
use crate::terminal::failure::{Failure, chain};

/// The time beyond its grace period that an interrupted transport may take to end.
const MARGIN: Duration = Duration::from_millis(600);
/// The stack of a client's thread, in bytes. It resolves names and dials, unlike a copying thread.
const CLIENT_STACK: usize = 256 * 1024;

/// A thread that accepts clients, and the clients that it has accepted.
pub(crate) struct Serving {
    clients: Clients,
    thread: JoinHandle<()>,
    failures: Receiver<Failure>,
}

impl Serving {
    /// Accepts clients whenever there is a free place, until `accept` returns `None`. Runs `serve`
    /// for each client on its own thread.
    pub(crate) fn start<C: Client>(
        clients: Clients,
        mut accept: impl FnMut() -> Result<Option<C>, Failure> + Send + 'static,
        serve: impl Fn(Place, Busy, C) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let (failed, failures) = failures();
        let admitting = clients.clone();
        let serve = Arc::new(serve);
        let thread = thread::Builder::new()
            .name("watm-accept".into())
            .spawn(move || {
                while let Some(place) = admitting.admit() {
                    match accept() {
                        Ok(Some(client)) => {
                            let (serve, busy) = (Arc::clone(&serve), place.busy());
                            let serve = move |client| serve(place, busy, client);
                            spawn_client(CLIENT_STACK, client, serve);
                        }
                        Ok(None) => return,
                        Err(failure) => {
                            let _ = failed.try_send(failure);
                            return;
                        }
                    }
                }
            })
            .map_err(|error| Failure::because("cannot start a thread", error))?;
        Ok(Self {
            clients,
            thread,
            failures,
        })
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Waits for the first signal, or for accepting to fail.
    pub(crate) fn until_stopped(&self, signals: &Signals) -> Result<(), Failure> {
        until_stopped(signals, &self.failures)
    }

    /// Gives all clients `patience` to end by themselves, then cuts off the rest, which takes at
    /// most the grace period of their transports. The caller must have stopped accepting before.
    pub(crate) fn stop(self, patience: Duration, close_grace: Duration) {
        self.clients.admit_nobody();
        if self.clients.wait_idle(patience) > 0 {
            self.clients.cut();
            let left = self.clients.wait_cut(close_grace + MARGIN);
            if left > 0 {
                log::warn!("{left} connections did not end in time");
            }
        }
        if self.thread.join().is_err() {
            log::error!("the accepting thread panicked");
        }
    }
}

/// The channel on which an accepting thread reports that it cannot continue.
pub(crate) fn failures() -> (Sender<Failure>, Receiver<Failure>) {
    bounded(1)
}

/// Waits for the first signal, or for a failure.
pub(crate) fn until_stopped(
    signals: &Signals,
    failures: &Receiver<Failure>,
) -> Result<(), Failure> {
    select! {
        recv(signals.first) -> name => {
            log::info!("{}: ending", name.unwrap_or("no more signals"));
            Ok(())
        }
        recv(failures) -> failure => Err(failure.unwrap_or_else(|_| Failure::silent())),
    }
}

/// A connection that was accepted.
pub(crate) trait Client: Send + 'static {
    /// Gives the connection up. The client sees a reset: an end of stream could be mistaken for an
    /// empty answer.
    fn refuse(self);
}

impl Client for TcpStream {
    fn refuse(self) {
        plain::reset_on_drop(&self);
    }
}

impl Client for Conn {
    fn refuse(self) {
        self.abort();
    }
}

/// A client that is refused when this is dropped, unless it was taken out.
struct Waiting<C: Client>(Option<C>);

impl<C: Client> Drop for Waiting<C> {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            client.refuse();
        }
    }
}

/// Serves one client on its own thread.
fn spawn_client<C: Client>(stack_size: usize, client: C, serve: impl FnOnce(C) + Send + 'static) {
    let mut waiting = Waiting(Some(client));
    let spawned = thread::Builder::new()
        .name("watm-client".into())
        .stack_size(stack_size)
        .spawn(move || {
            if let Some(client) = waiting.0.take() {
                serve(client);
            }
        });
    if let Err(error) = spawned {
        log::error!(
            "a client was dropped: cannot start a thread: {}",
            chain(&error)
        );
    }
}

/// Logs how the connection of a client ended.
pub(crate) fn report(client: &str, carried: Option<io::Result<Carried>>) {
    match carried {
        None => log::info!("{client} was dropped: the command is ending"),
        Some(Err(error)) => log::error!("{client} was dropped: cannot start a thread: {error}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Told(Sender<&'static str>);

    impl Client for Told {
        fn refuse(self) {
            let _ = self.0.send("refused");
        }
    }

    #[test]
    fn a_client_without_a_thread_is_refused() {
        // More than the address space has.
        for (stack_size, expected) in [(1 << 50, "refused"), (CLIENT_STACK, "served")] {
            let (told, heard) = bounded(1);
            spawn_client(stack_size, Told(told), |client| {
                let _ = client.0.send("served");
            });
            let heard = heard.recv_timeout(Duration::from_secs(60));
            assert_eq!(heard, Ok(expected));
        }
    }
}
