//! `watm cache`: shows or clears the compiled modules on disk.

use std::fmt::Write as _;
use std::time::Duration;

use watm_wasmer::{ArtifactCache, CacheError};

use crate::args::CacheArgs;
use crate::setup;
use crate::terminal::bytes::count;
use crate::terminal::escape::printable;
use crate::terminal::failure::Failure;
use crate::terminal::output;

pub(crate) fn run(args: &CacheArgs) -> Result<(), Failure> {
    let cache = setup::open_cache(&args.directory)?;
    let text = if args.clear {
        let removed = cache.artifacts()?.len();
        let bytes = cache.clear()?;
        format!("removed       {}, {}\n", modules(removed), count(bytes))
    } else {
        contents(&cache)?
    };
    output::print(&text)
}

fn contents(cache: &ArtifactCache) -> Result<String, CacheError> {
    let artifacts = cache.artifacts()?;
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<13} {}", printable(value));
    };
    line("directory", &cache.directory().display().to_string());
    line("holds", &modules(artifacts.len()));
    line("size", &count(artifacts.iter().map(|file| file.size).sum()));
    for artifact in &artifacts {
        let name = artifact.path.file_name().unwrap_or_default();
        // If the clock was set back, the module counts as used just now.
        let age = age(artifact.last_used.elapsed().unwrap_or_default());
        line("", &format!("{}, used {age}", count(artifact.size)));
        line("", &format!("  {}", name.display()));
    }
    Ok(text)
}

fn modules(number: usize) -> String {
    match number {
        1 => "1 compiled module".to_owned(),
        _ => format!("{number} compiled modules"),
    }
}

/// How long ago, in the largest unit that fits.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (number, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..86400 => (seconds / 3600, "h"),
        _ => (seconds / 86400, "days"),
    };
    format!("{number} {unit} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let ago = |seconds| age(Duration::from_secs(seconds));
        assert_eq!(ago(0), "0 s ago");
        assert_eq!(ago(59), "59 s ago");
        assert_eq!(ago(60), "1 min ago");
        assert_eq!(ago(7200), "2 h ago");
        assert_eq!(ago(86400 * 3), "3 days ago");
    }
}
