//! `watm dial` and `watm dial-fixed`: carry plain connections, or standard input and output,
//! through a module to a server.

use watm_wasmer::{AddressPolicy, Builder, Conn, Dialer, FixedDialer, Server};

use crate::args::{AcceptArgs, DialArgs, DialFixedArgs, TransportArgs};
use crate::carry::signals::Signals;
use crate::carry::stdio::{self, Stdio};
use crate::carry::{open_files, serve};
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;

/// `watm dial`.
pub(crate) fn run(args: &DialArgs) -> Result<(), Failure> {
    let (accept, transport) = (&args.accept, &args.run.transport);
    let builder = || {
        let module = setup::load(&args.module, &args.run.load)?;
        setup::configure_run(Dialer::builder(&module), &args.run)
    };
    if !accept.listen.is_empty() {
        let server = || {
            let dialer = builder()?.stock(args.run.stock.into());
            Ok(dialer.carry_to(args.remote.as_str()))
        };
        return serve(server, accept, transport);
    }
    let (dialer, remote) = (builder()?.build()?, args.remote.clone());
    carry_one(accept, transport, move || Ok(dialer.dial(remote.as_str())?))
}

/// `watm dial-fixed`.
pub(crate) fn run_fixed(args: &DialFixedArgs) -> Result<(), Failure> {
    let (accept, transport) = (&args.accept, &args.run.transport);
    let builder = || -> Result<_, Failure> {
        let module = setup::load(&args.module, &args.run.load)?;
        let dialer = setup::configure_run(FixedDialer::builder(&module), &args.run)?;
        Ok(dialer.policy(AddressPolicy::from(&args.policy)))
    };
    if !accept.listen.is_empty() {
        let server = || Ok(builder()?.stock(args.run.stock.into()).carry());
        return serve(server, accept, transport);
    }
    let dialer = builder()?.build()?;
    carry_one(accept, transport, move || Ok(dialer.dial()?))
}

/// Dials for every plain connection until a signal arrives. `server` reads the module and its
/// configuration as they are now.
fn serve(
    server: impl Fn() -> Result<Builder<Server>, Failure>,
    accept: &AcceptArgs,
    transport: &TransportArgs,
) -> Result<(), Failure> {
    let limit = usize::try_from(accept.max_connections).unwrap_or(usize::MAX);
    let running = server()?.connection_limit(limit);
    let signals = Signals::install_for_server()?;
    open_files::raise_limit();
    let running = running.bind_all(&accept.listen)?.spawn()?;
    announce(running.local_addrs(), accept.quiet)?;
    serve::until_stopped(running, &signals, transport.close_grace, &|running| {
        Ok(running.replace(server()?)?)
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
    stdio.carry(conn, &signals)
}
