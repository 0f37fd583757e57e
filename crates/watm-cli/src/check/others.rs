//! Checks how a module fares on hosts whose streams answer in other ways.

use std::num::NonZeroU32;

use super::flow::{pattern, transfer};
use super::line::Subject;
use super::or_broken;
use super::probe::{Manner, Record};
use super::report::Report;
use super::rules::{self, Rule};
use crate::terminal::failure::Failure;

/// Bytes each way, in pieces that are longer than a short write.
const BYTES: usize = 128 << 10;
const PIECE: usize = 1000;
const SHORT: NonZeroU32 = NonZeroU32::new(97).expect("not 0");
/// Bytes each way, one at a time.
const FEW: usize = 8 << 10;

pub(super) fn hosts(subject: &Subject<'_>, report: &mut Report) -> Result<(), Failure> {
    run(
        subject,
        &rules::SHORT_WRITES,
        Manner::ShortWrites(SHORT),
        BYTES,
        report,
    )?;
    let record = run(
        subject,
        &rules::REFUSED_WRITES,
        Manner::RefusedWrites,
        BYTES,
        report,
    )?;
    let (refused, repeated) = (record.refused, record.repeated);
    let seen = format!(
        "after {refused} refused writes, {repeated} were repeated a second time without a poll"
    );
    report.result(
        &rules::WRITE_SPIN,
        match (refused, repeated) {
            (0, _) => Ok("no write could be refused".into()),
            (_, 0) => Ok(seen),
            _ => Err(seen),
        },
    )?;
    run(
        subject,
        &rules::SMALL_READS,
        Manner::SmallReads(NonZeroU32::MIN),
        FEW,
        report,
    )?;
    run(
        subject,
        &rules::REFUSED_READS,
        Manner::RefusedReads,
        BYTES,
        report,
    )?;
    Ok(())
}

/// Moves bytes in both directions, and reports what became of them.
fn run(
    subject: &Subject<'_>,
    rule: &'static Rule,
    manner: Manner,
    size: usize,
    report: &mut Report,
) -> Result<Record, Failure> {
    let Some(line) = or_broken(subject, manner, rule, report)? else {
        return Ok(Record::default());
    };
    let ways = [
        ("to the network", &line.near, &line.far),
        ("from the network", &line.far, &line.near),
    ];
    let mut result = Ok(String::new());
    for (index, (way, from, to)) in (0..).zip(ways) {
        let bytes = pattern(index, size);
        if let Err(trouble) = transfer(from, to, &bytes, PIECE) {
            result = Err(format!("{way}: {trouble}{}", line.because()));
            break;
        }
    }
    report.result(rule, result)?;
    Ok(line.probe.record())
}
