//! Callbacks of the application: how connections are made, and how names are resolved.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use watm_wasmer::socket2::Socket;
use watm_wasmer::{DialAttempt, DialHook, Resolver, Stream};

use crate::border::{call, given, quietly, socket, text};
use crate::status::{Fault, watm_error, watm_status};

/// What a watm_dial_fn returns to let the library connect as it would without the hook.
pub const WATM_DIAL_CONNECT: c_int = -1_000_000;

/// Maximum number of addresses that a resolver may find for one name.
const ADDRESS_LIMIT: usize = 256;

/// Frees what a callback got as `user`. It must not call functions of this library.
pub type watm_destroy_fn = Option<unsafe extern "C-unwind" fn(user: *mut c_void)>;

/// Makes an outgoing connection. It returns a connected stream socket, which the library owns from
/// then on; or an error number of the system, negated, such as `-ECONNREFUSED`; or
/// WATM_DIAL_CONNECT, which lets the library connect.
///
/// It is called on the thread of the connection, which blocks the application's signals, and may
/// take until watm_dial_attempt_deadline() is 0. `attempt` is valid during the call. It is not
/// called for an address of the module that no entry of the policy could allow; a hook that
/// connects by itself is responsible for the addresses behind a name. It must not leave by
/// longjmp() or an exception.
pub type watm_dial_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        attempt: *const watm_dial_attempt<'_, '_>,
    ) -> c_int,
>;

/// Prepares a socket before it connects to `remote` (`192.0.2.1:443`, `[2001:db8::1]:443`): binds
/// it to a network, marks it, or keeps it out of a VPN, as `VpnService.protect()` does on Android.
/// It returns 0, or an error number of the system, negated; then the next address is tried.
///
/// The socket stays the library's. A name with several addresses has several sockets, and some may
/// be connecting at the same time. `remote` is valid during the call. The same holds for the thread
/// as for watm_dial_fn.
pub type watm_prepare_fn = Option<
    unsafe extern "C-unwind" fn(user: *mut c_void, fd: c_int, remote: *const c_char) -> c_int,
>;

/// Finds the addresses of a name, and adds each with watm_addresses_add() in the order in which
/// they are to be tried. It returns 0, or an error number of the system, negated.
///
/// `name` and `addresses` are valid during the call. The same holds for the thread as for
/// watm_dial_fn.
pub type watm_resolve_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        name: *const c_char,
        port: u16,
        addresses: *mut watm_addresses,
    ) -> c_int,
>;

type Resolve =
    unsafe extern "C-unwind" fn(*mut c_void, *const c_char, u16, *mut watm_addresses) -> c_int;

type Dial = unsafe extern "C-unwind" fn(*mut c_void, *const watm_dial_attempt<'_, '_>) -> c_int;
type Prepare = unsafe extern "C-unwind" fn(*mut c_void, c_int, *const c_char) -> c_int;

/// What a callback gets, and how it is freed.
pub(crate) struct User {
    pub(crate) data: *mut c_void,
    destroy: watm_destroy_fn,
}

// SAFETY: the application promises that its callbacks may be called from any thread, several at a
// time, with this pointer. It is never looked into here.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

impl User {
    pub(crate) fn new(data: *mut c_void, destroy: watm_destroy_fn) -> Self {
        Self { data, destroy }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            quietly((), || {
                // SAFETY: the application's function for its pointer, which nothing uses any more.
                unsafe { destroy(self.data) }
            });
        }
    }
}

/// One outgoing connection about to be made, as a watm_dial_fn sees it. It belongs to the library.
pub struct watm_dial_attempt<'a, 'b> {
    attempt: &'a DialAttempt<'b>,
    network: CString,
    address: CString,
}

/// The network asked for: `tcp`, `tcp4` or `tcp6`. It lives as long as the attempt. Empty if
/// `attempt` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_attempt_network(
    attempt: Option<&watm_dial_attempt<'_, '_>>,
) -> *const c_char {
    attempt.map_or(c"".as_ptr(), |attempt| attempt.network.as_ptr())
}

/// The address asked for, `host:port` or `[v6]:port`. It lives as long as the attempt. Empty if
/// `attempt` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_attempt_address(
    attempt: Option<&watm_dial_attempt<'_, '_>>,
) -> *const c_char {
    attempt.map_or(c"".as_ptr(), |attempt| attempt.address.as_ptr())
}

/// How many milliseconds are left for the connection, from now on. 0 if `attempt` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_attempt_deadline(attempt: Option<&watm_dial_attempt<'_, '_>>) -> u64 {
    quietly(0, || {
        attempt.map_or(0, |attempt| {
            let left = attempt.attempt.deadline();
            let left = left.saturating_duration_since(Instant::now());
            u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
        })
    })
}

/// Whether the module chose the address, not the application. False if `attempt` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_attempt_is_chosen_by_module(
    attempt: Option<&watm_dial_attempt<'_, '_>>,
) -> bool {
    attempt.is_some_and(|attempt| attempt.attempt.is_chosen_by_module())
}

/// Whether nobody waits for the connection any more: a hook that takes long looks here, and returns
/// `-ECANCELED`. True if `attempt` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_dial_attempt_is_cancelled(
    attempt: Option<&watm_dial_attempt<'_, '_>>,
) -> bool {
    quietly(true, || {
        attempt.is_none_or(|attempt| attempt.attempt.is_cancelled())
    })
}

/// The error that a callback names by a negated number.
fn system_error(answer: c_int) -> io::Error {
    match answer.checked_neg() {
        Some(number @ 1..=4095) => io::Error::from_raw_os_error(number),
        _ => io::Error::other(format!("the callback returned {answer}, which is no error")),
    }
}

fn c_name(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// Who makes the outgoing connections, and what prepares their sockets: one hook for the library.
#[derive(Clone, Default)]
pub(crate) struct Outgoing {
    pub(crate) maker: Option<Arc<dyn DialHook>>,
    pub(crate) preparing: Option<Arc<Preparing>>,
}

impl DialHook for Outgoing {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        match &self.maker {
            Some(maker) => maker.dial(attempt),
            None => attempt.connect(),
        }
    }

    fn prepare(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
        match &self.preparing {
            Some(preparing) => preparing.prepare(socket, remote),
            None => Ok(()),
        }
    }
}

/// The dial hook of the application.
pub(crate) struct Dialling {
    dial: Dial,
    user: User,
}

impl Dialling {
    pub(crate) fn new(dial: Dial, user: User) -> Self {
        Self { dial, user }
    }
}

impl DialHook for Dialling {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        let seen = watm_dial_attempt {
            attempt,
            network: c_name(&attempt.network().to_string())?,
            address: c_name(attempt.address())?,
        };
        // SAFETY: the application's function with its pointer, and an attempt that outlives the
        // call.
        match unsafe { (self.dial)(self.user.data, &seen) } {
            WATM_DIAL_CONNECT => attempt.connect(),
            fd @ 0.. => {
                // SAFETY: the application gives it away.
                let socket = unsafe { socket("what the dial hook returned", fd) };
                let socket = socket.map_err(|fault| io::Error::other(fault.message))?;
                Ok(socket.into())
            }
            answer => Err(system_error(answer)),
        }
    }
}

/// What the application does to sockets before they connect.
pub(crate) struct Preparing {
    prepare: Prepare,
    user: User,
}

impl Preparing {
    pub(crate) fn new(prepare: Prepare, user: User) -> Self {
        Self { prepare, user }
    }

    fn prepare(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
        let remote = c_name(&remote.to_string())?;
        // SAFETY: the application's function with its pointer, and a text that outlives the call.
        match unsafe { (self.prepare)(self.user.data, socket.as_raw_fd(), remote.as_ptr()) } {
            0 => Ok(()),
            answer => Err(system_error(answer)),
        }
    }
}

/// The addresses that a watm_resolve_fn finds. It belongs to the library.
pub struct watm_addresses {
    port: u16,
    found: Vec<SocketAddr>,
}

/// Adds an IP address to those of a name, such as `192.0.2.1` or `2001:db8::1`. Fails with
/// WATM_STATUS_ARGUMENT if it is none, or if there are 256 already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_addresses_add(
    addresses: Option<&mut watm_addresses>,
    address: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let addresses = given("the list of addresses", addresses)?;
        // SAFETY: the caller's text.
        let ip: Result<IpAddr, _> = unsafe { text("the address", address) }?.parse();
        let ip = ip.map_err(|error| Fault::argument(format!("the address: {error}")))?;
        if addresses.found.len() >= ADDRESS_LIMIT {
            let message = format!("a name may have {ADDRESS_LIMIT} addresses, and no more");
            return Err(Fault::argument(message));
        }
        addresses.found.push(SocketAddr::new(ip, addresses.port));
        Ok(())
    })
}

/// The resolver of the application.
pub(crate) struct Resolving {
    resolve: Resolve,
    user: User,
}

impl Resolving {
    pub(crate) fn new(resolve: Resolve, user: User) -> Self {
        Self { resolve, user }
    }
}

impl Resolver for Resolving {
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = c_name(name)?;
        let mut addresses = watm_addresses {
            port,
            found: Vec::new(),
        };
        // SAFETY: the application's function with its pointer, and a text and a list that outlive
        // the call.
        match unsafe { (self.resolve)(self.user.data, name.as_ptr(), port, &mut addresses) } {
            0 => Ok(addresses.found),
            answer => Err(system_error(answer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_negated_error_number_is_an_error_of_the_system() {
        let refused = system_error(-libc::ECONNREFUSED);
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        for answer in [c_int::MIN, -5000, 0, 1] {
            assert!(system_error(answer).raw_os_error().is_none(), "{answer}");
        }
    }
}
