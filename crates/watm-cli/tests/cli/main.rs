//! Tests the `watm` command as its users run it, with the real program, real sockets and real
//! modules.
//!
//! There is one file per topic. `process.rs` runs the program, and `peers.rs` has its peers. Every
//! wait is bounded, the system chooses the ports, and no test sleeps to let something happen.

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
mod connecting;
mod demo;
mod failures;
mod files;
mod fixed;
mod inspect;
mod limits;
mod new;
mod relay;
mod shells;
mod signals;
mod stdio;
mod tunnel;
mod usage;
mod verify;
