//! The settings for an instance and its surroundings: plain data that has been checked as a whole.

use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;
use crate::host::arguments::Arguments;
use crate::host::log_lines::LogTarget;
use crate::host::preopens::{InMemory, MemoryFile, Preopen};
use crate::host::stdio::Stdio;
use crate::host::watch::CallHook;
use crate::module::TransportModule;
use crate::net::connect::Outgoing;

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) module: TransportModule,
    pub(crate) config: Option<Arc<[u8]>>,
    pub(crate) args: Vec<String>,
    pub(crate) envs: Vec<(String, String)>,
    /// Built from the two fields above when they are checked.
    pub(crate) arguments: Arc<Arguments>,
    pub(crate) directories: Vec<Preopen>,
    pub(crate) files: Vec<MemoryFile>,
    /// Built from the files and the configuration when they are checked.
    pub(crate) in_memory: Arc<InMemory>,
    pub(crate) stdio: Stdio,
    pub(crate) log_target: Arc<LogTarget>,
    pub(crate) outgoing: Outgoing,
    pub(crate) handshake_timeout: Duration,
    pub(crate) close_grace: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) memory_limit: u64,
    pub(crate) memory_headroom: u64,
    pub(crate) descriptor_limit: usize,
    pub(crate) handshake_limit: usize,
    pub(crate) backlog: usize,
    pub(crate) connection_limit: usize,
    #[cfg(feature = "aead")]
    pub(crate) host_aead: bool,
    pub(crate) timing: bool,
    pub(crate) call_hook: Option<Arc<dyn CallHook>>,
    pub(crate) stock: usize,
    pub(crate) stock_refill_rate: u32,
}

impl Settings {
    /// What a guest finds in memory with this configuration, whether the common one or its own.
    pub(crate) fn in_memory(
        &self,
        config: Option<&Arc<[u8]>>,
    ) -> Result<Arc<InMemory>, ConfigError> {
        let is_common = match (config, &self.config) {
            (Some(config), Some(common)) => Arc::ptr_eq(config, common),
            (None, None) => true,
            _ => false,
        };
        if is_common {
            return Ok(Arc::clone(&self.in_memory));
        }
        InMemory::new(&self.directories, &self.files, config).map(Arc::new)
    }
}
