//! Keys and signatures as texts. `tests/tests/runtime/signatures.rs` has those of files.

use proptest::prelude::*;

use super::*;

/// Of minisign's documentation: a key, and its signatures of the file `test`.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const OTHER: &str = "RWTOLgNp2d9J+OhsxyIsK5bW+cdcewdhLhue/vt5mDlff8j54o5W7Jli";
const CONTENT: &[u8] = b"test";
const HASHED: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
";
const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
";

fn key(text: &str) -> TrustedKey {
    text.parse().expect("a key")
}

#[track_caller]
fn refused(signature: impl AsRef<[u8]>, part: &str) -> SignatureError {
    let error = SignatureInfo::verify(CONTENT, signature.as_ref(), &[key(KEY), key(OTHER)]);
    let error = error.expect_err(part);
    assert!(error.to_string().contains(part), "{part:?} in {error}");
    error
}

#[test]
fn a_key_is_known_by_the_number_that_minisign_displays() {
    let id = "E7620F1842B4E81F";
    assert_eq!(key(KEY).id().to_string(), id);
    for text in [
        format!("untrusted comment: minisign public key {id}\n{KEY}\n"),
        format!("untrusted comment: minisign public key {id}\r\n{KEY}\r\n"),
        format!("  {KEY}\n\n"),
    ] {
        assert_eq!(key(&text), key(KEY), "{text}");
    }
    assert_eq!(format!("{:?}", key(KEY)), format!("TrustedKey({id})"));
}

#[test]
fn what_is_no_public_key_is_called_what_it_is() {
    let secret = format!(
        "untrusted comment: minisign secret key\nRWRTY0Iy{}",
        "A".repeat(204)
    );
    for (text, part) in [
        ("", "it is empty"),
        ("RW", "fewer characters"),
        (&KEY[1..], "fewer characters"),
        (&format!("{KEY}A"), "more characters"),
        (&KEY.replacen("RW", "XX", 1), "does not begin with RW"),
        (&KEY.replacen("6L", "6*", 1), "not base64"),
        (&"\u{e9}".repeat(28), "not base64"),
        (&format!("comment\n{KEY}"), "other lines"),
        (HASHED, "it is a signature"),
        (&secret, "secret key"),
        (&" ".repeat(5000), "at most 4096 bytes"),
    ] {
        let error = text.parse::<TrustedKey>().expect_err(part).to_string();
        assert!(error.contains(part), "{part:?} in {error}");
    }
}

#[test]
fn a_signature_names_its_key_and_has_a_comment_that_is_signed_too() {
    let keys = [key(OTHER), key(KEY)];
    for text in [HASHED.to_owned(), HASHED.replace('\n', "\r\n")] {
        let info = SignatureInfo::verify(CONTENT, text.as_bytes(), &keys).expect("it holds");
        assert_eq!(info.key_id(), key(KEY).id());
        assert_eq!(info.trusted_comment(), "timestamp:1556193335\tfile:test");
        assert_eq!(
            info.to_string(),
            "signed with the key E7620F1842B4E81F: timestamp:1556193335\\tfile:test"
        );
    }
}

#[test]
fn the_comment_that_is_not_signed_may_be_any() {
    let other = HASHED.replacen("signature from", "anything of", 1);
    SignatureInfo::verify(CONTENT, other.as_bytes(), &[key(KEY)]).expect("it holds");
}

#[test]
fn what_was_altered_does_not_hold() {
    let wrong = "is not what the key E7620F1842B4E81F has signed";
    refused(HASHED.replacen("file:test", "file:toast", 1), wrong);
    refused(HASHED.replacen("559r3g", "559r4g", 1), wrong);
    refused(HASHED.replacen("y/rUw2", "y/rUw3", 1), wrong);
    let error = SignatureInfo::verify(b"Test", HASHED.as_bytes(), &[key(KEY)]);
    assert!(
        matches!(error, Err(SignatureError::Wrong { .. })),
        "{error:?}"
    );
}

#[test]
fn an_unknown_key_is_named_beside_those_that_are_trusted() {
    let verify = |keys: &[TrustedKey]| {
        let error = SignatureInfo::verify(CONTENT, HASHED.as_bytes(), keys);
        error.expect_err("an unknown key").to_string()
    };
    let text = verify(&[key(OTHER)]);
    assert!(
        text.contains("the key E7620F1842B4E81F, which is not trusted"),
        "{text}"
    );
    assert!(
        text.ends_with("the trusted key is F849DFD969032ECE"),
        "{text}"
    );
    assert!(verify(&[]).ends_with("no key is trusted"));
    let many = vec![key(OTHER); 20];
    assert!(verify(&many).ends_with("F849DFD969032ECE and 12 more"));
}

#[test]
fn another_key_with_the_same_number_does_not_stand_in_the_way() {
    let mut namesake = key(OTHER);
    namesake.id = key(KEY).id();
    namesake.key =
        PublicKey::from_base64(&format!("{}{}", &KEY[..14], &OTHER[14..])).expect("a key");
    let keys = [namesake.clone(), key(KEY)];
    SignatureInfo::verify(CONTENT, HASHED.as_bytes(), &keys).expect("it holds");
    let error = SignatureInfo::verify(CONTENT, HASHED.as_bytes(), &[namesake]);
    assert!(
        matches!(error, Err(SignatureError::Wrong { .. })),
        "{error:?}"
    );
}

#[test]
fn a_signature_over_the_file_itself_is_refused_as_what_it_is() {
    let error = refused(LEGACY, "sign the file again without -l");
    assert!(matches!(error, SignatureError::Legacy { .. }), "{error:?}");
    // The key comes first: only a trusted one is worth a word about the form.
    let error = SignatureInfo::verify(CONTENT, LEGACY.as_bytes(), &[key(OTHER)]);
    assert!(
        matches!(error, Err(SignatureError::UnknownKey { .. })),
        "{error:?}"
    );
}

#[test]
fn what_is_no_signature_is_called_what_it_is() {
    let lines: Vec<&str> = HASHED.lines().collect();
    refused("", "it is empty");
    refused("\n\n", "it is empty");
    for cut in 1..4 {
        refused(lines[..cut].join("\n"), "fewer than four lines");
    }
    refused(
        &HASHED[..HASHED.len() - 9],
        "second or fourth line is not whole",
    );
    refused(format!("{HASHED}more"), "more than four lines");
    refused(HASHED.replacen("untrusted", "trusted", 1), "first line");
    refused(HASHED.replacen("\ntrusted", "\nuntrusted", 1), "third line");
    refused(HASHED.replacen("RUQ", "AAQ", 1), "algorithm is unknown");
    refused(HASHED.replacen("RUQf", "RU*f", 1), "not whole");
    refused(b"\0asm\xff\xfe", "not text in UTF-8");
    refused("x".repeat(10 << 10), "fewer than four lines");
    refused("x".repeat((10 << 10) + 1), "more than 10 KiB");
}

#[test]
fn a_comment_cannot_disturb_a_terminal_when_it_is_displayed() {
    let info = SignatureInfo {
        key_id: key(KEY).id(),
        trusted_comment: format!("a\u{1b}[31m\u{202e}\n{}", "x".repeat(9000)),
    };
    let text = info.to_string();
    assert!(text.contains("a\\u{1b}[31m\\u{202e}\\nx"), "{text}");
    assert!(text.len() < 300, "{text}");
}

proptest! {
    #[test]
    fn whatever_bytes_are_no_signature_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        SignatureInfo::verify(CONTENT, &bytes, &[key(KEY)]).expect_err("no signature");
        if let Ok(text) = std::str::from_utf8(&bytes) {
            text.parse::<TrustedKey>().expect_err("no key");
        }
    }

    #[test]
    fn a_byte_that_differs_is_found_wherever_it_matters(at in 0..HASHED.len(), byte in any::<u8>()) {
        let mut altered = HASHED.as_bytes().to_vec();
        altered[at] = byte;
        let untrusted = HASHED.find('\n').expect("lines");
        let held = SignatureInfo::verify(CONTENT, &altered, &[key(KEY)]);
        if at > untrusted && at < HASHED.len() - 1 && altered != HASHED.as_bytes() {
            held.expect_err("it was altered");
        } else if let Ok(info) = held {
            prop_assert_eq!(info.trusted_comment(), "timestamp:1556193335\tfile:test");
        }
    }
}
