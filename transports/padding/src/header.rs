//! What each record says of itself: how much of it is data, how much is padding, and whether it is
//! the last.

use watm_guest::{Error, Output, Result};

/// Maximum bytes of data in a record, and of padding.
pub(crate) const DATA: usize = 16 * 1024;
pub(crate) const ZEROS: usize = 16 * 1024;

/// In the first length: no record follows.
const LAST: u16 = 1 << 15;

/// What an opening has in the place of the first length: the version. It is too much for a length,
/// and no text begins so, nor zeros.
const VERSION: u16 = 0x5001;

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) data: usize,
    pub(crate) padding: usize,
    pub(crate) is_last: bool,
}

impl Header {
    /// Its bytes.
    pub(crate) const LENGTH: usize = 4;

    /// Reads the header of any record but the opening.
    pub(crate) fn read([high, low, padding @ ..]: [u8; Header::LENGTH]) -> Result<Self> {
        let first = u16::from_be_bytes([high, low]);
        let header = Header {
            data: usize::from(first & !LAST),
            padding: usize::from(u16::from_be_bytes(padding)),
            is_last: first & LAST != 0,
        };
        if header.data > DATA || header.padding > ZEROS {
            tell!(
                "the peer announces {} bytes of data and {} of padding, and {DATA} and {ZEROS} are \
                 the most: something on the way has altered the stream",
                header.data,
                header.padding
            );
            return Err(Error::PROTO);
        }
        Ok(header)
    }

    /// Reads the header of an opening.
    pub(crate) fn opening([high, low, padding @ ..]: [u8; Header::LENGTH]) -> Result<Self> {
        if u16::from_be_bytes([high, low]) != VERSION {
            tell!(
                "the peer does not begin with an opening: it needs this module too, at the same \
                 place of its chain"
            );
            return Err(Error::PROTO);
        }
        Header::read([0, 0, padding[0], padding[1]])
    }

    pub(crate) fn write(self, output: &mut Output) -> Result<()> {
        let last = if self.is_last { LAST } else { 0 };
        output.push(&(length(self.data, DATA)? | last).to_be_bytes());
        output.push(&length(self.padding, ZEROS)?.to_be_bytes());
        Ok(())
    }

    /// Writes the header of an opening.
    pub(crate) fn write_opening(padding: usize, output: &mut Output) -> Result<()> {
        output.push(&VERSION.to_be_bytes());
        output.push(&length(padding, ZEROS)?.to_be_bytes());
        Ok(())
    }
}

fn length(value: usize, limit: usize) -> Result<u16> {
    match u16::try_from(value) {
        Ok(length) if value <= limit => Ok(length),
        _ => Err(Error::MSGSIZE),
    }
}
