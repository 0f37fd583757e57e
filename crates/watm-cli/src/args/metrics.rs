//! What a command that serves shows of itself.

use watm_wasmer::ListenAddress;

/// Metrics and health.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MetricsArgs {
    /// Serve /metrics for Prometheus, /healthz and /readyz over HTTP at this address
    ///
    /// ADDR is HOST:PORT, [IPV6]:PORT, or :PORT for all addresses of this machine. There is neither
    /// encryption nor a password: choose an address that only your monitoring reaches.
    #[arg(long, value_name = "ADDR", help_heading = "Monitoring")]
    pub(crate) metrics: Option<ListenAddress>,
}
