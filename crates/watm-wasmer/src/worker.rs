//! The threads that run connections, one for each. The embedder hears from a thread over a channel
//! when the transport is set up. From then on it hears through the [`Link`] and the pipe.
//!
//! This file is where a role gets its workers. It knows neither who asked for a connection nor what
//! is done with it.

mod census;
mod generation;
pub(crate) mod mappings;
mod pool;
pub(crate) mod set_up;
pub(crate) mod thread;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use watm_abi::Role;

use crate::channel::link::{Link, Stage};
use crate::channel::supervisor;
use crate::error::SetupError;
use crate::guest::settings::Settings;
use crate::host::Ends;
pub(crate) use crate::worker::generation::try_instance;
use crate::worker::generation::{Current, Generation};
use crate::worker::pool::Pool;
use crate::worker::set_up::{SetUp, answer};
use crate::worker::thread::{Connection, Job, Source, spawn, without_a_word};

/// How long a worker may take beyond the grace period when its guest has to be interrupted.
pub(crate) const MARGIN: Duration = Duration::from_millis(500);

/// The source of workers for the connections of one role. Clones share what they make them with.
#[derive(Clone)]
pub(crate) struct Workers {
    /// What the role was made with. What belongs to the role and not to connections stays so.
    pub(crate) settings: Arc<Settings>,
    role: Role,
    current: Arc<Current>,
}

impl Workers {
    pub(crate) fn new(settings: Arc<Settings>, role: Role) -> Self {
        Self {
            current: Arc::new(Current::new(&settings, role)),
            settings,
            role,
        }
    }

    /// What connections that begin now are made with.
    pub(crate) fn current(&self) -> Arc<Settings> {
        Arc::clone(&self.current.get().settings)
    }

    /// Makes connections with other settings from now on, for the same role. It fails, and nothing
    /// changes, if no instance can be made with them.
    pub(crate) fn replace(&self, settings: Arc<Settings>) -> Result<(), SetupError> {
        self.current.replace(settings)
    }

    /// Whether what [`Workers::replace`] put in last has failed, and what was there before is used
    /// again.
    pub(crate) fn is_taken_back(&self) -> bool {
        self.current.is_taken_back()
    }

    /// Gives up the pool. Connections then create their own instances.
    pub(crate) fn close_pool(&self) {
        self.current.close_pool();
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Returns a worker for a connection, with settings and a configuration of its own or the common
    /// ones. The worker comes from the pool, or has yet to be started.
    pub(crate) fn next(&self, own: Option<Arc<Settings>>, config: Option<Arc<[u8]>>) -> Worker {
        let generation = match own {
            Some(settings) => Arc::new(Generation::of_one_connection(settings)),
            None => self.current.get(),
        };
        let pool = generation.pool.as_ref().filter(|_| config.is_none());
        let ready = pool.and_then(|pool| Some((pool.take()?, Refill(Arc::clone(pool)))));
        let (link, ready) = match ready {
            Some((ready, refill)) => (ready.link, Some((ready.connection, refill))),
            None => (Arc::default(), None),
        };
        let job = Job {
            settings: Arc::clone(&generation.settings),
            role: self.role,
            config,
            link,
        };
        let limit = generation.settings.setup_timeout;
        Worker {
            job,
            ready,
            limit,
            current: Arc::clone(&self.current),
            generation,
        }
    }
}

/// A worker that does not have a connection yet.
pub(crate) struct Worker {
    job: Job,
    ready: Option<(Sender<Connection>, Refill)>,
    /// How long the set-up may take.
    limit: Duration,
    /// What it was made with, and for whom.
    current: Arc<Current>,
    generation: Arc<Generation>,
}

/// Makes the pool replace the worker that was taken from it, when this value is dropped.
pub(crate) struct Refill(Arc<Pool>);

impl Drop for Refill {
    fn drop(&mut self) {
        self.0.refill();
    }
}

impl Worker {
    /// Gives the set-up less time than the settings do, or more.
    pub(crate) fn within(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit.unwrap_or(self.limit);
        self
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.job.link
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.job.settings
    }

    /// Hands the connection to the worker. If this fails, neither its `report` nor its `ended` is
    /// called.
    pub(crate) fn serve(self, connection: Connection) -> Result<(), SetupError> {
        self.hand_over(connection).map(|_refill| ())
    }

    fn hand_over(self, connection: Connection) -> Result<Option<Refill>, SetupError> {
        let Self {
            job,
            ready,
            limit,
            current,
            generation,
        } = self;
        let connection = current.try_out(&generation, connection);
        let ends = &connection.ends;
        for stream in ends.incoming.iter().chain(ends.internal.plain()) {
            stream.reset_on_drop();
        }
        let link = Arc::clone(&job.link);
        let deadline = Instant::now() + limit;
        link.set_limit(deadline, limit);
        let Some((ready, refill)) = ready else {
            supervisor::end_stage_at(deadline, &link, Stage::SettingUp);
            spawn(job, Source::Given(connection))?;
            return Ok(None);
        };
        if !link.advance(Stage::Ready, Stage::SettingUp) {
            return Err(without_a_word());
        }
        supervisor::end_stage_at(deadline, &link, Stage::SettingUp);
        ready.send(connection).map_err(|_| without_a_word())?;
        Ok(Some(refill))
    }

    /// Hands the connection to the worker. The result tells when its transport is set up.
    pub(crate) fn begin(self, ends: Ends) -> Result<SetUp, SetupError> {
        let link = Arc::clone(&self.job.link);
        let (report, answer) = answer(&link);
        let refill = self.hand_over(Connection {
            ends,
            begins: None,
            report,
            ended: None,
        })?;
        Ok(SetUp::new(link, answer, refill))
    }
}
