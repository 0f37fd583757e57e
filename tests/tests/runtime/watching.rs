//! A call hook: what it learns, and how it makes streams answer.

use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use watm_tests::{Duo, EchoServer, Pair, built};
use watm_wasmer::{CallHook, Dialer, ExportReturn, HostCall, Listener, Transfer, TransferAnswer};

/// Records everything, and gives one answer to all reads and one to all writes.
struct Watcher {
    read: TransferAnswer,
    write: TransferAnswer,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    transfers: Vec<Transfer>,
    calls: Vec<HostCall>,
    returns: Vec<ExportReturn>,
}

impl Watcher {
    fn new(read: TransferAnswer, write: TransferAnswer) -> Arc<Self> {
        Arc::new(Self {
            read,
            write,
            seen: Mutex::default(),
        })
    }

    fn usual() -> Arc<Self> {
        Self::new(TransferAnswer::Usual, TransferAnswer::Usual)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic")
    }
}

impl CallHook for Watcher {
    fn transfer(&self, transfer: &Transfer) -> TransferAnswer {
        self.seen().transfers.push(*transfer);
        if transfer.is_write {
            self.write
        } else {
            self.read
        }
    }

    fn called(&self, call: &HostCall) {
        self.seen().calls.push(*call);
    }

    fn returned(&self, returned: &ExportReturn) {
        self.seen().returns.push(*returned);
    }
}

/// Sends a message through a module to a peer that echoes it, and closes.
fn echo(module: &str, watcher: &Arc<Watcher>) {
    let builder = Dialer::builder(&built(module)).call_hook(Arc::clone(watcher));
    let Pair { mut conn, mut peer } = Pair::with(builder);
    let (message, mut got) = ([7; 100], [0; 100]);
    conn.write_all(&message).expect("a write");
    peer.read_exact(&mut got).expect("the message");
    peer.write_all(&got).expect("a write");
    got.fill(0);
    conn.read_exact(&mut got).expect("the echo");
    assert_eq!(got, message);
    conn.close().expect("an end in order");
}

const SINGLE: TransferAnswer = TransferAnswer::AtMost(NonZeroU32::MIN);

#[test]
fn a_hook_learns_of_every_call_and_of_the_end_of_every_export() {
    let watcher = Watcher::usual();
    echo("plain16k", &watcher);
    let seen = watcher.seen();
    let exports: Vec<(&str, Option<i32>)> = seen
        .returns
        .iter()
        .map(|returned| (returned.export, returned.value()))
        .collect();
    let dialled = seen.returns[2].value().expect("a descriptor");
    assert_eq!(
        exports,
        [
            ("_start", None),
            ("watm_init_v1", Some(0)),
            ("watm_dial_v1", Some(dialled)),
            ("watm_ctrlpipe_v1", Some(0)),
            ("watm_start_v1", Some(0)),
        ]
    );
    // The internal descriptor, the control pipe, and the network connection.
    assert_eq!(seen.returns[4].open_descriptors, 3);
    let moved = |function: &str| -> u32 {
        let of_it = seen.calls.iter().filter(|call| call.function == function);
        of_it.filter_map(|call| call.result.ok()).sum()
    };
    assert_eq!((moved("fd_read"), moved("fd_write")), (200, 200));
    assert!(
        moved("poll_oneoff") >= 3,
        "an event for each message and the end"
    );
    assert!(seen.calls.iter().all(|call| call.memory >= 65536));
    let sides: Vec<bool> = seen.transfers.iter().map(|found| found.is_plain).collect();
    assert!(sides.contains(&true) && sides.contains(&false));
}

#[test]
fn a_read_can_be_cut_short_and_no_byte_is_lost() {
    let watcher = Watcher::new(SINGLE, TransferAnswer::Usual);
    echo("plain16k", &watcher);
    let seen = watcher.seen();
    let reads = seen.calls.iter().filter(|call| call.function == "fd_read");
    let ones = reads.filter(|call| call.result == Ok(1)).count();
    // Those of both directions, and maybe one of the control pipe.
    assert!((200..=201).contains(&ones), "{ones}");
}

#[test]
fn a_write_can_be_cut_short_for_a_module_that_goes_on() {
    let watcher = Watcher::new(TransferAnswer::Usual, SINGLE);
    echo("halfclose", &watcher);
    let seen = watcher.seen();
    let writes = seen.calls.iter().filter(|call| call.function == "fd_write");
    assert_eq!(writes.filter(|call| call.result == Ok(1)).count(), 200);
}

#[test]
fn a_blocking_descriptor_does_not_refuse() {
    let watcher = Watcher::new(TransferAnswer::Refuse, TransferAnswer::Refuse);
    // Its handshake writes and reads on blocking descriptors.
    let module = built("handshake");
    let dialer = Dialer::builder(&module).call_hook(Arc::clone(&watcher));
    drop(Duo::with(dialer, Listener::builder(&module)));
    let seen = watcher.seen();
    assert!(seen.transfers.iter().any(|found| !found.is_nonblocking));
}

#[test]
fn a_hook_that_panics_ends_only_its_connection() {
    struct Panics;
    impl CallHook for Panics {
        fn called(&self, _call: &HostCall) {
            panic!("a mistake in a hook");
        }
    }
    let server = EchoServer::start();
    let module = built("plain16k");
    let dialer = Dialer::builder(&module).call_hook(Panics).build();
    let error = dialer.expect("a dialer").dial(server.address());
    assert!(error.is_err(), "{error:?}");
    echo("plain16k", &Watcher::usual());
}
