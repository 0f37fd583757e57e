//! What a person looks at and how: the table that has the keys, what is selected, how it is sorted.
//!
//! Knows keys and pictures. Must never know a terminal.

use std::time::Instant;

use super::history::{Picture, Rates};
use super::keys::Key;
use super::rows::{self, BUSIEST, CONNECTIONS, ConnectionId, TUNNELS, TunnelId};
use super::table::{Column, Row, sort};

/// What a key asks for beyond a change of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    Suspend,
}

/// The table that the keys work on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Focus {
    #[default]
    Tunnels,
    Connections,
}

/// A table on the screen.
#[derive(Debug)]
pub(super) struct Table<I> {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Row<I>>,
    pub(super) sorted_by: usize,
    pub(super) is_reversed: bool,
    /// The columns that there was room for last.
    pub(super) shown: Vec<usize>,
    selected: Option<I>,
    /// The first row that is shown.
    offset: usize,
    /// How many rows were shown last.
    page: usize,
}

pub(super) struct View {
    pub(super) address: String,
    pub(super) picture: Option<Picture>,
    /// When the last answer came, and why none has come since.
    pub(super) answered: Instant,
    pub(super) failure: Option<String>,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    pub(super) focus: Focus,
    pub(super) tunnels: Table<TunnelId>,
    pub(super) connections: Table<ConnectionId>,
    /// Only the connections of this tunnel are shown.
    pub(super) only: Option<TunnelId>,
}

impl<I: Clone + Ord> Table<I> {
    fn new(columns: &'static [Column], sorted_by: usize) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            sorted_by,
            is_reversed: false,
            shown: (0..columns.len()).collect(),
            selected: None,
            offset: 0,
            page: 1,
        }
    }

    /// Takes other rows over. What was selected stays so; if it has gone, what is in its place is.
    fn set(&mut self, rows: Vec<Row<I>>) {
        let before = self.selected_at();
        self.rows = rows;
        self.sort();
        if self.selected_at().is_none() {
            self.select(before.unwrap_or(0));
        }
    }

    fn sort(&mut self) {
        sort(
            &mut self.rows,
            self.columns,
            self.sorted_by,
            self.is_reversed,
        );
    }

    /// Sorts by one of the columns that are shown, or the other way round if it does so already.
    fn sort_by_shown(&mut self, at: usize) {
        if let Some(column) = self.shown.get(at) {
            self.sort_by(*column);
        }
    }

    fn sort_by(&mut self, column: usize) {
        if column < self.columns.len() {
            self.is_reversed = self.sorted_by == column && !self.is_reversed;
            self.sorted_by = column;
            self.sort();
        }
    }

    pub(super) fn selected_at(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.rows.iter().position(|row| row.id == *selected)
    }

    fn select(&mut self, at: usize) {
        let last = self.rows.len().saturating_sub(1);
        self.selected = self.rows.get(at.min(last)).map(|row| row.id.clone());
    }

    /// The rows to show where there is room for `count`, with that which is selected, and its place.
    pub(super) fn page(&mut self, count: usize) -> (&[Row<I>], Option<usize>) {
        self.page = count.max(1);
        let at = self.selected_at().unwrap_or(0);
        let most = self.rows.len().saturating_sub(count);
        let least = (at + 1).saturating_sub(count);
        self.offset = self.offset.clamp(least, at.max(least)).min(most);
        let end = (self.offset + count).min(self.rows.len());
        let place = self.selected_at().map(|at| at.saturating_sub(self.offset));
        (&self.rows[self.offset..end], place)
    }

    fn key(&mut self, key: Key) {
        let at = self.selected_at().unwrap_or(0);
        match key {
            Key::Up | Key::Char('k') => self.select(at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.select(at + 1),
            Key::PageUp => self.select(at.saturating_sub(self.page)),
            Key::PageDown => self.select(at.saturating_add(self.page)),
            Key::Home | Key::Char('g') => self.select(0),
            Key::End | Key::Char('G') => self.select(usize::MAX),
            Key::Char('s') => {
                let now = self.shown.iter().position(|at| *at == self.sorted_by);
                let next = now.map_or(0, |at| (at + 1) % self.shown.len());
                self.sort_by_shown(next);
            }
            Key::Char('r') => self.sort_by(self.sorted_by),
            _ => {}
        }
    }
}

impl View {
    pub(super) fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            picture: None,
            answered: Instant::now(),
            failure: None,
            is_paused: false,
            shows_help: false,
            focus: Focus::Tunnels,
            tunnels: Table::new(&TUNNELS, 0),
            connections: Table::new(&CONNECTIONS, BUSIEST),
            only: None,
        }
    }

    /// Takes what was seen over, or why nothing was.
    pub(super) fn look(&mut self, at: Instant, looked: Result<Picture, String>) {
        match looked {
            Ok(picture) => {
                self.failure = None;
                self.answered = at;
                if !self.is_paused || self.picture.is_none() {
                    self.picture = Some(picture);
                    self.arrange();
                }
            }
            Err(failure) => {
                self.failure = Some(failure);
                // What it moves now is not known.
                if let Some(picture) = &mut self.picture {
                    picture.cpu = None;
                    forget(&mut picture.rates);
                    picture
                        .tunnels
                        .iter_mut()
                        .for_each(|(_, rates)| forget(rates));
                    let connections = picture.connections.iter_mut().flatten();
                    connections.for_each(|shown| forget(&mut shown.rates));
                }
                self.arrange();
            }
        }
    }

    fn arrange(&mut self) {
        let Some(picture) = &self.picture else { return };
        self.tunnels.set(rows::tunnels(picture));
        let connections = picture.connections.as_deref().unwrap_or_default();
        self.connections
            .set(rows::connections(connections, self.only.as_ref()));
    }

    pub(super) fn key(&mut self, key: Key) -> Wish {
        match key {
            Key::Char('q') | Key::Ctrl('c') => return Wish::Quit,
            Key::Ctrl('z') => return Wish::Suspend,
            Key::Char('?' | 'h') => self.shows_help = !self.shows_help,
            // The key that closes the help does nothing else.
            _ if self.shows_help => self.shows_help = false,
            Key::Char('p' | ' ') => self.is_paused = !self.is_paused,
            Key::Tab => {
                self.focus = match self.focus {
                    Focus::Tunnels => Focus::Connections,
                    Focus::Connections => Focus::Tunnels,
                };
            }
            Key::Enter if self.focus == Focus::Tunnels => {
                let chosen = self.tunnels.selected.clone();
                // Once more for all of them.
                self.only = chosen.filter(|chosen| self.only.as_ref() != Some(chosen));
                self.arrange();
            }
            Key::Escape | Key::Backspace => {
                self.only = None;
                self.arrange();
            }
            Key::Char(digit @ '1'..='9') => {
                let column = digit as usize - '1' as usize;
                match self.focus {
                    Focus::Tunnels => self.tunnels.sort_by_shown(column),
                    Focus::Connections => self.connections.sort_by_shown(column),
                }
            }
            key => match self.focus {
                Focus::Tunnels => self.tunnels.key(key),
                Focus::Connections => self.connections.key(key),
            },
        }
        Wish::Nothing
    }
}

fn forget(rates: &mut Option<Rates>) {
    *rates = None;
}
