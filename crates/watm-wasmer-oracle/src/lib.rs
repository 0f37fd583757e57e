//! What must hold for `watm-wasmer`, whatever a module does or is.
//!
//! Each oracle takes a case, runs it with real connections on loopback, and panics when a promise
//! is broken: a wrong answer, a write to memory that was not named, a late end, something left
//! over. The oracles of the address policy, of trust, of greetings and of configuration files make no
//! connections. Cases are built from arbitrary bytes, weighted towards the boundaries where mistakes live. The tests of this crate
//! and the targets in `fuzz/` run the same oracles.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod assembly;

mod config;
pub use config::{ConfigCase, ConfigEnd, Format, config};

mod files;
pub use files::{FileCase, FileEnd, FileOperation, Given, Location, files};

mod greeting;
pub use greeting::{GreetingCase, GreetingEnd, Said, greeting};

mod host_calls;
pub use host_calls::{Argument, Call, HostCallCase, HostCallEnd, Preparation, host_calls};

mod load;
pub use load::{LoadCase, LoadEnd, Mutation, load};

mod modules;
pub use modules::{ModuleCase, ModuleEnd, modules};

mod policy;
pub use policy::{
    Base, EntryChoice, Form, HostChoice, NameChoice, NetworkChoice, PolicyCase, PolicyEnd,
    PortChoice, PrefixChoice, policy,
};

mod outputs;
mod peer;
mod process;
mod reading;
pub use reading::{Count, Part, ReadingCase, ReadingEnd, Until, reading, reading_of};

mod remote;
mod trust;
pub use trust::{Subject, TrustCase, TrustEnd, trust};

mod watchdog;
