//! What the integration tests share: guest modules by name, both ends of a connection, byte streams
//! that check themselves, bounded waits, captured log lines, the process's resource counts, and
//! tests in separate processes.
//!
//! Nothing here waits for ever, and nothing here knows about a single test.

mod alone;
pub use alone::alone;

mod bounded;
pub use bounded::{LONG, SHORT, eventually, within};

mod guests;
pub use guests::{built, copy_as, of_toolchain, path_of, text, wat, wat_text, with_worker};

mod loads;
pub use loads::{Carrier, Place};

mod logs;
pub use logs::{Line, Logs};

mod pair;
pub use pair::{Duo, Pair};

mod pattern;
pub use pattern::{Pattern, expect_pattern, send_pattern};

mod peers;
pub use peers::{
    EchoServer, FullBacklog, ReservedPort, accept_one, connect, listener, reset, tcp_pair,
};

mod process;
pub use process::{
    ThreadTimes, open_descriptors, processor_time, raise_descriptors, resident_bytes, thread_ids,
    threads,
};

mod streams;
pub use streams::{
    alternate, assert_would_block, echo_messages, exchange, expect_end, expect_nothing_more,
    expect_reset, read_numbers, read_numbers_to_reset, read_to_reset, read_vec,
};
