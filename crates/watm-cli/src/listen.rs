//! `watm listen`: accepts connections, unwraps them through a module, and forwards them to a plain
//! server or to standard input and output.

use watm_wasmer::{AcceptError, Builder, Listener, Role};

use crate::args::{ListenArgs, TransportArgs};
use crate::carry::signals::Signals;
use crate::carry::stdio::{self, Stdio};
use crate::carry::{open_files, serve};
use crate::from_file::{FromFile, missing, stdio_is_taken};
use crate::monitor::Single;
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;

pub(crate) fn run(args: &ListenArgs) -> Result<(), Failure> {
    let source = &args.serve.source;
    let file = FromFile::read(source, Role::Listener)?;
    let mut run = args.run.clone();
    file.complete(&mut run);
    let listen = file.listen(&args.serve.listen);
    if listen.is_empty() {
        return Err(missing("where to listen", "--listen", source));
    }
    let forward = file.forward(args.forward.as_ref());
    if forward.is_none() && run.transport.inherit_stdio {
        return Err(stdio_is_taken("--forward"));
    }
    if forward.is_some() && args.keep_open {
        let message = "--keep-open is for a connection on standard input and output, but the \
            configuration file says where to forward to";
        return Err(Failure::new(message));
    }
    let metrics = &args.run.metrics;
    let monitor = Single::of_server(metrics, file.name(), Role::Listener, forward.is_some())?;
    let role = (Role::Listener, Listener::builder as fn(&_) -> _);
    let module = &args.serve.module[..];
    let made = |file: &FromFile| {
        let builder: Builder<Listener> =
            setup::builder((file, source), module, &args.run, None, role)?;
        let builder = monitor.observe(builder);
        Ok::<_, Failure>(match setup::acceptors_below(module, &run)? {
            Some(below) => builder.over(below),
            None => builder,
        })
    };
    let mut builder = made(&file)?;
    if file.lacks("handshake_limit") {
        let limit = args.serve.handshake_limit;
        builder = builder.handshake_limit(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    open_files::raise_limit();
    let Some(target) = &forward else {
        let signals = Signals::install()?;
        let listener = builder.spare_instances(0).bind_all(&listen)?;
        announce(listener.local_addrs(), args.serve.quiet)?;
        return carry_one(args, &run.transport, listener, &signals);
    };
    let signals = Signals::install_for_server()?;
    let bound = monitor.bind()?;
    let server = builder
        .forward_to(target.as_str())
        .connection_limit(file.connection_limit(args.max_connections))
        .bind_all(&listen)?
        .spawn()?;
    announce(server.local_addrs(), args.serve.quiet)?;
    let grace = run.transport.close_grace;
    serve::until_stopped(server, bound, &signals, grace, &|server| {
        Ok(server.replace(made(&FromFile::read(source, Role::Listener)?)?)?)
    })
}

/// Carries the first connection on standard input and output.
fn carry_one(
    args: &ListenArgs,
    transport: &TransportArgs,
    listener: Listener,
    signals: &Signals,
) -> Result<(), Failure> {
    let accepted = stdio::set_up(signals, move || {
        let conn = listener.accept();
        // Standard input and output can carry only one connection.
        listener.close();
        conn.map_err(|error: AcceptError| error.into())
    })?;
    let stdio = Stdio {
        keep_open: args.keep_open,
        patience: transport.drain_timeout,
        shared: transport.inherit_stdio,
    };
    match accepted {
        Some(conn) => {
            let carried = stdio.carry(conn, signals);
            // The modules below the first deliver on their own.
            watm_wasmer::drain(transport.drain_timeout);
            carried
        }
        // A signal came before any connection, so nothing is incomplete.
        None => Ok(()),
    }
}
