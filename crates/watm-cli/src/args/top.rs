//! `watm top`.

use std::time::Duration;

use watm_wasmer::Address;

use super::value::duration;

/// Watch the tunnels and connections of a running command
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Watches the tunnels and connections of a running command: rates, states, and how \
        many have failed.\n\n\
        The command is one that serves, such as `watm run` or `watm listen`, and was started with \
        --metrics. Connections are shown one by one only if that is a Unix socket, since the addresses \
        of clients are nobody else's business.\n\n\
        Without a terminal it prints once what is there, and ends.",
    after_help = "\
Examples:
  watm run watm.toml --metrics unix:/run/watm/status.sock
  watm top unix:/run/watm/status.sock
  watm top 127.0.0.1:9464 --once"
)]
pub(crate) struct TopArgs {
    /// What --metrics says: HOST:PORT, unix:/PATH or unix:@NAME
    #[arg(value_name = "ADDR")]
    pub(crate) address: Address,

    /// How often to look, from 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) interval: Duration,

    /// Print once what is there, as text
    #[arg(long)]
    pub(crate) once: bool,

    /// Print once what is there, as JSON
    #[arg(long, conflicts_with = "once")]
    pub(crate) json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    if range.contains(&interval) {
        Ok(interval)
    } else {
        Err("expected a time from 100ms to 1h".to_owned())
    }
}
