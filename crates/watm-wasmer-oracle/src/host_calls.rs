//! Every host function, with arbitrary arguments, on arbitrary memory.

use std::collections::BTreeMap;
use std::ops::Range;

use arbitrary::{Arbitrary, Unstructured};
use watm_abi::FD_LIMIT;

use crate::outputs::outputs;
use crate::process;
use crate::remote::{
    Answer, DESCRIPTOR_LIMIT, Internal, MEMORY, Remote, functions, imported_functions,
};
use crate::watchdog;

/// The first number after the standard streams. A new descriptor gets the lowest free number from
/// here on.
const FIRST_FD: u32 = 3;
/// Open from the start, and not counted: the standard streams, the configuration's directory and
/// the directory that the host gives.
const GIVEN: Range<u32> = 0..5;
/// The error number for a descriptor that is not open.
const EBADF: i32 = 8;
/// The highest error number of WASI.
pub(crate) const LAST_ERRNO: i32 = 76;
/// Maximum number of calls in a case.
const MOST_CALLS: usize = 12;
/// Maximum number of bytes that one call may move to or from a standard stream or a file. A
/// connection has no such limit: its peer takes everything that a blocking call has.
const MOVED_LIMIT: u32 = 16 << 20;
/// Maximum number of buffers in a call.
const MOST_BUFFERS: usize = 1024;

/// A sequence of calls by one guest.
#[derive(Debug)]
pub struct HostCallCase {
    /// The calls.
    pub calls: Vec<Call>,
}

/// One call, and the preparation of memory for it.
#[derive(Debug, Arbitrary)]
pub struct Call {
    /// The function, by its remainder.
    pub function: u8,
    /// What to put into memory, in this order. Only the first three count.
    pub preparations: Vec<Preparation>,
    /// The arguments. Missing ones are 0.
    pub arguments: [Argument; 9],
}

/// Something to put into memory.
#[derive(Debug, Arbitrary)]
pub enum Preparation {
    /// Any bytes.
    Bytes {
        /// Where.
        at: u16,
        /// The bytes, at most 256.
        bytes: Vec<u8>,
    },
    /// An array of buffers. A single buffer is repeated up to the maximum number.
    Buffers {
        /// Where.
        at: u16,
        /// Address and length of each buffer.
        buffers: Vec<(Argument, Argument)>,
    },
    /// A subscription: user data, kind, and the fields of the kind.
    Subscription {
        /// Where.
        at: u16,
        /// 0 for a clock, 1 for reading, 2 for writing. Others are unknown.
        kind: u8,
        /// The descriptor, or the clock.
        subject: Argument,
        /// Timeout of a clock, in nanoseconds.
        timeout: u32,
        /// Whether the clock's time is absolute.
        absolute: bool,
    },
    /// A path, a network or an address.
    Text {
        /// Where.
        at: u16,
        /// The choice, by its remainder.
        which: u8,
    },
}

/// One argument.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Argument {
    /// A small number.
    Small(u8),
    /// An address in memory.
    Pointer(u16),
    /// An address this far from the end of memory, on either side.
    NearEnd(i8),
    /// The application's side.
    Internal,
    /// The network.
    Net,
    /// The control pipe.
    Control,
    /// A number close to the network's descriptor.
    NearNet(i8),
    /// Any number.
    Any(u64),
    /// A negative number close to 0.
    Minus(u8),
    /// A single bit.
    Bit(u8),
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostCallEnd {
    /// All calls got an answer.
    Answered,
    /// A call waited, and the guest was ended.
    Waited,
    /// The transport ended before that.
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

impl HostCallCase {
    /// Half of the guests have a plain connection in place of a pipe. The number of calls decides,
    /// so that inputs that were found keep their meaning.
    fn internal(&self) -> Internal {
        if self.calls.len().is_multiple_of(2) {
            Internal::Pipe
        } else {
            Internal::Plain
        }
    }
}

impl Call {
    /// The number of the function. The last values of the byte are for the extension, so that
    /// inputs that were found before it keep their meaning.
    fn number(&self) -> usize {
        let imported = imported_functions();
        match self.function.checked_sub(0xe0) {
            Some(rest) => imported + usize::from(rest) % (functions().len() - imported),
            None => usize::from(self.function) % imported,
        }
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
                // The guest's own pages come after the part that is checked.
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
                if buffers.len() == 1 {
                    bytes = bytes.repeat(MOST_BUFFERS);
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

/// What is open under a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// Open from the start: it does not count.
    Given,
    /// A connection, the application's side or the control pipe.
    Connection,
    /// A file or a directory.
    File,
}

/// The open descriptors of a case.
struct Table(BTreeMap<u32, Open>);

/// Runs the calls. Checks after each call that its answer is a known one, that it wrote only to
/// memory that it named, that it did not do more than a call may, and that no more descriptors are
/// open than allowed.
///
/// # Panics
///
/// Panics if a check fails, or if something is left over afterwards.
pub fn host_calls(case: &HostCallCase) -> HostCallEnd {
    let _watched = watchdog::watch(case);
    let remote = Remote::start(case.internal());
    let connections = [remote.internal, remote.net, remote.control];
    let connections = connections.map(|fd| (fd, Open::Connection));
    let mut open = Table(
        GIVEN
            .map(|fd| (fd, Open::Given))
            .chain(connections)
            .collect(),
    );
    assert_eq!(open.0.len(), 8, "numbers clash: {:?}", open.0);
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

fn run(call: &Call, remote: &Remote, open: &mut Table) -> HostCallEnd {
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
    let number = call.number();
    let function = &functions()[number];
    let arguments = call.arguments.map(|argument| argument.value(remote));
    if cuts_the_orders_off(function.name, &arguments, remote) {
        return HostCallEnd::Answered;
    }
    let before = answered!(remote.memory());
    let result = answered!(remote.call(number, &arguments));
    let after = answered!(remote.memory());

    if function.module == "env" && result >= 0 {
        open.open(result.cast_unsigned(), Open::Connection);
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
    open.follow(function.name, &arguments, result, &after);
    if result == 0 && open.0.get(&low(arguments[0])) != Some(&Open::Connection) {
        expect_bounded(function.name, &arguments, &after);
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

fn low(argument: u64) -> u32 {
    u32::try_from(argument & 0xffff_ffff).unwrap_or(0)
}

impl Table {
    /// Records a new descriptor.
    fn open(&mut self, fd: u32, what: Open) {
        let lowest = (FIRST_FD..FD_LIMIT).find(|fd| !self.0.contains_key(fd));
        assert_eq!(Some(fd), lowest, "with {:?} open", self.0);
        self.0.insert(fd, what);
        let counted = self.0.values().filter(|open| **open != Open::Given);
        assert!(
            counted.count() <= DESCRIPTOR_LIMIT,
            "too many are open: {:?}",
            self.0
        );
    }

    /// Applies a call that got an answer.
    fn follow(&mut self, name: &str, arguments: &[u64], result: i32, memory: &[u8]) {
        let (fd, to) = (low(arguments[0]), low(arguments[1]));
        let is_open = self.0.contains_key(&fd);
        match name {
            "fd_close" => {
                assert_eq!(result == 0, is_open, "closing {fd}: {result}");
                self.0.remove(&fd);
            }
            "fd_renumber" => {
                let both = is_open && self.0.contains_key(&to);
                assert_eq!(result == 0, both, "moving {fd} to {to}: {result}");
                if both && let Some(moved) = self.0.remove(&fd) {
                    self.0.insert(to, moved);
                }
            }
            "fd_fdstat_get" | "fd_filestat_get" => {
                assert!(is_open || result != 0, "{fd} is not open");
                assert!(!is_open || result != EBADF, "{fd} is open");
            }
            "path_open" if result == 0 => {
                let at = low(arguments[8]) as usize;
                // The pointer may lie outside the checked memory.
                let fd = match memory.get(at..at + 4) {
                    Some(bytes) => u32::from_le_bytes(bytes.try_into().expect("four")),
                    None => (FIRST_FD..FD_LIMIT)
                        .find(|fd| !self.0.contains_key(fd))
                        .expect("one is free"),
                };
                self.open(fd, Open::File);
            }
            _ => {}
        }
    }
}

/// Checks that a successful call reports no more bytes than it may move.
fn expect_bounded(name: &str, arguments: &[u64], memory: &[u8]) {
    let result_at = match name {
        "fd_read" | "fd_write" => 3,
        "fd_pread" | "fd_pwrite" | "fd_readdir" => 4,
        _ => return,
    };
    let at = low(arguments[result_at]) as usize;
    let Some(bytes) = memory.get(at..at + 4) else {
        return;
    };
    let moved = u32::from_le_bytes(bytes.try_into().expect("four"));
    assert!(
        moved <= MOVED_LIMIT,
        "{name} of {arguments:?} moved {moved} bytes"
    );
}

/// Whether a call would cut the connection that carries the orders.
fn cuts_the_orders_off(name: &str, arguments: &[u64], remote: &Remote) -> bool {
    let is_internal = |index: usize| arguments[index] & 0xffff_ffff == u64::from(remote.internal);
    match name {
        // Whatever it writes there looks like an answer.
        "fd_read" | "fd_write" | "sock_recv" | "sock_send" | "fd_close" | "sock_shutdown" => {
            is_internal(0)
        }
        "fd_renumber" => is_internal(0) || is_internal(1),
        _ => false,
    }
}
