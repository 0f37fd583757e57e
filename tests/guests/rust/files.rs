// rust_files: looks at the file system through std, and reports the lines that c/files.c describes,
// but not "escape at" and "absolute at": std has no openat. Sends the greeting first.
mod guest;
mod worker;

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::wasi::io::{AsRawFd, RawFd};

const GREETING: &str = "/data/greeting.txt";
const FILES_MAX: usize = 600;

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// What watm_init_v1 leaves for the worker.
#[derive(Default)]
struct Seen {
    greeting: Vec<u8>,
    /// The descriptor numbers that files had.
    earlier: Vec<RawFd>,
}

fn main() {
    guest::register_with(init);
}

#[no_mangle]
extern "C" fn watm_start_v1() -> i32 {
    guest::negated(SEEN.with(|seen| work(&seen.borrow())))
}

fn init() -> guest::Result<()> {
    let greeting = fs::read(GREETING);
    let first_line = greeting.as_deref().map(|bytes| String::from_utf8_lossy(bytes));
    report("greeting", first_line.map(|text| text.lines().next().unwrap_or_default().to_owned()).map_err(errno));
    report("entries", entries().map_err(|error| errno(&error)));
    report("stat", stat().map_err(|error| errno(&error)));
    report_open("escape", File::open("/data/../secret"));
    report_open("passwd", File::open("/etc/passwd"));
    report_open("create", OpenOptions::new().write(true).create_new(true).open("/data/created.txt"));
    let _ = fs::remove_file("/data/created.txt");
    report_open("config write", OpenOptions::new().write(true).open("/conf/watm.cfg"));
    let (earlier, error) = open_many();
    eprintln!("opened: {} errno {}", earlier.len(), error);
    SEEN.with(|seen| *seen.borrow_mut() = Seen { greeting: greeting.unwrap_or_default(), earlier });
    Ok(())
}

fn work(seen: &Seen) -> guest::Result<i32> {
    let (now, _) = open_many();
    report_shared("reused", &seen.earlier);
    if report_shared("clash", &now) {
        return Err(guest::IO);
    }
    // The descriptor is still blocking here.
    if !seen.greeting.is_empty() && guest::write(guest::descriptors().source, &seen.greeting)? != seen.greeting.len() {
        return Err(guest::IO);
    }
    worker::run(|_| {})
}

/// Errors without a number come from std: no preopened directory has the path, no host was asked.
fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(guest::NOTCAPABLE)
}

fn entries() -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/data")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join(","))
}

fn stat() -> io::Result<String> {
    let metadata = fs::metadata(GREETING)?;
    let kind = match metadata.file_type() {
        kind if kind.is_file() => "file",
        kind if kind.is_dir() => "dir",
        _ => "other",
    };
    Ok(format!("{} {}", kind, metadata.len()))
}

fn report(what: &str, result: Result<String, i32>) {
    match result {
        Ok(text) => eprintln!("{}: {}", what, text),
        Err(errno) => eprintln!("{}: errno {}", what, errno),
    }
}

fn report_open(what: &str, result: io::Result<File>) {
    report(what, result.map(|_| "opened".to_owned()).map_err(|error| errno(&error)));
}

/// Opens the greeting until that fails, then closes all. Returns their numbers, and the errno or 0.
fn open_many() -> (Vec<RawFd>, i32) {
    let mut files = Vec::new();
    let mut stopped = 0;
    while files.len() < FILES_MAX && stopped == 0 {
        match File::open(GREETING) {
            Ok(file) => files.push(file),
            Err(error) => stopped = errno(&error),
        }
    }
    (files.iter().map(File::as_raw_fd).collect(), stopped)
}

/// Reports the first number that a descriptor of the module has. Returns whether there was one.
fn report_shared(what: &str, fds: &[RawFd]) -> bool {
    let guest::Descriptors { source, remote, control } = guest::descriptors();
    let shared = fds.iter().find(|&fd| [source, remote, control].contains(fd));
    match shared {
        Some(fd) => eprintln!("{}: {}", what, fd),
        None => eprintln!("{}: none", what),
    }
    shared.is_some()
}
