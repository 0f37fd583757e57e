//! The engine's side of one instance: how it is created and called, and how its calls reach the
//! host.
//!
//! Only this module and `module` name the engine's types. It knows neither threads nor who asked
//! for the connection.

#[cfg(feature = "aead")]
mod aead;
mod call;
pub(crate) mod exports;
mod imports;
pub(crate) mod instance;
mod preview1;
pub(crate) mod settings;
#[cfg(feature = "wasix")]
mod wasix;
mod watm;
