//! The extension `watm_ext_aead_v1`: the host encrypts for guests that take its functions.

use std::io::{Read, Write};
use std::time::Duration;

use watm_tests::{Logs, Pair, SHORT, accept_one, built, listener, text, within};
use watm_wasmer::{
    Builder, DialError, Dialer, HostAead, LoadError, ModuleInfo, TransportError, TransportModule,
};

const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const EBADMSG: i32 = 9;
const EFAULT: i32 = 21;
const EINVAL: i32 = 28;
const EMSGSIZE: i32 = 35;
const ENFILE: i32 = 41;
const ENOTSUP: i32 = 58;

const ALGORITHMS: [(u32, u32); 3] = [(1, 16), (2, 32), (3, 32)];

/// The guest `aead`, which does what it is told.
struct Guest {
    pair: Pair,
    /// A free area of its memory.
    area: u32,
    area_len: u32,
    memory_size: u32,
    functions: u32,
}

impl Guest {
    fn new() -> Self {
        Self::of(Dialer::builder(&built("aead")))
    }

    fn of(builder: Builder<Dialer>) -> Self {
        let pair = Pair::with(builder);
        let mut guest = Guest {
            pair,
            area: 0,
            area_len: 0,
            memory_size: 0,
            functions: 0,
        };
        guest.order(3, 0, &[], &[]);
        let answer = guest.answer(16);
        let number = |index: usize| -> u32 {
            let bytes = answer[4 * index..][..4].try_into().expect("four");
            u32::from_le_bytes(bytes)
        };
        guest.area = number(0);
        guest.area_len = number(1);
        guest.memory_size = number(2);
        guest.functions = number(3);
        guest
    }

    fn order(&self, what: u32, function: u32, arguments: &[u32], bytes: &[u8]) {
        let mut order = [0; 9];
        order[0] = what;
        order[1] = function;
        order[2..2 + arguments.len()].copy_from_slice(arguments);
        let mut message: Vec<u8> = order.iter().flat_map(|part| part.to_le_bytes()).collect();
        message.extend(bytes);
        (&self.pair.conn).write_all(&message).expect("room");
    }

    fn answer(&self, len: usize) -> Vec<u8> {
        let mut answer = vec![0; len];
        (&self.pair.conn)
            .read_exact(&mut answer)
            .expect("an answer");
        answer
    }

    fn call(&self, function: u32, arguments: &[u32]) -> i32 {
        self.order(0, function, arguments, &[]);
        i32::from_le_bytes(self.answer(4).try_into().expect("four"))
    }

    /// Puts bytes into the area, and returns their address.
    fn put(&self, at: u32, bytes: &[u8]) -> u32 {
        let at = self.area + at;
        self.order(1, 0, &[at, bytes.len() as u32], bytes);
        at
    }

    fn get(&self, at: u32, len: u32) -> Vec<u8> {
        self.order(2, 0, &[self.area + at, len], &[]);
        self.answer(len as usize)
    }

    /// A key of sevens, whose handle is returned.
    fn key(&self, (algorithm, len): (u32, u32)) -> u32 {
        let key = self.put(0, &vec![7; len as usize]);
        assert_eq!(
            self.call(0, &[algorithm, key, len, self.area + 40]),
            SUCCESS
        );
        u32::from_le_bytes(self.get(40, 4).try_into().expect("four"))
    }

    fn close(&self, handle: u32) -> i32 {
        self.call(1, &[handle])
    }

    /// Addresses are those of the area. The nonce is at 64, and there is no additional data.
    fn seal(&self, handle: u32, from: u32, len: u32, to: u32) -> i32 {
        let nonce = self.area + 64;
        let (from, to) = (self.area + from, self.area + to);
        self.call(2, &[handle, nonce, 0, 0, from, len, to])
    }

    fn open(&self, handle: u32, from: u32, len: u32, to: u32) -> i32 {
        let nonce = self.area + 64;
        let (from, to) = (self.area + from, self.area + to);
        self.call(3, &[handle, nonce, 0, 0, from, len, to])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 8439, section 2.8.2, and test cases 2 and 14 of the paper on GCM.
#[test]
fn a_guest_that_takes_the_offer_gets_published_results() {
    let guest = Guest::new();
    assert_eq!(guest.functions, 4);
    let plain = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
                 the future, sunscreen would be it.";
    let key: Vec<u8> = (0x80..0xa0).collect();
    let key = guest.put(0, &key);
    assert_eq!(guest.call(0, &[3, key, 32, guest.area + 40]), SUCCESS);
    let nonce = guest.put(64, b"\x07\0\0\0\x40\x41\x42\x43\x44\x45\x46\x47");
    let aad = guest.put(128, b"\x50\x51\x52\x53\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7");
    let input = guest.put(1024, plain.as_bytes());
    let output = guest.area + 4096;
    assert_eq!(
        guest.call(2, &[1, nonce, aad, 12, input, 114, output]),
        SUCCESS
    );
    let sealed = guest.get(4096, 130);
    assert_eq!(hex(&sealed[..8]), "d31a8d34648e60db");
    assert_eq!(hex(&sealed[114..]), "1ae10b594f09e26a7e902ecbd0600691");
    assert_eq!(
        guest.call(3, &[1, nonce, aad, 12, output, 130, input]),
        SUCCESS
    );
    assert_eq!(guest.get(1024, 114), plain.as_bytes());

    for (algorithm, len, expected) in [
        (
            1,
            16,
            "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
        ),
        (
            2,
            32,
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
        ),
    ] {
        let zeros = guest.put(0, &[0; 128]);
        assert_eq!(guest.call(0, &[algorithm, zeros, len, guest.area + 40]), 0);
        assert_eq!(guest.seal(algorithm + 1, 80, 16, 1024), SUCCESS);
        assert_eq!(hex(&guest.get(1024, 32)), expected);
    }
    guest.pair.conn.close().expect("it returns 0");
}

#[test]
fn handles_keys_and_algorithms_that_are_wrong_are_refused() {
    let guest = Guest::new();
    for wrong in [0, 1, 2, 64, 65, u32::MAX] {
        assert_eq!(guest.close(wrong), EBADF);
        assert_eq!(guest.seal(wrong, 0, 1, 100), EBADF);
        assert_eq!(guest.open(wrong, 0, 17, 100), EBADF);
    }
    let (at, handle) = (guest.area, guest.area + 40);
    assert_eq!(guest.call(0, &[0, at, 32, handle]), ENOTSUP);
    assert_eq!(guest.call(0, &[4, at, 32, handle]), ENOTSUP);
    assert_eq!(guest.call(0, &[1, at, 32, handle]), EINVAL);
    assert_eq!(guest.call(0, &[2, at, 16, handle]), EINVAL);
    assert_eq!(guest.call(0, &[3, at, u32::MAX, handle]), EFAULT);
    assert_eq!(guest.call(0, &[3, u32::MAX - 3, 32, handle]), EFAULT);
    assert_eq!(guest.call(0, &[3, at, 32, u32::MAX - 2]), EFAULT);

    let keys: Vec<u32> = (0..64).map(|n| guest.key(ALGORITHMS[n % 3])).collect();
    assert_eq!(keys, (1..=64).collect::<Vec<_>>());
    assert_eq!(guest.call(0, &[1, at, 16, handle]), ENFILE);
    assert_eq!(guest.close(5), SUCCESS);
    assert_eq!(guest.close(5), EBADF);
    assert_eq!(guest.seal(5, 0, 1, 100), EBADF);
    assert_eq!(guest.key(ALGORITHMS[0]), 5);
    guest.pair.conn.close().expect("it returns 0");
}

#[test]
fn what_lies_outside_of_memory_or_is_too_long_is_refused() {
    let guest = Guest::new();
    let end = guest.memory_size;
    for algorithm in ALGORITHMS {
        let handle = guest.key(algorithm);
        let nonce = guest.area + 64;
        let call = |function, nonce, aad, aad_len, input, len, output| {
            guest.call(function, &[handle, nonce, aad, aad_len, input, len, output])
        };
        let area = guest.area;
        for function in [2, 3] {
            for far in [end - 11, end, u32::MAX - 11, u32::MAX] {
                assert_eq!(call(function, far, 0, 0, area, 16, area), EFAULT);
                assert_eq!(call(function, nonce, far, 12, area, 16, area), EFAULT);
                assert_eq!(call(function, nonce, 0, 0, far, 16, area), EFAULT);
            }
            for len in [(1 << 20) + 17, u32::MAX - 16, u32::MAX - 15, u32::MAX] {
                for at in [area, end, u32::MAX] {
                    assert_eq!(call(function, nonce, 0, 0, at, len, at), EMSGSIZE);
                }
            }
            for len in [(64 << 10) + 1, u32::MAX] {
                assert_eq!(call(function, nonce, 0, len, area, 16, area), EMSGSIZE);
            }
        }
        // The tag has no room.
        assert_eq!(call(2, nonce, 0, 0, area, 16, end - 31), EFAULT);
        assert_eq!(call(2, nonce, 0, 0, area, 0, end - 15), EFAULT);
        assert_eq!(call(2, nonce, 0, 0, area, 0, u32::MAX), EFAULT);
        assert_eq!(call(3, nonce, 0, 0, area, 32, end - 15), EFAULT);
        for short in 0..16 {
            assert_eq!(call(3, nonce, 0, 0, area, short, area), EBADMSG);
        }
        // The longest message, in place.
        assert!(guest.area_len >= 4096 + (1 << 20) + 16);
        assert_eq!(guest.seal(handle, 4096, 1 << 20, 4096), SUCCESS);
        assert_eq!(guest.open(handle, 4096, (1 << 20) + 16, 4096), SUCCESS);
        assert_eq!(guest.get(4096, 1 << 20), vec![0; 1 << 20]);
    }
    guest.pair.conn.close().expect("it returns 0");
}

#[test]
fn buffers_may_overlap_and_an_altered_message_leaves_no_plaintext() {
    let guest = Guest::new();
    let plain: Vec<u8> = (0..100).collect();
    for algorithm in ALGORITHMS {
        let handle = guest.key(algorithm);
        guest.put(1024, &plain);
        assert_eq!(guest.seal(handle, 1024, 100, 4096), SUCCESS);
        let sealed = guest.get(4096, 116);
        for to in [1024, 1025, 1023, 1040, 1123, 908] {
            guest.put(1024, &plain);
            assert_eq!(guest.seal(handle, 1024, 100, to), SUCCESS);
            assert_eq!(guest.get(to, 116), sealed);
            guest.put(1024, &sealed);
            assert_eq!(guest.open(handle, 1024, 116, to), SUCCESS);
            assert_eq!(guest.get(to, 100), plain);
        }
        for position in [0, 50, 99, 100, 115] {
            let mut altered = sealed.clone();
            altered[position] ^= 0x80;
            for to in [1024, 1030, 4096] {
                guest.put(4096, &[0xee; 100]);
                guest.put(1024, &altered);
                assert_eq!(guest.open(handle, 1024, 116, to), EBADMSG);
                assert_eq!(guest.get(to, 100), [0; 100]);
            }
        }
        assert_eq!(guest.close(handle), SUCCESS);
    }
    guest.pair.conn.close().expect("it returns 0");
}

fn dial_choosing(choice: &str) -> Result<(), DialError> {
    let (listener, address) = listener();
    let dialer = Dialer::builder(&built("aead"))
        .config(choice)
        .setup_timeout(Duration::from_secs(2));
    let dialer = dialer.build().expect("a dialer");
    let conn = within(SHORT, move || dialer.dial(&address))?;
    drop(accept_one(&listener));
    conn.abort();
    Ok(())
}

#[test]
fn a_guest_that_fails_at_the_offer_is_an_error_that_names_it() {
    match dial_choosing("trap").expect_err("it traps") {
        DialError::Transport(TransportError::Trapped { function, .. }) => {
            assert_eq!(function, "watm_ext_aead_v1");
        }
        other => panic!("{other:?}"),
    }
    match dial_choosing("exit").expect_err("it exits") {
        DialError::Transport(TransportError::Exited { function, code }) => {
            assert_eq!((function, code), ("watm_ext_aead_v1", 7));
        }
        other => panic!("{other:?}"),
    }
    let error = dial_choosing("spin").expect_err("it never returns");
    assert!(matches!(error, DialError::TimedOut { .. }), "{error:?}");
    dial_choosing("decline").expect("it may decline");
}

#[test]
fn nothing_is_offered_if_it_is_switched_off() {
    let guest = Guest::of(Dialer::builder(&built("aead")).host_aead(false));
    assert_eq!(guest.functions, 0);
    let guest = Guest::of(Dialer::builder(&built("aead")).config("decline"));
    assert_eq!(guest.functions, 0, "it takes nothing");
}

/// A module whose worker writes what it was offered: how many functions, 0 if it was not asked.
/// Then it runs `body`. The global `$first` has the place of the first function.
fn taking(table: &str, initialize: &str, body: &str) -> String {
    format!(
        r#"(module
        (type $close (func (param i32) (result i32)))
        (import "env" "water_dial_fixed" (func $dial (result i32)))
        (import "wasi_snapshot_preview1" "fd_write"
          (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        {table}
        (global $first (mut i32) (i32.const 0))
        (global $count (mut i32) (i32.const 0))
        (global $internal (mut i32) (i32.const 0))
        (func (export "watm_ext_aead_v1") (param $first i32) (param $count i32) (result i32)
          (global.set $first (local.get $first))
          (global.set $count (local.get $count))
          (i32.const 0))
        (func (export "_initialize") {initialize})
        (func (export "watm_init_v1") (result i32) (i32.const 0))
        (func (export "watm_dial_v1") (param $fd i32) (result i32)
          (global.set $internal (local.get $fd))
          (call $dial))
        (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
        (func $put (param $value i32)
          (i32.store (i32.const 0) (i32.const 16))
          (i32.store (i32.const 4) (i32.const 4))
          (i32.store (i32.const 16) (local.get $value))
          (drop (call $fd_write
            (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func (export "watm_start_v1") (result i32)
          (call $put (global.get $count))
          {body}))"#
    )
}

const GROWING: &str = r#"(table $t (export "__indirect_function_table") 1 funcref)"#;

/// The number of functions that a module is offered.
fn offered(module: &TransportModule) -> i32 {
    let pair = Pair::dial(module);
    let mut count = [0; 4];
    (&pair.conn).read_exact(&mut count).expect("a number");
    pair.conn.close().expect("it returns 0");
    i32::from_le_bytes(count)
}

#[test]
fn a_table_that_cannot_take_the_functions_is_told_and_the_module_runs_without() {
    let start = "(i32.const 0)";
    let growing = text(&taking(GROWING, "", start));
    assert_eq!(growing.info().host_aead(), HostAead::Wanted);
    assert_eq!(offered(&growing), 4);
    assert_eq!(built("plain").info().host_aead(), HostAead::Unwanted);
    for (table, advice) in [
        ("", "--export-table"),
        ("(table 1 funcref)", "--export-table"),
        (
            r#"(global (export "__indirect_function_table") i32 (i32.const 0))"#,
            "--export-table",
        ),
        (
            r#"(table (export "__indirect_function_table") 4 4 funcref)"#,
            "--growable-table",
        ),
        (
            r#"(table (export "__indirect_function_table") 4 7 funcref)"#,
            "--growable-table",
        ),
        (
            r#"(table (export "__indirect_function_table") 1048576 funcref)"#,
            "--growable-table",
        ),
        (
            r#"(table (export "__indirect_function_table") 4 externref)"#,
            "funcref",
        ),
    ] {
        let module = text(&taking(table, "", start));
        match module.info().host_aead() {
            HostAead::Hindered(why) => assert!(why.contains(advice), "{table}: {why}"),
            other => panic!("{table}: {other:?}"),
        }
        assert_eq!(offered(&module), 0, "{table}");
    }
    let exact = r#"(table (export "__indirect_function_table") 4 8 funcref)"#;
    assert_eq!(offered(&text(&taking(exact, "", start))), 4);
    let last = r#"(table (export "__indirect_function_table") 1048572 funcref)"#;
    assert_eq!(offered(&text(&taking(last, "", start))), 4);
}

#[test]
fn loading_a_module_whose_table_cannot_take_the_functions_warns_once() {
    let logs = Logs::of_target("watm_wasmer::module");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("unlinked.wat");
    std::fs::write(&path, taking("", "", "(i32.const 0)")).expect("a file");
    let module = TransportModule::from_file(&path).expect("a module");
    let warnings = || {
        let mut texts = logs.texts();
        texts.retain(|text| text.contains("unlinked"));
        texts
    };
    assert_eq!(warnings().len(), 1);
    assert!(warnings()[0].contains("--export-table"), "{:?}", warnings());
    for _ in 0..3 {
        assert_eq!(offered(&module), 0);
    }
    assert_eq!(warnings().len(), 1);
}

#[test]
fn a_table_that_was_filled_by_then_is_left_alone() {
    let fill = "(drop (table.grow $t (ref.null func) (i32.const 1048573)))";
    let module = text(&taking(GROWING, fill, "(i32.const 0)"));
    assert_eq!(module.info().host_aead(), HostAead::Wanted);
    assert_eq!(offered(&module), 0);
}

#[test]
fn an_export_of_another_type_is_refused_with_both_types() {
    let right = "(param $first i32) (param $count i32) (result i32)";
    let module = taking(GROWING, "", "(i32.const 0)");
    let wrong = module.replace(right, "(param $first i32) (param $count i64) (result i32)");
    let wrong = wrong.replace("(global.set $count (local.get $count))", "");
    let info = ModuleInfo::parse(wrong.as_bytes()).expect("a module");
    assert_eq!(info.problems().len(), 1);
    match TransportModule::from_bytes(wrong) {
        Err(error @ LoadError::Interface(_)) => {
            let message = format!("{error}: {}", info.problems()[0]);
            for part in ["watm_ext_aead_v1", "(i32, i64) -> i32", "(i32, i32) -> i32"] {
                assert!(message.contains(part), "{message}");
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guest_may_move_the_functions_and_not_call_them_as_others() {
    // To the place 0, from where it is called: there is no key.
    let moved = "(table.set $t (i32.const 0)
            (table.get $t (i32.add (global.get $first) (i32.const 1))))
        (call $put (call_indirect (type $close) (i32.const 9) (i32.const 0)))
        (i32.const 0)";
    let pair = Pair::dial(&text(&taking(GROWING, "", moved)));
    let mut numbers = [0; 8];
    (&pair.conn).read_exact(&mut numbers).expect("two numbers");
    assert_eq!(numbers[4..], EBADF.to_le_bytes());
    pair.conn.close().expect("it returns 0");
    // `aead_key`, with the type of `aead_close`.
    let other = "(call_indirect (type $close) (i32.const 9) (global.get $first))";
    let pair = Pair::dial(&text(&taking(GROWING, "", other)));
    match pair.conn.close().expect_err("another type") {
        TransportError::Trapped { function, message } => {
            assert_eq!(function, "watm_start_v1");
            assert!(message.contains("call"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guest_that_calls_the_functions_for_ever_is_stopped() {
    let close = "(call_indirect (type $close) (i32.const 9)
        (i32.add (global.get $first) (i32.const 1)))";
    let endless = format!("(loop $more (drop {close}) (br $more)) (unreachable)");
    let module = text(&taking(GROWING, "", &endless));
    let pair = Pair::with(Dialer::builder(&module).close_grace(Duration::from_millis(200)));
    (&pair.conn).read_exact(&mut [0; 4]).expect("a number");
    match within(SHORT, move || pair.conn.close()) {
        Err(TransportError::Interrupted) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn guests_in_stock_have_been_offered_the_functions() {
    let guest = Guest::of(Dialer::builder(&built("aead")).spare_instances(2));
    let handle = guest.key(ALGORITHMS[1]);
    assert_eq!(guest.seal(handle, 1024, 5, 1024), SUCCESS);
    assert_eq!(guest.open(handle, 1024, 21, 1024), SUCCESS);
    assert_eq!(guest.get(1024, 5), [0; 5]);
    // It ends with an open key.
    guest.pair.conn.close().expect("it returns 0");
}
