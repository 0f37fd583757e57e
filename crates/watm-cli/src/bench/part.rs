//! What the other processes of a measurement run. The command's own modes run unchanged.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use signal_hook::consts::SIGTERM;
use signal_hook::low_level;
use watm_wasmer::plain;

use super::peer::{self, LOOPBACK};
use super::process::await_end_of_input;
use crate::args::{self, BenchArgs, BenchPart, DialArgs, RelayArgs, TransportArgs};
use crate::carry::open_files;
use crate::terminal::announce::announce;
use crate::terminal::failure::Failure;
use crate::{dial, relay};

const BUFFER: usize = 64 * 1024;
/// Of a copying thread, in bytes.
const STACK: usize = 128 * 1024;

/// Runs a part until standard input ends.
pub(super) fn run(args: &BenchArgs, part: BenchPart) -> Result<(), Failure> {
    match part {
        BenchPart::Peer => peer::serve(args, false),
        BenchPart::PairedPeer => peer::serve(args, true),
        BenchPart::PlainRelay => plain_relay(&args.target),
        BenchPart::Relay => {
            end_with_input()?;
            relay::run(&relay_args(args)?)
        }
        BenchPart::Dial => {
            end_with_input()?;
            dial::run(&dial_args(args, option("--listen", LOOPBACK))?)
        }
        // Its standard input is the connection, and its end that of the process.
        BenchPart::DialStdio => dial::run(&dial_args(args, "--keep-open".into())?),
    }
}

/// Ends one of the command's modes with a signal when standard input ends.
fn end_with_input() -> Result<(), Failure> {
    let watched = thread::Builder::new().stack_size(STACK).spawn(|| {
        await_end_of_input();
        let _ = low_level::raise(SIGTERM);
    });
    watched.map_err(no_thread).map(|_| ())
}

pub(super) fn no_thread(error: io::Error) -> Failure {
    Failure::because("cannot start a thread", error)
}

fn relay_args(args: &BenchArgs) -> Result<RelayArgs, Failure> {
    let options = [
        option("--module", &args.module),
        option("--remote", &args.target),
        option("--listen", LOOPBACK),
    ];
    let mut relay: RelayArgs = args::of_options(options.into()).map_err(Failure::new)?;
    relay.run.load = args.load.clone();
    relay.run.transport = transport(args);
    Ok(relay)
}

/// `accept` says where to listen, or how to use standard input and output as the connection.
fn dial_args(args: &BenchArgs, accept: OsString) -> Result<DialArgs, Failure> {
    let options = [
        option("--module", &args.module),
        option("--remote", &args.target),
        accept,
    ];
    let mut dial: DialArgs = args::of_options(options.into()).map_err(Failure::new)?;
    dial.run.load = args.load.clone();
    dial.run.transport = transport(args);
    Ok(dial)
}

fn option(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut option = OsString::from(name);
    option.push("=");
    option.push(value);
    option
}

/// The measuring process reads standard output, so the module must not write there.
fn transport(args: &BenchArgs) -> TransportArgs {
    TransportArgs {
        inherit_stdio: false,
        ..args.transport.clone()
    }
}

/// A relay without a module: a copying thread for each direction.
fn plain_relay(target: &str) -> Result<(), Failure> {
    open_files::raise_limit();
    let listener = plain::bind(LOOPBACK)?;
    let local = listener.local_addr();
    let local = local.map_err(|error| Failure::because("the plain relay cannot listen", error))?;
    announce([local.to_string().as_str()], false)?;
    let target = target.to_owned();
    let relaying = move || {
        for client in listener.incoming().flatten() {
            if let Err(error) = relay_plainly(client, &target) {
                log::error!("a client of the plain relay was dropped: {error}");
            }
        }
    };
    let spawned = thread::Builder::new().stack_size(STACK).spawn(relaying);
    spawned.map_err(no_thread)?;
    await_end_of_input();
    Ok(())
}

fn relay_plainly(client: TcpStream, target: &str) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let back = (server.try_clone()?, client.try_clone()?);
    for (from, to) in [(client, server), back] {
        thread::Builder::new().stack_size(STACK).spawn(move || {
            if let Err(error) = copy(&from, &to) {
                log::debug!("a connection of the plain relay ended: {error}");
            }
            let _ = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
        })?;
    }
    Ok(())
}

/// Unlike [`io::copy`], this does not leave the copying to the kernel, which a module cannot do.
fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut buf = vec![0; BUFFER];
    loop {
        match from.read(&mut buf)? {
            0 => return Ok(()),
            len => to.write_all(&buf[..len])?,
        }
    }
}
