//! Every function of the host, with arbitrary arguments, from arbitrary memory.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use watm_abi::FD_LIMIT;

use crate::outputs::outputs;
use crate::process;
use crate::remote::{Answer, MEMORY, Remote, functions};
use crate::watchdog;

/// The first number of the host's own descriptors.
const FIRST_FD: u32 = 512;
/// The highest error number of WASI.
pub(crate) const LAST_ERRNO: i32 = 76;
/// Calls of one case at most.
const MOST_CALLS: usize = 12;
/// Calls of one guest, one after the other.
#[derive(Debug)]
pub struct HostCallCase {
    /// The calls.
    pub calls: Vec<Call>,
}

/// One call, and what is put into memory before it.
#[derive(Debug, Arbitrary)]
pub struct Call {
    /// Which function: the remainder counts.
    pub function: u8,
    /// What is put into memory, in this order; more than three are left out.
    pub preparations: Vec<Preparation>,
    /// The arguments; those that are missing are 0.
    pub arguments: [Argument; 9],
}

/// Something put into memory.
#[derive(Debug, Arbitrary)]
pub enum Preparation {
    /// Any bytes.
    Bytes {
        /// Where.
        at: u16,
        /// Up to 256 of them.
        bytes: Vec<u8>,
    },
    /// An array of buffers.
    Buffers {
        /// Where.
        at: u16,
        /// Start and length of each.
        buffers: Vec<(Argument, Argument)>,
    },
    /// A subscription: user data, kind, and what belongs to the kind.
    Subscription {
        /// Where.
        at: u16,
        /// 0 for a clock, 1 for reading, 2 for writing, others for nothing known.
        kind: u8,
        /// The descriptor, or the clock.
        subject: Argument,
        /// Nanoseconds of a clock.
        timeout: u32,
        /// Whether the clock's time is absolute.
        absolute: bool,
    },
    /// A path, or a network or an address.
    Text {
        /// Where.
        at: u16,
        /// Which of some: the remainder counts.
        which: u8,
    },
}

/// One argument.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Argument {
    /// A small number.
    Small(u8),
    /// Somewhere in memory.
    Pointer(u16),
    /// So many bytes before the end of memory, or behind it.
    NearEnd(i8),
    /// The application's side.
    Internal,
    /// The network.
    Net,
    /// The control pipe.
    Control,
    /// A descriptor near those of the host.
    NearNet(i8),
    /// Any number.
    Any(u64),
    /// A negative number near 0.
    Minus(u8),
    /// One bit.
    Bit(u8),
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostCallEnd {
    /// All calls were answered.
    Answered,
    /// One waited, and was ended.
    Waited,
    /// The transport ended before.
    Ended,
}

impl<'a> Arbitrary<'a> for HostCallCase {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut calls = Vec::new();
        while calls.len() < MOST_CALLS && !u.is_empty() {
            calls.push(u.arbitrary()?);
        }
        Ok(Self { calls })
    }
}

const TEXTS: [&str; 20] = [
    "",
    ".",
    "..",
    "/",
    "file",
    "./file",
    "../file",
    "../../etc/passwd",
    "/etc/passwd",
    "data",
    "data/file",
    "/data/../etc/passwd",
    "watm.cfg",
    "conf/watm.cfg",
    "new",
    "a/b/c/d/e/f/g/h",
    "tcp",
    "127.0.0.1:1",
    "[::ffff:127.0.0.1]:80",
    "localhost:65536",
];

impl Argument {
    fn value(self, remote: &Remote) -> u64 {
        match self {
            Self::Small(number) => number.into(),
            Self::Pointer(at) => at.into(),
            Self::NearEnd(back) => {
                // The guest's own pages lie behind what is checked.
                (i64::from(MEMORY) + i64::from(back)).cast_unsigned()
            }
            Self::Internal => remote.internal.into(),
            Self::Net => remote.net.into(),
            Self::Control => remote.control.into(),
            Self::NearNet(off) => (i64::from(remote.net) + i64::from(off)).cast_unsigned(),
            Self::Any(number) => number,
            Self::Minus(number) => 0u64.wrapping_sub(u64::from(number) + 1),
            Self::Bit(bit) => 1 << (bit % 64),
        }
    }
}

impl Preparation {
    fn bytes(&self, remote: &Remote) -> (u16, Vec<u8>) {
        match self {
            Self::Bytes { at, bytes } => (*at, bytes[..bytes.len().min(256)].to_vec()),
            Self::Buffers { at, buffers } => {
                let mut bytes = Vec::new();
                for (start, len) in buffers.iter().take(64) {
                    for argument in [start, len] {
                        let value = argument.value(remote) & 0xffff_ffff;
                        bytes.extend(&value.to_le_bytes()[..4]);
                    }
                }
                (*at, bytes)
            }
            Self::Subscription {
                at,
                kind,
                subject,
                timeout,
                absolute,
            } => {
                let mut bytes = vec![0; 48];
                bytes[..8].copy_from_slice(&u64::from(*at).to_le_bytes());
                bytes[8] = kind % 4;
                let subject = subject.value(remote).to_le_bytes();
                bytes[16..20].copy_from_slice(&subject[..4]);
                bytes[24..32].copy_from_slice(&u64::from(*timeout).to_le_bytes());
                bytes[40] = (*absolute).into();
                (*at, bytes)
            }
            Self::Text { at, which } => {
                let text = TEXTS[usize::from(*which) % TEXTS.len()];
                (*at, text.as_bytes().to_vec())
            }
        }
    }
}

/// Runs the calls, and checks after each that its answer is one that there is, and that no memory
/// but what it named was written.
///
/// # Panics
///
/// If one of it is not so, or something is left over afterwards.
pub fn host_calls(case: &HostCallCase) -> HostCallEnd {
    let _watched = watchdog::watch(case);
    let remote = Remote::start();
    let mut open = BTreeSet::from([remote.internal, remote.net, remote.control]);
    let mut end = HostCallEnd::Answered;
    for call in &case.calls {
        match run(call, &remote, &mut open) {
            HostCallEnd::Answered => {}
            other => {
                end = other;
                break;
            }
        }
    }
    drop(remote.end());
    process::look_now_and_then();
    end
}

fn run(call: &Call, remote: &Remote, open: &mut BTreeSet<u32>) -> HostCallEnd {
    macro_rules! answered {
        ($order:expr) => {
            match $order {
                Answer::Came(value) => value,
                Answer::Waits => return HostCallEnd::Waited,
                Answer::Ended => return HostCallEnd::Ended,
            }
        };
    }
    for preparation in call.preparations.iter().take(3) {
        let (at, bytes) = preparation.bytes(remote);
        answered!(remote.poke(at.into(), &bytes));
    }
    let number = usize::from(call.function) % functions().len();
    let function = &functions()[number];
    let arguments = call.arguments.map(|argument| argument.value(remote));
    if cuts_the_orders_off(function.name, &arguments, remote) {
        return HostCallEnd::Answered;
    }
    let before = answered!(remote.memory());
    let result = answered!(remote.call(number, &arguments));
    let after = answered!(remote.memory());

    if function.module == "env" && result >= 0 {
        let fd = result.cast_unsigned();
        assert!(
            (FIRST_FD..FD_LIMIT).contains(&fd) && open.insert(fd),
            "{} gave out {fd}, with {open:?} open",
            function.name
        );
    } else {
        let errno = if function.module == "env" {
            result.wrapping_neg()
        } else {
            result
        };
        assert!(
            (0..=LAST_ERRNO).contains(&errno),
            "{} answered {result}",
            function.name
        );
    }
    let fd = u32::try_from(arguments[0] & 0xffff_ffff).unwrap_or(0);
    let is_ours = (FIRST_FD..FD_LIMIT).contains(&fd);
    match function.name {
        "fd_close" if is_ours => {
            let was_open = open.remove(&fd);
            assert_eq!(result == 0, was_open, "closing {fd}: {result}");
        }
        "fd_renumber" if result == 0 => {
            let to = u32::try_from(arguments[1] & 0xffff_ffff).unwrap_or(0);
            if fd != to {
                open.remove(&fd);
            }
            if to >= FIRST_FD {
                open.insert(to);
            }
        }
        "fd_fdstat_get" | "fd_filestat_get" if is_ours && result == 0 => {
            assert!(open.contains(&fd), "{fd} is not open");
        }
        _ => {}
    }

    let allowed = outputs(function.name, &arguments, &before);
    let written = |at: &usize| before[*at] != after[*at];
    for at in (0..before.len()).filter(written) {
        assert!(
            allowed.iter().any(|range| range.contains(&(at as u64))),
            "{} with {arguments:?} wrote to {at}, allowed were {allowed:?}",
            function.name
        );
    }
    HostCallEnd::Answered
}

/// Whether a call would take the way away on which the orders come.
fn cuts_the_orders_off(name: &str, arguments: &[u64], remote: &Remote) -> bool {
    let is_internal = |index: usize| arguments[index] & 0xffff_ffff == u64::from(remote.internal);
    match name {
        // What it writes there looks like an answer.
        "fd_read" | "fd_write" | "sock_recv" | "sock_send" | "fd_close" | "sock_shutdown" => {
            is_internal(0)
        }
        "fd_renumber" => is_internal(0) || is_internal(1),
        _ => false,
    }
}
