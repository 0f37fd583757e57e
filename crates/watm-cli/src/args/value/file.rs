//! A file for a module, which is kept in memory: `HOST:GUEST`.

use std::path::PathBuf;
use std::str::FromStr;

use super::directory::{is_plain, split};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenFile {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
}

impl FromStr for GivenFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, guest) =
            split(text).ok_or("expected HOST:GUEST, where GUEST begins with `/`")?;
        if host.is_empty() {
            return Err("the file of the host before the colon is missing".into());
        }
        if !is_plain(guest) {
            return Err(format!(
                "`{guest}` is not a path in plain form, such as `/etc/ssl/certs/ca.pem`"
            ));
        }
        Ok(Self {
            host: host.into(),
            guest: guest.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_path_on_the_host_and_one_in_the_module() {
        for (text, host, guest) in [
            (
                "ca.pem:/etc/ssl/certs/ca.pem",
                "ca.pem",
                "/etc/ssl/certs/ca.pem",
            ),
            ("/srv/a:b:/b", "/srv/a:b", "/b"),
            // Files cannot be given for writing.
            ("/srv/key:/key:rw", "/srv/key", "/key:rw"),
        ] {
            let expected = GivenFile {
                host: host.into(),
                guest: guest.to_owned(),
            };
            assert_eq!(text.parse(), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_pair_of_paths_is_refused() {
        for bad in [
            "",
            ":",
            "ca.pem",
            "ca.pem:",
            "ca.pem:ca.pem",
            ":/ca.pem",
            "ca.pem:/",
            "ca.pem:/a/",
            "ca.pem:/a/../b",
            "ca.pem://a",
            "ca.pem:/.",
        ] {
            bad.parse::<GivenFile>().expect_err(bad);
        }
    }
}
