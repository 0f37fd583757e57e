//! Checks what a module costs: when it is idle, for each message, and over a long time.

use std::thread;
use std::time::{Duration, Instant};

use super::flow::{pattern, receive, send, transfer};
use super::line::{Line, Subject};
use super::or_broken;
use super::probe::Manner;
use super::report::Report;
use super::rules;
use super::stretches::{LONG, Pauses};
use crate::terminal::bytes::count;
use crate::terminal::failure::Failure;

/// How long an idle module is watched, after it has come to rest, and how many calls it may make.
const REST: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_millis(500);
const IDLE_CALLS: u64 = 100;
/// Messages there and back, and the most calls for each that are not worth a warning.
const MESSAGES: u64 = 200;
/// Messages in each part of a long run.
const PART_MESSAGES: u64 = 1000;
const CALLS: f64 = 24.0;
const MESSAGE: usize = 64;
/// A long run in parts: bytes each way and messages.
const PARTS: usize = 8;
const PART: usize = 2 << 20;
/// A memory that grows in so many of the last four parts does not stop.
const GROWING: usize = 2;

/// Calls while nothing happens.
pub(super) fn idle(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::IDLE;
    let Some(line) = or_broken(subject, Manner::Usual, rule, report)? else {
        return Ok(());
    };
    if let Err(text) = messages(&line, 10) {
        return report.broken(&rules::MESSAGES, text);
    }
    thread::sleep(REST);
    let before = line.probe.record().calls;
    thread::sleep(IDLE);
    let calls = line.probe.record().calls - before;
    let seen = format!("{calls} calls in {IDLE:?} without traffic");
    report.judged(rule, calls <= IDLE_CALLS, seen)
}

/// Calls for each message there and back.
pub(super) fn calls(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::CALLS;
    let Some(line) = or_broken(subject, Manner::Usual, rule, report)? else {
        return Ok(());
    };
    if let Err(text) = messages(&line, 20) {
        return report.broken(&rules::MESSAGES, text);
    }
    let before = line.probe.record();
    if let Err(text) = messages(&line, MESSAGES) {
        return report.broken(&rules::MESSAGES, text);
    }
    let after = line.probe.record();
    let each = |count: u64| count as f64 / MESSAGES as f64;
    let calls = each(after.calls - before.calls);
    let polls = each(after.polls - before.polls);
    let seen = format!("{calls:.1} calls for a message there and back, {polls:.1} of them polls");
    report.judged(rule, calls <= CALLS, seen)
}

/// The memory and the pauses of a connection that lives for long.
pub(super) fn long_run(
    subject: &Subject<'_>,
    size: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let Some(line) = or_broken(subject, Manner::Usual, &rules::MEMORY, report)? else {
        return Ok(());
    };
    let (out, back) = (pattern(81, size.min(PART)), pattern(82, size.min(PART)));
    let mut sizes = Vec::with_capacity(PARTS);
    line.probe.begin_run();
    let began = Instant::now();
    for part in 0..PARTS {
        let moved = transfer(&line.near, &line.far, &out, out.len())
            .and_then(|()| transfer(&line.far, &line.near, &back, back.len()))
            .map_err(|trouble| trouble.to_string())
            .and_then(|()| messages(&line, PART_MESSAGES));
        if let Err(text) = moved {
            let text = format!("in part {} of {PARTS} of a long run: {text}", part + 1);
            return report.broken(&rules::MESSAGES, format!("{text}{}", line.because()));
        }
        sizes.push(line.probe.record().memory);
    }
    let took = began.elapsed();
    let total = PARTS as u64 * PART_MESSAGES;
    report.passed(&rules::MESSAGES, format!("{total} there and back"))?;
    let record = line.probe.record();
    let last = sizes[PARTS - 5..].windows(2);
    let growing = last.filter(|pair| pair[1] > pair[0]).count();
    let seen = format!(
        "{} after {} each way and {} messages, {} at the end",
        count(sizes[0]),
        count(out.len() as u64),
        PART_MESSAGES,
        count(record.memory)
    );
    let result = if growing >= GROWING {
        Err(format!("{seen}, still growing"))
    } else {
        Ok(seen)
    };
    report.result(&rules::MEMORY, result)?;
    pauses(line.probe.pauses(took), report)
}

/// The pauses of a long run.
fn pauses(pauses: Pauses, report: &mut Report) -> Result<(), Failure> {
    // One or two may be the machine's.
    let result = match pauses.over_100_ms {
        0..=2 => Ok(pauses.to_string()),
        long => Err(format!("{pauses}; it was over {LONG:?} {long} times")),
    };
    report.measured(&rules::PAUSES, result, pauses)
}

/// Sends messages there and back, one at a time.
fn messages(line: &Line, count: u64) -> Result<(), String> {
    let message = pattern(91, MESSAGE);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                if receive(&line.far, &message).is_err()
                    || send(&line.far, &message, MESSAGE).is_err()
                {
                    break;
                }
            }
        });
        for _ in 0..count {
            // What cannot be sent does not come back.
            let _ = send(&line.near, &message, MESSAGE);
            receive(&line.near, &message)
                .map_err(|trouble| format!("a message did not come back: {trouble}"))?;
        }
        Ok(())
    })
}
