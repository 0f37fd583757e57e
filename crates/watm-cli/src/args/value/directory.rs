//! A directory for a module: `HOST:GUEST` for reading, `HOST:GUEST:rw` for reading and writing.

use std::path::PathBuf;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
    pub(crate) writable: bool,
}

impl FromStr for Directory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (paths, writable) = match text.strip_suffix(":rw") {
            Some(paths) => (paths, true),
            None => (text.strip_suffix(":ro").unwrap_or(text), false),
        };
        let (host, guest) = split(paths)
            .ok_or("expected HOST:GUEST or HOST:GUEST:rw, where GUEST begins with `/`")?;
        if host.is_empty() {
            return Err("the directory of the host before the colon is missing".into());
        }
        if guest != "/" && !is_plain(guest) {
            return Err(format!(
                "`{guest}` is not a path in plain form, such as `/data` or `/`"
            ));
        }
        Ok(Self {
            host: host.into(),
            guest: guest.to_owned(),
            writable,
        })
    }
}

/// The paths of the host and of the guest. A path of the host may contain colons, so the last colon
/// before an absolute path separates them.
pub(super) fn split(paths: &str) -> Option<(&str, &str)> {
    let colon = paths.rfind(":/")?;
    Some((&paths[..colon], &paths[colon + 1..]))
}

/// Whether an absolute path names something below `/`, in plain form.
pub(super) fn is_plain(guest: &str) -> bool {
    let mut names = guest[1..].split('/');
    names.all(|name| !matches!(name, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, guest: &str, writable: bool) {
        let expected = Directory {
            host: host.into(),
            guest: guest.to_owned(),
            writable,
        };
        assert_eq!(text.parse(), Ok(expected));
    }

    #[test]
    fn a_directory_is_for_reading_unless_it_says_otherwise() {
        check("/srv/keys:/keys", "/srv/keys", "/keys", false);
        check("/srv/keys:/keys:ro", "/srv/keys", "/keys", false);
        check("state:/var/state:rw", "state", "/var/state", true);
        check("/srv/site:/", "/srv/site", "/", false);
        check("/srv/site:/:rw", "/srv/site", "/", true);
    }

    #[test]
    fn a_path_of_the_host_may_contain_colons() {
        check("/srv/a:b:/keys", "/srv/a:b", "/keys", false);
    }

    #[test]
    fn what_is_no_pair_of_paths_is_refused() {
        for bad in [
            "",
            ":",
            "/srv",
            "/srv:",
            "/srv:keys",
            ":/keys",
            "/srv:/.",
            "/srv:/..",
            "/srv:/./:rw",
            "/srv:/a/../b",
            "/srv:/a/",
            "/srv://a",
        ] {
            bad.parse::<Directory>().expect_err(bad);
        }
    }
}
