//! SIGINT, SIGTERM and SIGHUP. The first signal asks the command to end cleanly, the second ends it
//! at once. A server takes SIGHUP for the wish to read its module again, unless its terminal is gone.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, iterator};

use crate::terminal::failure::Failure;

/// Reports signals.
pub(crate) struct Signals {
    /// Receives the name of the first signal to end.
    pub(crate) first: Receiver<&'static str>,
    /// Receives a message for each wish to read the module again, but no more than one at a time.
    pub(crate) reload: Receiver<()>,
}

/// What SIGHUP means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hangup {
    Ends,
    /// The module is to be read again; it ends the command if its terminal is gone.
    Reloads,
}

impl Signals {
    /// Handles the signals, which no longer end the process by themselves.
    pub(crate) fn install() -> Result<Self, Failure> {
        install(Hangup::Ends).map_err(|error| Failure::because("cannot handle signals", error))
    }

    /// The same for a server, which can read its module again.
    pub(crate) fn install_for_server() -> Result<Self, Failure> {
        install(Hangup::Reloads).map_err(|error| Failure::because("cannot handle signals", error))
    }
}

fn install(hangup: Hangup) -> io::Result<Signals> {
    let mut handled = vec![SIGINT, SIGTERM];
    // A process that was started with `nohup` outlives its terminal.
    if !is_ignored(SIGHUP) {
        handled.push(SIGHUP);
    }
    let mut signals = iterator::Signals::new(&handled)?;
    let caught = Arc::new(AtomicBool::new(false));
    for signal in handled {
        if signal == SIGHUP && hangup == Hangup::Reloads {
            continue;
        }
        // In this order: the first signal finds the flag unset and sets it. The second finds it set
        // and ends the process with the code that shells give for the signal.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&caught))?;
        flag::register(signal, Arc::clone(&caught))?;
    }
    let (sender, first) = bounded(1);
    let (reloading, reload) = bounded(1);
    let had_terminal = has_terminal();
    // A thread lets a command wait for a signal and for other events at once.
    thread::Builder::new()
        .name("watm-signals".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let is_there = move || !had_terminal || has_terminal();
            let reloads = || hangup == Hangup::Reloads && is_there();
            report(signals.forever(), reloads, &sender, &reloading);
        })?;
    Ok(Signals { first, reload })
}

/// Reports signals until one asks the command to end.
fn report(
    signals: impl Iterator<Item = libc::c_int>,
    reloads: impl Fn() -> bool,
    first: &Sender<&'static str>,
    reload: &Sender<()>,
) {
    for signal in signals {
        let name = match signal {
            SIGHUP if reloads() => {
                // One that waits already is as good.
                let _ = reload.try_send(());
                continue;
            }
            SIGHUP => "SIGHUP",
            SIGINT => "SIGINT",
            _ => "SIGTERM",
        };
        let _ = first.send(name);
        return;
    }
}

/// Whether the process has a terminal that has not hung up.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether the process was started with this signal ignored.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: `sigaction` is a plain C structure, for which all zeros are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with a null pointer the call changes nothing. It writes only to `action`.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}
