//! Runs one hot call a fixed number of times and nothing else, for tools that count instructions:
//! see `benches/instructions`. The difference between two counts excludes the start-up.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use watm_abi::{IovecArray, decode_subscriptions};
use watm_benches::records::{Records, iovecs, subscriptions};
use watm_benches::{Call, Calls, Peer, module, peer};
use watm_wasmer::Dialer;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: hot list | hot NAME COUNT";
/// Size of one read or write by the application, in bytes.
const PIECE: usize = 64;
/// Modules that carry a plain client: in C, and with a collector.
const CARRYING: [&str; 2] = ["plain16k", "collecting"];

struct Hot {
    name: String,
    run: Box<dyn Fn(u64) -> Result<()>>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => list(),
        [name, count] => {
            let hot = all().into_iter().find(|hot| hot.name == name);
            let hot = hot.ok_or_else(|| format!("there is no {name}; see hot list"))?;
            (hot.run)(count.parse()?)
        }
        _ => Err(USAGE.into()),
    }
}

fn list() -> Result<()> {
    let mut out = io::stdout().lock();
    for hot in all() {
        writeln!(out, "{}", hot.name)?;
    }
    Ok(())
}

fn all() -> Vec<Hot> {
    let mut all = Vec::new();
    let mut add = |name: &str, run: Box<dyn Fn(u64) -> Result<()>>| {
        let name = name.to_owned();
        all.push(Hot { name, run });
    };
    for (name, call) in Call::MEASURED {
        add(
            &format!("host_calls/{name}"),
            Box::new(move |count| Ok(Calls::start()?.run(call, count)?)),
        );
    }
    add(
        "conn/write",
        Box::new(|count| Ok(Calls::start()?.write(&[7; PIECE], count)?)),
    );
    add(
        "conn/read",
        Box::new(|count| Ok(Calls::start()?.read(&mut [0; PIECE], count)?)),
    );
    add(
        "carry/raw",
        Box::new(|count| {
            let client = TcpStream::connect(peer(Peer::Echo)?)?;
            round_trips(client, count)
        }),
    );
    for name in CARRYING {
        add(
            &format!("carry/{name}"),
            Box::new(move |count| carry(name, count)),
        );
    }
    for len in [1, 16] {
        add(
            &format!("iovecs/raw/{len}"),
            Box::new(move |count| copy(&iovecs(len), count)),
        );
        add(
            &format!("iovecs/decode/{len}"),
            Box::new(move |count| {
                let records = iovecs(len);
                repeat(count, || {
                    let memory = black_box(&records.memory);
                    black_box(IovecArray::decode(memory, 0, records.count)?);
                    Ok(())
                })
            }),
        );
    }
    add(
        "subscriptions/raw/3",
        Box::new(|count| copy(&subscriptions(3), count)),
    );
    add(
        "subscriptions/decode/3",
        Box::new(|count| {
            let records = subscriptions(3);
            let mut decoded = Vec::new();
            repeat(count, || {
                let memory = black_box(&records.memory);
                decode_subscriptions(memory, 0, records.count, &mut decoded)?;
                black_box(&decoded);
                Ok(())
            })
        }),
    );
    all
}

/// Round trips of a plain client that a transport carries to an echo server. What client and server
/// take is in the count, as it is without a module.
fn carry(name: &str, count: u64) -> Result<()> {
    let echo = peer(Peer::Echo)?;
    let dialer = Dialer::builder(&module(name)?).build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (plain, _) = listener.accept()?;
    let carried = dialer.carry(plain, echo.to_string())?;
    round_trips(client, count)?;
    carried.close()?;
    Ok(())
}

fn round_trips(mut client: TcpStream, count: u64) -> Result<()> {
    client.set_nodelay(true)?;
    let mut data = [7; PIECE];
    repeat(count, || {
        client.write_all(black_box(&data))?;
        Ok(client.read_exact(black_box(&mut data))?)
    })
}

fn copy(records: &Records, count: u64) -> Result<()> {
    let mut copied = records.buffer();
    repeat(count, || {
        records.copy(&mut copied);
        Ok(())
    })
}

fn repeat(count: u64, mut call: impl FnMut() -> Result<()>) -> Result<()> {
    (0..count).try_for_each(|_| call())
}
