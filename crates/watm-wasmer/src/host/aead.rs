//! AEAD for guests, on the processor's instructions: the extension `watm_ext_aead_v1`.
//!
//! Knows keys by handle, and messages in guest memory. The cryptography is that of a library. The
//! nonce is the guest's business: the host cannot tell one that repeats.
//!
//! Nothing interrupts a call, so a message has a maximum length. Each call looks first whether the
//! guest should stop, as all do.

use aes_gcm::aead::array::Array;
use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use watm_abi::{Errno, GuestMemory};
use zeroize::ZeroizeOnDrop;

use crate::host::Host;
use crate::host::descriptor::Call;

/// Bytes of a tag, which follows a sealed message.
const TAG: u32 = 16;
/// Maximum number of bytes of a message, without its tag. Without the processor's instructions, it
/// takes some 10 ms.
const MESSAGE_LIMIT: u32 = 1 << 20;
/// Maximum number of bytes of additional data, which are copied.
const AAD_LIMIT: u32 = 64 << 10;
/// Maximum number of keys that an instance has at a time.
const KEY_LIMIT: usize = 64;

/// The keys of an instance. A handle is a place in the list, counted from 1.
#[derive(Default)]
pub(super) struct Keys(Vec<Option<Key>>);

impl Keys {
    /// Adds a key under the lowest free handle.
    fn insert(&mut self, key: Key) -> Result<u32, Errno> {
        let free = self.0.iter().position(Option::is_none);
        let index = free.unwrap_or(self.0.len());
        if index >= KEY_LIMIT {
            return Err(Errno::Nfile);
        }
        if free.is_none() {
            self.0.push(None);
        }
        self.0[index] = Some(key);
        u32::try_from(index + 1).map_err(|_| Errno::Nfile)
    }

    fn slot(&mut self, handle: u32) -> Option<&mut Option<Key>> {
        let index = usize::try_from(handle).ok()?.checked_sub(1)?;
        self.0.get_mut(index)
    }

    fn get(&mut self, handle: u32) -> Result<&Key, Errno> {
        let slot = self.slot(handle).ok_or(Errno::Badf)?;
        slot.as_ref().ok_or(Errno::Badf)
    }

    /// Removes a key.
    fn remove(&mut self, handle: u32) -> Result<Key, Errno> {
        let slot = self.slot(handle).ok_or(Errno::Badf)?;
        slot.take().ok_or(Errno::Badf)
    }
}

/// A key, prepared for use. It is wiped when it is dropped. In boxes, since the sizes differ.
enum Key {
    Aes128Gcm(Box<Aes128Gcm>),
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl Key {
    fn new(algorithm: u32, bytes: &[u8]) -> Result<Self, Errno> {
        fn prepared<A: KeyInit + ZeroizeOnDrop>(bytes: &[u8]) -> Result<Box<A>, Errno> {
            A::new_from_slice(bytes)
                .map(Box::new)
                .map_err(|_| Errno::Inval)
        }
        match algorithm {
            1 => prepared(bytes).map(Self::Aes128Gcm),
            2 => prepared(bytes).map(Self::Aes256Gcm),
            3 => prepared(bytes).map(Self::ChaCha20Poly1305),
            _ => Err(Errno::Notsup),
        }
    }

    /// Encrypts `content` in place and returns its tag.
    fn seal(&self, head: &Head, content: &mut [u8]) -> Result<[u8; TAG as usize], Errno> {
        fn seal<A>(aead: &A, head: &Head, content: &mut [u8]) -> Result<[u8; 16], Errno>
        where
            A: AeadInOut<NonceSize = U12, TagSize = U16>,
        {
            aead.encrypt_inout_detached(&Array(head.nonce), &head.aad, content.into())
                .map(|tag| tag.0)
                // Only a message of many gigabytes is refused.
                .map_err(|_| Errno::Msgsize)
        }
        match self {
            Self::Aes128Gcm(aead) => seal(&**aead, head, content),
            Self::Aes256Gcm(aead) => seal(&**aead, head, content),
            Self::ChaCha20Poly1305(aead) => seal(&**aead, head, content),
        }
    }

    /// Decrypts `content` in place if the tag is right. The library looks at the tag first.
    fn open(&self, head: &Head, content: &mut [u8], tag: [u8; 16]) -> Result<(), Errno> {
        fn open<A>(aead: &A, head: &Head, content: &mut [u8], tag: [u8; 16]) -> Result<(), Errno>
        where
            A: AeadInOut<NonceSize = U12, TagSize = U16>,
        {
            aead.decrypt_inout_detached(&Array(head.nonce), &head.aad, content.into(), &Array(tag))
                .map_err(|_| Errno::Badmsg)
        }
        match self {
            Self::Aes128Gcm(aead) => open(&**aead, head, content, tag),
            Self::Aes256Gcm(aead) => open(&**aead, head, content, tag),
            Self::ChaCha20Poly1305(aead) => open(&**aead, head, content, tag),
        }
    }
}

/// What a message is sealed with besides the key. It is copied, because the output may overlap it.
struct Head {
    nonce: [u8; 12],
    aad: Vec<u8>,
}

/// The arguments of a call, as the guest gives them: addresses and lengths that nobody has checked.
struct Message {
    nonce: u32,
    aad: u32,
    aad_len: u32,
    input: u32,
    input_len: u32,
    output: u32,
}

impl Message {
    fn head(&self, memory: &[u8]) -> Result<Head, Errno> {
        if self.aad_len > AAD_LIMIT {
            return Err(Errno::Msgsize);
        }
        Ok(Head {
            nonce: memory.read_array(self.nonce)?,
            aad: memory.slice(self.aad, self.aad_len)?.to_vec(),
        })
    }

    /// Everything is checked before anything is written. The input may overlap the output.
    fn seal(&self, key: &Key, memory: &mut [u8]) -> Result<(), Errno> {
        let len = self.input_len;
        if len > MESSAGE_LIMIT {
            return Err(Errno::Msgsize);
        }
        let head = self.head(memory)?;
        // The limit leaves room for the tag.
        memory.slice(self.output, len + TAG)?;
        move_within(memory, self.input, self.output, len)?;
        let sealed = memory.slice_mut(self.output, len + TAG)?;
        let (content, tag) = sealed.split_at_mut(len as usize);
        match key.seal(&head, content) {
            Ok(made) => {
                tag.copy_from_slice(&made);
                Ok(())
            }
            Err(errno) => {
                // It must not be taken for a sealed message.
                sealed.fill(0);
                Err(errno)
            }
        }
    }

    /// As [`Message::seal`]. The output of a message that does not open is filled with zeros.
    fn open(&self, key: &Key, memory: &mut [u8]) -> Result<(), Errno> {
        let len = self.input_len.checked_sub(TAG).ok_or(Errno::Badmsg)?;
        if len > MESSAGE_LIMIT {
            return Err(Errno::Msgsize);
        }
        let head = self.head(memory)?;
        let sealed = memory.slice(self.input, self.input_len)?;
        let tag = sealed.last_chunk().copied().ok_or(Errno::Badmsg)?;
        move_within(memory, self.input, self.output, len)?;
        let content = memory.slice_mut(self.output, len)?;
        key.open(&head, content, tag)
            .inspect_err(|_| content.fill(0))
    }
}

/// Copies bytes as `memmove` does; nothing, unless both ranges are in the memory.
fn move_within(memory: &mut [u8], from: u32, to: u32, len: u32) -> Result<(), Errno> {
    memory.slice(from, len)?;
    memory.slice(to, len)?;
    let from = from as usize;
    memory.copy_within(from..from + len as usize, to as usize);
    Ok(())
}

#[expect(
    clippy::too_many_arguments,
    reason = "each has the parameters of its function"
)]
impl Host {
    pub(crate) fn aead_key(
        &mut self,
        memory: &mut [u8],
        algorithm: u32,
        key: u32,
        key_len: u32,
        handle: u32,
    ) -> Call<()> {
        self.begin()?;
        // Nothing is left behind if there is nowhere to put the handle.
        memory.slice(handle, 4)?;
        let key = Key::new(algorithm, memory.slice(key, key_len)?)?;
        let number = self.keys.insert(key)?;
        Ok(memory.write_u32(handle, number)?)
    }

    pub(crate) fn aead_close(&mut self, _memory: &mut [u8], handle: u32) -> Call<()> {
        self.begin()?;
        self.keys.remove(handle)?;
        Ok(())
    }

    pub(crate) fn aead_seal(
        &mut self,
        memory: &mut [u8],
        handle: u32,
        nonce: u32,
        aad: u32,
        aad_len: u32,
        input: u32,
        input_len: u32,
        output: u32,
    ) -> Call<()> {
        self.begin()?;
        let message = Message {
            nonce,
            aad,
            aad_len,
            input,
            input_len,
            output,
        };
        Ok(message.seal(self.keys.get(handle)?, memory)?)
    }

    pub(crate) fn aead_open(
        &mut self,
        memory: &mut [u8],
        handle: u32,
        nonce: u32,
        aad: u32,
        aad_len: u32,
        input: u32,
        input_len: u32,
        output: u32,
    ) -> Call<()> {
        self.begin()?;
        let message = Message {
            nonce,
            aad,
            aad_len,
            input,
            input_len,
            output,
        };
        Ok(message.open(self.keys.get(handle)?, memory)?)
    }
}

#[cfg(test)]
mod tests;
