//! `watm run`: all tunnels of a configuration file in one process, for as long as the machine runs.
//!
//! A start and a reload are made of the same steps, each of which may fail before anything changes:
//! read the file ([`plan`]), load the modules ([`made`]), bind the addresses ([`sockets`]), start the
//! servers ([`fleet`]), and announce that.

mod fleet;
mod made;
mod notify;
mod plan;
mod sockets;

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, bounded, never, select, tick};

use self::fleet::{Bound, Counts, Fleet};
use self::notify::Notifier;
use crate::args::DaemonArgs;
use crate::carry::open_files;
use crate::carry::signals::Signals;
use crate::monitor::{Monitor, Registry};
use crate::needs::{Collected, reload_failure};
use crate::terminal::announce::announce_tunnels;
use crate::terminal::failure::Failure;

pub(crate) fn run(args: DaemonArgs) -> Result<(), Failure> {
    // Read.
    let plans = plan::read(&args)?;
    confine(&args, &plans)?;
    // Load.
    let monitor = Monitor::install(args.metrics.metrics.as_ref())?;
    let registry = Registry::new();
    let (failed, failures) = bounded(1);
    let fleet = Arc::new(Fleet::new(&registry, failed));
    let loaded = fleet.load(plans)?;
    // Bind.
    let signals = Signals::install_for_server()?;
    open_files::raise_limit();
    let monitor = monitor.as_ref().map(Monitor::bind).transpose()?;
    let prepared = fleet.bind(loaded)?;
    // Start.
    if let Some(monitor) = monitor {
        monitor.start(&registry)?;
    }
    let (_, bound) = fleet.start(prepared, None)?;
    registry.loaded(false);
    registry.set_unready(None);
    // Announce.
    announce_tunnels(&bound, args.quiet)?;
    let daemon = Daemon {
        args: Arc::new(args),
        notifier: Notifier::new(),
        fleet,
        registry,
    };
    daemon.serve(&signals, &failures)
}

/// Confines the command. A reload may listen elsewhere, but reads only what this start has named.
fn confine(args: &DaemonArgs, plans: &[plan::Plan]) -> Result<(), Failure> {
    let mut needs = Collected::default();
    let load = args.load();
    needs.load(&load);
    needs.file(Some(&args.file));
    for plan in plans {
        needs.tunnel(&plan.tunnel, &load);
        needs.listen(plan.tunnel.listen());
    }
    needs.listen(&args.metrics.metrics);
    needs.notify();
    needs.read_again();
    needs.confine_anywhere(args.confine)
}

struct Daemon {
    args: Arc<DaemonArgs>,
    fleet: Arc<Fleet>,
    registry: Arc<Registry>,
    notifier: Notifier,
}

/// What a reload has come to.
type Reloaded = Result<(Counts, Vec<Bound>), Failure>;

impl Daemon {
    /// The main loop: nothing in it takes long, so that it works as long as the watchdog hears of
    /// it.
    fn serve(mut self, signals: &Signals, failures: &Receiver<Failure>) -> Result<(), Failure> {
        self.notifier.ready(self.registry.summary());
        let ticks = tick(self.notifier.period());
        let mut reload: Option<Receiver<Reloaded>> = None;
        let ended = loop {
            // One reload at a time. Further wishes wait.
            let idle = never();
            let (wishes, reloaded) = match &reload {
                Some(reload) => (&idle, reload.clone()),
                None => (&signals.reload, never()),
            };
            select! {
                recv(signals.first) -> name => {
                    log::info!("{}: ending", name.unwrap_or("no more signals"));
                    break Ok(());
                }
                recv(failures) -> failure => {
                    break Err(failure.unwrap_or_else(|_| Failure::silent()));
                }
                recv(wishes) -> wish => {
                    if wish.is_ok() {
                        reload = self.begin_reload();
                    }
                    // If not, the thread that sends them has ended, and has sent why.
                }
                recv(reloaded) -> result => {
                    reload = None;
                    let result = result.unwrap_or_else(|_| {
                        Err(Failure::new("the thread that reads the file panicked"))
                    });
                    self.end_reload(result);
                }
                recv(ticks) -> _ => {
                    self.fleet.tick();
                    self.notifier.tick(self.registry.summary());
                }
            }
        };
        self.stop(&ticks);
        ended
    }

    /// Reads the file again, on a thread: compiling may take long.
    fn begin_reload(&mut self) -> Option<Receiver<Reloaded>> {
        log::info!("SIGHUP: reading {} again", self.args.file.display());
        self.notifier.reloading();
        let (sender, reloaded) = bounded(1);
        let (args, fleet) = (Arc::clone(&self.args), Arc::clone(&self.fleet));
        let started = thread::Builder::new()
            .name("watm-reload".into())
            .spawn(move || {
                let _ = sender.send(again(&args, &fleet));
            });
        if let Err(error) = started {
            self.end_reload(Err(Failure::because("cannot start a thread", error)));
            return None;
        }
        Some(reloaded)
    }

    fn end_reload(&mut self, result: Reloaded) {
        let file = self.args.file.display();
        match result {
            Ok((counts, bound)) => {
                let Counts {
                    unchanged,
                    changed,
                    new,
                    removed,
                } = counts;
                log::warn!(
                    "SIGHUP: {file} is used as it is now: tunnels: {unchanged} unchanged, {changed} \
                     changed, {new} new, {removed} removed"
                );
                self.registry.loaded(true);
                if announce_tunnels(&bound, self.args.quiet).is_err() {
                    log::debug!("nobody reads the new addresses");
                }
                self.notifier.ready(self.registry.summary());
            }
            Err(failure) => {
                let reason = reload_failure(&failure, self.args.confine);
                log::error!("SIGHUP: nothing has changed: {reason}");
                self.registry.reload_failed();
                self.notifier
                    .reload_failed(self.registry.summary(), &failure.text());
            }
        }
    }

    /// Ends all connections. The main loop works meanwhile.
    fn stop(&mut self, ticks: &Receiver<std::time::Instant>) {
        self.registry.set_unready(Some("ending"));
        self.notifier.stopping();
        let fleet = Arc::clone(&self.fleet);
        let (done, ended) = bounded::<()>(0);
        let stopping = thread::Builder::new()
            .name("watm-stopping".into())
            .spawn(move || {
                fleet.stop();
                drop(done);
            });
        if stopping.is_err() {
            return self.fleet.stop();
        }
        loop {
            select! {
                recv(ended) -> _ => return,
                recv(ticks) -> _ => self.notifier.ping(),
            }
        }
    }
}

/// All steps once more. Until the last, nothing changes.
fn again(args: &DaemonArgs, fleet: &Fleet) -> Reloaded {
    let plans = plan::read(args)?;
    let loaded = fleet.load(plans)?;
    let prepared = fleet.bind(loaded)?;
    fleet.start(prepared, args.drain)
}
