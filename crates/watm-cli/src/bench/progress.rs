//! Shows the progress of the measurements, on a terminal only.

use std::io::{self, IsTerminal, Write};

const WIDTH: usize = 24;

pub(super) struct Progress {
    steps: usize,
    done: usize,
    shown: bool,
}

impl Progress {
    pub(super) fn new(steps: usize) -> Self {
        Self {
            steps,
            done: 0,
            shown: io::stderr().is_terminal(),
        }
    }

    /// Shows the next step.
    pub(super) fn step(&mut self, what: &str) {
        let line = bar(self.done, self.steps, what);
        self.done += 1;
        self.print(&line);
    }

    fn print(&self, line: &str) {
        if self.shown {
            // Returns to the start of the line and clears it. A failed write does not matter.
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.print("");
    }
}

fn bar(done: usize, steps: usize, what: &str) -> String {
    let filled = WIDTH * done / steps.max(1);
    let (full, rest) = ("#".repeat(filled), "-".repeat(WIDTH.saturating_sub(filled)));
    format!("[{full}{rest}] {}/{steps} {what}", done + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(bar(0, 2, "x"), format!("[{}] 1/2 x", "-".repeat(24)));
        assert_eq!(
            bar(1, 2, "x"),
            format!("[{}{}] 2/2 x", "#".repeat(12), "-".repeat(12))
        );
    }
}
