//! The border to C: panics stop here, and pointers become values that are checked.
//!
//! The rules that the caller keeps are those at the top of the header: a pointer is null or valid
//! for what it is used for, texts end with a zero byte, handles are freed once, and nothing that
//! one call writes to overlaps with anything else that it was given.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;

use crate::status::{Fault, watm_error, watm_status};

/// Maximum length of a text in bytes. Without one, a text that is not ended would be read for as
/// long as there is memory.
const TEXT_LIMIT: usize = 1 << 20;

/// Runs a call that may fail. It leaves its error, or null, where the caller wants it.
pub(crate) fn call(
    error: Option<&mut *mut watm_error>,
    body: impl FnOnce() -> Result<(), Fault>,
) -> watm_status {
    // What a panic leaves behind is freed, or stands behind a lock of the library.
    let result =
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(Fault::panicked(&*panic)));
    let (status, given) = match result {
        Ok(()) => (watm_status::Ok, None),
        Err(fault) => (fault.status, fault.into_error()),
    };
    if let Some(error) = error {
        *error = given.map_or(std::ptr::null_mut(), Box::into_raw);
    }
    status
}

/// Runs a call that makes a handle. Its place holds null if that fails.
pub(crate) fn make<T>(
    place: Option<&mut *mut T>,
    error: Option<&mut *mut watm_error>,
    body: impl FnOnce() -> Result<T, Fault>,
) -> watm_status {
    call(error, || {
        let place = place.ok_or_else(|| null("the place for the new handle"))?;
        *place = std::ptr::null_mut();
        *place = Box::into_raw(Box::new(body()?));
        Ok(())
    })
}

/// Runs a call that cannot fail; if it panics nevertheless, it returns `otherwise`.
pub(crate) fn quietly<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// Makes a handle in a call that cannot fail.
pub(crate) fn handle<T>(body: impl FnOnce() -> T) -> *mut T {
    quietly(std::ptr::null_mut(), || Box::into_raw(Box::new(body())))
}

/// How many handles there are.
static HANDLES: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn handle_count() -> usize {
    HANDLES.load(Ordering::Relaxed)
}

/// Counts the handle that it is part of.
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn new() -> Self {
        HANDLES.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        HANDLES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Nothing that is locked here is left halfway by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn null(what: &str) -> Fault {
    Fault::argument(format!("{what} is a null pointer"))
}

/// A value that must be there.
pub(crate) fn given<T>(what: &str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| null(what))
}

/// A time in milliseconds; none if it is negative.
pub(crate) fn limit(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

/// The bytes of a text, without the zero byte.
///
/// # Safety
///
/// `text` is null, or points to a text that ends with a zero byte and lives for `'a`.
unsafe fn text_bytes<'a>(what: &str, text: *const c_char) -> Result<Option<&'a [u8]>, Fault> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's text; no byte after its end is looked at.
    let length = unsafe { libc::strnlen(text, TEXT_LIMIT + 1) };
    if length > TEXT_LIMIT {
        let message = format!("{what} has more than {TEXT_LIMIT} bytes");
        return Err(Fault::argument(message));
    }
    // SAFETY: the caller's text, whose end is known now.
    Ok(Some(unsafe { CStr::from_ptr(text) }.to_bytes()))
}

/// A text that may be missing.
///
/// # Safety
///
/// As for `text_bytes`.
pub(crate) unsafe fn optional_text<'a>(
    what: &str,
    text: *const c_char,
) -> Result<Option<&'a str>, Fault> {
    // SAFETY: the same demand.
    let Some(bytes) = (unsafe { text_bytes(what, text) })? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| Fault::argument(format!("{what} is not UTF-8: {error}")))?;
    Ok(Some(text))
}

/// A text.
///
/// # Safety
///
/// As for `text_bytes`.
pub(crate) unsafe fn text<'a>(what: &str, text: *const c_char) -> Result<&'a str, Fault> {
    // SAFETY: the same demand.
    given(what, unsafe { optional_text(what, text) }?)
}

/// A path, which need not be UTF-8.
///
/// # Safety
///
/// As for `text_bytes`.
pub(crate) unsafe fn path<'a>(what: &str, path: *const c_char) -> Result<&'a Path, Fault> {
    // SAFETY: the same demand.
    let bytes = given(what, unsafe { text_bytes(what, path) }?)?;
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

fn checked_length(what: &str, length: usize) -> Result<usize, Fault> {
    if isize::try_from(length).is_err() {
        let message = format!("{what} has an impossible length: {length}");
        return Err(Fault::argument(message));
    }
    Ok(length)
}

/// Bytes to read. They may be null if there are none.
///
/// # Safety
///
/// `from` is null, or `length` bytes can be read there for `'a`, and nobody changes them.
pub(crate) unsafe fn bytes<'a>(
    what: &str,
    from: *const c_void,
    length: usize,
) -> Result<&'a [u8], Fault> {
    if length == 0 {
        return Ok(&[]);
    }
    let length = checked_length(what, length)?;
    if from.is_null() {
        return Err(null(what));
    }
    // SAFETY: the caller's memory, which is not null and not longer than any object.
    Ok(unsafe { std::slice::from_raw_parts(from.cast(), length) })
}

/// Bytes to write to. They may be null if there are none.
///
/// # Safety
///
/// `to` is null, or `length` bytes can be written there for `'a`, and nobody else uses them.
pub(crate) unsafe fn buffer<'a>(
    what: &str,
    to: *mut c_void,
    length: usize,
) -> Result<&'a mut [u8], Fault> {
    if length == 0 {
        return Ok(&mut []);
    }
    let length = checked_length(what, length)?;
    if to.is_null() {
        return Err(null(what));
    }
    // SAFETY: the caller's memory, which is not null and not longer than any object. It may not
    // have been written before; nothing reads it here.
    Ok(unsafe { std::slice::from_raw_parts_mut(to.cast(), length) })
}

/// Takes over a descriptor if it is that of a stream socket, which includes that it is open.
///
/// # Safety
///
/// If `fd` is open, it belongs to the caller, who gives it away.
pub(crate) unsafe fn socket(what: &str, fd: c_int) -> Result<OwnedFd, Fault> {
    if fd < 0 {
        let message = format!("{what} is not a descriptor: {fd}");
        return Err(Fault::argument(message));
    }
    // SAFETY: it is not -1. If it is not open, the system says so.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    match socket_type(borrowed) {
        Ok(SocketType::STREAM) => {}
        Ok(_) => {
            let message = format!("{what}, {fd}, is not a stream socket");
            return Err(Fault::argument(message));
        }
        Err(error) => {
            let message = format!("{what}, {fd}, is not an open socket: {error}");
            return Err(Fault::argument(message));
        }
    }
    // SAFETY: it is open, and the caller gives it away.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    #[test]
    fn a_panic_ends_at_the_border_and_becomes_an_error() {
        let mut error = ptr::null_mut();
        let status = call(Some(&mut error), || panic!("a defect"));
        assert_eq!(status, watm_status::Internal);
        // SAFETY: the call has just made it.
        let error = unsafe { Box::from_raw(error) };
        // SAFETY: the message of an error is a text.
        let message = unsafe { CStr::from_ptr(crate::watm_error_message(Some(&error))) };
        let message = message.to_str().expect("it is UTF-8");
        assert!(message.ends_with("a defect"), "{message}");
        assert_eq!(quietly(7, || panic!("a defect")), 7);
        assert!(handle::<i32>(|| panic!("a defect")).is_null());
    }

    #[test]
    fn a_call_without_a_place_for_its_error_has_its_status() {
        let status = call(None, || Err(Fault::argument("it is wrong")));
        assert_eq!(status, watm_status::Argument);
    }

    #[test]
    fn an_error_that_was_left_in_its_place_is_replaced_by_null() {
        let mut error = ptr::dangling_mut();
        assert_eq!(call(Some(&mut error), || Ok(())), watm_status::Ok);
        assert!(error.is_null());
    }

    #[test]
    fn a_text_is_utf8_and_not_endless() {
        // SAFETY: each is null or ends with a zero byte.
        let text = |from: *const c_char| unsafe { text("the text", from) };
        assert_eq!(text(c"ok".as_ptr()).expect("a text"), "ok");
        let long = vec![b'a'; TEXT_LIMIT + 1];
        let long = std::ffi::CString::new(long).expect("no zero byte");
        for (bad, says) in [
            (ptr::null(), "null pointer"),
            (c"\xff".as_ptr(), "not UTF-8"),
            (long.as_ptr(), "more than 1048576 bytes"),
        ] {
            let fault = text(bad).expect_err(says);
            assert!(fault.message.contains(says), "{fault:?}");
        }
    }

    #[test]
    fn no_bytes_may_be_null_and_some_may_not() {
        // SAFETY: null, or one byte.
        unsafe {
            assert!(bytes("it", ptr::null(), 0).expect("nothing").is_empty());
            bytes("it", ptr::null(), 1).expect_err("null");
            bytes("it", [0_u8].as_ptr().cast(), usize::MAX).expect_err("too long");
            assert!(buffer("it", ptr::null_mut(), 0).expect("none").is_empty());
            buffer("it", ptr::null_mut(), 1).expect_err("null");
            buffer("it", ptr::dangling_mut::<c_void>(), usize::MAX).expect_err("too long");
        }
    }

    #[test]
    fn only_stream_sockets_are_taken() {
        use std::os::fd::IntoRawFd;
        let file = std::fs::File::open("/dev/null").expect("a device");
        let file = file.into_raw_fd();
        // SAFETY: none of them is taken but the last, which is given away.
        unsafe {
            socket("it", -1).expect_err("a negative number");
            socket("it", c_int::MAX).expect_err("not open");
            socket("it", file).expect_err("a device");
            drop(OwnedFd::from_raw_fd(file));
            let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
            socket("it", one.into_raw_fd()).expect("a stream socket");
        }
    }
}
