//! Random numbers, fetched from the host many at a time. `padding` compiles this file as well.

use watm_guest::Result;

const POOL: usize = 512;
const WORD: usize = 8;

/// Makes random numbers fit for cryptography.
#[derive(Clone)]
pub(crate) struct Random {
    pool: [u8; POOL],
    used: usize,
}

impl Random {
    pub(crate) fn new() -> Self {
        Random {
            pool: [0; POOL],
            used: POOL,
        }
    }

    /// A number below `limit`, which is at least 1.
    ///
    /// Its distribution is even up to `limit / 2^64`, which nobody can see for a limit below 2^32.
    pub(crate) fn below(&mut self, limit: u32) -> Result<u32> {
        if self.used + WORD > POOL {
            watm_guest::random(&mut self.pool)?;
            self.used = 0;
        }
        let mut word = [0; WORD];
        word.copy_from_slice(&self.pool[self.used..self.used + WORD]);
        self.used += WORD;
        let number = u64::from_le_bytes(word) % u64::from(limit.max(1));
        Ok(u32::try_from(number).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_limit_appears_and_no_other() {
        let mut random = Random::new();
        let mut seen = [0_u32; 5];
        for _ in 0..5000 {
            seen[random.below(5).expect("a number") as usize] += 1;
        }
        // The expectation is 1000, the standard deviation 28.
        assert!(
            seen.iter().all(|&count| (700..1300).contains(&count)),
            "{seen:?}"
        );
        assert_eq!(random.below(1), Ok(0));
    }
}
