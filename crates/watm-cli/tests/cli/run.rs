//! `watm run`: all tunnels of a file in one process, what a reload changes, and how it ends.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::{Config, Daemon, text, tunnel};
use crate::peers::{Server, connect, round_trip};
use crate::process::{LIMIT, Watm, built, wat};

/// A dialer to this server.
fn dialer(name: &str, remote: &str) -> String {
    tunnel(
        name,
        "dialer",
        &built("plain"),
        &format!("remote = '{remote}'"),
    )
}

#[track_caller]
fn await_refusal(address: &str) {
    let deadline = Instant::now() + LIMIT;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "{address} still accepts");
        thread::yield_now();
    }
}

#[test]
fn each_role_serves_plain_clients_and_all_end_at_once() {
    let server = Server::echo();
    let (plain, remote) = (built("plain"), &server.address);
    let policy = format!("settings = {{ policy = {{ allow = ['{remote}'] }} }}");
    let config = Config::new(
        &[
            dialer("one", remote),
            tunnel("two", "fixed-dialer", &plain, &policy),
            tunnel(
                "three",
                "listener",
                &plain,
                &format!("forward = '{remote}'"),
            ),
            tunnel("four", "relay", &plain, &format!("remote = '{remote}'")),
        ]
        .concat(),
    );
    let daemon = Daemon::start(&config, 4, &[]);
    let clients = ["one", "three", "four"].map(|name| daemon.connect(name));
    for client in &clients {
        round_trip(client, b"hello");
    }
    daemon.end();
    for mut client in clients {
        let reset = client.read(&mut [0]).expect_err("a reset");
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn some_tunnels_alone_can_be_run() {
    let server = Server::echo();
    // The second could not be run.
    let other = tunnel("other", "dialer", "no-such.wasm", "");
    let config = Config::new(&(dialer("one", &server.address) + &other));
    let mut daemon = Daemon::start(&config, 1, &["--only", "one"]);
    round_trip(&daemon.connect("one"), b"hello");
    config.write(&(dialer("one", &server.address) + &other + &dialer("more", "h:1")));
    daemon.reload_with([1, 0, 0, 0]);
    daemon.end();
}

#[test]
fn a_file_that_cannot_be_used_starts_nothing() {
    let plain = built("plain");
    let run = |text: &str, more: &[&str]| {
        let config = Config::new(text);
        let ended = Watm::run(&[&["run", &config.file()], more].concat());
        assert_eq!(ended.stdout, "", "{ended:?}");
        ended
    };
    let good = dialer("good", "127.0.0.1:1");
    let lacking = format!("[[tunnel]]\nname = 'a'\nrole = 'dialer'\nmodule = '{plain}'\n");
    let forward = tunnel("b", "listener", &plain, "");
    run(&(good.clone() + &lacking + &forward), &[]).failure_with(
        2,
        &[
            "tunnel `a` lacks `listen` and `remote`; tunnel `b` lacks `forward`",
            "--only",
        ],
    );
    run("[[tunnel]", &[]).failure_with(2, &["watm.toml, line 1", "not TOML"]);
    run(&good, &["--only", "godo"]).failure_with(2, &["nearest is `good`"]);
    let json = format!("{{ \"transport_module\": {{ \"bin\": \"{plain}\" }} }}");
    let config = Config::new("");
    config.put("water.json", json);
    Watm::run(&["run", &text(&config.path("water.json"))]).failure_with(
        2,
        &["configuration of the Go runtime", "watm dial --config-file"],
    );
    // What the file names is no matter of the file.
    let none = tunnel("bad", "dialer", "none.wasm", "remote = 'h:1'");
    run(&(good.clone() + &none), &[]).failure_with(1, &["tunnel `bad`", "none.wasm"]);
    let init = tunnel("bad", "dialer", &wat("unreachable_init"), "remote = 'h:1'");
    run(&(good.clone() + &init), &[]).failure_with(1, &["tunnel `bad`", "watm_init_v1"]);
    let holder = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let taken = holder.local_addr().expect("an address").to_string();
    let bad = dialer("bad", "h:1").replace("127.0.0.1:0", &taken);
    run(&(good + &bad), &[]).failure_with(1, &["tunnel `bad`", &taken, "another program"]);
}

#[test]
fn a_reload_touches_only_what_has_changed() {
    let server = Server::echo();
    let (xor, key) = (built("xor"), "settings = { config = 'key' }");
    let entrance = |remote: &str| {
        tunnel(
            "client",
            "dialer",
            &xor,
            &format!("remote = '{remote}'\n{key}"),
        )
    };
    let exit = tunnel(
        "server",
        "listener",
        &xor,
        &format!("forward = '{}'\n{key}", server.address),
    );
    let config = Config::new(&exit);
    config.put("key", "aaaa");
    let mut daemon = Daemon::start(&config, 1, &[]);
    let exit_address = daemon.address("server").to_owned();
    config.write(&(exit.clone() + &entrance(&exit_address)));
    daemon.reload_with([1, 0, 1, 0]);
    daemon.read_addresses(1);
    let old = daemon.connect("client");
    round_trip(&old, b"with the old key");
    daemon.reload_with([2, 0, 0, 0]);
    // The contents of a file count, not its name.
    config.put("key", "bbbb");
    daemon.reload_with([0, 2, 0, 0]);
    round_trip(&daemon.connect("client"), b"with the new key");
    round_trip(&old, b"and the old one goes on");
    // A file that cannot be used changes nothing, whatever else it says.
    let bad = exit.clone() + &tunnel("new", "dialer", "none.wasm", "remote = 'h:1'");
    for (text, reason) in [
        ("[[tunnel]", "not TOML"),
        (&bad, "none.wasm"),
        (
            &bad.replace("remote", "forward"),
            "only a listener forwards",
        ),
    ] {
        config.write(text);
        let line = daemon.reload();
        assert!(
            line.contains("nothing has changed") && line.contains(reason),
            "{line}"
        );
        round_trip(&daemon.connect("client"), b"as before");
    }
    config.write(&(exit + &entrance(&exit_address)));
    daemon.reload_with([2, 0, 0, 0]);
    daemon.end();
}

#[test]
fn a_removed_tunnel_accepts_no_more_and_its_connections_go_on() {
    let server = Server::echo();
    let (one, two) = (
        dialer("one", &server.address),
        dialer("two", &server.address),
    );
    let config = Config::new(&(one.clone() + &two));
    let mut daemon = Daemon::start(&config, 2, &[]);
    let old = daemon.connect("two");
    round_trip(&old, b"hello");
    config.write(&one);
    daemon.reload_with([1, 0, 0, 1]);
    await_refusal(daemon.address("two"));
    round_trip(&old, b"it goes on");
    round_trip(&daemon.connect("one"), b"and so does the other");
    daemon.end();
    let reset = (&old).read(&mut [0]).expect_err("a reset");
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn the_connections_of_a_removed_tunnel_can_have_a_limit() {
    let server = Server::echo();
    let (one, two) = (
        dialer("one", &server.address),
        dialer("two", &server.address),
    );
    let config = Config::new(&(one.clone() + &two));
    let mut daemon = Daemon::start(&config, 2, &["--drain", "0s"]);
    let old = daemon.connect("two");
    round_trip(&old, b"hello");
    config.write(&one);
    daemon.reload_with([1, 0, 0, 1]);
    let reset = (&old).read(&mut [0]).expect_err("a reset");
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    daemon.end();
}

#[test]
fn a_tunnel_keeps_its_socket_when_its_remote_role_or_name_changes() {
    let (server, other) = (
        Server::echo(),
        Server::start(|mut client| {
            let _ = client.write_all(b"other");
        }),
    );
    let config = Config::new(&dialer("one", &server.address));
    let mut daemon = Daemon::start(&config, 1, &[]);
    let old = daemon.connect("one");
    round_trip(&old, b"hello");
    config.write(&dialer("one", &other.address));
    daemon.reload_with([0, 1, 0, 0]);
    let mut bytes = [0; 5];
    daemon
        .connect("one")
        .read_exact(&mut bytes)
        .expect("the other server");
    assert_eq!(&bytes, b"other");
    config.write(&dialer("one", &server.address).replace("'dialer'", "'relay'"));
    daemon.reload_with([0, 1, 0, 0]);
    round_trip(&daemon.connect("one"), b"through a relay");
    config.write(&dialer("renamed", &server.address));
    daemon.reload_with([0, 0, 1, 1]);
    round_trip(&daemon.connect("one"), b"by another name");
    round_trip(&old, b"and the first goes on");
    // What was bound before is not announced again.
    config.write(&(dialer("renamed", &server.address) + &dialer("next", &server.address)));
    daemon.reload_with([1, 0, 1, 0]);
    daemon.read_addresses(1);
    round_trip(&daemon.connect("next"), b"at an address of its own");
    daemon.end();
}

#[test]
fn a_module_that_fails_is_put_back_and_the_next_reload_tries_it_again() {
    let server = Server::echo();
    let plain = built("plain");
    let config = Config::new(&dialer("one", &server.address).replace(&plain, "m.wat"));
    fs::copy(wat("plain"), config.path("m.wat")).expect("a copy");
    let mut daemon = Daemon::start(&config, 1, &[]);
    round_trip(&daemon.connect("one"), b"hello");
    config.put(
        "m.wat",
        fs::read(wat("unreachable_dial")).expect("a module"),
    );
    daemon.reload_with([0, 1, 0, 0]);
    for _ in 0..3 {
        let mut end = Vec::new();
        let _ = daemon.connect("one").read_to_end(&mut end);
    }
    daemon.watm.await_log("the module before it is used again");
    round_trip(&daemon.connect("one"), b"with the one before");
    // The file is the same, but what it says is not what runs.
    daemon.reload_with([0, 1, 0, 0]);
    daemon.end();
}

/// A client that connects, talks and closes until it is told to stop.
fn keep_connecting(address: &str, stop: &AtomicBool) -> Result<usize, std::io::Error> {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut client = TcpStream::connect(address)?;
        client.set_read_timeout(Some(LIMIT))?;
        let message = [u8::try_from(done % 251).expect("a byte"); 300];
        client.write_all(&message)?;
        let mut answer = [0; 300];
        client.read_exact(&mut answer)?;
        if answer != message {
            return Err(ErrorKind::InvalidData.into());
        }
        done += 1;
    }
    Ok(done)
}

#[test]
fn no_client_fails_while_the_file_is_read_again_and_again() {
    let (server, same) = (Server::echo(), Server::echo());
    let versions = |round: usize| {
        let remote = [&server.address, &same.address][round % 2];
        let module = [built("plain"), built("plain16k")][round / 2 % 2].clone();
        let limit = 100 + round / 4;
        let lines = format!("remote = '{remote}'\nsettings = {{ connection_limit = {limit} }}");
        let mut text = tunnel("load", "dialer", &module, &lines);
        let lines = format!(
            "forward = '{}'\nsettings = {{ args = ['{round}'] }}",
            server.address
        );
        text += &tunnel("exit", "listener", &built("plain"), &lines);
        if round.is_multiple_of(3) {
            text += &dialer("sometimes", &server.address);
        }
        text
    };
    let config = Config::new(&versions(1));
    let mut daemon = Daemon::start(&config, 2, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = ["load", "exit", "load", "exit"]
        .map(|name| {
            let (address, stop) = (daemon.address(name).to_owned(), Arc::clone(&stop));
            thread::spawn(move || keep_connecting(&address, &stop))
        })
        .into_iter()
        .collect();
    for round in 2..26_usize {
        if round.is_multiple_of(5) {
            config.write("no TOML");
            assert!(daemon.reload().contains("nothing has changed"));
        }
        config.write(&versions(round));
        let line = daemon.reload();
        assert!(line.contains("is used as it is now"), "{line}");
    }
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for client in clients {
        let done = client
            .join()
            .expect("no panic")
            .expect("not one connection fails");
        assert!(done > 0);
        total += done;
    }
    assert!(total > 50, "{total} connections across all reloads");
    daemon.end();
}

#[test]
fn a_second_signal_ends_all_at_once() {
    let server = Server::echo();
    let grace = format!(
        "remote = '{}'\nsettings = {{ close_grace = '1h' }}",
        server.address
    );
    let stuck = |name: &str| tunnel(name, "dialer", &wat("loop_start_worker"), &grace);
    let config = Config::new(&(stuck("one") + &stuck("two")));
    let mut daemon = Daemon::start(&config, 2, &["-vv"]);
    let _clients = ["one", "two"].map(|name| daemon.connect(name));
    daemon.watm.await_log("dialled");
    daemon.watm.await_log("dialled");
    daemon.watm.signal(libc::SIGTERM);
    daemon.watm.await_log("SIGTERM: ending");
    daemon.watm.signal(libc::SIGINT);
    assert_eq!(daemon.watm.end().code, Some(130));
}

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(config: &Config) -> Self {
        let socket = UnixDatagram::bind(config.path("notify")).expect("a socket");
        socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
        Self { socket }
    }

    /// Reads messages until one has this line.
    #[track_caller]
    fn await_line(&self, wanted: &str) -> Vec<String> {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).expect(wanted);
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let lines: Vec<_> = message.lines().map(str::to_owned).collect();
            if lines.iter().any(|line| line == wanted) {
                return lines;
            }
        }
    }
}

#[test]
fn the_service_manager_hears_of_each_stage_and_of_the_watchdog() {
    let server = Server::echo();
    let config = Config::new(&dialer("one", &server.address));
    let manager = Manager::new(&config);
    let socket = format!("NOTIFY_SOCKET={}", text(&config.path("notify")));
    let watm = env!("CARGO_BIN_EXE_watm");
    let before = [&socket, "WATCHDOG_USEC=200000", watm];
    let mut daemon = Daemon::start_as("env", &before, &config, 1, &[]);
    let ready = manager.await_line("READY=1");
    assert!(
        ready.contains(&"STATUS=1 tunnel, 0 connections".to_owned()),
        "{ready:?}"
    );
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(manager.await_line("WATCHDOG=1").len(), 1);
    }
    assert!(
        begun.elapsed() >= Duration::from_millis(150),
        "no more often than needed"
    );
    let client = daemon.connect("one");
    round_trip(&client, b"hello");
    manager.await_line("STATUS=1 tunnel, 1 connection");
    for (file, status) in [
        ("no TOML", "the last reload failed"),
        (
            dialer("two", &server.address).as_str(),
            "1 tunnel, 1 connection",
        ),
    ] {
        config.write(file);
        daemon.watm.signal(libc::SIGHUP);
        let reloading = manager.await_line("RELOADING=1");
        let time = reloading
            .iter()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(
            time.is_some_and(|time| time.parse::<u64>().is_ok()),
            "{reloading:?}"
        );
        let ready = manager.await_line("READY=1");
        assert!(ready.iter().any(|line| line.contains(status)), "{ready:?}");
    }
    daemon.watm.signal(libc::SIGTERM);
    manager.await_line("STOPPING=1");
    daemon.watm.end().success();
}

#[test]
fn a_port_that_becomes_free_can_be_listened_on_at_the_next_reload() {
    let server = Server::echo();
    let one = dialer("one", &server.address);
    let config = Config::new(&one);
    let mut daemon = Daemon::start(&config, 1, &[]);
    let holder = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = holder.local_addr().expect("an address").to_string();
    let two = dialer("two", &server.address).replace("127.0.0.1:0", &address);
    // The first would change as well, and does not.
    let changed = one.clone() + "settings = { timing = true }\n";
    config.write(&(changed.clone() + &two));
    let line = daemon.reload();
    assert!(line.contains("nothing has changed: tunnel `two`"), "{line}");
    drop(holder);
    // A process that another test starts may have it for a moment.
    let deadline = Instant::now() + LIMIT;
    let line = loop {
        let line = daemon.reload();
        if !line.contains("nothing has changed") {
            break line;
        }
        assert!(Instant::now() < deadline, "{line}");
    };
    assert!(
        line.contains("0 unchanged, 1 changed, 1 new, 0 removed"),
        "{line}"
    );
    round_trip(&connect(&address), b"hello");
    round_trip(&daemon.connect("one"), b"hello");
    daemon.end();
}
