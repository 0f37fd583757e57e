//! Unintended uses by applications: many threads at one end, calls from inside an async runtime or
//! with signals blocked, panics in hooks, values dropped in any order.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;
use watm_tests::{
    EchoServer, LONG, Pair, Pattern, SHORT, accept_one, alternate, built, connect, echo_messages,
    eventually, listener, read_vec, send_pattern, wat, within,
};
use watm_wasmer::{Conn, DialError, DialHook, Dialer, Listener, Relay, TransportError};

/// Drops a value on another thread.
fn drop_elsewhere<T: Send + 'static>(value: T) {
    within(SHORT, move || drop(value));
}

#[test]
fn two_readers_at_once_share_the_bytes_and_none_is_lost_or_doubled() {
    const TOTAL: usize = 400_000;
    let pair = Pair::dial(&built("plain"));
    let (conn, peer) = (pair.conn, pair.peer);
    let pieces: Vec<Vec<u8>> = thread::scope(|scope| {
        let read = || {
            let mut pieces = Vec::new();
            let mut buf = vec![0; 5000];
            while let len @ 1.. = (&conn).read(&mut buf).expect("bytes or the end") {
                pieces.push(buf[..len].to_vec());
            }
            pieces
        };
        let readers = [(); 2].map(|()| scope.spawn(read));
        send_pattern(&peer, 3, TOTAL as u64, 1500);
        drop(peer);
        let pieces = readers.map(|reader| reader.join().expect("it reads"));
        pieces.concat()
    });
    // Each read returned adjacent bytes, and all reads together returned all bytes.
    let sent = Pattern::new(3).take(TOTAL);
    let places: HashMap<&[u8], usize> = sent.windows(8).enumerate().map(|(i, w)| (w, i)).collect();
    assert_eq!(places.len(), TOTAL - 7, "each place is known by its bytes");
    let (mut covered, mut crumbs) = (vec![false; TOTAL], Vec::new());
    for piece in &pieces {
        let Some(start) = piece.get(..8).map(|start| places[start]) else {
            crumbs.extend_from_slice(piece);
            continue;
        };
        assert!(
            sent[start..start + piece.len()] == piece[..],
            "a read was torn"
        );
        for place in &mut covered[start..start + piece.len()] {
            assert!(!std::mem::replace(place, true), "a byte came twice");
        }
    }
    let mut missing: Vec<u8> = (0..TOTAL)
        .filter(|i| !covered[*i])
        .map(|i| sent[i])
        .collect();
    missing.sort_unstable();
    crumbs.sort_unstable();
    assert!(missing == crumbs, "{} bytes are missing", missing.len());
}

#[test]
fn a_close_ends_every_call_that_waits_in_another_thread() {
    for _ in 0..20 {
        // The peer reads nothing, so writers, readers and those who wait for the end all wait.
        let builder = Dialer::builder(&built("plain")).close_grace(Duration::from_millis(50));
        let pair = Pair::with(builder);
        let conn = Arc::new(pair.conn);
        let calls: [fn(&Conn); 5] = [
            |mut conn| assert!(matches!(conn.read(&mut [0; 16]), Ok(0) | Err(_))),
            |mut conn| assert!(matches!(conn.read(&mut [0; 16]), Ok(0) | Err(_))),
            |mut conn| while conn.write(&[0; 50_000]).is_ok() {},
            |mut conn| while conn.write(&[0; 50_000]).is_ok() {},
            |conn| assert!(conn.wait(None).is_some()),
        ];
        let calls: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let conn = Arc::clone(&conn);
                thread::spawn(move || call(&conn))
            })
            .collect();
        eventually("a writer waits", || conn.stats().sent > 0);
        let closes = [(); 2].map(|()| {
            let conn = Arc::clone(&conn);
            thread::spawn(move || drop(conn.close()))
        });
        let started = Instant::now();
        within(SHORT, move || {
            for thread in calls.into_iter().chain(closes) {
                thread.join().expect("it returns");
            }
        });
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn everything_may_be_dropped_in_any_order_on_any_thread() {
    for order in 0..24 {
        let module = built("plain");
        let server = EchoServer::start();
        let dialer = Dialer::builder(&module)
            .spare_instances(1)
            .build()
            .expect("a dialer");
        let listening = Listener::builder(&module)
            .bind("127.0.0.1:0")
            .expect("a listener");
        let relay = Relay::builder(&module)
            .remote(listening.local_addr().to_string())
            .bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");
        let conn = dialer.dial(relay.local_addr().to_string());
        let conn = conn.expect("a connection");
        let accepted = listening.accept().expect("a connection");
        alternate(&conn, &accepted, 64, |_| {});
        let other = dialer.dial(server.address()).expect("a connection");
        let waiting = dialer.dial(listening.local_addr().to_string());
        let mut things: Vec<Box<dyn FnOnce() + Send>> = vec![
            Box::new(move || drop(dialer)),
            Box::new(move || drop(listening)),
            Box::new(move || drop(relay)),
            Box::new(move || drop((conn, waiting))),
        ];
        // Drops the four in every order.
        let mut left = order;
        for size in (1..=4).rev() {
            let thing = things.remove(left % size);
            left /= size;
            within(SHORT, thing);
        }
        drop(module);
        // What does not depend on them continues.
        echo_messages(&other);
        drop_elsewhere((accepted, other));
    }
}

#[test]
fn a_dialer_that_is_dropped_while_it_dials_lets_the_dial_end() {
    let (listening, address) = listener();
    let dialer = Dialer::builder(&built("handshake"))
        .spare_instances(2)
        .build()
        .expect("a dialer");
    let dialling = {
        let dialer = dialer.clone();
        thread::spawn(move || dialer.dial(&address).expect("a connection"))
    };
    let mut peer = accept_one(&listening);
    drop_elsewhere(dialer);
    peer.write_all(b"WATM-REPLY-00001").expect("room");
    let conn = within(SHORT, move || dialling.join().expect("it returns"));
    assert_eq!(read_vec(&peer, 16), b"WATM-HELLO-00001");
    alternate(&conn, &peer, 1024, |_| {});
}

#[test]
fn a_listener_that_is_closed_from_many_threads_while_clients_come_lets_all_go() {
    for _ in 0..5 {
        let listening = Listener::builder(&built("plain")).bind("127.0.0.1:0");
        let listening = Arc::new(listening.expect("a listener"));
        let address = listening.local_addr();
        let stop = Arc::new(AtomicBool::new(false));
        let accepting = [(); 3].map(|()| {
            let listening = Arc::clone(&listening);
            thread::spawn(move || listening.incoming().map(drop).count())
        });
        let dialling = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = std::net::TcpStream::connect(address);
                }
            })
        };
        drop(connect(address));
        let closing = [(); 3].map(|()| {
            let listening = Arc::clone(&listening);
            thread::spawn(move || listening.close())
        });
        within(SHORT, move || {
            for thread in closing {
                thread.join().expect("it returns");
            }
            for thread in accepting {
                thread.join().expect("it returns");
            }
            stop.store(true, Ordering::Relaxed);
            dialling.join().expect("it returns");
        });
    }
}

struct Unprepared(AtomicBool);

impl DialHook for Unprepared {
    fn prepare(&self, _: &Socket, _: SocketAddr) -> io::Result<()> {
        if !self.0.swap(true, Ordering::SeqCst) {
            // Avoids the message of a panic, which would only fill the output.
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        Ok(())
    }
}

#[test]
fn a_panic_while_a_hook_prepares_a_socket_fails_one_dial_alone() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("plain"))
        .dial_hook(Unprepared(AtomicBool::new(false)))
        .build()
        .expect("a dialer");
    match dialer.dial(server.address()).expect_err("it panics") {
        DialError::Connect { source, .. } => {
            assert!(source.to_string().contains("panicked"), "{source}");
        }
        other => panic!("{other:?}"),
    }
    echo_messages(&dialer.dial(server.address()).expect("the next one works"));
}

/// Uses a dialer, a listener and a connection in both directions.
fn use_all() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let conn = dialer.dial(server.address()).expect("a connection");
    conn.set_read_timeout(Some(LONG)).expect("a timeout");
    echo_messages(&conn);
    conn.close().expect("a clean end");
    // With files, whose functions once had their own runtime.
    let module = built("xor");
    let pair = Pair::with(Dialer::builder(&module).config(*b"key"));
    (&pair.conn).write_all(b"text").expect("room");
    assert_eq!(read_vec(&pair.peer, 4).len(), 4);
    drop(pair);
    let listening = Listener::builder(&built("plain")).bind("127.0.0.1:0");
    let listening = listening.expect("a listener");
    let client = connect(listening.local_addr());
    alternate(
        &listening.accept().expect("a connection"),
        &client,
        1024,
        |_| {},
    );
}

#[test]
fn it_works_inside_of_an_async_runtime() {
    let many = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .expect("a runtime")
    };
    let single = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
    };
    within(LONG, move || many().block_on(async { use_all() }));
    within(LONG, move || single().block_on(async { use_all() }));
    within(LONG, move || {
        let runtime = many();
        let tasks: Vec<_> = (0..4)
            .map(|i| {
                if i % 2 == 0 {
                    runtime.spawn_blocking(use_all)
                } else {
                    runtime.spawn(async { use_all() })
                }
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).expect("no panic");
        }
    });
    within(LONG, move || {
        let runtime = single();
        let _entered = runtime.enter();
        use_all();
    });
    // What was created inside is dropped there, and also outside.
    within(LONG, move || {
        let runtime = many();
        let server = EchoServer::start();
        let dialer = Dialer::builder(&built("plain")).spare_instances(1).build();
        let dialer = dialer.expect("a dialer");
        let conn = runtime.block_on(async { dialer.dial(server.address()).expect("one") });
        runtime.block_on(async move { drop((dialer, conn)) });
    });
}

#[test]
fn a_thread_with_all_signals_blocked_can_use_and_interrupt_everything() {
    within(LONG, || {
        // SAFETY: the set is a local variable that is initialised before it is read. The call
        // affects only this thread, which ends here.
        unsafe {
            let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigfillset(set.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
        }
        use_all();
        let grace = Duration::from_millis(50);
        let pair = Pair::with(Dialer::builder(&wat("loop_start_worker")).close_grace(grace));
        let started = Instant::now();
        let error = pair.conn.close().expect_err("it never ends");
        assert!(matches!(error, TransportError::Interrupted), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(
            pair.conn.wait(Some(SHORT)).is_some(),
            "its worker has ended"
        );
    });
}
