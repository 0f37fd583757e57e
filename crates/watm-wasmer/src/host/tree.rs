//! Files that exist in memory only, and the directories that hold them.
//!
//! Knows paths and bytes, and neither descriptors nor the guest's memory. A tree never changes once
//! it is made, so all connections with the same files share one.

use std::collections::BTreeMap;
use std::sync::Arc;

use watm_abi::{Errno, FileType, Filestat};

/// The directory that holds everything.
pub(crate) const ROOT: usize = 0;

pub(crate) type Answer<T> = Result<T, Errno>;

/// An entry of a directory.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    /// 0 for the parent directory, which is outside.
    pub(crate) ino: u64,
    pub(crate) file_type: FileType,
    /// The position of the next entry.
    pub(crate) next: u64,
}

/// A tree of directories that contain files.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

enum Node {
    Directory(BTreeMap<Box<str>, usize>),
    File(Arc<[u8]>),
}

impl std::fmt::Debug for Node {
    /// Omits the contents of files, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(entries) => entries.fmt(f),
            Self::File(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// The path is taken, or it leads through a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken;

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: vec![Node::Directory(BTreeMap::new())],
        }
    }
}

impl Tree {
    /// Adds a file at an absolute path in its plain form, and creates the directories above it.
    pub(crate) fn insert(&mut self, path: &str, bytes: Arc<[u8]>) -> Result<(), Taken> {
        let mut node = ROOT;
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let is_file = names.peek().is_none();
            let next = self.nodes.len();
            let Node::Directory(entries) = &mut self.nodes[node] else {
                return Err(Taken);
            };
            match entries.get(name) {
                Some(_) if is_file => return Err(Taken),
                Some(found) => node = *found,
                None => {
                    entries.insert(name.into(), next);
                    self.nodes.push(if is_file {
                        Node::File(Arc::clone(&bytes))
                    } else {
                        Node::Directory(BTreeMap::new())
                    });
                    node = next;
                }
            }
        }
        Ok(())
    }

    /// What is at a path in the directory `from`. No path leaves that directory.
    pub(crate) fn find(&self, from: usize, path: &str) -> Answer<usize> {
        if path.is_empty() {
            return Err(Errno::Noent);
        }
        if path.starts_with('/') {
            return Err(Errno::Notcapable);
        }
        if path.contains('\0') {
            return Err(Errno::Inval);
        }
        let mut above = Vec::new();
        let mut node = from;
        for name in path.split('/') {
            let Node::Directory(entries) = &self.nodes[node] else {
                return Err(Errno::Notdir);
            };
            match name {
                "" | "." => {}
                ".." => node = above.pop().ok_or(Errno::Notcapable)?,
                name => {
                    above.push(node);
                    node = *entries.get(name).ok_or(Errno::Noent)?;
                }
            }
        }
        Ok(node)
    }

    /// The contents, if this is a file.
    pub(crate) fn file(&self, node: usize) -> Option<&Arc<[u8]>> {
        match &self.nodes[node] {
            Node::File(bytes) => Some(bytes),
            Node::Directory(_) => None,
        }
    }

    pub(crate) fn filestat(&self, node: usize) -> Filestat {
        let (file_type, size) = match &self.nodes[node] {
            Node::Directory(_) => (FileType::Directory, 0),
            Node::File(bytes) => (FileType::RegularFile, bytes.len() as u64),
        };
        Filestat {
            dev: 0,
            ino: node as u64 + 1,
            file_type,
            nlink: 1,
            size,
            atim: 0,
            mtim: 0,
            ctim: 0,
        }
    }

    /// Lists a directory from a position on, until there are no more entries or `each` wants none.
    /// The first position is 0.
    pub(crate) fn list(
        &self,
        node: usize,
        from: u64,
        mut each: impl FnMut(Entry<'_>) -> Answer<bool>,
    ) -> Answer<()> {
        let Node::Directory(entries) = &self.nodes[node] else {
            return Err(Errno::Notdir);
        };
        let all = [(".", node), ("..", node)]
            .into_iter()
            .chain(entries.iter().map(|(name, node)| (&**name, *node)));
        for ((name, node), next) in all.zip(1..) {
            let stat = self.filestat(node);
            let entry = Entry {
                name,
                ino: if name == ".." { 0 } else { stat.ino },
                file_type: stat.file_type,
                next,
            };
            if next > from && !each(entry)? {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for path in paths {
            let bytes = path.as_bytes().into();
            tree.insert(path, bytes).expect("a free path");
        }
        tree
    }

    fn names(tree: &Tree, node: usize) -> Vec<(String, FileType)> {
        let mut names = Vec::new();
        tree.list(node, 0, |entry| {
            names.push((entry.name.to_owned(), entry.file_type));
            Ok(true)
        })
        .expect("a directory");
        names
    }

    #[test]
    fn files_are_found_below_the_directories_that_hold_them() {
        let tree = tree(&["/etc/ssl/certs/ca.pem", "/etc/hosts", "/etc/ssl/other"]);
        let etc = tree.find(ROOT, "etc").expect("a directory");
        let ssl = tree.find(etc, "ssl").expect("a directory");
        for path in ["certs/ca.pem", "./certs//ca.pem", "certs/../certs/./ca.pem"] {
            let found = tree.find(ssl, path).expect("a file");
            assert_eq!(
                &**tree.file(found).expect("a file"),
                b"/etc/ssl/certs/ca.pem"
            );
            let stat = tree.filestat(found);
            assert_eq!((stat.size, stat.file_type), (21, FileType::RegularFile));
        }
        let directory = FileType::Directory;
        let expected = [
            (".", directory),
            ("..", directory),
            ("hosts", FileType::RegularFile),
            ("ssl", directory),
        ];
        assert_eq!(
            names(&tree, etc),
            expected.map(|(name, of)| (name.to_owned(), of))
        );
        assert!(tree.file(ssl).is_none());
        // No two nodes have the same number.
        let all = [
            "etc",
            "etc/ssl",
            "etc/ssl/certs",
            "etc/ssl/other",
            "etc/hosts",
        ];
        let mut inodes = all.map(|path| tree.filestat(tree.find(ROOT, path).expect(path)).ino);
        inodes.sort_unstable();
        assert!(inodes.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn no_path_leaves_the_directory_from_which_it_starts() {
        let tree = tree(&["/etc/ssl/ca.pem", "/secret"]);
        let etc = tree.find(ROOT, "etc").expect("a directory");
        for (path, expected) in [
            ("", Errno::Noent),
            ("/", Errno::Notcapable),
            ("/etc", Errno::Notcapable),
            ("..", Errno::Notcapable),
            ("../secret", Errno::Notcapable),
            ("ssl/../../secret", Errno::Notcapable),
            ("other", Errno::Noent),
            ("other/..", Errno::Noent),
            ("ssl/ca.pem/", Errno::Notdir),
            ("ssl/ca.pem/.", Errno::Notdir),
            ("ssl/ca.pem/..", Errno::Notdir),
            ("ssl/ca.pem/x", Errno::Notdir),
            ("ssl\0", Errno::Inval),
        ] {
            assert_eq!(tree.find(etc, path), Err(expected), "{path:?}");
        }
        assert_eq!(tree.find(etc, "ssl/.."), Ok(etc));
        assert_eq!(tree.find(etc, "ssl/"), tree.find(etc, "ssl"));
    }

    #[test]
    fn no_file_takes_the_place_of_another_or_of_a_directory() {
        let mut tree = tree(&["/a/b"]);
        for path in ["/a/b", "/a", "/a/b/c"] {
            assert_eq!(tree.insert(path, [].into()), Err(Taken), "{path}");
        }
        let left = tree.find(ROOT, "a/b").expect("what was there");
        assert_eq!(&**tree.file(left).expect("a file"), b"/a/b");
    }

    #[test]
    fn a_listing_goes_on_where_it_was_left() {
        let tree = tree(&["/a", "/b", "/c"]);
        let mut from = 0;
        let mut found = Vec::new();
        for _ in 0..5 {
            tree.list(ROOT, from, |entry| {
                found.push(entry.name.to_owned());
                from = entry.next;
                Ok(false)
            })
            .expect("a directory");
        }
        assert_eq!(found, [".", "..", "a", "b", "c"]);
        for from in [5, u64::MAX] {
            tree.list(ROOT, from, |_| panic!("there are no more"))
                .expect("the end");
        }
    }

    #[test]
    fn what_is_in_a_file_is_in_no_debug_output() {
        let text = format!("{:?}", tree(&["/horse"]));
        assert!(text.contains("6 bytes") && !text.contains("104"), "{text}");
    }
}
