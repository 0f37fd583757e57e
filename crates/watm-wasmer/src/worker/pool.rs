//! A pool of instances that have already run `watm_init_v1`, so that a new connection only has to
//! dial.
//!
//! Each instance sleeps on the thread of its worker until it is taken for a connection or the pool
//! is dropped. One thread for each pool refills it, one instance at a time and no faster than it
//! was told. Connections that find the pool empty create their own instances, and the refilling
//! must not compete with them for the cores.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use watm_abi::Role;

use crate::channel::link::{Level, Link};
use crate::channel::sync::lock;
use crate::error::SetupError;
use crate::guest::settings::Settings;
use crate::threads;
use crate::worker::thread::{Connection, prepare};

/// Stack of the refilling thread, in bytes.
const STACK: usize = 128 * 1024;
/// How long to wait after an instance could not be created. The pause doubles each time, up to
/// `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

/// A worker whose instance is ready for a connection.
pub(crate) struct Ready {
    pub(crate) link: Arc<Link>,
    /// Dropping it unused ends the worker.
    pub(crate) connection: Sender<Connection>,
}

struct State {
    ready: VecDeque<Ready>,
    /// The instance that is being created.
    preparing: Option<Arc<Link>>,
    closed: bool,
}

struct Shared {
    settings: Arc<Settings>,
    role: Role,
    state: Mutex<State>,
    /// Signals that an instance was taken or that the pool is closed.
    changed: Condvar,
}

/// Owned by whatever creates the connections. The refilling thread ends with it.
pub(crate) struct Pool(Arc<Shared>);

impl Pool {
    /// Starts to fill a pool. Returns `None` and logs it if the thread cannot be started.
    pub(crate) fn start(settings: &Arc<Settings>, role: Role) -> Option<Self> {
        let shared = Arc::new(Shared {
            settings: Arc::clone(settings),
            role,
            state: Mutex::new(State {
                ready: VecDeque::new(),
                preparing: None,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let filled = Arc::clone(&shared);
        let spawned = threads::spawn("watm-pool", STACK, move || filled.fill());
        match spawned {
            Ok(_) => Some(Self(shared)),
            Err(error) => {
                log::error!("there is no pool of instances, its thread does not start: {error}");
                None
            }
        }
    }

    /// Takes an instance, if there is one. [`Pool::refill`] must be called afterwards.
    pub(crate) fn take(&self) -> Option<Ready> {
        lock(&self.0.state).ready.pop_front()
    }

    /// Has the taken instance replaced. This is a separate call so that the replacement does not
    /// compete with the dial that the instance was taken for.
    pub(crate) fn refill(&self) {
        self.0.changed.notify_one();
    }

    /// Gives up every instance that is ready or being created, and creates no more.
    pub(crate) fn close(&self) {
        let (ready, preparing) = {
            let mut state = lock(&self.0.state);
            state.closed = true;
            (std::mem::take(&mut state.ready), state.preparing.take())
        };
        self.0.changed.notify_one();
        if let Some(link) = preparing {
            link.raise(Level::Stopping);
        }
        // Their workers end by themselves.
        drop(ready);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn fill(&self) {
        let interval = Duration::from_secs(1) / self.settings.spare_refill_rate.max(1);
        let mut pause = FIRST_PAUSE;
        while self.wait_for_need() && self.wait_closed(interval) {
            let wait = match self.prepare() {
                Ok(ready) => {
                    pause = FIRST_PAUSE;
                    if !self.put(ready) {
                        return;
                    }
                    continue;
                }
                Err(_) if lock(&self.state).closed => return,
                Err(error) => {
                    let name = self.settings.module.name();
                    log::warn!("no spare instance of {name}, trying again in {pause:?}: {error}");
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    wait
                }
            };
            if !self.wait_closed(wait) {
                return;
            }
        }
    }

    /// Sleeps until the pool is not full. Returns false once it is closed.
    fn wait_for_need(&self) -> bool {
        let mut state = lock(&self.state);
        while !state.closed && state.ready.len() >= self.settings.spare_instances {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed
    }

    /// Sleeps for `time`. Returns false once the pool is closed.
    fn wait_closed(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut state = lock(&self.state);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left == Duration::ZERO {
                return !state.closed;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Creates one instance and waits until it is ready, for as long as a handshake may take.
    fn prepare(&self) -> Result<Ready, SetupError> {
        let link = Arc::new(Link::spare());
        let (connection, awaited) = bounded(1);
        {
            let mut state = lock(&self.state);
            if state.closed {
                return Err(SetupError::Closed);
            }
            state.preparing = Some(Arc::clone(&link));
        }
        prepare(&self.settings, self.role, &link, awaited)?;
        Ok(Ready { link, connection })
    }

    /// Puts an instance into the pool. Returns false if the pool is closed.
    fn put(&self, ready: Ready) -> bool {
        let mut state = lock(&self.state);
        state.preparing = None;
        if !state.closed {
            state.ready.push_back(ready);
        }
        !state.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dialer;
    use crate::TransportModule;
    use crate::channel::link::Stage;

    /// Long enough for a busy machine.
    const LIMIT: Duration = Duration::from_secs(30);

    const MODULE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/guests/built/plain.wasm"
    );

    fn pool(size: usize) -> Pool {
        let module = TransportModule::from_file(MODULE).expect("a module");
        let builder = Dialer::builder(&module).spare_instances(size);
        let settings = builder.check().expect("settings");
        Pool::start(&settings, Role::Dialer).expect("a thread")
    }

    fn take(pool: &Pool) -> Ready {
        let started = Instant::now();
        loop {
            if let Some(ready) = pool.take() {
                pool.refill();
                return ready;
            }
            assert!(started.elapsed() < LIMIT, "the pool stays empty");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_pool_is_refilled_and_its_workers_end_unless_they_are_used() {
        let pool = pool(2);
        let taken: Vec<Ready> = (0..5).map(|_| take(&pool)).collect();
        let links: Vec<_> = taken.iter().map(|ready| Arc::clone(&ready.link)).collect();
        drop(taken);
        let last = take(&pool);
        drop(pool);
        let deadline = Some(Instant::now() + LIMIT);
        for link in links {
            assert!(link.wait_finished(deadline), "a worker stays");
        }
        assert!(!last.link.is_finished(), "one that was taken lives on");
    }

    #[test]
    fn an_instance_that_was_taken_has_a_whole_handshake_before_it() {
        let ready = take(&pool(1));
        assert!(!ready.link.advance(Stage::Preparing, Stage::Expired));
        assert!(ready.link.advance(Stage::Ready, Stage::SettingUp));
    }
}
