//! The measurements and their order.

use super::peer::Kind;
use super::report::Row;
use super::trouble::Trouble;
use super::{Bench, command, cost, latency, relay, scale, throughput};

/// Bytes that an application writes or reads at once.
const SIZES: [usize; 4] = [64, 1024, 16 * 1024, 64 * 1024];
const SIZES_AT_ONCE: [usize; 2] = [1024, 64 * 1024];
const ROUND_TRIPS: [usize; 3] = [4, 64, 1024];

type Measure = Box<dyn Fn(&Bench) -> Result<Vec<Row>, Trouble>>;

/// A measurement.
pub(super) struct Step {
    pub(super) what: String,
    /// Whether the other measurements are still useful if this one fails.
    pub(super) optional: bool,
    pub(super) run: Measure,
}

impl Step {
    fn needed(
        what: impl Into<String>,
        run: impl Fn(&Bench) -> Result<Vec<Row>, Trouble> + 'static,
    ) -> Self {
        Self {
            what: what.into(),
            optional: false,
            run: Box::new(run),
        }
    }

    fn optional(
        what: impl Into<String>,
        run: impl Fn(&Bench) -> Result<Vec<Row>, Trouble> + 'static,
    ) -> Self {
        Self {
            optional: true,
            ..Self::needed(what, run)
        }
    }
}

/// All measurements. The resources of an idle connection come first, since later measurements reuse
/// memory.
pub(super) fn all() -> Vec<Step> {
    let out = SIZES.map(|size| {
        Step::needed(format!("out, {size} bytes per write"), move |bench| {
            throughput::one_way(bench, Kind::Sink, size)
        })
    });
    let into = SIZES.map(|size| {
        Step::needed(format!("in, {size} bytes per read"), move |bench| {
            throughput::one_way(bench, Kind::Source, size)
        })
    });
    let at_once = SIZES_AT_ONCE.map(|size| {
        let what = format!("both directions at once, {size} bytes");
        Step::optional(what, move |bench| throughput::both_ways(bench, size))
    });
    let round_trips = ROUND_TRIPS.map(|size| {
        Step::needed(format!("round trips of {size} bytes"), move |bench| {
            latency::round_trips(bench, size)
        })
    });
    let ways = [("out", Kind::Sink), ("in", Kind::Source)];
    let calls = ways.map(|(way, kind)| {
        let what = format!("calls, {way}");
        Step::optional(what, move |bench| cost::calls(bench, kind))
    });
    let times = ways.map(|(way, kind)| {
        let what = format!("time, {way}");
        Step::optional(what, move |bench| cost::times(bench, kind))
    });
    [Step::needed("idle connections", scale::idle)]
        .into_iter()
        .chain(out)
        .chain(into)
        .chain(at_once)
        .chain(round_trips)
        .chain([
            Step::optional("relay", relay::relay),
            Step::optional("command, out", |bench| command::one_way(bench, Kind::Sink)),
            Step::optional("command, in", |bench| command::one_way(bench, Kind::Source)),
            Step::optional("command, round trips", command::round_trips),
            Step::needed("dialling", latency::dial),
            Step::optional("dialling from a stock", latency::dial_from_stock),
            Step::optional("cold start", command::cold_start),
            Step::optional("closing", scale::left),
            Step::optional("dialling beside many", scale::dials),
            Step::optional("many at once", scale::together),
        ])
        .chain(calls)
        .chain(times)
        .collect()
}
