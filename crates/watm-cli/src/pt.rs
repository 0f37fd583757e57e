//! `watm pt`: a pluggable transport of Tor. Standard output is for whoever has started it, and so
//! nothing else is printed there.

mod arguments;
mod environment;
mod extended;
mod lines;
pub(crate) mod logging;
mod scrub;
mod status;

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, bounded, select};
use watm_wasmer::{
    Builder, Config, DialOptions, Dialer, Listener, PlainRequest, ProxyRefusal, ProxyRequest,
    ProxyServer, Role, Server, ServerHandle, Tunnel, UpstreamProxy,
};

use self::environment::{ClientSide, Environment, ServerSide, Side, Unusable};
use self::extended::ExtendedPort;
use self::lines::{rest, say};
use self::status::Status;
use crate::args::{PtArgs, ServerArg, TransportName};
use crate::carry::open_files;
use crate::carry::signals::Signals;
use crate::needs::Collected;
use crate::plugin_options::{Pair, escaped};
use crate::setup;
use crate::terminal::failure::Failure;

pub(crate) fn run(args: &PtArgs) -> Result<(), Failure> {
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(Unusable::Version) => {
            say("VERSION-ERROR no-version");
            let message = "none of the versions in TOR_PT_MANAGED_TRANSPORT_VER is known";
            return Err(Failure::new(message).hint("this program speaks version 1"));
        }
        Err(Unusable::Environment(message)) => {
            say(format_args!("ENV-ERROR {}", rest(&message)));
            let hint = "tor starts this command, and sets these variables: see `watm pt --help`";
            return Err(Failure::new(message).hint(hint));
        }
    };
    say("VERSION 1");
    let unusable = |failure: &Failure| {
        say(format_args!("ENV-ERROR {}", rest(&failure.text())));
    };
    let transports = Transports::read(args, &environment).inspect_err(unusable)?;
    transports.confine().inspect_err(unusable)?;
    let signals = Signals::install()?;
    open_files::raise_limit();
    let servers = match &environment.side {
        Side::Client(client) => transports.clients(client)?,
        Side::Server(server) => transports.servers(server, &args.server_arg),
    };
    if servers.is_empty() {
        return Err(Failure::new("none of the transports can be used"));
    }
    let failures = watch(&servers)?;
    let no_input = if environment.ends_with_stdin {
        end_of_input()?
    } else {
        crossbeam_channel::never()
    };
    select! {
        recv(signals.first) -> name => match name {
            // It means that no more clients are taken, and that this ends with the last of them.
            Ok("SIGINT") => serve_the_last(&servers, &no_input),
            name => log::info!("{}: ending", name.unwrap_or("no more signals")),
        },
        recv(no_input) -> _ => log::info!("standard input has ended: ending"),
        recv(failures) -> error => log::error!(
            "ending, since a transport accepts no more connections: {}",
            error.unwrap_or_default()
        ),
    }
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| server.shutdown());
        }
    });
    Ok(())
}

/// Reports a server that can accept no more.
fn watch(servers: &[Arc<ServerHandle>]) -> Result<Receiver<String>, Failure> {
    let (sender, failures) = bounded(servers.len());
    for server in servers {
        let (server, sender) = (Arc::clone(server), sender.clone());
        thread::Builder::new()
            .name("watm-accepting".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                if let Err(error) = server.wait() {
                    let _ = sender.send(error.to_string());
                }
            })
            .map_err(|error| Failure::because("cannot start a thread", error))?;
    }
    Ok(failures)
}

/// Reports the end of standard input.
fn end_of_input() -> Result<Receiver<()>, Failure> {
    let (sender, ended) = bounded(1);
    thread::Builder::new()
        .name("watm-stdin".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let mut buffer = [0; 256];
            let mut input = io::stdin();
            loop {
                match input.read(&mut buffer) {
                    Ok(0) => break,
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                    _ => {}
                }
            }
            let _ = sender.send(());
        })
        .map(|_| ended)
        .map_err(|error| Failure::because("cannot start a thread", error))
}

/// Accepts nobody any more, and waits for the clients that are there, unless the input ends.
fn serve_the_last(servers: &[Arc<ServerHandle>], no_input: &Receiver<()>) {
    log::info!("SIGINT: taking no more clients");
    for server in servers {
        server.stop_accepting();
    }
    let pause = std::time::Duration::from_millis(200);
    while !servers.iter().all(|server| server.drain(pause)) && no_input.is_empty() {}
}

/// The transports that can be asked for.
struct Transports<'a> {
    args: &'a PtArgs,
    environment: &'a Environment,
    config: Option<Config>,
}

/// Where the settings of a transport come from.
enum Source<'a> {
    Option(&'a TransportName),
    Tunnel(&'a Tunnel),
}

impl<'a> Transports<'a> {
    fn read(args: &'a PtArgs, environment: &'a Environment) -> Result<Self, Failure> {
        if !args.transport_options.config.is_empty() {
            let message = "--config names no transport";
            let hint = "write it as --transport NAME=MODULE,config=FILE";
            return Err(Failure::new(message).hint(hint));
        }
        let config = args
            .config_file
            .as_ref()
            .map(Config::from_file)
            .transpose()?;
        for tunnel in config.iter().flat_map(Config::tunnels) {
            let says_more = tunnel.is_proxy()
                || tunnel.asked().is_some()
                || tunnel.sends_proxy_protocol().is_some();
            if says_more {
                let name = tunnel.name().unwrap_or_default();
                let message = format!("the tunnel {name} says where clients go, but tor does");
                let hint = "leave out `socks`, `open_proxy` and `send_proxy_protocol`";
                return Err(Failure::new(message).hint(hint));
            }
        }
        Ok(Self {
            args,
            environment,
            config,
        })
    }

    /// Confines the command to the files that were named, and the ports that tor wants.
    fn confine(&self) -> Result<(), Failure> {
        let load = self.load_args();
        let mut needs = Collected::default();
        needs.load(&load);
        needs.transport(&self.args.transport_options);
        for transport in &self.args.transport {
            needs.module(&transport.module, &load);
            needs.file(transport.config.as_deref());
        }
        needs.file(self.args.config_file.as_deref());
        for tunnel in self.config.iter().flat_map(Config::tunnels) {
            needs.tunnel(tunnel, &load);
        }
        match &self.environment.side {
            Side::Client(_) => needs.connect_by_name(),
            Side::Server(server) => {
                let addresses = server.transports.iter().filter_map(|(_, address)| *address);
                addresses.for_each(|address| needs.port(address.port()));
                needs.file(server.extended.as_ref().map(|(_, cookie)| &**cookie));
            }
        }
        needs.confine(self.args.confine)
    }

    /// The source of a transport in a role.
    fn source(&self, name: &str, role: Role) -> Option<Source<'_>> {
        let option = self
            .args
            .transport
            .iter()
            .find(|transport| transport.name == name);
        if let Some(option) = option {
            return Some(Source::Option(option));
        }
        let mut tunnels = self.config.as_ref()?.tunnels().iter();
        let fits = |tunnel: &&Tunnel| tunnel.name() == Some(name) && tunnel.role() == Some(role);
        tunnels.find(fits).map(Source::Tunnel)
    }

    /// Where modules are kept compiled: in the directory of the state, unless an option says otherwise.
    fn load_args(&self) -> crate::args::LoadArgs {
        let mut load = self.args.load.clone();
        let state = self.environment.state.join("watm");
        if load.cache.cache_dir.is_none() && !load.no_cache {
            match private_directory(&state) {
                Ok(()) => load.cache.cache_dir = Some(state),
                Err(error) => {
                    log::warn!(
                        "compiled modules are not stored in {}: {error}",
                        state.display()
                    );
                    load.no_cache = true;
                }
            }
        }
        load
    }

    fn dialer(
        &self,
        source: &Source<'_>,
        proxy: Option<&UpstreamProxy>,
    ) -> Result<Builder<Dialer>, Failure> {
        let load = self.load_args();
        match source {
            Source::Option(option) => {
                let module = setup::load(&option.module, &load)?;
                let builder =
                    setup::configure(Dialer::builder(&module), &self.args.transport_options)?;
                // Without a file the configuration is that of a bridge line, and a spare instance
                // would be set up without one.
                let spare = usize::from(option.config.is_some());
                let builder = with_config(builder, option)?.spare_instances(spare);
                Ok(match proxy {
                    Some(proxy) => builder.dial_hook(proxy.clone()),
                    None => builder,
                })
            }
            Source::Tunnel(tunnel) => {
                if !tunnel.below().is_empty() && !self.environment.bind_addresses.is_empty() {
                    let message = "a chain of modules cannot have the addresses of \
                        TOR_PT_OUTBOUND_BIND_ADDRESS_V4 and _V6; set `source_addresses`";
                    return Err(Failure::new(message));
                }
                let loader = setup::loader(&tunnel.module_file(), &load)?;
                let mut tunnel = (*tunnel).clone().loader(loader);
                if let Some(proxy) = proxy {
                    // The module next to the network uses it.
                    tunnel = tunnel.proxy(proxy.clone());
                }
                Ok(tunnel.dialer()?)
            }
        }
    }

    fn listener(&self, source: &Source<'_>) -> Result<Builder<Listener>, Failure> {
        let load = self.load_args();
        match source {
            Source::Option(option) => {
                let module = setup::load(&option.module, &load)?;
                let builder =
                    setup::configure(Listener::builder(&module), &self.args.transport_options)?;
                with_config(builder, option).map(|builder| builder.spare_instances(4))
            }
            Source::Tunnel(tunnel) => {
                let loader = setup::loader(&tunnel.module_file(), &load)?;
                Ok((*tunnel).clone().loader(loader).listener()?)
            }
        }
    }

    fn status(&self, name: &str) -> Status {
        Status {
            transport: name.to_owned(),
        }
    }

    /// Starts the transports that a client asks for.
    fn clients(&self, client: &ClientSide) -> Result<Vec<Arc<ServerHandle>>, Failure> {
        match &client.proxy {
            None => {}
            Some(Ok(_)) => say("PROXY DONE"),
            Some(Err(error)) => {
                say(format_args!("PROXY-ERROR {}", rest(error)));
                return Err(Failure::new(format!("TOR_PT_PROXY: {error}")));
            }
        }
        let mut servers = Vec::new();
        for name in &client.transports {
            match self.client(name, client) {
                Ok(server) => {
                    let address = server.local_addr();
                    say(format_args!("CMETHOD {name} socks5 {address}"));
                    servers.push(Arc::new(server));
                }
                Err(failure) => {
                    say(format_args!(
                        "CMETHOD-ERROR {name} {}",
                        rest(&failure.text())
                    ));
                }
            }
        }
        say("CMETHODS DONE");
        Ok(servers)
    }

    fn client(&self, name: &str, client: &ClientSide) -> Result<ServerHandle, Failure> {
        let source = self.source(name, Role::Dialer).ok_or_else(unknown)?;
        let proxy = client.proxy.as_ref().and_then(|proxy| proxy.as_ref().ok());
        let mut builder = self.dialer(&source, proxy)?.observer(self.status(name));
        for address in &self.environment.bind_addresses {
            builder = builder.source_address(*address);
        }
        let base = builder.configuration().map(<[u8]>::to_vec);
        let proxy = ProxyServer::new()
            .only_socks5()
            .decide(move |request| asked(base.as_deref(), request));
        let server = limited(builder.front(proxy), &source);
        Ok(server.bind("127.0.0.1:0")?.spawn()?)
    }

    /// Starts the transports that a server asks for.
    fn servers(&self, server: &ServerSide, args: &[ServerArg]) -> Vec<Arc<ServerHandle>> {
        let mut servers = Vec::new();
        for (name, address) in &server.transports {
            let options = server.options.get(name).map_or(&[][..], Vec::as_slice);
            let address = address.map_or("0.0.0.0:0".to_owned(), |address| address.to_string());
            match self.server(name, &address, options, server) {
                Ok(running) => {
                    let address = running.local_addr();
                    let args = published(name, args);
                    say(format_args!("SMETHOD {name} {address}{args}"));
                    servers.push(Arc::new(running));
                }
                Err(failure) => {
                    say(format_args!(
                        "SMETHOD-ERROR {name} {}",
                        rest(&failure.text())
                    ));
                }
            }
        }
        say("SMETHODS DONE");
        servers
    }

    fn server(
        &self,
        name: &str,
        address: &str,
        options: &[Pair],
        server: &ServerSide,
    ) -> Result<ServerHandle, Failure> {
        let source = self.source(name, Role::Listener).ok_or_else(unknown)?;
        let mut builder = self.listener(&source)?.observer(self.status(name));
        if !options.is_empty() {
            let config = arguments::configuration(builder.configuration(), options);
            builder = builder.config(config);
        }
        let server = match (&server.extended, server.or_port) {
            (Some((port, cookie)), _) => builder.forward_to(*port).forward_hook(ExtendedPort {
                transport: name.to_owned(),
                cookie: cookie.clone(),
            }),
            (None, Some(port)) => builder.forward_to(port),
            (None, None) => return Err(Failure::new("there is no OR port")),
        };
        Ok(limited(server, &source).bind(address)?.spawn()?)
    }
}

/// Applies what a tunnel says of its clients.
fn limited(mut server: Builder<Server>, source: &Source<'_>) -> Builder<Server> {
    let Source::Tunnel(tunnel) = source else {
        return server;
    };
    if let Some(limit) = tunnel.connection_limit() {
        server = server.connection_limit(limit);
    }
    if tunnel.expects_proxy_protocol() {
        server = server.proxy_protocol();
    }
    server
}

fn unknown() -> Failure {
    Failure::new("no such transport is configured")
}

/// Sets the configuration of a transport.
fn with_config<R>(builder: Builder<R>, option: &TransportName) -> Result<Builder<R>, Failure> {
    Ok(match &option.config {
        Some(path) => builder.config(setup::read_config(path, "--transport")?),
        None => builder,
    })
}

/// What a client of SOCKS is connected to, and with which configuration.
fn asked(base: Option<&[u8]>, request: ProxyRequest<'_>) -> Result<PlainRequest, ProxyRefusal> {
    let plain = PlainRequest::to(request.target);
    let Some((user, password)) = request.credentials else {
        return Ok(plain);
    };
    let arguments = arguments::of_credentials(user, password).map_err(ProxyRefusal)?;
    if arguments.is_empty() {
        return Ok(plain);
    }
    let config = arguments::configuration(base, &arguments);
    Ok(plain.options(DialOptions::new().config(config)))
}

/// The arguments that tor publishes for a transport.
fn published(name: &str, args: &[ServerArg]) -> String {
    let of_name = args.iter().filter(|arg| arg.transport == name);
    let pairs: Vec<String> = of_name
        .map(
            |ServerArg {
                 arg: (key, value), ..
             }| {
                let [key, value] = [key, value.as_deref().unwrap_or_default()]
                    .map(|text| escaped(text, &['=', ',']));
                format!("{key}={value}")
            },
        )
        .collect();
    if pairs.is_empty() {
        return String::new();
    }
    format!(" ARGS:{}", pairs.join(","))
}

/// Makes a directory that only the user can look into.
fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}
