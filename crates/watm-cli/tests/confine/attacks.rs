//! What code tries that has broken out, and whether it succeeds.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::ptr;

use libc::{c_int, c_long};

/// A kind of harm that is out of reach must end in one of these errors.
#[track_caller]
fn refused<T>(what: &str, result: io::Result<T>) {
    match result {
        Ok(_) => panic!("{what} has succeeded"),
        Err(error) => {
            let code = error.raw_os_error();
            assert!(
                matches!(code, Some(libc::EPERM | libc::EACCES)),
                "{what}: {error}"
            );
        }
    }
}

/// Makes a system call with these arguments, of which those that are pointers are null.
fn call(number: c_long, arguments: [c_long; 5]) -> io::Result<c_long> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: none of the arguments in this file is the address of memory that the kernel may write to.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, 0) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn number(value: u32) -> c_long {
    c_long::from(value)
}

/// Programs, processes, other processes and the system: all that system calls are needed for.
pub(crate) fn calls() {
    programs();
    others();
    for (what, number, arguments) in [
        ("tracing a thread", libc::SYS_ptrace, [0; 5]),
        ("mounting", libc::SYS_mount, [0; 5]),
        ("mounting in the new way", libc::SYS_move_mount, [0; 5]),
        ("another root", libc::SYS_chroot, [0; 5]),
        ("another user", libc::SYS_setuid, [0; 5]),
        ("other capabilities", libc::SYS_capset, [0; 5]),
        ("another kernel", libc::SYS_kexec_load, [0; 5]),
        ("a module of the kernel", libc::SYS_init_module, [0; 5]),
        ("a program in the kernel", libc::SYS_bpf, [0; 5]),
        ("a performance counter", libc::SYS_perf_event_open, [0; 5]),
        ("a key", libc::SYS_keyctl, [0; 5]),
        ("a ring of calls", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
        (
            "a file in memory, to run it",
            libc::SYS_memfd_create,
            [0; 5],
        ),
        ("cutting a file off", libc::SYS_truncate, [0; 5]),
        ("faults as events", libc::SYS_userfaultfd, [0; 5]),
        ("a file by its handle", libc::SYS_open_by_handle_at, [0; 5]),
        (
            "other namespaces",
            libc::SYS_unshare,
            [0x1000_0000, 0, 0, 0, 0],
        ),
        ("joining namespaces", libc::SYS_setns, [0; 5]),
        (
            "another personality",
            libc::SYS_personality,
            [0x0004_0000, 0, 0, 0, 0],
        ),
        ("a device", libc::SYS_mknodat, [0; 5]),
        ("another owner", libc::SYS_fchownat, [0; 5]),
        ("another filter", libc::SYS_seccomp, [0; 5]),
        // What is put into the queue of a terminal, its shell runs.
        ("typing", libc::SYS_ioctl, [0, 0x5412, 0, 0, 0]),
        ("signals for others", libc::SYS_fcntl, [0, 8, 1, 0, 0]),
        (
            "a way to give up the filters' guard",
            libc::SYS_prctl,
            [22, 0, 0, 0, 0],
        ),
    ] {
        refused(what, call(number, arguments));
    }
    sockets();
}

fn programs() {
    refused(
        "a shell",
        Command::new("/bin/sh").args(["-c", "true"]).status(),
    );
    let (program, none) = (c"/bin/true".as_ptr(), ptr::null::<*const libc::c_char>());
    // SAFETY: the name ends with a zero, and null stands for no arguments.
    let executed = unsafe { libc::execve(program, none, none) };
    assert_eq!(executed, -1);
    refused("a program", Err::<(), _>(io::Error::last_os_error()));
    refused("a program by descriptor", call(libc::SYS_execveat, [0; 5]));
    for flags in [
        libc::SIGCHLD,
        libc::CLONE_NEWUSER | libc::SIGCHLD,
        libc::CLONE_VM,
    ] {
        let flags = c_long::from(flags);
        let cloned = call(libc::SYS_clone, [flags, 0, 0, 0, 0]);
        if matches!(cloned, Ok(0)) {
            // This is the child, which nobody wants.
            std::process::abort();
        }
        refused("a process", cloned);
    }
    #[cfg(target_arch = "x86_64")]
    for number in [libc::SYS_fork, libc::SYS_vfork] {
        refused("a process", call(number, [0; 5]));
    }
    // Its flags are in memory, so that it has to seem not to exist.
    let error = call(libc::SYS_clone3, [0; 5]).expect_err("no such call");
    assert_eq!(error.raw_os_error(), Some(libc::ENOSYS));
}

/// Attacks on the process that has started this one, which has the same user.
fn others() {
    let parent = number(std::os::unix::process::parent_id());
    refused("attaching", call(libc::SYS_ptrace, [16, parent, 0, 0, 0]));
    refused("a signal", call(libc::SYS_kill, [parent, 0, 0, 0, 0]));
    refused("a signal to all", call(libc::SYS_kill, [-1, 0, 0, 0, 0]));
    refused(
        "a signal to its group",
        call(libc::SYS_kill, [0, 0, 0, 0, 0]),
    );
    refused(
        "a signal to its thread",
        call(libc::SYS_tgkill, [parent, parent, 0, 0, 0]),
    );
    refused(
        "a signal to a thread",
        call(libc::SYS_tkill, [parent, 0, 0, 0, 0]),
    );
    refused(
        "its descriptor",
        call(libc::SYS_pidfd_open, [parent, 0, 0, 0, 0]),
    );
    refused(
        "reading its memory",
        call(libc::SYS_process_vm_readv, [parent, 0, 0, 0, 0]),
    );
    refused(
        "writing its memory",
        call(libc::SYS_process_vm_writev, [parent, 0, 0, 0, 0]),
    );
    refused(
        "its limits",
        call(libc::SYS_prlimit64, [parent, 7, 0, 0, 0]),
    );
}

fn sockets() {
    let socket = |family: c_int, kind: c_int, protocol: c_int| {
        let arguments = [family, kind, protocol].map(c_long::from);
        let [family, kind, protocol] = arguments;
        call(libc::SYS_socket, [family, kind, protocol, 0, 0])
    };
    for (what, family, kind, protocol) in [
        ("packets", libc::AF_PACKET, libc::SOCK_RAW, 0),
        (
            "the host of a virtual machine",
            libc::AF_VSOCK,
            libc::SOCK_STREAM,
            0,
        ),
        ("raw IP", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW),
        (
            "raw IPv6",
            libc::AF_INET6,
            libc::SOCK_RAW,
            libc::IPPROTO_RAW,
        ),
        ("pings", libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        (
            "the cryptography of the kernel",
            libc::AF_ALG,
            libc::SOCK_SEQPACKET,
            0,
        ),
        (
            "the log of audits",
            libc::AF_NETLINK,
            libc::SOCK_RAW,
            libc::NETLINK_AUDIT,
        ),
        ("a local service", libc::AF_UNIX, libc::SOCK_STREAM, 0),
        ("a local log", libc::AF_UNIX, libc::SOCK_DGRAM, 0),
    ] {
        refused(what, socket(family, kind, protocol));
    }
}

/// Files. `given` is a directory that the process was given to read, with a link in it that leads to
/// `secret`, a file outside.
pub(crate) fn files(given: &Path, secret: &Path) {
    let read = |path: &str| File::open(path).map(drop);
    refused("a file of the system", read("/etc/passwd"));
    refused("the environment of another", read("/proc/1/environ"));
    let parent = std::os::unix::process::parent_id();
    refused(
        "the memory of another",
        read(&format!("/proc/{parent}/mem")),
    );
    refused("a look at all processes", fs::read_dir("/proc").map(drop));
    refused("a look at everything", fs::read_dir("/").map(drop));
    refused("a program of the system", File::open("/bin/sh").map(drop));
    refused("a secret", File::open(secret).map(drop));
    refused(
        "a secret through a link",
        File::open(given.join("link")).map(drop),
    );
    refused(
        "a secret through dots",
        File::open(given.join("../secret")).map(drop),
    );
    let own = format!("/proc/self/root{}", secret.display());
    refused("a secret through proc", read(&own));
    let home = std::env::var("HOME").unwrap_or("/root".to_owned());
    for place in [Path::new(&home), Path::new("/tmp"), given] {
        let file = place.join("watm-test-confine");
        let made = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file);
        refused("a file in a directory that is not writable", made.map(drop));
        refused("a directory", fs::create_dir(&file));
        refused("a link", std::os::unix::fs::symlink("/etc/passwd", &file));
    }
    refused("an end for a file", fs::remove_file(secret));
    refused(
        "another name for a file",
        fs::rename(secret, given.join("stolen")),
    );
    refused(
        "the memory of this program",
        OpenOptions::new().write(true).open("/proc/self/mem"),
    );
}

/// What is possible without confinement: the attacks would be worth nothing otherwise.
pub(crate) fn possible(given: &Path) {
    let shell = Command::new("/bin/sh").args(["-c", "true"]).status();
    assert!(shell.expect("a shell").success());
    let parent = number(std::os::unix::process::parent_id());
    call(libc::SYS_kill, [parent, 0, 0, 0, 0]).expect("a signal");
    call(libc::SYS_pidfd_open, [parent, 0, 0, 0, 0]).expect("a descriptor");
    call(libc::SYS_prlimit64, [parent, 7, 0, 0, 0]).expect("its limits");
    let unix = c_long::from(libc::AF_UNIX);
    let stream = c_long::from(libc::SOCK_STREAM);
    call(libc::SYS_socket, [unix, stream, 0, 0, 0]).expect("a local service");
    File::open("/etc/passwd").expect("a file of the system");
    File::open(given.join("link")).expect("a secret through a link");
    fs::read_dir("/").expect("a look at everything");
    let file = given.join("new");
    fs::write(&file, "").expect("a file");
    fs::remove_file(&file).expect("an end for it");
}

/// Listening at a port that was not named.
pub(crate) fn port() {
    // Whoever has it does not matter: the kernel asks for permission first.
    refused("a port", TcpListener::bind("127.0.0.1:47113"));
}
