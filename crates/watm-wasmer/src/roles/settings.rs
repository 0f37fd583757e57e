//! What roles share: settings that a program makes once and gives to all of them.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::guest::settings::Common;
use crate::host::observer::Observer;
use crate::host::preopens::MemoryFile;
use crate::host::stdio::Stdio;
use crate::host::watch::CallHook;
use crate::net::connect::{DialHook, Resolver};
use crate::net::policy::AddressPolicy;

/// Writes the setters of what the roles share, for a type with a function `common`.
macro_rules! setters {
    () => {
        /// Sets the configuration of the module: the contents of its read-only file `/conf/watm.cfg`,
        /// which exists in memory only. Without a configuration, the file does not exist.
        pub fn config(mut self, bytes: impl Into<Vec<u8>>) -> Self {
            self.common().config = Some(bytes.into().into());
            self
        }

        /// Adds an argument. Argument 0 is always the name of the module. All arguments together are
        /// limited to 1 MiB. They must not contain zero bytes.
        pub fn arg(mut self, arg: impl Into<String>) -> Self {
            self.common().args.push(arg.into());
            self
        }

        /// Adds an environment variable. The variables of the host are not passed to modules. All
        /// variables together are limited to 1 MiB. A name must not be empty or contain `=`, and
        /// neither name nor value may contain a zero byte.
        pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.common().envs.push((name.into(), value.into()));
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
        pub fn dir(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
            self.common()
                .add_directory(host.into(), guest.into(), false);
            self
        }

        /// Gives the module a directory of the host for reading and writing, with the same
        /// restrictions as [`dir`](Self::dir). The amount written is not limited.
        pub fn dir_writable(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
            self.common().add_directory(host.into(), guest.into(), true);
            self
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
            self.common().files.push(MemoryFile {
                guest: guest.into(),
                bytes: bytes.into().into(),
            });
            self
        }

        /// What the module's standard streams are connected to; [`Stdio::Log`] by default.
        pub fn stdio(mut self, stdio: Stdio) -> Self {
            self.common().stdio = stdio;
            self
        }

        /// Replaces or watches how outgoing connections are made.
        pub fn dial_hook(mut self, hook: impl DialHook + 'static) -> Self {
            self.common().outgoing.hook = Some(Arc::new(hook));
            self
        }

        /// Finds the addresses of names in place of the system's resolver, which is then never
        /// asked.
        pub fn resolver(mut self, resolver: impl Resolver + 'static) -> Self {
            self.common().outgoing.resolver = Some(Arc::new(resolver));
            self
        }

        /// Sets the local address of outgoing connections, one for each family. A family without
        /// one is left to the system.
        pub fn source_address(mut self, address: impl Into<IpAddr>) -> Self {
            let sockets = &mut self.common().outgoing.sockets;
            match address.into() {
                IpAddr::V4(address) => sockets.source_v4 = Some(address),
                IpAddr::V6(address) => sockets.source_v6 = Some(address),
            }
            self
        }

        /// Binds outgoing connections to a network interface (`SO_BINDTODEVICE`), on Linux and
        /// Android. Kernels before 5.7 allow it to privileged processes alone.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        pub fn interface(mut self, name: impl Into<String>) -> Self {
            self.common().outgoing.sockets.interface = Some(name.into());
            self
        }

        /// Marks the packets of outgoing connections for routing and filters (`SO_MARK`), on Linux
        /// and Android. It needs `CAP_NET_ADMIN`. A VPN program that has to protect a socket
        /// does so in [`DialHook::prepare`](crate::DialHook::prepare).
        #[cfg(any(target_os = "android", target_os = "linux"))]
        pub fn mark(mut self, mark: u32) -> Self {
            self.common().outgoing.sockets.mark = Some(mark);
            self
        }

        /// Which addresses the module may choose by itself (`water_dial`); none by default.
        pub fn policy(mut self, policy: AddressPolicy) -> Self {
            self.common().outgoing.policy = Arc::new(policy);
            self
        }

        /// Sets the maximum time for one outgoing connection, over all addresses of its name; 10
        /// seconds by default.
        pub fn connect_timeout(mut self, timeout: Duration) -> Self {
            self.common().outgoing.timeout = timeout;
            self
        }

        /// Sets the maximum time for the whole set-up of a transport: instantiating the module,
        /// connecting, and the handshake; 30 seconds by default.
        pub fn setup_timeout(mut self, timeout: Duration) -> Self {
            self.common().setup_timeout = timeout;
            self
        }

        /// Sets the time that a transport has to end after a close; 3 seconds by default. The first
        /// half is for what was written before. Then the control pipe tells the transport to end, and
        /// after the second half it is interrupted.
        pub fn close_grace(mut self, grace: Duration) -> Self {
            self.common().close_grace = grace;
            self
        }

        /// Sets the maximum time to deliver what a transport wrote before it ended by itself; 30
        /// seconds by default. It starts anew while a plain connection that is carried takes bytes.
        pub fn drain_timeout(mut self, timeout: Duration) -> Self {
            self.common().drain_timeout = timeout;
            self
        }

        /// Sets the idle time after which the system probes a TCP peer; 60 seconds by default, at least
        /// one second. The probe is repeated after the same time, but after no more than 15 seconds.
        /// When several probes in a row get no answer (nine on Linux), the connection ends and the
        /// module gets `ETIMEDOUT`. Without probes (`None`), a vanished peer is noticed only when it
        /// does not accept bytes, and a connection that only receives stays for ever. Sockets that have
        /// their own setting keep it.
        pub fn keepalive(mut self, idle: Option<Duration>) -> Self {
            self.common().keepalive = idle;
            self
        }

        /// Sets the maximum size of the linear memory of an instance in bytes, rounded down to pages of
        /// 64 KiB; 256 MiB by default.
        pub fn memory_limit(mut self, bytes: u64) -> Self {
            self.common().memory_limit = bytes;
            self
        }

        /// Sets how many bytes of memory an instance has from the start beyond what its module asks
        /// for, rounded down to pages of 64 KiB; 1.5 MiB by default. It is at most half of what the
        /// module and the memory limit let the memory grow.
        ///
        /// A garbage collector runs more rarely in a larger heap, and some take as their heap whatever
        /// memory is there when the module starts. Pages that the module does not touch cost nothing.
        pub fn memory_headroom(mut self, bytes: u64) -> Self {
            self.common().memory_headroom = bytes;
            self
        }

        /// Sets the maximum number of descriptors of an instance, from 3 to 480; 64 by default. The
        /// internal descriptor, the control pipe, network connections, and the files and directories
        /// that the module opens count towards it. The standard streams and the directories that it was
        /// given do not.
        pub fn descriptor_limit(mut self, count: usize) -> Self {
            self.common().descriptor_limit = count;
            self
        }

        /// Sets the number of instances that are kept ready for new connections, up to 1,024; 0 by
        /// default. They have run `watm_init_v1` already, so a new connection only dials. Each takes
        /// about as much as an idle connection: memory, a thread and two descriptors. A connection
        /// makes its own instance if none is ready, or if it has its own configuration
        /// ([`crate::DialOptions::config`]).
        pub fn spare_instances(mut self, instances: usize) -> Self {
            self.common().spare_instances = instances;
            self
        }

        /// Sets the maximum number of instances per second with which the pool is refilled, one after
        /// the other; 200 by default, at least 1.
        pub fn spare_refill_rate(mut self, per_second: u32) -> Self {
            self.common().spare_refill_rate = per_second;
            self
        }

        /// Sets whether a module that asks for it may have the host encrypt and decrypt
        /// (`watm_ext_aead_v1`); on by default. Otherwise, the module uses its own cipher, as it does
        /// on hosts without this extension.
        /// [`ModuleInfo::host_aead`](crate::ModuleInfo::host_aead) says whether a module asks.
        #[cfg(feature = "aead")]
        pub fn host_aead(mut self, on: bool) -> Self {
            self.common().host_aead = on;
            self
        }

        /// Sets whether connections measure how long the module and the host work, for
        /// [`crate::ConnStats`]; off by default. It reads the clock twice in each call of the module,
        /// which takes about 50 ns.
        pub fn timing(mut self, on: bool) -> Self {
            self.common().timing = on;
            self
        }

        /// Tells `observer` of the stages of each connection, whoever holds it.
        pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
            self.common().observer = Some(Arc::new(observer));
            self
        }

        /// Watches what the module asks of the host, and can make streams answer as those of other hosts
        /// do. Each call of the module then takes several looks at the clock.
        pub fn call_hook(mut self, hook: impl CallHook + 'static) -> Self {
            self.common().call_hook = Some(Arc::new(hook));
            self
        }
    };
}
pub(super) use setters;

/// Settings that a program makes once and gives to several roles or modules, with
/// [`Builder::settings`](crate::Builder::settings). Each [`Builder`](crate::Builder) has the same
/// setters.
///
/// ```
/// use std::time::Duration;
/// use watm_wasmer::{Dialer, Listener, Settings, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let settings = Settings::new()
///     .config(*b"key")
///     .connect_timeout(Duration::from_secs(5))
///     .close_grace(Duration::from_secs(1))
///     .drain_timeout(Duration::from_secs(10));
/// let module = TransportModule::from_file(file)?;
/// let dialer = Dialer::builder(&module).settings(&settings).build()?;
/// let listener = Listener::builder(&module).settings(&settings).bind("127.0.0.1:0")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Settings(pub(super) Common);

impl Settings {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    setters!();

    fn common(&mut self) -> &mut Common {
        &mut self.0
    }
}

impl fmt::Debug for Settings {
    /// Without the configuration, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("policy", &self.0.outgoing.policy)
            .field("connect_timeout", &self.0.outgoing.timeout)
            .field("setup_timeout", &self.0.setup_timeout)
            .finish_non_exhaustive()
    }
}
