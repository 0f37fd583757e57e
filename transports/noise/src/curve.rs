//! X25519 as Noise's ephemeral keys use it here: the top bit of a public key is random.
//!
//! A public key is a number below 2^255, so its top bit is always zero: with plain keys, an
//! observer would see a zero at the same place in every connection. RFC 7748 has receivers ignore
//! that bit, and Noise hashes keys as they were sent. So this changes nothing but the looks, and a
//! peer that does not do the same understands it.

use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};

pub(crate) const KEY: usize = 32;

/// What `snow` has, with the curve of this module.
pub(crate) struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        DefaultResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let inner = DefaultResolver.resolve_dh(choice)?;
        let public = [0; KEY];
        Some(Box::new(Masked { inner, public }))
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// The public key of a private one.
pub(crate) fn public_key(private: &[u8; KEY]) -> Option<[u8; KEY]> {
    let mut curve = DefaultResolver.resolve_dh(&DHChoice::Curve25519)?;
    curve.set(private);
    curve.pubkey().try_into().ok()
}

struct Masked {
    inner: Box<dyn Dh>,
    /// As it is sent.
    public: [u8; KEY],
}

impl Dh for Masked {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn pub_len(&self) -> usize {
        self.inner.pub_len()
    }

    fn priv_len(&self) -> usize {
        self.inner.priv_len()
    }

    /// A key that is given, such as the server's, has no random bit: others know it as it is.
    fn set(&mut self, private: &[u8]) {
        self.inner.set(private);
        self.public.copy_from_slice(self.inner.pubkey());
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        self.inner.generate(random)?;
        self.public.copy_from_slice(self.inner.pubkey());
        let mut mask = [0];
        random.try_fill_bytes(&mut mask)?;
        self.public[KEY - 1] ^= mask[0] & 0x80;
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.inner.privkey()
    }

    fn dh(&self, public: &[u8], shared: &mut [u8]) -> Result<(), snow::Error> {
        self.inner.dh(public, shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    fn curve() -> Box<dyn Dh> {
        Resolver
            .resolve_dh(&DHChoice::Curve25519)
            .expect("the curve")
    }

    #[test]
    fn the_top_bit_of_a_generated_key_is_random_and_agreement_does_not_see_it() {
        let mut random = Resolver.resolve_rng().expect("random numbers");
        let mut plain = DefaultResolver
            .resolve_dh(&DHChoice::Curve25519)
            .expect("the curve");
        plain.set(&[7; KEY]);
        let mut seen = [false; 2];
        // Each fails to appear with a probability of 2^-199.
        for _ in 0..200 {
            let mut masked = curve();
            masked.generate(&mut *random).expect("a key");
            seen[usize::from(masked.pubkey()[KEY - 1] >> 7)] = true;
            let (mut here, mut there) = ([0; KEY], [0; KEY]);
            masked.dh(plain.pubkey(), &mut here).expect("a secret");
            plain.dh(masked.pubkey(), &mut there).expect("a secret");
            assert_eq!(here, there);
        }
        assert_eq!(seen, [true; 2]);
    }

    #[test]
    fn a_key_that_is_given_is_as_others_know_it() {
        let private = vectors::bytes(vectors::SERVER_PRIVATE);
        let public = vectors::bytes(vectors::SERVER_PUBLIC);
        let mut masked = curve();
        masked.set(&private);
        assert_eq!(masked.pubkey(), public);
        let private = private.try_into().expect("32 bytes");
        assert_eq!(public_key(&private).map(Vec::from), Some(public));
    }
}
