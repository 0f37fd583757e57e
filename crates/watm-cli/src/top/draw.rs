//! Draws a view: on a terminal of any size, however small.
//!
//! Knows cells of a screen. Must never know how they get there.

use std::time::Instant;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};

use super::rows;
use super::table::{self, Column, Tone};
use super::units::time;
use super::view::{Focus, Table, View};
use crate::terminal::escape::printable;

const KEYS: &str = "q quit  ? help  Tab other table  Enter only this tunnel  1-9 s r sort  p pause";

const HELP: [&str; 20] = [
    "Keys",
    "  q, Ctrl-C         quit",
    "  Tab               the other table",
    "  up, down, k, j    the row before or after",
    "  PgUp, PgDn        a page up or down",
    "  Home, End, g, G   the first or last row",
    "  Enter             only connections of the selected tunnel, or all again",
    "  Esc               connections of all tunnels",
    "  1 to 9            sort by that column; once more: the other way round",
    "  s, r              sort by the next column; the other way round",
    "  p, space          pause, and go on",
    "  Ctrl-Z            suspend",
    "",
    "UP is what goes from clients towards their target, DOWN what comes back, as they are on",
    "the network. FAILED counts connections that could not be set up or ended with an error.",
    "IDLE is the time since a connection has moved a byte; >5s: it has not since it was first",
    "seen 5 s ago. A number without a value yet is -.",
    "",
    "Any key goes back.",
    "",
];

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) has_colours: bool,
}

impl Palette {
    fn tone(self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Plain => return Style::new(),
            Tone::Good => Color::Green,
            Tone::Notable => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        if self.has_colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

/// A part of the screen, of which a few lines are drawn one after the other.
struct Page<'b> {
    buffer: &'b mut Buffer,
    left: Rect,
}

impl Page<'_> {
    /// How many lines there is room for.
    fn room(&self) -> usize {
        self.left.height.into()
    }

    /// Draws a line of pieces, as far as there is room.
    fn line<'t>(&mut self, pieces: impl IntoIterator<Item = (&'t str, Style)>) {
        if self.left.height == 0 {
            return;
        }
        let (mut x, y) = (self.left.x, self.left.y);
        for (text, style) in pieces {
            let room = usize::from(self.left.right().saturating_sub(x));
            if room == 0 {
                break;
            }
            (x, _) = self.buffer.set_stringn(x, y, text, room, style);
        }
        self.left.y += 1;
        self.left.height -= 1;
    }

    /// The same, where the whole line has the style of what is selected.
    fn selected(&mut self, text: &str) {
        if self.left.height > 0 {
            let line = Rect {
                height: 1,
                ..self.left
            };
            self.line([(text, Style::new())]);
            self.buffer
                .set_style(line, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &mut View,
    palette: Palette,
    now: Instant,
) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    let mut page = Page { buffer, left: area };
    if view.shows_help {
        for line in HELP {
            page.line([(line, Style::new())]);
        }
        return;
    }
    // The last line tells the keys, unless there is hardly a line for the rest.
    let keys = (area.height > 8).then(|| Rect {
        y: area.bottom() - 1,
        height: 1,
        ..area
    });
    page.left.height -= u16::from(keys.is_some());
    head(&mut page, view, palette, now);
    tables(&mut page, view, palette);
    if let Some(left) = keys {
        let mut page = Page { buffer, left };
        page.line([(KEYS, Style::new().add_modifier(Modifier::DIM))]);
    }
}

/// What the process is, and what is wrong.
fn head(page: &mut Page<'_>, view: &View, palette: Palette, now: Instant) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let is_small = page.room() < 6;
    if let Some(picture) = &view.picture {
        let (process, tone) = rows::process(picture);
        let address = format!("  {}", printable(&view.address));
        page.line([
            (&*process, palette.tone(tone).patch(bold)),
            (&*address, Style::new()),
        ]);
        if !is_small {
            page.line([(&*rows::totals(picture), Style::new())]);
        }
    }
    if let Some(failure) = &view.failure {
        let ago = time(now.saturating_duration_since(view.answered));
        let text = format!("no answer for {ago}: {}", printable(failure));
        page.line([(&*text, palette.tone(Tone::Bad).patch(bold))]);
    } else if view.is_paused {
        let text = "paused: p goes on";
        page.line([(text, palette.tone(Tone::Notable).patch(bold))]);
    } else if !is_small {
        page.line([]);
    }
}

fn tables(page: &mut Page<'_>, view: &mut View, palette: Palette) {
    let room = page.room();
    let hidden = view.picture.as_ref();
    let hidden = hidden.and_then(|picture| picture.connections.as_ref().err().cloned());
    let left_out = view.picture.as_ref().map_or(0, |picture| picture.left_out);
    let focus = view.focus;
    // There has to be room for the heads of both and a row of each.
    if room < 5 {
        match (focus, hidden) {
            (Focus::Tunnels, _) => table(page, &mut view.tunnels, room, true, palette),
            (Focus::Connections, None) => table(page, &mut view.connections, room, true, palette),
            (Focus::Connections, Some(why)) => page.line([(&*printable(&why), Style::new())]),
        }
        return;
    }
    let tunnels = view.tunnels.rows.len() + 1;
    let most = if hidden.is_some() { room - 2 } else { room / 2 };
    let lines = tunnels.min(most.max(2));
    table(
        page,
        &mut view.tunnels,
        lines,
        focus == Focus::Tunnels,
        palette,
    );
    page.line([]);
    if let Some(why) = hidden {
        return page.line([(&*printable(&why), Style::new())]);
    }
    let room = page.room();
    if view.only.is_some() || left_out > 0 {
        let mut text = match &view.only {
            Some((name, _)) => format!("only of {}: Esc shows all", printable(name)),
            None => String::new(),
        };
        if left_out > 0 {
            let first = if text.is_empty() { "" } else { "; " };
            text.push_str(&format!("{first}{left_out} more are not listed"));
        }
        if room > 2 {
            page.line([(&*text, palette.tone(Tone::Notable))]);
        }
    }
    let room = page.room();
    let has_focus = focus == Focus::Connections;
    table(page, &mut view.connections, room, has_focus, palette);
}

/// Draws a table with its head in this many lines.
fn table<I: Clone + Ord>(
    page: &mut Page<'_>,
    table: &mut Table<I>,
    lines: usize,
    has_focus: bool,
    palette: Palette,
) {
    let lines = lines.min(page.room());
    if lines == 0 {
        return;
    }
    let columns = table.columns;
    let shown = table::fit(columns, &table.rows, Some(page.left.width));
    table.shown = shown.iter().map(|(at, _)| *at).collect();
    let (sorted_by, is_reversed) = (table.sorted_by, table.is_reversed);
    let mut style = Style::new().add_modifier(Modifier::BOLD);
    if has_focus {
        style = style.add_modifier(Modifier::UNDERLINED);
    }
    let heads = columns.iter().enumerate();
    let heads = heads.map(|(at, column)| (title(at, column, sorted_by, is_reversed), style));
    let heads: Vec<_> = heads.collect();
    let head = line(
        columns,
        &shown,
        |at| (heads[at].0.clone(), heads[at].1),
        style,
    );
    page.line(head.iter().map(|(text, style)| (&**text, *style)));
    let (rows, selected) = table.page(lines - 1);
    for (place, row) in rows.iter().enumerate() {
        let cell = |at: usize| {
            let cell = &row.cells[at];
            (cell.text.clone(), palette.tone(cell.tone))
        };
        let pieces = line(columns, &shown, cell, Style::new());
        if has_focus && selected == Some(place) {
            let text: String = pieces.iter().map(|(text, _)| &**text).collect();
            page.selected(&text);
        } else {
            page.line(pieces.iter().map(|(text, style)| (&**text, *style)));
        }
    }
}

fn title(at: usize, column: &Column, sorted_by: usize, is_reversed: bool) -> String {
    if at != sorted_by {
        return column.title.to_owned();
    }
    let descends = (column.kind == table::Kind::Number) != is_reversed;
    format!("{}{}", column.title, if descends { 'v' } else { '^' })
}

/// The pieces of a line of a table.
fn line(
    columns: &[Column],
    shown: &[(usize, u16)],
    cell: impl Fn(usize) -> (String, Style),
    between: Style,
) -> Vec<(String, Style)> {
    let mut pieces = Vec::with_capacity(2 * shown.len());
    for (at, wide) in shown {
        if !pieces.is_empty() {
            pieces.push((table::gap(), between));
        }
        let (text, style) = cell(*at);
        pieces.push((table::padded(&text, columns[*at].kind, *wide), style));
    }
    pieces
}

/// The same tables and lines as text, without a limit of width.
pub(super) fn text(view: &View) -> String {
    let mut text = String::new();
    if let Some(picture) = &view.picture {
        text.push_str(&format!(
            "{}  {}\n{}\n\n",
            rows::process(picture).0,
            printable(&view.address),
            rows::totals(picture)
        ));
        whole(&mut text, &view.tunnels);
        text.push('\n');
        match &picture.connections {
            Ok(_) => whole(&mut text, &view.connections),
            Err(why) => text.push_str(&format!("{}\n", printable(why))),
        }
        if picture.left_out > 0 {
            text.push_str(&format!("{} more are not listed\n", picture.left_out));
        }
    }
    text
}

fn whole<I>(text: &mut String, table: &Table<I>) {
    let columns = table.columns;
    let shown = table::fit(columns, &table.rows, None);
    let head = |at: usize| (columns[at].title.to_owned(), Style::new());
    let mut add = |pieces: Vec<(String, Style)>| {
        let line: String = pieces.into_iter().map(|(text, _)| text).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    };
    add(line(columns, &shown, head, Style::new()));
    for row in &table.rows {
        let cell = |at: usize| (row.cells[at].text.clone(), Style::new());
        add(line(columns, &shown, cell, Style::new()));
    }
}

#[cfg(test)]
mod tests;
