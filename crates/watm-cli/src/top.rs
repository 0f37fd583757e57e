//! `watm top`: the tunnels and connections of a running command, in a terminal.
//!
//! A thread asks the command again and again, one reads keys, and one waits for signals. This one draws
//! what comes of that.

mod client;
mod draw;
mod history;
mod keys;
mod rows;
mod screen;
mod table;
mod units;
mod view;

use std::env;
use std::io::{self, IsTerminal, Read as _};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded, unbounded};
use serde::Serialize;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use self::client::{Client, FetchError, Seen};
use self::draw::{Palette, draw};
use self::history::{History, Picture};
use self::keys::{Key, Next};
use self::screen::Screen;
use self::view::{View, Wish};
use crate::args::TopArgs;
use crate::carry::poll::{Interest, wait};
use crate::monitor::report::{Connection, Overview};
use crate::terminal::failure::{Failure, chain};
use crate::terminal::output;

/// How long the rest of a key may take that begins like the escape key.
const REST_OF_KEY: Duration = Duration::from_millis(50);

/// What the main loop waits for.
enum Event {
    Looked(Instant, Result<Box<Picture>, String>),
    Key(Key),
    Signal(i32),
    /// The terminal has gone.
    Gone,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Everything {
    #[serde(flatten)]
    overview: Overview,
    /// `null` if they are not shown.
    connections: Option<Vec<Connection>>,
    left_out: u64,
}

pub(crate) fn run(args: &TopArgs) -> Result<(), Failure> {
    let client = Client::new(&args.address);
    let seen = client.look().map_err(unanswered)?;
    if args.json {
        return json(seen);
    }
    let mut history = History::default();
    let picture = history.add(Instant::now(), seen);
    let mut view = View::new(args.address.as_str());
    if args.once || !is_interactive() {
        // There are no rates before the second look.
        thread::sleep(args.interval);
        let seen = client.look().map_err(unanswered)?;
        let now = Instant::now();
        view.look(now, Ok(history.add(now, seen)));
        return output::print(&draw::text(&view));
    }
    view.look(Instant::now(), Ok(picture));
    show(view, client, history, args.interval)
}

fn unanswered(error: FetchError) -> Failure {
    let hint = match &error {
        FetchError::Unreachable(_, cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            "only the owner of the socket's file and root may use it: run this command as that user"
        }
        FetchError::Unreachable(..) | FetchError::Slow(_) => {
            "start the command to look at with --metrics ADDR, and name the same ADDR here"
        }
        FetchError::Strange(..) => "name the ADDR that the command to look at has for --metrics",
    };
    Failure::new(error).hint(hint)
}

fn json(seen: Seen) -> Result<(), Failure> {
    let (connections, left_out) = match seen.connections {
        Ok(all) => (Some(all.connections), all.left_out),
        Err(_) => (None, 0),
    };
    output::json(&Everything {
        overview: seen.overview,
        connections,
        left_out,
    })
}

/// Whether a person sits at a terminal that can be drawn on.
fn is_interactive() -> bool {
    let is_capable = env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    is_capable && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Shows the view until the person has seen enough.
fn show(
    mut view: View,
    client: Client,
    history: History,
    interval: Duration,
) -> Result<(), Failure> {
    let failed = |error| Failure::because("cannot use the terminal", error);
    let palette = Palette {
        has_colours: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let (sender, events) = unbounded();
    // Held by the thread that looks, which ends when this function does.
    let (_going_on, ended) = bounded::<()>(0);
    watch_signals(&sender).map_err(|error| Failure::because("cannot handle signals", error))?;
    let mut screen = Screen::enter().map_err(failed)?;
    let looks = sender.clone();
    start("watm-look", move || {
        let mut history = history;
        // Nothing is ever sent: it is the time that passes.
        while let Err(crossbeam_channel::RecvTimeoutError::Timeout) = ended.recv_timeout(interval) {
            let seen = client.look().map_err(|error| chain(&error));
            let now = Instant::now();
            let picture = seen.map(|seen| Box::new(history.add(now, seen)));
            if looks.send(Event::Looked(now, picture)).is_err() {
                return;
            }
        }
    })?;
    start("watm-keys", move || {
        read_keys(&sender);
        let _ = sender.send(Event::Gone);
    })?;
    loop {
        let drawn = screen.terminal().draw(|frame| {
            let area = frame.area();
            draw(frame.buffer_mut(), area, &mut view, palette, Instant::now());
        });
        drawn.map_err(failed)?;
        let wish = match events.recv() {
            Ok(Event::Looked(at, looked)) => {
                view.look(at, looked.map(|picture| *picture));
                Wish::Nothing
            }
            Ok(Event::Key(key)) => view.key(key),
            Ok(Event::Signal(SIGTSTP)) => Wish::Suspend,
            Ok(Event::Signal(SIGWINCH)) => Wish::Nothing,
            Ok(Event::Signal(SIGCONT)) => {
                // Whoever stopped it has drawn on the screen.
                screen.without(|| ()).map_err(failed)?;
                Wish::Nothing
            }
            Ok(Event::Signal(_) | Event::Gone) | Err(_) => Wish::Quit,
        };
        match wish {
            Wish::Nothing => {}
            Wish::Quit => return Ok(()),
            Wish::Suspend => screen
                .without(|| signal_hook::low_level::emulate_default_handler(SIGTSTP))
                .and_then(|stopped| stopped)
                .map_err(failed)?,
        }
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(|_| ())
        .map_err(|error| Failure::because("cannot start a thread", error))
}

fn watch_signals(events: &Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGCONT, SIGWINCH])?;
    let events = events.clone();
    thread::Builder::new()
        .name("watm-signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if events.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })
        .map(|_| ())
}

/// Reads keys until the terminal has gone.
fn read_keys(events: &Sender<Event>) {
    let mut input = io::stdin().lock();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 256]);
    loop {
        while !bytes.is_empty() {
            let (key, len) = match keys::next(&bytes) {
                Next::Key(key, len) => (key, len),
                Next::Incomplete => {
                    let more = [(input.as_fd(), Interest::Readable)];
                    if matches!(wait(more, Some(REST_OF_KEY)), Ok([true])) {
                        break;
                    }
                    (Some(Key::Escape), bytes.len())
                }
            };
            bytes.drain(..len);
            if key.is_some_and(|key| events.send(Event::Key(key)).is_err()) {
                return;
            }
        }
        match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
