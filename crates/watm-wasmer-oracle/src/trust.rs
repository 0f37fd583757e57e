//! The oracle for what decides whether a file is trusted: keys, signatures and manifests.
//!
//! Knows one signed file of `tests/signed`, its key, its signature and a manifest. A case changes
//! one of them.

use std::path::{Component, Path};

use arbitrary::Arbitrary;
use watm_abi::is_disruptive;
use watm_wasmer::{Manifest, ManifestError, SignatureError, SignatureInfo, TrustedKey};

use crate::load::{Mutation, change};

const FILE: &[u8] = include_bytes!("../../../tests/signed/module.wat");
const SIGNATURE: &[u8] = include_bytes!("../../../tests/signed/module.wat.minisig");
const KEY: &str = include_str!("../../../tests/signed/first.pub");
const MANIFEST: &[u8] = include_bytes!("../../../tests/signed/modules.toml");
const COMMENT: &str = "version 2";

/// What is changed.
#[derive(Debug, Arbitrary)]
pub struct TrustCase {
    /// What the changes are made to.
    pub subject: Subject,
    /// The changes. If there are none, the subject consists of the bytes alone.
    pub mutations: Vec<Mutation>,
    /// The bytes that the changes use.
    pub bytes: Vec<u8>,
}

/// What a case is about.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Subject {
    /// A file that is signed.
    File,
    /// A signature.
    Signature,
    /// A public key.
    Key,
    /// A manifest.
    Manifest,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrustEnd {
    /// The signature holds.
    Holds,
    /// The file or the comment is not what was signed.
    Wrong,
    /// The signature is by another key.
    UnknownKey,
    /// It is not a signature, or not of the form that is accepted.
    NoSignature,
    /// It is not a key.
    NoKey,
    /// It is a manifest.
    Manifest,
    /// It is not a manifest.
    NoManifest,
}

/// Reads what the case describes, and verifies the signature if it is about one.
///
/// # Panics
///
/// Panics if a signature holds for another file or another comment than those that were signed, if
/// the unchanged ones do not hold, if a manifest leads out of its directory, or if a message could
/// disturb a terminal or names a line that does not exist.
pub fn trust(case: &TrustCase) -> TrustEnd {
    let changed = |original: &[u8]| {
        if case.mutations.is_empty() {
            case.bytes.clone()
        } else {
            change(original.to_vec(), &case.mutations, &case.bytes)
        }
    };
    match case.subject {
        Subject::File => verify(&changed(FILE), SIGNATURE, KEY),
        Subject::Signature => verify(FILE, &changed(SIGNATURE), KEY),
        Subject::Key => match std::str::from_utf8(&changed(KEY.as_bytes())) {
            Ok(key) => verify(FILE, SIGNATURE, key),
            Err(_) => TrustEnd::NoKey,
        },
        Subject::Manifest => manifest(&changed(MANIFEST)),
    }
}

fn verify(file: &[u8], signature: &[u8], key: &str) -> TrustEnd {
    let original: TrustedKey = KEY.parse().expect("a key");
    let key = match key.parse::<TrustedKey>() {
        Ok(key) => key,
        Err(error) => {
            check_message(&error.to_string());
            return TrustEnd::NoKey;
        }
    };
    let is_original = file == FILE && signature == SIGNATURE && key == original;
    let error = match SignatureInfo::verify(file, signature, std::slice::from_ref(&key)) {
        Ok(info) => {
            assert_eq!(file, FILE, "another file holds");
            assert_eq!(key, original, "another key has signed it");
            assert_eq!(info.key_id(), original.id());
            assert_eq!(info.trusted_comment(), COMMENT, "another comment holds");
            return TrustEnd::Holds;
        }
        Err(error) => error,
    };
    assert!(!is_original, "what was signed does not hold: {error}");
    check_message(&error.to_string());
    match error {
        SignatureError::Wrong { .. } => TrustEnd::Wrong,
        SignatureError::UnknownKey { .. } => TrustEnd::UnknownKey,
        _ => TrustEnd::NoSignature,
    }
}

fn manifest(text: &[u8]) -> TrustEnd {
    match Manifest::parse(text, "m.toml") {
        Ok(manifest) => {
            assert!(!manifest.modules().is_empty(), "it names nothing");
            for module in manifest.modules() {
                let is_vouched_for =
                    module.sha256().is_some() || !manifest.trusted_keys().is_empty();
                assert!(is_vouched_for, "nothing vouches for {module:?}");
                check_path(module.file());
                module.config().into_iter().for_each(check_path);
                check_message(module.name());
            }
            TrustEnd::Manifest
        }
        Err(error) => {
            check_error(&error, text);
            TrustEnd::NoManifest
        }
    }
}

fn check_error(error: &ManifestError, text: &[u8]) {
    check_message(&error.to_string());
    let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
    // Only the size is that of the whole.
    let line = error.line().unwrap_or(1);
    assert!((1..=lines).contains(&line), "{error}");
}

fn check_path(path: &Path) {
    let leads_up = path.components().any(|part| part == Component::ParentDir);
    assert!(path.is_absolute() || !leads_up, "{}", path.display());
}

fn check_message(message: &str) {
    assert!(!message.contains(is_disruptive), "{message:?}");
    assert!(message.chars().count() < 1000, "{message}");
}
