//! The settings for an instance and its surroundings: plain data that has been checked as a whole.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;
use crate::host::arguments::Arguments;
use crate::host::log_lines::LogTarget;
use crate::host::observer::Observer;
use crate::host::preopens::{InMemory, MemoryFile, Preopen};
use crate::host::stdio::Stdio;
use crate::host::watch::CallHook;
use crate::module::TransportModule;
use crate::net::connect::Outgoing;

/// What every role and every module can be set to.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) config: Option<Arc<[u8]>>,
    pub(crate) args: Vec<String>,
    pub(crate) envs: Vec<(String, String)>,
    pub(crate) directories: Vec<Preopen>,
    pub(crate) files: Vec<MemoryFile>,
    pub(crate) stdio: Stdio,
    pub(crate) outgoing: Outgoing,
    pub(crate) setup_timeout: Duration,
    pub(crate) close_grace: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) memory_limit: u64,
    pub(crate) memory_headroom: u64,
    pub(crate) descriptor_limit: usize,
    #[cfg(feature = "aead")]
    pub(crate) host_aead: bool,
    pub(crate) timing: bool,
    pub(crate) call_hook: Option<Arc<dyn CallHook>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) spare_instances: usize,
    pub(crate) spare_refill_rate: u32,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            config: None,
            args: Vec::new(),
            envs: Vec::new(),
            directories: Vec::new(),
            files: Vec::new(),
            stdio: Stdio::default(),
            outgoing: Outgoing::within(Duration::from_secs(10)),
            setup_timeout: Duration::from_secs(30),
            close_grace: Duration::from_secs(3),
            drain_timeout: Duration::from_secs(30),
            keepalive: Some(Duration::from_secs(60)),
            memory_limit: 256 << 20,
            memory_headroom: 3 << 19,
            descriptor_limit: 64,
            #[cfg(feature = "aead")]
            host_aead: true,
            timing: false,
            call_hook: None,
            observer: None,
            spare_instances: 0,
            spare_refill_rate: 200,
        }
    }
}

impl Common {
    /// Gives the module a directory of the host.
    pub(crate) fn add_directory(&mut self, host: PathBuf, guest: String, writable: bool) {
        self.directories.push(Preopen {
            host,
            guest,
            writable,
        });
    }
}

/// What one role uses one module with.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) module: TransportModule,
    pub(crate) log_target: Arc<LogTarget>,
    pub(crate) common: Common,
    /// Built from the arguments and the environment when they are checked.
    pub(crate) arguments: Arc<Arguments>,
    /// Built from the files and the configuration when they are checked.
    pub(crate) in_memory: Arc<InMemory>,
    pub(crate) handshake_limit: usize,
    pub(crate) backlog: usize,
    pub(crate) connection_limit: usize,
}

impl Deref for Settings {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Settings {
    /// Nothing but the defaults.
    pub(crate) fn of(module: &TransportModule) -> Self {
        Self {
            module: module.clone(),
            log_target: Arc::new(LogTarget::of(module.name())),
            common: Common::default(),
            arguments: Arc::default(),
            in_memory: Arc::default(),
            handshake_limit: 256,
            backlog: 128,
            connection_limit: 4096,
        }
    }

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
