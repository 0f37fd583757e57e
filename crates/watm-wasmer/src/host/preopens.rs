//! What a module finds in its file system: directories of the host, and files from memory.
//!
//! Checks the paths under which they were given, and decides through which directories a guest
//! reaches the files. The C library of a guest looks for a path below the directories that it was
//! told of, and takes the longest that matches.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::ConfigError;
use crate::host::directory::Directory;
use crate::host::tree::{ROOT, Tree};

/// The directory of the configuration.
const CONFIG_DIRECTORY: &str = "/conf";
const CONFIG_FILE: &str = "/conf/watm.cfg";

/// Maximum number of directories of a module. They take the first numbers of its descriptors. The
/// directory of the configuration does not count.
const DIRECTORY_LIMIT: usize = 16;
/// Maximum number of files from memory.
const FILE_LIMIT: usize = 64;
/// Maximum total size of these files, in bytes.
const SIZE_LIMIT: usize = 64 << 20;
/// Maximum length of a path, and of a name in a path, in bytes.
const PATH_LIMIT: usize = 1024;
const NAME_LIMIT: usize = 255;

/// A directory of the host that a module may use.
#[derive(Clone, Debug)]
pub(crate) struct Preopen {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
    pub(crate) writable: bool,
}

/// A file that a module finds in memory.
#[derive(Clone)]
pub(crate) struct MemoryFile {
    pub(crate) guest: String,
    pub(crate) bytes: Arc<[u8]>,
}

/// Files from memory, and the directories through which a guest reaches them.
#[derive(Debug, Default)]
pub(crate) struct InMemory {
    tree: Arc<Tree>,
    given: Vec<(Box<str>, usize)>,
}

impl InMemory {
    /// Puts files and the configuration into one tree.
    ///
    /// # Errors
    ///
    /// Fails if a file is in the way of another file or of a directory.
    pub(crate) fn new(
        directories: &[Preopen],
        files: &[MemoryFile],
        config: Option<&Arc<[u8]>>,
    ) -> Result<Self, ConfigError> {
        let mut tree = Tree::default();
        let mut names = Vec::new();
        if let Some(config) = config {
            // The tree is empty, so this cannot fail.
            let _ = tree.insert(CONFIG_FILE, Arc::clone(config));
            names.push(CONFIG_DIRECTORY);
        }
        let taken: Vec<&str> = directories.iter().map(|given| &*given.guest).collect();
        for file in files {
            let name = place(&file.guest, &taken).map_err(|message| invalid("file", message))?;
            if tree.insert(&file.guest, Arc::clone(&file.bytes)).is_err() {
                let message = format!(
                    "{:?} is given twice, or is a file as well as a directory of another file",
                    file.guest
                );
                return Err(invalid("file", message));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let is_outermost = |name: &&str| {
            let mut others = names.iter().filter(|other| *other != name);
            *name == CONFIG_DIRECTORY || !others.any(|other| holds(other, name))
        };
        let given = names
            .iter()
            .filter(|name| is_outermost(name))
            .filter_map(|name| {
                let path = name.strip_prefix('/').filter(|path| !path.is_empty());
                let node = path.map_or(Ok(ROOT), |path| tree.find(ROOT, path));
                Some(((*name).into(), node.ok()?))
            })
            .collect();
        Ok(Self {
            tree: Arc::new(tree),
            given,
        })
    }

    /// The directories with their names.
    pub(crate) fn directories(&self) -> impl Iterator<Item = (&str, Directory)> {
        self.given.iter().map(|(name, node)| {
            let directory = Directory::of_tree(Arc::clone(&self.tree), *node);
            (&**name, directory)
        })
    }
}

/// Opens what a guest is given, in the order of its descriptors and under the names that it has for
/// the guest.
///
/// # Errors
///
/// Fails if a directory could not be opened. The error names the directory and the reason.
pub(crate) fn open(
    directories: &[Preopen],
    in_memory: &InMemory,
) -> Result<Vec<(Box<str>, Directory)>, String> {
    let mut given: Vec<(Box<str>, Directory)> = in_memory
        .directories()
        .map(|(name, directory)| (name.into(), directory))
        .collect();
    for Preopen {
        host,
        guest,
        writable,
    } in directories
    {
        let opened = Directory::open_host(host, *writable)
            .map_err(|error| format!("the directory {}: {error}", host.display()))?;
        given.push((guest.as_str().into(), opened));
    }
    // Relative paths of Go programs start in the first directory.
    given.sort_by_key(|(name, _)| &**name != "/");
    Ok(given)
}

/// Checks directories and files together.
pub(crate) fn check(
    directories: &[Preopen],
    files: &[MemoryFile],
    config: Option<&Arc<[u8]>>,
) -> Result<InMemory, ConfigError> {
    check_directories(directories, config.is_some())?;
    check_files(files)?;
    let in_memory = InMemory::new(directories, files, config)?;
    let counted = |(name, _): &&(Box<str>, usize)| &**name != CONFIG_DIRECTORY || config.is_none();
    if directories.len() > DIRECTORY_LIMIT {
        let message = format!("a module may have {DIRECTORY_LIMIT} directories at most");
        return Err(invalid("dir", message));
    }
    if directories.len() + in_memory.given.iter().filter(counted).count() > DIRECTORY_LIMIT {
        let message = format!(
            "a module may have {DIRECTORY_LIMIT} directories at most, those of its files included: \
             give more of the files under the same directory"
        );
        return Err(invalid("file", message));
    }
    Ok(in_memory)
}

fn check_directories(directories: &[Preopen], has_config: bool) -> Result<(), ConfigError> {
    let mut names: Vec<&str> = Vec::new();
    if has_config {
        names.push(CONFIG_DIRECTORY);
    }
    for directory in directories {
        let guest = directory.guest.as_str();
        if guest != "/" {
            check_path(guest).map_err(|message| invalid("dir", message))?;
        }
        // A directory at `/` holds all others, but a guest finds them all the same.
        let clashes = |name: &&&str| {
            guest == **name
                || (guest != "/" && **name != "/" && (holds(guest, name) || holds(name, guest)))
        };
        if let Some(other) = names.iter().find(clashes) {
            let message = format!("{guest:?} lies in or over {other:?}, which the module has too");
            return Err(invalid("dir", message));
        }
        names.push(guest);
        let failed = |source| ConfigError::Directory {
            path: directory.host.clone(),
            source,
        };
        if !std::fs::metadata(&directory.host).map_err(failed)?.is_dir() {
            return Err(failed(std::io::ErrorKind::NotADirectory.into()));
        }
    }
    Ok(())
}

fn check_files(files: &[MemoryFile]) -> Result<(), ConfigError> {
    if files.len() > FILE_LIMIT {
        let message = format!("a module may have {FILE_LIMIT} files from memory at most");
        return Err(invalid("file", message));
    }
    let size = files.iter().map(|file| file.bytes.len()).sum::<usize>();
    if size > SIZE_LIMIT {
        let message = format!(
            "all of them together exceed {} MiB: give the module a directory instead",
            SIZE_LIMIT >> 20
        );
        return Err(invalid("file", message));
    }
    for file in files {
        check_path(&file.guest).map_err(|message| invalid("file", message))?;
        if file.guest == CONFIG_DIRECTORY || holds(CONFIG_FILE, &file.guest) {
            let message = format!(
                "{:?} is the place of the configuration: give it as the configuration",
                file.guest
            );
            return Err(invalid("file", message));
        }
    }
    Ok(())
}

/// Checks that a path below `/` is one that a guest can use.
fn check_path(guest: &str) -> Result<(), String> {
    let names = guest.strip_prefix('/').unwrap_or_default();
    if names.is_empty() || names.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err(format!(
            "{guest:?} is not an absolute path in its plain form, such as `/data/name`"
        ));
    }
    if guest.contains('\0') {
        return Err(format!("{guest:?} has a zero byte in it"));
    }
    if guest.len() > PATH_LIMIT || names.split('/').any(|name| name.len() > NAME_LIMIT) {
        let start: String = guest.chars().take(40).collect();
        return Err(format!(
            "the path that begins with {start:?} is too long: a path has {PATH_LIMIT} bytes at \
             most, a name in it {NAME_LIMIT}"
        ));
    }
    Ok(())
}

/// Returns the directory through which a guest reaches a file. This is the topmost one above the
/// file that hides nothing else, so that the guest also finds the directories in between.
fn place<'a>(file: &'a str, directories: &[&str]) -> Result<&'a str, String> {
    let parent = match file.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &file[..end],
    };
    for directory in directories {
        if (*directory != "/" || parent == "/") && holds(directory, file) {
            return Err(format!(
                "{file:?} lies in the directory {directory:?} of the host: put it there, or give it \
                 under another path"
            ));
        }
        if holds(file, directory) {
            return Err(format!(
                "{file:?} cannot be a file: the directory {directory:?} lies in it"
            ));
        }
    }
    if parent == "/" {
        return Ok(parent);
    }
    // Everything in a host directory at `/` must still be found, apart from the file's own
    // directory.
    let only_parent = directories.contains(&"/");
    file.match_indices('/')
        .map(|(end, _)| &file[..end])
        .filter(|name| !name.is_empty() && (!only_parent || *name == parent))
        .find(|name| !directories.iter().any(|directory| holds(name, directory)))
        .ok_or_else(|| {
            format!(
                "{file:?} would hide a directory of the host that lies in {parent:?}: give it under \
                 another path"
            )
        })
}

/// Whether `inner` is `outer` or lies in it.
fn holds(outer: &str, inner: &str) -> bool {
    let rest = inner.strip_prefix(outer.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn invalid(setting: &'static str, message: String) -> ConfigError {
    ConfigError::Invalid { setting, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(names: &[&str]) -> Vec<Preopen> {
        let directory = |name: &&str| Preopen {
            host: "/".into(),
            guest: (*name).to_owned(),
            writable: false,
        };
        names.iter().map(directory).collect()
    }

    fn files(names: &[&str]) -> Vec<MemoryFile> {
        let file = |name: &&str| MemoryFile {
            guest: (*name).to_owned(),
            bytes: name.as_bytes().into(),
        };
        names.iter().map(file).collect()
    }

    /// The names under which a guest finds what is in memory.
    fn given(dirs: &[&str], names: &[&str], config: bool) -> Result<Vec<String>, String> {
        let config = config.then(|| (*b"key").into());
        let in_memory = check(&directories(dirs), &files(names), config.as_ref());
        match in_memory {
            Ok(found) => Ok(found.directories().map(|(name, _)| name.into()).collect()),
            Err(ConfigError::Invalid { setting, message }) => Err(format!("{setting}: {message}")),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn files_are_given_by_the_topmost_directory_that_hides_nothing() {
        for (dirs, names, expected) in [
            (&[][..], &["/etc/ssl/certs/ca.pem"][..], &["/etc"][..]),
            (&[], &["/etc/a", "/etc/ssl/b", "/usr/c"], &["/etc", "/usr"]),
            (&[], &["/a", "/etc/b"], &["/"]),
            (&["/data"], &["/etc/a", "/b"], &["/"]),
            (&["/etc/nginx"], &["/etc/ssl/certs/a"], &["/etc/ssl"]),
            (&["/"], &["/etc/ssl/certs/ca.pem"], &["/etc/ssl/certs"]),
            (&["/"], &["/etc/ssl/certs/ca.pem", "/etc/a"], &["/etc"]),
            (&["/", "/data"], &["/conf/a"], &["/conf"]),
        ] {
            let found = given(dirs, names, false).expect("they fit");
            assert_eq!(found, expected, "{dirs:?} {names:?}");
        }
    }

    #[test]
    fn the_configuration_keeps_its_directory() {
        for (dirs, names, expected) in [
            (&[][..], &[][..], &["/conf"][..]),
            (&["/"], &[], &["/conf"]),
            (&[], &["/conf/ca.pem"], &["/conf"]),
            (&[], &["/a"], &["/conf", "/"]),
            (&["/"], &["/etc/a"], &["/conf", "/etc"]),
        ] {
            let found = given(dirs, names, true).expect("they fit");
            assert_eq!(found, expected, "{dirs:?} {names:?}");
        }
        for name in ["/conf", "/conf/watm.cfg", "/conf/watm.cfg/x"] {
            for config in [false, true] {
                let error = given(&[], &[name], config).expect_err(name);
                assert!(error.contains("as the configuration"), "{error}");
            }
        }
    }

    #[test]
    fn paths_that_clash_are_refused_with_their_names() {
        for (dirs, names) in [
            (&["/etc"][..], &["/etc/a"][..]),
            (&["/etc"], &["/etc/ssl/a"]),
            (&["/etc"], &["/etc"]),
            (&["/etc/ssl"], &["/etc"]),
            (&["/etc/ssl"], &["/etc/a"]),
            (&["/"], &["/a"]),
            (&[], &["/a", "/a"]),
            (&[], &["/a", "/a/b"]),
            (&[], &["/a/b", "/a"]),
        ] {
            let error = given(dirs, names, false).expect_err("they clash");
            assert!(error.starts_with("file: \"/"), "{error}");
        }
        for dirs in [
            &["/a", "/a"][..],
            &["/a", "/a/b"],
            &["/a/b", "/a"],
            &["/", "/"],
        ] {
            let error = given(dirs, &[], false).expect_err("they clash");
            assert!(error.contains("lies in or over"), "{error}");
        }
        given(&["/", "/a", "/ab"], &[], false).expect("all others lie in `/`");
        given(&["/a", "/"], &[], true).expect("in any order");
        given(&["/conf"], &[], true).expect_err("the configuration is there");
        given(&["/conf"], &[], false).expect("there is none");
    }

    #[test]
    fn paths_that_no_guest_could_use_are_refused() {
        let long_name = format!("/{}", "n".repeat(256));
        let long_path = "/12345678".repeat(114);
        for name in [
            "", "/", "a", "a/b", "/a/", "/a//b", "/./a", "/a/..", "/a\0", &long_name, &long_path,
        ] {
            let error = given(&[], &[name], false).expect_err(name);
            assert!(error.starts_with("file: ") && error.len() < 200, "{error}");
        }
        given(&[], &["/12345678".repeat(113).as_str()], false).expect("just short enough");
        given(&[], &[&long_name[..256]], false).expect("just short enough");
    }

    #[test]
    fn files_are_limited_in_number_size_and_directories() {
        let names: Vec<String> = (0..65).map(|number| format!("/files/{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        given(&[], &names[..64], true).expect("just few enough");
        given(&[], &names, false).expect_err("one too many");
        let apart: Vec<String> = (0..17).map(|number| format!("/{number}/file")).collect();
        let apart: Vec<&str> = apart.iter().map(String::as_str).collect();
        given(&[], &apart[..16], true).expect("just few enough");
        given(&["/data"], &apart[..16], false).expect_err("one too many");
        given(&[], &apart, false).expect_err("one too many");
        let half: Arc<[u8]> = vec![0; SIZE_LIMIT / 2].into();
        let mut large = files(&["/a", "/b", "/c"]);
        for file in &mut large[..2] {
            file.bytes = Arc::clone(&half);
        }
        check(&[], &large, None).expect_err("too large by two bytes");
        check(&[], &large[..2], None).expect("just small enough");
    }
}
