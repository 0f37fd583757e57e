//! What a command that runs for long needs once its options are known, and what becomes of it if it
//! cannot be confined to that.
//!
//! A command calls this before it loads a module or starts a thread, so that all of it is confined, with
//! the compiler.

use std::env;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use watm_wasmer::{Address, ListenAddress, Tunnel};

use crate::args::{
    ConfigFileArgs, Confine, ConfineArgs, KeyOrFile, LoadArgs, RunArgs, TransportArgs,
};
use crate::confine::{self, Confined, Enforced, Needs, Ports};
use crate::from_file::FromFile;
use crate::setup;
use crate::terminal::failure::Failure;

/// The variable by which a service manager says where it listens.
const NOTIFY: &str = "NOTIFY_SOCKET";

/// Collects what a command needs.
#[derive(Default)]
pub(crate) struct Collected {
    needs: Needs,
    ports: Vec<u16>,
}

impl Collected {
    /// What the options and the configuration file name for a command that runs one tunnel.
    pub(crate) fn of_tunnel(
        (file, source): (&FromFile, &ConfigFileArgs),
        modules: &[PathBuf],
        run: &RunArgs,
    ) -> Self {
        let mut all = Self::default();
        all.load(&run.load);
        for module in modules {
            all.module(module, &run.load);
        }
        all.transport(&run.transport);
        all.needs.names |= run.proxy.is_some();
        all.file(source.config_file.as_deref());
        if let Some(tunnel) = file.tunnel() {
            all.tunnel(tunnel, &run.load);
        }
        if let Some(metrics) = &run.metrics.metrics {
            all.listen([metrics]);
        }
        all
    }

    /// What a tunnel of a configuration file names, but not where it listens.
    pub(crate) fn tunnel(&mut self, tunnel: &Tunnel, load: &LoadArgs) {
        self.needs.files.extend(tunnel.files());
        self.needs.directories.extend(tunnel.directories());
        for part in [tunnel].into_iter().chain(tunnel.below()) {
            self.module(&part.module_file(), load);
            self.needs.marks |= part.sets("mark");
            self.needs.interfaces |= part.sets("interface");
            // The module may choose names, and the proxy may have one.
            self.needs.names |= part.sets("policy") || part.sets("proxy");
        }
        self.connect([tunnel.remote(), tunnel.forward()]);
        if tunnel.remote().is_none() && tunnel.forward().is_none() {
            self.connect_by_name();
        }
    }

    /// The conditions of loading, and where modules are kept compiled.
    pub(crate) fn load(&mut self, load: &LoadArgs) {
        let keys = load.trust.trusted_key.iter();
        self.needs.files.extend(keys.filter_map(|key| match key {
            KeyOrFile::File(path) => Some(path.clone()),
            KeyOrFile::Key(_) => None,
        }));
        self.needs.files.extend(load.trust.signature.clone());
        if load.no_cache {
            return;
        }
        // This makes the directory. If that fails, whoever loads a module says so.
        if let Ok(cache) = setup::open_cache(&load.cache) {
            self.needs
                .directories
                .push((cache.directory().to_owned(), true));
        }
    }

    /// The files and directories that the options name for modules.
    pub(crate) fn transport(&mut self, args: &TransportArgs) {
        let configs = args.config.iter();
        let configs = configs.filter(|path| !path.as_os_str().is_empty()).cloned();
        let given = args.file.iter().map(|file| file.host.clone());
        self.needs.files.extend(configs.chain(given));
        let directories = args.dir.iter();
        let directories = directories.map(|directory| (directory.host.clone(), directory.writable));
        self.needs.directories.extend(directories);
    }

    /// A module, and the signature that may lie beside it.
    pub(crate) fn module(&mut self, module: &Path, load: &LoadArgs) {
        self.needs.files.push(module.to_owned());
        if !load.trust.trusted_key.is_empty() {
            let mut beside = module.as_os_str().to_owned();
            beside.push(".minisig");
            self.needs.files.push(beside.into());
        }
    }

    /// A file that is read.
    pub(crate) fn file(&mut self, file: Option<&Path>) {
        self.needs.files.extend(file.map(Path::to_owned));
    }

    /// Where the command listens.
    pub(crate) fn listen<'a>(&mut self, addresses: impl IntoIterator<Item = &'a ListenAddress>) {
        for address in addresses {
            match address.unix() {
                Some(path) => {
                    self.needs.unix.streams = true;
                    self.unix(path);
                    if !path.starts_with('@') {
                        self.needs.sockets.push(path.into());
                    }
                }
                None => {
                    self.zone(address.as_str());
                    self.ports.push(address.port());
                }
            }
        }
    }

    /// A port of TCP that the command listens on.
    pub(crate) fn port(&mut self, port: u16) {
        self.ports.push(port);
    }

    /// Where the command connects to.
    pub(crate) fn connect<'a>(&mut self, addresses: impl IntoIterator<Item = Option<&'a Address>>) {
        for address in addresses.into_iter().flatten() {
            self.zone(address.as_str());
            match address.unix() {
                Some(path) => {
                    self.needs.unix.streams = true;
                    self.unix(path);
                }
                None => self.needs.names |= is_name(address.host()),
            }
        }
    }

    /// Clients or modules say where the command connects to, which may be a name.
    pub(crate) fn connect_by_name(&mut self) {
        self.needs.names = true;
    }

    /// The command tells a service manager how it fares, if there is one.
    pub(crate) fn notify(&mut self) {
        if let Some(socket) = env::var_os(NOTIFY) {
            self.needs.unix.datagrams = true;
            self.unix(&socket.to_string_lossy());
        }
    }

    fn unix(&mut self, path: &str) {
        self.needs.unix.is_abstract |= path.starts_with('@');
    }

    /// The system's functions look for an interface with such a socket.
    fn zone(&mut self, address: &str) {
        self.needs.unix.datagrams |= address.contains('%');
    }

    /// SIGHUP has the command read all files again.
    pub(crate) fn read_again(&mut self) {
        self.needs.reads_again = true;
    }

    /// Confines the command for good. It listens at the addresses that were named, and at no others
    /// but ports that the system chooses: a chain of modules is joined over such.
    pub(crate) fn confine(mut self, args: ConfineArgs) -> Result<(), Failure> {
        self.ports.push(0);
        self.needs.ports = Ports::These(std::mem::take(&mut self.ports));
        self.confine_anywhere(args)
    }

    /// The same for a command that may listen elsewhere later.
    pub(crate) fn confine_anywhere(self, args: ConfineArgs) -> Result<(), Failure> {
        let when = args.when();
        if when == Confine::Off {
            log::debug!("the command is not confined");
            return Ok(());
        }
        judge(when, confine::enter(&self.needs))
    }
}

/// Whether a host has to be looked up, and is no IP address, with a zone or without.
fn is_name(host: &str) -> bool {
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    host.parse::<IpAddr>().is_err()
}

/// What comes of what is in force and what is not.
fn judge(when: Confine, confined: Confined) -> Result<(), Failure> {
    let required = |what: &str, error: confine::Refused| {
        let message = format!("cannot confine the command: {what}");
        let hint = "`--confine auto` goes as far as this system can";
        Err(Failure::because(message, error).hint(hint))
    };
    match confined.calls {
        Ok(()) => log::info!("confined: system calls are filtered"),
        Err(error) if when == Confine::Required => return required("system calls", error),
        Err(error) => log::warn!("not confined: system calls are not filtered: {error}"),
    }
    match confined.files {
        Ok(Enforced { by, is_whole: true }) => {
            log::info!("confined: files and ports are those that were named ({by})");
        }
        Ok(Enforced { by, .. }) if when == Confine::Required => {
            return required("files and ports", confine::Refused::Partly(by));
        }
        Ok(Enforced { by, .. }) => log::info!(
            "confined: files are those that were named; {}",
            confine::Refused::Partly(by)
        ),
        Err(error) if when == Confine::Required => return required("files and ports", error),
        Err(error) => log::info!("files and ports are not confined: {error}"),
    }
    Ok(())
}

/// The reason why a reload failed, with a remark if it may be the confinement.
pub(crate) fn reload_failure(failure: &Failure, args: ConfineArgs) -> String {
    let text = failure.text();
    let is_denied = failure.io_kind() == Some(io::ErrorKind::PermissionDenied);
    if !is_denied || args.when() == Confine::Off {
        return text;
    }
    format!("{text}; a confined command reaches what was named when it started: see --confine")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::Refused;

    fn enforced(is_whole: bool) -> Result<Enforced, Refused> {
        let by = "Landlock V2".to_owned();
        Ok(Enforced { by, is_whole })
    }

    #[test]
    fn what_is_required_must_be_in_force_as_a_whole() {
        let refused = || Refused::Kernel("no".to_owned());
        for (calls, files, expected) in [
            (Ok(()), enforced(true), None),
            (Ok(()), enforced(false), Some("a part of it (Landlock V2)")),
            (Ok(()), Err(Refused::NoLandlock), Some("no Landlock")),
            (Err(refused()), enforced(true), Some("system calls")),
        ] {
            let judged = judge(Confine::Required, Confined { files, calls });
            match expected {
                None => assert!(judged.is_ok()),
                Some(part) => {
                    let text = judged.expect_err(part).text();
                    assert!(text.contains(part), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_system_that_can_confine_less_is_no_failure() {
        for files in [enforced(false), Err(Refused::NoLandlock)] {
            let calls = Err(Refused::Kernel("no".to_owned()));
            assert!(judge(Confine::Auto, Confined { files, calls }).is_ok());
        }
    }

    #[test]
    fn names_are_looked_up_only_for_who_has_one() {
        let address = |text: &str| text.parse::<Address>().expect(text);
        for (text, expected) in [
            ("192.0.2.1:443", false),
            ("[2001:db8::1]:443", false),
            ("[fe80::1%eth0]:443", false),
            ("unix:/run/app.sock", false),
            ("localhost:443", true),
            ("server.example:443", true),
        ] {
            let mut all = Collected::default();
            all.connect([Some(&address(text))]);
            assert_eq!(all.needs.names, expected, "{text}");
        }
    }
}
