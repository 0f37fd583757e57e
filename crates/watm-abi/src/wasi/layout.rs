//! Reads and writes the fields of fixed-size records.
//!
//! Knows offsets and widths, and must never know what a field means. Whether a field lies inside
//! its record is decided when the crate is compiled.

/// The `N` bytes at offset `AT` of a record. The assertion holds the range inside the record.
pub(crate) fn take<const AT: usize, const N: usize, const SIZE: usize>(
    record: &[u8; SIZE],
) -> [u8; N] {
    const { assert!(AT + N <= SIZE) };
    let mut field = [0; N];
    field.copy_from_slice(&record[AT..AT + N]);
    field
}

/// Puts `field` at offset `AT` of a record. The assertion holds the range inside the record.
pub(crate) fn put<const AT: usize, const N: usize, const SIZE: usize>(
    record: &mut [u8; SIZE],
    field: [u8; N],
) {
    const { assert!(AT + N <= SIZE) };
    record[AT..AT + N].copy_from_slice(&field);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_where_it_was_put_and_nothing_else_changes() {
        let mut record = [0xEE; 8];
        put::<2, _, _>(&mut record, 0x0102_0304u32.to_le_bytes());
        assert_eq!(record, [0xEE, 0xEE, 4, 3, 2, 1, 0xEE, 0xEE]);
        assert_eq!(u32::from_le_bytes(take::<2, 4, 8>(&record)), 0x0102_0304);
    }

    #[test]
    fn the_last_field_may_end_where_the_record_ends() {
        assert_eq!(take::<6, 2, 8>(&[0, 1, 2, 3, 4, 5, 6, 7]), [6, 7]);
    }
}
