//! The arguments and the environment of a guest, in the form that WASI Preview 1 passes them.
//!
//! Knows strings and guest memory. Must never know an engine or the host's own environment.

use watm_abi::{Errno, GuestMemory};

use crate::error::ConfigError;

/// Maximum total size of all arguments, and of all environment variables, in bytes.
const LIMIT: usize = 1 << 20;

/// The arguments and environment that a module starts with. They are the same for all of its
/// instances.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) args: Strings,
    pub(crate) environment: Strings,
}

impl Arguments {
    /// Creates them. Argument 0 is the name of the module.
    pub(crate) fn new(
        name: &str,
        args: &[String],
        environment: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut arguments = Self::default();
        // The name may come from a file name, which cannot be refused because of a zero byte.
        arguments.args.push(&name.replace('\0', " "), "arg")?;
        for arg in args {
            arguments.args.push(arg, "arg")?;
        }
        for (name, value) in environment {
            if name.is_empty() || name.contains('=') {
                return Err(invalid("env", "a name must not be empty or contain `=`"));
            }
            arguments
                .environment
                .push(&format!("{name}={value}"), "env")?;
        }
        Ok(arguments)
    }
}

fn invalid(setting: &'static str, message: &str) -> ConfigError {
    ConfigError::Invalid {
        setting,
        message: message.into(),
    }
}

/// A list of strings, each followed by a zero byte.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    /// Where each string begins in `bytes`.
    starts: Vec<u32>,
    /// At most [`LIMIT`] bytes.
    bytes: Vec<u8>,
}

impl Strings {
    fn push(&mut self, string: &str, setting: &'static str) -> Result<(), ConfigError> {
        if string.contains('\0') {
            return Err(invalid(setting, "it must not contain a zero byte"));
        }
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if self.bytes.len() + string.len() >= LIMIT {
            return Err(invalid(setting, "all of them together exceed 1 MiB"));
        }
        self.starts.push(start);
        self.bytes.extend_from_slice(string.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX)
    }

    /// The total size of all strings with their zero bytes.
    pub(crate) fn size(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    /// Writes the strings to `bytes`, and the address of each to the array at `pointers`.
    ///
    /// Nothing is written unless both lie entirely in the memory.
    pub(crate) fn write<M: GuestMemory + ?Sized>(
        &self,
        memory: &mut M,
        pointers: u32,
        bytes: u32,
    ) -> Result<(), Errno> {
        memory.slice(pointers, self.count() * 4)?;
        memory.write_bytes(bytes, &self.bytes)?;
        for (at, start) in (pointers..).step_by(4).zip(&self.starts) {
            memory.write_u32(at, bytes + start)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Strings {
        let mut strings = Strings::default();
        for string in list {
            strings.push(string, "arg").expect("a string");
        }
        strings
    }

    #[test]
    fn strings_and_pointers_lie_where_the_guest_wants_them() {
        let strings = strings(&["watm", "", "--key=ä"]);
        assert_eq!((strings.count(), strings.size()), (3, 5 + 1 + 9));
        // An odd address works as well as any other.
        let mut memory = [0xee; 64];
        strings.write(&mut memory[..], 1, 20).expect("room");
        let pointer = |at: usize| u32::from_le_bytes(memory[at..at + 4].try_into().expect("four"));
        assert_eq!([pointer(1), pointer(5), pointer(9)], [20, 25, 26]);
        assert_eq!(&memory[20..35], "watm\0\0--key=ä\0".as_bytes());
        assert!(
            memory[13..20]
                .iter()
                .chain(&memory[35..])
                .all(|byte| *byte == 0xee)
        );
    }

    #[test]
    fn nothing_is_written_past_the_end_of_the_memory() {
        let strings = strings(&["one", "two"]);
        for (pointers, bytes) in [(25, 0), (0, 25), (u32::MAX, 0), (0, u32::MAX), (32, 32)] {
            let mut memory = [0xee; 32];
            let refused = strings.write(&mut memory[..], pointers, bytes);
            assert_eq!(refused, Err(Errno::Fault), "{pointers} {bytes}");
            assert!(
                memory.iter().all(|byte| *byte == 0xee),
                "{pointers} {bytes}"
            );
        }
        // The last position at which they fit.
        strings.write(&mut [0; 32][..], 24, 0).expect("room");
        strings.write(&mut [0; 32][..], 0, 24).expect("room");
        // An empty list needs no room.
        let none = Strings::default();
        none.write(&mut [0; 0][..], 0, 0).expect("nothing");
    }

    #[test]
    fn what_cannot_be_handed_over_is_refused() {
        let env = |name: &str, value: &str| {
            Arguments::new("m", &[], &[(name.to_owned(), value.to_owned())]).map(drop)
        };
        env("NAME", "a=b").expect("a value may have an equals sign");
        env("NAME", "").expect("a value may be empty");
        for (name, value) in [("", "v"), ("a=b", "v"), ("a\0", "v"), ("a", "\0")] {
            let refused = env(name, value);
            let Err(ConfigError::Invalid { setting, .. }) = refused else {
                panic!("{name:?} {value:?}: {refused:?}");
            };
            assert_eq!(setting, "env");
        }
        let arg = |arg: String| Arguments::new("m", &[arg], &[]).map(drop);
        arg(String::new()).expect("it may be empty");
        arg("\0".into()).expect_err("a zero byte");
        // "m" and two zero bytes are the rest.
        arg("x".repeat(LIMIT - 3)).expect("just small enough");
        arg("x".repeat(LIMIT - 2)).expect_err("one too many");
        let odd = Arguments::new("a\0b", &[], &[]).expect("a name");
        assert_eq!(odd.args.bytes, b"a b\0");
    }
}
