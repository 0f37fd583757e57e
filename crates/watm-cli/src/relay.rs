//! `watm relay`: accepts connections and relays each one through a module to a remote. The library
//! moves the bytes.

use watm_wasmer::{AddressPolicy, Builder, Relay};

use crate::args::RelayArgs;
use crate::carry::signals::Signals;
use crate::carry::{open_files, serve};
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;

pub(crate) fn run(args: &RelayArgs) -> Result<(), Failure> {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let mut builder = builder(args)?
        .handshake_limit(count(args.serve.handshake_limit))
        .connection_limit(count(args.max_connections));
    if let Some(remote) = &args.remote {
        builder = builder.remote(remote.as_str());
    }
    let signals = Signals::install_for_server()?;
    open_files::raise_limit();
    let relay = builder.bind_all(&args.serve.listen)?.spawn()?;
    announce(relay.local_addrs(), args.serve.quiet)?;
    let grace = args.run.transport.close_grace;
    serve::until_stopped(relay, &signals, grace, &|relay| {
        Ok(relay.replace(self::builder(args)?)?)
    })
}

/// What connections are made with: the module and its settings as they are now.
fn builder(args: &RelayArgs) -> Result<Builder<Relay>, Failure> {
    let module = setup::load(&args.serve.module, &args.run.load)?;
    let builder = setup::configure_run(Relay::builder(&module), &args.run)?;
    Ok(builder
        .stock(args.run.stock.into())
        .policy(AddressPolicy::from(&args.policy)))
}
