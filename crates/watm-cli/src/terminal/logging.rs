//! Log lines on standard error, as many as -v asks for.

use log::LevelFilter;

/// Starts logging. RUST_LOG decides if it is set; else `verbose` does for this program, its
/// library and the modules, while what lies below (the engine) shows only warnings.
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
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
