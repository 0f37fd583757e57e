//! `watm relay`: accepts connections and relays each one through a module to a remote. The library
//! moves the bytes.

use watm_wasmer::{AddressPolicy, Relay};

use crate::args::RelayArgs;
use crate::carry::signals::Signals;
use crate::carry::{open_files, serve};
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;

pub(crate) fn run(args: &RelayArgs) -> Result<(), Failure> {
    let module = setup::load(&args.serve.module, &args.run.load)?;
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let mut builder = setup::configure(Relay::builder(&module), &args.run.transport)?
        .handshake_limit(count(args.serve.handshake_limit))
        .connection_limit(count(args.max_connections))
        .stock(args.run.stock.into())
        .policy(AddressPolicy::from(&args.policy));
    if let Some(remote) = &args.remote {
        builder = builder.remote(remote.as_str());
    }
    let signals = Signals::install()?;
    open_files::raise_limit();
    let relay = builder.bind_all(&args.serve.listen)?.spawn()?;
    announce(relay.local_addrs(), args.serve.quiet)?;
    serve::until_stopped(relay, &signals, args.run.transport.close_grace)
}
