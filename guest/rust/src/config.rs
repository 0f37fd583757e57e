//! The configuration, which the host gives as a file.

use std::fs;
use std::io;

use crate::error::{Error, Result};

const PATH: &str = "/conf/watm.cfg";

/// Reads the configuration of the module: the file `/conf/watm.cfg`. `None` if the host gives none.
///
/// [`Transport::new`](crate::Transport::new) gets it as its argument. Others can read it at any
/// time.
///
/// # Errors
///
/// That of the host if the file is there but cannot be read.
///
/// ```
/// use watm_guest::{Error, Result};
///
/// /// The address in the first line of the configuration, for a module of the raw level.
/// fn address() -> Result<String> {
///     let config = watm_guest::config()?.ok_or(Error::INVAL)?;
///     let text = String::from_utf8(config).map_err(|_| Error::INVAL)?;
///     text.lines().next().map(str::to_owned).ok_or(Error::INVAL)
/// }
/// ```
pub fn config() -> Result<Option<Vec<u8>>> {
    optional(fs::read(PATH))
}

fn optional(content: io::Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match content {
        Ok(content) => Ok(Some(content)),
        // No host was asked: std has no directory with the file.
        Err(error) if error.raw_os_error().is_none() => Ok(None),
        Err(error) => match Error::from(error) {
            Error::NOENT | Error::BADF | Error::NOTCAPABLE => Ok(None),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_no_configuration() {
        assert_eq!(optional(fs::read("/conf/there is no such file")), Ok(None));
        assert_eq!(
            optional(Err(io::Error::new(io::ErrorKind::Other, "no directory"))),
            Ok(None)
        );
    }

    #[test]
    fn an_empty_file_is_a_configuration() {
        assert_eq!(optional(Ok(Vec::new())), Ok(Some(Vec::new())));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        assert!(optional(fs::read("/")).is_err());
    }
}
