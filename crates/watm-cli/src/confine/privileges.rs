//! The capabilities of a process that was started by root.
//!
//! Two kinds stay. Ports below 1024 may be bound, also by a reload. And files of other users can be
//! opened, since root expects that of the files that it names; Landlock still says which.

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
pub(super) fn drop() -> io::Result<()> {
    let before = capabilities(None)?;
    if before.permitted.is_empty() {
        return Ok(());
    }
    clear_ambient_capability_set()?;
    Ok(set_capabilities(None, kept(before))?)
}

fn kept(before: CapabilitySets) -> CapabilitySets {
    CapabilitySets {
        effective: before.effective.intersection(KEPT),
        permitted: before.permitted.intersection(KEPT),
        inheritable: CapabilitySet::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_may_do_shrinks_to_ports_and_files() {
        let all = CapabilitySet::all();
        let kept = kept(CapabilitySets {
            effective: all,
            permitted: all,
            inheritable: all,
        });
        assert_eq!(kept.permitted, KEPT);
        assert_eq!(kept.effective, KEPT);
        assert!(kept.inheritable.is_empty());
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
