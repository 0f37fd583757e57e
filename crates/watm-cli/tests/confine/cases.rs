//! What is confined in which way, and what is tried there.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use watm_wasmer::{
    ArtifactCache, DialAttempt, DialHook, Dialer, Listener, ModuleLoader, Stream, TransportModule,
};

use crate::PLACE;
use crate::attacks;
use crate::confine::{self, Confined, Enforced, Needs, Ports, Refused, Unix};

/// A case and its name.
type Case = (&'static str, fn());

pub(crate) const ALL: &[Case] = &[
    ("without_confinement_there_is_something_to_reach", possible),
    ("a_thread_that_starts_later_reaches_nothing_else", later),
    (
        "a_hook_on_the_thread_of_a_worker_reaches_nothing_else",
        hook,
    ),
    ("a_thread_that_was_there_before_is_filtered_as_well", before),
    (
        "a_kernel_without_landlock_filters_system_calls_all_the_same",
        without_landlock,
    ),
    (
        "a_kernel_without_filters_keeps_files_out_of_reach_all_the_same",
        without_filters,
    ),
    ("what_a_command_does_goes_on", goes_on),
    (
        "unix_sockets_are_there_for_those_who_need_them",
        unix_sockets,
    ),
    ("root_keeps_no_privileges_but_ports_and_files", privileges),
];

/// A directory with what a process is given, and a secret beside it.
struct Place {
    root: PathBuf,
}

impl Place {
    fn new() -> Self {
        let root = std::env::var_os(PLACE).expect("a directory").into();
        let place = Self { root };
        for directory in ["modules", "given", "writable", "cache"] {
            fs::create_dir(place.path(directory)).expect("a directory");
        }
        fs::write(place.path("secret"), "secret").expect("a file");
        fs::write(place.path("given/file"), "given").expect("a file");
        symlink(place.path("secret"), place.path("given/link")).expect("a link");
        fs::copy(guest("plain"), place.path("modules/module.wasm")).expect("a copy");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn needs(&self) -> Needs {
        // The cache accepts a directory that others cannot write to.
        let cache = ArtifactCache::open(self.path("cache")).expect("a cache");
        Needs {
            files: vec![self.path("modules/module.wasm")],
            reads_again: true,
            directories: vec![
                (self.path("given"), false),
                (self.path("writable"), true),
                (cache.directory().to_owned(), true),
            ],
            ports: Ports::These(vec![0]),
            ..Needs::default()
        }
    }

    /// Tries everything that is out of reach, as far as this kernel has something against it.
    fn attack(&self, holds: &Holds) {
        attacks::calls();
        if holds.files {
            attacks::files(&self.path("given"), &self.path("secret"));
        }
        if holds.ports {
            attacks::port();
        }
    }
}

fn guest(name: &str) -> PathBuf {
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built");
    Path::new(guests).join(format!("{name}.wasm"))
}

/// What is in force.
#[derive(Clone, Copy)]
struct Holds {
    files: bool,
    ports: bool,
    /// Abstract sockets of others.
    others: bool,
}

/// Confines the process. System calls must be filtered; files are left if the kernel has no Landlock.
#[track_caller]
fn enter(needs: &Needs) -> Holds {
    let version = landlock_version();
    let Confined { files, calls } = confine::enter(needs);
    calls.expect("system calls are filtered");
    match files {
        Ok(Enforced { by, is_whole }) => {
            println!("files: {by}");
            assert!(version >= 1);
            assert_eq!(is_whole, version >= 6, "{by}");
        }
        Err(Refused::NoLandlock) => {
            println!("files are not tried: this kernel has no Landlock");
            assert_eq!(version, 0);
        }
        Err(error) => panic!("{error}"),
    }
    Holds {
        files: version >= 1,
        ports: version >= 4,
        others: version >= 6,
    }
}

/// The version of Landlock that the kernel has, or 0. A confined process may no longer ask.
fn landlock_version() -> i64 {
    // SAFETY: with this flag the call reads no memory, and answers with a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            1_u32,
        )
    };
    version.max(0)
}

/// Runs what may panic on a thread that starts now.
#[track_caller]
fn on_a_thread(body: impl FnOnce() + Send + 'static) {
    thread::spawn(body).join().expect("the thread succeeds");
}

/// A server that sends back what comes, on threads of its own.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut answers = stream.try_clone().expect("a descriptor");
            thread::spawn(move || io::copy(&mut stream, &mut answers));
        }
    });
    address
}

fn possible() {
    attacks::possible(&Place::new().path("given"));
}

fn later() {
    let place = Place::new();
    let holds = enter(&place.needs());
    on_a_thread(move || place.attack(&holds));
}

/// Attacks before it dials.
#[derive(Clone)]
struct Attacker {
    place: Arc<Place>,
    holds: Holds,
    has_run: Arc<AtomicBool>,
}

impl DialHook for Attacker {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        let thread = thread::current();
        assert_eq!(thread.name(), Some("watm-worker"), "where guests run");
        self.place.attack(&self.holds);
        self.has_run.store(true, Ordering::SeqCst);
        attempt.connect()
    }
}

fn hook() {
    let place = Arc::new(Place::new());
    let holds = enter(&place.needs());
    let module = load(&place);
    let attacker = Attacker {
        place,
        holds,
        has_run: Arc::default(),
    };
    let remote = echo();
    let dialer = Dialer::builder(&module);
    let dialer = dialer
        .dial_hook(attacker.clone())
        .build()
        .expect("a dialer");
    let mut conn = dialer
        .dial(remote.as_str())
        .expect("the hook dials after all");
    conn.write_all(b"hello").expect("it is written");
    let mut answer = [0; 5];
    conn.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"hello");
    assert!(attacker.has_run.load(Ordering::SeqCst));
}

fn load(place: &Place) -> TransportModule {
    let cache = ArtifactCache::open(place.path("cache")).expect("the cache");
    let loader = ModuleLoader::new().cache(&cache);
    let module = loader
        .load_file(place.path("modules/module.wasm"))
        .expect("a module");
    assert_eq!(cache.artifacts().expect("the list").len(), 1);
    module
}

fn before() {
    let (start, started) = channel();
    let early = thread::spawn(move || {
        started.recv().expect("the process is confined");
        attacks::calls();
    });
    let confined = confine::enter(&Needs::default());
    confined
        .calls
        .expect("system calls are filtered, for all threads");
    // Landlock would not hold for the other thread, so that nothing says it does.
    let error = confined.files.expect_err("there are two threads");
    assert!(matches!(error, Refused::Threads(2)), "{error}");
    start.send(()).expect("it waits");
    early.join().expect("what it tried has failed");
}

/// Has these system calls fail from now on, as in a kernel that does not have them.
fn forget(calls: &[libc::c_long], error: libc::c_int) {
    let arch = std::env::consts::ARCH;
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(error.unsigned_abs()),
        arch.try_into().expect("it can filter here"),
    );
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a small filter");
    apply_filter(&program).expect("it is installed");
}

fn without_landlock() {
    let place = Place::new();
    let calls = [
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_restrict_self,
    ];
    forget(&calls, libc::ENOSYS);
    let holds = enter(&place.needs());
    assert!(!holds.files);
    on_a_thread(move || place.attack(&holds));
}

fn without_filters() {
    let place = Place::new();
    let version = landlock_version();
    forget(&[libc::SYS_seccomp], libc::EINVAL);
    let confined = confine::enter(&place.needs());
    let error = confined.calls.expect_err("there are no filters");
    assert!(matches!(error, Refused::Kernel(_)), "{error}");
    if version >= 1 {
        confined.files.expect("files are out of reach");
        attacks::files(&place.path("given"), &place.path("secret"));
    }
}

fn goes_on() {
    let place = Place::new();
    let (given, writable) = (place.path("given"), place.path("writable"));
    let mut replacing = Replacing::start(&place);
    let holds = enter(&place.needs());
    // Names are resolved.
    let mut addresses = "localhost:80".to_socket_addrs().expect("localhost");
    assert!(addresses.any(|address| address.ip().is_loopback()));
    // Files are read and written where they may be.
    assert_eq!(
        fs::read_to_string(given.join("file")).expect("a file"),
        "given"
    );
    assert_eq!(fs::read_dir(&given).expect("a directory").count(), 2);
    fs::write(writable.join("a"), "a").expect("a file");
    fs::create_dir(writable.join("d")).expect("a directory");
    fs::rename(writable.join("a"), writable.join("d/b")).expect("another name");
    fs::remove_file(writable.join("d/b")).expect("it is removed");
    fs::remove_dir(writable.join("d")).expect("it is removed");
    File::options()
        .write(true)
        .open("/dev/null")
        .expect("nothing");
    assert!(fs::read_to_string("/proc/self/status").is_ok());
    assert!(fs::read_dir("/proc/self/fd").is_ok());
    // A module is loaded, and again when another has taken its place.
    let module = load(&place);
    on_a_thread(move || {
        let listener = Listener::builder(&module)
            .bind("127.0.0.1:0")
            .expect("it listens");
        let dialer = Dialer::builder(&module).build().expect("a dialer");
        let address = listener.local_addr();
        let accepted = thread::spawn(move || listener.accept().expect("a transport"));
        let mut near = dialer.dial(address).expect("a transport");
        near.write_all(b"through both").expect("it is written");
        let mut far = accepted.join().expect("no panic");
        let mut received = [0; 12];
        far.read_exact(&mut received).expect("the bytes");
        assert_eq!(&received, b"through both");
    });
    let file = place.path("modules/module.wasm");
    replacing.replace();
    ModuleLoader::new().load_file(&file).expect("the new file");
    if holds.files {
        let error = fs::rename(&file, place.path("modules/old")).expect_err("it can only be read");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }
    // Threads can raise signals for themselves.
    // SAFETY: signal 0 is never delivered.
    assert_eq!(unsafe { libc::raise(0) }, 0);
}

/// A process that is not confined, and puts another file in the place of the module.
struct Replacing {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Replacing {
    fn start(place: &Place) -> Self {
        let script = "cp module.wasm new && read line && mv new module.wasm && echo done";
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .current_dir(place.path("modules"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, output }
    }

    fn replace(&mut self) {
        let mut input = self.child.stdin.take().expect("a pipe");
        writeln!(input, "go").expect("it waits");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        assert_eq!(line, "done\n");
    }
}

fn unix_sockets() {
    let place = Place::new();
    let needs = Needs {
        sockets: vec![place.path("writable/socket")],
        unix: Unix {
            streams: true,
            ..Unix::default()
        },
        ..Needs::default()
    };
    // Whoever has it, it was there before.
    let name = format!("watm-test-confine-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    let _service = UnixListener::bind_addr(&address).expect("it listens");
    UnixStream::connect_addr(&address).expect("a connection");
    let holds = enter(&needs);
    if holds.others {
        let error = UnixStream::connect_addr(&address).expect_err("it was not named");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
    let path = place.path("writable/socket");
    let listener = UnixListener::bind(&path).expect("it listens");
    UnixStream::connect(&path).expect("a connection");
    drop(listener);
    fs::remove_file(&path).expect("it is removed");
    let error = std::os::unix::net::UnixDatagram::unbound().expect_err("nobody needs it");
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    if holds.files {
        let error = UnixListener::bind(place.path("given/socket")).expect_err("elsewhere");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }
    // All ports are there for this one.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
}

fn privileges() {
    enter(&Needs::default());
    on_a_thread(|| {
        let status = fs::read_to_string("/proc/thread-self/status").expect("proc");
        let field = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.expect(name).trim().to_owned()
        };
        assert_eq!(field("NoNewPrivs"), "1");
        assert_eq!(field("Seccomp"), "2");
        // CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_NET_BIND_SERVICE.
        let kept = 1 << 1 | 1 << 2 | 1 << 10;
        for name in ["CapEff", "CapPrm"] {
            let held = u64::from_str_radix(&field(name), 16).expect("a set");
            assert_eq!(held & !kept, 0, "{name}");
        }
        for name in ["CapInh", "CapAmb"] {
            assert_eq!(field(name), "0000000000000000", "{name}");
        }
    });
}
