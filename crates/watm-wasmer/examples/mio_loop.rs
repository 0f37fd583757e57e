//! One loop of mio for everything: a listener, the connections that it accepts, and as many that
//! this program dials. The application has no thread besides that of the loop.
//!
//! ```toml
//! [dependencies]
//! mio = { version = "1", features = ["os-poll"] }
//! watm-wasmer = { version = "0.1", features = ["mio"] }
//! ```
//!
//! ```sh
//! cargo run --example mio_loop -- [MODULE]
//! ```
//!
//! It prints:
//!
//! ```text
//! 40 connections, 20000 bytes there and back on each, in one loop
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use watm_wasmer::{Conn, DialError, DialOptions, Dialer, Listener, Pending, TransportModule};

/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/plain16k.wasm"
);
const CONNECTIONS: usize = 40;
const BYTES: usize = 20_000;
const LIMIT: Duration = Duration::from_secs(60);

const LISTENER: Token = Token(0);
/// The first that dials and connections have.
const FIRST: usize = 1;

/// What a connection still has to do.
enum Task {
    /// Sends back what comes.
    Echo { held: Vec<u8>, at: usize },
    /// Sends a number of bytes, and checks that they come back.
    Ask { sent: usize, received: usize },
}

struct Loop {
    poll: Poll,
    listener: Listener,
    dials: HashMap<Token, Pending<Conn, DialError>>,
    conns: HashMap<Token, (Conn, Task)>,
    next: usize,
    done: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1);
    let module = TransportModule::from_file(file.as_deref().unwrap_or(DEFAULT))?;
    let poll = Poll::new()?;
    let mut listener = Listener::builder(&module).bind("127.0.0.1:0")?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let dialer = Dialer::builder(&module).build()?;
    let address = listener.local_addr();
    let mut all = Loop {
        poll,
        listener,
        dials: HashMap::new(),
        conns: HashMap::new(),
        next: FIRST,
        done: 0,
    };
    for _ in 0..CONNECTIONS {
        all.dial(dialer.begin(address, DialOptions::new()))?;
    }
    all.run()?;
    println!("{CONNECTIONS} connections, {BYTES} bytes there and back on each, in one loop");
    Ok(())
}

impl Loop {
    fn run(&mut self) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + LIMIT;
        let mut events = Events::with_capacity(128);
        while self.done < CONNECTIONS {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("only {} are done", self.done).into());
            }
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    token if self.dials.contains_key(&token) => self.take(token)?,
                    token => self.go_on(token)?,
                }
            }
        }
        Ok(())
    }

    fn dial(&mut self, mut dial: Pending<Conn, DialError>) -> io::Result<()> {
        let token = self.next();
        let registry = self.poll.registry();
        registry.register(&mut dial, token, Interest::READABLE)?;
        self.dials.insert(token, dial);
        Ok(())
    }

    /// Takes a dial that is done into the loop as a connection.
    fn take(&mut self, token: Token) -> Result<(), Box<dyn Error>> {
        let Some(mut dial) = self.dials.remove(&token) else {
            return Ok(());
        };
        let Some(result) = dial.try_wait() else {
            self.dials.insert(token, dial);
            return Ok(());
        };
        self.poll.registry().deregister(&mut dial)?;
        let task = Task::Ask {
            sent: 0,
            received: 0,
        };
        Ok(self.add(result?, task)?)
    }

    fn next(&mut self) -> Token {
        self.next += 1;
        Token(self.next - 1)
    }

    fn accept(&mut self) -> Result<(), Box<dyn Error>> {
        while let Some(conn) = self.listener.try_accept()? {
            let held = Vec::new();
            self.add(conn, Task::Echo { held, at: 0 })?;
        }
        Ok(())
    }

    fn add(&mut self, mut conn: Conn, task: Task) -> io::Result<()> {
        conn.set_nonblocking(true)?;
        let token = self.next();
        let both = Interest::READABLE | Interest::WRITABLE;
        // It is ready at first, so the next turn of the loop begins with it.
        self.poll.registry().register(&mut conn, token, both)?;
        self.conns.insert(token, (conn, task));
        Ok(())
    }

    /// An event comes once. So this goes on until there is nothing to do.
    fn go_on(&mut self, token: Token) -> io::Result<()> {
        let Some((conn, task)) = self.conns.get_mut(&token) else {
            return Ok(());
        };
        if task.go_on(conn)? {
            return Ok(());
        }
        if matches!(task, Task::Ask { .. }) {
            self.done += 1;
        }
        // What was written is delivered in the background.
        if let Some((mut conn, _)) = self.conns.remove(&token) {
            self.poll.registry().deregister(&mut conn)?;
        }
        Ok(())
    }
}

impl Task {
    /// Reads and writes until neither can go on. Returns whether there is more to do later.
    fn go_on(&mut self, conn: &Conn) -> io::Result<bool> {
        loop {
            let has_written = unless_blocked(self.write(conn))?.is_some();
            match unless_blocked(self.read(conn))? {
                Some(false) => return Ok(false),
                Some(true) => {}
                None if !has_written => return Ok(true),
                None => {}
            }
        }
    }

    fn write(&mut self, mut conn: &Conn) -> io::Result<()> {
        match self {
            Self::Echo { held, at } if *at < held.len() => *at += conn.write(&held[*at..])?,
            Self::Ask { sent, .. } if *sent < BYTES => {
                let piece: Vec<u8> = (*sent..BYTES).map(|i| (i % 251) as u8).collect();
                *sent += conn.write(&piece)?;
            }
            _ => return Err(ErrorKind::WouldBlock.into()),
        }
        Ok(())
    }

    /// Returns false at the end.
    fn read(&mut self, mut conn: &Conn) -> io::Result<bool> {
        let mut buf = [0; 4096];
        match self {
            // It reads no more than it can send back.
            Self::Echo { held, at } if *at == held.len() => {
                let len = conn.read(&mut buf)?;
                *held = buf[..len].to_vec();
                *at = 0;
                Ok(len > 0)
            }
            Self::Echo { .. } => Err(ErrorKind::WouldBlock.into()),
            Self::Ask { received, .. } => {
                let len = conn.read(&mut buf)?;
                let expected = (*received..*received + len).map(|i| (i % 251) as u8);
                if len == 0 || !expected.eq(buf[..len].iter().copied()) {
                    return Err(io::Error::other("the echo differs from what was sent"));
                }
                *received += len;
                Ok(*received < BYTES)
            }
        }
    }
}

/// Nothing, if the call would have had to wait.
fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}
