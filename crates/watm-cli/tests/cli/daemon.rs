//! What tests of `watm run` have in common: its configuration file, its addresses, and the pages that
//! it serves.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::peers::connect;
use crate::process::Watm;

/// A directory with a configuration file, which tests write again and again.
pub(crate) struct Config {
    directory: TempDir,
}

impl Config {
    pub(crate) fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = Self { directory };
        config.write(text);
        config
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file in its place as editors do: nobody sees half of it.
    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let new = self.path("new");
        fs::write(&new, bytes).expect("it is written");
        fs::rename(new, self.path(name)).expect("it is renamed");
    }

    pub(crate) fn write(&self, text: &str) {
        self.put("watm.toml", text);
    }

    pub(crate) fn file(&self) -> String {
        text(&self.path("watm.toml"))
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// The table of a tunnel that listens on a free port.
pub(crate) fn tunnel(name: &str, role: &str, module: &str, lines: &str) -> String {
    format!(
        "[[tunnel]]\nname = '{name}'\nrole = '{role}'\nmodule = '{module}'\n\
         listen = ['127.0.0.1:0']\n{lines}\n"
    )
}

/// A `watm run` that is ready.
pub(crate) struct Daemon {
    pub(crate) watm: Watm,
    addresses: HashMap<String, String>,
}

impl Daemon {
    /// Starts it, and reads a line for each of `tunnels` addresses.
    #[track_caller]
    pub(crate) fn start(config: &Config, tunnels: usize, more: &[&str]) -> Self {
        Self::start_as(env!("CARGO_BIN_EXE_watm"), &[], config, tunnels, more)
    }

    /// The same through another program that runs it.
    #[track_caller]
    pub(crate) fn start_as(
        program: &str,
        before: &[&str],
        config: &Config,
        tunnels: usize,
        more: &[&str],
    ) -> Self {
        let file = config.file();
        let args = [before, &["run", &file], more].concat();
        let watm = Watm::start_as(program, &args, std::process::Stdio::piped());
        let mut daemon = Self {
            watm,
            addresses: HashMap::new(),
        };
        daemon.read_addresses(tunnels);
        daemon
    }

    /// Reads the lines of addresses that are new.
    #[track_caller]
    pub(crate) fn read_addresses(&mut self, count: usize) {
        for _ in 0..count {
            let line = self.watm.stdout_line();
            let words: Vec<_> = line.split(' ').collect();
            let [first, name, address] = words[..] else {
                panic!("{line:?}");
            };
            assert_eq!(first, "listening");
            assert!(!address.ends_with(":0"), "{address} is not the actual port");
            self.addresses.insert(name.to_owned(), address.to_owned());
        }
    }

    #[track_caller]
    pub(crate) fn address(&self, tunnel: &str) -> &str {
        self.addresses
            .get(tunnel)
            .map_or_else(|| panic!("{tunnel}"), String::as_str)
    }

    #[track_caller]
    pub(crate) fn connect(&self, tunnel: &str) -> TcpStream {
        connect(self.address(tunnel))
    }

    /// Has the file read again, and waits until that is done. Returns what the log says.
    #[track_caller]
    pub(crate) fn reload(&mut self) -> String {
        self.watm.signal(libc::SIGHUP);
        self.watm.await_log("SIGHUP: ")
    }

    /// The same, with the counts of unchanged, changed, new and removed tunnels.
    #[track_caller]
    pub(crate) fn reload_with(&mut self, counts: [u32; 4]) {
        let [unchanged, changed, new, removed] = counts;
        let line = self.reload();
        let expected = format!(
            "tunnels: {unchanged} unchanged, {changed} changed, {new} new, {removed} removed"
        );
        assert!(line.contains(&expected), "{expected:?} in {line:?}");
    }

    #[track_caller]
    pub(crate) fn end(mut self) {
        self.watm.signal(libc::SIGTERM);
        let ended = self.watm.end();
        ended.success();
        assert!(!ended.stderr.contains("did not end in time"), "{ended:?}");
    }
}

/// The status and the body of a page.
#[track_caller]
pub(crate) fn page(address: &str, path: &str) -> (u16, String) {
    let mut client = connect(address);
    write!(client, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}
