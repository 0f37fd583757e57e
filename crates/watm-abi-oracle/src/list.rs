//! A list that arbitrary bytes can make long as easily as short.
//!
//! Knows how many elements to take, and must never know what they are.

use std::ops::Deref;

use arbitrary::{Arbitrary, Result, Unstructured};

/// A list of any length that the remaining bytes allow.
///
/// `Vec` tosses a coin after each element. It would never build a long list, and so never find a
/// bug that takes ten steps.
#[derive(Clone, Debug, Default)]
pub struct List<T>(pub Vec<T>);

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for List<T> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let len = u.arbitrary_len::<T>()?;
        (0..len)
            .map(|_| u.arbitrary())
            .collect::<Result<Vec<T>>>()
            .map(List)
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}
