//! What a module is checked for: each rule with what it asks, how bad it is to break it, and what
//! to do then. `docs/authors.md` explains them.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The module does not do what the interface or its users ask, on any host.
    Error,
    /// It works here, but breaks on other hosts, under load or with time.
    Warning,
    /// What users should know.
    Note,
}

/// One thing that is checked.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Names it in reports and documents. It never changes.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// What the interface or practice asks.
    pub(crate) asks: &'static str,
    /// How to mend a module that breaks it.
    pub(crate) remedy: &'static str,
}

macro_rules! rules {
    ($($name:ident $id:literal $severity:ident $asks:literal $remedy:literal)*) => {
        $(pub(crate) static $name: Rule = Rule {
            id: $id,
            severity: Severity::$severity,
            asks: $asks,
            remedy: $remedy,
        };)*
    };
}

/// The rules that need bytes that arrive unchanged.
pub(crate) static WITH_DATA: &[&Rule] = &[
    &DATA,
    &ONE_WAY,
    &BOTH_WAYS,
    &SLOW_READER,
    &BACKLOG,
    &BOTH_FULL,
    &END,
    &HALF_CLOSE,
    &DESCRIPTORS,
    &RESET,
    &CONTROL,
    &CUT,
    &ALTERED,
    &IDLE,
    &CALLS,
    &MESSAGES,
    &MEMORY,
    &PAUSES,
    &SHORT_WRITES,
    &REFUSED_WRITES,
    &WRITE_SPIN,
    &SMALL_READS,
    &REFUSED_READS,
];

/// Those among them that come after the first.
pub(crate) static AFTER_DATA: &[&Rule] = WITH_DATA.split_at(1).1;

rules! {
    INTERFACE "interface" Error
        "a module exports and imports what WATM v1 says, with the right signatures"
        "correct what is named; the authors' libraries export all that is needed"
    INIT "init" Error
        "`_start` or `_initialize`, and then `watm_init_v1`, succeed with the configuration"
        "give the configuration that the module needs (--config); use -v to see what it logs"
    INIT_ALONE "init-without-config" Warning
        "without a configuration, `watm_init_v1` returns an error number or goes on"
        "check that /conf/watm.cfg can be opened, and return the negated errno if it cannot"
    INIT_GARBAGE "init-bad-config" Warning
        "for a configuration that it cannot read, `watm_init_v1` returns an error number"
        "return a negated errno such as -28 (EINVAL), in place of a trap or panic"
    ROLE "role" Error
        "the role's function sets the connection up and returns its descriptor"
        "give what it needs with --config, and the module for the other end with --peer and --peer-config; \
        --role checks one role alone; -v shows what the module logs"
    UNSUPPORTED "unsupported-role" Note
        "a module exports the functions of the roles that it has, and no others"
        "do not export the function; some libraries export all four"
    REFUSED_DIAL "refused-dial" Error
        "if the connection is refused, the role's function returns an error number, best that of the dial"
        "check the result of `water_dial`: negative numbers are negated errnos"
    CLOSING_PEER "closing-peer" Error
        "a peer that ends its stream at once ends the transport, without a trap"
        "treat a read of 0 bytes as the end of stream, also in a handshake"
    GARBAGE_PEER "garbage-peer" Error
        "a peer that sends garbage ends the transport with an error or data, without a trap"
        "check lengths before you use them, and return an error number for what is not valid"
    SILENT_PEER "silent-peer" Error
        "the transport ends soon after the application has closed, also if the peer has sent nothing yet"
        "a handshake in `watm_start_v1` polls for the control descriptor too; return -11 (ECANCELED) when \
        it is readable"
    DATA "data" Error
        "all bytes arrive unchanged, however they are cut"
        "expect that one read returns part of a message or several; keep the rest for later"
    ONE_WAY "one-direction" Error
        "each direction works while the other is silent"
        "make the descriptors non-blocking, and wait for both with one `poll_oneoff`"
    BOTH_WAYS "both-directions" Error
        "both directions work at the same time"
        "do not wait in one direction while the other can go on"
    SLOW_READER "slow-reader" Error
        "nothing is lost if a side reads late"
        "keep what could not be written, and wait for room with a poll for writing"
    BACKLOG "backlog-memory" Warning
        "a module stops reading while the other side does not take what it has"
        "read no more while output waits to be written"
    BOTH_FULL "both-full" Error
        "if neither side reads for a while, both directions go on once they do"
        "keep the directions apart: each waits for its own reader only"
    END "end-of-stream" Error
        "after the end of stream on one side, the other side gets all bytes and then its end"
        "write what is left, then call `sock_shutdown` or return 0 from `watm_start_v1`"
    HALF_CLOSE "half-close" Note
        "after the end of stream in one direction, the other direction goes on"
        "pass the end on with `sock_shutdown`, and return when both directions have ended"
    RESET "reset" Error
        "a reset on one side ends the transport, without a trap"
        "return the negated errno of the failed call"
    CONTROL "control" Error
        "the transport ends soon after the application has closed and the control pipe is readable"
        "poll for the control descriptor too, and return -11 (ECANCELED) when it is readable"
    CUT "cut-stream" Note
        "a cut in the middle of the stream is a failure for the application, not the end of the stream"
        "mark the end within what is authenticated, and return an error such as -65 (EPROTO) for an end \
        without the mark; a transport that does not encrypt cannot know"
    ALTERED "altered-bytes" Note
        "bytes that somebody has altered on the way do not reach the application"
        "authenticate what is sent, and return an error such as -65 (EPROTO) for what is not authentic; a \
        transport that does not encrypt cannot know"
    IDLE "idle" Error
        "a module with nothing to do sleeps in `poll_oneoff`"
        "poll without a timeout, and only for what can be acted on: not for room if nothing waits"
    MESSAGES "messages" Error
        "a message goes there and back each time, for as long as the connection lives"
        "use -v to see what the module logs when it ends"
    CALLS "calls" Warning
        "a message costs few calls to the host"
        "read and write with buffers of 16 KiB, and poll once for all descriptors"
    MEMORY "memory" Warning
        "the memory stops growing on a connection that lives for long"
        "free or reuse the buffers of each message"
    PAUSES "pauses" Warning
        "a module does not compute for long between two calls to the host"
        "do less at a time; a garbage collector needs a larger or emptier heap"
    DESCRIPTORS "descriptors" Note
        "a transport that has ended has closed its descriptors"
        "close the descriptors of both sides and of the control pipe before you return 0"
    SHORT_WRITES "short-writes" Warning
        "hosts may take only part of a write"
        "write the rest again, once the descriptor is ready for writing"
    REFUSED_WRITES "refused-writes" Warning
        "hosts may refuse a write on a non-blocking descriptor with EAGAIN (6)"
        "keep the bytes, poll for writing, and then write them again"
    WRITE_SPIN "write-spin" Warning
        "after a refused write, a module waits until there is room"
        "poll for writing in place of repeating the write again and again"
    SMALL_READS "one-byte-reads" Warning
        "hosts may return a single byte for any read"
        "collect bytes until a message is complete"
    REFUSED_READS "refused-reads" Warning
        "hosts may refuse a read with EAGAIN (6) although a poll has reported bytes"
        "poll again; it is no error and not the end of stream"
}
