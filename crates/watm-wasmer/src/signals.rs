//! The name under which [`threads`](crate::threads) blocked signals before: for the callers that
//! still start their threads by hand.

pub(crate) use crate::threads::block_signals as block_all;
