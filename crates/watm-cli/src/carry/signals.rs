//! SIGINT, SIGTERM and SIGHUP: the first asks the command to end cleanly, the second ends it at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, iterator};

use crate::terminal::failure::Failure;

/// Tells of the first signal.
pub(crate) struct Signals {
    /// Gets the name of the first signal.
    pub(crate) first: Receiver<&'static str>,
}

impl Signals {
    /// From now on, the signals no longer end the process by themselves.
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
    // A thread, so that commands can wait for a signal and for other things at the same time.
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

/// Whether whoever started the process has this signal ignored.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all bytes zero are a valid value of this plain structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is changed, and what there is goes into a structure that lives here.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}
