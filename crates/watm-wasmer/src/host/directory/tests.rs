use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const READ: How = How {
    follow: true,
    read: true,
    write: false,
    create: false,
    directory: false,
    exclusive: false,
    truncate: false,
};
const CREATE: How = How {
    write: true,
    create: true,
    ..READ
};

/// A directory to give to a guest, next to a directory of secrets.
struct Host {
    both: tempfile::TempDir,
    inside: PathBuf,
    secrets: PathBuf,
}

impl Host {
    fn new() -> Self {
        let both = tempfile::tempdir().expect("a directory");
        let [inside, secrets] = ["inside", "secrets"].map(|name| both.path().join(name));
        for directory in [
            &inside,
            &inside.join("sub"),
            &inside.join("other"),
            &secrets,
        ] {
            fs::create_dir(directory).expect("a directory");
        }
        fs::write(inside.join("own"), "own").expect("a file");
        fs::write(secrets.join("secret"), "secret").expect("a file");
        Self {
            both,
            inside,
            secrets,
        }
    }

    fn given(&self, writable: bool) -> Directory {
        Directory::open_host(&self.inside, writable).expect("a directory")
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.inside.join(name)).expect("a link");
    }

    #[track_caller]
    fn expect_secret(&self) {
        let names = fs::read_dir(&self.secrets).expect("a listing");
        assert_eq!(names.count(), 1);
        let content = fs::read_to_string(self.secrets.join("secret"));
        assert_eq!(content.expect("a file"), "secret");
    }
}

fn is_file(found: Answer<Found>) -> bool {
    matches!(found, Ok(Found::File(_)))
}

#[test]
fn no_path_and_no_link_leads_out_of_a_directory() {
    let host = Host::new();
    host.link("../secrets/secret", "link");
    host.link("..", "up");
    host.link("own", "good");
    host.link("../new", "dangling");
    host.link(&host.secrets, "absolute");
    host.link("loop", "loop");
    let given = host.given(true);
    for good in ["own", "good", "./own", "sub/../own", "sub/.././own"] {
        assert!(is_file(given.open(good, READ)), "{good}");
    }
    for bad in [
        "link",
        "up/secrets/secret",
        "../secrets/secret",
        "sub/../../secrets/secret",
        "absolute/secret",
        "dangling",
        "/etc/passwd",
        "..",
        "up",
        "absolute",
    ] {
        for how in [READ, CREATE] {
            let error = given.open(bad, how).err();
            assert_eq!(error, Some(Errno::Notcapable), "{bad} {how:?}");
        }
        let error = given.filestat_at(bad, true).err();
        assert_eq!(error, Some(Errno::Notcapable), "{bad}");
    }
    assert_eq!(given.open("loop", READ).err(), Some(Errno::Loop));
    assert_eq!(given.open("", READ).err(), Some(Errno::Noent));
    assert!(!host.both.path().join("new").exists());
    for bad in ["up/new", "absolute/new", "/", "", ".", "../new", "/tmp/new"] {
        assert!(given.create_directory(bad).is_err(), "{bad}");
        assert!(given.rename("own", &given, bad).is_err(), "{bad}");
    }
    for bad in [
        "up/secrets/secret",
        "absolute/secret",
        "/",
        ".",
        "..",
        "../secrets",
    ] {
        assert!(given.unlink_file(bad).is_err(), "{bad}");
        assert!(given.remove_directory(bad).is_err(), "{bad}");
        assert!(given.rename(bad, &given, "mine").is_err(), "{bad}");
        let times = Times {
            accessed: None,
            modified: Some(SystemTime::UNIX_EPOCH),
        };
        assert!(
            bad == "." || given.set_times_at(bad, true, times).is_err(),
            "{bad}"
        );
    }
    host.expect_secret();
    given.create_directory("dir").expect("a directory");
}

#[test]
fn a_directory_that_was_opened_is_not_left_either() {
    let host = Host::new();
    host.link("own", "sub/link");
    symlink("../own", host.inside.join("sub/up")).expect("a link");
    let Ok(Found::Directory(sub)) = host.given(false).open("sub", READ) else {
        panic!("it is a directory");
    };
    for bad in ["..", "../own", "up"] {
        assert_eq!(sub.open(bad, READ).err(), Some(Errno::Notcapable), "{bad}");
    }
    assert_eq!(sub.create_directory("new").err(), Some(Errno::Notcapable));
}

#[test]
fn moving_what_holds_a_link_touches_nothing_behind_it() {
    let host = Host::new();
    host.link(&host.secrets, "sub/link");
    let given = host.given(true);
    // An earlier implementation moved what the link points to.
    given
        .rename("sub", &given, "other/sub")
        .expect("a directory to move");
    host.expect_secret();
    let target = given.read_link("other/sub/link").expect("a link");
    assert_eq!(Path::new(&target), host.secrets);
    given
        .rename("other/sub/link", &given, "link")
        .expect("a link to move");
    given.unlink_file("link").expect("a link to remove");
    host.expect_secret();
}

#[test]
fn no_link_that_is_moved_in_between_leads_out_of_a_directory() {
    let host = Host::new();
    host.link(&host.secrets, "sub/link");
    fs::create_dir(host.inside.join("other/link")).expect("a directory");
    fs::write(host.inside.join("other/link/secret"), "guest's").expect("a file");
    let given = host.given(true);
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            // The directory with the link and the one without it take turns under the same name.
            while !done.load(Ordering::Relaxed) {
                for from in ["sub", "other"] {
                    given
                        .rename(from, &given, "turn")
                        .expect("a directory to move");
                    given
                        .rename("turn", &given, from)
                        .expect("a directory to move");
                }
            }
        });
        let (mut seen, mut tries) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(30);
        // On a busy machine, the other thread may not have run by then.
        while tries < 20_000 || (seen == 0 && Instant::now() < deadline) {
            tries += 1;
            if let Ok(Found::File(file)) = given.open("turn/link/secret", READ) {
                assert_eq!(file.metadata().expect("a file").len(), 7, "the other file");
                seen += 1;
            }
            if let Ok(found) = given.filestat_at("turn/link/secret", true) {
                assert_eq!(found.size, 7, "the other file");
            }
            let _ = given.open("turn/link/new", CREATE);
            let _ = given.unlink_file("turn/link/new");
        }
        done.store(true, Ordering::Relaxed);
        seen
    });
    assert!(seen > 0, "it was never there");
    host.expect_secret();
}

#[test]
fn pipes_and_devices_are_not_opened_and_not_waited_for() {
    let host = Host::new();
    let made = std::process::Command::new("mkfifo")
        .arg(host.inside.join("pipe"))
        .status();
    assert!(made.expect("mkfifo").success());
    let _socket =
        std::os::unix::net::UnixListener::bind(host.inside.join("socket")).expect("a socket");
    let given = host.given(true);
    let devices = Directory::open_host(Path::new("/dev"), true).expect("a directory");
    for how in [READ, CREATE] {
        for name in ["pipe", "socket"] {
            assert_eq!(given.open(name, how).err(), Some(Errno::Perm), "{name}");
        }
        assert_eq!(devices.open("null", how).err(), Some(Errno::Perm));
    }
    // Setting times does not open them either, although it needs a descriptor.
    let refused = Err(Errno::Perm);
    let (done, awaited) = std::sync::mpsc::channel();
    let times = Times::default();
    std::thread::spawn(move || done.send(given.set_times_at("pipe", true, times)));
    let answer = awaited.recv_timeout(std::time::Duration::from_secs(30));
    assert_eq!(answer, Ok(refused), "it waits for a reader");
    assert_eq!(devices.set_times_at("null", true, times), refused);
}

#[test]
fn times_are_set_of_what_can_only_be_written_and_of_directories() {
    let host = Host::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    fs::set_permissions(host.inside.join("own"), mode(0o200)).expect("a mode");
    let given = host.given(true);
    let modified = Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1));
    let times = Times {
        accessed: None,
        modified,
    };
    for path in ["own", "sub", "."] {
        given.set_times_at(path, true, times).expect("times");
        let found = given.filestat_at(path, true).expect("it is there");
        assert_eq!(found.mtim, 1_000_000_000, "{path}");
    }
}

/// A directory in memory that holds the configuration.
fn in_memory() -> Directory {
    let mut tree = Tree::default();
    tree.insert("/watm.cfg", (*b"key").into())
        .expect("a free path");
    Directory::of_tree(Arc::new(tree), crate::host::tree::ROOT)
}

/// All entries, listed a few at a time.
fn listed(given: &Directory, at_once: usize) -> Vec<(String, u64, FileType)> {
    let listing = given.list().expect("a listing");
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let before = all.len();
        listing
            .read(from, |entry| {
                all.push((entry.name.to_owned(), entry.ino, entry.file_type));
                from = entry.next;
                Ok(all.len() < before + at_once)
            })
            .expect("entries");
        if all.len() == before {
            all.sort_by(|a: &(String, _, _), b| a.0.cmp(&b.0));
            return all;
        }
    }
}

#[test]
fn a_directory_is_listed_from_any_place_on() {
    let host = Host::new();
    for number in 0..1000 {
        let name = format!("{number:0200}");
        fs::write(host.inside.join("sub").join(name), "").expect("a file");
    }
    let Ok(Found::Directory(sub)) = host.given(false).open("sub", READ) else {
        panic!("it is a directory");
    };
    let all = listed(&sub, usize::MAX);
    assert_eq!(all.len(), 1002);
    assert_eq!(listed(&sub, 1), all);
    assert_eq!(listed(&sub, 77), all);
    let config = in_memory();
    assert_eq!(listed(&config, 1), listed(&config, 9));
    for directory in [sub, config] {
        let listing = directory.list().expect("a listing");
        let refused = listing.read(0, |_| Err(Errno::Overflow));
        assert_eq!(refused, Err(Errno::Overflow));
        for from in [1, 1 << 31, 1 << 62, i64::MAX as u64, u64::MAX] {
            // What the guest gets here does not matter, but the listing must end.
            let mut count = 0;
            let _ = listing.read(from, |_| {
                count += 1;
                Ok(true)
            });
            assert!(count <= 1002);
        }
    }
}

#[test]
fn a_directory_given_for_reading_stays_as_it_is() {
    let host = Host::new();
    let given = host.given(false);
    assert!(is_file(given.open("own", READ)));
    let truncate = How {
        truncate: true,
        ..READ
    };
    let write = How {
        write: true,
        ..READ
    };
    for how in [CREATE, truncate, write] {
        for name in ["own", "new"] {
            assert_eq!(
                given.open(name, how).err(),
                Some(Errno::Notcapable),
                "{how:?}"
            );
        }
    }
    let writable = host.given(true);
    let refused = Err(Errno::Notcapable);
    assert_eq!(given.unlink_file("own"), refused);
    assert_eq!(given.create_directory("dir"), refused);
    assert_eq!(given.remove_directory("sub"), refused);
    assert_eq!(given.rename("own", &given, "other/own"), refused);
    assert_eq!(writable.rename("own", &given, "other/own"), refused);
    assert_eq!(given.rename("own", &writable, "other/own"), refused);
    assert_eq!(given.set_times(Times::default()), refused);
    assert_eq!(given.set_times_at("own", true, Times::default()), refused);
    assert_eq!(listed(&given, 100).len(), 5);
}

#[test]
fn things_are_opened_as_they_are_asked_for() {
    let host = Host::new();
    host.link("own", "link");
    let given = host.given(true);
    let exclusive = How {
        exclusive: true,
        ..CREATE
    };
    let directory = How {
        directory: true,
        ..READ
    };
    let unfollowed = How {
        follow: false,
        ..READ
    };
    let write = How {
        write: true,
        ..READ
    };
    let directory_to_write = How {
        directory: true,
        ..write
    };
    for (name, how, expected) in [
        ("own", exclusive, Some(Errno::Exist)),
        ("own", directory, Some(Errno::Notdir)),
        ("own/x", READ, Some(Errno::Notdir)),
        ("link", unfollowed, Some(Errno::Loop)),
        ("link", READ, None),
        ("sub", READ, None),
        ("sub", directory, None),
        ("sub", CREATE, Some(Errno::Isdir)),
        ("sub", write, Some(Errno::Isdir)),
        ("sub", directory_to_write, Some(Errno::Isdir)),
        ("own", directory_to_write, Some(Errno::Notdir)),
        ("new", READ, Some(Errno::Noent)),
        ("new", exclusive, None),
        ("new", exclusive, Some(Errno::Exist)),
        (&"x".repeat(300), READ, Some(Errno::Nametoolong)),
    ] {
        assert_eq!(given.open(name, how).err(), expected, "{name} {how:?}");
    }
}

#[test]
fn what_there_is_is_described() {
    let host = Host::new();
    host.link("own", "link");
    let given = host.given(true);
    let entries = listed(&given, 100);
    let names: Vec<_> = entries
        .iter()
        .map(|(name, _, file_type)| (name.as_str(), *file_type))
        .collect();
    assert_eq!(
        names,
        [
            (".", FileType::Directory),
            ("..", FileType::Directory),
            ("link", FileType::SymbolicLink),
            ("other", FileType::Directory),
            ("own", FileType::RegularFile),
            ("sub", FileType::Directory),
        ]
    );
    let time = |seconds| Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(seconds));
    let times = Times {
        accessed: time(5_000_000_007),
        modified: time(6_000_000_008),
    };
    given.set_times_at("own", true, times).expect("times");
    let own = given.filestat_at("link", true).expect("a file");
    assert_eq!((own.size, own.file_type), (3, FileType::RegularFile));
    assert_eq!((own.atim, own.mtim), (5_000_000_007, 6_000_000_008));
    assert_eq!(own.ino, entries[4].1);
    assert_eq!(entries[1].1, 0, "what is outside");
    let link = given.filestat_at("link", false).expect("a link");
    assert_eq!(link.file_type, FileType::SymbolicLink);
    assert_eq!(given.read_link("link").as_deref(), Ok("own"));
    assert_eq!(given.read_link("own").err(), Some(Errno::Inval));
    let itself = given.filestat().expect("a directory");
    assert_eq!(itself.ino, entries[0].1);
    assert_eq!(itself.file_type, FileType::Directory);
    fs::write(host.inside.join("sub/x"), "").expect("a file");
    assert_eq!(given.remove_directory("sub"), Err(Errno::Notempty));
    assert_eq!(given.remove_directory("own"), Err(Errno::Notdir));
    assert_eq!(given.unlink_file("sub"), Err(Errno::Isdir));
}

#[test]
fn the_configuration_is_one_file_that_nobody_changes() {
    let given = in_memory();
    for good in ["watm.cfg", "./watm.cfg", ".//watm.cfg"] {
        let found = given.open(good, READ);
        assert!(
            matches!(found, Ok(Found::Memory(bytes, _)) if *bytes == *b"key"),
            "{good}"
        );
    }
    for (bad, expected) in [
        ("other", Errno::Noent),
        ("", Errno::Noent),
        ("watm.cfg/x", Errno::Notdir),
        ("..", Errno::Notcapable),
        ("watm.cfg/../x", Errno::Notdir),
        ("/watm.cfg", Errno::Notcapable),
    ] {
        assert_eq!(given.open(bad, READ).err(), Some(expected), "{bad}");
    }
    assert!(matches!(given.open(".", READ), Ok(Found::Directory(_))));
    let write = How {
        write: true,
        ..READ
    };
    for name in ["watm.cfg", "new"] {
        assert_eq!(given.open(name, CREATE).err(), Some(Errno::Notcapable));
        assert_eq!(given.open(name, write).err(), Some(Errno::Notcapable));
        assert_eq!(given.unlink_file(name), Err(Errno::Notcapable));
    }
    let found = given.filestat_at("watm.cfg", true).expect("a file");
    assert_eq!((found.size, found.file_type), (3, FileType::RegularFile));
    assert_eq!(
        given.filestat().map(|found| found.file_type),
        Ok(FileType::Directory)
    );
    assert_eq!(listed(&given, 100).len(), 3);
    assert_eq!(given.read_link("watm.cfg").err(), Some(Errno::Inval));
}
