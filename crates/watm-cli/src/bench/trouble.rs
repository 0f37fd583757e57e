//! Why something could not be measured. Where only a row is lost, this becomes a note.

use std::fmt;
use std::io;

use watm_wasmer::DialError;

use crate::terminal::failure::{Failure, chain};

#[derive(Debug)]
pub(super) enum Trouble {
    /// The module could not be dialled.
    Dial(DialError),
    /// A connection or a process of the measurement failed.
    Broken(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Dial(error) => chain(error),
            Self::Broken(error) => chain(error),
        })
    }
}

impl From<DialError> for Trouble {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Dial(error) => error.into(),
            Trouble::Broken(error) => Self::because("the measurement was cut off", error)
                .hint("-v shows what the module logs, -vv also what the library does"),
        }
    }
}
