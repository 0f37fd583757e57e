//! How long records are: distributions, and which of them each record of a direction follows.

use watm_guest::Result;

use crate::header::{DATA, Header, ZEROS};
use crate::random::Random;

/// The smallest and the largest record that a list of sizes may ask for, with its header.
pub(crate) const SMALLEST: usize = 16;
pub(crate) const LARGEST: usize = Header::LENGTH + DATA;

/// Maximum number of sizes in a list, and the maximum sum of their weights.
pub(crate) const SIZES: usize = 256;
pub(crate) const WEIGHTS: u32 = 1_000_000;

/// Maximum number of records that are padded differently.
pub(crate) const FIRST: u32 = 10_000;

/// A distribution of lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// No padding.
    None,
    /// So many bytes of padding in each record, all numbers alike. At most [`ZEROS`].
    Bytes { min: usize, max: usize },
    /// Records of these sizes, whatever they carry. Each has the sum of the weights up to it.
    Sizes(Vec<(usize, u32)>),
}

/// What a record has besides its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) data: usize,
    pub(crate) padding: usize,
}

impl Lengths {
    /// From `min` to `max` bytes of padding in each record.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the numbers.
    pub(crate) fn bytes(min: usize, max: usize) -> std::result::Result<Self, String> {
        if min > max || max > ZEROS {
            return Err(format!(
                "[{min}, {max}] is not possible: write [MIN, MAX] with MIN not above MAX, and MAX \
                 at most {ZEROS}"
            ));
        }
        Ok(Lengths::Bytes { min, max })
    }

    /// Records have these sizes, each as often as its weight says.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the list.
    pub(crate) fn sizes(pairs: &[(usize, u32)]) -> std::result::Result<Self, String> {
        if pairs.is_empty() || pairs.len() > SIZES {
            return Err(format!(
                "there are {} sizes: write 1 to {SIZES} pairs [SIZE, WEIGHT]",
                pairs.len()
            ));
        }
        let mut sums = Vec::with_capacity(pairs.len());
        let mut sum = 0_u32;
        for &(size, weight) in pairs {
            if !(SMALLEST..=LARGEST).contains(&size) {
                return Err(format!(
                    "a record of {size} bytes is not possible: use {SMALLEST} to {LARGEST}"
                ));
            }
            sum = sum.saturating_add(weight);
            if weight == 0 || sum > WEIGHTS {
                return Err(format!(
                    "a weight of {weight} is not possible: each must be 1 or more, and all \
                     together at most {WEIGHTS}"
                ));
            }
            sums.push((size, sum));
        }
        Ok(Lengths::Sizes(sums))
    }

    /// The next record, if `available` bytes of data wait. It takes one of them at least.
    fn draw(&self, available: usize, random: &mut Random) -> Result<Plan> {
        let (data, padding) = match self {
            Lengths::None => (available.min(DATA), 0),
            &Lengths::Bytes { min, max } => {
                // Both are far below 2^32.
                let choices = u32::try_from(max - min + 1).unwrap_or(1);
                (available.min(DATA), min + random.below(choices)? as usize)
            }
            Lengths::Sizes(sums) => {
                let all = sums.last().map_or(1, |&(_, sum)| sum);
                let drawn = random.below(all)?;
                let found = sums.iter().find(|&&(_, sum)| drawn < sum);
                let body = found.map_or(SMALLEST, |&(size, _)| size) - Header::LENGTH;
                let data = available.min(body);
                (data, body - data)
            }
        };
        Ok(Plan { data, padding })
    }
}

/// How the records of one direction are padded.
#[derive(Clone)]
pub(crate) struct Padding {
    /// What a direction begins with, without data.
    opening: Lengths,
    /// The records after that, until as many as this have been made.
    first: Lengths,
    left: u32,
    /// All others.
    rest: Lengths,
    random: Random,
}

impl Padding {
    pub(crate) fn new(opening: Lengths, (left, first): (u32, Lengths), rest: Lengths) -> Self {
        Padding {
            opening,
            first,
            left,
            rest,
            random: Random::new(),
        }
    }

    pub(crate) fn opening(&mut self) -> Result<Plan> {
        self.opening.draw(0, &mut self.random)
    }

    /// The next record, if `available` bytes of data wait.
    pub(crate) fn next(&mut self, available: usize) -> Result<Plan> {
        let lengths = if self.left > 0 {
            self.left -= 1;
            &self.first
        } else {
            &self.rest
        };
        lengths.draw(available, &mut self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn drawn(lengths: &Lengths, available: usize, count: usize) -> Vec<Plan> {
        let mut random = Random::new();
        (0..count)
            .map(|_| lengths.draw(available, &mut random).expect("a plan"))
            .collect()
    }

    #[test]
    fn sizes_appear_as_often_as_their_weights_say_whatever_waits() {
        let lengths = Lengths::sizes(&[(256, 5), (1024, 2), (1400, 3)]).expect("a list");
        for available in [0, 1, 300, 100_000] {
            let mut counts = HashMap::new();
            for plan in drawn(&lengths, available, 10_000) {
                let size = Header::LENGTH + plan.data + plan.padding;
                assert_eq!(plan.data, available.min(size - Header::LENGTH));
                *counts.entry(size).or_insert(0) += 1;
            }
            // Each has a standard deviation of at most 50: this is ten of them.
            for (size, expected) in [(256, 5000_i32), (1024, 2000), (1400, 3000)] {
                assert!((counts[&size] - expected).abs() < 500, "{counts:?}");
            }
            assert_eq!(counts.len(), 3);
        }
    }

    #[test]
    fn numbers_of_bytes_are_even_and_include_both_ends() {
        let lengths = Lengths::bytes(10, 14).expect("a range");
        let mut counts = [0_u32; 5];
        for plan in drawn(&lengths, 7, 5000) {
            assert_eq!(plan.data, 7);
            counts[plan.padding - 10] += 1;
        }
        // The expectation is 1000, the standard deviation 28.
        assert!(
            counts.iter().all(|&count| (700..1300).contains(&count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_record_takes_what_fits_and_never_more() {
        let all = [
            Lengths::None,
            Lengths::bytes(0, ZEROS).expect("a range"),
            Lengths::sizes(&[(SMALLEST, 1), (LARGEST, 1)]).expect("a list"),
        ];
        for lengths in all {
            for plan in drawn(&lengths, 1 << 20, 500) {
                assert!((1..=DATA).contains(&plan.data) && plan.padding <= ZEROS);
            }
            assert!(drawn(&lengths, 0, 10).iter().all(|plan| plan.data == 0));
        }
    }

    #[test]
    fn the_first_records_are_padded_in_their_own_way() {
        let bytes = |count| Lengths::bytes(count, count).expect("a range");
        let mut padding = Padding::new(bytes(1), (2, bytes(2)), bytes(3));
        assert_eq!(padding.opening().map(|plan| plan.padding), Ok(1));
        let found: Vec<_> = (0..4)
            .map(|_| padding.next(9).expect("a plan").padding)
            .collect();
        assert_eq!(found, [2, 2, 3, 3]);
    }

    #[test]
    fn what_cannot_be_a_distribution_is_refused() {
        for (pairs, part) in [
            (&[][..], "there are 0 sizes"),
            (&[(500, 1); SIZES + 1], "there are 257 sizes"),
            (&[(SMALLEST - 1, 1)], "15 bytes is not possible: use 16 to"),
            (&[(LARGEST + 1, 1)], "use 16 to 16388"),
            (&[(usize::MAX, 1)], "not possible"),
            (&[(500, 0)], "a weight of 0"),
            (&[(500, WEIGHTS), (600, 1)], "all together at most 1000000"),
            (&[(500, u32::MAX), (600, u32::MAX)], "a weight of"),
        ] {
            let problem = Lengths::sizes(pairs).expect_err("it is refused");
            assert!(problem.contains(part), "{problem}");
        }
        for (min, max) in [(2, 1), (0, ZEROS + 1), (usize::MAX, usize::MAX)] {
            let problem = Lengths::bytes(min, max).expect_err("it is refused");
            assert!(problem.contains("MAX at most 16384"), "{problem}");
        }
    }
}
