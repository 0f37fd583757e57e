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
    "/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", "/lib", "/media", "/mnt", "/opt",
    "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib",
    "/var/tmp",
];

/// All rules for these needs.
pub(super) fn rules(needs: &Needs) -> Vec<Rule> {
    let mut rules: Vec<Rule> = SYSTEM
        .iter()
        .map(|(path, access)| rule(*path, *access))
        .collect();
    rules.extend(env::current_exe().map(|own| rule(own, Access::File)));
    rules.extend(streams());
    let home = env::var_os("HOME").map(PathBuf::from);
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
    let home = home.and_then(|home| fs::canonicalize(home).ok());
    SHARED.iter().any(|shared| directory == Path::new(shared))
        || home.is_some_and(|home| home == directory)
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
    fn directories_and_sockets_get_what_they_need_and_no_more() {
        let needs = Needs {
            directories: vec![("/srv/a".into(), false), ("/srv/b".into(), true)],
            sockets: vec!["/run/watm/s".into(), "t".into()],
            ..Needs::default()
        };
        let rules = rules(&needs);
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
