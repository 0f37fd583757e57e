//! The imports of a module, each as a safe function. All `unsafe` code of the crate is here
//! and in `aead/sys.rs`.

use super::poll::{Event, Subscription};
use crate::error::{Error, Result};

/// `iovec` and `ciovec` of WASI.
#[repr(C)]
struct Span<P> {
    pointer: P,
    length: usize,
}

mod env {
    use super::Span;

    #[link(wasm_import_module = "env")]
    extern "C" {
        pub(super) fn water_dial(
            network: *const Span<*const u8>,
            networks: usize,
            address: *const Span<*const u8>,
            addresses: usize,
        ) -> i32;
        pub(super) fn water_dial_fixed() -> i32;
        pub(super) fn water_accept() -> i32;
    }
}

mod wasi {
    use super::{Event, Span, Subscription};

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    extern "C" {
        pub(super) fn fd_close(fd: i32) -> i32;
        pub(super) fn fd_fdstat_set_flags(fd: i32, flags: i32) -> i32;
        pub(super) fn fd_read(
            fd: i32,
            spans: *const Span<*mut u8>,
            count: usize,
            length: *mut usize,
        ) -> i32;
        pub(super) fn fd_write(
            fd: i32,
            spans: *const Span<*const u8>,
            count: usize,
            length: *mut usize,
        ) -> i32;
        pub(super) fn poll_oneoff(
            subscriptions: *const Subscription,
            events: *mut Event,
            count: usize,
            ready: *mut usize,
        ) -> i32;
        pub(super) fn random_get(buffer: *mut u8, length: usize) -> i32;
        pub(super) fn sock_shutdown(fd: i32, how: i32) -> i32;
    }
}

/// What a function of WASI has returned: 0, or an error number.
fn check(errno: i32) -> Result<()> {
    match errno {
        0 => Ok(()),
        number => Err(Error::from_raw(number as u16)),
    }
}

pub(super) fn water_dial(network: &[u8], address: &[u8]) -> Result<i32> {
    let network = Span {
        pointer: network.as_ptr(),
        length: network.len(),
    };
    let address = Span {
        pointer: address.as_ptr(),
        length: address.len(),
    };
    // SAFETY: each array has the one span that its count says, and each span is that of a slice,
    // which the host only reads.
    Error::check(unsafe { env::water_dial(&network, 1, &address, 1) })
}

pub(super) fn water_dial_fixed() -> Result<i32> {
    // SAFETY: it takes no memory of ours.
    Error::check(unsafe { env::water_dial_fixed() })
}

pub(super) fn water_accept() -> Result<i32> {
    // SAFETY: it takes no memory of ours.
    Error::check(unsafe { env::water_accept() })
}

pub(super) fn fd_close(fd: i32) -> Result<()> {
    // SAFETY: it takes no memory of ours. No object of std has the descriptor: `Descriptor` is the
    // only owner of those that the host has given to the module.
    check(unsafe { wasi::fd_close(fd) })
}

pub(super) fn fd_fdstat_set_flags(fd: i32, flags: u16) -> Result<()> {
    // SAFETY: it takes no memory of ours.
    check(unsafe { wasi::fd_fdstat_set_flags(fd, i32::from(flags)) })
}

pub(super) fn fd_read(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    let span = Span {
        pointer: buffer.as_mut_ptr(),
        length: buffer.len(),
    };
    let mut length = 0;
    // SAFETY: the array has the one span that its count says. The host writes within the slice,
    // which is borrowed for that, and the number of bytes into `length`.
    check(unsafe { wasi::fd_read(fd, &span, 1, &mut length) })?;
    Ok(length.min(buffer.len()))
}

pub(super) fn fd_write(fd: i32, bytes: &[u8]) -> Result<usize> {
    let span = Span {
        pointer: bytes.as_ptr(),
        length: bytes.len(),
    };
    let mut length = 0;
    // SAFETY: the array has the one span that its count says. The host only reads the slice, and
    // writes the number of bytes into `length`.
    check(unsafe { wasi::fd_write(fd, &span, 1, &mut length) })?;
    Ok(length.min(bytes.len()))
}

/// There must be as many events as subscriptions.
pub(super) fn poll_oneoff(subscriptions: &[Subscription], events: &mut [Event]) -> Result<usize> {
    let count = subscriptions.len().min(events.len());
    let mut ready = 0;
    // SAFETY: both slices have `count` records of the layout of WASI. The host reads the first,
    // writes up to `count` records of integers into the second, and their number into `ready`.
    check(unsafe {
        wasi::poll_oneoff(
            subscriptions.as_ptr(),
            events.as_mut_ptr(),
            count,
            &mut ready,
        )
    })?;
    Ok(ready)
}

pub(super) fn random_get(buffer: &mut [u8]) -> Result<()> {
    // SAFETY: the host writes within the slice, which is borrowed for that.
    check(unsafe { wasi::random_get(buffer.as_mut_ptr(), buffer.len()) })
}

pub(super) fn sock_shutdown(fd: i32, how: u8) -> Result<()> {
    // SAFETY: it takes no memory of ours.
    check(unsafe { wasi::sock_shutdown(fd, i32::from(how)) })
}
