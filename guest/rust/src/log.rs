//! Lines for the log of the host, which reads standard error.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

/// Logs a line, with the arguments of [`format!`].
///
/// The line goes to standard error in one write, so that lines do not mix. By default, hosts log it
/// as one of the module. They may cut long lines and drop lines that come too fast. A host that
/// takes none is no error.
///
/// ```
/// let peer = "192.0.2.1";
/// watm_guest::log!("{peer} has another version");
/// ```
#[macro_export]
macro_rules! log {
    ($($argument:tt)+) => {
        $crate::__private::log(::std::format_args!($($argument)+))
    };
}

/// What [`log!`](crate::log!) calls.
pub fn log(arguments: fmt::Arguments<'_>) {
    // Nobody is there to be told of a failure.
    let _ = io::stderr().write_all(line(arguments).as_bytes());
}

fn line(arguments: fmt::Arguments<'_>) -> String {
    let mut line = String::new();
    // It fails only if a `Display` of the author's does. What it has written is logged.
    let _ = line.write_fmt(arguments);
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_a_newline() {
        assert_eq!(line(format_args!("{} of {}", 1, 2)), "1 of 2\n");
    }
}
