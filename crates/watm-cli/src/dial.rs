//! `watm dial` and `watm dial-fixed`: carry plain connections, or standard input and output,
//! through a module to a server.

use watm_wasmer::{Builder, Conn, Dialer, FixedDialer, ListenAddress, ProxyServer, Role, Server};

use crate::args::{AcceptArgs, DialArgs, DialFixedArgs, RunArgs, TransportArgs};
use crate::carry::signals::Signals;
use crate::carry::stdio::{self, Stdio};
use crate::carry::{open_files, serve};
use crate::from_file::{FromFile, missing, stdio_is_taken};
use crate::monitor::{Monitor, Single};
use crate::needs::Collected;
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;

/// `watm dial`.
pub(crate) fn run(args: &DialArgs) -> Result<(), Failure> {
    let file = FromFile::read(&args.source, Role::Dialer)?;
    let remote = file.remote(args.remote.as_ref());
    let accept = &args.accept;
    let (run, listen) = prepare(&file, accept, args.run.clone())?;
    let mut needs = Collected::of_tunnel((&file, &args.source), &args.module, &args.run);
    needs.connect([remote.as_ref()]);
    if remote.is_none() {
        needs.connect_by_name();
    }
    confine(needs, accept, &listen, &args.run)?;
    let metrics = &args.run.metrics;
    let monitor = Single::of_server(metrics, file.name(), Role::Dialer, !listen.is_empty())?;
    let proxy = proxy(&file, accept)?;
    if remote.is_none() && proxy.is_none() {
        return Err(missing("which server to dial", "--remote", &args.source));
    }
    let builder = |file: &FromFile| {
        let (source, module) = (&args.source, &args.module[..]);
        let role = (Role::Dialer, Dialer::builder as fn(&_) -> _);
        let builder = setup::builder((file, source), module, &args.run, None, role)?;
        Ok::<_, Failure>(monitor.observe(builder))
    };
    if !listen.is_empty() {
        let server = |file: &FromFile| {
            let builder: Builder<Dialer> = builder(file)?;
            Ok(match (proxy.clone(), &remote) {
                (Some(proxy), None) => builder.front(proxy),
                (Some(proxy), Some(remote)) => builder.front(proxy.target_in_front(remote)),
                (None, Some(remote)) => builder.carry_to(remote),
                (None, None) => {
                    return Err(missing("which server to dial", "--remote", &args.source));
                }
            })
        };
        let again = || FromFile::read(&args.source, Role::Dialer);
        let run = (accept, &run);
        return serve((&file, &again), &server, &monitor, &listen, run);
    }
    let remote = remote.ok_or_else(|| missing("which server to dial", "--remote", &args.source))?;
    let dialer = builder(&file)?.spare_instances(0).build()?;
    carry_one(accept, &run.transport, move || {
        Ok(dialer.dial(remote.as_str())?)
    })
}

/// `watm dial-fixed`.
pub(crate) fn run_fixed(args: &DialFixedArgs) -> Result<(), Failure> {
    let file = FromFile::read(&args.source, Role::FixedDialer)?;
    let accept = &args.accept;
    let (run, listen) = prepare(&file, accept, args.run.clone())?;
    let mut needs = Collected::of_tunnel((&file, &args.source), &args.module, &args.run);
    needs.connect_by_name();
    confine(needs, accept, &listen, &args.run)?;
    let metrics = &args.run.metrics;
    let monitor = Single::of_server(metrics, file.name(), Role::FixedDialer, !listen.is_empty())?;
    let builder = |file: &FromFile| {
        let (source, module) = (&args.source, &args.module[..]);
        let role = (Role::FixedDialer, FixedDialer::builder as fn(&_) -> _);
        let policy = Some(&args.policy);
        let builder = setup::builder((file, source), module, &args.run, policy, role)?;
        Ok::<_, Failure>(monitor.observe(builder))
    };
    if !listen.is_empty() {
        let proxy = proxy(&file, accept)?.map(ProxyServer::only_in_front);
        let server = |file: &FromFile| {
            let builder: Builder<FixedDialer> = builder(file)?;
            let builder = builder.carry();
            Ok(match proxy.clone() {
                Some(proxy) => builder.front(proxy),
                None => builder,
            })
        };
        let again = || FromFile::read(&args.source, Role::FixedDialer);
        let run = (accept, &run);
        return serve((&file, &again), &server, &monitor, &listen, run);
    }
    let dialer = builder(&file)?.spare_instances(0).build()?;
    carry_one(accept, &run.transport, move || Ok(dialer.dial()?))
}

/// The proxy that plain clients find, if they find one.
fn proxy(file: &FromFile, accept: &AcceptArgs) -> Result<Option<ProxyServer>, Failure> {
    if accept.socks.is_empty() {
        return file.proxy_server();
    }
    let proxy = ProxyServer::new();
    let Some(path) = &accept.socks_auth else {
        // Another address is no reason to leave out a password of the file.
        return Ok(file.proxy_server()?.or(Some(proxy)));
    };
    proxy.credentials_file(path).map(Some).map_err(|error| {
        let message = format!(
            "cannot use the user name and password in {}",
            path.display()
        );
        Failure::because(message, error).hint("check the option --socks-auth")
    })
}

/// The options completed by the file, and where to listen.
fn prepare(
    file: &FromFile,
    accept: &AcceptArgs,
    mut run: RunArgs,
) -> Result<(RunArgs, Vec<ListenAddress>), Failure> {
    file.complete(&mut run);
    let options = if accept.socks.is_empty() {
        &accept.listen
    } else {
        &accept.socks
    };
    let listen = file.listen(options);
    if listen.is_empty() && run.transport.inherit_stdio {
        return Err(stdio_is_taken("--listen"));
    }
    if !listen.is_empty() && accept.keep_open {
        let message = "--keep-open is for a connection on standard input and output, but the \
            configuration file says where to listen";
        return Err(Failure::new(message));
    }
    Ok((run, listen))
}

/// Confines the command, which reads its files again only if it serves.
fn confine(
    mut needs: Collected,
    accept: &AcceptArgs,
    listen: &[ListenAddress],
    run: &RunArgs,
) -> Result<(), Failure> {
    needs.file(accept.socks_auth.as_deref());
    needs.listen(listen);
    if !listen.is_empty() {
        needs.read_again();
    }
    needs.confine(run.confine)
}

/// Dials for every plain connection until a signal arrives. `server` reads the module and all
/// settings as they are now; `again` reads the configuration file once more.
fn serve(
    (file, again): (&FromFile, &dyn Fn() -> Result<FromFile, Failure>),
    server: &dyn Fn(&FromFile) -> Result<Builder<Server>, Failure>,
    monitor: &Single<Monitor>,
    listen: &[ListenAddress],
    (accept, run): (&AcceptArgs, &RunArgs),
) -> Result<(), Failure> {
    let limit = file.connection_limit(accept.max_connections);
    let mut running = server(file)?.connection_limit(limit);
    if file.proxy_protocol(accept.proxy_protocol) {
        running = running.proxy_protocol();
    }
    let is_proxy = !accept.socks.is_empty() || file.is_proxy();
    let signals = Signals::install_for_server()?;
    open_files::raise_limit();
    let bound = monitor.bind()?;
    let running = running.bind_all(listen)?.spawn()?;
    announce(running.listening_on(), accept.quiet)?;
    serve::until_stopped(running, bound, &signals, run, &|running| {
        running.replace(server(&again()?)?)?;
        if is_proxy {
            log::warn!(
                "who may use the proxy stays as it was until a restart; `watm run` changes it"
            );
        }
        Ok(())
    })
}

/// Carries one connection on standard input and output.
fn carry_one(
    accept: &AcceptArgs,
    transport: &TransportArgs,
    dial: impl FnOnce() -> Result<Conn, Failure> + Send + 'static,
) -> Result<(), Failure> {
    let signals = Signals::install()?;
    let stdio = Stdio {
        keep_open: accept.keep_open,
        patience: transport.drain_timeout,
        shared: transport.inherit_stdio,
    };
    let conn = stdio::set_up(&signals, dial)?
        .ok_or_else(|| Failure::new("interrupted before the transport was set up"))?;
    let carried = stdio.carry(conn, &signals);
    // The modules below the first deliver on their own.
    watm_wasmer::drain(transport.drain_timeout);
    carried
}
