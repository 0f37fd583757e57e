//! The tunnels that run: how they start, how they change, and how they end.
//!
//! Each server that accepts, and each that only has connections left, is in the registry as well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use watm_wasmer::{ListenAddress, ServerHandle};

use super::made::{Made, Ready};
use super::plan::{Change, Plan};
use super::sockets::{Pool, Socket, bind_all};
use crate::monitor::{Registry, Served};
use crate::terminal::failure::Failure;

pub(super) struct Fleet {
    state: Mutex<State>,
    registry: Arc<Registry>,
    /// Gets the failure of a server that can accept no more.
    failed: Sender<Failure>,
    /// Nothing starts or changes any more.
    is_ending: AtomicBool,
}

#[derive(Default)]
struct State {
    running: Vec<Running>,
    leaving: Vec<Leaving>,
}

/// A tunnel that accepts connections.
struct Running {
    plan: Plan,
    contents: [u8; 32],
    sockets: Vec<Socket>,
    server: Arc<ServerHandle>,
}

/// A server that accepts no more, and has connections left.
struct Leaving {
    name: String,
    server: Arc<ServerHandle>,
    /// When its connections are cut off, if ever.
    until: Option<Instant>,
}

/// How many tunnels a start or a reload has treated in which way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) unchanged: usize,
    pub(super) changed: usize,
    pub(super) new: usize,
    pub(super) removed: usize,
}

/// The address of a tunnel, for its line of output.
pub(super) type Bound = (String, String);

/// A configuration whose modules are loaded.
pub(super) struct Loaded(Vec<(Plan, Work)>);

/// What a start or a reload has to do with one tunnel.
enum Work {
    Keep,
    Replace(Box<Made>),
    Start(Box<Made>),
}

/// A configuration whose sockets are bound.
pub(super) struct Prepared(Vec<Step>);

/// What becomes of a tunnel. All that may fail has been tried.
enum Step {
    Keep(Box<Plan>),
    Replace(Box<Made>),
    Start(Box<Made>, Vec<Socket>, Box<Ready>),
}

impl Fleet {
    pub(super) fn new(registry: &Arc<Registry>, failed: Sender<Failure>) -> Self {
        Self {
            state: Mutex::default(),
            registry: Arc::clone(registry),
            failed,
            is_ending: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads what the plans say, as far as it does not run in this way already. Takes as long as
    /// compiling does, and changes nothing.
    pub(super) fn load(&self, plans: Vec<Plan>) -> Result<Loaded, Failure> {
        let works = plans.into_iter();
        let works = works.map(|plan| Ok((plan.clone(), self.work(plan)?)));
        Ok(Loaded(works.collect::<Result<_, Failure>>()?))
    }

    fn work(&self, plan: Plan) -> Result<Work, Failure> {
        let before = {
            let state = self.lock();
            let mut running = state.running.iter();
            let found = running.find(|running| running.plan.name == plan.name);
            found.map(|running| {
                let is_used = !running.server.is_taken_back();
                (running.plan.clone(), running.contents, is_used)
            })
        };
        let Some((before, contents, is_used)) = before else {
            return Ok(Work::Start(Made::load(plan)?));
        };
        Ok(match plan.change_from(&before) {
            Change::Server => Work::Start(Made::load(plan)?),
            // If they cannot be read, loading says so.
            Change::None if is_used && plan.tunnel.contents().ok() == Some(contents) => Work::Keep,
            Change::None | Change::Settings => Work::Replace(Made::load(plan)?),
        })
    }

    /// Binds what is not bound yet, makes servers on the sockets, and tries one instance for each
    /// tunnel that is new or has changed. Nothing is accepted yet, and nothing changes.
    pub(super) fn bind(&self, Loaded(works): Loaded) -> Result<Prepared, Failure> {
        let mut pool = Pool::default();
        for running in &self.lock().running {
            pool.add(&running.plan.name, &running.sockets)?;
        }
        let wanted: Vec<(&str, &[ListenAddress])> = works
            .iter()
            .map(|(plan, _)| (plan.name.as_str(), plan.tunnel.listen()))
            .collect();
        let sockets = bind_all(&wanted, pool)?;
        let steps = works
            .into_iter()
            .zip(sockets)
            .map(|((plan, work), sockets)| {
                Ok(match work {
                    Work::Keep => Step::Keep(Box::new(plan)),
                    Work::Replace(made) => {
                        made.ready(&sockets)?;
                        Step::Replace(made)
                    }
                    Work::Start(made) => {
                        let ready = made.ready(&sockets)?;
                        Step::Start(made, sockets, ready)
                    }
                })
            });
        Ok(Prepared(steps.collect::<Result<_, Failure>>()?))
    }

    /// Starts what is new, and stops what it takes the place of. `drain` is how long the connections
    /// of that have. Returns the addresses that are new.
    pub(super) fn start(
        &self,
        Prepared(steps): Prepared,
        drain: Option<Duration>,
    ) -> Result<(Counts, Vec<Bound>), Failure> {
        let mut state = self.lock();
        if self.is_ending.load(Ordering::Acquire) {
            return Err(Failure::new("the command is ending"));
        }
        // What may still fail comes first.
        let started = self.start_all(steps)?;
        let mut before = std::mem::take(&mut state.running);
        let mut counts = Counts::default();
        for step in started {
            let running = self.take_over(step, &mut before, &mut counts, &mut state, drain);
            state.running.extend(running);
        }
        counts.removed = before.len();
        for removed in before {
            self.let_go(removed, drain, &mut state);
        }
        Ok((counts, new_addresses(&mut state.running)))
    }

    /// Starts all servers that are new, or none.
    fn start_all(&self, steps: Vec<Step>) -> Result<Vec<Started>, Failure> {
        let mut started = Vec::new();
        for step in steps {
            match self.start_one(step) {
                Ok(one) => started.push(one),
                Err(failure) => {
                    for one in started {
                        // The thread that watches a server would keep it.
                        if let Started::New(_, _, server) = one {
                            server.shutdown();
                        }
                    }
                    return Err(failure);
                }
            }
        }
        Ok(started)
    }

    fn start_one(&self, step: Step) -> Result<Started, Failure> {
        Ok(match step {
            Step::Keep(plan) => Started::Keep(plan),
            Step::Replace(made) => Started::Replace(made),
            Step::Start(made, sockets, ready) => {
                let server = ready.start()?;
                self.watch(&server)?;
                Started::New(made, sockets, server)
            }
        })
    }

    /// Takes over a tunnel from those of before, or adds it.
    fn take_over(
        &self,
        step: Started,
        before: &mut Vec<Running>,
        counts: &mut Counts,
        state: &mut State,
        drain: Option<Duration>,
    ) -> Option<Running> {
        let at = before
            .iter()
            .position(|running| running.plan.name == *step.name());
        let old = at.map(|at| before.swap_remove(at));
        match (step, old) {
            (Started::Keep(plan), Some(old)) => {
                counts.unchanged += 1;
                Some(Running { plan: *plan, ..old })
            }
            (Started::Replace(made), Some(mut old)) => {
                counts.changed += 1;
                let (plan, contents) = (made.plan.clone(), made.contents);
                match made.replace_in(&old.server) {
                    Ok(()) => (old.plan, old.contents) = (plan, contents),
                    // It was tried a moment ago. The next reload tries again.
                    Err(failure) => log::error!(
                        "tunnel `{}` goes on with the settings of before: {}",
                        plan.name,
                        failure.text()
                    ),
                }
                Some(old)
            }
            (Started::New(made, sockets, server), old) => {
                self.registry.add(Served {
                    tunnel: made.plan.name.clone(),
                    role: made.plan.role,
                    server: Arc::clone(&server),
                });
                match old {
                    Some(old) => {
                        counts.changed += 1;
                        self.let_go(old, drain, state);
                    }
                    None => counts.new += 1,
                }
                Some(Running {
                    plan: made.plan,
                    contents: made.contents,
                    sockets,
                    server,
                })
            }
            // What is kept or replaced was there when it was loaded, and only this function
            // takes anything away.
            (Started::Keep(_) | Started::Replace(_), None) => None,
        }
    }

    /// Has a server accept no more. Its connections go on.
    fn let_go(&self, running: Running, drain: Option<Duration>, state: &mut State) {
        let Running { plan, server, .. } = running;
        server.stop_accepting();
        self.registry.leave(&server);
        state.leaving.push(Leaving {
            name: plan.name,
            server,
            until: drain.and_then(|drain| Instant::now().checked_add(drain)),
        });
    }

    /// Tells when a server can accept no more, though nobody has stopped it.
    fn watch(&self, server: &Arc<ServerHandle>) -> Result<(), Failure> {
        let (watched, failed) = (Arc::clone(server), self.failed.clone());
        thread::Builder::new()
            .name("watm-accepting".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                if let Err(error) = watched.wait() {
                    let failure = Failure::because("cannot accept connections", error);
                    let _ = failed.try_send(failure);
                }
            })
            .map_err(|error| Failure::because("cannot start a thread", error))?;
        Ok(())
    }

    /// Lets go of servers whose connections have ended, and cuts off those whose time is over.
    pub(super) fn tick(&self) {
        // A reload that goes on does so soon enough.
        let Ok(mut state) = self.state.try_lock() else {
            return;
        };
        let now = Instant::now();
        state.leaving.retain_mut(|leaving| {
            let active = leaving.server.stats().active;
            if active == 0 {
                self.registry.remove(&leaving.server);
                return false;
            }
            if leaving.until.is_some_and(|until| now >= until) {
                leaving.until = None;
                log::warn!(
                    "tunnel `{}`: {active} connections of before the reload are cut off",
                    leaving.name
                );
                let server = Arc::clone(&leaving.server);
                let cutting = thread::Builder::new().name("watm-cutting".into());
                // If there is no thread, the next look tries again.
                if cutting.spawn(move || server.shutdown()).is_err() {
                    leaving.until = Some(now);
                }
            }
            true
        });
    }

    /// Ends all tunnels at once, each within its grace period.
    pub(super) fn stop(&self) {
        self.is_ending.store(true, Ordering::Release);
        let State { running, leaving } = std::mem::take(&mut *self.lock());
        let mut servers = Vec::new();
        let mut longest = Duration::ZERO;
        for Running { plan, server, .. } in running {
            server.stop_accepting();
            longest = longest.max(plan.close_grace());
            servers.push((plan.name.clone(), server, plan.close_grace()));
        }
        for Leaving { name, server, .. } in leaving {
            servers.push((name, server, Duration::ZERO));
        }
        thread::scope(|scope| {
            for (_, server, grace) in &servers {
                let stop = move || {
                    server.drain(*grace);
                    server.shutdown();
                };
                let thread = thread::Builder::new().stack_size(64 * 1024);
                if thread.spawn_scoped(scope, stop).is_err() {
                    stop();
                }
            }
        });
        // The modules below the first deliver on their own.
        watm_wasmer::drain(longest);
        for (name, server, _) in servers {
            let stats = server.stats();
            if stats.active > 0 {
                log::warn!(
                    "tunnel `{name}`: {} connections did not end in time",
                    stats.active
                );
            }
            log::info!("tunnel `{name}` has served: {stats:?}");
        }
    }
}

/// A step whose server runs.
enum Started {
    Keep(Box<Plan>),
    Replace(Box<Made>),
    New(Box<Made>, Vec<Socket>, Arc<ServerHandle>),
}

impl Started {
    fn name(&self) -> &str {
        match self {
            Self::Keep(plan) => &plan.name,
            Self::Replace(made) | Self::New(made, _, _) => &made.plan.name,
        }
    }
}

/// The addresses of sockets that were not announced yet.
fn new_addresses(running: &mut [Running]) -> Vec<Bound> {
    let mut bound = Vec::new();
    for Running { plan, sockets, .. } in running {
        for socket in sockets.iter_mut().filter(|socket| socket.is_new) {
            socket.is_new = false;
            bound.extend(socket.shown().map(|shown| (plan.name.clone(), shown)));
        }
    }
    bound
}
