//! Why a connection could not be set up, in words.

use std::io;

use watm_wasmer::{AcceptError, DialError, ExportOutcome, ExportReturn, TransportError};

use crate::terminal::failure::{Failure, chain};

/// Why a connection could not be set up.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The module, or the host for it, gave a reason.
    Because {
        text: String,
        /// Whether a trap, an exit or a timeout was it, not an error number.
        is_rude: bool,
    },
    /// The module made no connection.
    NoConnection,
    /// The check itself could not go on.
    Host(Failure),
}

impl Refusal {
    /// The text, and whether something else than an error number was the reason.
    pub(super) fn into_text(self) -> Result<(String, bool), Failure> {
        match self {
            Self::Because { text, is_rude } => Ok((text, is_rude)),
            Self::NoConnection => Ok(("the module made no connection".into(), true)),
            Self::Host(failure) => Err(failure),
        }
    }

    /// The same, with what went wrong at the other end.
    pub(super) fn with(self, far: Self) -> Self {
        match (self, far) {
            (Self::Because { text, is_rude }, Self::Because { text: far, .. }) => {
                refusal(&format!("{far}; {text}"), is_rude)
            }
            (Self::NoConnection, far @ Self::Because { .. }) => far,
            (near, _) => near,
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Host(failure)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Host(cannot(error))
    }
}

pub(super) fn cannot(error: io::Error) -> Failure {
    Failure::because("cannot set up the check", error)
}

/// What was said of a module, said of the module at the other end.
pub(super) fn of_its_peer(text: &str) -> String {
    format!("at its peer, {text}")
}

/// How an export has ended.
pub(super) fn ended(returned: &ExportReturn) -> String {
    let export = returned.export;
    match returned.outcome {
        ExportOutcome::Returned(Some(value)) => format!("{export} returned {value}"),
        ExportOutcome::Exited(code) => format!("{export} exited with code {code}"),
        ExportOutcome::Trapped => format!("{export} trapped"),
        ExportOutcome::Stopped => format!("{export} did not return and was stopped"),
        _ => format!("{export} returned"),
    }
}

pub(super) fn refusal(text: &str, is_rude: bool) -> Refusal {
    Refusal::Because {
        text: text.to_owned(),
        is_rude,
    }
}

impl From<DialError> for Refusal {
    fn from(error: DialError) -> Self {
        let is_rude = match &error {
            DialError::Transport(error) => is_rude(error),
            error => matches!(error, DialError::TimedOut { .. }),
        };
        refusal(&chain(&error), is_rude)
    }
}

impl From<AcceptError> for Refusal {
    fn from(error: AcceptError) -> Self {
        let is_rude = match &error {
            AcceptError::Transport(error) => is_rude(error),
            error => matches!(error, AcceptError::TimedOut { .. }),
        };
        refusal(&chain(&error), is_rude)
    }
}

/// Whether the module did something else than return an error number.
fn is_rude(error: &TransportError) -> bool {
    !matches!(error, TransportError::Failed { .. })
}
