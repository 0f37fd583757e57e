//! How long what goes over the network is: a distribution of lengths.

use watm_guest::Result;

use crate::frames;
use crate::handshake;
use crate::random::Random;

/// The lengths of frames, each with its weight; and those of the messages of the handshake.
#[derive(Clone)]
pub(crate) struct Padding {
    /// The length in bytes on the wire, and the sum of the weights up to it. Empty: no padding.
    lengths: Vec<(usize, u32)>,
    random: Random,
}

/// The shortest and the longest frame that a configuration may ask for.
pub(crate) const SHORTEST: usize = 64;
pub(crate) const LONGEST: usize = frames::LONGEST;

/// The sum of all weights is at most this.
pub(crate) const WEIGHTS: u32 = 1_000_000;

/// Without a distribution, the messages of the handshake have up to this many bytes: one packet.
const HANDSHAKE: usize = 1300;

impl Padding {
    /// Frames are as long as what they carry.
    pub(crate) fn none() -> Self {
        Padding {
            lengths: Vec::new(),
            random: Random::new(),
        }
    }

    /// Frames have these lengths, each as often as its weight says.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the lengths.
    pub(crate) fn of(pairs: &[(usize, u32)]) -> std::result::Result<Self, String> {
        let mut padding = Padding::none();
        let mut sum = 0_u32;
        for &(length, weight) in pairs {
            if !(SHORTEST..=LONGEST).contains(&length) {
                return Err(format!(
                    "a length of {length} bytes is not possible: use {SHORTEST} to {LONGEST}"
                ));
            }
            sum = sum.saturating_add(weight);
            if weight == 0 || sum > WEIGHTS {
                return Err(format!(
                    "each weight must be 1 or more, and all together {WEIGHTS} at most"
                ));
            }
            padding.lengths.push((length, sum));
        }
        if !pairs
            .iter()
            .any(|&(length, _)| length >= handshake::LONGEST)
        {
            return Err(format!(
                "one length at least must be {} or more, since the handshake needs as many bytes",
                handshake::LONGEST
            ));
        }
        Ok(padding)
    }

    /// The length of the next frame on the wire. `None` without padding.
    pub(crate) fn frame(&mut self) -> Result<Option<usize>> {
        let Some(&(_, sum)) = self.lengths.last() else {
            return Ok(None);
        };
        let drawn = self.random.below(sum)?;
        let found = self.lengths.iter().find(|&&(_, sum)| drawn < sum);
        Ok(found.map(|&(length, _)| length))
    }

    /// The length of a message of the handshake that needs `minimum` bytes, at most
    /// [`handshake::LONGEST`]: one of the distribution that is long enough, or else any.
    pub(crate) fn handshake(&mut self, minimum: usize) -> Result<usize> {
        loop {
            match self.frame()? {
                Some(length) if length >= minimum => return Ok(length),
                // One at least is long enough, and has a weight of a millionth or more.
                Some(_) => {}
                None => {
                    let room = u32::try_from(HANDSHAKE.saturating_sub(minimum)).unwrap_or(0);
                    return Ok(minimum + self.random.below(room + 1)? as usize);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn lengths_appear_as_often_as_their_weights_say() {
        let mut padding = Padding::of(&[(256, 5), (1024, 2), (1400, 3)]).expect("a distribution");
        let mut counts = HashMap::new();
        for _ in 0..10_000 {
            let length = padding
                .frame()
                .expect("a length")
                .expect("there is padding");
            *counts.entry(length).or_insert(0) += 1;
        }
        // Each has a standard deviation of at most 50: this is ten of them.
        for (length, expected) in [(256, 5000_i32), (1024, 2000), (1400, 3000)] {
            assert!((counts[&length] - expected).abs() < 500, "{counts:?}");
        }
        assert_eq!(counts.len(), 3);
    }

    #[test]
    fn the_handshake_takes_lengths_that_hold_it() {
        let mut padding = Padding::of(&[(64, 99), (500, 1)]).expect("a distribution");
        for _ in 0..50 {
            assert_eq!(padding.handshake(handshake::LONGEST), Ok(500));
        }
        let mut lengths: Vec<_> = (0..50)
            .map(|_| Padding::none().handshake(90).expect("a length"))
            .collect();
        assert!(
            lengths
                .iter()
                .all(|length| (90..=HANDSHAKE).contains(length))
        );
        lengths.sort_unstable();
        lengths.dedup();
        assert!(lengths.len() > 20, "{lengths:?}");
    }

    #[test]
    fn what_cannot_be_a_distribution_is_refused() {
        for (pairs, part) in [
            (&[][..], "one length at least"),
            (&[(63, 1), (500, 1)], "63 bytes"),
            (&[(LONGEST + 1, 1)], "not possible"),
            (&[(500, 0)], "each weight"),
            (&[(500, WEIGHTS), (600, 1)], "each weight"),
            (&[(500, u32::MAX), (600, u32::MAX)], "each weight"),
            (&[(64, 1)], "the handshake"),
        ] {
            let problem = Padding::of(pairs).err().expect("it is refused");
            assert!(problem.contains(part), "{problem}");
        }
    }
}
