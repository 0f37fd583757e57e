//! `watm relay`: accepts connections and passes each on through a module to a remote. The bytes
//! never come here: the library moves them.

use watm_wasmer::{AddressPolicy, Relay};

use crate::announce::announce;
use crate::args::RelayArgs;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::{open_files, serve, setup};

pub(crate) fn run(args: &RelayArgs) -> Result<(), Failure> {
    let module = setup::load(&args.module, &args.load)?;
    let handshakes = usize::try_from(args.handshakes.handshake_limit).unwrap_or(usize::MAX);
    let mut builder = setup::configure(Relay::builder(&module), &args.transport)?
        .handshake_limit(handshakes)
        .stock(args.stock.stock.into())
        .policy(AddressPolicy::from(&args.policy));
    if let Some(remote) = &args.remote {
        builder = builder.remote(remote);
    }
    let signals = Signals::install()?;
    open_files::raise_limit();
    let relay = builder.bind(&args.listen)?.spawn()?;
    announce(relay.local_addr(), args.quiet)?;

    // The library does not tell when accepting has failed for good, it logs it: so the sender
    // only keeps the channel open.
    let (_never, failures) = serve::failures();
    let ended = serve::until_stopped(&signals, &failures);
    relay.shutdown();
    log::info!("relayed: {:?}", relay.stats());
    ended
}
