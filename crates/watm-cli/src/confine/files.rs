//! Which files and directories stay within reach, as plain data.
//!
//! A file that is read again may have been replaced by then: another file has its name, which a rule for
//! the old one does not cover. So its directory can be read, with all that is below. Directories in which
//! everything lies that is none of this program's business are not opened for the sake of one file.

use std::env;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::Needs;

/// A path, and what may be done with it and with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) path: PathBuf,
    pub(super) access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Files can be read.
    File,
    /// Files can be read, and directories listed.
    Directory,
    /// It is a device or a pipe, which can be read and written.
    Device,
    /// Files and directories can be read, made, changed and removed.
    Writable,
    /// Sockets can be made in it, and what is left of them removed.
    Socket,
}

/// What the system's functions for names read, the linker for their plugins, and the library for its
/// own decisions.
const SYSTEM: &[(&str, Access)] = &[
    ("/etc/resolv.conf", Access::File),
    ("/run/systemd/resolve", Access::File),
    ("/run/resolvconf", Access::File),
    ("/run/NetworkManager", Access::File),
    ("/etc/hosts", Access::File),
    ("/etc/host.conf", Access::File),
    ("/etc/hostname", Access::File),
    ("/etc/nsswitch.conf", Access::File),
    ("/etc/gai.conf", Access::File),
    ("/etc/services", Access::File),
    ("/etc/protocols", Access::File),
    ("/etc/ld.so.cache", Access::File),
    ("/etc/ld.so.conf", Access::File),
    ("/lib", Access::File),
    ("/lib64", Access::File),
    ("/usr/lib", Access::File),
    ("/usr/lib64", Access::File),
    ("/usr/local/lib", Access::File),
    ("/nix/store", Access::File),
    ("/gnu/store", Access::File),
    ("/proc/self", Access::Directory),
    ("/proc/cpuinfo", Access::File),
    ("/proc/meminfo", Access::File),
    ("/proc/sys/net/core/somaxconn", Access::File),
    ("/proc/sys/vm/max_map_count", Access::File),
    ("/proc/sys/vm/overcommit_memory", Access::File),
    ("/sys/devices/system/cpu", Access::Directory),
    ("/sys/fs/cgroup", Access::File),
    ("/dev/null", Access::Device),
    ("/dev/tty", Access::Device),
    ("/dev/random", Access::File),
    ("/dev/urandom", Access::File),
    ("/dev/zero", Access::File),
];

/// Directories that hold more than the files of one program. A file in one of them can be read again
/// only if it is still the same file.
const SHARED: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/dev/shm",
    "/etc",
    "/lib",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/etc",
    "/usr/local/share",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/tmp",
];

/// Directories of which each entry holds all that one user has.
const HOMES: &[&str] = &["/home", "/run/user"];

/// Directories in a home that hold more than the files of one program.
const SHARED_AT_HOME: &[&str] = &[
    ".cache",
    ".config",
    ".gnupg",
    ".local",
    ".local/bin",
    ".local/share",
    ".ssh",
    "Desktop",
    "Documents",
    "Downloads",
];

/// The configuration of the resolver, which network managers write.
const RESOLVER: &str = "/etc/resolv.conf";

/// All rules for these needs, of a process that may read the files of all users or not.
pub(super) fn rules(needs: &Needs, reads_all: bool) -> Vec<Rule> {
    let mut rules: Vec<Rule> = SYSTEM
        .iter()
        .map(|(path, access)| rule(*path, *access))
        .collect();
    rules.extend(env::current_exe().map(|own| rule(own, Access::File)));
    rules.extend(streams());
    let home = env::var_os("HOME").map(PathBuf::from);
    if needs.names {
        rules.extend(resolver(Path::new(RESOLVER), reads_all, home.as_deref()));
    }
    for file in &needs.files {
        rules.extend(of_file(file, needs.reads_again, home.as_deref()));
    }
    for (directory, is_writable) in &needs.directories {
        let access = if *is_writable {
            Access::Writable
        } else {
            Access::Directory
        };
        rules.push(rule(directory, access));
    }
    for socket in &needs.sockets {
        rules.push(rule(directory_of(socket), Access::Socket));
    }
    rules
}

fn rule(path: impl Into<PathBuf>, access: Access) -> Rule {
    Rule {
        path: path.into(),
        access,
    }
}

/// The rules for what takes the place of the resolver's configuration when this machine gets to another
/// network. If the file is no link, all files beside it can be read then, so that this is not for those
/// who may read the secrets among them.
fn resolver(file: &Path, reads_all: bool, home: Option<&Path>) -> Vec<Rule> {
    let own = directory_of(file);
    if target(file).is_some_and(|directory| directory != own) {
        return of_file(file, true, home);
    }
    if reads_all {
        log::info!(
            "names are looked up until another file takes the place of {}: see --confine",
            file.display()
        );
        return Vec::new();
    }
    vec![rule(own, Access::File)]
}

/// The rules for a file, and for what may take its place.
fn of_file(file: &Path, reads_again: bool, home: Option<&Path>) -> Vec<Rule> {
    let mut rules = vec![rule(file, Access::File)];
    if !reads_again {
        return rules;
    }
    // If the file is a link, either may be replaced: the link, or what it leads to.
    let places = [Some(directory_of(file)), target(file)];
    for directory in places.into_iter().flatten() {
        let Ok(directory) = fs::canonicalize(directory) else {
            continue;
        };
        if is_shared(&directory, home) {
            log::debug!(
                "{} can be read again, but not another file in its place, since {} holds much else",
                file.display(),
                directory.display()
            );
            continue;
        }
        let rule = rule(directory, Access::File);
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

/// The directory of the file that links lead to.
fn target(file: &Path) -> Option<PathBuf> {
    let target = fs::canonicalize(file).ok()?;
    // Descriptors are named by links as well, and what they lead to has no place.
    target.is_file().then(|| directory_of(&target))
}

fn is_shared(directory: &Path, home: Option<&Path>) -> bool {
    let is = |shared: &[&str]| shared.iter().any(|shared| directory == Path::new(shared));
    let is_home = |directory: &Path| {
        let of_all = directory.parent().and_then(Path::to_str);
        of_all.is_some_and(|of_all| HOMES.contains(&of_all))
            || home.is_some_and(|home| fs::canonicalize(home).is_ok_and(|home| home == directory))
    };
    let is_at_home = |shared: &&str| {
        let home = directory
            .to_str()
            .and_then(|path| path.strip_suffix(*shared));
        home.and_then(|path| path.strip_suffix('/'))
            .is_some_and(|home| is_home(Path::new(home)))
    };
    is(SHARED) || is(HOMES) || is_home(directory) || SHARED_AT_HOME.iter().any(is_at_home)
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) => PathBuf::from("."),
        None => PathBuf::from("/"),
    }
}

/// The standard streams that have a name: they are opened anew for modules that share them.
fn streams() -> Vec<Rule> {
    let named = (0..3).filter_map(|stream| fs::read_link(format!("/proc/self/fd/{stream}")).ok());
    let is_stream = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| {
            let kind = found.file_type();
            kind.is_char_device() || kind.is_fifo()
        })
    };
    let named = named.filter(|path| path.is_absolute()).filter(is_stream);
    named.map(|path| rule(path, Access::Device)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn paths(rules: &[Rule]) -> Vec<&Path> {
        rules.iter().map(|rule| rule.path.as_path()).collect()
    }

    #[test]
    fn a_file_that_is_read_once_opens_nothing_else() {
        let file = Path::new("/srv/watm/module.wasm");
        let rules = of_file(file, false, None);
        assert_eq!(rules, [rule(file, Access::File)]);
    }

    #[test]
    fn a_file_that_may_be_replaced_opens_its_directory_for_reading() {
        let root = tempfile::tempdir().expect("a directory");
        let own = root.path().join("own");
        fs::create_dir(&own).expect("a directory");
        let file = own.join("module.wasm");
        fs::write(&file, "").expect("a file");
        let rules = of_file(&file, true, None);
        let own = own.canonicalize().expect("it is there");
        let expected = [rule(&file, Access::File), rule(&own, Access::File)];
        assert_eq!(rules, expected);
        // Unless it is everybody's.
        let rules = of_file(&file, true, Some(&own));
        assert_eq!(rules, [rule(&file, Access::File)]);
        for shared in ["/etc/watm.toml", "/watm.toml", "/tmp/module.wasm"] {
            let rules = of_file(Path::new(shared), true, None);
            assert_eq!(paths(&rules), [Path::new(shared)]);
        }
    }

    #[test]
    fn a_link_opens_its_own_directory_and_that_of_what_it_leads_to() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path().canonicalize().expect("it is there");
        let [links, data] = ["links", "data"].map(|name| root.join(name));
        for directory in [&links, &data] {
            fs::create_dir(directory).expect("a directory");
        }
        fs::write(data.join("m"), "").expect("a file");
        symlink(data.join("m"), links.join("m")).expect("a link");
        let rules = of_file(&links.join("m"), true, None);
        assert_eq!(paths(&rules), [&links.join("m"), &links, &data]);
    }

    #[test]
    fn a_home_is_not_opened_for_a_file_in_it() {
        let home = Some(Path::new("/root"));
        for shared in [
            "/home",
            "/home/user",
            "/home/user/.ssh",
            "/home/user/Downloads",
            "/root",
            "/root/.config",
            "/run/user/1000",
            "/usr/local/share",
            "/var/lib",
        ] {
            assert!(is_shared(Path::new(shared), home), "{shared}");
        }
        for own in [
            "/home/user/watm",
            "/home/user/.config/watm",
            "/etc/watm",
            "/run/user/1000/watm",
            "/srv/.ssh",
            "/usr/share/watm/modules",
            "/var/lib/watm",
        ] {
            assert!(!is_shared(Path::new(own), home), "{own}");
        }
    }

    #[test]
    fn another_configuration_of_the_resolver_can_be_read() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path().canonicalize().expect("it is there");
        let [etc, run] = ["etc", "run"].map(|name| root.join(name));
        for directory in [&etc, &run] {
            fs::create_dir(directory).expect("a directory");
        }
        let file = etc.join("resolv.conf");
        fs::write(&file, "").expect("a file");
        // Unless secrets lie beside it.
        assert_eq!(resolver(&file, false, None), [rule(&etc, Access::File)]);
        assert_eq!(resolver(&file, true, None), []);
        fs::remove_file(&file).expect("it is removed");
        fs::write(run.join("stub"), "").expect("a file");
        symlink(run.join("stub"), &file).expect("a link");
        for reads_all in [false, true] {
            let rules = resolver(&file, reads_all, None);
            assert!(paths(&rules).contains(&run.as_path()), "{rules:?}");
        }
    }

    #[test]
    fn directories_and_sockets_get_what_they_need_and_no_more() {
        let needs = Needs {
            directories: vec![("/srv/a".into(), false), ("/srv/b".into(), true)],
            sockets: vec!["/run/watm/s".into(), "t".into()],
            ..Needs::default()
        };
        let rules = rules(&needs, false);
        let access = |path: &str| {
            let found = rules.iter().find(|rule| rule.path == Path::new(path));
            found.map(|rule| rule.access)
        };
        assert_eq!(access("/srv/a"), Some(Access::Directory));
        assert_eq!(access("/srv/b"), Some(Access::Writable));
        assert_eq!(access("/run/watm"), Some(Access::Socket));
        assert_eq!(access("."), Some(Access::Socket));
        let writable = rules.iter().filter(|rule| rule.access == Access::Writable);
        assert_eq!(writable.count(), 1);
    }

    #[test]
    fn the_system_gives_no_secrets_and_nothing_to_write() {
        for (path, access) in SYSTEM {
            assert_ne!(*access, Access::Writable, "{path}");
            for secret in [
                "/etc/passwd",
                "/etc/shadow",
                "/root/.ssh",
                "/home/user",
                "/proc/1/environ",
            ] {
                assert!(!Path::new(secret).starts_with(path), "{path}");
            }
        }
    }
}
