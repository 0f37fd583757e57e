//! A log line as JSON, or as the journal of systemd takes it.

use log::{Level, Record};
use serde::Serialize;

use crate::terminal::escape::{Json, printable};

/// What a line says.
#[derive(Debug)]
pub(super) struct Line<'r> {
    level: Level,
    target: &'r str,
    message: String,
}

/// The object of a line, in the order of its keys.
#[derive(Serialize)]
struct Object<'l> {
    timestamp: &'l str,
    level: &'static str,
    target: &'l str,
    message: &'l str,
}

impl<'r> Line<'r> {
    pub(super) fn of(record: &Record<'r>) -> Self {
        Self {
            level: record.level(),
            target: record.target(),
            message: record.args().to_string(),
        }
    }

    /// An object and a newline. The timestamp is that of RFC 3339, in UTC.
    pub(super) fn json(&self, timestamp: &str) -> Vec<u8> {
        let object = Object {
            timestamp,
            level: match self.level {
                Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
                Level::Debug => "debug",
                Level::Trace => "trace",
            },
            target: self.target,
            message: &self.message,
        };
        let mut line = Vec::new();
        // Strings can always be written to memory.
        let _ = serde_json::to_writer(Json(&mut line), &object);
        line.push(b'\n');
        line
    }

    /// `<4>watm::run: message`, in one line: another line would have no priority.
    pub(super) fn journald(&self) -> String {
        let priority = match self.level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        let (target, message) = (printable(self.target), printable(&self.message));
        format!("<{priority}>{target}: {message}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str, level: Level) -> Line<'static> {
        Line {
            level,
            target: "watm::module::x",
            message: message.to_owned(),
        }
    }

    #[test]
    fn json_is_one_line_that_reads_back_whatever_it_says() {
        let odd = "a\"b\\c\nd\u{1b}[31m\u{85}\u{202e}\u{0}";
        let json = line(odd, Level::Warn).json("2026-01-02T03:04:05.678Z");
        let text = String::from_utf8(json).expect("text");
        assert_eq!(text.find('\n'), Some(text.len() - 1), "{text:?}");
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({
                "timestamp": "2026-01-02T03:04:05.678Z",
                "level": "warn",
                "target": "watm::module::x",
                "message": odd,
            })
        );
    }

    #[test]
    fn a_line_for_the_journal_has_one_priority_and_cannot_have_another() {
        let text = line("a\n<0>b", Level::Info).journald();
        assert_eq!(text, "<6>watm::module::x: a\\n<0>b\n");
        assert!(line("m", Level::Error).journald().starts_with("<3>"));
        assert!(line("m", Level::Trace).journald().starts_with("<7>"));
    }
}
