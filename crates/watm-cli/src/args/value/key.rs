//! A trusted key: the key itself, or a file with it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use watm_wasmer::TrustedKey;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyOrFile {
    Key(TrustedKey),
    File(PathBuf),
}

impl FromStr for KeyOrFile {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(key) => Self::Key(key),
            Err(_) => Self::File(text.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_a_file() {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let parsed = key.parse::<KeyOrFile>();
        assert!(matches!(parsed, Ok(KeyOrFile::Key(_))), "{parsed:?}");
        for file in ["minisign.pub", "RWQ", &key[1..]] {
            assert_eq!(file.parse(), Ok(KeyOrFile::File(file.into())));
        }
    }
}
