//! Confines this process, for good, to what it needs from now on. Modules run in a sandbox already;
//! this is for code that has broken out of it by a hole in the engine: it finds no files, no processes
//! and no shell.
//!
//! Three things are given up: files ([`files`] says which stay, [`ruleset`] has Landlock enforce that),
//! system calls ([`calls`], by seccomp), and the privileges of root ([`privileges`]). Landlock holds for
//! the thread that asks for it and for those that it starts, so that this comes before any other thread.
//!
//! Must never know commands or options. It is compiled into a test as well, which breaks out.

// The test that includes this file finds the rest by these paths.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#[path = "confine/calls.rs"]
mod calls;
#[cfg(target_os = "linux")]
#[path = "confine/files.rs"]
mod files;
#[cfg(target_os = "linux")]
#[path = "confine/privileges.rs"]
mod privileges;
#[cfg(target_os = "linux")]
#[path = "confine/ruleset.rs"]
mod ruleset;

use std::path::PathBuf;

/// What a process needs beyond what each command does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Files that are read.
    pub(crate) files: Vec<PathBuf>,
    /// Whether these are read again later, when another file may have taken the place of each.
    pub(crate) reads_again: bool,
    /// Directories, and whether files in them are made and changed.
    pub(crate) directories: Vec<(PathBuf, bool)>,
    /// Unix sockets that are listened on.
    pub(crate) sockets: Vec<PathBuf>,
    /// Which Unix sockets may be made. Buses, agents and daemons that start programs for others
    /// listen on them.
    pub(crate) unix: Unix,
    /// The ports of TCP that are listened on, or all.
    pub(crate) ports: Ports,
    /// Whether names may have to be looked up in the network.
    pub(crate) names: bool,
    /// Whether packets are marked, which takes a privilege.
    pub(crate) marks: bool,
    /// Whether sockets are bound to a network interface, which older kernels allow only root.
    pub(crate) interfaces: bool,
}

/// Kinds of Unix sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unix {
    /// Streams, to listen or to connect.
    pub(crate) streams: bool,
    /// Datagrams, to tell a service manager, or to look for the interface of a zone.
    pub(crate) datagrams: bool,
    /// Whether there is an abstract name among the addresses to connect to.
    pub(crate) is_abstract: bool,
}

/// Ports of TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ports {
    #[default]
    All,
    These(Vec<u16>),
}

/// What is in force for all threads of the process, or why it is not.
#[derive(Debug)]
pub(crate) struct Confined {
    /// Files, ports and signals: how far this kernel goes.
    pub(crate) files: Result<Enforced, Refused>,
    /// System calls.
    pub(crate) calls: Result<(), Refused>,
}

/// How far the kernel enforces the rules on files, ports and signals.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Enforced {
    /// What enforces them, with its version.
    pub(crate) by: String,
    /// Whether all of them are enforced. Older kernels know a part.
    pub(crate) is_whole: bool,
}

/// Why a part is not in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refused {
    #[error("this kernel has no Landlock, or does not enable it")]
    NoLandlock,
    #[error("this kernel has only a part of it ({0}); Linux 6.12 has all")]
    Partly(String),
    #[error("{0} threads run already, and Landlock would not hold for them")]
    Threads(usize),
    #[error("the kernel refuses it: {0}")]
    Kernel(String),
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[error("this program can filter system calls only on x86_64 and aarch64")]
    Architecture,
    #[cfg(not(target_os = "linux"))]
    #[error("only Linux can do so")]
    System,
}

/// Gives up all that is not needed. Each part is independent of the others, and nothing is taken back.
#[cfg(target_os = "linux")]
pub(crate) fn enter(needs: &Needs) -> Confined {
    if let Err(error) = privileges::drop(needs.marks, needs.interfaces) {
        log::debug!("capabilities are kept: {error}");
    }
    // The filter allows no further call for Landlock.
    let files = ruleset::enforce(needs);
    Confined {
        files,
        calls: filter(needs.unix),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn enter(_: &Needs) -> Confined {
    log::debug!("commands are confined on Linux alone");
    Confined {
        files: Err(Refused::System),
        calls: Err(Refused::System),
    }
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn filter(unix: Unix) -> Result<(), Refused> {
    calls::filter(unix)
}

#[cfg(all(
    target_os = "linux",
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
fn filter(_: Unix) -> Result<(), Refused> {
    Err(Refused::Architecture)
}
