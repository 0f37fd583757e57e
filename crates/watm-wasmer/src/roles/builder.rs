//! What all roles are configured with, and the builder that gathers it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use watm_abi::Role;

use crate::error::{ConfigError, missing_role};
use crate::guest::settings::Settings;
use crate::host::arguments::Arguments;
use crate::host::log_lines::LogTarget;
use crate::host::preopens::{self, MemoryFile, Preopen};
use crate::host::stdio::Stdio;
use crate::host::watch::CallHook;
use crate::module::TransportModule;
use crate::module::engine::PAGE;
use crate::net::connect::{DialHook, Outgoing};
use crate::net::policy::AddressPolicy;

/// Longer timeouts are shortened to this. It is as good as none, and adding it to a clock does not
/// overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Maximum number of instances that are kept ready.
const STOCK_LIMIT: usize = 1024;

/// The pauses that the system accepts before it probes a peer.
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32400);

/// Gathers the configuration of a [`crate::Dialer`], [`crate::FixedDialer`], [`crate::Listener`]
/// or [`crate::Relay`]: each has a `builder` function that starts one. A [`crate::Server`] is made
/// from the builder of a dialer or a listener.
///
/// A module gets only what is named here. By default it has no files and no environment, and may
/// not choose addresses.
pub struct Builder<R> {
    pub(crate) settings: Settings,
    /// What the module is used as.
    pub(super) role: Role,
    /// Where connections go: the remote of a relay or of a server that dials, or the target of a
    /// server that forwards.
    pub(super) remote: Option<String>,
    made: PhantomData<R>,
}

impl<R> fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("module", &self.settings.module)
            .finish_non_exhaustive()
    }
}

impl<R> Clone for Builder<R> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            role: self.role,
            remote: self.remote.clone(),
            made: PhantomData,
        }
    }
}

impl<R> Builder<R> {
    pub(super) fn new(module: &TransportModule, role: Role) -> Self {
        Self {
            settings: Settings {
                module: module.clone(),
                config: None,
                args: Vec::new(),
                envs: Vec::new(),
                arguments: Arc::default(),
                directories: Vec::new(),
                files: Vec::new(),
                in_memory: Arc::default(),
                stdio: Stdio::default(),
                log_target: Arc::new(LogTarget::of(module.name())),
                outgoing: Outgoing::within(Duration::from_secs(10)),
                handshake_timeout: Duration::from_secs(30),
                close_grace: Duration::from_secs(3),
                drain_timeout: Duration::from_secs(30),
                keepalive: Some(Duration::from_secs(60)),
                memory_limit: 256 << 20,
                memory_headroom: 3 << 19,
                descriptor_limit: 64,
                handshake_limit: 256,
                backlog: 128,
                connection_limit: 4096,
                #[cfg(feature = "aead")]
                host_aead: true,
                timing: false,
                call_hook: None,
                stock: 0,
                stock_refill_rate: 200,
            },
            role,
            remote: None,
            made: PhantomData,
        }
    }

    /// The same for something else that uses the module in the same role, with the address that
    /// connections go to.
    pub(super) fn turn_into<S>(self, remote: Option<String>) -> Builder<S> {
        Builder {
            settings: self.settings,
            role: self.role,
            remote,
            made: PhantomData,
        }
    }

    /// Sets the configuration of the module: the contents of its read-only file `/conf/watm.cfg`,
    /// which exists in memory only. Without a configuration, the file does not exist.
    pub fn config(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.settings.config = Some(bytes.into().into());
        self
    }

    /// Adds an argument. Argument 0 is always the name of the module. All arguments together are
    /// limited to 1 MiB. They must not contain zero bytes.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.settings.args.push(arg.into());
        self
    }

    /// Adds an environment variable. The variables of the host are not passed to modules. All
    /// variables together are limited to 1 MiB. A name must not be empty or contain `=`, and
    /// neither name nor value may contain a zero byte.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.envs.push((name.into(), value.into()));
        self
    }

    /// Gives the module a directory of the host for reading, under the absolute path `guest`.
    ///
    /// The path may be `/`, even if there are other directories: a module finds a file in the
    /// directory with the longest matching path. Other directories must not lie within each other.
    /// The maximum number of directories is 16.
    ///
    /// Each connection opens the directory, which takes a descriptor. Nothing outside of it can be
    /// reached, neither with `..` nor with symbolic links; absolute links are not followed at all.
    /// Pipes, sockets and devices in it cannot be opened.
    pub fn dir(self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.directory(host.into(), guest.into(), false)
    }

    /// Gives the module a directory of the host for reading and writing, with the same
    /// restrictions as [`dir`](Self::dir). The amount written is not limited.
    pub fn dir_writable(self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.directory(host.into(), guest.into(), true)
    }

    /// Gives the module a file for reading, which exists in memory only, under the absolute path
    /// `guest`. All connections share its bytes.
    ///
    /// The module also finds the directories on the way: with `/etc/ssl/certs/ca.pem` there are
    /// `/etc`, `/etc/ssl` and `/etc/ssl/certs`, which hold the files that were given and nothing
    /// else. Beside a directory of the host at `/` only the file's own directory is put over that
    /// one, so that the rest of `/etc` stays the host's. A file must not lie in any other directory
    /// of the host, nor be the configuration, for which there is [`config`](Self::config).
    ///
    /// A module may have 64 files, of 64 MiB together. Their topmost directories count among the 16
    /// directories. A path has 1,024 bytes at most, a name in it 255.
    pub fn file(mut self, guest: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        self.settings.files.push(MemoryFile {
            guest: guest.into(),
            bytes: bytes.into().into(),
        });
        self
    }

    fn directory(mut self, host: PathBuf, guest: String, writable: bool) -> Self {
        self.settings.directories.push(Preopen {
            host,
            guest,
            writable,
        });
        self
    }

    /// What the module's standard streams are connected to; [`Stdio::Log`] by default.
    pub fn stdio(mut self, stdio: Stdio) -> Self {
        self.settings.stdio = stdio;
        self
    }

    /// Replaces or watches how outgoing connections are made.
    pub fn dial_hook(mut self, hook: impl DialHook + 'static) -> Self {
        self.settings.outgoing.hook = Some(Arc::new(hook));
        self
    }

    /// Which addresses the module may choose by itself (`water_dial`); none by default.
    pub fn policy(mut self, policy: AddressPolicy) -> Self {
        self.settings.outgoing.policy = Arc::new(policy);
        self
    }

    /// Sets the maximum time for one outgoing connection, over all addresses of its name; 10
    /// seconds by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.outgoing.timeout = timeout;
        self
    }

    /// Sets the maximum time for the whole set-up of a transport: instantiating the module,
    /// connecting, and the handshake; 30 seconds by default.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// Sets the time that a transport has to end after a close; 3 seconds by default. The first
    /// half is for what was written before. Then the control pipe tells the transport to end, and
    /// after the second half it is interrupted.
    pub fn close_grace(mut self, grace: Duration) -> Self {
        self.settings.close_grace = grace;
        self
    }

    /// Sets the maximum time to deliver what a transport wrote before it ended by itself; 30
    /// seconds by default. It starts anew while a plain connection that is carried takes bytes.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.settings.drain_timeout = timeout;
        self
    }

    /// Sets the idle time after which the system probes a TCP peer; 60 seconds by default, at least
    /// one second. The probe is repeated after the same time, but after no more than 15 seconds.
    /// When several probes in a row get no answer (nine on Linux), the connection ends and the
    /// module gets `ETIMEDOUT`. Without probes (`None`), a vanished peer is noticed only when it
    /// does not accept bytes, and a connection that only receives stays for ever. Sockets that have
    /// their own setting keep it.
    pub fn keepalive(mut self, idle: Option<Duration>) -> Self {
        self.settings.keepalive = idle;
        self
    }

    /// Sets the maximum size of the linear memory of an instance in bytes, rounded down to pages of
    /// 64 KiB; 256 MiB by default.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.memory_limit = bytes;
        self
    }

    /// Sets how many bytes of memory an instance has from the start beyond what its module asks
    /// for, rounded down to pages of 64 KiB; 1.5 MiB by default. It is at most half of what the
    /// module and the memory limit let the memory grow.
    ///
    /// A garbage collector runs more rarely in a larger heap, and some take as their heap whatever
    /// memory is there when the module starts. Pages that the module does not touch cost nothing.
    pub fn memory_headroom(mut self, bytes: u64) -> Self {
        self.settings.memory_headroom = bytes;
        self
    }

    /// Sets the maximum number of descriptors of an instance, from 3 to 480; 64 by default. The
    /// internal descriptor, the control pipe, network connections, and the files and directories
    /// that the module opens count towards it. The standard streams and the directories that it was
    /// given do not.
    pub fn descriptor_limit(mut self, count: usize) -> Self {
        self.settings.descriptor_limit = count;
        self
    }

    /// Maximum number of handshakes in progress with accepted connections; one more drops the
    /// oldest. 256 by default. Making an instance is no handshake, nor is the time that a relay
    /// takes to connect to its remote, or a server to its target. Plain clients have no handshake,
    /// so there is no such limit for a server that dials.
    pub fn handshake_limit(mut self, count: usize) -> Self {
        self.settings.handshake_limit = count;
        self
    }

    /// Sets the maximum number of connections that wait for
    /// [`Listener::accept`](crate::Listener::accept); 128 by default. While that many wait, no more
    /// sockets are accepted.
    pub fn backlog(mut self, count: usize) -> Self {
        self.settings.backlog = count;
        self
    }

    /// Sets the number of instances that are kept ready for new connections, up to 1,024; 0 by
    /// default. They have run `watm_init_v1` already, so a new connection only dials. Each takes
    /// about as much as an idle connection: memory, a thread and two descriptors. A connection
    /// makes its own instance if none is ready, or if it has its own configuration
    /// ([`crate::DialOptions::config`]).
    pub fn stock(mut self, instances: usize) -> Self {
        self.settings.stock = instances;
        self
    }

    /// Sets the maximum number of instances per second with which the stock is refilled, one after
    /// the other; 200 by default, at least 1.
    pub fn stock_refill_rate(mut self, per_second: u32) -> Self {
        self.settings.stock_refill_rate = per_second;
        self
    }

    /// Sets whether a module that asks for it may have the host encrypt and decrypt
    /// (`watm_ext_aead_v1`); on by default. Otherwise, the module uses its own cipher, as it does
    /// on hosts without this extension. [`ModuleInfo::host_aead`](crate::ModuleInfo::host_aead)
    /// says whether a module asks.
    #[cfg(feature = "aead")]
    pub fn host_aead(mut self, on: bool) -> Self {
        self.settings.host_aead = on;
        self
    }

    /// Sets whether connections measure how long the module and the host work, for
    /// [`crate::ConnStats`]; off by default. It reads the clock twice in each call of the module,
    /// which takes about 50 ns.
    pub fn timing(mut self, on: bool) -> Self {
        self.settings.timing = on;
        self
    }

    /// Watches what the module asks of the host, and can make streams answer as those of other hosts
    /// do. Each call of the module then takes several looks at the clock.
    pub fn call_hook(mut self, hook: impl CallHook + 'static) -> Self {
        self.settings.call_hook = Some(Arc::new(hook));
        self
    }

    /// Checks all settings together.
    pub(crate) fn check(&self) -> Result<Arc<Settings>, ConfigError> {
        let settings = &self.settings;
        let invalid = |setting, message: &str| ConfigError::Invalid {
            setting,
            message: message.into(),
        };
        if !settings.module.has_role(self.role) {
            return Err(missing_role(self.role, settings.module.roles()));
        }
        if settings
            .keepalive
            .is_some_and(|idle| !KEEPALIVE.contains(&idle))
        {
            return Err(invalid(
                "keepalive",
                "it must be from one second to nine hours",
            ));
        }
        let arguments = Arguments::new(settings.module.name(), &settings.args, &settings.envs)?;
        let in_memory = preopens::check(
            &settings.directories,
            &settings.files,
            settings.config.as_ref(),
        )?;
        if settings.memory_limit < PAGE {
            return Err(invalid(
                "memory_limit",
                "it must be at least one page of 65536 bytes",
            ));
        }
        if !(3..=480).contains(&settings.descriptor_limit) {
            return Err(invalid("descriptor_limit", "it must be from 3 to 480"));
        }
        if settings.handshake_limit == 0 || settings.backlog == 0 {
            return Err(invalid(
                "handshake_limit",
                "it and the backlog must be at least 1",
            ));
        }
        if settings.connection_limit == 0 {
            return Err(invalid("connection_limit", "it must be at least 1"));
        }
        if settings.stock > STOCK_LIMIT {
            return Err(invalid("stock", "it must be at most 1024"));
        }
        if settings.stock_refill_rate == 0 {
            return Err(invalid("stock_refill_rate", "it must be at least 1"));
        }
        if settings.outgoing.timeout.is_zero() || settings.handshake_timeout.is_zero() {
            return Err(invalid(
                "handshake_timeout",
                "it and the connect timeout must not be 0",
            ));
        }
        let mut settings = settings.clone();
        settings.arguments = Arc::new(arguments);
        settings.in_memory = Arc::new(in_memory);
        for duration in [
            &mut settings.outgoing.timeout,
            &mut settings.handshake_timeout,
            &mut settings.close_grace,
            &mut settings.drain_timeout,
        ] {
            *duration = (*duration).min(LONGEST);
        }
        Ok(Arc::new(settings))
    }
}
