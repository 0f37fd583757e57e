//! What a command that serves shows of itself.

use watm_wasmer::ListenAddress;

/// Metrics and health.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MetricsArgs {
    /// Serve /metrics for Prometheus, /healthz, /readyz and what `watm top` shows over HTTP at this
    /// address
    ///
    /// ADDR is HOST:PORT, [IPV6]:PORT, :PORT for all addresses of this machine, unix:/PATH or unix:@NAME
    /// for a Unix socket, or fd:NAME for a socket that systemd passes on. There is neither encryption nor
    /// a password: choose an address that only your monitoring reaches. /connections, with the addresses
    /// of clients, is there on a Unix socket only.
    #[arg(long, value_name = "ADDR", help_heading = "Monitoring")]
    pub(crate) metrics: Option<ListenAddress>,
}
