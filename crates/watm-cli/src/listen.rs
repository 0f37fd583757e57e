//! `watm listen`: accepts connections, unwraps them through a module, and forwards them to a plain
//! server or to standard input and output.

use watm_wasmer::{AcceptError, Builder, Listener, Role, Server};

use crate::args::{ListenArgs, TransportArgs};
use crate::carry::signals::Signals;
use crate::carry::stdio::{self, Stdio};
use crate::carry::{open_files, serve};
use crate::from_file::{FromFile, missing, stdio_is_taken};
use crate::monitor::Single;
use crate::needs::Collected;
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
    let asked = file.asked(args);
    let forward = file.forward(args.forward.as_ref());
    let is_stdio = forward.is_none() && asked.is_none();
    if is_stdio && run.transport.inherit_stdio {
        return Err(stdio_is_taken("--forward"));
    }
    if !is_stdio && args.keep_open {
        let message = "--keep-open is for a connection on standard input and output, but the \
            configuration file says where to forward to";
        return Err(Failure::new(message));
    }
    let mut needs = Collected::of_tunnel((&file, source), &args.serve.module, &args.run);
    needs.listen(&listen);
    needs.connect([forward.as_ref()]);
    if asked.is_some() {
        needs.connect_by_name();
    }
    if !is_stdio {
        needs.read_again();
    }
    needs.confine(args.run.confine)?;
    let metrics = &args.run.metrics;
    let monitor = Single::of_server(metrics, file.name(), Role::Listener, !is_stdio)?;
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
    let is_open = asked.is_some();
    let server = match (asked, &forward) {
        (Some(policy), _) => builder.forward_where_asked(policy),
        (None, Some(target)) => builder.forward_to(target),
        (None, None) => {
            let signals = Signals::install()?;
            let listener = builder.spare_instances(0).bind_all(&listen)?;
            announce(listener.listening_on(), args.serve.quiet)?;
            return carry_one(args, &run.transport, listener, &signals);
        }
    };
    let signals = Signals::install_for_server()?;
    let bound = monitor.bind()?;
    let limit = file.connection_limit(args.max_connections);
    let server = fronts(&file, args, server.connection_limit(limit));
    let server = server.bind_all(&listen)?.spawn()?;
    announce(server.listening_on(), args.serve.quiet)?;
    serve::until_stopped(server, bound, &signals, &run, &|server| {
        server.replace(made(&FromFile::read(source, Role::Listener)?)?)?;
        if is_open {
            log::warn!(
                "where clients may go stays as it was until a restart; `watm run` changes it"
            );
        }
        Ok(())
    })
}

/// Has the server know its clients from a balancer, and tell who they are.
fn fronts(file: &FromFile, args: &ListenArgs, mut server: Builder<Server>) -> Builder<Server> {
    if file.proxy_protocol(args.serve.proxy_protocol) {
        server = server.proxy_protocol();
    }
    match file.send_proxy_protocol(args.send_proxy_protocol) {
        Some(version) => server.forward_hook(version),
        None => server,
    }
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
