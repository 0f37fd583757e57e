//! SIGINT, SIGTERM and SIGHUP. The first signal asks the command to end cleanly, the second ends it
//! at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, iterator};

use crate::terminal::failure::Failure;

/// Reports the first signal.
pub(crate) struct Signals {
    /// Receives the name of the first signal.
    pub(crate) first: Receiver<&'static str>,
}

impl Signals {
    /// Handles the signals, which no longer end the process by themselves.
    pub(crate) fn install() -> Result<Self, Failure> {
        install().map_err(|error| Failure::because("cannot handle signals", error))
    }
}

fn install() -> io::Result<Signals> {
    let mut handled = vec![SIGINT, SIGTERM];
    // A process that was started with `nohup` outlives its terminal.
    if !is_ignored(SIGHUP) {
        handled.push(SIGHUP);
    }
    let mut signals = iterator::Signals::new(&handled)?;
    let caught = Arc::new(AtomicBool::new(false));
    for signal in handled {
        // In this order: the first signal finds the flag unset and sets it. The second finds it set
        // and ends the process with the code that shells give for the signal.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&caught))?;
        flag::register(signal, Arc::clone(&caught))?;
    }
    let (sender, first) = bounded(1);
    // A thread lets a command wait for a signal and for other events at once.
    thread::Builder::new()
        .name("watm-signals".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let name = match signals.forever().next() {
                Some(SIGINT) => "SIGINT",
                Some(SIGHUP) => "SIGHUP",
                _ => "SIGTERM",
            };
            let _ = sender.send(name);
        })?;
    Ok(Signals { first })
}

/// Whether the process was started with this signal ignored.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: `sigaction` is a plain C structure, for which all zeros are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with a null pointer the call changes nothing. It writes only to `action`.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}
