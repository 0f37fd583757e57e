//! The measurements and their order.

use super::peer::Kind;
use super::report::Row;
use super::trouble::Trouble;
use super::{Bench, clients, command, cost, latency, relay, scale, throughput};
use crate::args::BenchGroup as Group;

/// Bytes that an application writes or reads at once.
const SIZES: [usize; 4] = [64, 1024, 16 * 1024, 64 * 1024];
const SIZES_AT_ONCE: [usize; 2] = [1024, 64 * 1024];
const ROUND_TRIPS: [usize; 3] = [4, 64, 1024];

type Measure = Box<dyn Fn(&Bench) -> Result<Vec<Row>, Trouble>>;

/// A measurement.
pub(super) struct Step {
    /// The group of its rows.
    pub(super) group: Group,
    pub(super) what: String,
    /// Whether the other measurements are still useful if this one fails.
    pub(super) optional: bool,
    pub(super) run: Measure,
}

impl Step {
    fn needed(
        group: Group,
        what: impl Into<String>,
        run: impl Fn(&Bench) -> Result<Vec<Row>, Trouble> + 'static,
    ) -> Self {
        Self {
            group,
            what: what.into(),
            optional: false,
            run: Box::new(run),
        }
    }

    fn optional(
        group: Group,
        what: impl Into<String>,
        run: impl Fn(&Bench) -> Result<Vec<Row>, Trouble> + 'static,
    ) -> Self {
        Self {
            optional: true,
            ..Self::needed(group, what, run)
        }
    }
}

/// All measurements. The resources of an idle connection come first, since later measurements reuse
/// memory.
pub(super) fn all() -> Vec<Step> {
    let out = SIZES.map(|size| {
        Step::needed(
            Group::OneWay,
            format!("out, {size} bytes per write"),
            move |bench| throughput::one_way(bench, Kind::Sink, size),
        )
    });
    let into = SIZES.map(|size| {
        Step::needed(
            Group::OneWay,
            format!("in, {size} bytes per read"),
            move |bench| throughput::one_way(bench, Kind::Source, size),
        )
    });
    let at_once = SIZES_AT_ONCE.map(|size| {
        let what = format!("both directions at once, {size} bytes");
        Step::optional(Group::BothWays, what, move |bench| {
            throughput::both_ways(bench, size)
        })
    });
    let round_trips = ROUND_TRIPS.map(|size| {
        Step::needed(
            Group::RoundTrips,
            format!("round trips of {size} bytes"),
            move |bench| latency::round_trips(bench, size),
        )
    });
    let ways = [("out", Kind::Sink), ("in", Kind::Source)];
    let calls = ways.map(|(way, kind)| {
        let what = format!("calls, {way}");
        Step::optional(Group::Cost, what, move |bench| cost::calls(bench, kind))
    });
    let times = ways.map(|(way, kind)| {
        let what = format!("time, {way}");
        Step::optional(Group::Cost, what, move |bench| cost::times(bench, kind))
    });
    [Step::needed(Group::Idle, "idle connections", scale::idle)]
        .into_iter()
        .chain(out)
        .chain(into)
        .chain(at_once)
        .chain(round_trips)
        .chain([
            Step::optional(Group::Relay, "relay", relay::relay),
            Step::optional(Group::Command, "command, out", |bench| {
                command::one_way(bench, Kind::Sink)
            }),
            Step::optional(Group::Command, "command, in", |bench| {
                command::one_way(bench, Kind::Source)
            }),
            Step::optional(Group::Command, "command, round trips", command::round_trips),
            Step::optional(Group::Command, "command, many clients", |bench| {
                clients::all(bench, &clients::DIAL)
            }),
            Step::needed(Group::SetUp, "dialling", latency::dial),
            Step::optional(
                Group::SetUp,
                "dialling with spare instances",
                latency::dial_with_spare,
            ),
            Step::optional(Group::SetUp, "cold start", command::cold_start),
            Step::optional(Group::Many, "closing", scale::left),
            Step::optional(Group::Many, "dialling beside many", scale::dials),
            Step::optional(Group::Many, "many at once", scale::together),
        ])
        .chain(calls)
        .chain(times)
        .collect()
}
