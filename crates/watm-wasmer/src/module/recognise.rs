//! Names what a file is if it is not a module. Files come over the network, out of repositories and
//! from people, and what arrives is often something else.

use wasmparser::Parser;

/// Number of bytes that are examined, from the start of the file.
const START: usize = 1024;

/// The first bytes of a kind of file, and what to do about it.
const MARKS: [(&[u8], &str); 19] = [
    (b"\x1f\x8b", "it is compressed with gzip; decompress it"),
    (
        b"\x28\xb5\x2f\xfd",
        "it is compressed with zstd; decompress it",
    ),
    (b"\xfd7zXZ\0", "it is compressed with xz; decompress it"),
    (b"BZh", "it is compressed with bzip2; decompress it"),
    (b"PK\x03\x04", "it is a zip archive; unpack it"),
    (
        b"\x7fELF",
        "it is a program or library for Linux (ELF); build it for `wasm32-wasip1`",
    ),
    (
        b"MZ",
        "it is a program for Windows; build it for `wasm32-wasip1`",
    ),
    (
        b"\xcf\xfa\xed\xfe",
        "it is a program for macOS; build it for `wasm32-wasip1`",
    ),
    (
        b"\xca\xfe\xba\xbe",
        "it is a program for macOS or Java; build it for `wasm32-wasip1`",
    ),
    (b"BC\xc0\xde", "it is LLVM bitcode, which is not linked yet"),
    (
        b"!<arch>\n",
        "it is an archive of objects, which are not linked yet",
    ),
    (b"#!", "it is a script"),
    (b"%PDF", "it is a PDF document"),
    (b"\xff\xfe", "it is text in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "it is text in UTF-16; save it as UTF-8"),
    (
        b"\xef\xbb\xbf",
        "it is text with a byte-order mark; save it as UTF-8 without one",
    ),
    (
        b"version https://git-lfs.github.com/",
        "it is a Git LFS pointer, which stands for the file in a repository; `git lfs pull` gets the \
         file itself",
    ),
    (
        b"-----BEGIN ",
        "it is a key, a certificate or the like (PEM)",
    ),
    (
        b"data:",
        "it is a data URL; decode what follows the comma with `base64 -d`",
    ),
];

/// Describes in words what the bytes are, if that is known. Returns `None` for every module in the
/// binary format.
pub(crate) fn describe(bytes: &[u8]) -> Option<&'static str> {
    if Parser::is_component(bytes) {
        return Some(
            "it is a component (WASI Preview 2); a transport module is a core module, such as \
             `wasm32-wasip1` makes",
        );
    }
    if bytes.starts_with(b"\0asm") {
        return None;
    }
    let marked = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark));
    if let Some((_, description)) = marked {
        return Some(description);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("it is a tar archive; unpack it");
    }
    // The last character may be cut in two.
    let start = &bytes[..bytes.len().min(START)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return None,
    };
    describe_text(text.trim_start(), bytes.len() <= START)
}

fn describe_text(text: &str, is_whole: bool) -> Option<&'static str> {
    let begins = |with: &str| {
        text.get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    if begins("<!doctype html") || begins("<html") || begins("<head") || begins("<body") {
        return Some(
            "it is an HTML page; a link to a page about the file may have been followed in place \
             of one to the file",
        );
    }
    if begins("<?xml") || begins("<svg") {
        return Some("it is XML");
    }
    if (begins("https://") || begins("http://")) && is_whole && text.lines().count() == 1 {
        return Some("it is a URL; download what is there");
    }
    // The first bytes of every module, in base64.
    if begins("AGFzb") {
        return Some("it is a module in base64; decode it with `base64 -d`");
    }
    if begins("0061736d") {
        return Some("it is a module in hexadecimal digits; decode it with `xxd -r -p`");
    }
    match text.as_bytes().first() {
        Some(b'{') => Some("it is JSON"),
        Some(b'[') if text.contains('"') => Some("it is JSON"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_called_what_it_is() {
        let mut tar = vec![b'x'; 600];
        tar[257..262].copy_from_slice(b"ustar");
        for (bytes, expected) in [
            (&b"\x1f\x8b\x08\0\0"[..], "gzip"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"\xfd7zXZ\0\0\x04", "xz"),
            (b"BZh91AY&SY", "bzip2"),
            (b"PK\x03\x04\x14\0", "zip"),
            (&tar, "tar"),
            (b"\x7fELF\x02\x01\x01\0", "ELF"),
            (b"MZ\x90\0", "Windows"),
            (b"\xcf\xfa\xed\xfe\x07", "macOS"),
            (b"#!/bin/sh\n", "script"),
            (b"BC\xc0\xde5\x14", "bitcode"),
            (b"!<arch>\nplain.o/", "archive of objects"),
            (b"\xff\xfe(\0m\0", "UTF-16"),
            (b"\xef\xbb\xbf(module)", "byte-order mark"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
                "Git LFS pointer",
            ),
            (b"<!DOCTYPE html>\n<html lang=\"en\">", "HTML"),
            (b"\n  <html><head>", "HTML"),
            (b"<?xml version=\"1.0\"?>", "XML"),
            (b"https://example.com/plain.wasm\n", "URL"),
            (b"AGFzbQEAAAABBgFgAX8BfwMCAQAHBwEDZm9vAAA=\n", "base64"),
            (b"data:application/wasm;base64,AGFzbQEAAAA=", "data URL"),
            (b"0061736d01000000", "hexadecimal"),
            (b"{\"message\": \"Not Found\"}", "JSON"),
            (b" [{\"name\": \"plain.wasm\"}]", "JSON"),
            (b"-----BEGIN CERTIFICATE-----\n", "certificate"),
            (b"\0asm\x0d\0\x01\0", "component"),
        ] {
            let described = describe(bytes).unwrap_or("nothing");
            assert!(described.contains(expected), "{expected}: {described}");
        }
    }

    #[test]
    fn what_is_or_could_be_a_module_is_not_called_anything() {
        for bytes in [
            &b"\0asm\x01\0\0\0"[..],
            b"\0asm\x02\0\0\0",
            b"",
            b"(module)",
            b";; https://example.com\n(module)",
            b"http://a\nhttp://b\n",
            b"\x80\x81\x82",
            b"hello",
        ] {
            assert_eq!(describe(bytes), None, "{bytes:?}");
        }
        // The text is cut in the middle of a character.
        let long = "\u{e4}".repeat(START);
        assert_eq!(describe(&long.as_bytes()[..START + 1]), None);
        assert_eq!(describe(&long.as_bytes()[1..]), None);
    }
}
