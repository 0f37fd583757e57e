//! Runs a server of the library: waits for the signal to stop, and stops it within the grace
//! period.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, select};
use watm_wasmer::ServerHandle;

use super::signals::Signals;
use crate::terminal::failure::Failure;

/// Serves until the first signal, or until accepting fails. Then nobody is accepted any more, and
/// all connections, including those that are being set up, get the grace period to end by
/// themselves. The rest are then cut off, which takes at most another grace period.
pub(crate) fn until_stopped(
    server: ServerHandle,
    signals: &Signals,
    close_grace: Duration,
) -> Result<(), Failure> {
    let server = Arc::new(server);
    let (failed, failures) = bounded(1);
    let watched = Arc::clone(&server);
    let watching = thread::Builder::new()
        .name("watm-accepting".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            if let Err(error) = watched.wait() {
                let _ = failed.try_send(Failure::because("cannot accept connections", error));
            }
        })
        .map_err(|error| Failure::because("cannot start a thread", error))?;
    let ended = select! {
        recv(signals.first) -> name => {
            log::info!("{}: ending", name.unwrap_or("no more signals"));
            Ok(())
        }
        recv(failures) -> failure => Err(failure.unwrap_or_else(|_| Failure::silent())),
    };
    stop(&server, close_grace);
    if watching.join().is_err() {
        log::error!("the thread that watches the server panicked");
    }
    ended
}

/// Stops a server as [`until_stopped`] does.
pub(crate) fn stop(server: &ServerHandle, close_grace: Duration) {
    server.drain(close_grace);
    server.shutdown();
    let stats = server.stats();
    if stats.active > 0 {
        log::warn!("{} connections did not end in time", stats.active);
    }
    log::info!("served: {stats:?}");
}
