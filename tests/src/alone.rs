//! Tests in separate processes, for what is counted or limited per process: memory, threads,
//! descriptors, mappings. Otherwise what ran earlier in the process would count too.

use std::any::type_name;
use std::env;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::{eventually, raise_descriptors};

/// Set in the process of a test. Its value names the test.
const NAME: &str = "WATM_TEST_ALONE";

/// Limit for a whole test. The longest take half a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs `test` alone in a separate process. `test` must be the whole body of the calling test
/// function. However this test binary was started, it is started again with this test alone. Only
/// one such process runs at a time. It may have as many descriptors as the system allows. Its
/// output is printed here, indented.
///
/// # Panics
///
/// Panics if the test fails there, does not end within five minutes, or is not found.
#[track_caller]
pub fn alone<F: FnOnce()>(test: F) {
    static TURN: Mutex<()> = Mutex::new(());

    let name = name_of::<F>();
    if env::var(NAME).is_ok_and(|child| child == name) {
        raise_descriptors();
        return test();
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, output) = run_again(name);
    #[allow(clippy::print_stdout, reason = "only tests get here")]
    for line in output.lines() {
        // Indented, because the output contains a test result too.
        println!("    {line}");
    }
    assert!(status.success(), "in a separate process: {status}");
    assert!(
        output.contains("test result: ok. 1 passed; 0 failed;"),
        "{name} was not found in a separate process"
    );
}

/// The test's path within its binary. This is the path of its closure without the name of the crate
/// and without the closure's own name.
fn name_of<F>() -> &'static str {
    let path = type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::").map_or(path, |(_, name)| name)
}

/// Starts this program again for this test and waits for its end.
#[track_caller]
fn run_again(name: &str) -> (ExitStatus, String) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command
        .args([name, "--exact", "--nocapture", "--test-threads", "1"])
        .env(NAME, name)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().expect("a descriptor"))
        .stderr(writer);
    let mut child = command.spawn().expect("a process");
    // Now only the process itself holds the writing end, so the output ends when the process does.
    drop(command);
    let (sender, ended) = bounded(1);
    let reading = thread::spawn(move || {
        let mut output = Vec::new();
        let read = reader.read_to_end(&mut output);
        let _ = sender.send(());
        read.expect("the output");
        output
    });
    let timely = ended.recv_timeout(LIMIT).is_ok();
    if !timely {
        child.kill().expect("it can be ended");
    }
    let mut status = None;
    eventually("its process has ended", || {
        status = child.try_wait().expect("its status");
        status.is_some()
    });
    let output = reading.join().expect("it reads");
    let output = String::from_utf8_lossy(&output).into_owned();
    assert!(timely, "{name} did not end within {LIMIT:?}:\n{output}");
    (status.expect("it has ended"), output)
}
