//! `watm dial` and `watm dial-fixed`: carry plain connections, or standard input and output,
//! through a module to a server.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use watm_wasmer::{AddressPolicy, Conn, DialError, Dialer, FixedDialer};

use crate::args::{AcceptArgs, DialArgs, DialFixedArgs, TransportArgs};
use crate::carry::accept::PlainListener;
use crate::carry::clients::{Busy, Clients, Place};
use crate::carry::serve::{Serving, report};
use crate::carry::signals::Signals;
use crate::carry::stdio::{self, Stdio};
use crate::carry::{open_files, plain};
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::{Failure, chain};

/// Dials one connection.
type Dial = dyn Fn() -> Result<Conn, DialError> + Send + Sync;

/// `watm dial`.
pub(crate) fn run(args: &DialArgs) -> Result<(), Failure> {
    let module = setup::load(&args.module, &args.run.load)?;
    let dialer = setup::configure(Dialer::builder(&module), &args.run.transport)?
        .stock(stock(&args.accept, args.run.stock))
        .build()?;
    let remote = args.remote.clone();
    let dial = Arc::new(move || dialer.dial(remote.as_str()));
    carry(dial, &args.accept, &args.run.transport)
}

/// The number of instances to keep ready: none if there is only one connection.
fn stock(accept: &AcceptArgs, stock: u16) -> usize {
    if accept.listen.is_empty() {
        0
    } else {
        stock.into()
    }
}

/// `watm dial-fixed`.
pub(crate) fn run_fixed(args: &DialFixedArgs) -> Result<(), Failure> {
    let module = setup::load(&args.module, &args.run.load)?;
    let dialer = setup::configure(FixedDialer::builder(&module), &args.run.transport)?
        .policy(AddressPolicy::from(&args.policy))
        .stock(stock(&args.accept, args.run.stock))
        .build()?;
    carry(
        Arc::new(move || dialer.dial()),
        &args.accept,
        &args.run.transport,
    )
}

fn carry(dial: Arc<Dial>, accept: &AcceptArgs, transport: &TransportArgs) -> Result<(), Failure> {
    let signals = Signals::install()?;
    if !accept.listen.is_empty() {
        return serve(dial, accept, transport, &signals);
    }
    let stdio = Stdio {
        keep_open: accept.keep_open,
        patience: transport.drain_timeout,
        shared: transport.inherit_stdio,
    };
    let conn = stdio::set_up(&signals, move || dial().map_err(Failure::from))?
        .ok_or_else(|| Failure::new("interrupted before the transport was set up"))?;
    stdio.carry(conn, &signals)
}

/// Dials for every plain connection until a signal arrives.
fn serve(
    dial: Arc<Dial>,
    accept: &AcceptArgs,
    transport: &TransportArgs,
    signals: &Signals,
) -> Result<(), Failure> {
    open_files::raise_limit();
    let (mut listener, closer) = PlainListener::bind(&accept.listen)?;
    announce(listener.local_addrs(), accept.quiet)?;

    let accept_one = move || {
        let accepted = listener.accept();
        let client =
            accepted.map_err(|error| Failure::because("cannot accept connections", error))?;
        if let Some(client) = &client {
            // In effect until the transport has ended in order. An end of stream could be mistaken
            // for an empty answer.
            plain::reset_on_drop(client);
        }
        Ok(client)
    };
    let patience = transport.drain_timeout;
    let clients = Clients::new(accept.max_connections);
    let serving = Serving::start(clients, accept_one, move |place, busy, client| {
        serve_one(&*dial, place, busy, client, patience);
    })?;
    let ended = serving.until_stopped(signals);
    closer.close();
    serving.stop(transport.close_grace, transport.close_grace);
    ended
}

fn serve_one(dial: &Dial, place: Place, busy: Busy, client: TcpStream, patience: Duration) {
    let name = plain::client_name(client.peer_addr());
    if let Err(error) = plain::prepare(&client) {
        log::info!("{name} was dropped: {error}");
        return;
    }
    match dial() {
        Ok(conn) => {
            log::debug!("{name}: dialled {conn:?}");
            place.carry(busy, conn, client, patience, |carried| {
                report(&name, carried);
            });
        }
        Err(error) => log::warn!("{name} was dropped: {}", chain(&error)),
    }
}
