//! Tests the `watm` command as its users run it, with the real program, real sockets and real
//! modules.
//!
//! There is one file per topic. `process.rs` runs the program, `daemon.rs` runs it with a
//! configuration file, and `peers.rs` has its peers. Every
//! wait is bounded, the system chooses the ports, and no test sleeps to let something happen.

mod daemon;
mod peers;
mod process;

mod bench;
mod broken;
mod build;
mod cache;
mod chains;
mod check;
mod clients;
mod config_file;
mod confining;
mod connecting;
mod demo;
mod failures;
mod files;
mod fixed;
mod fronts;
mod inspect;
mod limits;
mod logging;
mod metrics;
mod new;
mod plugins;
mod relay;
mod run;
mod shells;
mod signals;
mod stdio;
mod top;
mod tunnel;
mod usage;
mod verify;
