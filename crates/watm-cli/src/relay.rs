//! `watm relay`: accepts connections and relays each one through a module to a remote. The library
//! moves the bytes.

use watm_wasmer::{Builder, Relay, Role};

use crate::args::RelayArgs;
use crate::carry::signals::Signals;
use crate::carry::{open_files, serve};
use crate::from_file::{FromFile, missing};
use crate::monitor::Single;
use crate::needs::Collected;
use crate::setup;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;

pub(crate) fn run(args: &RelayArgs) -> Result<(), Failure> {
    let source = &args.serve.source;
    let file = FromFile::read(source, Role::Relay)?;
    let mut run = args.run.clone();
    file.complete(&mut run);
    let listen = file.listen(&args.serve.listen);
    if listen.is_empty() {
        return Err(missing("where to listen", "--listen", source));
    }
    let remote = file.remote(args.remote.as_ref());
    let mut needs = Collected::of_tunnel((&file, source), &args.serve.module, &args.run);
    needs.listen(&listen);
    needs.connect([remote.as_ref()]);
    if remote.is_none() {
        needs.connect_by_name();
    }
    needs.read_again();
    needs.confine(args.run.confine)?;
    let monitor = Single::install(&args.run.metrics, file.name(), Role::Relay)?;
    let role = (Role::Relay, Relay::builder as fn(&_) -> _);
    let module = &args.serve.module[..];
    let made = |file: &FromFile| -> Result<Builder<Relay>, Failure> {
        let policy = Some(&args.policy);
        let builder = setup::builder((file, source), module, &args.run, policy, role)?;
        Ok(monitor.observe(builder))
    };
    let mut builder = made(&file)?.connection_limit(file.connection_limit(args.max_connections));
    if file.lacks("handshake_limit") {
        let limit = args.serve.handshake_limit;
        builder = builder.handshake_limit(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    if let Some(remote) = remote {
        builder = builder.remote(remote.as_str());
    }
    if file.proxy_protocol(args.serve.proxy_protocol) {
        builder = builder.proxy_protocol();
    }
    let signals = Signals::install_for_server()?;
    open_files::raise_limit();
    let bound = monitor.bind()?;
    let relay = builder.bind_all(&listen)?.spawn()?;
    announce(relay.listening_on(), args.serve.quiet)?;
    serve::until_stopped(relay, bound, &signals, &run, &|relay| {
        Ok(relay.replace(made(&FromFile::read(source, Role::Relay)?)?)?)
    })
}
