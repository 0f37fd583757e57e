//! The oracle for the descriptor table.
//!
//! Knows what each operation has to do to a sorted map of open descriptors.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use watm_abi::{Errno, FD_LIMIT, FdTable};

use crate::List;

/// A table, and operations on it.
#[derive(Clone, Debug, Arbitrary)]
pub struct FdTableCase {
    /// The first number of the range.
    pub start: Start,
    /// Size of the range.
    pub len: Len,
    /// Maximum number of open descriptors.
    pub limit: u8,
    /// The operations, in order.
    pub ops: List<TableOp>,
}

/// The start of a range.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Start {
    /// Among the low numbers.
    Low(u8),
    /// Close to the highest possible number.
    AtLimit(i8),
    /// Any number up to twice the highest possible one.
    Any(u16),
}

/// The size of a range.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Len {
    /// Small enough for a guest to fill.
    Few(u8),
    /// Any size.
    Any(u32),
}

/// An operation on the table.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum TableOp {
    /// Opens the next number.
    Insert,
    /// Opens a number for a descriptor that does not count.
    Give(Number),
    /// Closes a number.
    Remove(Number),
    /// Moves one number to another.
    Renumber(Number, Number),
    /// Changes the value of a number.
    Change(Number),
    /// Closes everything, but only one time in sixteen. Otherwise no table would ever fill up.
    Drain(u8),
}

/// A number that the guest might pass.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Number {
    /// An open one, by its position.
    Open(u8),
    /// One of the first sixteen of the range.
    First(u8),
    /// A less likely one.
    Rare(Rare),
}

/// A less likely number.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Rare {
    /// Just below the range.
    Below(u8),
    /// Just after the range.
    After(u8),
    /// A standard stream, or a number just after them.
    Low(u8),
    /// Close to the highest possible number.
    AtLimit(i8),
    /// Exactly this number.
    Any(u32),
}

/// What the table must contain.
struct Model {
    open: BTreeMap<u32, u32>,
    /// The values that do not count. Each value is used only once.
    given: BTreeSet<u32>,
    start: u32,
    end: u32,
    limit: usize,
}

/// Applies every operation to a table and to the model, and compares the two after each step.
///
/// Returns how each step ended: `None` means success.
pub fn fd_table(case: &FdTableCase) -> Vec<Option<Errno>> {
    let start = match case.start {
        Start::Low(number) => u32::from(number),
        Start::AtLimit(offset) => FD_LIMIT.saturating_add_signed(i32::from(offset)),
        Start::Any(number) => u32::from(number) % (2 * FD_LIMIT),
    };
    let end = match case.len {
        Len::Few(len) => start.saturating_add(u32::from(len % 16)),
        Len::Any(len) => start.saturating_add(len),
    };
    // A low limit, so that a guest often reaches it.
    let limit = usize::from(case.limit % 8);
    let mut table = FdTable::new(start..end, limit);
    let end = end.min(FD_LIMIT);
    let mut model = Model {
        open: BTreeMap::new(),
        given: BTreeSet::new(),
        start: start.min(end),
        end,
        limit,
    };

    let mut endings = Vec::new();
    // Every value is unique, so that no two can be confused.
    for (value, op) in (0..).zip(&*case.ops) {
        endings.push(step(&mut table, &mut model, *op, value));
        compare(&table, &model);
    }
    compare_all_numbers(&mut table, &model);
    endings
}

fn step(table: &mut FdTable<u32>, model: &mut Model, op: TableOp, value: u32) -> Option<Errno> {
    match op {
        TableOp::Insert => {
            let expected = model.insert(value);
            let got = table.insert(value);
            assert_eq!(got, expected, "{op:?}");
            got.err()
        }
        TableOp::Give(fd) => {
            let fd = model.number(fd);
            let expected = model.give(fd, value);
            let got = table.give(fd, value);
            assert_eq!(got, expected, "{op:?} {fd}");
            got.err()
        }
        TableOp::Remove(fd) => {
            let fd = model.number(fd);
            let expected = model.open.remove(&fd).ok_or(Errno::Badf);
            let got = table.remove(fd);
            assert_eq!(got, expected, "{op:?} {fd}");
            got.err()
        }
        TableOp::Renumber(from, to) => {
            let (from, to) = (model.number(from), model.number(to));
            let expected = model.renumber(from, to);
            let got = table.renumber(from, to);
            assert_eq!(got, expected, "{op:?} {from} {to}");
            got.err()
        }
        TableOp::Change(fd) => {
            let fd = model.number(fd);
            let (got, expected) = (table.get_mut(fd), model.open.get_mut(&fd));
            assert_eq!(got, expected, "{op:?} {fd}");
            for place in got.into_iter().chain(expected) {
                if model.given.contains(place) {
                    model.given.insert(value);
                }
                *place = value;
            }
            None
        }
        TableOp::Drain(dice) if dice % 16 != 0 => None,
        TableOp::Drain(_) => {
            let got: Vec<(u32, u32)> = table.drain().collect();
            let expected: Vec<(u32, u32)> = std::mem::take(&mut model.open).into_iter().collect();
            assert_eq!(got, expected);
            None
        }
    }
}

fn compare(table: &FdTable<u32>, model: &Model) {
    assert!(
        table
            .iter()
            .map(|(fd, value)| (fd, *value))
            .eq(model.open.clone())
    );
    assert_eq!(table.len(), model.open.len());
    assert_eq!(table.is_empty(), model.open.is_empty());
    assert_eq!(table.limit(), model.limit);
    // Wherever the descriptors are, a guest never holds more than the limit.
    assert!(model.counted() <= model.limit);
    assert_eq!(table.is_full(), model.counted() == model.limit);
}

fn compare_all_numbers(table: &mut FdTable<u32>, model: &Model) {
    for fd in (0..FD_LIMIT + 8).chain([u32::MAX - 1, u32::MAX]) {
        assert_eq!(table.get(fd), model.open.get(&fd), "{fd}");
        assert_eq!(
            table.get_mut(fd).copied(),
            model.open.get(&fd).copied(),
            "{fd}"
        );
        assert_eq!(table.contains(fd), model.open.contains_key(&fd), "{fd}");
    }
    assert!(
        table
            .iter_mut()
            .map(|(fd, value)| (fd, *value))
            .eq(model.open.clone())
    );
}

impl Model {
    fn number(&self, number: Number) -> u32 {
        match number {
            Number::Open(position) => {
                let open = self.open.len().max(1);
                self.open
                    .keys()
                    .nth(usize::from(position) % open)
                    .copied()
                    .unwrap_or(0)
            }
            Number::First(offset) => self.start + u32::from(offset % 16),
            Number::Rare(Rare::Below(offset)) => self.start.saturating_sub(u32::from(offset)),
            Number::Rare(Rare::After(offset)) => self.end + u32::from(offset),
            Number::Rare(Rare::Low(number)) => u32::from(number % 8),
            Number::Rare(Rare::AtLimit(offset)) => {
                FD_LIMIT.saturating_add_signed(i32::from(offset))
            }
            Number::Rare(Rare::Any(number)) => number,
        }
    }

    /// Number of open descriptors that count against the limit.
    fn counted(&self) -> usize {
        let counts = |value: &&u32| !self.given.contains(value);
        self.open.values().filter(counts).count()
    }

    fn insert(&mut self, value: u32) -> Result<u32, Errno> {
        let free = |fd: &u32| !self.open.contains_key(fd);
        let fd = (self.start..self.end).find(free).ok_or(Errno::Mfile)?;
        if self.counted() >= self.limit {
            return Err(Errno::Mfile);
        }
        self.open.insert(fd, value);
        Ok(fd)
    }

    fn give(&mut self, fd: u32, value: u32) -> Result<Option<u32>, Errno> {
        if fd >= 1024 {
            return Err(Errno::Badf);
        }
        self.given.insert(value);
        Ok(self.open.insert(fd, value))
    }

    fn renumber(&mut self, from: u32, to: u32) -> Result<Option<u32>, Errno> {
        if !self.open.contains_key(&from) || to >= 1024 {
            return Err(Errno::Badf);
        }
        if from == to {
            return Ok(None);
        }
        let value = self.open.remove(&from).ok_or(Errno::Badf)?;
        Ok(self.open.insert(to, value))
    }
}
