//! The programs that cannot pass, and why.

/// Making links is refused (ENOTSUP): a guest could use links to mislead others with the same
/// directory. Following, reading, moving and removing existing links works, and has other tests.
const EXCEPTIONS: [(&str, &str); 7] = [
    ("nofollow_errors", "makes symbolic links"),
    ("path_exists", "makes symbolic links"),
    ("path_link", "makes hard links"),
    (
        "path_symlink_trailing_slashes",
        "looks at the errors of making symbolic links",
    ),
    ("readlink", "makes a symbolic link"),
    ("symlink_create", "makes symbolic links"),
    ("symlink_filestat", "makes a symbolic link"),
];

/// Why a program of the Rust suite cannot pass, if it cannot.
pub(crate) fn reason(program: &str) -> Option<&'static str> {
    let (suite, name) = (program.split('/').next()?, program.rsplit('/').next()?);
    EXCEPTIONS
        .iter()
        .find(|(exception, _)| suite == "rust" && *exception == name)
        .map(|(_, reason)| *reason)
}
