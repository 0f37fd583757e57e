//! The header is what its sources make.
//!
//! `WATM_WRITE_HEADER=1 cargo test --locked --workspace --test header` writes it anew.

use std::fs;
use std::path::Path;

/// In the order of the header: what all functions use comes first.
const SOURCES: [&str; 18] = [
    "status",
    "process",
    "log_lines",
    "module",
    "settings",
    "limits",
    "hooks",
    "outgoing",
    "observer",
    "options",
    "dialer",
    "pending",
    "conn",
    "carried",
    "listener",
    "server",
    "open",
    "config",
];

/// The header that cbindgen makes.
fn made() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("it is valid");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for name in SOURCES {
        builder = builder.with_src(root.join("src").join(name).with_extension("rs"));
    }
    let bindings = builder.generate().expect("the sources are understood");
    let mut made = Vec::new();
    bindings.write(&mut made);
    String::from_utf8(made).expect("it is UTF-8")
}

#[test]
fn the_header_is_what_the_sources_make() {
    let made = made();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/watm.h");
    if std::env::var_os("WATM_WRITE_HEADER").is_some() {
        fs::write(&path, &made).expect("it can be written");
    }
    let kept = fs::read_to_string(&path).expect("there is a header");
    let differs = kept.lines().zip(made.lines()).position(|(a, b)| a != b);
    assert!(
        kept == made,
        "include/watm.h differs from line {:?} on; WATM_WRITE_HEADER=1 writes it anew",
        differs.map(|line| line + 1)
    );
}

#[test]
fn every_function_of_the_sources_is_in_the_header_with_its_documentation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = made();
    let mut functions = 0;
    for entry in fs::read_dir(root.join("src")).expect("there are sources") {
        let path = entry.expect("an entry").path();
        let source = fs::read_to_string(&path).expect("it is text");
        for rest in source.split("#[unsafe(no_mangle)]").skip(1) {
            let name = rest.split_once("fn ").expect("a function").1;
            let name = name.split_once('(').expect("arguments").0;
            let declared = header.find(&format!("{name}("));
            // The name may stand in the documentation of another function before.
            let documented = header.match_indices(&format!("{name}(")).any(|(at, _)| {
                let line = header[..at].lines().count();
                let before = header.lines().take(line.saturating_sub(1)).last();
                before.is_some_and(|before| before.trim() == "*/")
            });
            assert!(declared.is_some() && documented, "{name}");
            functions += 1;
        }
    }
    assert!(functions > 100, "{functions}");
}
