//! The thread that talks with the clients of a server before they are carried: a PROXY header, a
//! front, or both. It also tells clients why they are not carried.
//!
//! It looks into sockets without taking bytes that are not its own, so that what a client sends too
//! early stays where the transport finds it. It never waits for one client.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::net::address::{Client, canonical};
use crate::net::stream::Stream;
use crate::roles::front::proxy_header::{self, Header};
use crate::roles::front::{Front, Greeting, GreetingStep, PlainRequest};
use crate::threads;

/// The stack of the thread, in bytes. The buffer is not on it.
const STACK: usize = 256 * 1024;
/// The maximum length of what a client says.
const LIMIT: usize = 16 * 1024;
/// The maximum number of steps of one client in a row. No protocol has as many.
const STEPS: usize = 32;
/// How long a client that was told why it is not carried has to close.
const FAREWELL: Duration = Duration::from_secs(2);
/// The maximum number of clients that are told so at the same time. Further ones are not told.
const FAREWELLS: usize = 1024;
/// How long whoever stops the thread waits for it.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long a client may take if others wait for its place.
const FAIR_TIME: Duration = Duration::from_secs(1);
/// The token of the waker; clients count upwards from 0.
const WAKER: Token = Token(usize::MAX);

/// What a server has its clients say.
#[derive(Clone, Default)]
pub(crate) struct Protocols {
    /// A header of the PROXY protocol comes first.
    pub(crate) proxy_header: bool,
    pub(crate) front: Option<Arc<dyn Front>>,
}

impl Protocols {
    pub(crate) fn is_empty(&self) -> bool {
        !self.proxy_header && self.front.is_none()
    }
}

/// A client that has said what it wants.
pub(crate) struct Greeted {
    pub(crate) stream: Stream,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) request: PlainRequest,
    /// Whom to ask what to tell it.
    pub(crate) greeting: Option<Box<dyn Greeting>>,
}

/// What a server does with its clients.
pub(crate) trait Greets: Send + 'static {
    /// Carries a client.
    fn greeted(&self, greeted: Greeted);
    /// A client is dropped.
    fn refused(&self, client: Client, reason: &str);
    /// One client less is at its greeting.
    fn left(&self);
}

enum Command {
    Greet(Stream, Option<SocketAddr>),
    /// Tells a client why it is not carried.
    Dismiss(Stream, Vec<u8>),
    MakeRoom,
    /// Drops all clients, and tells when that is done.
    Stop(Sender<()>),
}

/// Hands clients to the thread. The thread ends with the last of these, once all clients have left.
#[derive(Clone)]
pub(crate) struct Greeter(Arc<Handle>);

struct Handle {
    /// Nothing once it is dropped.
    commands: Option<Sender<Command>>,
    waker: Arc<Waker>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // In this order: the thread looks whether anybody is left when it wakes.
        self.commands = None;
        let _ = self.waker.wake();
    }
}

impl Greeter {
    /// Starts the thread. A client has `limit` for what it says.
    pub(crate) fn spawn(
        protocols: Protocols,
        limit: Duration,
        greets: impl Greets,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (commands, receiver) = unbounded();
        let thread = Thread {
            poll,
            _waker: Arc::clone(&waker),
            commands: receiver,
            protocols,
            limit,
            greets,
            clients: HashMap::new(),
            next: 0,
            buffer: vec![0; LIMIT],
        };
        threads::spawn("watm-greet", STACK, move || thread.run())?;
        Ok(Self(Arc::new(Handle {
            commands: Some(commands),
            waker,
        })))
    }

    /// Has a client say what it wants. Returns whether there is still a thread for that.
    pub(crate) fn greet(&self, stream: Stream, client: Option<SocketAddr>) -> bool {
        self.command(Command::Greet(stream, client))
    }

    pub(crate) fn downgrade(&self) -> WeakGreeter {
        WeakGreeter(Arc::downgrade(&self.0))
    }

    /// Tells a client why it is not carried, and closes its connection.
    pub(crate) fn dismiss(&self, stream: Stream, bytes: Vec<u8>) {
        self.command(Command::Dismiss(stream, bytes));
    }

    /// Drops the oldest client if it has had its time, since others wait.
    pub(crate) fn make_room(&self) -> Duration {
        self.command(Command::MakeRoom);
        FAIR_TIME
    }

    /// Drops all clients, and waits until they are.
    pub(crate) fn stop(&self) {
        let (sender, stopped) = bounded(1);
        if self.command(Command::Stop(sender)) {
            // It is busy for long only if what an application has given it is.
            let _ = stopped.recv_timeout(STOP_LIMIT);
        }
    }

    fn command(&self, command: Command) -> bool {
        let commands = self.0.commands.as_ref();
        let sent = commands.is_some_and(|commands| commands.send(command).is_ok());
        if sent && let Err(error) = self.0.waker.wake() {
            log::error!("the greeting thread could not be woken: {error}");
        }
        sent
    }
}

/// A [`Greeter`] that does not keep the thread.
pub(crate) struct WeakGreeter(Weak<Handle>);

impl WeakGreeter {
    pub(crate) fn upgrade(&self) -> Option<Greeter> {
        self.0.upgrade().map(Greeter)
    }
}

/// A client whose socket the thread watches.
struct Watched {
    stream: Stream,
    client: Option<SocketAddr>,
    since: Instant,
    deadline: Instant,
    part: Part,
}

enum Part {
    /// Its PROXY header comes first.
    Header,
    Greeting(Box<dyn Greeting>),
    /// It was told why it is not carried, and has yet to close.
    Farewell,
}

struct Thread<G> {
    poll: Poll,
    /// A waker that is closed would take along what it has woken for.
    _waker: Arc<Waker>,
    commands: Receiver<Command>,
    protocols: Protocols,
    limit: Duration,
    greets: G,
    clients: HashMap<usize, Watched>,
    next: usize,
    buffer: Vec<u8>,
}

/// What becomes of a client after a look.
enum Look {
    Stays,
    Carried(PlainRequest),
    Refused(Vec<u8>, String),
    /// It has gone.
    Gone,
}

impl<G: Greets> Thread<G> {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let left = self.clients.values().map(|client| client.deadline).min();
            let left = left.map(|at| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, left) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    log::error!("no clients are greeted any more: {error}");
                    return self.give_up();
                }
                _ => {}
            }
            for event in &events {
                if event.token() != WAKER {
                    self.look(event.token().0, event.is_read_closed() || event.is_error());
                }
            }
            let is_left = !self.obey();
            self.expire();
            if is_left && self.clients.is_empty() {
                return;
            }
        }
    }

    /// Drops all clients, those included that nobody has looked at.
    fn give_up(&mut self) {
        self.stop();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Greet(_, client) = command {
                self.greets
                    .refused(Client(client), "nobody greets clients any more");
                self.greets.left();
            }
        }
    }

    /// Does what it was told. Returns whether anybody is left to tell it more.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Greet(stream, client)) => self.greet(stream, client),
                Ok(Command::Dismiss(stream, bytes)) => self.dismiss(stream, &bytes),
                Ok(Command::MakeRoom) => self.make_room(),
                Ok(Command::Stop(done)) => {
                    self.stop();
                    // Whoever waited has given up if this fails.
                    let _ = done.try_send(());
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn greet(&mut self, stream: Stream, client: Option<SocketAddr>) {
        let greeting = match &self.protocols.front {
            Some(front) if !self.protocols.proxy_header => {
                guarded(|| front.greet(client)).map(Some)
            }
            _ => Ok(None),
        };
        let part = match greeting {
            Ok(greeting) => greeting.map_or(Part::Header, Part::Greeting),
            Err(reason) => {
                stream.reset_on_drop();
                self.greets.refused(Client(client), reason);
                return self.greets.left();
            }
        };
        let now = Instant::now();
        let watched = Watched {
            stream,
            client,
            since: now,
            deadline: now + self.limit,
            part,
        };
        match self.watch(watched) {
            // What it has sent before is no event.
            Ok(number) => self.look(number, false),
            Err(error) => {
                self.greets.refused(Client(client), &error.to_string());
                self.greets.left();
            }
        }
    }

    fn watch(&mut self, watched: Watched) -> io::Result<usize> {
        let number = self.next;
        self.next += 1;
        let fd = watched.stream.socket().as_raw_fd();
        let nonblocking = watched.stream.socket().set_nonblocking(true);
        let registered = nonblocking.and_then(|()| {
            let registry = self.poll.registry();
            registry.register(&mut SourceFd(&fd), Token(number), Interest::READABLE)
        });
        match registered {
            Ok(()) => {
                self.clients.insert(number, watched);
                Ok(number)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a client out, whose socket is not watched any more.
    fn take(&mut self, number: usize) -> Option<Watched> {
        let watched = self.clients.remove(&number)?;
        let fd = watched.stream.socket().as_raw_fd();
        // This fails only if it was not watched.
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        Some(watched)
    }

    /// Looks at what a client has said.
    fn look(&mut self, number: usize, is_closed: bool) {
        let Some(watched) = self.clients.get_mut(&number) else {
            return;
        };
        let look = if let Part::Farewell = watched.part {
            match discard(&watched.stream, &mut self.buffer) {
                true => Look::Stays,
                false => Look::Gone,
            }
        } else {
            converse(watched, &self.protocols, &mut self.buffer, is_closed)
        };
        if let Look::Stays = look {
            return;
        }
        let Some(watched) = self.take(number) else {
            return;
        };
        let is_farewell = matches!(watched.part, Part::Farewell);
        match look {
            Look::Stays => {}
            Look::Gone if is_farewell => return watched.stream.end_on_drop(),
            Look::Gone => self.greets.refused(Client(watched.client), "it has gone"),
            Look::Refused(bytes, reason) => {
                self.greets.refused(Client(watched.client), &reason);
                self.dismiss(watched.stream, &bytes);
            }
            Look::Carried(request) => self.greets.greeted(Greeted {
                stream: watched.stream,
                client: watched.client,
                request,
                greeting: match watched.part {
                    Part::Greeting(greeting) => Some(greeting),
                    Part::Header | Part::Farewell => None,
                },
            }),
        }
        self.greets.left();
    }

    fn dismiss(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() || say(&stream, bytes).is_err() {
            return stream.reset_on_drop();
        }
        stream.end_on_drop();
        let farewells = self.clients.values();
        let farewells = farewells.filter(|client| matches!(client.part, Part::Farewell));
        // A close over bytes that nobody has read would reset the client, under what it was told.
        if shutdown(stream.socket(), Shutdown::Write).is_err() || farewells.count() >= FAREWELLS {
            return;
        }
        let now = Instant::now();
        let watched = Watched {
            stream,
            client: None,
            since: now,
            deadline: now + FAREWELL,
            part: Part::Farewell,
        };
        if let Ok(number) = self.watch(watched) {
            self.look(number, false);
        }
    }

    fn make_room(&mut self) {
        let greeting = self
            .clients
            .iter()
            .filter(|(_, client)| client.is_at_greeting());
        let oldest = greeting.min_by_key(|(_, client)| client.since);
        let Some((&number, client)) = oldest else {
            return;
        };
        if client.since.elapsed() >= FAIR_TIME {
            self.drop_client(
                number,
                "it took too long to say what it wants, and others wait",
            );
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let expired = self
            .clients
            .iter()
            .filter(|(_, client)| client.deadline <= now);
        let expired: Vec<_> = expired.map(|(number, _)| *number).collect();
        for number in expired {
            self.drop_client(number, "it did not say in time what it wants");
        }
    }

    fn stop(&mut self) {
        let all: Vec<_> = self.clients.keys().copied().collect();
        for number in all {
            self.drop_client(number, "the server ends");
        }
    }

    fn drop_client(&mut self, number: usize, reason: &str) {
        let Some(watched) = self.take(number) else {
            return;
        };
        if watched.is_at_greeting() {
            watched.stream.reset_on_drop();
            self.greets.refused(Client(watched.client), reason);
            self.greets.left();
        }
    }
}

impl Watched {
    fn is_at_greeting(&self) -> bool {
        !matches!(self.part, Part::Farewell)
    }
}

/// Talks with a client as far as it has said something.
fn converse(
    watched: &mut Watched,
    protocols: &Protocols,
    buffer: &mut [u8],
    is_closed: bool,
) -> Look {
    for _ in 0..STEPS {
        let len = match peek(&watched.stream, buffer) {
            Ok(0) => return Look::Gone,
            Ok(len) => len,
            Err(Errno::AGAIN) => return Look::Stays,
            Err(_) => return Look::Gone,
        };
        let step = match &mut watched.part {
            Part::Header => header(watched, protocols, &buffer[..len]),
            Part::Greeting(greeting) => {
                guarded(|| greeting.advance(&buffer[..len])).unwrap_or_else(GreetingStep::refuse)
            }
            Part::Farewell => return Look::Stays,
        };
        match step {
            // Nothing more will come.
            GreetingStep::More if is_closed => return Look::Gone,
            GreetingStep::More if len == buffer.len() => {
                let reason = "it has said too much before it said what it wants";
                return Look::Refused(Vec::new(), reason.into());
            }
            GreetingStep::More => return Look::Stays,
            GreetingStep::Say { consumed, bytes } => {
                if consume(&watched.stream, &mut buffer[..consumed.min(len)]).is_err()
                    || say(&watched.stream, &bytes).is_err()
                {
                    return Look::Gone;
                }
            }
            GreetingStep::Carry { consumed, request } => {
                return match consume(&watched.stream, &mut buffer[..consumed.min(len)]) {
                    Ok(()) => Look::Carried(request),
                    Err(_) => Look::Gone,
                };
            }
            GreetingStep::Refuse { bytes, reason } => return Look::Refused(bytes, reason),
        }
    }
    Look::Refused(Vec::new(), "the greeting does not end".into())
}

/// Calls what an application has given. If that panics, it is the end of one client.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, &'static str> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| "the front panicked")
}

/// Takes the PROXY header in. Afterwards the client is the one that it names.
fn header(watched: &mut Watched, protocols: &Protocols, bytes: &[u8]) -> GreetingStep {
    let (consumed, addresses) = match proxy_header::parse(bytes) {
        Header::Incomplete => return GreetingStep::More,
        Header::Invalid => return GreetingStep::refuse("it has sent no PROXY header"),
        Header::Complete(consumed, addresses) => (consumed, addresses),
    };
    if let Some((client, reached)) = addresses {
        let client = canonical(client);
        watched.client = Some(client);
        watched
            .stream
            .set_addrs(Some(canonical(reached)), Some(client));
    }
    match &protocols.front {
        Some(front) => match guarded(|| front.greet(watched.client)) {
            Ok(greeting) => {
                watched.part = Part::Greeting(greeting);
                GreetingStep::Say {
                    consumed,
                    bytes: Vec::new(),
                }
            }
            Err(reason) => GreetingStep::refuse(reason),
        },
        None => GreetingStep::Carry {
            consumed,
            request: PlainRequest::new(),
        },
    }
}

/// Looks at what a socket has received, and leaves it there.
fn peek(stream: &Stream, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    received(stream, buffer, RecvFlags::PEEK)
}

/// Takes bytes that were seen before.
fn consume(stream: &Stream, bytes: &mut [u8]) -> rustix::io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match received(stream, &mut bytes[done..], RecvFlags::empty())? {
            0 => return Err(Errno::PIPE),
            len => done += len,
        }
    }
    Ok(())
}

fn received(stream: &Stream, buffer: &mut [u8], flags: RecvFlags) -> rustix::io::Result<usize> {
    loop {
        match recv(stream.socket(), &mut *buffer, flags | RecvFlags::DONTWAIT) {
            Err(Errno::INTR) => {}
            result => return result.map(|(_, len)| len),
        }
    }
}

/// Tells a client something. It is so short that a client which lets it not be sent reads nothing.
pub(crate) fn say(stream: &Stream, bytes: &[u8]) -> rustix::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match send(stream.socket(), bytes, flags)? {
        len if len == bytes.len() => Ok(()),
        _ => Err(Errno::AGAIN),
    }
}

/// Throws away what has come. Returns whether more may.
fn discard(stream: &Stream, buffer: &mut [u8]) -> bool {
    for _ in 0..STEPS {
        match received(stream, buffer, RecvFlags::empty()) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error == Errno::AGAIN,
        }
    }
    // It goes on sending, and has been told why not to.
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    const LIMIT: Duration = Duration::from_secs(20);

    /// What the thread owns, and drops when it ends.
    struct Counts(#[allow(dead_code, reason = "it is only dropped")] Arc<()>);

    impl Greets for Counts {
        fn greeted(&self, _: Greeted) {}
        fn refused(&self, _: Client, _: &str) {}
        fn left(&self) {}
    }

    #[test]
    fn the_thread_ends_with_its_last_client_though_that_never_closes() {
        let kept = Arc::new(());
        let ends = Arc::downgrade(&kept);
        let greeter = Greeter::spawn(Protocols::default(), LIMIT, Counts(kept));
        let greeter = greeter.expect("a thread");
        let (mut client, stream) = UnixStream::pair().expect("a pair");
        client.set_read_timeout(Some(LIMIT)).expect("a timeout");
        greeter.dismiss(stream.into(), b"no".to_vec());
        drop(greeter);
        let mut told = Vec::new();
        client.read_to_end(&mut told).expect("an end");
        assert_eq!(told, b"no");
        // The client stays. It has its time, and then nobody is left.
        let deadline = Instant::now() + LIMIT;
        while ends.strong_count() > 0 {
            assert!(Instant::now() < deadline, "the thread goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
