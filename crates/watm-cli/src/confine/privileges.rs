//! The capabilities of a process that was started by root.
//!
//! Two kinds stay. Ports below 1024 may be bound, also by a reload. And files of other users can be
//! opened, since root expects that of the files that it names; Landlock still says which. A third stays
//! if packets are marked.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
};

/// What stays, if it was there.
const KEPT: CapabilitySet = CapabilitySet::NET_BIND_SERVICE
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Drops all other capabilities of this thread, and so of those that it starts. The bounding set
/// matters only to programs that are executed, and none is.
pub(super) fn drop(marks: bool) -> io::Result<()> {
    let before = capabilities(None)?;
    if before.permitted.is_empty() {
        return Ok(());
    }
    clear_ambient_capability_set()?;
    Ok(set_capabilities(None, kept(before, marks))?)
}

fn kept(before: CapabilitySets, marks: bool) -> CapabilitySets {
    let mut kept = KEPT;
    kept.set(CapabilitySet::NET_ADMIN, marks);
    CapabilitySets {
        effective: before.effective.intersection(kept),
        permitted: before.permitted.intersection(kept),
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
        let left = kept(before, false);
        assert_eq!(left.permitted, KEPT);
        assert_eq!(left.effective, KEPT);
        assert!(left.inheritable.is_empty());
        let marks = kept(before, true);
        assert_eq!(marks.effective, KEPT | CapabilitySet::NET_ADMIN);
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
