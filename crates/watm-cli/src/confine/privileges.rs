//! The capabilities of a process that was started by root.
//!
//! Two kinds stay. Ports below 1024 may be bound, also by a reload. And files of other users can be
//! opened, since root expects that of the files that it names; Landlock still says which. A third stays
//! if packets are marked or sockets are bound to an interface: that for raw sockets, which the filter of
//! system calls does not let anybody make. Marks took that of administrators of the network before Linux
//! 5.17, and it stays only there.

use std::io;

use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
};
use socket2::{Domain, Socket, Type};

/// What stays, if it was there.
const KEPT: CapabilitySet = CapabilitySet::NET_BIND_SERVICE
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Which let a process read the files of all users.
const ALL_FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

/// Drops all other capabilities of this thread, and so of those that it starts. The bounding set
/// matters only to programs that are executed, and none is.
pub(super) fn drop(marks: bool, interfaces: bool) -> io::Result<()> {
    let before = capabilities(None)?;
    if before.permitted.is_empty() {
        return Ok(());
    }
    clear_ambient_capability_set()?;
    let mut more = CapabilitySet::empty();
    more.set(CapabilitySet::NET_RAW, marks || interfaces);
    set_capabilities(None, kept(before, more | CapabilitySet::NET_ADMIN, more))?;
    if marks && !marks_packets() {
        more |= CapabilitySet::NET_ADMIN;
    }
    Ok(set_capabilities(None, kept(before, more, more))?)
}

/// Whether what this thread may do now is enough.
fn marks_packets() -> bool {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None);
    socket.is_ok_and(|socket| socket.set_mark(1).is_ok())
}

/// Whether this process may read the files of all users, also of root.
pub(super) fn read_all() -> bool {
    geteuid().is_root() || capabilities(None).is_ok_and(|sets| sets.effective.intersects(ALL_FILES))
}

/// What is left with `permitted` and `effective` beside what stays.
fn kept(
    before: CapabilitySets,
    permitted: CapabilitySet,
    effective: CapabilitySet,
) -> CapabilitySets {
    CapabilitySets {
        effective: before.effective.intersection(KEPT | effective),
        permitted: before.permitted.intersection(KEPT | permitted),
        inheritable: CapabilitySet::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_may_do_shrinks_to_ports_and_files() {
        let all = CapabilitySet::all();
        let before = CapabilitySets {
            effective: all,
            permitted: all,
            inheritable: all,
        };
        let none = CapabilitySet::empty();
        let left = kept(before, none, none);
        assert_eq!(left.permitted, KEPT);
        assert_eq!(left.effective, KEPT);
        assert!(left.inheritable.is_empty());
        let marks = kept(before, CapabilitySet::NET_ADMIN, CapabilitySet::NET_RAW);
        assert_eq!(marks.effective, KEPT | CapabilitySet::NET_RAW);
        assert_eq!(marks.permitted, KEPT | CapabilitySet::NET_ADMIN);
        for gone in [
            CapabilitySet::SYS_ADMIN,
            CapabilitySet::SYS_PTRACE,
            CapabilitySet::NET_RAW,
            CapabilitySet::SETUID,
            CapabilitySet::KILL,
        ] {
            assert!(!KEPT.intersects(gone), "{gone:?}");
        }
    }
}
