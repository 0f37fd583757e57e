//! The table of a guest's descriptors.
//!
//! Knows which numbers are taken, and by what. Must never know what a descriptor does.

use std::iter::FusedIterator;
use std::ops::Range;

use crate::Errno;

/// All numbers are below this limit. The `select` of wasi-libc cannot take higher ones.
pub const FD_LIMIT: u32 = 1024;

/// Descriptors by number.
///
/// A new descriptor gets the lowest free number of a range. It counts against a limit, wherever the
/// guest moves it. A descriptor that the guest is given from the start, such as a standard stream,
/// may have any number. It does not count, wherever it is moved.
///
/// A lookup takes two reads, whatever the number. A table that was never used holds no memory. A
/// full table takes at most 2 KiB in addition to its entries.
///
/// ```
/// use watm_abi::{Errno, FdTable};
///
/// // What a guest opens gets numbers from 3 on, and two of that at most.
/// let mut open = FdTable::new(3..1024, 2);
/// open.give(1, "standard output")?;
/// assert_eq!(open.insert("a connection")?, 3);
/// assert_eq!(open.insert("a file")?, 4);
/// assert_eq!(open.insert("one too many"), Err(Errno::Mfile));
///
/// // `fd_renumber(3, 1)` closes what was there.
/// assert_eq!(open.renumber(3, 1)?, Some("standard output"));
/// assert_eq!(open.get(1), Some(&"a connection"));
/// assert_eq!(open.remove(3), Err(Errno::Badf));
/// assert_eq!(open.counted(), 2);
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Debug)]
pub struct FdTable<T> {
    /// The position in `entries` for each number. Numbers past the end are free. Grows on demand.
    slots: Vec<Slot>,
    /// The open descriptors, in the order of their numbers.
    entries: Vec<Entry<T>>,
    range: Range<u32>,
    limit: usize,
    /// Number of entries that count against the limit.
    counted: usize,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    fd: u32,
    /// Whether the entry counts against the limit.
    counts: bool,
    value: T,
}

/// The state of a number. The position of an entry fits in 16 bits because there are at most
/// [`FD_LIMIT`] entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Free,
    Open(u16),
}

impl<T> FdTable<T> {
    /// Creates an empty table that hands out the numbers from `range.start` to `range.end - 1`. At
    /// most `limit` of the descriptors that it hands out can be open at once.
    ///
    /// The range is cut at [`FD_LIMIT`]. With an empty range or a limit of 0,
    /// [`insert`](Self::insert) always fails.
    pub fn new(range: Range<u32>, limit: usize) -> Self {
        let end = range.end.min(FD_LIMIT);
        let start = range.start.min(end);
        FdTable {
            slots: Vec::new(),
            entries: Vec::new(),
            range: start..end,
            limit,
            counted: 0,
        }
    }

    /// Opens the lowest free number of the range, and returns it.
    ///
    /// # Errors
    ///
    /// Returns [`Errno::Mfile`] when the limit is reached or the range is full. The value is
    /// dropped.
    pub fn insert(&mut self, value: T) -> Result<u32, Errno> {
        if self.is_full() {
            return Err(Errno::Mfile);
        }
        let fd = self
            .range
            .clone()
            .find(|&fd| self.slot(fd) == Slot::Free)
            .ok_or(Errno::Mfile)?;
        self.place(Entry {
            fd,
            counts: true,
            value,
        });
        Ok(fd)
    }

    /// Opens this number for something that the guest has from the start, and returns what it
    /// replaces. The number may be inside or outside of the range. The descriptor does not count
    /// against the limit.
    ///
    /// # Errors
    ///
    /// Returns [`Errno::Badf`] if the number is [`FD_LIMIT`] or more. The table is then unchanged,
    /// and the value is dropped.
    pub fn give(&mut self, fd: u32, value: T) -> Result<Option<T>, Errno> {
        if fd >= FD_LIMIT {
            return Err(Errno::Badf);
        }
        Ok(self.place(Entry {
            fd,
            counts: false,
            value,
        }))
    }

    /// Returns what is open under this number.
    pub fn get(&self, fd: u32) -> Option<&T> {
        let position = self.position(fd)?;
        self.entries.get(position).map(|entry| &entry.value)
    }

    /// Returns what is open under this number, for changing it.
    pub fn get_mut(&mut self, fd: u32) -> Option<&mut T> {
        let position = self.position(fd)?;
        self.entries.get_mut(position).map(|entry| &mut entry.value)
    }

    /// Whether this number is open.
    pub fn contains(&self, fd: u32) -> bool {
        self.position(fd).is_some()
    }

    /// Closes this number and returns what was open. The number is then free again.
    ///
    /// # Errors
    ///
    /// Returns [`Errno::Badf`] if the number is not open.
    pub fn remove(&mut self, fd: u32) -> Result<T, Errno> {
        self.take(fd).map(|entry| entry.value)
    }

    /// Moves a descriptor to another number, as `fd_renumber` does, and returns what it replaces.
    ///
    /// `from` is free afterwards. `to` need not be open. WASI says that free numbers must be
    /// refused, so a host that follows it checks `to` first. If both numbers are the same, nothing
    /// changes. The number of descriptors that count against the limit does not grow.
    ///
    /// # Errors
    ///
    /// Returns [`Errno::Badf`] if `from` is not open, or if `to` is [`FD_LIMIT`] or more. The table
    /// is then unchanged.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<Option<T>, Errno> {
        if !self.contains(from) || to >= FD_LIMIT {
            return Err(Errno::Badf);
        }
        if from == to {
            return Ok(None);
        }
        let moved = self.take(from)?;
        Ok(self.place(Entry { fd: to, ..moved }))
    }

    /// Number of open descriptors, including those that do not count against the limit.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no descriptor is open.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of open descriptors that count against the limit.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// Maximum number of descriptors that may be open at once, not counting those that were given.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the limit is reached, so that [`insert`](Self::insert) fails.
    pub fn is_full(&self) -> bool {
        self.counted >= self.limit
    }

    /// Iterates over the open descriptors, in the order of their numbers.
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = (u32, &T)> + ExactSizeIterator + FusedIterator {
        self.entries.iter().map(|entry| (entry.fd, &entry.value))
    }

    /// Iterates over the open descriptors, in the order of their numbers, for changing them.
    pub fn iter_mut(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = (u32, &mut T)> + ExactSizeIterator + FusedIterator {
        self.entries
            .iter_mut()
            .map(|entry| (entry.fd, &mut entry.value))
    }

    /// Closes all descriptors, and returns them in the order of their numbers.
    ///
    /// The table is empty at once, even if the iterator is not run to its end.
    pub fn drain(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = (u32, T)> + ExactSizeIterator + FusedIterator + use<T>
    {
        self.slots.fill(Slot::Free);
        self.counted = 0;
        let entries = std::mem::take(&mut self.entries).into_iter();
        entries.map(|entry| (entry.fd, entry.value))
    }

    /// Removes the entry of a number from the table.
    fn take(&mut self, fd: u32) -> Result<Entry<T>, Errno> {
        let position = self.position(fd).ok_or(Errno::Badf)?;
        let entry = self.entries.remove(position);
        self.counted -= usize::from(entry.counts);
        self.set_slot(fd, Slot::Free);
        self.reposition(position);
        Ok(entry)
    }

    /// Puts an entry under its number, whatever the limit says. The number must be below
    /// `FD_LIMIT`.
    fn place(&mut self, entry: Entry<T>) -> Option<T> {
        self.counted += usize::from(entry.counts);
        match self
            .entries
            .binary_search_by_key(&entry.fd, |entry| entry.fd)
        {
            Ok(position) => {
                let displaced = std::mem::replace(self.entries.get_mut(position)?, entry);
                self.counted -= usize::from(displaced.counts);
                Some(displaced.value)
            }
            Err(position) => {
                self.entries.insert(position, entry);
                self.reposition(position);
                None
            }
        }
    }

    /// Updates the slots of the entries from position `first` on.
    fn reposition(&mut self, first: usize) {
        for position in first..self.entries.len() {
            let Some(&Entry { fd, .. }) = self.entries.get(position) else {
                return;
            };
            // There are at most `FD_LIMIT` entries, so the position fits.
            self.set_slot(fd, Slot::Open(position as u16));
        }
    }

    /// The position of a number's entry.
    fn position(&self, fd: u32) -> Option<usize> {
        match self.slot(fd) {
            Slot::Open(position) => Some(usize::from(position)),
            Slot::Free => None,
        }
    }

    fn slot(&self, fd: u32) -> Slot {
        usize::try_from(fd)
            .ok()
            .and_then(|index| self.slots.get(index))
            .copied()
            .unwrap_or(Slot::Free)
    }

    /// Sets the state of a number below `FD_LIMIT`.
    fn set_slot(&mut self, fd: u32, state: Slot) {
        let Ok(index) = usize::try_from(fd) else {
            return;
        };
        if index >= self.slots.len() {
            if state == Slot::Free {
                return;
            }
            self.slots.resize(index + 1, Slot::Free);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of the numbers 64 to 69 that holds at most four descriptors.
    fn table() -> FdTable<char> {
        FdTable::new(64..70, 4)
    }

    #[track_caller]
    fn assert_open(table: &FdTable<char>, expected: &[(u32, char)]) {
        let open: Vec<(u32, char)> = table.iter().map(|(fd, value)| (fd, *value)).collect();
        assert_eq!(open, expected);
        assert_eq!(table.len(), expected.len());
        assert_eq!(table.is_empty(), expected.is_empty());
        for fd in 0..FD_LIMIT + 2 {
            let value = expected
                .iter()
                .find(|(open, _)| *open == fd)
                .map(|(_, value)| value);
            assert_eq!(table.get(fd), value, "{fd}");
            assert_eq!(table.contains(fd), value.is_some(), "{fd}");
        }
    }

    #[test]
    fn new_descriptors_get_the_lowest_free_number_of_the_range() {
        let mut table = table();
        assert_eq!(table.insert('a'), Ok(64));
        assert_eq!(table.insert('b'), Ok(65));
        assert_eq!(table.insert('c'), Ok(66));
        assert_eq!(table.remove(65), Ok('b'));
        assert_eq!(table.insert('d'), Ok(65));
        assert_open(&table, &[(64, 'a'), (65, 'd'), (66, 'c')]);
    }

    #[test]
    fn the_limit_holds_until_something_is_closed() {
        let mut table = table();
        for value in ['a', 'b', 'c', 'd'] {
            table.insert(value).unwrap();
        }
        assert_eq!(table.insert('e'), Err(Errno::Mfile));
        assert_eq!(table.limit(), 4);
        assert!(table.is_full());
        table.remove(64).unwrap();
        assert!(!table.is_full());
        assert_eq!(table.insert('e'), Ok(64));
        assert_eq!(table.insert('f'), Err(Errno::Mfile));
    }

    #[test]
    fn a_full_range_is_full_below_the_limit_too() {
        let mut table = FdTable::new(5..7, 100);
        assert_eq!((table.insert('a'), table.insert('b')), (Ok(5), Ok(6)));
        assert_eq!(table.insert('c'), Err(Errno::Mfile));
    }

    #[test]
    fn the_range_ends_at_1024_whatever_is_asked_for() {
        let mut table = FdTable::new(1022..u32::MAX, usize::MAX);
        assert_eq!((table.insert('a'), table.insert('b')), (Ok(1022), Ok(1023)));
        assert_eq!(table.insert('c'), Err(Errno::Mfile));
        // The range is empty: its ends are in the wrong order, or beyond the limit.
        #[expect(
            clippy::reversed_empty_ranges,
            reason = "a caller may pass such ranges by mistake"
        )]
        for range in [9..3, 2000..3000, 0..0] {
            assert_eq!(FdTable::new(range, 9).insert('a'), Err(Errno::Mfile));
        }
    }

    #[test]
    fn a_descriptor_can_stand_over_standard_input() {
        let mut table = table();
        assert_eq!(table.give(0, 'a'), Ok(None));
        assert_eq!(table.give(0, 'b'), Ok(Some('a')));
        assert_open(&table, &[(0, 'b')]);
    }

    #[test]
    fn what_was_given_out_counts_against_the_limit_wherever_it_is_moved() {
        let mut table = FdTable::new(64..70, 2);
        for to in [0, 63, 5, 900] {
            assert_eq!(table.insert('a'), Ok(64));
            assert_eq!(table.insert('b'), Ok(65));
            assert_eq!(table.renumber(64, to), Ok(None));
            assert_eq!(table.insert('c'), Err(Errno::Mfile), "{to}");
            // One replaces the other, which is gone.
            assert_eq!(table.renumber(65, to), Ok(Some('a')));
            assert_eq!(table.insert('c'), Ok(64));
            assert_eq!(table.insert('d'), Err(Errno::Mfile));
            assert_eq!(table.remove(64), Ok('c'));
            assert_eq!(table.remove(to), Ok('b'));
        }
        drop(table.drain());
        assert_eq!((table.insert('a'), table.insert('b')), (Ok(64), Ok(65)));
    }

    #[test]
    fn what_was_given_does_not_count_wherever_it_is_moved() {
        let mut table = FdTable::new(64..70, 1);
        assert_eq!(table.give(0, 'a'), Ok(None));
        assert_eq!(table.give(66, 'b'), Ok(None));
        assert_eq!(table.renumber(0, 65), Ok(None));
        assert_eq!(table.insert('c'), Ok(64));
        assert_eq!(table.insert('d'), Err(Errno::Mfile));
        // A given one replaces one that counts, which is gone.
        assert_eq!(table.renumber(65, 64), Ok(Some('c')));
        assert_eq!(table.insert('d'), Ok(65));
        assert_eq!(table.insert('e'), Err(Errno::Mfile));
        // One that counts replaces a given one, and still counts.
        assert_eq!(table.renumber(65, 66), Ok(Some('b')));
        assert_eq!(table.insert('e'), Err(Errno::Mfile));
        assert_open(&table, &[(64, 'a'), (66, 'd')]);
    }

    #[test]
    fn no_number_from_1024_on_can_be_opened() {
        let mut table = table();
        assert_eq!(table.give(1023, 'a'), Ok(None));
        assert_eq!(table.give(1024, 'b'), Err(Errno::Badf));
        assert_eq!(table.give(u32::MAX, 'b'), Err(Errno::Badf));
        assert_eq!(table.renumber(1023, 1024), Err(Errno::Badf));
        assert_eq!(table.renumber(1023, u32::MAX), Err(Errno::Badf));
        assert_open(&table, &[(1023, 'a')]);
    }

    #[test]
    fn a_closed_number_is_bad_until_it_is_opened_again() {
        let mut table = table();
        assert_eq!(table.remove(64), Err(Errno::Badf));
        table.insert('a').unwrap();
        assert_eq!(table.remove(64), Ok('a'));
        assert_eq!(table.remove(64), Err(Errno::Badf));
        assert_eq!(table.remove(u32::MAX), Err(Errno::Badf));
        assert_open(&table, &[]);
    }

    #[test]
    fn renumbering_moves_and_returns_what_it_displaced() {
        let mut table = table();
        table.insert('a').unwrap();
        table.insert('b').unwrap();
        assert_eq!(table.renumber(64, 65), Ok(Some('b')));
        assert_open(&table, &[(65, 'a')]);
        assert_eq!(table.renumber(65, 3), Ok(None));
        assert_open(&table, &[(3, 'a')]);
        assert_eq!(table.renumber(3, 3), Ok(None));
        assert_open(&table, &[(3, 'a')]);
        assert_eq!(table.renumber(65, 3), Err(Errno::Badf));
        assert_eq!(table.renumber(65, 65), Err(Errno::Badf));
        assert_open(&table, &[(3, 'a')]);
    }

    #[test]
    fn renumbering_at_the_limit_is_allowed_while_the_count_stays() {
        let mut table = FdTable::new(64..70, 1);
        table.insert('a').unwrap();
        assert_eq!(table.renumber(64, 69), Ok(None));
        assert_eq!(table.renumber(69, 900), Ok(None));
        assert_open(&table, &[(900, 'a')]);
    }

    #[test]
    fn values_can_be_changed_in_place() {
        let mut table = table();
        table.insert('a').unwrap();
        table.give(2, 'b').unwrap();
        *table.get_mut(64).unwrap() = 'c';
        assert_eq!(table.get_mut(65), None);
        for (_, value) in table.iter_mut() {
            value.make_ascii_uppercase();
        }
        assert_open(&table, &[(2, 'B'), (64, 'C')]);
    }

    #[test]
    fn draining_closes_everything_in_order() {
        let mut table = table();
        table.insert('a').unwrap();
        table.give(2, 'b').unwrap();
        let drained: Vec<(u32, char)> = table.drain().collect();
        assert_eq!(drained, [(2, 'b'), (64, 'a')]);
        assert_open(&table, &[]);
        table.insert('c').unwrap();
        drop(table.drain());
        assert_open(&table, &[]);
        assert_eq!((table.insert('d'), table.insert('e')), (Ok(64), Ok(65)));
    }

    #[test]
    fn an_unused_table_holds_no_memory_and_a_high_number_little() {
        let mut table: FdTable<[u8; 4096]> = FdTable::new(512..1024, 16);
        assert_eq!((table.slots.capacity(), table.entries.capacity()), (0, 0));
        table.give(1023, [0; 4096]).unwrap();
        assert!(size_of::<Slot>() * table.slots.capacity() <= 4096);
        assert!(table.entries.capacity() <= 4);
    }
}
