//! Tests of the `watm` command as its users run it: the real program, real sockets, real modules.
//!
//! A file for each topic; `process.rs` runs the program and `peers.rs` are those it talks to. Every
//! wait ends, ports come from the system, and no test sleeps to let something happen.

mod peers;
mod process;

mod bench;
mod broken;
mod cache;
mod connecting;
mod demo;
mod failures;
mod files;
mod fixed;
mod inspect;
mod limits;
mod relay;
mod signals;
mod stdio;
mod tunnel;
mod usage;
