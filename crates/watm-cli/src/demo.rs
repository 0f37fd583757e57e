//! `watm demo`: a first test of a module. A file travels through it in both directions, over real
//! sockets, and its hashes show whether it arrived intact.
//!
//! ```text
//! dialer -> tap -> listener -> sink
//! ```
//!
//! The dialer and the listener run the module. The tap between them records the first bytes on the
//! wire. The sink is an ordinary TCP server.

mod sample;
mod sink;
mod tap;
mod transfer;

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use watm_wasmer::{Conn, Dialer, Listener};

use self::sample::Sample;
use self::sink::Sink;
use self::tap::Tap;
use self::transfer::{Received, transfer};
use crate::args::DemoArgs;
use crate::carry::serve;
use crate::setup;
use crate::terminal::bytes::{count, speed};
use crate::terminal::escape::printable;
use crate::terminal::failure::Failure;
use crate::terminal::hex::hex;
use crate::terminal::output::print;

/// A transfer that moves no byte for this long is stuck.
const STALL: Duration = Duration::from_secs(30);
const LOOPBACK: &str = "127.0.0.1:0";

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let module = setup::load(&args.module, &args.load)?;
    let dialer = setup::configure(Dialer::builder(&module), &args.transport)?.build()?;
    let listener = setup::configure(Listener::builder(&module), &args.transport)?;
    let sample = match &args.send {
        Some(path) => Sample::open(path)?,
        None => Sample::make(args.size)?,
    };

    let sink = Sink::start().map_err(cannot_start)?;
    let forward = listener.forward_to(sink.local_addr().to_string());
    let forwarding = forward.bind(LOOPBACK)?.spawn()?;
    let tap = Tap::start(forwarding.local_addr()).map_err(cannot_start)?;

    let mut intro = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(intro, "{label:<13} {}", printable(value));
    };
    let info = module.info();
    let origin = if args.send.is_some() {
        "the given file"
    } else {
        "random bytes"
    };
    line("module", &args.module.display().to_string());
    line("roles", &info.roles().to_string());
    line(
        "route",
        &format!(
            "dialer -> {} (tap) -> {} (listener) -> {} (sink)",
            tap.local_addr(),
            forwarding.local_addr(),
            sink.local_addr()
        ),
    );
    line("file", &format!("{}, {origin}", count(sample.size())));
    line("SHA-256", &hex(sample.sha256()));
    print(&intro)?;

    let conn = dialer.dial(tap.local_addr().to_string())?;
    let transfer = send_and_receive(&conn, &sample, &sink);
    // If the transport failed, the error of the transfer is only a consequence.
    let failed = conn.outcome().and_then(Result::err);
    let closed = conn.close();
    // If the transfer is complete, the listener's side now ends by itself.
    serve::stop(&forwarding, args.transport.close_grace);
    if let Some(error) = failed {
        return Err(error.into());
    }
    let (there, back) = transfer?;
    closed?;

    let equal = there.is(&sample) && back.is(&sample);
    print(&result(&sample, &tap, &there, &back, equal))?;
    if equal {
        Ok(())
    } else {
        Err(Failure::new("the file did not arrive intact")
            .hint("the module may need a configuration (--config); use -v to see what it logs"))
    }
}

/// Sends the file there and, once it has arrived, back. Neither end closes before both transfers
/// are done, since many modules end the whole transport at the first end of a stream.
fn send_and_receive(
    conn: &Conn,
    sample: &Sample,
    sink: &Sink,
) -> Result<(Received, Received), Failure> {
    conn.set_read_timeout(Some(STALL))
        .and_then(|()| conn.set_write_timeout(Some(STALL)))
        .map_err(cannot_start)?;
    let client = sink.client(STALL)?;
    let there = transfer(sample, conn, &client)?;
    let back = transfer(sample, &client, conn)?;
    Ok((there, back))
}

fn result(sample: &Sample, tap: &Tap, there: &Received, back: &Received, equal: bool) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<13} {value}");
    };
    for (label, received) in [("at the sink", there), ("and back", back)] {
        line(label, &hex(&received.sha256));
        let bytes = count(received.bytes);
        let speed = speed(received.bytes, received.time);
        let seconds = received.time.as_secs_f64();
        line("", &format!("{bytes} in {seconds:.2} s, {speed}"));
    }
    let wire = tap.forth();
    let first = wire.first();
    line(
        "on the wire",
        &format!(
            "{} bytes there, {} bytes back",
            wire.bytes(),
            tap.back().bytes()
        ),
    );
    line("  file begins", &hex(sample.first()));
    line("  wire begins", &hex(&first));
    if !first.is_empty() {
        let remark = if first == sample.first() {
            "equal: the module passes bytes through"
        } else {
            "different: the module transforms them"
        };
        line("", remark);
    }
    line("result", if equal { "equal" } else { "NOT equal" });
    text
}

fn cannot_start(error: io::Error) -> Failure {
    Failure::because("cannot set up the demonstration", error)
}
