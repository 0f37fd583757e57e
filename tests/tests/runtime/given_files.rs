//! Contract, section 6: the files and directories that a guest is given, and that it finds no
//! others.

use std::io::Write;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use watm_tests::{Logs, Pair, alternate, built, copy_as, read_vec, wat};
use watm_wasmer::{Builder, ConfigError, Conn, DialOptions, Dialer, Errno};

use super::surroundings::xor;

/// A directory, with a secret beside it.
fn data() -> (tempfile::TempDir, std::path::PathBuf) {
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("secret"), "s").expect("a file");
    let data = outside.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    std::fs::write(data.join("greeting.txt"), "hello\n").expect("a file");
    std::fs::write(data.join("another"), "").expect("a file");
    (outside, data)
}

/// Checks what the modules `files` and `rust_files` report about the directory with the greeting.
/// These attempts, and others that are always forbidden, must have failed.
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
pub(crate) struct Opener {
    conn: Conn,
    directory: u8,
}

impl Opener {
    /// `known` is a file that identifies the directory.
    #[track_caller]
    pub(crate) fn new(builder: Builder<Dialer>, known: &str) -> Self {
        let conn = Pair::with(builder).conn;
        let mut opener = Self { conn, directory: 0 };
        // The numbers of the directories follow the standard streams.
        let found = (3..10).find(|directory| {
            opener.directory = *directory;
            opener.read(known).is_ok()
        });
        assert!(found.is_some(), "no directory has {known}");
        opener
    }

    /// Sends a request. Returns what was read, or the errno of opening, reading or writing.
    #[track_caller]
    pub(crate) fn ask(&self, letter: char, path: &str) -> Result<Vec<u8>, i32> {
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
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, i32> {
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
        // It lies beside the directory, within what was given.
        assert_eq!(logs.after("escape: "), "opened", "{name}");
        for what in ["passwd", "create"] {
            let line = logs.after(&format!("{what}: "));
            assert!(line.starts_with("errno "), "{name} {what}: {line}");
        }
        // A directory with a longer path takes precedence, in either order.
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
    // The configuration does not come from the directory.
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
        // This file was given.
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
        // A directory can be opened, but not read as a file.
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
