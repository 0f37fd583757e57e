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
    let module = setup::load(&args.module, &args.run.load)?;
    let (accept, transport) = (&args.accept, &args.run.transport);
    let dialer = setup::configure(Dialer::builder(&module), transport)?;
    if !accept.listen.is_empty() {
        let server = dialer
            .stock(args.run.stock.into())
            .carry_to(args.remote.as_str());
        return serve(server, accept, transport);
    }
    let (dialer, remote) = (dialer.build()?, args.remote.clone());
    carry_one(accept, transport, move || Ok(dialer.dial(remote.as_str())?))
}

/// `watm dial-fixed`.
pub(crate) fn run_fixed(args: &DialFixedArgs) -> Result<(), Failure> {
    let module = setup::load(&args.module, &args.run.load)?;
    let (accept, transport) = (&args.accept, &args.run.transport);
    let dialer = setup::configure(FixedDialer::builder(&module), transport)?
        .policy(AddressPolicy::from(&args.policy));
    if !accept.listen.is_empty() {
        let server = dialer.stock(args.run.stock.into()).carry();
        return serve(server, accept, transport);
    }
    let dialer = dialer.build()?;
    carry_one(accept, transport, move || Ok(dialer.dial()?))
}

/// Dials for every plain connection until a signal arrives.
fn serve(
    server: Builder<Server>,
    accept: &AcceptArgs,
    transport: &TransportArgs,
) -> Result<(), Failure> {
    let signals = Signals::install()?;
    open_files::raise_limit();
    let limit = usize::try_from(accept.max_connections).unwrap_or(usize::MAX);
    let server = server.connection_limit(limit);
    let server = server.bind_all(&accept.listen)?.spawn()?;
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
