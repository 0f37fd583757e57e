//! The terminal: keys come in, the screen goes out, and in the end all is as it was before.
//!
//! A thread of its own asks the command, which may take seconds, so that keys are obeyed at once.

use std::env;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use ratatui::Terminal;
use ratatui::backend::TermionBackend;
use ratatui::termion::event::{Event, Key, parse_event};
use ratatui::termion::raw::IntoRawMode as _;
use ratatui::termion::screen::IntoAlternateScreen as _;
use watm_wasmer::Address;

use super::fetch::{FetchError, fetch};
use super::screen::{Look, draw};
use super::view::{Command, View};
use crate::args::TopArgs;
use crate::carry::poll::{Interest, wait};
use crate::carry::signals::Signals;
use crate::monitor::status::Status;
use crate::terminal::failure::{Failure, chain};

/// How long keys are waited for before the screen is drawn again, which also follows its size.
const TICK: Duration = Duration::from_millis(100);

type Answer = Result<Status, FetchError>;

/// Shows a command until `q` is pressed or a signal arrives.
pub(super) fn run(args: &TopArgs, first: Status) -> Result<(), Failure> {
    let failed = |error| Failure::because("cannot use the terminal", error);
    let signals = Signals::install()?;
    let answers = ask(&args.address, args.interval).map_err(failed)?;
    let mut view = View::new(args.address.to_string(), first, Instant::now());
    show(&mut view, &signals, &answers).map_err(failed)
}

/// Asks again and again, until nobody listens.
fn ask(address: &Address, interval: Duration) -> io::Result<Receiver<Answer>> {
    let (sender, answers) = bounded(1);
    let address = address.clone();
    let asking = move |sender: Sender<Answer>| {
        loop {
            thread::sleep(interval);
            if sender.send(fetch(&address)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("watm-asking".into())
        .spawn(move || asking(sender))?;
    Ok(answers)
}

fn show(view: &mut View, signals: &Signals, answers: &Receiver<Answer>) -> io::Result<()> {
    let look = Look {
        // https://no-color.org
        colours: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let screen = io::stdout().into_raw_mode()?.into_alternate_screen()?;
    let mut terminal = Terminal::new(TermionBackend::new(screen))?;
    terminal.clear()?;
    let mut page = 0;
    loop {
        terminal.draw(|frame| page = draw(frame, view, look))?;
        let [has_keys] = wait([(io::stdin().as_fd(), Interest::Readable)], Some(TICK))?;
        if !signals.first.is_empty() {
            break;
        }
        if has_keys {
            let mut bytes = [0; 256];
            let len = rustix::io::read(io::stdin().as_fd(), &mut bytes)?;
            let goes_on = |view: &mut View| {
                keys(&bytes[..len])
                    .into_iter()
                    .all(|command| view.obey(command, page))
            };
            if len == 0 || !goes_on(view) {
                break;
            }
        }
        for answer in answers.try_iter() {
            match answer {
                Ok(status) => view.update(status, Instant::now()),
                Err(error) => view.fail(chain(&error)),
            }
        }
    }
    terminal.show_cursor()?;
    terminal.backend_mut().flush()
}

/// What these bytes of a terminal ask for. Whatever means nothing is left out.
fn keys(bytes: &[u8]) -> Vec<Command> {
    let mut rest = bytes.iter().map(|byte| Ok(*byte));
    let mut commands = Vec::new();
    while let Some(Ok(byte)) = rest.next() {
        let key = match parse_event(byte, &mut rest) {
            Ok(Event::Key(key)) => key,
            // A lone escape has nothing behind it.
            Err(_) if byte == b'\x1b' => Key::Esc,
            _ => continue,
        };
        commands.extend(command(key));
    }
    commands
}

fn command(key: Key) -> Option<Command> {
    Some(match key {
        Key::Char('q') | Key::Ctrl('c' | 'd') => Command::Quit,
        Key::Up | Key::Char('k') => Command::Up,
        Key::Down | Key::Char('j') => Command::Down,
        Key::PageUp => Command::PageUp,
        Key::PageDown => Command::PageDown,
        Key::Char('\n' | '\r') => Command::Choose,
        Key::Char('s') => Command::Order,
        Key::Char('p' | ' ') => Command::Pause,
        Key::Char('?' | 'h') | Key::Esc => Command::Help,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_what_a_terminal_sends() {
        let all = keys(b"k\x1b[A\x1b[Bj\x1b[5~\x1b[6~\rsp?\x03xyz\xff");
        assert_eq!(
            all,
            [
                Command::Up,
                Command::Up,
                Command::Down,
                Command::Down,
                Command::PageUp,
                Command::PageDown,
                Command::Choose,
                Command::Order,
                Command::Pause,
                Command::Help,
                Command::Quit
            ]
        );
        assert_eq!(keys(b"\x1b"), [Command::Help]);
        assert_eq!(keys(b""), []);
    }
}
