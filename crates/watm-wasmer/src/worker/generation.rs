//! What the workers of a role are made with: a module and its settings, and the pool that was filled
//! with them. A later generation takes its place for new connections.
//!
//! A generation that replaced another is on trial: if all of its first connections fail because of
//! it, the one before is put back.

use std::sync::{Arc, Mutex, Weak};

use crossbeam_channel::bounded;
use watm_abi::Role;

use crate::channel::link::Link;
use crate::channel::sync::lock;
use crate::error::{SetupError, TransportError};
use crate::guest::settings::Settings;
use crate::worker::pool::Pool;
use crate::worker::thread::{Connection, prepare};

/// How many connections a new generation is on trial for.
const TRIAL: u32 = 3;

pub(super) struct Generation {
    pub(super) settings: Arc<Settings>,
    pub(super) pool: Option<Arc<Pool>>,
    trial: Mutex<Option<Trial>>,
}

struct Trial {
    /// What is put back if all fail.
    before: Arc<Settings>,
    /// Connections under way that count, and those that have failed.
    tried: u32,
    failed: u32,
}

/// The generation of a role that makes its connections now.
pub(super) struct Current {
    role: Role,
    state: Mutex<State>,
}

struct State {
    generation: Arc<Generation>,
    /// No pool is filled any more.
    is_closed: bool,
    /// The generation before the last one was put back, since that one failed.
    is_taken_back: bool,
}

impl Generation {
    fn new(settings: Arc<Settings>, role: Role, with_pool: bool, trial: Option<Trial>) -> Self {
        let pool = if with_pool && settings.spare_instances > 0 {
            Pool::start(&settings, role).map(Arc::new)
        } else {
            None
        };
        Self {
            settings,
            pool,
            trial: Mutex::new(trial),
        }
    }

    /// For a connection with settings of its own, which neither takes an instance of a pool nor says
    /// anything of other connections.
    pub(super) fn of_one_connection(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            pool: None,
            trial: Mutex::new(None),
        }
    }

    fn close_pool(&self) {
        if let Some(pool) = &self.pool {
            pool.close();
        }
    }
}

impl Current {
    pub(super) fn new(settings: &Arc<Settings>, role: Role) -> Self {
        let generation = Generation::new(Arc::clone(settings), role, true, None);
        Self {
            role,
            state: Mutex::new(State {
                generation: Arc::new(generation),
                is_closed: false,
                is_taken_back: false,
            }),
        }
    }

    pub(super) fn get(&self) -> Arc<Generation> {
        Arc::clone(&lock(&self.state).generation)
    }

    /// Whether what was put in last has failed, and what was there before is used again.
    pub(super) fn is_taken_back(&self) -> bool {
        lock(&self.state).is_taken_back
    }

    /// Gives up the pool for good.
    pub(super) fn close_pool(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.generation.close_pool();
    }

    /// Makes connections with other settings from now on. Before that, one instance has to get as far
    /// as one of a pool.
    pub(super) fn replace(&self, settings: Arc<Settings>) -> Result<(), SetupError> {
        try_instance(&settings, self.role)?;
        let before = self.get();
        let trial = Trial {
            before: Arc::clone(&before.settings),
            tried: 0,
            failed: 0,
        };
        self.put(settings, Some(trial), None);
        Ok(())
    }

    /// Puts a generation in the place of another; of this one alone, if one is named.
    fn put(
        &self,
        settings: Arc<Settings>,
        trial: Option<Trial>,
        of: Option<&Arc<Generation>>,
    ) -> bool {
        let mut state = lock(&self.state);
        if of.is_some_and(|of| !Arc::ptr_eq(of, &state.generation)) {
            return false;
        }
        state.is_taken_back = of.is_some();
        let next = Generation::new(settings, self.role, !state.is_closed, trial);
        let last = std::mem::replace(&mut state.generation, Arc::new(next));
        drop(state);
        last.close_pool();
        true
    }

    /// Puts back what was there before `generation`.
    fn take_back(&self, generation: &Arc<Generation>, before: Arc<Settings>) {
        if self.put(before, None, Some(generation)) {
            let name = generation.settings.module.name();
            log::error!(
                "the first {TRIAL} connections of the new module {name} failed because of it; the module before it is used again"
            );
        }
    }

    /// Has a connection count for the trial of its generation, if there is one.
    pub(super) fn try_out(
        self: &Arc<Self>,
        generation: &Arc<Generation>,
        connection: Connection,
    ) -> Connection {
        let is_tried = match &mut *lock(&generation.trial) {
            Some(trial) if trial.tried < TRIAL => {
                trial.tried += 1;
                true
            }
            _ => false,
        };
        if !is_tried {
            return connection;
        }
        let tried = Arc::new(Tried {
            current: Arc::downgrade(self),
            generation: Arc::clone(generation),
        });
        let ending = Arc::clone(&tried);
        let role = self.role;
        let (report, ended) = (connection.report, connection.ended);
        Connection {
            report: Box::new(move |result| {
                match &result {
                    Ok(_) => {}
                    Err(error) if is_fault(error, role) => tried.failed(),
                    Err(_) => tried.says_nothing(),
                }
                report(result);
            }),
            ended: Some(Box::new(move |link| {
                match link.outcome() {
                    _ if !link.is_established() => {}
                    Some(Err(error)) if is_breakdown(error) => ending.failed(),
                    _ => ending.passed(),
                }
                if let Some(ended) = ended {
                    ended(link);
                }
            })),
            ..connection
        }
    }
}

/// Makes an instance that gets as far as one of a pool, and lets it end.
pub(crate) fn try_instance(settings: &Arc<Settings>, role: Role) -> Result<(), SetupError> {
    let link = Arc::new(Link::spare());
    let (unused, awaited) = bounded(1);
    prepare(settings, role, &link, awaited)?;
    drop(unused);
    Ok(())
}

/// One of the first connections of a generation.
struct Tried {
    /// The role may be gone before its connections.
    current: Weak<Current>,
    generation: Arc<Generation>,
}

impl Tried {
    fn passed(&self) {
        *lock(&self.generation.trial) = None;
    }

    /// Another connection is tried in its place.
    fn says_nothing(&self) {
        if let Some(trial) = &mut *lock(&self.generation.trial) {
            trial.tried -= 1;
        }
    }

    fn failed(&self) {
        let before = {
            let mut place = lock(&self.generation.trial);
            let Some(trial) = &mut *place else { return };
            trial.failed += 1;
            if trial.failed < TRIAL {
                return;
            }
            place.take().map(|trial| trial.before)
        };
        if let (Some(before), Some(current)) = (before, self.current.upgrade()) {
            current.take_back(&self.generation, before);
        }
    }
}

/// Whether a connection was not set up because of the module or its settings, as far as that can be
/// told.
///
/// For a role that dials, a handshake that fails or takes too long counts, since a module that its
/// server does not understand waits for it. Clients that a role accepts may be anybody: whoever fails
/// the handshake of a new module must not get the old one back.
fn is_fault(error: &SetupError, role: Role) -> bool {
    let chooses_peers = matches!(role, Role::Dialer | Role::FixedDialer);
    match error {
        SetupError::Transport(error) if is_breakdown(error) => true,
        SetupError::Transport(TransportError::Failed { .. }) => chooses_peers,
        SetupError::TimedOut { connecting, .. } => chooses_peers && !connecting,
        SetupError::Instantiate(_) => true,
        _ => false,
    }
}

/// Whether a transport that was set up broke down because of the module, whatever its peer did.
fn is_breakdown(error: &TransportError) -> bool {
    matches!(
        error,
        TransportError::Trapped { .. }
            | TransportError::Exited { .. }
            | TransportError::BadDescriptor { .. }
    )
}
