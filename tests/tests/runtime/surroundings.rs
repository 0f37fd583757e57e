//! Contract, section 6: what a guest finds around it, and that it finds nothing else.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use watm_tests::{
    EchoServer, Logs, Pair, alternate, built, copy_as, echo_messages, expect_end, read_vec, text,
    wat, wat_text,
};
use watm_wasmer::{
    AddressPolicy, Builder, ConfigError, DialError, DialOptions, Dialer, Errno, FixedDialer,
    GuestError, ListenError, Listener, Relay, Stdio, TransportError,
};

use super::given_files::Opener;

pub(crate) fn xor(key: &[u8], text: &[u8]) -> Vec<u8> {
    text.iter()
        .zip(key.iter().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect()
}

// ---- configuration ---------------------------------------------------------------------------

#[test]
fn a_module_reads_its_configuration_as_a_file() {
    let pair = Pair::with(Dialer::builder(&built("xor")).config(*b"key"));
    (&pair.conn).write_all(b"hello there").expect("room");
    assert_eq!(read_vec(&pair.peer, 11), xor(b"key", b"hello there"));
    let pair = Pair::accepted(Listener::builder(&built("xor")).config(*b"other"));
    (&pair.peer).write_all(b"hello there").expect("room");
    assert_eq!(read_vec(&pair.conn, 11), xor(b"other", b"hello there"));
}

#[test]
fn each_dial_may_have_a_configuration_of_its_own() {
    let dialer = Dialer::builder(&built("xor"))
        .config(*b"common")
        .build()
        .expect("a dialer");
    let text = b"the same text for all of them";
    for key in ["one", "another", "a third and longer key"] {
        let pair = Pair::dial_with(&dialer, DialOptions::new().config(key));
        (&pair.conn).write_all(text).expect("room");
        assert_eq!(read_vec(&pair.peer, text.len()), xor(key.as_bytes(), text));
    }
    let pair = Pair::dial_with(&dialer, DialOptions::new());
    (&pair.conn).write_all(text).expect("room");
    assert_eq!(read_vec(&pair.peer, text.len()), xor(b"common", text));
}

#[test]
fn connections_with_different_configurations_live_side_by_side() {
    let dialer = Dialer::builder(&built("xor")).build().expect("a dialer");
    let keys: [&[u8]; 2] = [b"left", b"right hand"];
    let pairs = keys.map(|key| Pair::dial_with(&dialer, DialOptions::new().config(key)));
    for round in 0..10 {
        for (pair, key) in pairs.iter().zip(keys) {
            let text: Vec<u8> = (0..key.len() as u8 * 3).map(|i| i + round).collect();
            (&pair.conn).write_all(&text).expect("room");
            assert_eq!(read_vec(&pair.peer, text.len()), xor(key, &text));
        }
    }
}

#[test]
fn without_a_configuration_opening_it_fails_and_the_guest_goes_on() {
    // This module requires a configuration.
    let (_listener, address) = watm_tests::listener();
    let dialer = Dialer::builder(&built("xor")).build().expect("a dialer");
    match dialer.dial(&address).expect_err("no key") {
        DialError::Transport(TransportError::Failed { function, error }) => {
            assert_eq!(function, "watm_init_v1");
            assert_eq!(error, GuestError::Errno(Errno::Inval));
        }
        other => panic!("{other:?}"),
    }
    // These modules do without one.
    let pair = Pair::dial(&built("err_positive"));
    assert!(pair.conn.outcome().is_none());
    let logs = Logs::of_module("no_config");
    let pair = Pair::with(Dialer::builder(&copy_as("files", "no_config")));
    let line = logs.after("config write: ");
    assert!(line.starts_with("errno "), "{line}");
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
}

#[test]
fn a_fixed_dialer_without_a_configuration_is_told_that_there_is_no_file() {
    let dialer = FixedDialer::builder(&built("plain")).policy(AddressPolicy::allow_all());
    match dialer
        .build()
        .expect("a fixed dialer")
        .dial()
        .expect_err("no address")
    {
        DialError::Transport(TransportError::Failed { error, .. }) => {
            // wasi-libc reports that no directory has it, or that it is not in there.
            let known = [Errno::Noent, Errno::Notcapable].map(GuestError::Errno);
            assert!(known.contains(&error), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_configuration_cannot_be_written() {
    let logs = Logs::of_module("config_stays");
    let builder = Dialer::builder(&copy_as("rust_files", "config_stays")).config(*b"constant");
    let _pair = Pair::with(builder);
    let line = logs.after("config write: ");
    assert!(line.starts_with("errno "), "{line}");
    // The file is not created anew or truncated, and nothing is created beside it. wasi-libc does
    // not even ask for the write right, which the directory does not have, so its programs learn of
    // this when they write.
    let opener = Opener::new(
        Dialer::builder(&wat("open_path")).config(*b"constant"),
        "watm.cfg",
    );
    for (letter, path) in [('w', "watm.cfg"), ('n', "watm.cfg"), ('w', "another")] {
        let found = opener.ask(letter, path);
        assert!(found.is_err(), "{letter} {path}: {found:?}");
    }
    assert_eq!(opener.read("watm.cfg").expect("a file"), b"constant");
}

#[test]
fn a_secret_configuration_is_in_no_debug_output() {
    let secret = "correct horse battery staple";
    let builder = Dialer::builder(&built("xor"))
        .config(secret)
        .file("/etc/secret", secret);
    let options = DialOptions::new().config(secret);
    let dialer = builder.clone().build().expect("a dialer");
    let pair = Pair::with(builder.clone());
    for text in [
        format!("{builder:?}"),
        format!("{options:?}"),
        format!("{dialer:?}"),
        format!("{:?}", pair.conn),
    ] {
        assert!(
            !text.contains("horse") && !text.contains("104, 111"),
            "{text}"
        );
    }
}

// ---- arguments, environment, clocks, random numbers, standard streams ------------------------

pub(crate) fn lines_of(builder: Builder<Dialer>) -> Vec<String> {
    let pair = Pair::with(builder);
    let mut text = String::new();
    (&pair.conn)
        .read_to_string(&mut text)
        .expect("the lines and the end");
    pair.conn.close().expect("it returns 0");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_guest_gets_the_arguments_and_the_environment_that_were_named_and_no_others() {
    let long = "x".repeat(20_000);
    let dialer = Dialer::builder(&built("args"))
        .arg("first")
        .arg("")
        .arg("with blanks and ünïcode")
        .arg(&long)
        .env("NAME", "value")
        .env("EMPTY", "")
        .env("LIST", "a=b=c");
    let lines = lines_of(dialer);
    let expected = [
        "argc 5",
        "arg 0 args",
        "arg 1 first",
        "arg 2 ",
        "arg 3 with blanks and ünïcode",
        &format!("arg 4 {long}"),
        "env NAME=value",
        "env EMPTY=",
        "env LIST=a=b=c",
        "stdin 0",
        "clock ok",
        "random ok",
        "end",
    ];
    let sorted = |lines: &[&str]| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        lines.sort();
        lines
    };
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(sorted(&lines), sorted(&expected));
}

#[test]
fn by_default_there_is_the_modules_name_and_nothing_else() {
    // The host's own environment is not empty.
    assert!(std::env::vars().count() > 0);
    let lines = lines_of(Dialer::builder(&built("args")));
    assert_eq!(
        lines,
        [
            "argc 1",
            "arg 0 args",
            "stdin 0",
            "clock ok",
            "random ok",
            "end"
        ]
    );
}

#[test]
fn arguments_and_variables_that_no_guest_could_read_are_refused() {
    let dialer = || Dialer::builder(&built("args"));
    for (builder, setting) in [
        (dialer().arg("a\0b"), "arg"),
        (dialer().env("", "x"), "env"),
        (dialer().env("a=b", "x"), "env"),
        (dialer().env("a\0", "x"), "env"),
        (dialer().env("a", "x\0"), "env"),
    ] {
        match builder.build().expect_err("it cannot work") {
            ConfigError::Invalid { setting: found, .. } => assert_eq!(found, setting),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn standard_streams_can_be_null() {
    let logs = Logs::of_module("silent");
    let dialer = Dialer::builder(&copy_as("files", "silent")).stdio(Stdio::Null);
    let pair = Pair::with(dialer);
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
    pair.conn.close().expect("a clean end");
    assert!(
        !logs.texts().iter().any(|line| line.starts_with("clash")),
        "{:?}",
        logs.texts()
    );
}

#[test]
fn standard_output_and_error_become_log_lines_of_the_module() {
    let logs = Logs::of_module("well_logged");
    let _pair = Pair::greeted(
        Dialer::builder(&copy_as("handshake", "well_logged")),
        |mut peer| {
            read_vec(peer, 16);
            peer.write_all(b"WATM-REPLY-00001").expect("room");
        },
    );
    let lines = logs.wait("three lines", |lines| {
        (lines.len() >= 3).then(|| lines.to_vec())
    });
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "handshake: dialled",
            "handshake: hello sent",
            "handshake: reply read, result 0"
        ]
    );
    assert!(lines.iter().all(|line| line.level == log::Level::Info));
}

#[test]
fn what_a_module_logs_is_escaped_cut_and_bounded() {
    let logs = Logs::of_module("flooding");
    let started = Instant::now();
    let pair = Pair::dial(&copy_as("stderr_flood.wat", "flooding"));
    expect_end(&pair.conn);
    pair.conn.close().expect("a flood is not an error");
    let lines = logs.wait("how much it dropped", |lines| {
        let dropped = lines
            .iter()
            .filter(|line| line.text.ends_with("lines were dropped"));
        let number = |text: &str| text.split(' ').next()?.parse::<u64>().ok();
        let dropped: u64 = dropped.filter_map(|line| number(&line.text)).sum();
        // 100,000 short lines, and 1 MiB without a newline in pieces of 1 KiB.
        (dropped + lines.len() as u64 > 101_000).then(|| lines.to_vec())
    });
    // 200 lines for each second that has begun, and one about the dropped lines.
    let most = 201 * (started.elapsed().as_secs() as usize + 2);
    assert!(lines.len() <= most, "{} lines", lines.len());
    for line in &lines {
        assert!(line.text.len() <= 6 * 1024, "{} bytes", line.text.len());
        let bad = line.text.chars().find(|c| c.is_control() && *c != '\t');
        assert_eq!(bad, None, "{:?}", line.text);
    }
    let first = &lines[0].text;
    assert!(first.contains("\\u{1b}[31mflood"), "{first}");
    assert!(
        first.contains("\\u{0}") && first.contains('\u{fffd}'),
        "{first}"
    );
}

// ---- directories -----------------------------------------------------------------------------

#[test]
fn limits_that_cannot_work_are_refused() {
    let dialer = || Dialer::builder(&built("plain"));
    for (builder, setting) in [
        (dialer().memory_limit(65_535), "memory_limit"),
        (dialer().descriptor_limit(2), "descriptor_limit"),
        (dialer().descriptor_limit(481), "descriptor_limit"),
        (dialer().spare_refill_rate(0), "spare_refill_rate"),
        (dialer().setup_timeout(Duration::ZERO), "setup_timeout"),
        (dialer().connect_timeout(Duration::ZERO), "connect_timeout"),
    ] {
        match builder.build().expect_err(setting) {
            ConfigError::Invalid { setting: found, .. } => assert_eq!(found, setting),
            other => panic!("{other:?}"),
        }
    }
    let relay = Relay::builder(&built("plain")).connection_limit(0);
    let listener = || Listener::builder(&built("plain"));
    for (refused, expected) in [
        (relay.bind("127.0.0.1:0").map(drop), "connection_limit"),
        (
            listener().backlog(0).bind("127.0.0.1:0").map(drop),
            "backlog",
        ),
        (
            listener().handshake_limit(0).bind("127.0.0.1:0").map(drop),
            "handshake_limit",
        ),
    ] {
        match refused.expect_err(expected) {
            ListenError::Config(ConfigError::Invalid { setting, .. }) => {
                assert_eq!(setting, expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn limits_may_be_as_good_as_none() {
    let long = Duration::from_secs(300 * 24 * 3600);
    let builder = Dialer::builder(&built("plain"))
        .memory_limit(u64::MAX)
        .connect_timeout(long)
        .setup_timeout(long)
        .drain_timeout(long)
        .close_grace(long);
    let pair = Pair::with(builder);
    pair.conn
        .set_read_timeout(Some(Duration::MAX))
        .expect("a timeout");
    pair.conn
        .set_write_timeout(Some(Duration::MAX))
        .expect("a timeout");
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
    pair.conn.close().expect("a clean end");
    let listener = Listener::builder(&built("plain")).handshake_limit(usize::MAX);
    let pair = Pair::accepted(listener.backlog(usize::MAX));
    alternate(&pair.conn, &pair.peer, 1024, |_| {});

    // A duration that exceeds the clock's range is not a limit either.
    let endless = Dialer::builder(&built("plain"))
        .connect_timeout(Duration::MAX)
        .setup_timeout(Duration::MAX)
        .drain_timeout(Duration::MAX)
        .close_grace(Duration::MAX);
    let pair = Pair::with(endless);
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
    pair.conn.close().expect("a clean end");
}

#[test]
fn a_memory_limit_beyond_what_a_module_can_have_is_no_limit() {
    for limit in [4 << 30, (4 << 30) + 65_536, 1 << 40] {
        let pair = Pair::with(Dialer::builder(&built("plain")).memory_limit(limit));
        alternate(&pair.conn, &pair.peer, 64, |_| {});
    }
}

#[test]
fn three_descriptors_are_enough_for_a_connection() {
    let pair = Pair::with(Dialer::builder(&built("plain")).descriptor_limit(3));
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
    let pair = Pair::accepted(Listener::builder(&built("plain")).descriptor_limit(3));
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
}

#[test]
fn a_guest_gets_as_much_memory_as_the_limit_says_and_can_use_it() {
    for (limit, pages) in [(65_536 * 2, 2), (65_536 * 100 + 1, 100), (64 << 20, 1024)] {
        let pair = Pair::with(Dialer::builder(&wat("grow")).memory_limit(limit));
        assert_eq!(watm_tests::read_numbers(&pair.conn), [pages]);
    }
}

#[test]
fn a_module_that_declares_a_maximum_gets_no_more_than_that() {
    let module = wat_text("grow").replace("\"memory\") 2)", "\"memory\") 2 5)");
    let pair = Pair::with(Dialer::builder(&text(&module)).memory_limit(64 << 20));
    assert_eq!(watm_tests::read_numbers(&pair.conn), [5]);
}

#[test]
fn a_guest_has_memory_from_the_start_beyond_what_its_module_asks_for() {
    let grow = wat_text("grow");
    // It tells how much it has, without growing.
    let grows = "(br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))";
    assert!(grow.contains(grows));
    let size = grow.replace(grows, "");
    let bounded = size.replace("\"memory\") 2)", "\"memory\") 2 5)");
    let dialer = |module: &str| Dialer::builder(&text(module));
    for (builder, pages) in [
        (dialer(&size).memory_headroom(0), 2),
        (dialer(&size).memory_headroom(65_535), 2),
        (dialer(&size), 26),
        (dialer(&size).memory_headroom(65_536 * 100), 102),
        (dialer(&size).memory_headroom(u64::MAX), 2049),
        (dialer(&size).memory_limit(65_536 * 3), 2),
        (dialer(&bounded), 3),
    ] {
        let pair = Pair::with(builder);
        assert_eq!(watm_tests::read_numbers(&pair.conn), [pages]);
    }
}

#[test]
fn a_module_that_needs_more_memory_than_the_limit_is_told_so() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&wat("grow"))
        .memory_limit(65_536)
        .build()
        .expect("a dialer");
    match dialer
        .dial(server.address())
        .expect_err("it wants two pages")
    {
        DialError::Instantiate(message) => {
            assert!(
                message.contains("131072") && message.contains("65536"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    echo_messages(&dialer.dial(server.address()).expect("others go on"));
}

#[test]
fn settings_are_shared_by_roles_and_can_be_changed_for_one() {
    let settings = watm_wasmer::Settings::new()
        .config(*b"key")
        .connect_timeout(Duration::ZERO);
    let refused = Dialer::builder(&built("xor")).settings(&settings).build();
    match refused.expect_err("no time") {
        ConfigError::Invalid { setting, .. } => assert_eq!(setting, "connect_timeout"),
        other => panic!("{other:?}"),
    }
    let settings = settings.connect_timeout(Duration::from_secs(10));
    let pair = watm_tests::Duo::with(
        Dialer::builder(&built("xor")).settings(&settings),
        Listener::builder(&built("xor"))
            .settings(&settings)
            .backlog(1),
    );
    (&pair.dialer).write_all(b"hello").expect("it writes");
    let mut received = [0; 5];
    (&pair.listener)
        .read_exact(&mut received)
        .expect("it reads");
    assert_eq!(&received, b"hello");
}
