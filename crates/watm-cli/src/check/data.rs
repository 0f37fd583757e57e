//! Checks that all bytes arrive: cut in any way, in either direction or both, and with sides that
//! read late. Then how the transport ends.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use watm_abi::names;

use super::flow::{Ending, STALL, Trouble, ending, fill, pattern, receive, send, transfer};
use super::line::{Line, Subject};
use super::probe::Manner;
use super::report::Report;
use super::rules::{self, Rule};
use super::side::Side;
use super::{opened, or_broken};
use crate::terminal::bytes::count;
use crate::terminal::failure::Failure;

/// A writer that gets rid of nothing for this long has no room.
const FULL: Duration = Duration::from_millis(300);
/// A transfer has as many bytes as pass in this time, or so few.
const SLOW: Duration = Duration::from_secs(4);
const FEW: usize = 64 << 10;
/// The most that a side is filled with.
const FILLING: usize = 16 << 20;
/// A memory that grows by more while a side is full takes what it should leave in the network.
const BACKLOG: u64 = 4 << 20;
/// Parts that pass in both directions together.
const PART: usize = 32 << 10;
const PARTS: usize = 32;
/// The names of the two directions.
const OUT: &str = "from the application to the network";
const IN: &str = "from the network to the application";

/// The ends of each direction.
fn directions(line: &Line) -> [(&'static str, &Side, &Side); 2] {
    [(OUT, &line.near, &line.far), (IN, &line.far, &line.near)]
}

fn lost(line: &Line, way: &str, trouble: &Trouble) -> String {
    format!("{way}: {trouble}{}", line.because())
}

pub(super) fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Whether some bytes pass unchanged on a new connection.
pub(super) fn passes_through(subject: &Subject<'_>) -> Result<bool, Failure> {
    Ok(opened(subject, Manner::Usual)?.is_ok_and(|line| passes(&line)))
}

/// Whether some bytes pass unchanged.
pub(super) fn passes(line: &Line) -> bool {
    let bytes = pattern(3, 100);
    directions(line)
        .iter()
        .all(|(_, from, to)| transfer(from, to, &bytes, bytes.len()).is_ok())
}

/// Pieces of all sizes, in one direction after the other. Returns the size of the largest transfer
/// that makes sense for what follows, if all arrived.
pub(super) fn pieces(
    subject: &Subject<'_>,
    size: usize,
    report: &mut Report,
) -> Result<Option<usize>, Failure> {
    let rule = &rules::DATA;
    let Some(line) = or_broken(subject, Manner::Usual, rule, report)? else {
        return Ok(None);
    };
    let mut moved = 0;
    let mut most = size;
    for (piece, total) in [
        (1, 2000),
        (1000, 256 << 10),
        (64 << 10, 4 << 20),
        (size, size),
    ] {
        let bytes = pattern(piece as u64, total.min(most));
        let began = Instant::now();
        for (way, from, to) in directions(&line) {
            if let Err(trouble) = transfer(from, to, &bytes, piece) {
                let way = format!("{way}, in pieces of {}", count(piece as u64));
                report.broken(rule, lost(&line, &way, &trouble))?;
                return Ok(None);
            }
        }
        moved += bytes.len();
        // A transport may be slow by design.
        let speed = 2.0 * bytes.len() as f64 / began.elapsed().as_secs_f64();
        if piece > 1 {
            most = most
                .min((speed * SLOW.as_secs_f64()) as usize)
                .max(bytes.len().min(FEW));
        }
    }
    let each = count(moved as u64);
    report.passed(rule, format!("{each} each way, in pieces from 1 byte on"))?;
    Ok(Some(most))
}

/// One direction, while the other has not begun.
pub(super) fn one_way(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::ONE_WAY;
    let bytes = pattern(11, 20_000);
    for is_out in [false, true] {
        let Some(line) = or_broken(subject, Manner::Usual, rule, report)? else {
            return Ok(());
        };
        let (way, from, to) = directions(&line)[usize::from(!is_out)];
        for _ in 0..2 {
            if let Err(trouble) = transfer(from, to, &bytes, bytes.len()) {
                return report.broken(rule, lost(&line, way, &trouble));
            }
        }
    }
    report.passed(rule, "")
}

/// Both directions at once: small parts together, and then as fast as they go.
pub(super) fn both_ways(
    subject: &Subject<'_>,
    size: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let rule = &rules::BOTH_WAYS;
    let Some(line) = or_broken(subject, Manner::Usual, rule, report)? else {
        return Ok(());
    };
    let size = size.min(4 << 20);
    let (out, back) = (pattern(21, size), pattern(22, size));
    let parts = out.chunks(PART).zip(back.chunks(PART)).take(PARTS);
    for (out, back) in parts.chain([(&out[..], &back[..])]) {
        if let Err((way, trouble)) = at_once(&line, out, back) {
            return report.broken(rule, lost(&line, way, &trouble));
        }
    }
    report.passed(rule, "")
}

/// What went wrong in which direction.
type Troubled = (&'static str, Trouble);

fn at_once(line: &Line, out: &[u8], back: &[u8]) -> Result<(), Troubled> {
    thread::scope(|scope| {
        // What cannot be sent does not arrive.
        scope.spawn(|| send(&line.near, out, out.len()));
        scope.spawn(|| send(&line.far, back, back.len()));
        receive_both(line, out, back)
    })
}

fn receive_both(line: &Line, out: &[u8], back: &[u8]) -> Result<(), Troubled> {
    thread::scope(|scope| {
        let there = scope.spawn(|| receive(&line.far, out));
        let here = receive(&line.near, back);
        joined(there.join()).map_err(|trouble| (OUT, trouble))?;
        here.map_err(|trouble| (IN, trouble))
    })
}

/// A side that does not read until the other cannot write any more.
pub(super) fn slow_reader(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::SLOW_READER;
    let bytes = pattern(31, FILLING);
    let mut growth = 0;
    for is_out in [true, false] {
        let Some(line) = or_broken(subject, Manner::Usual, rule, report)? else {
            return Ok(());
        };
        let (way, from, to) = directions(&line)[usize::from(!is_out)];
        let warm = transfer(from, to, &bytes[..1000], 1000);
        let before = line.probe.record().memory;
        let taken = match warm.map(|()| fill(from, &bytes, FULL)) {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => {
                let text = format!("{way}: a write failed ({error}){}", line.because());
                return report.broken(rule, text);
            }
            Err(trouble) => return report.broken(rule, lost(&line, way, &trouble)),
        };
        growth = growth.max(line.probe.record().memory.saturating_sub(before));
        if let Err(trouble) = receive(to, &bytes[..taken]) {
            return report.broken(rule, lost(&line, way, &trouble));
        }
    }
    report.passed(rule, "")?;
    let seen = format!("it grew by {} while a side was full", count(growth));
    report.judged(&rules::BACKLOG, growth <= BACKLOG, seen)
}

/// Two sides that both write until they cannot write any more, and then both read.
pub(super) fn both_full(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::BOTH_FULL;
    let Some(line) = or_broken(subject, Manner::Usual, rule, report)? else {
        return Ok(());
    };
    let (out, back) = (pattern(41, FILLING), pattern(42, FILLING));
    let (sent, returned) = thread::scope(|scope| {
        let sent = scope.spawn(|| fill(&line.near, &out, FULL));
        let returned = fill(&line.far, &back, FULL);
        (joined(sent.join()), returned)
    });
    let (Ok(sent), Ok(returned)) = (sent, returned) else {
        return report.broken(rule, format!("a write failed{}", line.because()));
    };
    match receive_both(&line, &out[..sent], &back[..returned]) {
        Ok(()) => report.passed(rule, ""),
        Err((way, trouble)) => report.broken(rule, lost(&line, way, &trouble)),
    }
}

/// The end of stream on either side, what still works then, and what is left open at the end.
pub(super) fn end_of_stream(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::END;
    let bytes = pattern(51, 100_000);
    let mut no_half_close = None;
    let mut open_at_end = 0;
    for is_out in [true, false] {
        let Some(line) = or_broken(subject, Manner::Usual, rule, report)? else {
            return Ok(());
        };
        let (way, from, to) = directions(&line)[usize::from(!is_out)];
        let arrived = thread::scope(|scope| {
            scope.spawn(|| send(from, &bytes, bytes.len()).and_then(|()| from.end_writing()));
            receive(to, &bytes)
        });
        if let Err(trouble) = arrived {
            return report.broken(rule, lost(&line, way, &trouble));
        }
        let end = ending(to, STALL);
        if end != Ending::EndOfStream {
            let text = format!("{way}: after all bytes came {end}{}", line.because());
            return report.broken(rule, text);
        }
        if let Err(trouble) = transfer(to, from, &bytes, bytes.len()) {
            no_half_close.get_or_insert((way, trouble));
        }
        // It may have ended already.
        let _ = to.end_writing();
        let last = ending(from, STALL);
        if let Ending::Open(_) = last {
            let text = format!("{way}: after both sides had ended came {last}");
            return report.broken(rule, text);
        }
        match line.probe.wait_for(names::START, STALL) {
            Some(returned) => open_at_end = open_at_end.max(returned.open_descriptors),
            None => {
                let text = format!("both sides had ended, but {} did not return", names::START);
                return report.broken(rule, text);
            }
        }
    }
    report.passed(rule, "")?;
    let half_close = match no_half_close {
        None => Ok(String::new()),
        Some((way, trouble)) => Err(format!("after the end {way}, the other way: {trouble}")),
    };
    report.result(&rules::HALF_CLOSE, half_close)?;
    let descriptors = match open_at_end {
        0 => Ok(String::new()),
        1 => Err(format!("one was open when {} returned", names::START)),
        count => Err(format!("{count} were open when {} returned", names::START)),
    };
    report.result(&rules::DESCRIPTORS, descriptors)
}

/// A reset on either side.
pub(super) fn reset(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::RESET;
    let bytes = pattern(61, 1000);
    for is_far in [true, false] {
        let Some(mut line) = or_broken(subject, Manner::Usual, rule, report)? else {
            return Ok(());
        };
        for (way, from, to) in directions(&line) {
            if let Err(trouble) = transfer(from, to, &bytes, bytes.len()) {
                return report.broken(rule, lost(&line, way, &trouble));
            }
        }
        let (side, end) = if is_far {
            line.far.reset();
            ("network", ending(&line.near, STALL))
        } else {
            line.near.reset();
            ("application", ending(&line.far, STALL))
        };
        if let Err(text) = line.close() {
            return report.broken(rule, format!("on the {side}'s side: {text}"));
        }
        if !matches!(end, Ending::Failed(_)) {
            let text = format!("after a reset on the {side}'s side, the other side got {end}");
            return report.broken(rule, text);
        }
    }
    report.passed(rule, "")
}

/// Whether the transport ends when it is told to, while its peer says nothing.
pub(super) fn control(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule: &'static Rule = &rules::CONTROL;
    let Some(line) = or_broken(subject, Manner::Usual, rule, report)? else {
        return Ok(());
    };
    let bytes = pattern(71, 1000);
    for (way, from, to) in directions(&line) {
        if let Err(trouble) = transfer(from, to, &bytes, bytes.len()) {
            return report.broken(rule, lost(&line, way, &trouble));
        }
    }
    report.result(rule, line.close().map(|()| String::new()))
}
