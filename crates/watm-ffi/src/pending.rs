//! Connections that are being set up, for callers that do not wait in the call that begins it.

use std::ffi::c_int;
use std::future::Future;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use watm_wasmer::{Carried, Conn, Pending};

use crate::border::{Counted, call, given, limit, lock, make, quietly};
use crate::carried::watm_carried;
use crate::conn::watm_conn;
use crate::status::{Fault, watm_error, watm_status};

/// A connection that is being set up. The set-up goes on whether or not anybody waits for it.
pub struct watm_pending {
    /// Nothing once the result was given out.
    under_way: Mutex<Option<UnderWay>>,
    is_carried: bool,
    bell: Arc<Bell>,
    _counted: Counted,
}

/// What was set up.
enum Ready {
    Conn(Conn),
    Carried(Carried),
}

type UnderWay = Pin<Box<dyn Future<Output = Result<Ready, Fault>> + Send>>;

impl watm_pending {
    pub(crate) fn new<E>(pending: Pending<Conn, E>) -> Self
    where
        E: Into<Fault> + 'static,
    {
        let under_way = async { pending.await.map(Ready::Conn).map_err(E::into) };
        Self::of(Box::pin(under_way), false)
    }

    pub(crate) fn carried<E>(pending: Pending<Carried, E>) -> Self
    where
        E: Into<Fault> + 'static,
    {
        let under_way = async { pending.await.map(Ready::Carried).map_err(E::into) };
        Self::of(Box::pin(under_way), true)
    }

    fn of(under_way: UnderWay, is_carried: bool) -> Self {
        Self {
            under_way: Mutex::new(Some(under_way)),
            is_carried,
            bell: Arc::default(),
            _counted: Counted::new(),
        }
    }

    fn is_other(&self, function: &str) -> Fault {
        let what = if self.is_carried { "a" } else { "no" };
        Fault::argument(format!(
            "{what} plain connection is to be carried: {function} waits for that"
        ))
    }

    /// Waits for the result, up to a time.
    fn wait(&self, milliseconds: i64) -> Result<Ready, Fault> {
        let until = limit(milliseconds).and_then(|limit| Instant::now().checked_add(limit));
        loop {
            self.bell.quieten();
            let seen = self.bell.rings();
            if let Some(ready) = self.poll()? {
                return Ok(ready);
            }
            if !self.bell.wait(seen, until) {
                return Err(Fault::again());
            }
        }
    }

    /// The result, if it is there. It is given out once.
    fn poll(&self) -> Result<Option<Ready>, Fault> {
        let mut slot = lock(&self.under_way);
        let Some(mut under_way) = slot.take() else {
            return Err(Fault::argument("the result was given out before"));
        };
        let waker = Waker::from(Arc::clone(&self.bell));
        match under_way.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                *slot = Some(under_way);
                Ok(None)
            }
            Poll::Ready(result) => {
                drop(slot);
                // Others may wait for a result that they will not get.
                self.bell.ring();
                result.map(Some)
            }
        }
    }
}

/// Tells those who wait that they should look again.
#[derive(Default)]
struct Bell {
    /// How often it has rung.
    rings: Mutex<u64>,
    rung: Condvar,
    /// The end of an event loop, and the one that makes it readable.
    signal: OnceLock<[UnixStream; 2]>,
}

impl Bell {
    fn ring(&self) {
        *lock(&self.rings) += 1;
        self.rung.notify_all();
        if let Some([_, ours]) = self.signal.get() {
            // If it takes nothing, it is readable already.
            let _ = (&mut &*ours).write(&[0]);
        }
    }

    fn rings(&self) -> u64 {
        *lock(&self.rings)
    }

    /// Waits until it has rung more often, or until a time. Returns whether it has.
    fn wait(&self, seen: u64, until: Option<Instant>) -> bool {
        let mut rings = lock(&self.rings);
        while *rings == seen {
            let Some(until) = until else {
                rings = self
                    .rung
                    .wait(rings)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.rung.wait_timeout(rings, left);
            rings = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The end of an event loop, which is readable at first.
    fn signal(&self) -> io::Result<&[UnixStream; 2]> {
        if let Some(signal) = self.signal.get() {
            return Ok(signal);
        }
        let (watched, ours) = UnixStream::pair()?;
        watched.set_nonblocking(true)?;
        ours.set_nonblocking(true)?;
        (&mut &ours).write_all(&[0])?;
        Ok(self.signal.get_or_init(|| [watched, ours]))
    }

    /// Forgets what has rung before, so that the descriptor is readable only if it rings again.
    fn quieten(&self) {
        if let Some([watched, _]) = self.signal.get() {
            let mut bytes = [0; 64];
            while matches!((&mut &*watched).read(&mut bytes), Ok(1..)) {}
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// Waits, up to a time in milliseconds, until the connection is set up. 0 looks without waiting; a
/// negative time is none.
///
/// The connection is left in `*conn` and belongs to the caller; the pending dial still has to be
/// freed. While the connection is not set up, it returns WATM_STATUS_AGAIN. Otherwise it fails as
/// the blocking call would. The result is given out once; after that, it fails with
/// WATM_STATUS_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn watm_pending_wait(
    pending: Option<&watm_pending>,
    milliseconds: i64,
    conn: Option<&mut *mut watm_conn>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(conn, error, || {
        let pending = given("the pending dial", pending)?;
        if pending.is_carried {
            return Err(pending.is_other("watm_pending_wait_carried()"));
        }
        match pending.wait(milliseconds)? {
            Ready::Conn(conn) => Ok(watm_conn::new(conn)),
            Ready::Carried(_) => Err(pending.is_other("watm_pending_wait_carried()")),
        }
    })
}

/// Waits as watm_pending_wait() does, for what watm_dialer_begin_carrying() and others begin.
#[unsafe(no_mangle)]
pub extern "C" fn watm_pending_wait_carried(
    pending: Option<&watm_pending>,
    milliseconds: i64,
    carried: Option<&mut *mut watm_carried>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(carried, error, || {
        let pending = given("the pending dial", pending)?;
        if !pending.is_carried {
            return Err(pending.is_other("watm_pending_wait()"));
        }
        match pending.wait(milliseconds)? {
            Ready::Carried(carried) => Ok(watm_carried::new(carried)),
            Ready::Conn(_) => Err(pending.is_other("watm_pending_wait()")),
        }
    })
}

/// A descriptor for event loops, such as poll or epoll: it is readable while watm_pending_wait() or
/// watm_pending_wait_carried() with 0 milliseconds may have a result. There is nothing to read from
/// it.
///
/// It is readable at first, and then after each call that returned WATM_STATUS_AGAIN once something
/// has happened. The caller closes it. Fails with WATM_STATUS_SYSTEM if there are no descriptors
/// left.
#[unsafe(no_mangle)]
pub extern "C" fn watm_pending_readiness(
    pending: Option<&watm_pending>,
    fd: Option<&mut MaybeUninit<c_int>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let pending = given("the pending dial", pending)?;
        let fd = given("the place for the descriptor", fd)?;
        let [watched, _] = pending.bell.signal()?;
        fd.write(watched.try_clone()?.into_raw_fd());
        Ok(())
    })
}

/// Frees a pending dial. If its result was not taken, the connection is given up. `pending` may be
/// null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_pending_free(pending: Option<Box<watm_pending>>) {
    quietly((), || drop(pending));
}
