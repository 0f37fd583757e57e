//! Loading modules, and what they say of themselves.

use std::ffi::CString;
use std::fs;

use watm::*;

use crate::{call, fails, guest, made, module, ok, text};

fn signed(name: &str) -> CString {
    let path = format!("{}/../../tests/signed/{name}", env!("CARGO_MANIFEST_DIR"));
    CString::new(path).expect("no zero byte")
}

fn new_loader() -> Box<watm_loader> {
    // SAFETY: it was just made.
    unsafe { Box::from_raw(watm_loader_new()) }
}

#[test]
fn a_module_tells_its_name_its_size_its_hash_and_its_roles() {
    let module = module("plain");
    let file = fs::read(guest("plain").to_str().expect("UTF-8")).expect("it is there");
    assert_eq!(text(watm_module_name(Some(&module))), "plain");
    assert_eq!(text(watm_module_sha256(Some(&module))).len(), 64);
    assert_eq!(watm_module_size(Some(&module)), file.len() as u64);
    let all = WATM_ROLE_DIALER | WATM_ROLE_FIXED_DIALER | WATM_ROLE_LISTENER | WATM_ROLE_RELAY;
    assert_eq!(watm_module_roles(Some(&module)), all);
    let fixed = crate::module("fixed");
    assert_eq!(watm_module_roles(Some(&fixed)), WATM_ROLE_FIXED_DIALER);
    let from_bytes: Box<watm_module> =
        made!(watm_module_load_bytes(file.as_ptr().cast(), file.len()));
    assert_eq!(
        text(watm_module_sha256(Some(&from_bytes))),
        text(watm_module_sha256(Some(&module)))
    );
    assert!(watm_module_signature_key(Some(&module)).is_null());
    assert!(!watm_module_wants_host_aead(Some(&module)));
    assert!(watm_module_wants_host_aead(Some(&crate::module("aead"))));
    watm_module_free(Some(module));
}

#[test]
fn a_loader_demands_a_hash() {
    let loader = new_loader();
    let digits = CString::new("0".repeat(64)).expect("no zero byte");
    ok(call!(watm_loader_sha256(Some(&loader), digits.as_ptr())));
    let mut none = std::ptr::null_mut();
    let refused = call!(watm_loader_load_file(
        Some(&loader),
        guest("plain").as_ptr(),
        Some(&mut none)
    ));
    fails(refused, watm_status::Load, "hash");
    let short = call!(watm_loader_sha256(Some(&loader), c"00".as_ptr()));
    fails(short, watm_status::Argument, "argument");
    let right = CString::new(text(watm_module_sha256(Some(&module("plain"))))).expect("text");
    ok(call!(watm_loader_sha256(Some(&loader), right.as_ptr())));
    let _loaded: Box<watm_module> = made!(watm_loader_load_file(
        Some(&loader),
        guest("plain").as_ptr()
    ));
}

#[test]
fn a_loader_demands_a_signature_by_one_of_its_keys() {
    let loader = new_loader();
    let file = signed("module.wat");
    let some = Some(&*loader);
    let mut none = std::ptr::null_mut();
    ok(call!(watm_loader_trusted_key_file(
        some,
        signed("second.pub").as_ptr()
    )));
    let refused = call!(watm_loader_load_file(some, file.as_ptr(), Some(&mut none)));
    assert!(
        refused.message.contains("which is not trusted"),
        "{refused:?}"
    );
    fails(refused, watm_status::Load, "signature");
    let key = fs::read(signed("first.pub").to_str().expect("UTF-8")).expect("it is there");
    let key = CString::new(key).expect("no zero byte");
    ok(call!(watm_loader_trusted_key(some, key.as_ptr())));
    let loaded: Box<watm_module> = made!(watm_loader_load_file(some, file.as_ptr()));
    assert_eq!(text(watm_module_signature_key(Some(&loaded))).len(), 16);
    assert!(!watm_module_signature_comment(Some(&loaded)).is_null());

    ok(call!(watm_loader_signature_file(
        some,
        signed("second.minisig").as_ptr()
    )));
    let _other: Box<watm_module> = made!(watm_loader_load_file(some, file.as_ptr()));
    ok(call!(watm_loader_signature(some, b"no".as_ptr().cast(), 2)));
    let refused = call!(watm_loader_load_file(some, file.as_ptr(), Some(&mut none)));
    fails(refused, watm_status::Load, "signature");
    for outcome in [
        call!(watm_loader_trusted_key(some, c"RWQ".as_ptr())),
        call!(watm_loader_trusted_key_file(some, c"/nowhere".as_ptr())),
    ] {
        fails(outcome, watm_status::Argument, "key");
    }
}

#[test]
fn a_loader_has_limits_and_a_cache() {
    let loader = new_loader();
    let some = Some(&*loader);
    let file = guest("plain");
    let mut none = std::ptr::null_mut();
    let here = CString::new(env!("CARGO_TARGET_TMPDIR")).expect("no zero byte");
    let cache = [here.as_bytes(), b"/watm-ffi-cache"].concat();
    let cache = CString::new(cache).expect("no zero byte");
    ok(call!(watm_loader_cache(some, cache.as_ptr())));
    let _one: Box<watm_module> = made!(watm_loader_load_file(some, file.as_ptr()));
    let _two: Box<watm_module> = made!(watm_loader_load_file(some, file.as_ptr()));
    let refused = call!(watm_loader_cache(some, c"/dev/null".as_ptr()));
    fails(refused, watm_status::Load, "cache");
    ok(call!(watm_loader_max_size(some, 100)));
    let refused = call!(watm_loader_load_file(some, file.as_ptr(), Some(&mut none)));
    fails(refused, watm_status::Load, "too-large");
    ok(call!(watm_loader_max_size(some, 1 << 20)));
    ok(call!(watm_loader_compile_timeout(some, 60_000)));
    let data = b"hello";
    let refused = call!(watm_loader_load_bytes(
        some,
        data.as_ptr().cast(),
        5,
        Some(&mut none)
    ));
    fails(refused, watm_status::Load, "not-a-module");
    let missing = call!(watm_module_load_file(c"/nowhere".as_ptr(), Some(&mut none)));
    assert!(missing.message.contains("No such file"), "{missing:?}");
}
