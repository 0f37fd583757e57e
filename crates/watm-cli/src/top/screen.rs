//! The terminal: how it is taken over and given back, and how cells get to it.
//!
//! It is given back in whatever way the command ends, so that the person finds it as it was. Must never
//! know what is drawn.

use std::io::{self, Write};
use std::panic;
use std::sync::{Mutex, Once, PoisonError};

use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};
use ratatui_core::terminal::Terminal;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The other screen, without a cursor, and without what a terminal adds at the end of a line.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// How the terminal was, while it is taken over.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// A terminal that is taken over until this is dropped.
pub(super) struct Screen {
    terminal: Terminal<Cells>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn enter() -> io::Result<Self> {
        HOOK.call_once(|| {
            let tell = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                // The message would be lost with the other screen.
                give_back();
                tell(panic);
            }));
        });
        take_over()?;
        // It is given back also if this fails.
        let mut screen = Self {
            terminal: Terminal::new(Cells::default()).inspect_err(|_| give_back())?,
        };
        screen.terminal.clear()?;
        Ok(screen)
    }

    pub(super) fn terminal(&mut self) -> &mut Terminal<Cells> {
        &mut self.terminal
    }

    /// Gives the terminal back while something else happens.
    pub(super) fn without<T>(&mut self, other: impl FnOnce() -> T) -> io::Result<T> {
        give_back();
        let done = other();
        take_over()?;
        self.terminal.clear()?;
        Ok(done)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take_over() -> io::Result<()> {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let (input, mut output) = (io::stdin(), io::stdout());
    let now = tcgetattr(&input)?;
    let mut raw = now.clone();
    raw.make_raw();
    tcsetattr(&input, OptionalActions::Now, &raw)?;
    // From here on there is something to give back, also if the next step fails.
    *before = Some(now);
    output.write_all(ENTER)?;
    output.flush()
}

/// Does nothing if the terminal is not taken over.
fn give_back() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // A terminal that has gone takes nothing any more.
        let mut output = io::stdout();
        let _ = output.write_all(LEAVE).and_then(|()| output.flush());
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// Writes cells as the sequences of a terminal.
#[derive(Default)]
pub(super) struct Cells {
    /// What is to be written at the next flush.
    bytes: Vec<u8>,
}

impl Cells {
    fn style(&mut self, cell: &Cell) {
        self.bytes.extend_from_slice(b"\x1b[0");
        for (modifier, code) in [
            (Modifier::BOLD, ";1"),
            (Modifier::DIM, ";2"),
            (Modifier::UNDERLINED, ";4"),
            (Modifier::REVERSED, ";7"),
        ] {
            if cell.modifier.contains(modifier) {
                self.bytes.extend_from_slice(code.as_bytes());
            }
        }
        let colour = match cell.fg {
            Color::Red => ";31",
            Color::Green => ";32",
            Color::Yellow => ";33",
            // No others are drawn with.
            _ => "",
        };
        self.bytes.extend_from_slice(colour.as_bytes());
        self.bytes.push(b'm');
    }
}

impl Backend for Cells {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut next = None;
        let mut style = None;
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.set_cursor_position((x, y))?;
            }
            // A wide character takes two cells; the next has its place told anew.
            next = Some((x + 1, y)).filter(|_| cell.symbol().len() == 1);
            if style != Some((cell.fg, cell.modifier)) {
                style = Some((cell.fg, cell.modifier));
                self.style(cell);
            }
            // All text was escaped before. This is the last place where that can be made sure of.
            let is_harmless = !cell.symbol().chars().any(char::is_control);
            let symbol = if is_harmless { cell.symbol() } else { "?" };
            self.bytes.extend_from_slice(symbol.as_bytes());
        }
        self.bytes.extend_from_slice(b"\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.bytes.extend_from_slice(b"\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.bytes.extend_from_slice(b"\x1b[?25h");
        Ok(())
    }

    /// Nobody looks at the cursor, which is hidden.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        let (row, column) = (u32::from(y) + 1, u32::from(x) + 1);
        write!(self.bytes, "\x1b[{row};{column}H")
    }

    fn clear(&mut self) -> io::Result<()> {
        self.bytes.extend_from_slice(b"\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.bytes.extend_from_slice(match region {
            ClearType::All => b"\x1b[2J",
            ClearType::AfterCursor => b"\x1b[0J",
            ClearType::BeforeCursor => b"\x1b[1J",
            ClearType::CurrentLine => b"\x1b[2K",
            ClearType::UntilNewLine => b"\x1b[0K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let size = tcgetwinsize(io::stdout())?;
        // A terminal that does not say is taken for the usual one.
        Ok(match (size.ws_col, size.ws_row) {
            (0, _) | (_, 0) => Size::new(80, 24),
            (columns, rows) => Size::new(columns, rows),
        })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize {
            columns_rows: self.size()?,
            pixels: Size::ZERO,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(&self.bytes)?;
        self.bytes.clear();
        output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui_core::style::Style;

    fn written(cells: &[(u16, u16, Cell)]) -> String {
        let mut backend = Cells::default();
        let cells = cells.iter().map(|(x, y, cell)| (*x, *y, cell));
        backend.draw(cells).expect("it is kept");
        String::from_utf8(backend.bytes).expect("text")
    }

    #[test]
    fn cells_beside_each_other_share_a_place_and_a_style() {
        let mut red = Cell::new("b");
        red.set_style(Style::new().fg(Color::Red).add_modifier(Modifier::BOLD));
        let cells = [(0, 0, Cell::new("a")), (1, 0, red.clone()), (2, 0, red)];
        assert_eq!(written(&cells), "\x1b[1;1H\x1b[0ma\x1b[0;1;31mbb\x1b[0m");
    }

    #[test]
    fn nothing_in_a_cell_drives_the_terminal() {
        for symbol in ["\x1b", "\n", "\u{9b}", "a\x07"] {
            let mut cell = Cell::default();
            cell.set_symbol(symbol);
            let text = written(&[(0, 0, cell)]);
            assert_eq!(text, "\x1b[1;1H\x1b[0m?\x1b[0m", "{symbol:?}");
        }
    }
}
