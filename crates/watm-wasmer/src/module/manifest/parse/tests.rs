//! Manifests as texts: what each mistake is called, and where. `tests/tests/runtime/manifests.rs`
//! has the files that they name.

use proptest::prelude::*;

use super::*;

const HASH: &str = "00ff10a500ff10a500ff10a500ff10a500ff10a500ff10a500ff10a500ff10a5";
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fn read(text: &str) -> Result<Parsed, ManifestError> {
    parse(text.as_bytes(), Path::new("m.toml"))
}

/// A manifest with a module that has these lines, from line 5 on.
fn module(lines: &str) -> String {
    format!("[[module]]\nname = \"a\"\nfile = \"a.wasm\"\nsha256 = \"{HASH}\"\n{lines}\n")
}

#[track_caller]
fn refused(text: &str, line: usize, key: &str, part: &str) {
    let error = read(text).err().expect(part);
    let message = error.to_string();
    let start = if key.is_empty() {
        format!("m.toml, line {line}: ")
    } else {
        format!("m.toml, line {line}, `{key}`: ")
    };
    assert!(message.starts_with(&start), "{start:?} in {message:?}");
    assert!(message.contains(part), "{part:?} in {message:?}");
    assert_eq!(error.line(), Some(line));
    assert_eq!(error.key().unwrap_or_default(), key);
}

#[test]
fn a_manifest_with_everything_is_read() {
    let text = format!(
        "trusted_keys = [\n  \"{KEY}\",\n]\r\n[[module]]\nname = \"a b\"\nfile = \"x/a.wasm\"\n\
         sha256 = \"{HASH}\"\nsignature = \"sig\"\nroles = [\"dialer\", \"fixed-dialer\", \
         \"listener\", \"relay\"]\nconfig = \"/etc/a.cfg\"\nconfig_sha256 = \"{HASH}\"\n\
         [[module]]\nname = \"b\"\nfile = \"./b.wasm\"\n"
    );
    let Parsed { keys, modules } = read(&text).expect("a manifest");
    assert_eq!(keys, [KEY.parse().expect("a key")]);
    let [a, b] = &modules[..] else {
        panic!("{modules:?}");
    };
    assert_eq!((a.name(), a.file()), ("a b", Path::new("x/a.wasm")));
    assert_eq!(a.roles().len(), 4);
    assert_eq!(a.config(), Some(Path::new("/etc/a.cfg")));
    assert_eq!(a.sha256().expect("a hash").to_string(), HASH);
    assert_eq!(a.config_sha256(), a.sha256());
    assert_eq!(a.signature_file(), Path::new("sig"));
    assert_eq!((a.file.line, a.roles.as_ref().expect("roles").line), (6, 9));
    assert_eq!((b.name(), b.sha256(), b.config()), ("b", None, None));
    assert!(b.roles().is_empty());
    assert_eq!(b.signature_file(), Path::new("./b.wasm.minisig"));
}

#[test]
fn a_key_that_is_unknown_is_named_with_the_nearest() {
    for (lines, key, nearest) in [
        ("sha265 = 1", "sha265", "`sha256`"),
        ("role = []", "role", "`roles`"),
        ("configuration = ''", "configuration", "`config`"),
    ] {
        refused(&module(lines), 5, key, nearest);
    }
    refused("\ntrusted_key = []\n", 2, "trusted_key", "`trusted_keys`");
    refused("[[modules]]\nname = 'a'\n", 1, "modules", "`module`");
    refused("[[module]]\nnam = 'a'\n", 2, "nam", "`name`");
    // The first is named, not the first of the alphabet.
    refused(&module("zzz = 1\naaa = 2"), 5, "zzz", "unknown");
    // As much of it as can be read.
    let long = "k".repeat(100_000);
    let key = "k".repeat(NAME_LIMIT);
    refused(&module(&format!("{long} = 1")), 5, &key, "unknown");
}

#[test]
fn a_value_of_another_type_is_called_what_it_should_be() {
    refused(
        &module("config = 1"),
        5,
        "config",
        "a text in quotes, found a value of the type integer",
    );
    refused(&module("roles = 'dialer'"), 5, "roles", "an array of texts");
    refused(
        &module("roles = [\n'dialer',\ntrue]"),
        7,
        "roles",
        "a text in quotes",
    );
    refused("trusted_keys = 'x'", 1, "trusted_keys", "an array of texts");
    refused("module = 1", 1, "module", "[[module]]");
    refused("module = [1]", 1, "module", "[[module]]");
    refused("\n[module]\nname = 'a'", 2, "module", "[[module]]");
}

#[test]
fn what_is_missing_is_told_at_the_line_of_the_module() {
    refused("", 1, "module", "no module is named");
    refused("module = []", 1, "module", "no module is named");
    refused("\n\n[[module]]\n", 3, "name", "missing");
    refused("\n[[module]]\nname = 'a'\n", 2, "file", "missing");
    let bare = "[[module]]\nname = 'a'\nfile = 'a.wasm'\n";
    refused(bare, 1, "sha256", "minisign -Sm FILE");
    read(&format!("trusted_keys = ['{KEY}']\n{bare}")).expect("it is signed");
    refused(
        &module("signature = 's'"),
        5,
        "signature",
        "no `trusted_keys`",
    );
    let config = format!("config_sha256 = '{HASH}'");
    refused(&module(&config), 5, "config_sha256", "no `config`");
}

#[test]
fn a_value_that_makes_no_sense_is_told_where_it_stands() {
    refused(&module("roles = []"), 5, "roles", "leave the key out");
    refused(
        &module("roles = [\n'dialer',\n'diahler']"),
        7,
        "roles",
        "no role `diahler`",
    );
    refused(
        &module("config = 'c'\nconfig_sha256 = 'ab'"),
        6,
        "config_sha256",
        "64 hexadecimal",
    );
    refused("trusted_keys = []", 1, "trusted_keys", "leave the key out");
    refused(
        "trusted_keys = [\n'RW']",
        2,
        "trusted_keys",
        "56 characters",
    );
    refused("[[module]]\nname = ''", 2, "name", "from 1 to 64");
    let long = format!("[[module]]\nname = '{}'", "x".repeat(65));
    refused(&long, 2, "name", "not 65");
    refused(
        "[[module]]\nname = \"a\\u001b[m\"",
        2,
        "name",
        "cannot be displayed",
    );
    let twice = format!("{}{}", module(""), module(""));
    refused(&twice, 7, "name", "line 2 has a module with this name");
}

#[test]
fn a_path_leads_nowhere_but_down_or_is_absolute() {
    for path in ["..", "../a", "a/../../b", "a/../b", "./../a"] {
        let part = if path == ".." {
            "not the path"
        } else {
            "does not lead out"
        };
        refused(&module(&format!("config = '{path}'")), 5, "config", part);
    }
    for path in ["", ".", "/", "a/", "a/.."] {
        refused(
            &module(&format!("config = '{path}'")),
            5,
            "config",
            "not the path of a file",
        );
    }
    refused(
        &module("config = \"a\\u0000b\""),
        5,
        "config",
        "cannot be displayed",
    );
    for path in ["a", "./a", "a/b", "a..b", "/etc/a", "/a/../b"] {
        read(&module(&format!("config = '{path}'"))).expect(path);
    }
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    refused("\n\nname = ", 3, "", "this is not TOML");
    refused(&module("name = 'b'"), 5, "", "duplicate key");
    refused("<html>", 1, "", "this is not TOML");
    let error = parse(b"\n\n\0asm\xff", Path::new("m.toml"))
        .err()
        .expect("bytes");
    assert_eq!(
        error.to_string(),
        "m.toml, line 3: a manifest is text in UTF-8, but this is not"
    );
    let deep = format!("x = {}", "[".repeat(100_000));
    assert!(read(&deep).is_err());
}

#[test]
fn a_message_has_one_line_and_an_end() {
    for text in [
        &format!("\"{}\" = 1", "a\\u001b\\n".repeat(10_000)),
        &module(&format!("roles = [\"\\u001b{}\"]", "x".repeat(10_000))),
        "x = \u{1b}[31m",
    ] {
        let message = read(text).err().expect("no manifest").to_string();
        assert!(!message.contains(is_disruptive), "{message:?}");
        assert!(message.chars().count() < 1000, "{message}");
    }
}

proptest! {
    #[test]
    fn whatever_a_manifest_says_its_paths_stay_and_its_errors_have_a_line(
        lines in prop::collection::vec(line(), 0..12)
    ) {
        let text = lines.concat();
        match read(&text) {
            Ok(Parsed { keys, modules }) => {
                prop_assert!(!modules.is_empty());
                for module in modules {
                    prop_assert!(module.sha256.is_some() || !keys.is_empty());
                    prop_assert!(!module.file().components().any(|part| part == Component::ParentDir));
                }
            }
            Err(error) => {
                let line = error.line().expect("a line");
                prop_assert!((1..=lines_in(text.as_bytes()) + 1).contains(&line), "{}", error);
                prop_assert!(!error.to_string().contains(is_disruptive));
            }
        }
    }
}

/// A line that a manifest may have, or almost.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[[module]]\n".to_owned()),
        Just(format!("sha256 = '{HASH}'\n")),
        Just(format!("trusted_keys = ['{KEY}']\n")),
        "(name|file|config) = '[ab./]{0,4}'\n",
        "roles = \\[('dialer'|'relay'|'x'|1),?\\]\n",
        "\\PC{0,20}\n",
        "[a-z.\\[\\]=\"' #\\n]{0,20}\n",
    ]
}
