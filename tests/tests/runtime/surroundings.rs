//! Contract, section 6: what a guest finds around it, and that it finds nothing else.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use watm_tests::{
    EchoServer, Logs, Pair, alternate, built, copy_as, echo_messages, expect_end, read_vec, text,
    wat, wat_text,
};
use watm_wasmer::{
    AddressPolicy, Builder, ConfigError, Conn, DialError, DialOptions, Dialer, Errno, FixedDialer,
    GuestError, ListenError, Listener, Relay, Stdio, TransportError,
};

fn xor(key: &[u8], text: &[u8]) -> Vec<u8> {
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
    // This one says that it cannot do without.
    let (_listener, address) = watm_tests::listener();
    let dialer = Dialer::builder(&built("xor")).build().expect("a dialer");
    match dialer.dial(&address).expect_err("no key") {
        DialError::Transport(TransportError::Failed { function, error }) => {
            assert_eq!(function, "watm_init_v1");
            assert_eq!(error, GuestError::Errno(Errno::Inval));
        }
        other => panic!("{other:?}"),
    }
    // These have nothing to read there, and do not mind.
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
            // wasi-libc says that no directory has it, or that it is not in there.
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
    // Not created anew, not cut, and nothing beside it. (wasi-libc does not even ask for the right
    // to write that the directory does not have, so its programs find out when they write.)
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

fn lines_of(builder: Builder<Dialer>) -> Vec<String> {
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
    pair.conn.close().expect("a flood is no error");
    let lines = logs.wait("how much it dropped", |lines| {
        let dropped = lines
            .iter()
            .filter(|line| line.text.ends_with("lines were dropped"));
        let number = |text: &str| text.split(' ').next()?.parse::<u64>().ok();
        let dropped: u64 = dropped.filter_map(|line| number(&line.text)).sum();
        // 100,000 short lines, and 1 MiB without an end in pieces of 1 KiB.
        (dropped + lines.len() as u64 > 101_000).then(|| lines.to_vec())
    });
    // 200 for each second that has begun, and what was dropped in it.
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

/// A directory with a secret beside it.
fn data() -> (tempfile::TempDir, std::path::PathBuf) {
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("secret"), "s").expect("a file");
    let data = outside.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    std::fs::write(data.join("greeting.txt"), "hello\n").expect("a file");
    std::fs::write(data.join("another"), "").expect("a file");
    (outside, data)
}

/// What the modules `files` and `rust_files` report of the directory that holds the greeting, and
/// that these attempts of theirs, and others that are always forbidden, have failed.
#[track_caller]
fn expect_report(logs: &Logs, name: &str, forbidden: &[&str]) {
    assert_eq!(logs.after("greeting: "), "hello", "{name}");
    assert_eq!(logs.after("entries: "), "another,greeting.txt", "{name}");
    assert_eq!(logs.after("stat: "), "file 6", "{name}");
    let more: &[&str] = match name {
        "files" => &["escape at", "absolute at"],
        _ => &[],
    };
    for what in forbidden.iter().chain(more) {
        let line = logs.after(&format!("{what}: "));
        assert!(
            line.starts_with("errno ") && line != "errno 0",
            "{name} {what}: {line}"
        );
    }
}

#[test]
fn a_directory_given_for_reading_can_be_read_and_not_written_or_left() {
    let (_outside, data) = data();
    for name in ["files", "rust_files"] {
        let alias = format!("reads_{name}");
        let logs = Logs::of_module(&alias);
        let pair = Pair::with(Dialer::builder(&copy_as(name, &alias)).dir(&data, "/data"));
        assert_eq!(read_vec(&pair.conn, 6), b"hello\n");
        expect_report(&logs, name, &["escape", "passwd", "create", "config write"]);
        assert_eq!(std::fs::read_dir(&data).expect("a listing").count(), 2);
        alternate(&pair.conn, &pair.peer, 1024, |_| {});
    }
}

#[test]
fn a_directory_given_for_writing_can_be_written_and_still_not_left() {
    let (_outside, data) = data();
    for name in ["files", "rust_files"] {
        let alias = format!("writes_{name}");
        let logs = Logs::of_module(&alias);
        let builder = Dialer::builder(&copy_as(name, &alias)).dir_writable(&data, "/data");
        let pair = Pair::with(builder);
        assert_eq!(read_vec(&pair.conn, 6), b"hello\n");
        assert_eq!(logs.after("create: "), "opened", "{name}");
        for what in ["escape", "passwd"] {
            let line = logs.after(&format!("{what}: "));
            assert!(line.starts_with("errno "), "{name} {what}: {line}");
        }
    }
}

/// A guest that opens what it is told to, in one of its directories.
struct Opener {
    conn: Conn,
    directory: u8,
}

impl Opener {
    /// `known` is a file of the directory meant.
    #[track_caller]
    fn new(builder: Builder<Dialer>, known: &str) -> Self {
        let conn = Pair::with(builder).conn;
        let mut opener = Self { conn, directory: 0 };
        // The directories stand behind the standard streams.
        let found = (3..10).find(|directory| {
            opener.directory = *directory;
            opener.read(known).is_ok()
        });
        assert!(found.is_some(), "no directory has {known}");
        opener
    }

    /// Asks, and returns what was read, or the errno of opening, reading or writing.
    #[track_caller]
    fn ask(&self, letter: char, path: &str) -> Result<Vec<u8>, i32> {
        let request = format!("{letter}{}{path}", self.directory);
        (&self.conn).write_all(request.as_bytes()).expect("room");
        let answer = watm_tests::read_numbers(&read_vec(&self.conn, 8)[..]);
        match answer[..] {
            [0, len] if len >= 0 => Ok(read_vec(&self.conn, len as usize)),
            [0, errno] => Err(-errno),
            [errno, _] => Err(errno),
            _ => panic!("{answer:?}"),
        }
    }

    #[track_caller]
    fn read(&self, path: &str) -> Result<Vec<u8>, i32> {
        self.ask('r', path)
    }
}

#[test]
fn no_path_and_no_link_leads_out_of_a_directory() {
    let (outside, data) = data();
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, data.join(name)).expect("a link");
    };
    link("../secret", "out");
    link("..", "up");
    link("/etc", "etc");
    link("../new", "dangling");
    link("greeting.txt", "good");
    link("loop", "loop");
    let absolute = outside.path().join("secret");
    link(absolute.to_str().expect("a name"), "absolute");
    std::fs::create_dir(data.join("sub")).expect("a directory");
    std::fs::write(data.join("sub/file"), "sub").expect("a file");
    for writable in [false, true] {
        let builder = Dialer::builder(&wat("open_path"));
        let builder = if writable {
            builder.dir_writable(&data, "/data")
        } else {
            builder.dir(&data, "/data")
        };
        let opener = Opener::new(builder, "greeting.txt");
        assert_eq!(opener.read("greeting.txt").expect("a file"), b"hello\n");
        assert_eq!(opener.read("sub/file").expect("a file"), b"sub");
        assert_eq!(
            opener.read("sub/../greeting.txt").expect("inside"),
            b"hello\n"
        );
        for path in [
            "../secret",
            "sub/../../secret",
            "out",
            "up/secret",
            "up/data/../secret",
            "etc/passwd",
            "absolute",
            "/etc/passwd",
            "dangling",
            "loop",
            "",
            "greeting.txt/../../secret",
            "./.././secret",
        ] {
            for letter in ['r', 'w', 'n'] {
                let found = opener.ask(letter, path);
                assert!(found.is_err(), "{letter} {path:?}: {found:?}");
            }
        }
        assert_eq!(std::fs::read_to_string(&absolute).expect("the secret"), "s");
        assert!(!outside.path().join("new").exists());
    }
}

#[test]
fn only_a_directory_given_for_writing_changes() {
    let (_outside, data) = data();
    let content = |name: &str| std::fs::read_to_string(data.join(name)).ok();
    let reading = Dialer::builder(&wat("open_path")).dir(&data, "/data");
    let reading = Opener::new(reading, "greeting.txt");
    for (letter, path) in [('w', "fresh"), ('n', "greeting.txt"), ('w', "greeting.txt")] {
        let found = reading.ask(letter, path);
        assert!(found.is_err(), "{letter} {path}: {found:?}");
    }
    assert_eq!(content("fresh"), None);
    assert_eq!(content("greeting.txt").as_deref(), Some("hello\n"));

    let writing = Dialer::builder(&wat("open_path")).dir_writable(&data, "/data");
    let writing = Opener::new(writing, "greeting.txt");
    writing.ask('w', "fresh").expect("a new file");
    writing.ask('n', "greeting.txt").expect("a file to cut");
    writing.conn.close().expect("a clean end");
    assert_eq!(content("fresh").as_deref(), Some("written"));
    assert_eq!(content("greeting.txt").as_deref(), Some("written"));
}

#[test]
fn a_pipe_in_a_directory_does_not_hold_the_guest_up() {
    let (_outside, data) = data();
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, data.join("pipe"), FileType::Fifo, mode, 0).expect("a pipe");
    let opener = Dialer::builder(&wat("open_path")).dir_writable(&data, "/data");
    let opener = Opener::new(opener, "greeting.txt");
    for letter in ['r', 'n'] {
        let found = opener.ask(letter, "pipe");
        assert!(found.is_err(), "{letter}: {found:?}");
    }
}

#[test]
fn several_directories_keep_apart() {
    let (_first, first) = data();
    let (_second, second) = data();
    std::fs::write(second.join("greeting.txt"), "other\n").expect("a file");
    let logs = Logs::of_module("two_directories");
    let dialer = Dialer::builder(&copy_as("files", "two_directories"))
        .dir(&first, "/elsewhere")
        .dir(&second, "/data")
        .config(*b"and a configuration");
    let pair = Pair::with(dialer);
    assert_eq!(read_vec(&pair.conn, 6), b"other\n");
    assert_eq!(logs.after("greeting: "), "other");
}

#[test]
fn without_a_directory_there_are_no_files_at_all() {
    let logs = Logs::of_module("no_directory");
    let pair = Pair::with(Dialer::builder(&copy_as("files", "no_directory")));
    for what in ["greeting", "entries", "stat", "escape", "passwd", "create"] {
        let line = logs.after(&format!("{what}: "));
        assert!(line.starts_with("errno "), "{what}: {line}");
    }
    assert_eq!(logs.after("opened: ").split(' ').next(), Some("0"));
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
}

#[test]
fn directories_that_cannot_be_given_are_refused_with_their_names() {
    let (_outside, data) = data();
    let dialer = || Dialer::builder(&built("files"));
    for (host, guest) in [
        (Path::new("/nowhere/at/all"), "/data"),
        (&data.join("greeting.txt"), "/data"),
    ] {
        match dialer().dir(host, guest).build().expect_err("no directory") {
            ConfigError::Directory { path, .. } => assert_eq!(path, host),
            other => panic!("{other:?}"),
        }
    }
    for guest in ["data", "", "/..", "/a/../b", "/a//b", "/a/", "/./a"] {
        let error = dialer().dir(&data, guest).build().expect_err(guest);
        assert!(
            matches!(error, ConfigError::Invalid { setting: "dir", .. }),
            "{guest:?}"
        );
    }
    for twice in [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a"), ("/", "/")] {
        let builder = dialer().dir(&data, twice.0).dir(&data, twice.1);
        let error = builder.build().expect_err("one over the other");
        assert!(
            matches!(error, ConfigError::Invalid { setting: "dir", .. }),
            "{twice:?}"
        );
    }
    let builder = dialer().dir(&data, "/conf").config(*b"x");
    builder.build().expect_err("the configuration is there");
    dialer()
        .dir(&data, "/conf")
        .build()
        .expect("there is no configuration");
    dialer()
        .dir(&data, "/ab")
        .dir(&data, "/a")
        .build()
        .expect("they only look alike");
}

#[test]
fn a_module_may_have_many_directories_but_not_any_number() {
    let (_outside, data) = data();
    let logs = Logs::of_module("directories");
    let with = |count: usize| {
        let builder = Dialer::builder(&copy_as("files", "directories"));
        (0..count).fold(builder, |builder, i| {
            builder.dir(&data, format!("/directory{i}"))
        })
    };
    let pair = Pair::with(with(15).dir(&data, "/data").config(*b"and a configuration"));
    assert_eq!(logs.after("greeting: "), "hello");
    assert_eq!(read_vec(&pair.conn, 6), b"hello\n");
    let error = with(1000).build().expect_err("far too many");
    assert!(
        matches!(error, ConfigError::Invalid { setting: "dir", .. }),
        "{error:?}"
    );
}

#[test]
fn a_directory_at_the_root_is_found_and_the_others_in_it() {
    let (outside, data) = data();
    let conf = outside.path().join("conf");
    std::fs::create_dir(&conf).expect("a directory");
    std::fs::write(conf.join("watm.cfg"), "of the directory").expect("a file");
    let (_other, other) = self::data();
    std::fs::write(other.join("greeting.txt"), "other\n").expect("a file");
    for name in ["files", "rust_files"] {
        let alias = format!("root_{name}");
        let logs = Logs::of_module(&alias);
        let builder = Dialer::builder(&copy_as(name, &alias)).dir(outside.path(), "/");
        let pair = Pair::with(builder);
        assert_eq!(read_vec(&pair.conn, 6), b"hello\n");
        assert_eq!(logs.after("entries: "), "another,greeting.txt", "{name}");
        assert_eq!(logs.after("stat: "), "file 6", "{name}");
        // It lies beside it, in what was given.
        assert_eq!(logs.after("escape: "), "opened", "{name}");
        for what in ["passwd", "create"] {
            let line = logs.after(&format!("{what}: "));
            assert!(line.starts_with("errno "), "{name} {what}: {line}");
        }
        // One with a longer path comes before it, in whatever order.
        for first in [true, false] {
            let builder = Dialer::builder(&built(name));
            let builder = match first {
                true => builder.dir(outside.path(), "/").dir(&other, "/data"),
                false => builder.dir(&other, "/data").dir(outside.path(), "/"),
            };
            assert_eq!(read_vec(&Pair::with(builder).conn, 6), b"other\n");
        }
    }
    assert_eq!(std::fs::read_dir(&data).expect("a listing").count(), 2);
    // The configuration is not that of the directory.
    let builder = Dialer::builder(&built("xor")).dir(outside.path(), "/");
    let pair = Pair::with(builder.clone().config(*b"key"));
    (&pair.conn).write_all(b"hello there").expect("room");
    assert_eq!(read_vec(&pair.peer, 11), xor(b"key", b"hello there"));
    let pair = Pair::with(builder);
    (&pair.conn).write_all(b"hello there").expect("room");
    assert_eq!(
        read_vec(&pair.peer, 11),
        xor(b"of the directory", b"hello there")
    );
}

// ---- files from memory -----------------------------------------------------------------------

#[test]
fn files_from_memory_are_found_read_and_not_written_or_left() {
    for name in ["files", "rust_files"] {
        let alias = format!("memory_{name}");
        let logs = Logs::of_module(&alias);
        let builder = Dialer::builder(&copy_as(name, &alias))
            .file("/data/greeting.txt", *b"hello\n")
            .file("/data/another", *b"")
            .file("/secret", *b"s");
        let pair = Pair::with(builder);
        assert_eq!(read_vec(&pair.conn, 6), b"hello\n");
        expect_report(&logs, name, &["passwd", "create", "config write"]);
        // It was given.
        assert_eq!(logs.after("escape: "), "opened", "{name}");
        alternate(&pair.conn, &pair.peer, 1024, |_| {});
    }
}

#[test]
fn files_from_memory_hide_little_of_a_directory_at_the_root() {
    let (outside, _data) = data();
    let certs = outside.path().join("etc/ssl/certs");
    std::fs::create_dir_all(&certs).expect("directories");
    std::fs::write(certs.join("hidden"), "hidden").expect("a file");
    std::fs::write(outside.path().join("etc/hosts"), "hosts").expect("a file");
    let builder = Dialer::builder(&wat("open_path"))
        .dir(outside.path(), "/")
        .file("/etc/ssl/certs/ca.pem", *b"a certificate");
    let root = Opener::new(builder.clone(), "secret");
    assert_eq!(root.read("etc/hosts").expect("a file"), b"hosts");
    let memory = Opener::new(builder, "ca.pem");
    assert_eq!(memory.read("ca.pem").expect("a file"), b"a certificate");
    for path in ["hidden", "..", "../hosts", "../../hosts", "/ca.pem", ""] {
        assert!(memory.read(path).is_err(), "{path}");
    }
    let refused = i32::from(Errno::Notcapable.raw());
    for (letter, path) in [('w', "ca.pem"), ('n', "ca.pem"), ('w', "new")] {
        assert_eq!(memory.ask(letter, path), Err(refused), "{letter} {path}");
    }
}

#[test]
fn the_directories_on_the_way_to_a_file_from_memory_are_there() {
    let builder = Dialer::builder(&wat("open_path"))
        .file("/etc/ssl/certs/ca.pem", *b"one")
        .file("/etc/hosts", *b"two")
        .file("/usr/share/names", *b"three");
    let etc = Opener::new(builder.clone(), "hosts");
    assert_eq!(etc.read("ssl/certs/ca.pem").expect("a file"), b"one");
    assert_eq!(etc.read("ssl/../hosts").expect("a file"), b"two");
    let notdir = i32::from(Errno::Notdir.raw());
    assert_eq!(etc.read("hosts/x"), Err(notdir));
    assert_eq!(etc.read("hosts/"), Err(notdir));
    let isdir = i32::from(Errno::Isdir.raw());
    for directory in [".", "ssl", "ssl/certs", "ssl/"] {
        // It can be opened, and not be read as a file.
        assert_eq!(etc.read(directory), Err(isdir), "{directory}");
    }
    let usr = Opener::new(builder, "share/names");
    assert!(usr.read("../etc/hosts").is_err());
}

#[test]
fn a_configuration_of_one_connection_leaves_its_files_in_place() {
    let builder = Dialer::builder(&wat("open_path"))
        .config(*b"common")
        .file("/conf/more", *b"more")
        .file("/data/file", *b"file");
    let dialer = builder.build().expect("a dialer");
    for (options, config) in [
        (DialOptions::new(), &b"common"[..]),
        (DialOptions::new().config(*b"own"), b"own"),
    ] {
        let conn = Pair::dial_with(&dialer, options).conn;
        let mut opener = Opener { conn, directory: 3 };
        assert_eq!(opener.read("watm.cfg").expect("a file"), config);
        assert_eq!(opener.read("more").expect("a file"), b"more");
        opener.directory = 4;
        assert_eq!(opener.read("file").expect("a file"), b"file");
    }
}

#[test]
fn files_that_cannot_be_given_are_refused_with_their_names() {
    let (_outside, data) = data();
    let dialer = || Dialer::builder(&built("files"));
    for (builder, name) in [
        (dialer().file("ca.pem", *b""), "ca.pem"),
        (dialer().file("/a/../b", *b""), "/a/../b"),
        (dialer().file("/conf/watm.cfg", *b""), "/conf/watm.cfg"),
        (dialer().file("/a", *b"").file("/a/b", *b""), "/a/b"),
        (dialer().file("/a", *b"").file("/a", *b""), "/a"),
        (
            dialer().dir(&data, "/data").file("/data/x", *b""),
            "/data/x",
        ),
        (dialer().dir(&data, "/").file("/x", *b""), "/x"),
    ] {
        match builder.build().expect_err(name) {
            ConfigError::Invalid { setting, message } => {
                assert_eq!(setting, "file");
                assert!(message.contains(name), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

// ---- limits ----------------------------------------------------------------------------------

#[test]
fn limits_that_cannot_work_are_refused() {
    let dialer = || Dialer::builder(&built("plain"));
    for (builder, setting) in [
        (dialer().memory_limit(65_535), "memory_limit"),
        (dialer().descriptor_limit(2), "descriptor_limit"),
        (dialer().descriptor_limit(481), "descriptor_limit"),
        (dialer().handshake_limit(0), "handshake_limit"),
        (dialer().backlog(0), "handshake_limit"),
        (
            dialer().handshake_timeout(Duration::ZERO),
            "handshake_timeout",
        ),
        (
            dialer().connect_timeout(Duration::ZERO),
            "handshake_timeout",
        ),
    ] {
        match builder.build().expect_err(setting) {
            ConfigError::Invalid { setting: found, .. } => assert_eq!(found, setting),
            other => panic!("{other:?}"),
        }
    }
    let relay = Relay::builder(&built("plain")).connection_limit(0);
    match relay.bind("127.0.0.1:0").expect_err("no connection") {
        ListenError::Config(ConfigError::Invalid { setting, .. }) => {
            assert_eq!(setting, "connection_limit");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_may_be_as_good_as_none() {
    let long = Duration::from_secs(300 * 24 * 3600);
    let builder = Dialer::builder(&built("plain"))
        .memory_limit(u64::MAX)
        .connect_timeout(long)
        .handshake_timeout(long)
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

    // More than a clock can count is no limit either.
    let endless = Dialer::builder(&built("plain"))
        .connect_timeout(Duration::MAX)
        .handshake_timeout(Duration::MAX)
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
fn a_module_that_needs_more_memory_than_the_limit_is_told_so() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&wat("grow"))
        .memory_limit(65_536)
        .build()
        .expect("a dialer");
    match dialer
        .dial(&server.address())
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
    echo_messages(&dialer.dial(&server.address()).expect("others go on"));
}
