//! `watm top`.

use std::time::Duration;

use watm_wasmer::ListenAddress;

use super::value::{duration, monitored};

/// Show the tunnels and connections of a running watm in a terminal
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows the tunnels and connections of a running watm in a terminal: rates, states, \
        errors.\n\n\
        That one has to run with --metrics ADDR. It shows its connections, with the addresses of \
        clients, on a Unix socket only. If it ends or cannot be reached, this command says so and goes \
        on trying.\n\n\
        UP is what goes from clients towards their target, and DOWN is what comes back, both as they \
        are on the network. Without a terminal, the tables are printed once as text. NO_COLOR turns \
        colours off.",
    after_help = "\
Examples:
  watm run watm.toml --metrics unix:/run/watm/metrics
  watm top unix:/run/watm/metrics
  watm top 127.0.0.1:9464               tunnels only
  watm top unix:/run/watm/metrics --once
  watm top unix:/run/watm/metrics --json | jq '.connections[].client'

Keys: q quits, ? shows all others.
Exit codes: 0 success, 1 no answer or not that of watm, 2 usage error."
)]
pub(crate) struct TopArgs {
    /// What the --metrics of the running watm names: HOST:PORT, [IPV6]:PORT, :PORT for this machine,
    /// unix:/PATH or unix:@NAME
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:9464", value_parser = monitored::parse)]
    pub(crate) address: ListenAddress,

    /// Time between two looks, from 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) interval: Duration,

    /// Print the tables once, as text
    #[arg(long)]
    pub(crate) once: bool,

    /// Print what there is once, as JSON; `connections` is null if they are not shown
    #[arg(long, conflicts_with = "once")]
    pub(crate) json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    let interval = duration::parse(text)?;
    if range.contains(&interval) {
        Ok(interval)
    } else {
        Err("expected a time from 100ms to 1h".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_has_a_range() {
        assert_eq!(interval("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(interval("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["0s", "99ms", "2h", "1"] {
            interval(bad).expect_err(bad);
        }
    }
}
