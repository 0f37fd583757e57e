//! The functions that the host has put into the module's table, each as a safe function.
//!
//! In WebAssembly, a pointer to a function is its place in the table. A call through it compares
//! the function's type with the pointer's, and traps if they differ.

use std::mem::transmute;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Nonce, TAG};
use crate::error::{Error, Result};

/// The functions that this crate knows. A later host has more, behind these.
const KNOWN: u32 = 4;

/// The place of the first function, or 0: no function is there.
static FIRST: AtomicUsize = AtomicUsize::new(0);

type MakeKey = unsafe extern "C" fn(u32, *const u8, usize, *mut u32) -> i32;
type Close = unsafe extern "C" fn(u32) -> i32;
/// The handle, the nonce, additional data, the input and where the output goes.
type Operation =
    unsafe extern "C" fn(u32, *const u8, *const u8, usize, *const u8, usize, *mut u8) -> i32;

/// Takes what the host offers: so many functions, from this place in the table on.
pub fn take(first: u32, count: u32) -> i32 {
    if first == 0 || count < KNOWN {
        return i32::from(Error::NOSYS.raw() as u8);
    }
    FIRST.store(first as usize, Relaxed);
    0
}

pub(super) fn is_offered() -> bool {
    FIRST.load(Relaxed) != 0
}

/// The place of a function, by its number.
fn place(number: usize) -> Result<usize> {
    match FIRST.load(Relaxed) {
        0 => Err(Error::NOSYS),
        first => Ok(first + number),
    }
}

fn check(errno: i32) -> Result<()> {
    match errno {
        0 => Ok(()),
        number => Err(Error::from_raw(number as u16)),
    }
}

pub(super) fn key(algorithm: u32, key: &[u8]) -> Result<u32> {
    // SAFETY: the host has put a function of this type there. The place is not 0, so the pointer is
    // not null.
    let make: MakeKey = unsafe { transmute(place(0)?) };
    let mut handle = 0;
    // SAFETY: the host reads the slice, and writes the variable.
    check(unsafe { make(algorithm, key.as_ptr(), key.len(), &mut handle) })?;
    Ok(handle)
}

pub(super) fn close(handle: u32) {
    if let Ok(place) = place(1) {
        // SAFETY: as in `key`.
        let close: Close = unsafe { transmute(place) };
        // SAFETY: it takes no memory of ours. It fails only for a handle that is not there.
        unsafe { close(handle) };
    }
}

/// `aead_seal` (2) or `aead_open` (3).
fn operation(number: usize) -> Result<Operation> {
    // SAFETY: as in `key`.
    Ok(unsafe { transmute(place(number)?) })
}

pub(super) fn seal(
    handle: u32,
    nonce: &Nonce,
    aad: &[u8],
    plain: &[u8],
    sealed: &mut [u8],
) -> Result<()> {
    let (nonce, seal) = (nonce.as_ptr(), operation(2)?);
    let (input, length, output) = (plain.as_ptr(), plain.len(), sealed.as_mut_ptr());
    // SAFETY: the host reads slices. What it writes is longer than the input by the tag, as
    // `sealed` is: `Key::seal` has compared the lengths.
    check(unsafe {
        seal(
            handle,
            nonce,
            aad.as_ptr(),
            aad.len(),
            input,
            length,
            output,
        )
    })
}

pub(super) fn seal_in_place(
    handle: u32,
    nonce: &Nonce,
    aad: &[u8],
    buffer: &mut [u8],
) -> Result<()> {
    let length = buffer.len().checked_sub(TAG).ok_or(Error::INVAL)?;
    let (nonce, seal) = (nonce.as_ptr(), operation(2)?);
    let at = buffer.as_mut_ptr();
    // SAFETY: the host reads slices. What it writes is the whole buffer, which may be its input.
    check(unsafe { seal(handle, nonce, aad.as_ptr(), aad.len(), at, length, at) })
}

pub(super) fn open(
    handle: u32,
    nonce: &Nonce,
    aad: &[u8],
    sealed: &[u8],
    plain: &mut [u8],
) -> Result<()> {
    let (nonce, open) = (nonce.as_ptr(), operation(3)?);
    let (input, length, output) = (sealed.as_ptr(), sealed.len(), plain.as_mut_ptr());
    // SAFETY: the host reads slices. What it writes is shorter than the input by the tag, as
    // `plain` is: `Key::open` has compared the lengths.
    check(unsafe {
        open(
            handle,
            nonce,
            aad.as_ptr(),
            aad.len(),
            input,
            length,
            output,
        )
    })
}

pub(super) fn open_in_place(
    handle: u32,
    nonce: &Nonce,
    aad: &[u8],
    buffer: &mut [u8],
) -> Result<()> {
    let (nonce, open) = (nonce.as_ptr(), operation(3)?);
    let (at, length) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the host reads slices. What it writes is a part of the buffer, which may be its
    // input.
    check(unsafe { open(handle, nonce, aad.as_ptr(), aad.len(), at, length, at) })
}
