//! The functions of `sys.rs` where there is no host: nothing is offered.

use super::Nonce;
use crate::error::{Error, Result};

/// What the host gets for an answer that is no 0: declined.
pub fn take(_first: u32, _count: u32) -> i32 {
    i32::from(Error::NOSYS.raw() as u8)
}

pub(super) fn is_offered() -> bool {
    false
}

pub(super) fn key(_: u32, _: &[u8]) -> Result<u32> {
    Err(Error::NOSYS)
}

pub(super) fn close(_: u32) {}

pub(super) fn seal(_: u32, _: &Nonce, _: &[u8], _: &[u8], _: &mut [u8]) -> Result<()> {
    Err(Error::NOSYS)
}

pub(super) fn seal_in_place(_: u32, _: &Nonce, _: &[u8], _: &mut [u8]) -> Result<()> {
    Err(Error::NOSYS)
}

pub(super) fn open(_: u32, _: &Nonce, _: &[u8], _: &[u8], _: &mut [u8]) -> Result<()> {
    Err(Error::NOSYS)
}

pub(super) fn open_in_place(_: u32, _: &Nonce, _: &[u8], _: &mut [u8]) -> Result<()> {
    Err(Error::NOSYS)
}
