//! Has Landlock enforce the rules on files, and what else it offers: ports that may be listened on, and
//! no signals to others. Each kernel enforces as much of it as it knows.

use std::fs;
use std::sync::OnceLock;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::files::{Access, rules};
use super::{Enforced, Needs, Ports, Refused, privileges};

/// The version that the rules were written for. What later ones add stays free.
const VERSION: ABI = ABI::V6;

/// The directory of this process in proc. The kernel forgets a rule with the entry that it is for, and
/// an entry that is open is not forgotten.
static OWN: OnceLock<PathFd> = OnceLock::new();

/// Enforces the rules, and says how far they go here.
pub(super) fn enforce(needs: &Needs) -> Result<Enforced, Refused> {
    // Later threads inherit the rules, and earlier ones would be without.
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(Refused::Threads(threads));
    }
    let status = restrict(needs).map_err(|error| Refused::Kernel(error.to_string()))?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(Refused::NoLandlock);
    }
    if let Ok(own) = PathFd::new("/proc/self") {
        // It is set once in a process.
        let _ = OWN.set(own);
    }
    let by = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => format!("Landlock {effective_abi:?}"),
        _ => "Landlock".to_owned(),
    };
    Ok(Enforced {
        by,
        is_whole: status.ruleset == RulesetStatus::FullyEnforced,
    })
}

fn restrict(needs: &Needs) -> Result<landlock::RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(VERSION))?;
    if let Ports::These(_) = needs.ports {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
    }
    ruleset = ruleset.scope(scope(needs))?;
    let mut created = ruleset.create()?;
    for rule in rules(needs, privileges::read_all()) {
        let Ok(opened) = PathFd::new(&rule.path) else {
            // It is not there. Whoever needs it says so.
            continue;
        };
        let mut rights = rights(rule.access);
        if !rule.path.is_dir() {
            rights &= AccessFs::from_file(VERSION);
        }
        created = created.add_rule(PathBeneath::new(opened, rights))?;
    }
    if let Ports::These(ports) = &needs.ports {
        for port in ports {
            created = created.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
        }
    }
    created.restrict_self()
}

/// What may not be reached of other processes.
fn scope(needs: &Needs) -> BitFlags<Scope> {
    match needs.unix.is_abstract {
        true => Scope::Signal.into(),
        false => Scope::from_all(VERSION),
    }
}

fn rights(access: Access) -> BitFlags<AccessFs> {
    match access {
        Access::File => AccessFs::ReadFile.into(),
        Access::Directory => AccessFs::ReadFile | AccessFs::ReadDir,
        Access::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
        Access::Writable => {
            let special = AccessFs::MakeChar
                | AccessFs::MakeBlock
                | AccessFs::MakeFifo
                | AccessFs::MakeSock
                | AccessFs::IoctlDev;
            AccessFs::from_all(VERSION) & !(special | AccessFs::Execute)
        }
        Access::Socket => AccessFs::MakeSock | AccessFs::RemoveFile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_executed_or_made_a_device() {
        for access in [
            Access::File,
            Access::Directory,
            Access::Device,
            Access::Writable,
            Access::Socket,
        ] {
            let never = AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar;
            assert!(!rights(access).intersects(never), "{access:?}");
        }
        let writable = rights(Access::Writable);
        assert!(writable.contains(AccessFs::MakeReg | AccessFs::Refer | AccessFs::Truncate));
        assert!(!rights(Access::Directory).intersects(AccessFs::from_write(VERSION)));
    }

    #[test]
    fn abstract_sockets_are_out_of_reach_unless_one_is_an_address() {
        let mut needs = Needs::default();
        assert!(scope(&needs).contains(Scope::AbstractUnixSocket | Scope::Signal));
        needs.unix.is_abstract = true;
        assert_eq!(scope(&needs), Scope::Signal);
    }
}
