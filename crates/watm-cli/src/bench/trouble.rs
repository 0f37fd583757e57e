//! Why something could not be measured. If only one row is lost, this becomes a note.

use std::io;

use watm_wasmer::DialError;

use crate::terminal::failure::{Failure, chain};

#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The module could not be dialled.
    #[error("{}", chain(.0))]
    Dial(#[from] DialError),
    /// A connection or a process of the measurement failed.
    #[error("{}", chain(.0))]
    Broken(#[from] io::Error),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Dial(error) => error.into(),
            Trouble::Broken(error) => Self::because("the measurement was cut off", error).hint(
                "use -v to see what the module logs, or -vv to see also what the library does",
            ),
        }
    }
}
