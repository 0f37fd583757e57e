//! The limit on open files, which a command that serves many connections meets first.

/// Raises the soft limit to the hard one. Each carried connection takes about four descriptors,
/// and the usual soft limit of 1,024 is there for programs that use `select`, which this does not.
pub(crate) fn raise_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to an rlimit that lives here; the call writes nothing else.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return;
    }
    let before = limit.rlim_cur;
    if before >= limit.rlim_max {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to an rlimit that lives here and is only read.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
        log::debug!(
            "open files: limit raised from {before} to {}",
            limit.rlim_cur
        );
    }
}
