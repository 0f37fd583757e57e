//! The command as a plugin of other programs: a pluggable transport of Tor, and a plugin of
//! Shadowsocks. The programs themselves run in `tests/plugins`.

use std::io::{Read, Write};
use std::path::Path;

use crossbeam_channel::bounded;

use crate::confining::is_filtered;
use crate::peers::{Server, connect, round_trip};
use crate::process::{LIMIT, Watm, built, transport};

/// Starts `watm pt` with the variables of tor.
fn pt(state: &Path, variables: &[(&str, &str)], args: &[&str]) -> Watm {
    let mut env = vec![
        ("TOR_PT_MANAGED_TRANSPORT_VER", "1"),
        (
            "TOR_PT_STATE_LOCATION",
            state.to_str().expect("a path in UTF-8"),
        ),
        ("TOR_PT_EXIT_ON_STDIN_CLOSE", "1"),
    ];
    env.extend(variables);
    Watm::start_in(&env, &[&["pt"], args].concat())
}

/// The address in a line `CMETHOD` or `SMETHOD`.
fn address(line: &str, start: &str) -> String {
    let rest = line.strip_prefix(start).unwrap_or_else(|| panic!("{line}"));
    rest.split(' ').next().expect("an address").to_owned()
}

#[test]
fn tor_finds_a_client_and_a_server_of_one_transport() {
    let state = tempfile::tempdir().expect("a directory");
    let (sender, received) = bounded(1);
    let or_port = Server::start(move |mut client| {
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes).expect("bytes");
        client.write_all(b"world").expect("room");
        let _ = sender.send(bytes);
    });
    let module = transport("noise");
    let named = format!("noise={module}");
    let psk = "5".repeat(64);
    let options = format!("noise:pattern=NNpsk0;noise:psk={psk};noise:replay=off;other:a=b");
    let variables = [
        ("TOR_PT_SERVER_TRANSPORTS", "noise,unknown"),
        (
            "TOR_PT_SERVER_BINDADDR",
            "noise-127.0.0.1:0,unknown-127.0.0.1:0",
        ),
        ("TOR_PT_SERVER_TRANSPORT_OPTIONS", &*options),
        ("TOR_PT_ORPORT", &or_port.address),
    ];
    let args = ["--transport", &named, "--server-arg", "noise:psk=a,b=c"];
    let mut server = pt(state.path(), &variables, &args);
    assert_eq!(server.stdout_line(), "VERSION 1");
    let line = server.stdout_line();
    assert!(line.ends_with(r" ARGS:psk=a\,b\=c"), "{line}");
    let remote = address(&line, "SMETHOD noise ");
    assert_eq!(
        server.stdout_line(),
        "SMETHOD-ERROR unknown no such transport is configured"
    );
    assert_eq!(server.stdout_line(), "SMETHODS DONE");

    let variables = [("TOR_PT_CLIENT_TRANSPORTS", "noise,unknown")];
    let mut client = pt(state.path(), &variables, &["--transport", &named]);
    assert_eq!(client.stdout_line(), "VERSION 1");
    let proxy = address(&client.stdout_line(), "CMETHOD noise socks5 ");
    assert_eq!(
        client.stdout_line(),
        "CMETHOD-ERROR unknown no such transport is configured"
    );
    assert_eq!(client.stdout_line(), "CMETHODS DONE");

    // The arguments of the bridge line are the configuration of the module.
    let arguments = format!("pattern=NNpsk0;psk={psk}");
    let mut stream = connect(&proxy);
    let mut hello = vec![5, 1, 2, 1, u8::try_from(arguments.len()).expect("short")];
    hello.extend_from_slice(arguments.as_bytes());
    hello.extend_from_slice(&[1, 0]);
    let port: u16 = remote
        .rsplit(':')
        .next()
        .and_then(|p| p.parse().ok())
        .expect("a port");
    hello.extend_from_slice(&[5, 1, 0, 1, 127, 0, 0, 1]);
    hello.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&hello).expect("room");
    let mut replies = [0; 14];
    stream.read_exact(&mut replies).expect("replies");
    assert_eq!(replies[..6], [5, 2, 1, 0, 5, 0]);
    stream.write_all(b"hello").expect("room");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(
        (&answer, &received.recv_timeout(LIMIT).expect("bytes")),
        (b"world", b"hello")
    );
    assert_eq!(
        client.stdout_line(),
        "STATUS TRANSPORT=noise CONNECT=Success"
    );

    // What is no configuration is refused by the module.
    let mut stream = connect(&proxy);
    let at = hello
        .windows(6)
        .position(|part| part == b"NNpsk0")
        .expect("the pattern");
    hello[at] = b'X';
    stream.write_all(&hello).expect("room");
    stream.read_exact(&mut replies).expect("replies");
    assert_eq!(replies[..6], [5, 2, 1, 0, 5, 1]);

    assert!(is_filtered(client.id()) && is_filtered(server.id()));
    // Nothing was tried without the arguments, which the module needs.
    for mut process in [client, server] {
        process.close_stdin();
        let rest = String::from_utf8(process.stdout_to_end()).expect("text");
        assert!(!rest.contains("no spare instance"), "{rest}");
        process.end().success();
    }
}

#[test]
fn what_tor_cannot_use_is_told_in_its_lines() {
    let state = tempfile::tempdir().expect("a directory");
    let module = format!("a={}", built("plain"));
    let args = ["--transport", &*module];
    let cases = [
        (
            &[("TOR_PT_CLIENT_TRANSPORTS", "")][..],
            "ENV-ERROR neither TOR_PT_CLIENT",
        ),
        (
            &[("TOR_PT_MANAGED_TRANSPORT_VER", "2")],
            "VERSION-ERROR no-version",
        ),
        (
            &[("TOR_PT_SERVER_TRANSPORTS", "a")],
            "ENV-ERROR neither TOR_PT_ORPORT",
        ),
    ];
    for (variables, line) in cases {
        let mut process = pt(state.path(), variables, &args);
        let told = process.stdout_line();
        assert!(told.starts_with(line), "{told}");
        assert_eq!(process.end().code, Some(1));
    }
    let variables = [
        ("TOR_PT_CLIENT_TRANSPORTS", "a"),
        ("TOR_PT_PROXY", "socks4a://127.0.0.1:1"),
    ];
    let ended = pt(state.path(), &variables, &args).end();
    assert!(
        ended.stdout.starts_with("VERSION 1\nPROXY-ERROR "),
        "{ended:?}"
    );
    let variables = [
        ("TOR_PT_CLIENT_TRANSPORTS", "a"),
        ("TOR_PT_PROXY", "socks5://127.0.0.1:1"),
    ];
    let broken = ["--transport", "a=/no/such/module.wasm"];
    let ended = pt(state.path(), &variables, &broken).end();
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines[..2], ["VERSION 1", "PROXY DONE"]);
    assert!(lines[2].starts_with("CMETHOD-ERROR a "), "{lines:?}");
    assert_eq!(lines[3..], ["CMETHODS DONE"]);
    assert_eq!(ended.code, Some(1));
}

#[test]
fn no_address_is_logged_unless_asked_for() {
    for (option, expected) in [
        (None, "to [scrubbed]"),
        (Some("--unsafe-logging"), "to 127.0.0.1:1"),
    ] {
        let state = tempfile::tempdir().expect("a directory");
        let module = format!("a={}", built("plain"));
        let mut args = vec!["--transport", &*module];
        args.extend(option);
        let mut client = pt(state.path(), &[("TOR_PT_CLIENT_TRANSPORTS", "a")], &args);
        assert_eq!(client.stdout_line(), "VERSION 1");
        let proxy = address(&client.stdout_line(), "CMETHOD a socks5 ");
        assert_eq!(client.stdout_line(), "CMETHODS DONE");
        let mut stream = connect(&proxy);
        // Nobody listens there.
        stream
            .write_all(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 1])
            .expect("room");
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).expect("a reply");
        assert_eq!(reply[2..4], [5, 5]);
        let mut lines = [client.stdout_line(), client.stdout_line()];
        lines.sort();
        assert!(
            lines[0].starts_with("LOG SEVERITY=warning MESSAGE="),
            "{lines:?}"
        );
        assert!(lines[0].contains(expected), "{lines:?}");
        assert_eq!(lines[1], "STATUS TRANSPORT=a CONNECT=Failed ERROR=connect");
    }
}

#[test]
fn a_chain_of_modules_stays_whole_when_tor_has_a_proxy() {
    let state = tempfile::tempdir().expect("a directory");
    let file = state.path().join("pt.toml");
    let (plain, xor) = (built("plain"), built("xor"));
    let write = |more: &str| {
        let text = format!(
            "[[tunnel]]\nname = 'a'\nrole = 'dialer'\nmodule = '{plain}'\n{more}\n\
             [[tunnel.below]]\nmodule = '{xor}'\nsettings = {{ config = {{ text = 'key' }} }}\n"
        );
        std::fs::write(&file, text).expect("a file");
    };
    write("");
    let args = ["--config-file", file.to_str().expect("a path in UTF-8")];
    // The proxy connects to a server that reads what came through both modules.
    let (sender, received) = bounded(1);
    let server = Server::start(move |mut client| {
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes).expect("bytes");
        let _ = sender.send(bytes);
    });
    let module = built("plain");
    let (_proxy, upstream) =
        Watm::listening(&["dial", "--module", &module, "--socks", "127.0.0.1:0"]);
    let upstream = format!("socks5://{upstream}");
    let variables = [
        ("TOR_PT_CLIENT_TRANSPORTS", "a"),
        ("TOR_PT_PROXY", &*upstream),
    ];
    let mut client = pt(state.path(), &variables, &args);
    assert_eq!(client.stdout_line(), "VERSION 1");
    assert_eq!(client.stdout_line(), "PROXY DONE");
    let proxy = address(&client.stdout_line(), "CMETHOD a socks5 ");
    let mut stream = connect(&proxy);
    let port: u16 = server
        .address
        .rsplit(':')
        .next()
        .and_then(|p| p.parse().ok())
        .expect("a port");
    stream
        .write_all(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1])
        .expect("room");
    stream.write_all(&port.to_be_bytes()).expect("room");
    stream.write_all(b"hello").expect("room");
    let bytes = received.recv_timeout(LIMIT).expect("bytes");
    assert_ne!(&bytes, b"hello", "the lower module was left out");

    let variables = [
        ("TOR_PT_CLIENT_TRANSPORTS", "a"),
        ("TOR_PT_OUTBOUND_BIND_ADDRESS_V4", "127.0.0.1"),
    ];
    let ended = pt(state.path(), &variables, &args).end();
    assert!(
        ended.stdout.contains("CMETHOD-ERROR a a chain"),
        "{ended:?}"
    );
    write("socks = true");
    let ended = pt(state.path(), &[("TOR_PT_CLIENT_TRANSPORTS", "a")], &args).end();
    assert!(
        ended.stdout.contains("ENV-ERROR the tunnel a says"),
        "{ended:?}"
    );
}

#[test]
fn a_plugin_of_shadowsocks_is_client_or_server_as_its_environment_says() {
    let echo = Server::echo();
    let module = transport("noise");
    let directory = tempfile::tempdir().expect("a directory");
    let options = |name: &str, more: &str| {
        let path = directory.path().join(name);
        let psk = "5".repeat(64);
        let config = format!(r#"{{"pattern": "NNpsk0", "psk": "{psk}"{more}}}"#);
        std::fs::write(&path, config).expect("a file");
        let path = path.to_str().expect("a path in UTF-8");
        let path = path.replace(';', r"\;").replace('=', r"\=");
        format!("module={module};config={path}")
    };
    let common = options("a;b=c.json", "");
    let of_server = options("server.json", r#", "replay": "off""#);
    let split = |address: &str| {
        let (host, port) = address.rsplit_once(':').expect("a port");
        (host.to_owned(), port.to_owned())
    };
    let start = |remote: &str, local: &str, options: &str| {
        let ((remote_host, remote_port), (local_host, local_port)) = (split(remote), split(local));
        Watm::start_in(
            &[
                ("SS_REMOTE_HOST", &*remote_host),
                ("SS_REMOTE_PORT", &*remote_port),
                ("SS_LOCAL_HOST", &*local_host),
                ("SS_LOCAL_PORT", &*local_port),
                ("SS_PLUGIN_OPTIONS", options),
                ("RUST_LOG", "info"),
            ],
            &[],
        )
    };
    let listening = |process: &mut Watm| {
        let line = process.await_log("listening on ");
        line.rsplit(' ').next().expect("an address").to_owned()
    };
    let mut server = start("127.0.0.1:0", &echo.address, &format!("server;{of_server}"));
    let middle = listening(&mut server);
    let mut client = start(&middle, "127.0.0.1:0", &common);
    let entrance = listening(&mut client);
    round_trip(&connect(&entrance), b"hello");
    let ended = start(&middle, "127.0.0.1:0", "").end();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("names no module"), "{ended:?}");
    let ended = start(&middle, "127.0.0.1:0", &format!("{common};colour=red")).end();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--colour"), "{ended:?}");
}
