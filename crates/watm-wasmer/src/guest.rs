//! The engine's side of one instance: how it is made and called, and how its calls reach the host.
//!
//! Only here and in `module` are the engine's types named. It knows neither threads nor who asked
//! for the connection.

mod call;
pub(crate) mod exports;
mod imports;
pub(crate) mod instance;
mod preview1;
pub(crate) mod settings;
#[cfg(feature = "wasix")]
mod wasix;
mod watm;
