//! The functions of `sys.rs` where there is no WASI. Only random bytes are there: tests of
//! transports need them.

use std::fs::File;
use std::io::Read;

use super::poll::{Event, Subscription};
use crate::error::{Error, Result};

macro_rules! unsupported {
    ($(fn $name:ident($($parameter:ty),*) -> $value:ty;)*) => {
        $(
            pub(super) fn $name($(_: $parameter),*) -> Result<$value> {
                Err(Error::NOSYS)
            }
        )*
    };
}

pub(super) fn random_get(buffer: &mut [u8]) -> Result<()> {
    Ok(File::open("/dev/urandom")?.read_exact(buffer)?)
}

unsupported! {
    fn water_dial(&[u8], &[u8]) -> i32;
    fn water_dial_fixed() -> i32;
    fn water_accept() -> i32;
    fn fd_close(i32) -> ();
    fn fd_fdstat_set_flags(i32, u16) -> ();
    fn fd_read(i32, &mut [u8]) -> usize;
    fn fd_write(i32, &[u8]) -> usize;
    fn poll_oneoff(&[Subscription], &mut [Event]) -> usize;
    fn sock_shutdown(i32, u8) -> ();
}
