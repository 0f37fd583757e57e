//! Which exports of a guest the host calls, in which order, and what their results mean.
//!
//! How a guest is called is the business of its [`Instance`].

use std::io;
use std::net::SocketAddr;

use watm_abi::{Errno, GuestError, Role, decode_errno, decode_value, names};

use crate::channel::link::{Level, Link};
use crate::error::{Outcome, SetupError, TransportError};
use crate::guest::instance::{CallError, Instance};
use crate::host::descriptor::Abort;

/// What is known about a transport once it is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Established {
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    /// Whether there is an application's side. A guest can close it before it is connected to its
    /// target.
    pub(crate) is_connected: bool,
}

impl Established {
    /// # Errors
    ///
    /// `AddrNotAvailable` if it is no IP address.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// # Errors
    ///
    /// As [`Established::local_addr`].
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.peer
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

/// Runs what comes before there is a connection: `_start` or `_initialize`, the offer of the host's
/// AEAD, and init.
pub(crate) fn prepare_guest(guest: &mut Instance) -> Result<(), SetupError> {
    guest
        .run_main()
        .map_err(|(function, error)| call_error(function, error))?;
    #[cfg(feature = "aead")]
    guest
        .offer_aead()
        .map_err(|error| call_error(names::EXT_AEAD, error))?;
    Ok(expect_success(guest, names::INIT, None)?)
}

/// Runs what an instance does with its connection before the worker function: the role's function
/// and the control pipe. Then connects the application's side, if it leads to a target.
pub(crate) fn set_up(guest: &mut Instance, role: Role) -> Result<Established, SetupError> {
    // Opened now, before the guest can use up its descriptors. The guest is told of it when its
    // turn comes.
    let control = guest.host().open_control().map_err(no_descriptor)?;
    let function = role.export();
    let mut established = if role == Role::Relay {
        match expect_success(guest, function, None) {
            Ok(()) => Established {
                local: None,
                peer: None,
                is_connected: true,
            },
            Err(error) => return Err(explain(guest, error)),
        }
    } else {
        let internal = guest.host().open_internal().map_err(no_descriptor)?;
        let returned = guest
            .call(function, Some(internal))
            .map_err(|error| call_error(function, error))?;
        let fd = match decode_value(returned) {
            Ok(fd) => fd,
            Err(error) => return Err(explain(guest, TransportError::Failed { function, error })),
        };
        match guest.host().net(fd) {
            Some(net) => Established {
                local: net.local,
                peer: net.peer,
                is_connected: true,
            },
            None => return Err(TransportError::BadDescriptor { function, fd }.into()),
        }
    };

    expect_success(guest, names::CTRLPIPE, Some(control))?;
    connect_target(guest)?;
    established.is_connected = !guest.host().awaits_target();
    Ok(established)
}

/// Connects the application's side to its target, if it has one.
fn connect_target(guest: &mut Instance) -> Result<(), SetupError> {
    let host = guest.host();
    host.connect_target().map_err(|abort| match abort {
        Abort::Stop => TransportError::Interrupted.into(),
        Abort::Errno(errno) => {
            let failure = host.take_failure();
            failure.unwrap_or_else(|| SetupError::Host(errno.to_io()))
        }
    })
}

/// Runs `watm_start_v1`, which lasts as long as the transport.
pub(crate) fn start(guest: &mut Instance, link: &Link) -> Result<Outcome, TransportError> {
    guest.host().begin_transport();
    let result = run_transport(guest, link);
    match (link.plain_lost(), result) {
        // Whatever the guest made of it, this is the cause.
        (Some(errno), Ok(_) | Err(TransportError::Failed { .. })) => {
            Err(TransportError::PlainLost { errno })
        }
        (_, result) => result,
    }
}

fn run_transport(guest: &mut Instance, link: &Link) -> Result<Outcome, TransportError> {
    match guest.call(names::START, None) {
        Ok(returned) => match decode_errno(returned) {
            Ok(()) => match guest.host().lost_connection() {
                None => Ok(Outcome::Completed),
                Some(errno) => Err(TransportError::ConnectionLost { errno }),
            },
            Err(GuestError::Errno(Errno::Canceled)) if link.level() >= Level::Cancelled => {
                Ok(Outcome::Cancelled)
            }
            // The first modules return this at the end of any stream.
            Err(GuestError::Errno(Errno::Pipe)) if guest.host().has_ended_in_order() => {
                Ok(Outcome::Completed)
            }
            Err(error) => Err(TransportError::Failed {
                function: names::START,
                error,
            }),
        },
        Err(error) => Err(call_error(names::START, error)),
    }
}

fn expect_success(
    guest: &mut Instance,
    function: &'static str,
    param: Option<u32>,
) -> Result<(), TransportError> {
    let returned = guest
        .call(function, param)
        .map_err(|error| call_error(function, error))?;
    decode_errno(returned).map_err(|error| TransportError::Failed { function, error })
}

fn call_error(function: &'static str, error: CallError) -> TransportError {
    match error {
        CallError::Trap(message) => TransportError::Trapped {
            function,
            message: message.into(),
        },
        CallError::Exit(code) => TransportError::Exited { function, code },
        CallError::Stopped => TransportError::Interrupted,
    }
}

/// The guest used up its descriptors before it got its connection.
fn no_descriptor(errno: Errno) -> SetupError {
    SetupError::Host(errno.to_io())
}

/// Finds the reason why a guest gave up. If its connection could not be made, that is the reason,
/// not the number that the guest returned.
fn explain(guest: &mut Instance, error: TransportError) -> SetupError {
    match (guest.host().take_failure(), &error) {
        (Some(failure), TransportError::Failed { .. }) => failure,
        _ => error.into(),
    }
}
