//! What commands that run for long have given up. That it holds against an attack, the test `confine`
//! shows; here it is that every command does so, unless it is told not to.

use std::fs;

use crate::daemon::{Config, Daemon, text, tunnel};
use crate::peers::{Server, connect, round_trip};
use crate::process::{Watm, built};

/// A field of what the kernel says of the main thread of a process.
fn field(process: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.expect(name).trim().to_owned()
}

/// Whether the kernel filters the system calls of a process.
pub(crate) fn is_filtered(process: u32) -> bool {
    match &*field(process, "Seccomp") {
        "2" => {
            assert_eq!(field(process, "NoNewPrivs"), "1");
            true
        }
        other => {
            assert_eq!(other, "0");
            false
        }
    }
}

/// Whether this kernel enforces rules on files.
fn has_landlock() -> bool {
    // SAFETY: with this flag the call reads no memory, and answers with a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            1_u32,
        )
    };
    version >= 1
}

#[test]
fn each_command_that_runs_for_long_is_confined_unless_it_is_told_not_to() {
    let server = Server::echo();
    let remote = ["--remote", &*server.address];
    let forward = ["--forward", &*server.address];
    for (command, more) in [("dial", remote), ("relay", remote), ("listen", forward)] {
        for (options, expected) in [
            (&[][..], true),
            (&["--no-confine"], false),
            (&["--confine", "off"], false),
            (&["--confine", "auto"], true),
        ] {
            let (mut watm, entrance) =
                Watm::serving(command, &built("plain"), &[&more[..], options].concat());
            round_trip(&connect(&entrance), b"hello");
            assert_eq!(is_filtered(watm.id()), expected, "{command} {options:?}");
            watm.signal(libc::SIGTERM);
            watm.end().success();
        }
    }
    let module = built("plain");
    let args = [&["dial", "--module", &module], &remote[..]].concat();
    let mut watm = Watm::start(&args);
    watm.write(b"hello");
    assert_eq!(watm.stdout_bytes(5), b"hello");
    assert!(is_filtered(watm.id()));
    watm.close_stdin();
    watm.end().success();
}

#[test]
fn a_daemon_is_confined_too_and_reads_what_was_replaced() {
    let server = Server::echo();
    let config = Config::new("");
    config.put("m.wasm", fs::read(built("plain")).expect("a module"));
    let remote = format!("remote = '{}'", server.address);
    let own = |name: &str| tunnel(name, "dialer", "m.wasm", &remote);
    config.write(&own("one"));
    let mut daemon = Daemon::start(&config, 1, &[]);
    assert!(is_filtered(daemon.watm.id()));
    // Another file in the place of the module, and another tunnel with it.
    config.put("m.wasm", fs::read(built("halfclose")).expect("a module"));
    config.write(&[own("one"), own("two")].concat());
    daemon.reload();
    round_trip(&daemon.connect("one"), b"hello");
    daemon.end();
}

#[test]
fn a_reload_that_names_a_file_elsewhere_says_that_the_command_is_confined() {
    if !has_landlock() {
        eprintln!("this kernel has no Landlock, so that nothing is refused");
        return;
    }
    let server = Server::echo();
    let [config, elsewhere] = [(); 2].map(|()| Config::new(""));
    for place in [&config, &elsewhere] {
        place.put("m.wasm", fs::read(built("plain")).expect("a module"));
    }
    let with = |module: &str| {
        config.write(&format!(
            "[[tunnel]]\nname = 'one'\nrole = 'dialer'\nmodule = '{module}'\nremote = '{}'\n",
            server.address
        ));
    };
    for options in [&[][..], &["--no-confine"]] {
        with("m.wasm");
        let args = ["dial", "--config-file", &config.file(), "-v"];
        let listen = ["--listen", "127.0.0.1:0"];
        let (mut watm, entrance) = Watm::listening(&[&args[..], &listen, options].concat());
        with(&text(&elsewhere.path("m.wasm")));
        watm.signal(libc::SIGHUP);
        if options.is_empty() {
            let line = watm.await_log("SIGHUP: nothing has changed");
            assert!(line.contains("see --confine"), "{line}");
        } else {
            watm.await_log("SIGHUP: new connections use the module");
        }
        round_trip(&connect(&entrance), b"still there");
        watm.signal(libc::SIGTERM);
        watm.end().success();
    }
}

/// Whether this kernel is so new that CAP_NET_RAW is enough for marks.
fn can_mark_without_administration() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = [numbers.next(), numbers.next()].map(Option::unwrap_or_default);
    version >= [5, 17]
}

#[test]
fn packets_can_be_marked_by_those_who_ask_for_it() {
    if field(std::process::id(), "CapEff") == "0000000000000000" {
        eprintln!("only root can have packets marked");
        return;
    }
    let server = Server::echo();
    for mark in ["", "settings = { mark = 7 }"] {
        let lines = format!("remote = '{}'\n{mark}", server.address);
        let config = Config::new(&tunnel("one", "dialer", &built("plain"), &lines));
        let daemon = Daemon::start(&config, 1, &[]);
        round_trip(&daemon.connect("one"), b"hello");
        let held = u64::from_str_radix(&field(daemon.watm.id(), "CapEff"), 16).expect("a set");
        // CAP_NET_ADMIN, which only a kernel before 5.17 demands, and CAP_NET_RAW.
        let (administrator, raw) = (held & 1 << 12 != 0, held & 1 << 13 != 0);
        assert_eq!(administrator || raw, !mark.is_empty());
        assert!(!administrator || !can_mark_without_administration());
        daemon.end();
    }
}

#[test]
fn confinement_can_be_required() {
    let server = Server::echo();
    let module = built("plain");
    let args = ["listen", "--module", &module, "--forward", &server.address];
    let args = [
        &args[..],
        &["--listen", "127.0.0.1:0", "--confine", "required"],
    ]
    .concat();
    if has_landlock() {
        let (mut watm, _) = Watm::listening(&args);
        assert!(is_filtered(watm.id()));
        watm.signal(libc::SIGTERM);
        watm.end().success();
    } else {
        Watm::run(&args).failure(&["cannot confine the command", "--confine auto"]);
    }
    let both = [&args[..], &["--no-confine"]].concat();
    let ended = Watm::run(&both);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--no-confine"), "{ended:?}");
}
