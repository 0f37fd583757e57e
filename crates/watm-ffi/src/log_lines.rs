//! The log of the library, as the application gets it. There is one for the process.

use std::cell::Cell;
use std::ffi::{c_char, c_void};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::border::{call, given, quietly};
use crate::hooks::{User, watm_destroy_fn};
use crate::status::{Fault, c_text, watm_error, watm_status};

/// No messages.
pub const WATM_LOG_OFF: u32 = 0;
/// What went wrong for good.
pub const WATM_LOG_ERROR: u32 = 1;
/// What somebody should look at.
pub const WATM_LOG_WARN: u32 = 2;
/// What happened, also what modules say.
pub const WATM_LOG_INFO: u32 = 3;
/// What happened in detail.
pub const WATM_LOG_DEBUG: u32 = 4;
/// Everything.
pub const WATM_LOG_TRACE: u32 = 5;

/// Takes a message of the log: its level, where it comes from (`watm_wasmer::roles`,
/// `watm::module::NAME`), and its text, which is one line of UTF-8. Both texts are valid during the
/// call.
///
/// It is called from any thread, several at a time, also within calls of this library. It should be
/// quick. What it logs itself by calling this library is dropped.
pub type watm_log_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        level: u32,
        target: *const c_char,
        message: *const c_char,
    ),
>;

type Callback = unsafe extern "C-unwind" fn(*mut c_void, u32, *const c_char, *const c_char);

struct Lines {
    callback: Callback,
    user: User,
}

thread_local! {
    /// The callback runs on this thread, so that what it causes is not logged: it might never end.
    static IS_LOGGING: Cell<bool> = const { Cell::new(false) };
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || IS_LOGGING.replace(true) {
            return;
        }
        let level = match record.level() {
            Level::Error => WATM_LOG_ERROR,
            Level::Warn => WATM_LOG_WARN,
            Level::Info => WATM_LOG_INFO,
            Level::Debug => WATM_LOG_DEBUG,
            Level::Trace => WATM_LOG_TRACE,
        };
        quietly((), || {
            let target = c_text(record.target());
            let message = c_text(&record.args().to_string());
            // SAFETY: the application's function with its pointer, and texts that outlive the call.
            unsafe {
                (self.callback)(self.user.data, level, target.as_ptr(), message.as_ptr());
            }
        });
        IS_LOGGING.set(false);
    }

    fn flush(&self) {}
}

fn filter(level: u32) -> Result<LevelFilter, Fault> {
    Ok(match level {
        WATM_LOG_OFF => LevelFilter::Off,
        WATM_LOG_ERROR => LevelFilter::Error,
        WATM_LOG_WARN => LevelFilter::Warn,
        WATM_LOG_INFO => LevelFilter::Info,
        WATM_LOG_DEBUG => LevelFilter::Debug,
        WATM_LOG_TRACE => LevelFilter::Trace,
        _ => return Err(Fault::argument(format!("{level} is no WATM_LOG level"))),
    })
}

/// Sends the messages of the library to a callback, up to a level such as WATM_LOG_INFO. Without
/// this call there are no messages.
///
/// It works once in a process: a second call fails with WATM_STATUS_CONFIG and the code `log`. The
/// callback and `user` are used as long as the process lives, so `destroy`, which may be null, is
/// called only if the call fails.
#[unsafe(no_mangle)]
pub extern "C" fn watm_log(
    callback: watm_log_fn,
    level: u32,
    user: *mut c_void,
    destroy: watm_destroy_fn,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let user = User::new(user, destroy);
    call(error, || {
        let callback = given("the callback", callback)?;
        let level = filter(level)?;
        // If there is a logger already, this one is freed.
        log::set_boxed_logger(Box::new(Lines { callback, user })).map_err(|_| {
            let message = "the log of this process has its callback already";
            Fault::new(watm_status::Config, "log", libc::EALREADY, message)
        })?;
        log::set_max_level(level);
        Ok(())
    })
}

/// Changes up to which level there are messages, as for watm_log().
#[unsafe(no_mangle)]
pub extern "C" fn watm_log_level(level: u32, error: Option<&mut *mut watm_error>) -> watm_status {
    call(error, || {
        log::set_max_level(filter(level)?);
        Ok(())
    })
}
