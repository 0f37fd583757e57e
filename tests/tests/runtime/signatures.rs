//! Signatures of module files: which modules they let through, and that nothing else is looked at
//! before. `tests/signed` has the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use watm_wasmer::{
    ArtifactCache, KeyError, LoadError, ModuleHash, ModuleLoader, SignatureError, SignatureInfo,
    TransportModule, TrustedKey,
};

pub(crate) fn signed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("signed")
        .join(name)
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    std::fs::read(signed(name)).expect("a file")
}

pub(crate) fn key(name: &str) -> TrustedKey {
    TrustedKey::from_file(signed(name)).expect("a key")
}

fn trusting(keys: &[&str]) -> ModuleLoader {
    ModuleLoader::new().trusted_keys(keys.iter().map(|name| key(name)))
}

/// A directory with copies of the module and its signature.
pub(crate) fn copies() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for name in [
        "module.wat",
        "module.wat.minisig",
        "modules.toml",
        "modules.toml.minisig",
    ] {
        std::fs::copy(signed(name), directory.path().join(name)).expect("a copy");
    }
    directory
}

/// Changes one byte of a file.
pub(crate) fn alter(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a file");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

#[track_caller]
fn refused(result: Result<TransportModule, LoadError>) -> (Option<PathBuf>, SignatureError) {
    match result.expect_err("its signature") {
        LoadError::Signature { path, source } => (path, source),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_module_that_a_trusted_key_has_signed_loads_and_tells_who_it_was() {
    for keys in [&["first.pub"][..], &["second.pub", "first.pub"]] {
        let module = trusting(keys).load_file(signed("module.wat"));
        let module = module.expect("a module");
        let signature = module.signature().expect("it was verified");
        assert_eq!(signature.key_id(), key("first.pub").id());
        assert_eq!(signature.trusted_comment(), "version 2");
    }
}

#[test]
fn without_trusted_keys_no_signature_is_looked_for() {
    let directory = copies();
    std::fs::write(directory.path().join("module.wat.minisig"), "no signature").expect("written");
    let module = TransportModule::from_file(directory.path().join("module.wat"));
    assert_eq!(module.expect("a module").signature(), None);
}

#[test]
fn another_signature_than_the_one_beside_may_be_given() {
    let (path, error) = refused(trusting(&["second.pub"]).load_file(signed("module.wat")));
    assert_eq!(path, Some(signed("module.wat.minisig")));
    let SignatureError::UnknownKey { id, trusted } = error else {
        panic!("{error:?}");
    };
    assert_eq!(id, key("first.pub").id());
    assert_eq!(trusted, [key("second.pub").id()]);

    let by_second = trusting(&["second.pub"]).signature_file(signed("second.minisig"));
    let module = by_second.load_file(signed("module.wat")).expect("a module");
    let signature = module.signature().expect("it was verified");
    assert_eq!(signature.trusted_comment(), "by the second key");

    let by_second = trusting(&["second.pub"]).signature(read("second.minisig"));
    by_second.load_bytes(read("module.wat")).expect("a module");
}

#[test]
fn a_module_without_a_signature_is_refused_if_keys_are_trusted() {
    let directory = copies();
    let path = directory.path().join("module.wat");
    std::fs::remove_file(directory.path().join("module.wat.minisig")).expect("removed");
    let (named, error) = refused(trusting(&["first.pub"]).load_file(&path));
    assert_eq!(named, Some(directory.path().join("module.wat.minisig")));
    assert!(matches!(error, SignatureError::Missing), "{error:?}");
    // Also one with the expected hash.
    let hash = ModuleHash::of(&read("module.wat"));
    let (named, error) = refused(
        trusting(&["first.pub"])
            .sha256(hash)
            .load_bytes(read("module.wat")),
    );
    assert_eq!(named, None);
    assert!(matches!(error, SignatureError::Missing), "{error:?}");
}

#[test]
fn if_no_key_is_trusted_no_signature_holds() {
    for loader in [ModuleLoader::new(), trusting(&[])] {
        let loader = loader.signature(read("module.wat.minisig"));
        let (_, error) = refused(loader.load_bytes(read("module.wat")));
        let SignatureError::UnknownKey { trusted, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(trusted, []);
    }
    let (_, error) = refused(trusting(&[]).load_bytes(read("module.wat")));
    assert!(matches!(error, SignatureError::Missing), "{error:?}");
}

#[test]
fn what_was_altered_is_not_even_parsed() {
    let directory = copies();
    let path = directory.path().join("module.wat");
    std::fs::write(&path, "(module (this is no module").expect("written");
    let (_, error) = refused(trusting(&["first.pub"]).load_file(&path));
    assert!(matches!(error, SignatureError::Wrong { .. }), "{error:?}");

    for (old, new) in [
        ("version 2", "version 3"),
        ("RUTOLgNp2d9J+F", "RUTOLgNp2d9J+G"),
    ] {
        let text = String::from_utf8(read("module.wat.minisig")).expect("text");
        let altered = text.replacen(old, new, 1);
        assert_ne!(altered, text);
        let loader = trusting(&["first.pub"]).signature(altered);
        let (_, error) = refused(loader.load_bytes(read("module.wat")));
        assert!(
            matches!(error, SignatureError::Wrong { .. }),
            "{old}: {error:?}"
        );
    }
    // The comment of one signature with the rest of another.
    let old = String::from_utf8(read("older.minisig")).expect("text");
    let new = String::from_utf8(read("module.wat.minisig")).expect("text");
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let mixed = [new[0], new[1], old[2], new[3]].join("\n");
    let loader = trusting(&["first.pub"]).signature(mixed);
    let (_, error) = refused(loader.load_bytes(read("module.wat")));
    assert!(matches!(error, SignatureError::Wrong { .. }), "{error:?}");
}

/// A signature says who has made a file. Which of the files it is, it does not say.
#[test]
fn an_older_signature_of_the_same_key_holds_as_well() {
    let loader = trusting(&["first.pub"]).signature(read("older.minisig"));
    let module = loader.load_bytes(read("module.wat")).expect("a module");
    let signature = module.signature().expect("it was verified");
    assert_eq!(signature.trusted_comment(), "version 1");
}

#[test]
fn what_is_in_the_cache_is_verified_each_time() {
    let directory = copies();
    let path = directory.path().join("module.wat");
    let cache = ArtifactCache::open(directory.path().join("cache")).expect("a cache");
    let compiled = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&compiled);
    let loader = trusting(&["first.pub"])
        .cache(&cache)
        .before_compiling(move |_| seen.store(true, Ordering::Relaxed));
    loader.load_file(&path).expect("a module");
    assert!(compiled.swap(false, Ordering::Relaxed));
    loader.load_file(&path).expect("a module");
    assert!(!compiled.load(Ordering::Relaxed), "it was in the cache");
    std::fs::remove_file(directory.path().join("module.wat.minisig")).expect("removed");
    refused(loader.load_file(&path));
}

#[test]
fn a_signature_by_an_old_minisign_is_refused_with_what_to_do() {
    let loader = trusting(&["first.pub"]).signature_file(signed("legacy.minisig"));
    let (_, error) = refused(loader.load_file(signed("module.wat")));
    assert!(matches!(error, SignatureError::Legacy { .. }), "{error:?}");
    assert!(
        error.to_string().contains("sign the file again without -l"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_signature_is_refused_however_it_is_broken() {
    let directory = tempfile::tempdir().expect("a directory");
    let whole = read("module.wat.minisig");
    let text = String::from_utf8(whole.clone()).expect("text");
    let path = directory.path().join("signature");
    let load = || {
        let loader = trusting(&["first.pub"]).signature_file(&path);
        loader.load_file(signed("module.wat"))
    };
    std::fs::write(&path, text.replace('\n', "\r\n")).expect("written");
    load().expect("lines may end as on Windows");
    for length in 0..whole.len() - 1 {
        std::fs::write(&path, &whole[..length]).expect("written");
        let (_, error) = refused(load());
        let is_expected = matches!(
            error,
            SignatureError::Malformed(_) | SignatureError::Wrong { .. }
        );
        assert!(is_expected, "{length}: {error:?}");
    }
    for (broken, part) in [
        (vec![b'x'; 1 << 20], "more than 10 KiB"),
        (b"\0asm\x01\0\0\0\xff\xff".to_vec(), "not text in UTF-8"),
        (read("first.pub"), "fewer than four lines"),
        (read("module.wat"), "more than four lines"),
    ] {
        std::fs::write(&path, broken).expect("written");
        let (_, error) = refused(load());
        assert!(error.to_string().contains(part), "{part:?} in {error}");
    }
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a directory");
    let (_, error) = refused(load());
    assert!(matches!(error, SignatureError::Read(_)), "{error:?}");
    let loader = trusting(&["first.pub"]).signature(vec![b'x'; 1 << 20]);
    let (_, error) = refused(loader.load_file(signed("module.wat")));
    assert!(error.to_string().contains("more than 10 KiB"), "{error}");
}

#[test]
fn a_key_file_that_is_none_is_called_what_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key");
    let error = TrustedKey::from_file(&path).expect_err("there is none");
    assert!(matches!(error, KeyError::Read { .. }), "{error:?}");
    std::fs::write(&path, vec![b'x'; 1 << 20]).expect("written");
    let error = TrustedKey::from_file(&path).expect_err("it is large");
    assert!(matches!(error, KeyError::TooLarge { .. }), "{error:?}");
    for (bytes, part) in [
        (&b"\xff\xfe"[..], "not text"),
        (&read("module.wat.minisig"), "it is a signature"),
    ] {
        std::fs::write(&path, bytes).expect("written");
        let error = TrustedKey::from_file(&path).expect_err(part).to_string();
        assert!(error.contains(part), "{part:?} in {error}");
    }
}

#[test]
fn a_trusted_comment_cannot_disturb_a_terminal() {
    let keys = [key("first.pub")];
    let info = SignatureInfo::verify(&read("module.wat"), &read("escape.minisig"), &keys);
    let info = info.expect("it holds");
    assert_eq!(info.trusted_comment(), "a\u{1b}[31mb\u{202e}c");
    assert!(
        info.to_string().ends_with(": a\\u{1b}[31mb\\u{202e}c"),
        "{info}"
    );
}
