use super::*;
use crate::channel::link::Level;
use crate::host::descriptor::Abort;
use crate::host::tests::fixture;

const KEY: u32 = 0;
const HANDLE: u32 = 40;
const NONCE: u32 = 64;
const AAD: u32 = 128;
const INPUT: u32 = 1024;
const OUTPUT: u32 = 4096;

/// Each algorithm with the length of its key.
const ALGORITHMS: [(u32, u32); 3] = [(1, 16), (2, 32), (3, 32)];

/// What came of a call, as the guest sees it.
fn errno(result: Call<()>) -> Option<Errno> {
    match result {
        Ok(()) => None,
        Err(Abort::Errno(errno)) => Some(errno),
        Err(Abort::Stop) => panic!("it was told to stop"),
    }
}

struct Guest {
    host: Host,
    memory: Vec<u8>,
}

impl Guest {
    fn new() -> Self {
        Self {
            host: fixture().host,
            memory: vec![0; 64 << 10],
        }
    }

    /// A key of sevens.
    fn key(&mut self, (algorithm, len): (u32, u32)) -> u32 {
        self.memory[KEY as usize..][..len as usize].fill(7);
        let made = self
            .host
            .aead_key(&mut self.memory, algorithm, KEY, len, HANDLE);
        assert_eq!(errno(made), None);
        self.memory.read_u32(HANDLE).expect("in memory")
    }

    fn seal(&mut self, handle: u32, aad_len: u32, from: u32, len: u32, to: u32) -> Option<Errno> {
        let memory = &mut self.memory;
        let result = self
            .host
            .aead_seal(memory, handle, NONCE, AAD, aad_len, from, len, to);
        errno(result)
    }

    fn open(&mut self, handle: u32, aad_len: u32, from: u32, len: u32, to: u32) -> Option<Errno> {
        let memory = &mut self.memory;
        let result = self
            .host
            .aead_open(memory, handle, NONCE, AAD, aad_len, from, len, to);
        errno(result)
    }

    fn at(&self, addr: u32, len: u32) -> &[u8] {
        self.memory.slice(addr, len).expect("in memory")
    }

    fn put(&mut self, addr: u32, bytes: &[u8]) {
        self.memory.write_bytes(addr, bytes).expect("in memory");
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("a digit") as u8;
    let (pairs, rest) = hex.as_bytes().as_chunks();
    assert_eq!(rest, b"");
    pairs
        .iter()
        .map(|[a, b]| digit(*a) << 4 | digit(*b))
        .collect()
}

/// Test cases 4 and 16 of the paper on GCM (McGrew and Viega), and RFC 8439, section 2.8.2.
#[test]
fn published_vectors_come_out() {
    const GCM_PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    const GCM_AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    let sunscreen = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                     for the future, sunscreen would be it.";
    let sunscreen: String = sunscreen
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let cases = [
        (
            1,
            "feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            GCM_AAD,
            GCM_PLAIN,
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
            "5bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            2,
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            GCM_AAD,
            GCM_PLAIN,
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
        (
            3,
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "070000004041424344454647",
            "50515253c0c1c2c3c4c5c6c7",
            &sunscreen,
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116",
            "1ae10b594f09e26a7e902ecbd0600691",
        ),
    ];
    for (algorithm, key, nonce, aad, plain, sealed, tag) in cases {
        let mut guest = Guest::new();
        let [key, nonce, aad, plain] = [key, nonce, aad, plain].map(bytes);
        let sealed = bytes(&format!("{sealed}{tag}"));
        let len = |bytes: &[u8]| bytes.len() as u32;
        guest.put(KEY, &key);
        let made = guest
            .host
            .aead_key(&mut guest.memory, algorithm, KEY, len(&key), HANDLE);
        assert_eq!(errno(made), None);
        let handle = guest.memory.read_u32(HANDLE).expect("in memory");
        guest.put(NONCE, &nonce);
        guest.put(AAD, &aad);
        guest.put(INPUT, &plain);
        assert_eq!(
            guest.seal(handle, len(&aad), INPUT, len(&plain), OUTPUT),
            None
        );
        assert_eq!(guest.at(OUTPUT, len(&sealed)), sealed, "{algorithm}");
        guest.put(INPUT, &sealed);
        assert_eq!(
            guest.open(handle, len(&aad), INPUT, len(&sealed), OUTPUT),
            None
        );
        assert_eq!(guest.at(OUTPUT, len(&plain)), plain, "{algorithm}");
    }
}

#[test]
fn a_message_may_overlap_its_result_in_every_way() {
    for algorithm in ALGORITHMS {
        let mut guest = Guest::new();
        let handle = guest.key(algorithm);
        let plain: Vec<u8> = (0..500_u32).map(|number| (number % 251) as u8).collect();
        guest.put(INPUT, &plain);
        assert_eq!(guest.seal(handle, 9, INPUT, 500, OUTPUT), None);
        let sealed = guest.at(OUTPUT, 516).to_vec();
        for shift in [-516_i32, -17, -16, -1, 0, 1, 15, 16, 17, 499, 515, 516] {
            let to = INPUT.checked_add_signed(shift).expect("an address");
            guest.put(INPUT, &plain);
            assert_eq!(guest.seal(handle, 9, INPUT, 500, to), None);
            assert_eq!(
                guest.at(to, 516),
                sealed,
                "{algorithm:?}, sealed {shift} further"
            );
            guest.put(INPUT, &sealed);
            assert_eq!(guest.open(handle, 9, INPUT, 516, to), None);
            assert_eq!(
                guest.at(to, 500),
                plain,
                "{algorithm:?}, opened {shift} further"
            );
        }
        // The nonce and the additional data may lie where the result goes.
        guest.put(INPUT, &plain);
        assert_eq!(guest.seal(handle, 9, INPUT, 500, NONCE), None);
        assert_eq!(guest.at(NONCE, 516), sealed);
    }
}

#[test]
fn what_does_not_open_leaves_no_plaintext() {
    for algorithm in ALGORITHMS {
        let mut guest = Guest::new();
        let handle = guest.key(algorithm);
        guest.put(INPUT, b"attack at dawn");
        assert_eq!(guest.seal(handle, 3, INPUT, 14, OUTPUT), None);
        let sealed = guest.at(OUTPUT, 30).to_vec();
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            for to in [INPUT, OUTPUT, INPUT + 7] {
                guest.put(OUTPUT, &[0xee; 14]);
                guest.put(INPUT, &altered);
                let opened = guest.open(handle, 3, INPUT, 30, to);
                assert_eq!(opened, Some(Errno::Badmsg), "byte {position}");
                assert_eq!(guest.at(to, 14), [0; 14], "byte {position}");
            }
        }
        // Another nonce, other additional data, another length, another key.
        guest.put(INPUT, &sealed);
        guest.memory[NONCE as usize] ^= 1;
        assert_eq!(
            guest.open(handle, 3, INPUT, 30, OUTPUT),
            Some(Errno::Badmsg)
        );
        guest.memory[NONCE as usize] ^= 1;
        assert_eq!(
            guest.open(handle, 2, INPUT, 30, OUTPUT),
            Some(Errno::Badmsg)
        );
        assert_eq!(
            guest.open(handle, 3, INPUT, 29, OUTPUT),
            Some(Errno::Badmsg)
        );
        for short in [0, 1, 15] {
            assert_eq!(
                guest.open(handle, 3, INPUT, short, OUTPUT),
                Some(Errno::Badmsg)
            );
        }
        assert_eq!(guest.open(handle, 3, INPUT, 30, OUTPUT), None);
        assert_eq!(guest.at(OUTPUT, 14), b"attack at dawn");
    }
}

#[test]
fn every_length_and_address_is_checked_before_anything_is_written() {
    let mut guest = Guest::new();
    let handle = guest.key(ALGORITHMS[1]);
    guest.memory[INPUT as usize..].fill(0xee);
    let before = guest.memory.clone();
    let end = guest.memory.len() as u32;
    const MOST: u32 = u32::MAX;
    let lengths = [
        0,
        16,
        500,
        MESSAGE_LIMIT,
        MESSAGE_LIMIT + 1,
        MOST - 31,
        MOST - 16,
        MOST - 15,
        MOST,
    ];
    let addresses = [INPUT, end - 15, end, end + 1, MOST - 16, MOST - 15, MOST];
    let mut refused = 0;
    for len in lengths {
        for from in addresses {
            for to in addresses {
                for opens in [false, true] {
                    let result = if opens {
                        guest.open(handle, 0, from, len, to)
                    } else {
                        guest.seal(handle, 0, from, len, to)
                    };
                    let inside = |at: u32, len: u64| u64::from(at) + len <= u64::from(end);
                    let (read, written) = (u64::from(len), u64::from(len) + 16);
                    if result.is_none() {
                        assert!(!opens && inside(from, read) && inside(to, written));
                        guest.memory.copy_from_slice(&before);
                    } else if result != Some(Errno::Badmsg) {
                        assert!(matches!(result, Some(Errno::Fault | Errno::Msgsize)));
                        assert!(guest.memory == before, "{len} from {from} to {to}");
                        refused += 1;
                    } else {
                        assert!(opens);
                        guest.memory.copy_from_slice(&before);
                    }
                }
            }
        }
    }
    assert!(refused > 500, "{refused}");
    // The nonce and the additional data.
    let mut call = |nonce, aad, aad_len| {
        let memory = &mut guest.memory;
        errno(
            guest
                .host
                .aead_seal(memory, handle, nonce, aad, aad_len, INPUT, 1, OUTPUT),
        )
    };
    for nonce in [end - 11, end, MOST - 11, MOST] {
        assert_eq!(call(nonce, AAD, 0), Some(Errno::Fault), "{nonce}");
    }
    assert_eq!(call(NONCE, MOST, 1), Some(Errno::Fault));
    assert_eq!(call(NONCE, end - 1, 2), Some(Errno::Fault));
    assert_eq!(call(NONCE, 0, AAD_LIMIT + 1), Some(Errno::Msgsize));
    assert_eq!(call(NONCE, 0, MOST), Some(Errno::Msgsize));
    assert_eq!(call(NONCE, 0, AAD_LIMIT), None);
    assert_eq!(call(end - 12, end, 0), None);
}

#[test]
fn the_longest_message_is_taken_and_a_longer_one_is_not() {
    let mut guest = Guest::new();
    guest.memory = vec![0; (INPUT + MESSAGE_LIMIT + 64) as usize];
    for algorithm in ALGORITHMS {
        let handle = guest.key(algorithm);
        let (len, sealed) = (MESSAGE_LIMIT, MESSAGE_LIMIT + TAG);
        guest.memory[INPUT as usize..].fill(3);
        assert_eq!(guest.seal(handle, 0, INPUT, len, INPUT), None);
        assert_eq!(guest.open(handle, 0, INPUT, sealed, INPUT), None);
        assert!(guest.at(INPUT, len).iter().all(|byte| *byte == 3));
        assert_eq!(
            guest.seal(handle, 0, INPUT, len + 1, INPUT),
            Some(Errno::Msgsize)
        );
        assert_eq!(
            guest.open(handle, 0, INPUT, sealed + 1, INPUT),
            Some(Errno::Msgsize)
        );
    }
}

#[test]
fn a_key_has_an_algorithm_and_its_length() {
    let mut guest = Guest::new();
    let mut key = |algorithm, at, len, handle| {
        errno(
            guest
                .host
                .aead_key(&mut guest.memory, algorithm, at, len, handle),
        )
    };
    for unknown in [0, 4, u32::MAX] {
        assert_eq!(key(unknown, KEY, 32, HANDLE), Some(Errno::Notsup));
    }
    for (algorithm, right) in ALGORITHMS {
        for len in [0, 15, 16, 17, 24, 31, 32, 33, 1000] {
            let expected = (len != right).then_some(Errno::Inval);
            assert_eq!(
                key(algorithm, KEY, len, HANDLE),
                expected,
                "{algorithm}, {len}"
            );
        }
        assert_eq!(key(algorithm, KEY, u32::MAX, HANDLE), Some(Errno::Fault));
        assert_eq!(
            key(algorithm, u32::MAX - 7, right, HANDLE),
            Some(Errno::Fault)
        );
    }
    // A handle that could not be told would never be closed.
    for _ in 0..2 * KEY_LIMIT {
        assert_eq!(key(1, KEY, 16, u32::MAX - 2), Some(Errno::Fault));
    }
    assert_eq!(key(1, KEY, 16, HANDLE), None);
}

#[test]
fn handles_are_those_of_open_keys_alone_and_there_are_64() {
    let mut guest = Guest::new();
    for number in 1..=KEY_LIMIT as u32 {
        assert_eq!(guest.key(ALGORITHMS[number as usize % 3]), number);
    }
    let more = guest.host.aead_key(&mut guest.memory, 1, KEY, 16, HANDLE);
    assert_eq!(errno(more), Some(Errno::Nfile));
    for wrong in [0, KEY_LIMIT as u32 + 1, u32::MAX] {
        let closed = guest.host.aead_close(&mut guest.memory, wrong);
        assert_eq!(errno(closed), Some(Errno::Badf));
        assert_eq!(guest.seal(wrong, 0, INPUT, 1, OUTPUT), Some(Errno::Badf));
        assert_eq!(guest.open(wrong, 0, INPUT, 17, OUTPUT), Some(Errno::Badf));
    }
    assert_eq!(errno(guest.host.aead_close(&mut guest.memory, 7)), None);
    let again = guest.host.aead_close(&mut guest.memory, 7);
    assert_eq!(errno(again), Some(Errno::Badf));
    assert_eq!(guest.seal(7, 0, INPUT, 1, OUTPUT), Some(Errno::Badf));
    assert_eq!(guest.key(ALGORITHMS[2]), 7, "the lowest free one");
    assert_eq!(guest.seal(7, 0, INPUT, 1, OUTPUT), None);
}

#[test]
fn each_call_ends_a_guest_that_should_stop() {
    let mut f = fixture();
    let mut memory = vec![0; 1024];
    let memory = &mut memory[..];
    f.link.raise(Level::Stopping);
    assert_eq!(f.host.aead_key(memory, 1, 0, 16, 32), Err(Abort::Stop));
    assert_eq!(f.host.aead_close(memory, 1), Err(Abort::Stop));
    assert_eq!(
        f.host.aead_seal(memory, 1, 0, 0, 0, 0, 0, 64),
        Err(Abort::Stop)
    );
    assert_eq!(
        f.host.aead_open(memory, 1, 0, 0, 0, 0, 16, 64),
        Err(Abort::Stop)
    );
}
