//! What an author implements: what happens to the bytes of one direction.
//!
//! Must never know descriptors, nor when bytes are read and written: see `direction.rs`.

use crate::error::{Error, Result};
use crate::output::Output;

/// What happens to the bytes of one direction: an encoder or a decoder.
///
/// The worker of the module reads, calls the codec, and writes what it made. A codec sees bytes,
/// not messages: a peer's frame can arrive in any pieces, together with the next one, or one byte
/// at a time. A codec blocks on nothing.
///
/// The directions of a connection run in turns on one thread. Codecs that share state, such as the
/// keys of a session, can hold it in an `Rc<RefCell<_>>`.
///
/// A cipher that changes bytes in place:
///
/// ```
/// use watm_guest::{Codec, Output, Result};
///
/// struct Invert;
///
/// impl Codec for Invert {
///     fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
///         for byte in output.push(input) {
///             *byte = !*byte;
///         }
///         Ok(input.len())
///     }
/// }
/// # assert_eq!(watm_guest::testing::run(&mut Invert, &[0, 1], 1)?, [255, 254]);
/// # Ok::<(), watm_guest::Error>(())
/// ```
///
/// A decoder of frames, each with its length in the first byte. It takes one frame in a call, and
/// nothing if the frame is not complete:
///
/// ```
/// use watm_guest::{Codec, Error, Output, Result};
///
/// struct Frames;
///
/// impl Codec for Frames {
///     fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
///         let length = match input.first() {
///             Some(0) => return Err(Error::PROTO),
///             Some(&length) => usize::from(length),
///             None => return Ok(0),
///         };
///         match input.get(1..1 + length) {
///             Some(frame) => output.push(frame),
///             None => return Ok(0),
///         };
///         Ok(1 + length)
///     }
/// }
/// # assert_eq!(watm_guest::testing::run(&mut Frames, b"\x02ab\x01c", 1)?, b"abc");
/// # assert_eq!(watm_guest::testing::run(&mut Frames, b"\x02a", 1), Err(Error::PROTO));
/// # Ok::<(), Error>(())
/// ```
///
/// The default of [`finish`](Self::finish) is what this decoder needs: a stream that ends within a
/// frame is an error.
pub trait Codec {
    /// Takes bytes from the start of `input`, and puts what it makes of them into `output`. Returns
    /// how many bytes it has taken.
    ///
    /// It may take all, some or none, and may make nothing of them, or much. What it leaves comes
    /// again, with more after it. The worker calls again:
    ///
    /// - at once, if the call has taken or made something and there is input left;
    /// - when the output is written, if the output [is full](Output::is_full), even with no input:
    ///   a codec that makes much of little stops there, and goes on in the next call;
    /// - otherwise when there is more input.
    ///
    /// # Errors
    ///
    /// [`Error::PROTO`] is the one to return for bytes that do not follow the protocol. The worker
    /// drops what the failed call has put into the output, delivers what earlier calls have made,
    /// and ends with the error. A codec that takes one frame in a call therefore delivers all
    /// frames before the broken one. A codec is not called again after an error.
    ///
    /// To return more than `input` holds is a mistake of the codec: the worker ends with
    /// [`Error::OVERFLOW`].
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize>;

    /// Ends the direction. It is called once, when the stream has ended, and may put the last bytes
    /// into `output`. `rest` is what [`transform`](Self::transform) has left of the input.
    ///
    /// A decoder must return an error if the stream has ended where its protocol has no end, so
    /// that nobody takes a part for the whole. The default does so if `rest` is not empty. A
    /// decoder that keeps a part of a frame in itself, or whose protocol says where it ends,
    /// replaces it.
    ///
    /// After a success, the worker writes the output and then ends the stream on the other side. It
    /// goes on with the other direction.
    ///
    /// # Errors
    ///
    /// [`Error::PROTO`] if the stream is cut. As in [`transform`](Self::transform), what the call
    /// has put into the output is dropped.
    ///
    /// ```
    /// use watm_guest::{Codec, Output, Result};
    ///
    /// /// Frames with their length in the first byte. A frame of no bytes is the end.
    /// struct Frames;
    ///
    /// impl Codec for Frames {
    ///     fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
    ///         for piece in input.chunks(255) {
    ///             output.push(&[piece.len() as u8]);
    ///             output.push(piece);
    ///         }
    ///         Ok(input.len())
    ///     }
    ///
    ///     fn finish(&mut self, _rest: &[u8], output: &mut Output) -> Result<()> {
    ///         output.push(&[0]);
    ///         Ok(())
    ///     }
    /// }
    /// # let frames = watm_guest::testing::run(&mut Frames, b"abc", 2);
    /// # assert_eq!(frames, Ok(b"\x02ab\x01c\0".to_vec()));
    /// ```
    fn finish(&mut self, rest: &[u8], output: &mut Output) -> Result<()> {
        let _ = output;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Error::PROTO)
        }
    }
}

impl<C: Codec + ?Sized> Codec for Box<C> {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        (**self).transform(input, output)
    }

    fn finish(&mut self, rest: &[u8], output: &mut Output) -> Result<()> {
        (**self).finish(rest, output)
    }
}

/// The codec that changes nothing, for a direction that is plain after the handshake.
///
/// ```
/// use watm_guest::{Codec, Identity};
///
/// /// The decoder of a peer that may have asked for no encryption.
/// fn decoder(is_plain: bool, cipher: impl Codec + 'static) -> Box<dyn Codec> {
///     if is_plain {
///         Box::new(Identity)
///     } else {
///         Box::new(cipher)
///     }
/// }
/// # let mut plain = decoder(true, Identity);
/// # assert_eq!(watm_guest::testing::run(&mut *plain, b"abc", 1), Ok(b"abc".to_vec()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity;

impl Codec for Identity {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        output.push(input);
        Ok(input.len())
    }
}
