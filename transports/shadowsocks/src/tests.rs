//! Whole connections, natively: both ends of this transport, and an end against bytes by hand.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proptest::prelude::*;
use watm_guest::testing::{self, Conn, Wire};
use watm_guest::{Codec, Error, Output};

use super::*;
use crate::encoder::Encoder;
use crate::key::MasterKey;
use crate::method::{Edition, Method};

const ADDRESS: &[u8] = b"\x03\x09localhost\x00\x50";

fn password(method: Method) -> &'static str {
    match (method.edition, method.key_length()) {
        (Edition::Aead, _) => "a password",
        (Edition::Aead2022, 16) => "AAECAwQFBgcICQoLDA0ODw==",
        (Edition::Aead2022, _) => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    }
}

/// The configuration of a method, with more fields, and without a memory of salts.
fn config(method: Method, fields: &str) -> Vec<u8> {
    let (name, password) = (method.name, password(method));
    format!(
        r#"{{"method": "{name}", "password": "{password}", "replay_protection": false{fields}}}"#
    )
    .into_bytes()
}

fn key(method: Method) -> MasterKey {
    match method.edition {
        Edition::Aead => MasterKey::from_password(method, password(method).as_bytes()),
        Edition::Aead2022 => MasterKey::from_base64(method, password(method)).expect("a key"),
    }
}

/// What a client sends first, with `payload` after the address.
fn request_at(method: Method, payload: &[u8], clock: Clock) -> Vec<u8> {
    let key = key(method);
    let salt = method.new_salt().expect("random bytes");
    let mut encoder = match method.edition {
        Edition::Aead => Encoder::aead(&key, salt),
        Edition::Aead2022 => Encoder::request(&key, salt, clock),
    };
    let mut output = Output::new();
    encoder
        .transform(&[ADDRESS, payload].concat(), &mut output)
        .expect("a request");
    output.as_slice().to_vec()
}

fn request(method: Method, payload: &[u8]) -> Vec<u8> {
    request_at(method, payload, seconds)
}

/// A listener with this configuration, and the peer's end of its network.
fn listener(config: &[u8]) -> (Conn, Wire) {
    let (wire, peer) = testing::wire();
    (testing::accept::<Shadowsocks>(Some(config), wire), peer)
}

/// The peer sends `bytes` and then ends its stream: it gets nothing, and the listener says why only
/// to its host.
#[track_caller]
fn assert_silent(config: &[u8], bytes: &[u8], expected: Error) {
    let (mut conn, mut peer) = listener(config);
    peer.write_all(bytes).expect("written");
    peer.shutdown_write();
    let mut answer = Vec::new();
    // A reset is no answer.
    let _ = peer.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    assert_eq!(conn.established(), Err(expected));
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect()
}

/// Sends `data` from one end to the other while the other does the same, and compares.
fn exchange(mut near: Conn, mut far: Conn, data: &[u8], prefix: &[u8]) {
    thread::scope(|scope| {
        let answer: Vec<u8> = data.iter().rev().copied().collect();
        let expected = answer.clone();
        scope.spawn(move || {
            let mut received = Vec::new();
            far.write_all(&answer).expect("written");
            far.shutdown_write();
            far.read_to_end(&mut received).expect("read");
            assert!(received == [prefix, data].concat(), "the request differs");
            far.join().expect("ends well");
        });
        near.write_all(data).expect("written");
        near.shutdown_write();
        let mut received = Vec::new();
        near.read_to_end(&mut received).expect("read");
        assert!(received == expected, "the answer differs");
        near.join().expect("ends well");
    });
}

#[test]
fn all_methods_carry_both_directions_with_half_close() {
    let data = pattern(200_000);
    for method in Method::ALL {
        let target = config(method, r#", "target": "localhost:80""#);
        let (near, far) = testing::pair::<Shadowsocks>(Some(&target), Some(&target)).expect("both");
        exchange(near, far, &data, b"");
    }
}

#[test]
fn the_listener_passes_the_address_on_unless_it_knows_it() {
    for method in Method::ALL {
        let target = config(method, r#", "target": "localhost:80""#);
        let plain = config(method, "");
        let any = config(method, r#", "accept_targets": "any""#);
        let (near, far) = testing::pair::<Shadowsocks>(Some(&target), Some(&plain)).expect("both");
        exchange(near, far, b"hello", ADDRESS);
        let (near, far) = testing::pair::<Shadowsocks>(Some(&target), Some(&any)).expect("both");
        exchange(near, far, b"hello", b"");
    }
}

#[test]
fn an_application_can_write_the_address_itself() {
    for method in Method::ALL {
        let plain = config(method, "");
        let (wire, peer) = testing::wire();
        let mut near = testing::dial::<Shadowsocks>(Some(&plain), wire);
        let mut far = testing::accept::<Shadowsocks>(Some(&plain), peer);
        near.established().expect("it waits for the application");
        for byte in ADDRESS {
            near.write_all(&[*byte]).expect("written");
        }
        near.write_all(b"hello").expect("written");
        near.shutdown_write();
        far.established().expect("a request");
        let mut received = Vec::new();
        far.read_to_end(&mut received).expect("read");
        assert_eq!(received, [ADDRESS, b"hello"].concat());
        far.join().expect("ends well");
        near.join().expect("ends well");
    }
}

#[test]
fn an_application_that_writes_no_address_is_told() {
    let method = Method::find("2022-blake3-aes-128-gcm").expect("a method");
    let (wire, _peer) = testing::wire();
    let mut conn = testing::dial::<Shadowsocks>(Some(&config(method, "")), wire);
    conn.write_all(b"GET / HTTP/1.0\r\n").expect("written");
    assert_eq!(conn.join(), Err(Error::INVAL));
}

#[test]
fn streams_pass_in_pieces_of_any_size() {
    for method in Method::ALL {
        let target = config(method, r#", "target": "localhost:80""#);
        for (piece, length) in [(1, 3000), (2, 3000), (17, 20_000), (1000, 100_000)] {
            let (near, far) =
                testing::pair_in_pieces::<Shadowsocks>(Some(&target), Some(&target), piece)
                    .expect("both");
            exchange(near, far, &pattern(length), b"");
        }
    }
}

#[test]
fn a_request_passes_with_a_cut_anywhere() {
    for method in Method::ALL {
        let bytes = request(method, b"hello");
        for cut in 1..bytes.len() {
            let (mut conn, mut peer) = listener(&config(method, ""));
            peer.write_all(&bytes[..cut]).expect("written");
            thread::yield_now();
            peer.write_all(&bytes[cut..]).expect("written");
            peer.shutdown_write();
            let mut received = Vec::new();
            conn.read_to_end(&mut received).expect("read");
            assert_eq!(received, [ADDRESS, b"hello"].concat(), "cut at {cut}");
        }
    }
}

#[test]
fn a_request_that_is_altered_anywhere_or_cut_gets_no_answer() {
    for method in Method::ALL {
        let bytes = request(method, b"hello");
        for position in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[position] ^= 0x80;
            // Enough that it is never just too short.
            altered.resize(bytes.len() + 0x1_0100, 0);
            assert_silent(&config(method, ""), &altered, Error::ACCES);
            assert_silent(&config(method, ""), &bytes[..position], Error::PROTO);
        }
    }
}

#[test]
fn a_client_with_another_password_or_method_gets_no_answer() {
    for method in Method::ALL {
        for other in Method::ALL.into_iter().filter(|&other| other != method) {
            let mut bytes = request(other, b"hello");
            bytes.resize(0x1_0200, 7);
            assert_silent(&config(method, ""), &bytes, Error::ACCES);
        }
    }
    let method = Method::find("aes-256-gcm").expect("a method");
    let other = br#"{"method": "aes-256-gcm", "password": "b", "replay_protection": false}"#;
    assert_silent(other, &request(method, &pattern(100)), Error::ACCES);
}

#[test]
fn a_prober_of_random_bytes_is_kept_waiting() {
    for method in Method::ALL {
        let (conn, mut peer) = listener(&config(method, ""));
        // Far more than a request has, and the listener goes on to take it: the wire holds 64 KiB.
        for _ in 0..16 {
            peer.write_all(&pattern(16 * 1024))
                .expect("the listener reads");
        }
        // Neither an answer nor an end, until the prober ends.
        peer.shutdown_write();
        let mut answer = Vec::new();
        let _ = peer.read_to_end(&mut answer);
        assert_eq!(answer, b"");
        assert_eq!(conn.join(), Err(Error::ACCES));
    }
}

#[test]
fn a_replay_gets_no_answer() {
    for method in Method::ALL {
        let directory = tempfile::tempdir().expect("a directory");
        let protected = String::from_utf8(config(method, ""))
            .expect("text")
            .replace(
                r#""replay_protection": false"#,
                &format!(r#""replay_dir": "{}""#, directory.path().display()),
            )
            .into_bytes();
        let bytes = request(method, b"hello");
        for round in 0..2 {
            if round == 1 {
                assert_silent(&protected, &bytes, Error::ACCES);
                continue;
            }
            let (mut conn, mut peer) = listener(&protected);
            peer.write_all(&bytes).expect("written");
            peer.shutdown_write();
            let mut received = Vec::new();
            conn.read_to_end(&mut received).expect("read");
            assert_eq!(received, [ADDRESS, b"hello"].concat());
        }
        // A request that was not genuine leaves nothing.
        let mut altered = request(method, b"hello");
        altered[0] ^= 1;
        assert_silent(&protected, &altered, Error::ACCES);
        let buckets = std::fs::read_dir(directory.path()).expect("a directory");
        let salts = buckets
            .map(|bucket| std::fs::read_dir(bucket.expect("an entry").path()).expect("a bucket"))
            .flat_map(|bucket| bucket.map(|entry| entry.expect("an entry").file_name()))
            .filter(|name| name != "count");
        assert_eq!(salts.count(), 1);
    }
}

#[test]
fn a_listener_without_a_place_for_salts_does_not_start() {
    for method in Method::ALL {
        let (name, password) = (method.name, password(method));
        let config = format!(
            r#"{{"method": "{name}", "password": "{password}", "replay_dir": "/there is none"}}"#
        );
        let (mut conn, _peer) = listener(config.as_bytes());
        assert_eq!(conn.established(), Err(Error::INVAL));
    }
}

#[test]
fn timestamps_more_than_thirty_seconds_off_get_no_answer() {
    for method in Method::ALL
        .into_iter()
        .filter(|method| method.edition == Edition::Aead2022)
    {
        let late: Clock = || seconds() - 33;
        let early: Clock = || seconds() + 33;
        for clock in [late, early] {
            assert_silent(
                &config(method, ""),
                &request_at(method, b"hi", clock),
                Error::ACCES,
            );
        }
        let bytes = request_at(method, b"hi", || seconds() - 20);
        let (mut conn, mut peer) = listener(&config(method, ""));
        peer.write_all(&bytes).expect("written");
        conn.established().expect("within the tolerance");
    }
}

#[test]
fn a_client_that_asks_for_another_target_is_refused() {
    for method in Method::ALL {
        let (mut conn, mut peer) = listener(&config(method, r#", "target": "localhost:81""#));
        peer.write_all(&request(method, b"hello")).expect("written");
        assert_eq!(conn.established(), Err(Error::ACCES));
    }
}

#[test]
fn an_address_may_come_in_several_chunks() {
    let method = Method::find("aes-128-gcm").expect("a method");
    let mut encoder = Encoder::aead(&key(method), method.new_salt().expect("random bytes"));
    let mut output = Output::new();
    for piece in [&ADDRESS[..1], &ADDRESS[1..5], &ADDRESS[5..], b"hello"] {
        encoder.transform(piece, &mut output).expect("a chunk");
    }
    let (mut conn, mut peer) = listener(&config(method, r#", "target": "localhost:80""#));
    peer.write_all(output.as_slice()).expect("written");
    peer.shutdown_write();
    let mut received = Vec::new();
    conn.read_to_end(&mut received).expect("read");
    assert_eq!(received, b"hello");
}

#[test]
fn the_first_write_of_a_dialer_holds_salt_header_and_padding_together() {
    static SIZES: AtomicU64 = AtomicU64::new(0);
    for method in Method::ALL
        .into_iter()
        .filter(|method| method.edition == Edition::Aead2022)
    {
        for _ in 0..20 {
            let (wire, mut peer) = testing::wire();
            let target = config(method, r#", "target": "localhost:80""#);
            let mut conn = testing::dial::<Shadowsocks>(Some(&target), wire);
            conn.established().expect("sent");
            let mut bytes = [0; 4096];
            let length = peer.read(&mut bytes).expect("read");
            let least = method.key_length() + 27 + ADDRESS.len() + 2 + 1 + 16;
            assert!((least..least + 900).contains(&length), "{length}");
            SIZES.fetch_or(1 << (length % 64), Ordering::Relaxed);
        }
    }
    assert!(
        SIZES.load(Ordering::Relaxed).count_ones() > 3,
        "the padding has no random length"
    );
}

#[test]
fn if_the_client_speaks_first_the_address_leaves_with_its_first_bytes() {
    for method in Method::ALL {
        let first = config(
            method,
            r#", "target": "localhost:80", "client_first": true"#,
        );
        let (wire, mut peer) = testing::wire();
        let mut conn = testing::dial::<Shadowsocks>(Some(&first), wire);
        conn.established().expect("it waits for the application");
        conn.write_all(b"hello").expect("written");
        let mut bytes = [0; 4096];
        let length = peer.read(&mut bytes).expect("read");
        let header = match method.edition {
            Edition::Aead => 18,
            Edition::Aead2022 => 27 + 2,
        };
        let expected = method.key_length() + header + ADDRESS.len() + b"hello".len() + 16;
        assert_eq!(length, expected);

        let target = config(method, r#", "target": "localhost:80""#);
        for data in [&b""[..], b"hello", &pattern(100_000)] {
            let (wire, peer) = testing::wire();
            let near = testing::dial::<Shadowsocks>(Some(&first), wire);
            let far = testing::accept::<Shadowsocks>(Some(&target), peer);
            exchange(near, far, data, b"");
        }
    }
}

/// A listener's answer, with the dialer that it is for.
fn answered(method: Method) -> (Conn, Wire, Vec<u8>) {
    let (wire, mut network) = testing::wire();
    let mut dialer =
        testing::dial::<Shadowsocks>(Some(&config(method, r#", "target": "localhost:80""#)), wire);
    dialer.established().expect("sent");
    let (mut conn, mut peer) = listener(&config(method, r#", "target": "localhost:80""#));
    let mut bytes = [0; 4096];
    let length = network.read(&mut bytes).expect("a request");
    peer.write_all(&bytes[..length]).expect("written");
    conn.established().expect("a request");
    conn.write_all(b"answer").expect("written");
    conn.shutdown_write();
    let mut answer = Vec::new();
    peer.shutdown_write();
    peer.read_to_end(&mut answer).expect("an answer");
    (dialer, network, answer)
}

#[test]
fn an_answer_that_is_altered_anywhere_or_cut_fails() {
    for method in Method::ALL {
        let whole = answered(method).2.len();
        for position in 0..whole {
            let (mut dialer, mut network, mut answer) = answered(method);
            answer[position] ^= 1;
            network.write_all(&answer).expect("written");
            network.shutdown_write();
            assert!(dialer.read_to_end(&mut Vec::new()).is_err(), "{position}");
        }
        for length in 1..whole {
            let (dialer, mut network, answer) = answered(method);
            network.write_all(&answer[..length]).expect("written");
            network.shutdown_write();
            let salt = method.key_length();
            let is_whole = method.edition == Edition::Aead && length == salt;
            let expected = if is_whole { Ok(()) } else { Err(Error::PROTO) };
            assert_eq!(dialer.join(), expected, "{length}");
        }
    }
}

#[test]
fn an_answer_to_another_request_fails() {
    for method in Method::ALL
        .into_iter()
        .filter(|method| method.edition == Edition::Aead2022)
    {
        let (dialer, mut network, _) = answered(method);
        let (_other, _network, answer) = answered(method);
        network.write_all(&answer).expect("written");
        assert_eq!(dialer.join(), Err(Error::PROTO));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_stream_passes_in_any_pieces(
        method in 0..6_usize,
        data in proptest::collection::vec(any::<u8>(), 0..40_000),
        piece in 1..5000_usize,
    ) {
        let target = config(Method::ALL[method], r#", "target": "localhost:80""#);
        let ends = testing::pair_in_pieces::<Shadowsocks>(Some(&target), Some(&target), piece);
        let (near, far) = ends.expect("both");
        exchange(near, far, &data, b"");
    }

    #[test]
    fn no_bytes_harm_a_listener(
        method in 0..6_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let (conn, mut peer) = listener(&config(Method::ALL[method], ""));
        peer.write_all(&bytes).expect("written");
        peer.shutdown_write();
        prop_assert!(conn.join().is_err());
    }

    #[test]
    fn no_bytes_harm_a_dialer(
        method in 0..6_usize,
        bytes in proptest::collection::vec(any::<u8>(), 100..2000),
    ) {
        let target = config(Method::ALL[method], r#", "target": "localhost:80""#);
        let (wire, mut peer) = testing::wire();
        let conn = testing::dial::<Shadowsocks>(Some(&target), wire);
        peer.write_all(&bytes).expect("written");
        peer.shutdown_write();
        prop_assert_eq!(conn.join(), Err(Error::PROTO));
    }
}
