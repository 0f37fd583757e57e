//! A command that serves clients: what can be done to it, and what it currently holds.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::case::{Limits, told};
use crate::child::{Child, Ended, Output};
use crate::report::Report;
use crate::scene::Scene;
use crate::target::Target;

/// How long a guest may continue after its peers have reset: half a second until that is noticed,
/// the time to drain, half a second until that is found to be over, the grace period, and a second
/// for a busy machine.
pub(crate) const GONE: Duration = Duration::from_secs(5);
const DRAIN: &str = "1s";
const GRACE: &str = "2s";
/// Number of threads, and of descriptors, that the command creates for its first client and keeps.
pub(crate) const MADE_ONCE: usize = 4;
/// Limit for what takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Processor time after which the system ends a service.
const PROCESSOR: Duration = Duration::from_secs(30);

/// `watm listen` or `watm relay`, in front of an echo server.
pub(crate) struct Service {
    child: Child,
    address: String,
    target: Target,
}

/// What a service holds at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uses {
    threads: usize,
    descriptors: usize,
}

impl Service {
    /// Starts `watm listen` with these additional arguments.
    pub(crate) fn listen(
        scene: &Scene,
        module: &Path,
        args: &[&str],
        output: Output,
    ) -> Result<Self, String> {
        Self::start(scene, "listen", "--forward", module, args, output)
    }

    /// Starts `watm relay` with these additional arguments.
    pub(crate) fn relay(scene: &Scene, module: &Path, args: &[&str]) -> Result<Self, String> {
        Self::start(scene, "relay", "--remote", module, args, Output::Read)
    }

    fn start(
        scene: &Scene,
        command: &str,
        option: &str,
        module: &Path,
        args: &[&str],
        output: Output,
    ) -> Result<Self, String> {
        let target = Target::start()?;
        let echo = target.address();
        let fixed = [
            command,
            "--module",
            "FILE",
            "--listen",
            "127.0.0.1:0",
            option,
            &echo,
            "--no-cache",
            "--spare-instances",
            "0",
            "--drain-timeout",
            DRAIN,
            "--close-grace",
            GRACE,
        ];
        let args: Vec<_> = fixed
            .iter()
            .chain(args)
            .map(|arg| (*arg).to_owned())
            .collect();
        let args = scene.arguments(&args, module);
        let child = Child::start(scene, &args, PROCESSOR, output)?;
        let line = child.first_line()?;
        let address = line
            .strip_prefix("listening ")
            .ok_or_else(|| format!("it said `{line}`"))?
            .to_owned();
        Ok(Self {
            child,
            address,
            target,
        })
    }

    /// Connects to it. Reads and writes are bounded.
    pub(crate) fn connect(&self) -> Result<TcpStream, String> {
        let address = self.address.parse().map_err(|_| "no address".to_owned())?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(told)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        Ok(stream)
    }

    /// Begins to connect to it, without waiting.
    pub(crate) fn begin_to_connect(&self) -> Result<Socket, String> {
        let address: SocketAddr = self.address.parse().map_err(|_| "no address".to_owned())?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(told)?;
        socket.set_nonblocking(true).map_err(told)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(told(error)),
            _ => Ok(socket),
        }
    }

    /// Checks that a client gets back what it sends.
    pub(crate) fn expect_served(&mut self) -> Result<(), String> {
        self.expect_served_after(b"", b"")
    }

    /// The same for a client that first sends a greeting and gets an answer.
    pub(crate) fn expect_served_after(
        &mut self,
        greeting: &[u8],
        answer: &[u8],
    ) -> Result<(), String> {
        let stream = self.connect()?;
        let said = |error: std::io::Error| format!("an honest client was not served: {error}");
        (&stream).write_all(greeting).map_err(said)?;
        let mut answered = vec![0; answer.len()];
        (&stream).read_exact(&mut answered).map_err(said)?;
        let mut message = vec![0; 5000];
        watm_tests::Pattern::new(1).fill(&mut message);
        (&stream).write_all(&message).map_err(said)?;
        let mut back = vec![0; message.len()];
        (&stream).read_exact(&mut back).map_err(said)?;
        if answered == answer && back == message {
            Ok(())
        } else {
            Err("an honest client got back other bytes".into())
        }
    }

    /// Resets the service's connections to the server behind it.
    pub(crate) fn reset_target(&self) {
        self.target.reset();
    }

    /// What it holds now.
    pub(crate) fn uses(&self) -> Uses {
        Uses {
            threads: self.count("task"),
            descriptors: self.count("fd"),
        }
    }

    fn count(&self, directory: &str) -> usize {
        fs::read_dir(self.child.proc(directory)).map_or(0, Iterator::count)
    }

    /// Number of threads that run guests.
    pub(crate) fn workers(&self) -> usize {
        let Ok(tasks) = fs::read_dir(self.child.proc("task")) else {
            return 0;
        };
        tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .filter(|name| name.trim_end() == "watm-worker")
            .count()
    }

    /// Number of open sockets.
    pub(crate) fn sockets(&self) -> usize {
        let Ok(open) = fs::read_dir(self.child.proc("fd")) else {
            return 0;
        };
        open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Checks that a guest begins to run.
    pub(crate) fn expect_worker(&self) -> Result<(), String> {
        self.eventually(PATIENCE, "no guest began", || self.workers() > 0)
    }

    /// Checks that no guest runs after `limit` from now.
    pub(crate) fn expect_gone(&self, limit: Duration) -> Result<(), String> {
        self.eventually(limit, "a guest goes on after its peers have closed", || {
            self.workers() == 0
        })
    }

    /// Checks that no more than `before` sockets are open after `limit` from now.
    pub(crate) fn expect_closed(&self, before: usize, limit: Duration) -> Result<(), String> {
        self.eventually(
            limit,
            "a connection is open after its peers have closed",
            || self.sockets() <= before,
        )
    }

    /// Checks that threads and descriptors are as before, except for `made` that the command
    /// creates once.
    pub(crate) fn expect_back(&self, before: Uses, made: usize) -> Result<(), String> {
        // A thread that tidies up lives for a second.
        let back = || {
            let now = self.uses();
            now.threads <= before.threads + made && now.descriptors <= before.descriptors + made
        };
        self.eventually(PATIENCE, "threads or descriptors are left", back)
            .map_err(|error| format!("{error}: {before:?}, {:?}", self.uses()))
    }

    pub(crate) fn eventually(
        &self,
        limit: Duration,
        otherwise: &str,
        condition: impl Fn() -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        while !condition() {
            if Instant::now() > deadline {
                return Err(otherwise.to_owned());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Checks that it still runs: a dead process has no memory map.
    pub(crate) fn expect_alive(&self) -> Result<(), String> {
        let maps = fs::read_to_string(self.child.proc("maps")).unwrap_or_default();
        if maps.is_empty() {
            return Err(format!("it died after {:.1?}", self.child.age()));
        }
        Ok(())
    }

    /// Asks it to end.
    pub(crate) fn end(self) -> Result<Ended, String> {
        self.child.terminate();
        self.child.wait(Some(PATIENCE))
    }

    /// Ends it, and reports what it took in total and what went wrong before.
    pub(crate) fn report(
        self,
        scene: &Scene,
        limits: &Limits,
        result: Result<(), String>,
    ) -> Result<Report, String> {
        let alive = self.expect_alive();
        let ended = self.end()?;
        let mut report = Report::of(&ended, scene.service_baseline()?, limits);
        report.expect(alive);
        report.expect(result);
        "served".clone_into(&mut report.outcome);
        Ok(report)
    }
}
