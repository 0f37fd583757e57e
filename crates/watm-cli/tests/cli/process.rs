//! Runs the program and reads its output, with a limit for every wait. The program is killed when
//! the test ends, however it ends.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The path of a built test module.
pub(crate) fn built(name: &str) -> String {
    guests(&format!("built/{name}.wasm"))
}

/// The path of a test module in the text format.
pub(crate) fn wat(name: &str) -> String {
    guests(&format!("wat/{name}.wat"))
}

/// The path of a configuration of a test module.
pub(crate) fn key(name: &str) -> String {
    guests(name)
}

/// The path of one of the transports that the repository ships.
pub(crate) fn transport(name: &str) -> String {
    existing(&format!("transports/{name}/{name}.wasm"))
}

fn guests(path: &str) -> String {
    existing(&format!("tests/guests/{path}"))
}

fn existing(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(path);
    assert!(path.exists(), "{} is missing", path.display());
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// One of the output streams of a running program.
struct Output {
    pieces: Receiver<Vec<u8>>,
    /// Read from the stream, but not yet requested.
    rest: Vec<u8>,
}

/// A running `watm`.
pub(crate) struct Watm {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Output,
    stderr: Output,
    /// All of standard error, to show if a test fails.
    log: Arc<Mutex<String>>,
}

/// The result of a program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    fn of(
        mut stream: impl Read + Send + 'static,
        mut seen: impl FnMut(&[u8]) + Send + 'static,
    ) -> Self {
        let (sender, pieces) = unbounded();
        thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                seen(&buffer[..len]);
                if sender.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            pieces,
            rest: Vec::new(),
        }
    }

    /// Reads more. Returns false at the end of the stream.
    #[track_caller]
    fn more(&mut self, deadline: Instant, log: &Mutex<String>) -> bool {
        match self.pieces.recv_deadline(deadline) {
            Ok(piece) => {
                self.rest.extend(piece);
                true
            }
            Err(error) if error.is_disconnected() => false,
            Err(_) => panic!(
                "no more output within {LIMIT:?}; standard error:\n{}",
                read(log)
            ),
        }
    }

    #[track_caller]
    fn take(&mut self, len: usize, log: &Mutex<String>) -> Vec<u8> {
        let deadline = Instant::now() + LIMIT;
        while self.rest.len() < len {
            assert!(
                self.more(deadline, log),
                "{} of {len} bytes came; standard error:\n{}",
                self.rest.len(),
                read(log)
            );
        }
        self.rest.drain(..len).collect()
    }

    #[track_caller]
    fn line(&mut self, log: &Mutex<String>) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            assert!(
                self.more(deadline, log),
                "the output ended; standard error:\n{}",
                read(log)
            );
        }
    }

    #[track_caller]
    fn rest_to_end(&mut self, log: &Mutex<String>) -> Vec<u8> {
        let deadline = Instant::now() + LIMIT;
        while self.more(deadline, log) {}
        std::mem::take(&mut self.rest)
    }
}

fn read(log: &Mutex<String>) -> String {
    log.lock().expect("no panic under the lock").clone()
}

impl Watm {
    /// Starts the program.
    #[track_caller]
    pub(crate) fn start<A: AsRef<str> + Debug>(args: &[A]) -> Self {
        Self::start_with(args, Stdio::piped())
    }

    /// Starts the program with the given standard input, such as a file.
    #[track_caller]
    pub(crate) fn start_with<A: AsRef<str> + Debug>(args: &[A], stdin: impl Into<Stdio>) -> Self {
        Self::start_as(env!("CARGO_BIN_EXE_watm"), args, stdin)
    }

    /// Starts the program with more variables in its environment.
    #[track_caller]
    pub(crate) fn start_in(env: &[(&str, &str)], args: &[&str]) -> Self {
        Self::start_all(env!("CARGO_BIN_EXE_watm"), args, env, Stdio::piped())
    }

    /// Starts another program that runs this one.
    #[track_caller]
    pub(crate) fn start_as<A: AsRef<str>>(
        program: &str,
        args: &[A],
        stdin: impl Into<Stdio>,
    ) -> Self {
        Self::start_all(program, args, &[], stdin)
    }

    fn start_all<A: AsRef<str>>(
        program: &str,
        args: &[A],
        env: &[(&str, &str)],
        stdin: impl Into<Stdio>,
    ) -> Self {
        let mut child = Command::new(program)
            .args(args.iter().map(AsRef::as_ref))
            .env_remove("RUST_LOG")
            // Avoids the cache of the user who runs the tests.
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .envs(env.iter().copied())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let logged = Arc::clone(&log);
        Self {
            stdin: child.stdin.take(),
            child,
            stdout: Output::of(stdout, |_| {}),
            stderr: Output::of(stderr, move |piece| {
                let piece = String::from_utf8_lossy(piece);
                logged.lock().expect("no panic").push_str(&piece);
            }),
            log,
        }
    }

    /// Runs the program to its end, with an empty standard input.
    #[track_caller]
    pub(crate) fn run<A: AsRef<str> + Debug>(args: &[A]) -> Ended {
        let mut watm = Self::start(args);
        watm.close_stdin();
        watm.end()
    }

    /// Starts a program that listens, and returns the address from its first line.
    #[track_caller]
    pub(crate) fn listening<A: AsRef<str> + Debug>(args: &[A]) -> (Self, String) {
        Self::listening_as(env!("CARGO_BIN_EXE_watm"), args)
    }

    /// The same through another program that runs it.
    #[track_caller]
    pub(crate) fn listening_as<A: AsRef<str>>(program: &str, args: &[A]) -> (Self, String) {
        let mut watm = Self::start_as(program, args, Stdio::piped());
        let line = watm.stdout_line();
        let address = line.strip_prefix("listening ").map(str::to_owned);
        let address = address.unwrap_or_else(|| panic!("the first line is {line:?}"));
        assert!(!address.ends_with(":0"), "{address} is not the actual port");
        (watm, address)
    }

    /// Starts a command with a module, listening on a free port. `more` are other options.
    #[track_caller]
    pub(crate) fn serving(command: &str, module: &str, more: &[&str]) -> (Self, String) {
        let common = [command, "--module", module, "--listen", "127.0.0.1:0"];
        Self::listening(&[&common, more].concat())
    }

    /// Takes its standard input, to write on another thread.
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("it was not taken")
    }

    #[track_caller]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("it was not taken");
        stdin.write_all(bytes).expect("it reads");
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    #[track_caller]
    pub(crate) fn stdout_line(&mut self) -> String {
        self.stdout.line(&self.log)
    }

    #[track_caller]
    pub(crate) fn stdout_bytes(&mut self, len: usize) -> Vec<u8> {
        self.stdout.take(len, &self.log)
    }

    #[track_caller]
    pub(crate) fn stdout_to_end(&mut self) -> Vec<u8> {
        self.stdout.rest_to_end(&self.log)
    }

    /// Reads standard error until a line contains `text`.
    #[track_caller]
    pub(crate) fn await_log(&mut self, text: &str) -> String {
        loop {
            let line = self.stderr.line(&self.log);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.id()).expect("a process number");
        // SAFETY: the call accesses no memory. The child has not been waited for, so its id is
        // still valid.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "the signal is sent");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Ended {
        // The streams end with the process, so the wait below is short.
        let stdout = self.stdout.rest_to_end(&self.log);
        let stderr = self.stderr.rest_to_end(&self.log);
        let code = self.child.wait().expect("it ends").code();
        Ended {
            code,
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

impl Drop for Watm {
    fn drop(&mut self) {
        // Fails if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Checks that it succeeded without an error message.
    #[track_caller]
    pub(crate) fn success(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(!self.stderr.contains("watm: error"), "{self:?}");
    }

    /// Checks that it failed with one error, whose message contains all of `parts`.
    #[track_caller]
    pub(crate) fn failure(&self, parts: &[&str]) {
        self.failure_with(1, parts);
    }

    /// The same with another exit code.
    #[track_caller]
    pub(crate) fn failure_with(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stderr.matches("watm: error: ").count(), 1, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} in {self:?}");
        }
    }

    /// Checks that it failed without any output.
    #[track_caller]
    pub(crate) fn silent_failure(&self) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stderr, "", "{self:?}");
    }
}
