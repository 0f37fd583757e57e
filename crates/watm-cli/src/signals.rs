//! SIGINT and SIGTERM: the first asks the command to end cleanly, the second ends it at once.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::failure::Failure;

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
    let (mut woken, waker) = UnixStream::pair()?;
    let caught = Arc::new(AtomicBool::new(false));
    let number = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset and sets it, the second finds it
        // set and ends the process with the code that shells give for the signal.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&caught))?;
        flag::register(signal, Arc::clone(&caught))?;
        flag::register_usize(signal, Arc::clone(&number), signal as usize)?;
        low_level::pipe::register(signal, waker.try_clone()?)?;
    }
    let (sender, first) = bounded(1);
    // A thread, so that commands can wait for a signal and for other things at the same time.
    thread::Builder::new()
        .name("watm-signals".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let mut byte = [0];
            while let Err(error) = woken.read_exact(&mut byte) {
                if error.kind() != io::ErrorKind::Interrupted {
                    log::error!("signals are not heard any more: {error}");
                    return;
                }
            }
            let name = match number.load(Ordering::Relaxed) {
                number if number == SIGINT as usize => "SIGINT",
                _ => "SIGTERM",
            };
            let _ = sender.send(name);
        })?;
    Ok(Signals { first })
}
