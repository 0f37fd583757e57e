//! Runs a server of the library: waits for the signal to stop, and stops it within the grace
//! period.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, select};
use watm_wasmer::ServerHandle;

use super::signals::Signals;
use crate::args::RunArgs;
use crate::monitor::{BoundMonitor, Single};
use crate::needs::reload_failure;
use crate::terminal::failure::Failure;

/// Reads the module and its configuration again, and has the server use them.
pub(crate) type Reload<'a> = dyn Fn(&ServerHandle) -> Result<(), Failure> + 'a;

/// Serves until the first signal, or until accepting fails; after a SIGHUP with another module or
/// configuration, if they can be used. Then nobody is accepted any more, and
/// all connections, including those that are being set up, get the grace period to end by
/// themselves. The rest are then cut off, which takes at most another grace period.
pub(crate) fn until_stopped(
    server: ServerHandle,
    monitor: Single<BoundMonitor>,
    signals: &Signals,
    run: &RunArgs,
    reload: &Reload<'_>,
) -> Result<(), Failure> {
    let server = Arc::new(server);
    let registry = monitor.start(&server)?;
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
    let ended = loop {
        select! {
            recv(signals.first) -> name => {
                log::info!("{}: ending", name.unwrap_or("no more signals"));
                break Ok(());
            }
            recv(failures) -> failure => {
                break Err(failure.unwrap_or_else(|_| Failure::silent()));
            }
            recv(signals.reload) -> wish => match wish.map(|()| reload(&server)) {
                Ok(Ok(())) => {
                    registry.loaded(true);
                    log::warn!("SIGHUP: new connections use the module as it is now");
                }
                Ok(Err(failure)) => {
                    registry.reload_failed();
                    let reason = reload_failure(&failure, run.confine);
                    log::error!("SIGHUP: nothing has changed: {reason}");
                }
                // The thread that sends them has ended, and has sent why.
                Err(_) => {}
            },
        }
    };
    registry.set_unready(Some("ending"));
    stop(&server, run.transport.close_grace);
    if watching.join().is_err() {
        log::error!("the thread that watches the server panicked");
    }
    ended
}

/// Stops a server as [`until_stopped`] does.
pub(crate) fn stop(server: &ServerHandle, close_grace: Duration) {
    server.drain(close_grace);
    server.shutdown();
    // The modules below the first deliver on their own.
    watm_wasmer::drain(close_grace);
    let stats = server.stats();
    if stats.active > 0 {
        log::warn!("{} connections did not end in time", stats.active);
    }
    log::info!("served: {stats:?}");
}
