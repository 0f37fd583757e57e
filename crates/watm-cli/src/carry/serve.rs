//! What the commands that serve many clients have in common: accepting them, waiting for the signal
//! to end, and ending within the grace period.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::clients::{Busy, Clients, Place};
use super::copy::Carried;
use super::signals::Signals;
use crate::terminal::escape::printable;
use crate::terminal::failure::{Failure, chain};

/// What a transport that has to be interrupted may take beyond its grace period.
const MARGIN: Duration = Duration::from_millis(600);
/// Stack in bytes: a client's thread also resolves names and dials, which copying does not.
const CLIENT_STACK: usize = 256 * 1024;

/// A thread that accepts clients, and those that it has accepted.
pub(crate) struct Serving {
    clients: Clients,
    thread: JoinHandle<()>,
    failures: Receiver<Failure>,
}

impl Serving {
    /// Accepts a client as soon as there is a place for it, until `accept` returns none, and runs
    /// `serve` for each on a thread of its own.
    pub(crate) fn start<C: Send + 'static>(
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
                            spawn_client(move || serve(place, busy, client));
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

    /// Waits for the first signal, or until accepting has failed.
    pub(crate) fn until_stopped(&self, signals: &Signals) -> Result<(), Failure> {
        until_stopped(signals, &self.failures)
    }

    /// Gives all clients some time to come to their own end, then cuts off those that are left,
    /// which takes the grace period of their transports at most. Accepting has to have been ended.
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

/// Where an accepting thread tells that it cannot go on.
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

/// Runs one client on a thread of its own.
fn spawn_client(client: impl FnOnce() + Send + 'static) {
    let spawned = thread::Builder::new()
        .name("watm-client".into())
        .stack_size(CLIENT_STACK)
        .spawn(client);
    if let Err(error) = spawned {
        log::error!("a client was dropped: no thread for it: {}", chain(&error));
    }
}

/// Logs how the connection of a client ended.
pub(crate) fn report(client: &str, carried: Option<io::Result<Carried>>) {
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
