//! Checks what becomes of a stream that somebody on the network cuts or alters. A module that does
//! not encrypt cannot know, so what is found are notes.

use std::thread;

use super::data::joined;
use super::flow::{Ending, Kind, STALL, Trouble, ending, pattern, receive, send, transfer};
use super::line::{Line, Subject};
use super::opened;
use super::probe::Manner;
use super::report::Report;
use super::rules;
use super::tap::{Damage, Tap};
use crate::terminal::failure::Failure;

/// Bytes before the damage, within a transfer of more: in a first piece, and in the middle.
const AFTER: [usize; 3] = [1, 1000, 20_011];
const BYTES: usize = 256 << 10;
/// Bytes that pass each way before.
const BEFORE: usize = 1000;

/// A stream that is cut between two messages, and in the middle of one. Some protocols that encrypt
/// do not mark the end, and notice only the latter.
pub(super) fn cut(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::CUT;
    let result = match (cut_between(subject)?, cut_within(subject)?) {
        (Ok(()), Ok(())) => Ok("the application sees a failure".to_owned()),
        (Err(between), Ok(())) => Err(format!("{between}; after a cut in a message, a failure")),
        (Ok(()), Err(within)) => Err(within),
        (Err(between), Err(within)) => Err(format!("{between}; {within}")),
    };
    report.result(rule, result)
}

fn cut_between(subject: &Subject<'_>) -> Result<Result<(), String>, Failure> {
    let tap = Tap::default();
    with_tap(subject, &tap, |line| {
        tap.cut();
        match ending(&line.near, STALL) {
            Ending::Failed(_) => Ok(()),
            end => Err(format!(
                "after a cut between two messages, the application got {end}"
            )),
        }
    })
}

fn cut_within(subject: &Subject<'_>) -> Result<Result<(), String>, Failure> {
    for after in AFTER {
        let tap = Tap::default();
        let result = with_tap(subject, &tap, |line| {
            match damaged(line, &tap, Damage::Cut, after) {
                Err(trouble) if matches!(trouble.kind, Kind::Failed(_)) => Ok(()),
                Err(trouble) => Err(format!("after a cut in a message, {trouble}")),
                // What was sent is shorter on the network.
                Ok(()) if !tap.has_damaged() => Ok(()),
                Ok(()) => Err("after a cut in a message, all of it arrived".to_owned()),
            }
        })?;
        if result.is_err() {
            return Ok(result);
        }
    }
    Ok(Ok(()))
}

/// A stream of which a bit is altered.
pub(super) fn altered(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    let rule = &rules::ALTERED;
    for after in AFTER {
        let tap = Tap::default();
        let result = with_tap(subject, &tap, |line| {
            match damaged(line, &tap, Damage::Alter, after) {
                // What does not go on has not let it pass.
                Err(trouble) if matches!(trouble.kind, Kind::Altered | Kind::Ended) => Err(
                    format!("a bit was altered on the way: for the application, {trouble}"),
                ),
                _ => Ok(()),
            }
        })?;
        if let Err(text) = result {
            return report.broken(rule, text);
        }
    }
    report.passed(rule, "no altered byte reaches the application")
}

/// Sets a connection up through the tap, has bytes pass in both directions, and then does this.
fn with_tap(
    subject: &Subject<'_>,
    tap: &Tap,
    then: impl FnOnce(&Line) -> Result<(), String>,
) -> Result<Result<(), String>, Failure> {
    let subject = Subject {
        tap: Some(tap),
        ..*subject
    };
    let line = match opened(&subject, Manner::Usual)? {
        Ok(line) => line,
        Err(text) => return Ok(Err(text)),
    };
    let bytes = pattern(101, BEFORE);
    let before = transfer(&line.near, &line.far, &bytes, BEFORE)
        .and_then(|()| transfer(&line.far, &line.near, &bytes, BEFORE));
    Ok(match before {
        Ok(()) => then(&line),
        Err(trouble) => Err(format!(
            "before anything was cut or altered: {trouble}{}",
            line.because()
        )),
    })
}

/// Sends bytes to the application, which are damaged after so many on the network.
fn damaged(line: &Line, tap: &Tap, damage: Damage, after: usize) -> Result<(), Trouble> {
    let bytes = pattern(102, BYTES);
    tap.damage(damage, after);
    thread::scope(|scope| {
        // It may end in the middle.
        let sending = scope.spawn(|| send(&line.far, &bytes, bytes.len()));
        let received = receive(&line.near, &bytes);
        let _ = joined(sending.join());
        received
    })
}
