//! Which system calls stay, and with which arguments. All others fail with EPERM: a library that tries
//! one has an error to deal with, and the process goes on.
//!
//! The list is what strace saw of all commands and roles, and what glibc and musl use for the same
//! things. Nothing in it runs a program, makes a process, looks into one, or signals another.
//!
//! The order does not matter: Linux keeps a map of the calls that are allowed with any arguments (since
//! 5.11), and does not run the filter for them. Those that move bytes, wait and map memory are among
//! them.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter_all_threads,
};

use super::{Refused, Unix};

/// Allowed with any arguments, on each architecture.
const ALLOWED: &[c_long] = &[
    // Bytes and readiness.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_copy_file_range,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    // Sockets. Which there are is up to `socket`.
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Memory, for code that is compiled as well.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_msync,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    // Threads, and the signals that they raise themselves.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // A new thread of glibc asks for this first, and is told by the other filter that it does not exist.
    libc::SYS_clone3,
    // Time, chance, and what a process may know of itself.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getcwd,
    // Files, as far as Landlock lets them be opened.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_statx,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_readlinkat,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_utimensat,
    libc::SYS_flock,
];

/// The same for calls that newer architectures do without.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_time,
    libc::SYS_getrlimit,
    libc::SYS_arch_prctl,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_unlink,
    libc::SYS_rename,
];
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[c_long] = &[];

/// Calls that appeared after this list was made. A library asks for them and does without if they do not
/// exist; it may not know what to do if they are not permitted.
const NEWER: std::ops::Range<c_long> = 470..560;

/// What may be asked of a descriptor that is a device or a socket. Not among it: putting characters into
/// the queue of a terminal, which a shell would read.
const DEVICE: &[libc::Ioctl] = &[
    libc::TCGETS,
    libc::TIOCGWINSZ,
    libc::TIOCOUTQ,
    libc::FIONREAD,
    libc::FIONBIO,
    libc::FIOCLEX,
    libc::FIONCLEX,
];

/// The numbers and names of network interfaces, for zones of addresses.
const INTERFACES: &[libc::c_ulong] = &[libc::SIOCGIFINDEX, libc::SIOCGIFNAME];

/// What may be done with a descriptor. Not among it: having signals sent to whoever it belongs to.
const DESCRIPTOR: &[c_int] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
    libc::F_GETPIPE_SZ,
    libc::F_SETPIPE_SZ,
];

/// Names of threads and of mappings.
const OF_PROCESS: &[c_int] = &[
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_SET_VMA,
];

/// What a new thread shares with this one, and what would give it a world of its own.
const THREAD: c_int = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
const WORLDS: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PTRACE
    | libc::CLONE_PARENT;

/// The bits of the type of a socket that are not flags.
const KIND: u64 = 0xf;

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Installs the filters for all threads, also those that run already.
pub(super) fn filter(unix: Unix) -> Result<(), Refused> {
    let refused = |error: &dyn std::fmt::Display| Refused::Kernel(error.to_string());
    let programs = programs(unix, std::process::id()).map_err(|error| refused(&error))?;
    for program in programs {
        apply_filter_all_threads(&program).map_err(|error| refused(&error))?;
    }
    Ok(())
}

/// The filters, in the order in which they are installed. The strictest answer counts.
fn programs(unix: Unix, process: u32) -> Result<[BpfProgram; 2], BackendError> {
    let compiled = |rules: Rules, other: SeccompAction, found: SeccompAction| {
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, other, found, arch)?.try_into()
    };
    let own = rules(unix, process)?;
    let unknown = NEWER.chain([libc::SYS_clone3]);
    let unknown = unknown.map(|call| (call, Vec::new())).collect();
    let enosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    Ok([
        compiled(unknown, SeccompAction::Allow, enosys)?,
        compiled(own, eperm, SeccompAction::Allow)?,
    ])
}

/// What is allowed. Newer calls are, as far as this list is concerned.
fn rules(unix: Unix, process: u32) -> Result<Rules, BackendError> {
    let always = ALLOWED.iter().chain(ALLOWED_HERE).copied();
    let mut rules: Rules = always.chain(NEWER).map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, sockets(unix)?);
    let pair = rule(&[equal(0, libc::AF_UNIX)])?;
    rules.insert(libc::SYS_socketpair, vec![pair]);
    // The flags of `clone` are its first argument on these architectures. What `clone3` gets is in
    // memory, where no filter can look.
    let thread = masked(0, u64::from((THREAD | WORLDS).unsigned_abs()), THREAD);
    rules.insert(libc::SYS_clone, vec![rule(&[thread])?]);
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![rule(&[equal(0, process)])?]);
    }
    let own = [0, process].map(|id| rule(&[equal(0, id)]));
    rules.insert(
        libc::SYS_prlimit64,
        own.into_iter().collect::<Result<_, _>>()?,
    );
    let requests = [one_of(DEVICE)?, one_of(INTERFACES)?].concat();
    rules.insert(libc::SYS_ioctl, requests);
    rules.insert(libc::SYS_fcntl, one_of(DESCRIPTOR)?);
    let of_process = OF_PROCESS.iter().map(|option| rule(&[equal(0, *option)]));
    rules.insert(libc::SYS_prctl, of_process.collect::<Result<_, _>>()?);
    Ok(rules)
}

/// TCP, UDP and netlink for resolvers, and such Unix sockets as are asked for.
fn sockets(unix: Unix) -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in [
            (libc::SOCK_STREAM, libc::IPPROTO_TCP),
            (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        ] {
            for protocol in [0, protocol] {
                rules.push(rule(&[
                    equal(0, family),
                    masked(1, KIND, kind),
                    equal(2, protocol),
                ])?);
            }
        }
    }
    // Which addresses this machine has.
    rules.push(rule(&[
        equal(0, libc::AF_NETLINK),
        equal(2, libc::NETLINK_ROUTE),
    ])?);
    for (is_needed, kind) in [
        (unix.streams, libc::SOCK_STREAM),
        (unix.datagrams, libc::SOCK_DGRAM),
    ] {
        if is_needed {
            rules.push(rule(&[equal(0, libc::AF_UNIX), masked(1, KIND, kind)])?);
        }
    }
    Ok(rules)
}

/// The second argument is one of these.
fn one_of<T: Copy + TryInto<u32>>(values: &[T]) -> Result<Vec<SeccompRule>, BackendError> {
    let values = values.iter();
    values.map(|value| rule(&[equal(1, *value)])).collect()
}

/// An argument, how it is compared, and with what. All of them have 32 bits.
type Condition = (u8, SeccompCmpOp, u64);

fn equal(argument: u8, value: impl TryInto<u32>) -> Condition {
    (argument, SeccompCmpOp::Eq, number(value))
}

fn masked(argument: u8, mask: u64, value: impl TryInto<u32>) -> Condition {
    (argument, SeccompCmpOp::MaskedEq(mask), number(value))
}

/// The constants of the system are signed, and none is negative. Another would match nothing.
fn number(value: impl TryInto<u32>) -> u64 {
    value.try_into().map_or(u64::from(u32::MAX), u64::from)
}

/// All conditions hold.
fn rule(conditions: &[Condition]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions.iter().map(|(argument, comparison, value)| {
        SeccompCondition::new(
            *argument,
            SeccompCmpArgLen::Dword,
            comparison.clone(),
            *value,
        )
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Unix = Unix {
        streams: true,
        datagrams: true,
        is_abstract: true,
    };

    #[test]
    fn nothing_on_the_list_runs_a_program_or_reaches_another_process() {
        let rules = rules(ALL, 1).expect("they are valid");
        for refused in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_process_madvise,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_getfd,
            libc::SYS_pidfd_send_signal,
            libc::SYS_tkill,
            libc::SYS_truncate,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_open_tree,
            libc::SYS_chroot,
            libc::SYS_setuid,
            libc::SYS_setresuid,
            libc::SYS_setgid,
            libc::SYS_setgroups,
            libc::SYS_capset,
            libc::SYS_kexec_load,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_add_key,
            libc::SYS_keyctl,
            libc::SYS_request_key,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_userfaultfd,
            libc::SYS_memfd_create,
            libc::SYS_open_by_handle_at,
            libc::SYS_name_to_handle_at,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_personality,
            libc::SYS_reboot,
            libc::SYS_mknodat,
            libc::SYS_fchmodat,
            libc::SYS_fchownat,
            libc::SYS_seccomp,
        ] {
            assert!(!rules.contains_key(&refused), "call {refused}");
        }
        #[cfg(target_arch = "x86_64")]
        for refused in [
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_chmod,
            libc::SYS_mknod,
        ] {
            assert!(!rules.contains_key(&refused), "call {refused}");
        }
    }

    #[test]
    fn calls_that_can_do_harm_are_tied_to_arguments() {
        let rules = rules(ALL, 1).expect("they are valid");
        for call in [
            libc::SYS_clone,
            libc::SYS_fcntl,
            libc::SYS_ioctl,
            libc::SYS_kill,
            libc::SYS_prctl,
            libc::SYS_prlimit64,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_tgkill,
        ] {
            assert!(!rules[&call].is_empty(), "call {call}");
        }
    }

    #[test]
    fn calls_that_move_bytes_depend_on_no_argument() {
        let rules = rules(Unix::default(), 1).expect("they are valid");
        for call in [
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_recvfrom,
            libc::SYS_sendto,
            libc::SYS_epoll_pwait,
            libc::SYS_ppoll,
            libc::SYS_futex,
            libc::SYS_mmap,
            libc::SYS_mprotect,
            libc::SYS_madvise,
        ] {
            assert_eq!(rules.get(&call).map(Vec::len), Some(0), "call {call}");
        }
    }

    #[test]
    fn the_programs_fit_into_the_kernel() {
        for program in programs(ALL, u32::MAX).expect("they are valid") {
            assert!(program.len() < 4096, "{}", program.len());
        }
    }
}
