//! What the commands that serve many clients have in common: waiting for the signal to end, and
//! ending within the grace period.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::clients::Clients;
use super::signals::Signals;
use crate::terminal::failure::{Failure, chain};

/// What a transport that has to be interrupted may take beyond its grace period.
const MARGIN: Duration = Duration::from_millis(600);

/// Where the accepting thread tells that it cannot go on.
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

/// Gives all clients some time to come to their own end, then cuts off those that are left, which
/// takes the grace period of their transports at most.
pub(crate) fn stop(clients: &Clients, patience: Duration, close_grace: Duration) {
    clients.admit_nobody();
    if clients.wait_idle(patience) == 0 {
        return;
    }
    clients.cut();
    let left = clients.wait_cut(close_grace + MARGIN);
    if left > 0 {
        log::warn!("{left} connections did not end in time");
    }
}

/// Runs one client on a thread of its own.
pub(crate) fn spawn_client(client: impl FnOnce() + Send + 'static) {
    let spawned = thread::Builder::new()
        .name("watm-client".into())
        .stack_size(CLIENT_STACK)
        .spawn(client);
    if let Err(error) = spawned {
        log::error!("a client was dropped: no thread for it: {}", chain(&error));
    }
}

/// Stack in bytes: a client's thread also resolves names and dials, which copying does not.
const CLIENT_STACK: usize = 256 * 1024;
