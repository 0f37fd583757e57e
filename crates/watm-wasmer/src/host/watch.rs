//! Lets an application watch what a module asks of the host, and have streams answer as those of
//! other hosts do.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watm_abi::{Errno, IovecArray};

use crate::host::Host;
use crate::host::descriptor::{Abort, Call, Direction, Kind};

/// Watches what modules ask of the host, and can make streams answer as those of other hosts do.
///
/// It is for programs that test modules, such as `watm check`, and for traces. All methods run on
/// the worker's thread of a connection, in the middle of a call. They should be short. If one
/// panics, only that connection fails.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use watm_wasmer::{CallHook, Dialer, HostCall, TransportModule};
///
/// /// Counts how often modules poll.
/// struct Polls(AtomicU64);
///
/// impl CallHook for Polls {
///     fn called(&self, call: &HostCall) {
///         if call.function == "poll_oneoff" {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let polls = Arc::new(Polls(AtomicU64::new(0)));
/// let dialer = Dialer::builder(&module).call_hook(Arc::clone(&polls)).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CallHook: Send + Sync {
    /// Called before a module reads from a stream, or writes to one. Decides what the host answers.
    ///
    /// A stream is the application's side or a network connection. The hook does not learn of a call
    /// with empty buffers, nor of a `sock_recv` that peeks or waits for all bytes.
    fn transfer(&self, transfer: &Transfer) -> TransferAnswer {
        let _ = transfer;
        TransferAnswer::Usual
    }

    /// Called after each call to the host that has returned, unless the host never does anything but
    /// refuse it (`proc_raise`) or the feature `wasix` answers it. A call that ends the module,
    /// because it is told to stop or exits, does not return.
    fn called(&self, call: &HostCall) {
        let _ = call;
    }

    /// Called when an export of the module has ended, in whatever way.
    fn returned(&self, returned: &ExportReturn) {
        let _ = returned;
    }
}

impl<H: CallHook + ?Sized> CallHook for Arc<H> {
    fn transfer(&self, transfer: &Transfer) -> TransferAnswer {
        (**self).transfer(transfer)
    }

    fn called(&self, call: &HostCall) {
        (**self).called(call);
    }

    fn returned(&self, returned: &ExportReturn) {
        (**self).returned(returned);
    }
}

/// A read from a stream or a write to one that is about to happen.
///
/// ```
/// use watm_wasmer::{CallHook, Transfer, TransferAnswer};
///
/// /// A host that never has more than 1,000 bytes of the network at once.
/// struct Segments;
///
/// impl CallHook for Segments {
///     fn transfer(&self, transfer: &Transfer) -> TransferAnswer {
///         if transfer.is_plain || transfer.is_write {
///             return TransferAnswer::Usual;
///         }
///         const { TransferAnswer::AtMost(std::num::NonZeroU32::new(1_000).unwrap()) }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The module's number for the stream.
    pub fd: u32,
    /// Whether the stream is the plain side: the application's, or the plain connection that is
    /// carried. Otherwise it is on the network.
    ///
    /// A relay's module opens both connections itself, so that both are on the network.
    pub is_plain: bool,
    /// Whether it is a write.
    pub is_write: bool,
    /// Bytes in the module's buffers, at least 1.
    pub len: u32,
    /// Whether the descriptor is non-blocking.
    pub is_nonblocking: bool,
}

/// How the host answers a read from a stream, or a write to one.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use watm_wasmer::{CallHook, Transfer, TransferAnswer};
///
/// /// A host that refuses each second write. A module loses no byte by that.
/// #[derive(Default)]
/// struct Reluctant(AtomicUsize);
///
/// impl CallHook for Reluctant {
///     fn transfer(&self, transfer: &Transfer) -> TransferAnswer {
///         if transfer.is_write && self.0.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
///             TransferAnswer::Refuse
///         } else {
///             TransferAnswer::Usual
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferAnswer {
    /// As it does without the hook.
    Usual,
    /// As it does, but it moves at most so many bytes.
    AtMost(NonZeroU32),
    /// With `EAGAIN`, as if there was nothing to read or no room. A blocking descriptor cannot
    /// refuse: it answers as usual.
    Refuse,
}

/// A call of a module to the host that has returned.
///
/// ```
/// use watm_wasmer::{CallHook, HostCall};
///
/// /// Names the calls that fail, other than those that have to wait.
/// struct Failures;
///
/// impl CallHook for Failures {
///     fn called(&self, call: &HostCall) {
///         match call.result {
///             Ok(_) | Err(watm_wasmer::Errno::Again) => {}
///             Err(errno) => println!("{} of {:?}: {errno}", call.function, call.fd),
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCall {
    /// The name of the function, such as `fd_read` or `water_dial`.
    pub function: &'static str,
    /// The descriptor of `fd_read`, `fd_write`, `sock_recv` and `sock_send`.
    pub fd: Option<u32>,
    /// The error, or what was done: the bytes that those four moved, the events of `poll_oneoff`.
    /// It is 0 for other functions.
    pub result: Result<u32, Errno>,
    /// The size of the module's memory, in bytes.
    pub memory: u64,
    /// How long the module's own code ran since the call before, or since an export was called.
    pub guest_time: Duration,
    /// How long the call took, including the time that it slept.
    pub host_time: Duration,
}

/// An export of a module that has ended.
///
/// ```
/// use watm_wasmer::{CallHook, ExportReturn};
///
/// /// Finds modules that leave descriptors open.
/// struct Leaks;
///
/// impl CallHook for Leaks {
///     fn returned(&self, returned: &ExportReturn) {
///         if returned.export == "watm_start_v1" && returned.open_descriptors > 3 {
///             println!("{} are open after {:?}", returned.open_descriptors, returned.value());
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReturn {
    /// Its name, such as `watm_start_v1`, or `(start)` for the start function.
    pub export: &'static str,
    /// How it has ended.
    pub outcome: ExportOutcome,
    /// Number of descriptors that the module has open, among those that count towards the
    /// descriptor limit.
    pub open_descriptors: usize,
}

/// How an export of a module has ended.
///
/// ```
/// use watm_wasmer::{CallHook, ExportOutcome, ExportReturn};
///
/// struct Traps;
///
/// impl CallHook for Traps {
///     fn returned(&self, returned: &ExportReturn) {
///         match returned.outcome {
///             ExportOutcome::Trapped => println!("{} has trapped", returned.export),
///             ExportOutcome::Exited(code) if code != 0 => println!("it has exited with {code}"),
///             _ => {}
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportOutcome {
    /// It returned this value, or nothing, as `_start` does.
    Returned(Option<i32>),
    /// It called `proc_exit` with this code.
    Exited(i32),
    /// It trapped or panicked.
    Trapped,
    /// The host stopped it.
    Stopped,
}

impl ExportReturn {
    /// What it returned, if it did.
    pub fn value(&self) -> Option<i32> {
        match self.outcome {
            ExportOutcome::Returned(value) => value,
            _ => None,
        }
    }
}

/// The state of a watched instance.
pub(super) struct Watch {
    hook: Arc<dyn CallHook>,
    /// When the guest's code went on last.
    resumed: Instant,
    /// When the current call began.
    entered: Instant,
    fd: Option<u32>,
    done: u32,
}

impl Watch {
    pub(super) fn new(hook: Arc<dyn CallHook>) -> Self {
        let now = Instant::now();
        Self {
            hook,
            resumed: now,
            entered: now,
            fd: None,
            done: 0,
        }
    }

    #[cold]
    pub(super) fn enter(&mut self) {
        self.entered = Instant::now();
        self.fd = None;
        self.done = 0;
    }

    /// Records how many events a poll has found.
    pub(super) fn found(&mut self, events: usize) {
        self.done = u32::try_from(events).unwrap_or(u32::MAX);
    }

    fn leave(&mut self, function: &'static str, result: Result<(), Errno>, memory: u64) {
        let now = Instant::now();
        self.hook.called(&HostCall {
            function,
            fd: self.fd,
            result: result.map(|()| self.done),
            memory,
            guest_time: self.entered.saturating_duration_since(self.resumed),
            host_time: now.saturating_duration_since(self.entered),
        });
        self.resumed = Instant::now();
    }
}

impl Host {
    /// Whether somebody watches the guest.
    pub(crate) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Called when a host call ends and somebody watches.
    #[cold]
    pub(crate) fn tell<T>(&mut self, function: &'static str, result: &Call<T>, memory: usize) {
        if let Some(watch) = &mut self.watch {
            let result = match result {
                Ok(_) => Ok(()),
                Err(Abort::Errno(errno)) => Err(*errno),
                Err(Abort::Stop) => return,
            };
            watch.leave(function, result, memory as u64);
        }
    }

    /// Called when the host calls an export.
    pub(crate) fn tell_of_entry(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.resumed = Instant::now();
        }
    }

    /// Called when an export has returned.
    pub(crate) fn tell_of_return(&mut self, export: &'static str, outcome: ExportOutcome) {
        if let Some(watch) = &self.watch {
            watch.hook.returned(&ExportReturn {
                export,
                outcome,
                open_descriptors: self.descriptors.counted(),
            });
        }
    }

    /// Records what the current call has done with a descriptor.
    #[cold]
    pub(super) fn note_done(&mut self, fd: u32, done: &Call<u32>) {
        if let Some(watch) = &mut self.watch {
            watch.fd = Some(fd);
            watch.done = *done.as_ref().unwrap_or(&0);
        }
    }

    /// Asks the hook, if there is one, how to answer a transfer. Returns the buffers to use if they
    /// are not the guest's.
    #[cold]
    pub(super) fn answer_like_others(
        &mut self,
        fd: u32,
        direction: Direction,
        iovecs: &IovecArray,
    ) -> Call<Option<Box<IovecArray>>> {
        let Some(watch) = &self.watch else {
            return Ok(None);
        };
        let len = iovecs.total_len();
        if len == 0 {
            return Ok(None);
        }
        let descriptor = self.descriptors.get(fd)?;
        if !descriptor.kind.is_stream() {
            return Ok(None);
        }
        let is_nonblocking = descriptor.is_nonblocking();
        let answer = watch.hook.transfer(&Transfer {
            fd,
            is_plain: match &descriptor.kind {
                Kind::Net(net) => net.is_plain(),
                _ => true,
            },
            is_write: direction == Direction::Write,
            len,
            is_nonblocking,
        });
        match answer {
            TransferAnswer::Refuse if is_nonblocking => {
                // The guest was told something else than what a poll finds, so it is not idle.
                self.sleeper.rest.is_over();
                let refused = Err(Errno::Again.into());
                self.note_done(fd, &refused);
                refused.map(|_| None)
            }
            TransferAnswer::AtMost(most) if most.get() < len => {
                Ok(Some(Box::new(iovecs.limited_to(most.get()))))
            }
            _ => Ok(None),
        }
    }
}
