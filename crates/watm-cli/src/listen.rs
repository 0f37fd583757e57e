//! `watm listen`: accepts connections, unwraps them through a module, and forwards them to a plain
//! server or to standard input and output.

use watm_wasmer::{AcceptError, Builder, Listener};

use crate::args::ListenArgs;
use crate::carry::signals::Signals;
use crate::carry::stdio::{self, Stdio};
use crate::carry::{open_files, serve};
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;

pub(crate) fn run(args: &ListenArgs) -> Result<(), Failure> {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let builder = builder(args)?.handshake_limit(count(args.serve.handshake_limit));
    open_files::raise_limit();
    let Some(target) = &args.forward else {
        let signals = Signals::install()?;
        let listener = builder.bind_all(&args.serve.listen)?;
        announce(listener.local_addrs(), args.serve.quiet)?;
        return carry_one(args, listener, &signals);
    };
    let signals = Signals::install_for_server()?;
    let server = builder
        .forward_to(target.as_str())
        .connection_limit(count(args.max_connections))
        .bind_all(&args.serve.listen)?
        .spawn()?;
    announce(server.local_addrs(), args.serve.quiet)?;
    let grace = args.run.transport.close_grace;
    serve::until_stopped(server, &signals, grace, &|server| {
        Ok(server.replace(self::builder(args)?)?)
    })
}

/// What connections are made with: the module and its settings as they are now.
fn builder(args: &ListenArgs) -> Result<Builder<Listener>, Failure> {
    let module = setup::load(&args.serve.module, &args.run.load)?;
    let stock = args.forward.as_ref().map_or(0, |_| args.run.stock.into());
    Ok(setup::configure_run(Listener::builder(&module), &args.run)?.stock(stock))
}

/// Carries the first connection on standard input and output.
fn carry_one(args: &ListenArgs, listener: Listener, signals: &Signals) -> Result<(), Failure> {
    let accepted = stdio::set_up(signals, move || {
        let conn = listener.accept();
        // Standard input and output can carry only one connection.
        listener.close();
        conn.map_err(|error: AcceptError| error.into())
    })?;
    let stdio = Stdio {
        keep_open: args.keep_open,
        patience: args.run.transport.drain_timeout,
        shared: args.run.transport.inherit_stdio,
    };
    match accepted {
        Some(conn) => stdio.carry(conn, signals),
        // A signal came before any connection, so nothing is incomplete.
        None => Ok(()),
    }
}
