//! Log lines on standard error, at the level that -v selects.

use log::LevelFilter;

/// Starts logging. RUST_LOG takes precedence if it is set. Otherwise `verbose` selects the level of
/// this program, its library and the modules, and everything below (the engine) logs only warnings.
/// A command that provokes failures and reports them by itself logs nothing without -v.
pub(crate) fn start(verbose: u8, reports_failures: bool) {
    let level = match verbose {
        0 if reports_failures => LevelFilter::Off,
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    match std::env::var("RUST_LOG") {
        Ok(filters) if !filters.is_empty() => builder.parse_filters(&filters),
        _ => builder
            .filter_level(LevelFilter::Warn)
            // The prefix covers the targets `watm`, `watm_wasmer` and `watm::module::NAME`.
            .filter_module("watm", level),
    };
    builder.init();
}
