//! `watm listen`: accepts connections, unwraps them through a module, and forwards them to a plain
//! server or to standard input and output.

use watm_wasmer::plain::Connector;
use watm_wasmer::{AcceptError, Listener};

use crate::args::ListenArgs;
use crate::carry::clients::Clients;
use crate::carry::forward::Forward;
use crate::carry::open_files;
use crate::carry::signals::Signals;
use crate::carry::stdio::{self, Stdio};
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;

pub(crate) fn run(args: &ListenArgs) -> Result<(), Failure> {
    let module = setup::load(&args.serve.module, &args.run.load)?;
    let handshakes = usize::try_from(args.serve.handshake_limit).unwrap_or(usize::MAX);
    let stock = args.forward.as_ref().map_or(0, |_| args.run.stock.into());
    let builder = setup::configure(Listener::builder(&module), &args.run.transport)?
        .handshake_limit(handshakes)
        .stock(stock);
    let signals = Signals::install()?;
    open_files::raise_limit();
    let listener = builder.bind_all(&args.serve.listen)?;
    announce(listener.local_addrs(), args.serve.quiet)?;
    match &args.forward {
        Some(target) => forward(args, listener, target.as_str(), &signals),
        None => carry_one(args, listener, &signals),
    }
}

/// Forwards every connection until a signal arrives.
fn forward(
    args: &ListenArgs,
    listener: Listener,
    target: &str,
    signals: &Signals,
) -> Result<(), Failure> {
    let forward = Forward {
        target: target.to_owned(),
        connector: Connector::new(),
        connect_timeout: args.run.transport.connect_timeout,
        patience: args.run.transport.drain_timeout,
    };
    let forwarding = forward.start(listener, Clients::new(args.max_connections))?;
    let ended = forwarding.until_stopped(signals);
    forwarding.stop(args.run.transport.close_grace);
    ended
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
