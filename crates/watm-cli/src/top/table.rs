//! A table of text: how its rows are sorted, and how it fits into a line.
//!
//! Must never know what is in it, nor how it is drawn.

use std::cmp::Ordering;

use ratatui_core::text::Span;

/// The room between two columns.
const GAP: u16 = 2;
/// What a column of names keeps when there is little room.
const NARROW: u16 = 12;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) kind: Kind,
    /// Those with the highest rank go first when there is no room for all.
    pub(super) rank: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To the left, and shortened when there is little room.
    Name,
    /// To the right, and never shortened.
    Number,
}

/// What a cell means, for colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Notable,
    Bad,
}

/// What rows are sorted by.
#[derive(Clone, Debug)]
pub(super) enum Key {
    Text(String),
    Number(f64),
}

#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) key: Key,
    pub(super) tone: Tone,
}

/// A row. Its id stays the same from one look to the next.
#[derive(Clone, Debug)]
pub(super) struct Row<I> {
    pub(super) id: I,
    pub(super) cells: Vec<Cell>,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            key: Key::Text(text.clone()),
            text,
            tone: Tone::Plain,
        }
    }

    /// A number, as it is shown.
    pub(super) fn number(value: f64, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            key: Key::Number(value),
            tone: Tone::Plain,
        }
    }

    pub(super) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

impl Key {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

/// Sorts rows by a column: names from A on and the largest numbers first, or the other way round. Equal
/// ones keep the order of their ids.
pub(super) fn sort<I: Ord>(rows: &mut [Row<I>], columns: &[Column], by: usize, is_reversed: bool) {
    let is_number = columns
        .get(by)
        .is_some_and(|column| column.kind == Kind::Number);
    let descends = is_number != is_reversed;
    rows.sort_by(|one, other| {
        let order = match (one.cells.get(by), other.cells.get(by)) {
            (Some(one), Some(other)) => one.key.compare(&other.key),
            _ => Ordering::Equal,
        };
        let order = if descends { order.reverse() } else { order };
        order.then_with(|| one.id.cmp(&other.id))
    });
}

/// Which columns are shown, and how wide each is: all of them, or those that fit into `room`.
pub(super) fn fit<I>(columns: &[Column], rows: &[Row<I>], room: Option<u16>) -> Vec<(usize, u16)> {
    let natural: Vec<u16> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|row| row.cells.get(at));
            let widest = cells.map(|cell| width(&cell.text)).max().unwrap_or(0);
            // The sorted column has a mark.
            widest.max(width(column.title) + 1)
        })
        .collect();
    let Some(room) = room else {
        return natural.into_iter().enumerate().collect();
    };
    let least = |at: usize| match columns[at].kind {
        Kind::Name => natural[at].min(NARROW),
        Kind::Number => natural[at],
    };
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let taken = |shown: &[usize]| {
        let gaps = usize::from(GAP) * shown.len().saturating_sub(1);
        shown
            .iter()
            .map(|at| usize::from(least(*at)))
            .sum::<usize>()
            + gaps
    };
    while shown.len() > 1 && taken(&shown) > usize::from(room) {
        let last = shown.iter().max_by_key(|at| (columns[**at].rank, **at));
        let last = last.copied();
        shown.retain(|at| Some(*at) != last);
    }
    let mut left = usize::from(room).saturating_sub(taken(&shown));
    let widths = shown.into_iter().map(|at| {
        let more = usize::from(natural[at] - least(at)).min(left);
        left -= more;
        let wide = least(at) + u16::try_from(more).unwrap_or(0);
        (at, wide.min(room))
    });
    widths.collect()
}

/// The text of a cell, as wide as its column.
pub(super) fn padded(text: &str, kind: Kind, wide: u16) -> String {
    let text = shortened(text, wide);
    let pad = " ".repeat(usize::from(wide - width(&text).min(wide)));
    match kind {
        Kind::Name => text + &pad,
        Kind::Number => pad + &text,
    }
}

/// The room between columns.
pub(super) fn gap() -> String {
    " ".repeat(usize::from(GAP))
}

/// As much of a text as there is room for. What is left out is marked.
pub(super) fn shortened(text: &str, wide: u16) -> String {
    if width(text) <= wide {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        if width(&short) >= wide {
            short.pop();
            break;
        }
    }
    if wide > 0 {
        short.push('~');
    }
    short
}

/// The cells of a terminal that a text takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column {
            title: "NAME",
            kind: Kind::Name,
            rank: 0,
        },
        Column {
            title: "RATE",
            kind: Kind::Number,
            rank: 1,
        },
        Column {
            title: "TARGET",
            kind: Kind::Name,
            rank: 2,
        },
    ];

    fn rows() -> Vec<Row<u32>> {
        let row = |id, name: &str, rate: f64, target: &str| Row {
            id,
            cells: vec![
                Cell::text(name),
                Cell::number(rate, format!("{rate}")),
                Cell::text(target),
            ],
        };
        vec![
            row(1, "b", 2.0, "192.0.2.1:443"),
            row(2, "a", 10.0, "a-long-name.example:443"),
            row(3, "c", 2.0, "x"),
        ]
    }

    fn sorted(by: usize, is_reversed: bool) -> Vec<u32> {
        let mut rows = rows();
        sort(&mut rows, &COLUMNS, by, is_reversed);
        rows.iter().map(|row| row.id).collect()
    }

    #[test]
    fn names_ascend_and_numbers_descend_unless_reversed() {
        assert_eq!(sorted(0, false), [2, 1, 3]);
        assert_eq!(sorted(0, true), [3, 1, 2]);
        assert_eq!(sorted(1, false), [2, 1, 3], "equal ones keep their order");
        assert_eq!(sorted(1, true), [1, 3, 2]);
        assert_eq!(sorted(9, false), [1, 2, 3], "there is no such column");
    }

    #[test]
    fn names_are_shortened_first_and_then_columns_go() {
        assert_eq!(fit(&COLUMNS, &rows(), None), [(0, 5), (1, 5), (2, 23)]);
        assert_eq!(fit(&COLUMNS, &rows(), Some(40)), [(0, 5), (1, 5), (2, 23)]);
        assert_eq!(fit(&COLUMNS, &rows(), Some(30)), [(0, 5), (1, 5), (2, 16)]);
        assert_eq!(fit(&COLUMNS, &rows(), Some(20)), [(0, 5), (1, 5)]);
        assert_eq!(fit(&COLUMNS, &rows(), Some(8)), [(0, 5)]);
        assert_eq!(fit(&COLUMNS, &rows(), Some(0)), [(0, 0)]);
    }

    #[test]
    fn a_text_is_as_wide_as_its_column() {
        assert_eq!(padded("ab", Kind::Name, 4), "ab  ");
        assert_eq!(padded("ab", Kind::Number, 4), "  ab");
        assert_eq!(padded("abcdef", Kind::Name, 4), "abc~");
        assert_eq!(padded("\u{4f60}\u{597d}", Kind::Name, 3), "\u{4f60}~");
        assert_eq!(padded("abc", Kind::Name, 0), "");
        assert_eq!(padded("abc", Kind::Name, 1), "~");
    }
}
