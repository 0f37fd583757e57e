//! `watm dial` and `watm dial-fixed`: carry plain connections, or standard input and output,
//! through a module to a server.

use watm_wasmer::{AddressPolicy, Builder, Conn, Dialer, FixedDialer, ListenAddress, Role, Server};

use crate::args::{AcceptArgs, DialArgs, DialFixedArgs, RunArgs, TransportArgs};
use crate::carry::signals::Signals;
use crate::carry::stdio::{self, Stdio};
use crate::carry::{open_files, serve};
use crate::from_file::{FromFile, missing, stdio_is_taken};
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;

/// `watm dial`.
pub(crate) fn run(args: &DialArgs) -> Result<(), Failure> {
    let file = FromFile::read(&args.source, Role::Dialer)?;
    let remote = file.remote(args.remote.as_ref());
    let remote = remote.ok_or_else(|| missing("which server to dial", "--remote", &args.source))?;
    let accept = &args.accept;
    let (run, listen) = prepare(&file, accept, args.run.clone())?;
    let module = file.load(args.module.as_deref(), &args.source, &run.load)?;
    let transport = &run.transport;
    let dialer = setup::configure_from(&file, file.apply(Dialer::builder(&module))?, transport)?;
    if !listen.is_empty() {
        let server = setup::stock(&file, dialer, run.stock).carry_to(remote.as_str());
        return serve(&file, server, &listen, accept, transport);
    }
    let dialer = dialer.stock(0).build()?;
    carry_one(accept, transport, move || Ok(dialer.dial(remote.as_str())?))
}

/// `watm dial-fixed`.
pub(crate) fn run_fixed(args: &DialFixedArgs) -> Result<(), Failure> {
    let file = FromFile::read(&args.source, Role::FixedDialer)?;
    let accept = &args.accept;
    let (run, listen) = prepare(&file, accept, args.run.clone())?;
    let module = file.load(args.module.as_deref(), &args.source, &run.load)?;
    let transport = &run.transport;
    let mut dialer =
        setup::configure_from(&file, file.apply(FixedDialer::builder(&module))?, transport)?;
    if file.lacks("policy") {
        dialer = dialer.policy(AddressPolicy::from(&args.policy));
    }
    if !listen.is_empty() {
        let server = setup::stock(&file, dialer, run.stock).carry();
        return serve(&file, server, &listen, accept, transport);
    }
    let dialer = dialer.stock(0).build()?;
    carry_one(accept, transport, move || Ok(dialer.dial()?))
}

/// The options completed by the file, and where to listen.
fn prepare(
    file: &FromFile,
    accept: &AcceptArgs,
    mut run: RunArgs,
) -> Result<(RunArgs, Vec<ListenAddress>), Failure> {
    file.complete(&mut run);
    let listen = file.listen(&accept.listen);
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

/// Dials for every plain connection until a signal arrives.
fn serve(
    file: &FromFile,
    server: Builder<Server>,
    listen: &[ListenAddress],
    accept: &AcceptArgs,
    transport: &TransportArgs,
) -> Result<(), Failure> {
    let signals = Signals::install()?;
    open_files::raise_limit();
    let server = server.connection_limit(file.connection_limit(accept.max_connections));
    let server = server.bind_all(listen)?.spawn()?;
    announce(server.local_addrs(), accept.quiet)?;
    serve::until_stopped(server, &signals, transport.close_grace)
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
    stdio.carry(conn, &signals)
}
