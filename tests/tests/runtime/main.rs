//! Runs real modules over real sockets, with one file per topic.
//!
//! The tests here run concurrently. Tests that measure the whole process are in `resources/`, and
//! tests about signals are in `signals.rs`.

mod aead;
mod attacks;
mod backpressure;
mod broken;
mod cancelling;
mod carrying;
mod chains;
mod conn;
mod descriptors;
mod deserted;
mod dialing;
mod ending;
mod event_loops;
mod faults;
mod fronts;
mod generations;
mod given_files;
mod hostile;
mod listening;
mod loading;
mod manifests;
mod metrics;
mod misuse;
mod observing;
mod own_settings;
mod policy;
mod polling;
mod proxies;
mod records;
mod refusals;
mod regressions;
mod relaying;
mod results;
mod roles;
mod sandbox;
mod schedules;
mod signatures;
mod surroundings;
mod swapping;
mod tasks;
mod throughput;
mod watching;
