//! The memory that a host function may write to, according to its arguments.

use std::ops::Range;

/// Maximum number of buffers to look at. The host refuses longer arrays.
const MOST_BUFFERS: u64 = 4096;

/// The ranges that a call may write to, given the memory before the call.
pub(crate) fn outputs(name: &str, arguments: &[u64], memory: &[u8]) -> Vec<Range<u64>> {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0) & 0xffff_ffff;
    let at = |index: usize, len: u64| argument(index)..argument(index) + len;
    let buffer = |start: usize, len: usize| argument(start)..argument(start) + argument(len);
    let buffers = |array: usize, count: usize| -> Vec<Range<u64>> {
        (0..argument(count).min(MOST_BUFFERS))
            .filter_map(|index| {
                let record = argument(array) + 8 * index;
                let number = |at: u64| {
                    let at = usize::try_from(at).ok()?;
                    let bytes = memory.get(at..at + 4)?;
                    Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
                };
                let (start, len) = (number(record)?, number(record + 4)?);
                Some(start..start + len)
            })
            .collect()
    };
    match name {
        "aead_key" => vec![at(3, 4)],
        "aead_seal" => vec![at(6, argument(5) + 16)],
        "aead_open" => vec![buffer(6, 5)],
        // Sizes for what the embedder gave: one name and one value.
        "args_get" | "environ_get" => vec![at(0, 16), at(1, 64)],
        "args_sizes_get" | "environ_sizes_get" => vec![at(0, 4), at(1, 4)],
        "clock_res_get" | "fd_prestat_get" | "fd_tell" => vec![at(1, 8)],
        "clock_time_get" => vec![at(2, 8)],
        "fd_fdstat_get" => vec![at(1, 24)],
        "fd_filestat_get" => vec![at(1, 64)],
        "fd_prestat_dir_name" => vec![buffer(1, 2)],
        "fd_pread" => [buffers(1, 2), vec![at(4, 4)]].concat(),
        "fd_read" => [buffers(1, 2), vec![at(3, 4)]].concat(),
        "fd_pwrite" | "sock_send" => vec![at(4, 4)],
        "fd_write" => vec![at(3, 4)],
        "fd_readdir" => vec![buffer(1, 2), at(4, 4)],
        "fd_seek" => vec![at(3, 8)],
        "path_filestat_get" => vec![at(4, 64)],
        "path_open" => vec![at(8, 4)],
        "path_readlink" => vec![buffer(3, 4), at(5, 4)],
        "poll_oneoff" => vec![argument(1)..argument(1) + 32 * argument(2), at(3, 4)],
        "random_get" => vec![buffer(0, 1)],
        "sock_accept" => vec![at(2, 4)],
        "sock_recv" => [buffers(1, 2), vec![at(4, 4), at(5, 4)]].concat(),
        _ => Vec::new(),
    }
}
