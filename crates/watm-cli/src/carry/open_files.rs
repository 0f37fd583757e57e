//! The limit on open files, which a command that serves many connections reaches first.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of files that this process may have open.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the soft limit to the hard one. Each carried connection takes about four descriptors. The
/// usual soft limit of 1,024 protects programs that use `select`, which this one does not.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if current != maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        let shown = |limit: Option<u64>| limit.map_or("none".to_owned(), |limit| limit.to_string());
        log::debug!(
            "raised the limit on open files from {} to {}",
            shown(current),
            shown(maximum)
        );
    }
}
