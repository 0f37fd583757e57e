//! Connections of all roles: blocking, pending, cancelled, carried, from several threads.

use std::ffi::{CString, c_int};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Socket, Type};
use watm::*;

use crate::{
    call, echo, exchange, fails, listen, local_addr, made, module, new_options, new_settings,
    no_text, ok, receive, send, text, with_key,
};

/// Waits until a descriptor is readable, which should not take long.
fn await_readable(fd: c_int) {
    // SAFETY: the library made it for the caller.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let limit = rustix::time::Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
    assert_eq!(ready, Ok(1));
}

#[test]
fn several_threads_share_a_dialer_and_a_listener() {
    let module = module("plain");
    let listener = listen(&module, None);
    let dialer = made!(watm_dialer_new(Some(&module), None));
    let target = local_addr(&listener);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| echo(&listener));
            scope.spawn(|| {
                let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), None));
                exchange(&conn, &[7; 100_000]);
                let mut outcome = MaybeUninit::uninit();
                ok(call!(watm_conn_close(Some(&conn), Some(&mut outcome))));
                // SAFETY: the call has written it.
                let outcome = unsafe { outcome.assume_init() };
                assert!(matches!(
                    outcome,
                    watm_outcome::Completed | watm_outcome::Cancelled
                ));
                let mut traffic = watm_traffic::default();
                let size = size_of::<watm_traffic>();
                ok(call!(watm_conn_stats(Some(&conn), &raw mut traffic, size)));
                assert!(traffic.sent >= 100_000 && traffic.received >= 100_000);
                watm_conn_free(Some(conn));
            });
        }
    });
    let mut tally = watm_tally::default();
    ok(call!(watm_listener_drain(Some(&listener), 20_000)));
    ok(call!(watm_listener_stats(
        Some(&listener),
        &raw mut tally,
        size_of::<watm_tally>()
    )));
    assert_eq!((tally.accepted, tally.active), (8, 0));
    watm_listener_close(Some(&listener));
    let mut none = std::ptr::null_mut();
    let closed = call!(watm_listener_accept(Some(&listener), Some(&mut none)));
    fails(closed, watm_status::Closed, "closed");
}

#[test]
fn a_connection_tells_its_addresses_its_limits_and_its_end() {
    let module = module("plain");
    let listener = listen(&module, None);
    let target = local_addr(&listener);
    let dialer = made!(watm_dialer_new(Some(&module), None));
    let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), None));
    let other: Box<watm_conn> = made!(watm_listener_accept(Some(&listener)));
    let some = Some(&*conn);
    assert_eq!(
        text(watm_conn_peer_addr(some)),
        target.to_str().expect("UTF-8")
    );
    assert_eq!(
        text(watm_conn_local_addr(some)),
        text(watm_conn_peer_addr(Some(&other)))
    );
    let zero = call!(watm_conn_read_timeout(some, 0));
    fails(zero, watm_status::Argument, "argument");
    ok(call!(watm_conn_write_timeout(some, 50)));
    ok(call!(watm_conn_read_timeout(some, 50)));
    let mut byte = 0_u8;
    let mut length = MaybeUninit::uninit();
    let to = (&raw mut byte).cast();
    let late = call!(watm_conn_read(some, to, 1, Some(&mut length)));
    fails(late, watm_status::TimedOut, "timed-out");
    ok(call!(watm_conn_nonblocking(some, true)));
    let nothing = call!(watm_conn_read(some, to, 1, Some(&mut length)));
    assert_eq!(nothing.status, watm_status::Again);
    for open in [
        call!(watm_conn_outcome(some, None)),
        call!(watm_conn_wait(some, 1, None)),
    ] {
        assert_eq!(open.status, watm_status::Again);
    }
    let how = call!(watm_conn_shutdown(some, 3));
    fails(how, watm_status::Argument, "argument");
    ok(call!(watm_conn_shutdown(some, WATM_SHUTDOWN_WRITE)));
    let written = call!(watm_conn_write(some, to, 1, Some(&mut length)));
    fails(written, watm_status::Closed, "closed");
    watm_conn_abort(Some(&other));
    drop(call!(watm_conn_close(Some(&other), None)));
    assert_ne!(
        call!(watm_conn_wait(some, 20_000, None)).status,
        watm_status::Again
    );
}

#[test]
fn a_pending_dial_is_watched_and_taken_once() {
    let module = module("plain");
    let listener = listen(&module, None);
    let target = local_addr(&listener);
    let dialer = made!(watm_dialer_new(Some(&module), None));
    let pending = made!(watm_dialer_begin(Some(&dialer), target.as_ptr(), None));
    let mut conn = std::ptr::null_mut();
    loop {
        let mut fd = MaybeUninit::uninit();
        ok(call!(watm_pending_readiness(Some(&pending), Some(&mut fd))));
        // SAFETY: the call has written it.
        await_readable(unsafe { fd.assume_init() });
        let outcome = call!(watm_pending_wait(Some(&pending), 0, Some(&mut conn)));
        if outcome.status != watm_status::Again {
            ok(outcome);
            break;
        }
        assert!(conn.is_null());
    }
    // SAFETY: the call has just made it.
    let conn = unsafe { Box::from_raw(conn) };
    let mut fd = MaybeUninit::uninit();
    ok(call!(watm_listener_readiness(
        Some(&listener),
        Some(&mut fd)
    )));
    // SAFETY: the call has written it.
    await_readable(unsafe { fd.assume_init() });
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        exchange(&conn, b"hello");
        watm_conn_free(Some(conn));
    });
    let mut none = std::ptr::null_mut();
    let taken = call!(watm_pending_wait(Some(&pending), -1, Some(&mut none)));
    assert!(taken.message.contains("given out"), "{taken:?}");
    fails(taken, watm_status::Argument, "argument");
    let nothing = call!(watm_listener_try_accept(Some(&listener), Some(&mut none)));
    assert_eq!(nothing.status, watm_status::Again);
    watm_pending_free(Some(pending));
}

#[test]
fn one_of_several_threads_that_wait_gets_the_connection_and_the_others_are_told() {
    let module = module("plain");
    let listener = listen(&module, None);
    let target = local_addr(&listener);
    let dialer = made!(watm_dialer_new(Some(&module), None));
    let pending = made!(watm_dialer_begin(Some(&dialer), target.as_ptr(), None));
    let statuses: Vec<watm_status> = std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut conn = std::ptr::null_mut();
                    let outcome = call!(watm_pending_wait(Some(&pending), -1, Some(&mut conn)));
                    if !conn.is_null() {
                        // SAFETY: the call has just made it.
                        drop(unsafe { Box::from_raw(conn) });
                    }
                    outcome.status
                })
            })
            .collect();
        let ended = waiting.into_iter().map(|thread| thread.join());
        ended.map(|status| status.expect("no panic")).collect()
    });
    let got = statuses.iter().filter(|status| **status == watm_status::Ok);
    assert_eq!(got.count(), 1, "{statuses:?}");
    assert!(
        statuses
            .iter()
            .all(|status| matches!(status, watm_status::Ok | watm_status::Argument))
    );
}

/// An address where the system accepts, and nobody answers.
fn silent() -> (TcpListener, CString) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, CString::new(address).expect("no zero byte"))
}

#[test]
fn dials_fail_with_the_codes_of_the_library() {
    let plain = module("plain");
    let dialer = made!(watm_dialer_new(Some(&plain), None));
    let mut conn = std::ptr::null_mut();
    let mut dial = |target: &std::ffi::CStr, options: Option<&watm_dial_options>| {
        let outcome = call!(watm_dialer_dial(
            Some(&dialer),
            target.as_ptr(),
            options,
            Some(&mut conn)
        ));
        assert!(conn.is_null());
        outcome
    };
    fails(dial(c"nowhere", None), watm_status::Connect, "address");
    // Bound, so that nobody else listens there, and not listening.
    let unheard = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    unheard
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .expect("it is bound");
    let bound = unheard
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IPv4");
    let refusing = CString::new(bound.to_string()).expect("no zero byte");
    let refused = dial(&refusing, None);
    assert!(refused.message.contains("refused"), "{refused:?}");
    fails(refused, watm_status::Connect, "connect");
    let (_listener, address) = silent();
    let options = new_options();
    ok(call!(watm_dial_options_timeout(Some(&options), 0)));
    let late = dial(&address, Some(&options));
    assert_eq!(late.status, watm_status::TimedOut, "{late:?}");

    let options = new_options();
    // SAFETY: it was just made.
    let token = unsafe { Box::from_raw(watm_cancel_token_new()) };
    ok(call!(watm_dial_options_cancel(
        Some(&options),
        Some(&token)
    )));
    watm_cancel_token_cancel(Some(&token));
    assert!(watm_cancel_token_is_cancelled(Some(&token)));
    watm_cancel_token_free(Some(token));
    fails(
        dial(&address, Some(&options)),
        watm_status::Cancelled,
        "cancelled",
    );

    let xor = module("xor");
    let dialer = made!(watm_dialer_new(Some(&xor), None));
    let outcome = call!(watm_dialer_dial(
        Some(&dialer),
        address.as_ptr(),
        None,
        Some(&mut conn)
    ));
    fails(outcome, watm_status::Transport, "failed");
}

#[test]
fn a_connection_measures_time_if_it_is_told_to() {
    let module = module("plain");
    let listener = listen(&module, None);
    let target = local_addr(&listener);
    for on in [false, true] {
        let settings = new_settings();
        ok(call!(watm_settings_timing(Some(&settings), on)));
        let dialer = made!(watm_dialer_new(Some(&module), Some(&settings)));
        let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), None));
        std::thread::scope(|scope| {
            scope.spawn(|| echo(&listener));
            exchange(&conn, &[7; 100_000]);
            ok(call!(watm_conn_close(Some(&conn), None)));
        });
        let mut traffic = watm_traffic::default();
        let size = size_of::<watm_traffic>();
        ok(call!(watm_conn_stats(Some(&conn), &raw mut traffic, size)));
        assert_eq!(traffic.guest_nanoseconds > 0, on, "{traffic:?}");
    }
}

#[test]
fn the_host_encrypts_for_a_module_that_asks_unless_it_is_told_not_to() {
    let module = module("aead");
    let (_listener, target) = silent();
    for (on, functions) in [(true, 4), (false, 0)] {
        let settings = new_settings();
        ok(call!(watm_settings_host_aead(Some(&settings), on)));
        let dialer = made!(watm_dialer_new(Some(&module), Some(&settings)));
        let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), None));
        // The third order of this guest is to say how many functions it got, as its fourth number.
        let mut order = [0; 36];
        order[0] = 3;
        send(&conn, &order);
        let answer = receive(&conn, 16);
        assert_eq!(answer[12..], u32::to_le_bytes(functions));
    }
}

#[test]
fn a_single_dial_may_have_settings_of_its_own() {
    let xor = module("xor");
    let key = with_key();
    let listener = listen(&xor, Some(&key));
    let target = local_addr(&listener);
    let dialer = made!(watm_dialer_new(Some(&xor), None));
    let options = new_options();
    let some = Some(&*options);
    ok(call!(watm_dial_options_settings(some, Some(&key))));
    // They were copied.
    watm_settings_free(Some(key));
    let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), some));
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        exchange(&conn, b"hello");
        watm_conn_free(Some(conn));
    });
    let settings = new_settings();
    ok(call!(watm_settings_descriptor_limit(Some(&settings), 1)));
    ok(call!(watm_dial_options_settings(some, Some(&settings))));
    let mut none = std::ptr::null_mut();
    let refused = call!(watm_dialer_dial(
        Some(&dialer),
        target.as_ptr(),
        some,
        Some(&mut none)
    ));
    assert!(refused.message.contains("descriptor_limit"), "{refused:?}");
    fails(refused, watm_status::Config, "invalid");
}

#[test]
fn a_fixed_dialer_dials_what_the_policy_allows() {
    let plain = module("plain");
    let listener = listen(&plain, None);
    let target = text(watm_listener_local_addr(Some(&listener)));
    let config = format!("tcp {target}");
    let fixed = module("fixed");
    let settings = new_settings();
    let (data, length) = (config.as_ptr().cast(), config.len());
    ok(call!(watm_settings_config(Some(&settings), data, length)));
    let dialer = made!(watm_fixed_dialer_new(Some(&fixed), Some(&settings)));
    let mut none = std::ptr::null_mut();
    let denied = call!(watm_fixed_dialer_dial(Some(&dialer), None, Some(&mut none)));
    fails(denied, watm_status::Connect, "denied");

    ok(call!(watm_settings_allow(
        Some(&settings),
        c"127.0.0.0/8".as_ptr()
    )));
    let dialer = made!(watm_fixed_dialer_new(Some(&fixed), Some(&settings)));
    let conn = made!(watm_fixed_dialer_dial(Some(&dialer), None));
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        exchange(&conn, b"hello");
        watm_conn_free(Some(conn));
    });
    ok(call!(watm_settings_deny(
        Some(&settings),
        c"127.0.0.1".as_ptr()
    )));
    ok(call!(watm_settings_allow_others(Some(&settings), true)));
    let dialer = made!(watm_fixed_dialer_new(Some(&fixed), Some(&settings)));
    let pending = made!(watm_fixed_dialer_begin(Some(&dialer), None));
    let denied = call!(watm_pending_wait(Some(&pending), -1, Some(&mut none)));
    fails(denied, watm_status::Connect, "denied");
}

/// Sends over a plain connection and reads the same back.
fn through(plain: &mut TcpStream, bytes: &[u8]) {
    plain.write_all(bytes).expect("it takes them");
    let mut back = vec![0; bytes.len()];
    plain.read_exact(&mut back).expect("they come back");
    assert_eq!(back, bytes);
}

fn plain_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let one = TcpStream::connect(address).expect("a connection");
    (one, listener.accept().expect("a connection").0)
}

#[test]
fn plain_connections_are_carried_and_accepted_sockets_unwrapped() {
    let module = module("plain");
    let acceptor = made!(watm_acceptor_new(Some(&module), None));
    let dialer = made!(watm_dialer_new(Some(&module), None));
    let (raw, target) = silent();
    let (mut near, carried_plain) = plain_pair();
    let fd = carried_plain.into_raw_fd();
    let carried = made!(watm_dialer_carry(Some(&dialer), fd, target.as_ptr(), None));
    let accepted = raw.accept().expect("a client").0.into_raw_fd();
    let (mut far, plain) = plain_pair();
    let plain = plain.into_raw_fd();
    let unwrapped = made!(watm_acceptor_carry(Some(&acceptor), accepted, plain));
    let echoing = std::thread::spawn(move || {
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).expect("they come");
        far.write_all(&bytes).expect("it takes them");
        far
    });
    through(&mut near, b"hello");
    drop(echoing.join());
    assert_eq!(
        text(watm_carried_local_addr(Some(&carried))),
        text(watm_carried_peer_addr(Some(&unwrapped)))
    );
    drop(near);
    for handle in [&carried, &unwrapped] {
        drop(call!(watm_carried_close(Some(handle), None)));
        assert_ne!(
            call!(watm_carried_outcome(Some(handle), None)).status,
            watm_status::Again
        );
        assert_ne!(
            call!(watm_carried_wait(Some(handle), -1, None)).status,
            watm_status::Again
        );
    }
    let mut traffic = watm_traffic::default();
    let size = size_of::<watm_traffic>();
    ok(call!(watm_carried_stats(
        Some(&carried),
        &raw mut traffic,
        size
    )));
    assert_eq!((traffic.plain_received, traffic.plain_sent), (5, 5));
    // A pending handshake, over a socket that the application accepts.
    let pending = {
        let (_client, served) = plain_pair();
        made!(watm_acceptor_begin(Some(&acceptor), served.into_raw_fd()))
    };
    let conn: Box<watm_conn> = made!(watm_pending_wait(Some(&pending), 20_000));
    watm_conn_free(Some(conn));
}

#[test]
fn what_is_to_be_carried_is_set_up_without_waiting() {
    let module = module("plain");
    let acceptor = made!(watm_acceptor_new(Some(&module), None));
    let dialer = made!(watm_dialer_new(Some(&module), None));
    let (raw, target) = silent();
    let (mut near, plain) = plain_pair();
    let fd = plain.into_raw_fd();
    let target = target.as_ptr();
    let dialling = made!(watm_dialer_begin_carrying(Some(&dialer), fd, target, None));
    let accepted = raw.accept().expect("a client").0.into_raw_fd();
    let (mut far, plain) = plain_pair();
    let plain = plain.into_raw_fd();
    let accepting = made!(watm_acceptor_begin_carrying(
        Some(&acceptor),
        accepted,
        plain
    ));
    let mut none = std::ptr::null_mut();
    let other = call!(watm_pending_wait(Some(&dialling), -1, Some(&mut none)));
    assert!(other.message.contains("wait_carried"), "{other:?}");
    fails(other, watm_status::Argument, "argument");
    let _near: Box<watm_carried> = made!(watm_pending_wait_carried(Some(&dialling), 20_000));
    let _far: Box<watm_carried> = made!(watm_pending_wait_carried(Some(&accepting), 20_000));
    near.write_all(b"hello").expect("it takes them");
    let mut bytes = [0; 5];
    far.read_exact(&mut bytes).expect("they come");
    assert_eq!(&bytes, b"hello");

    let fixed = denied_dialer();
    let (_other, plain) = plain_pair();
    let fd = plain.into_raw_fd();
    let pending = made!(watm_fixed_dialer_begin_carrying(Some(&fixed), fd, None));
    let mut none = std::ptr::null_mut();
    let denied = call!(watm_pending_wait_carried(
        Some(&pending),
        -1,
        Some(&mut none)
    ));
    fails(denied, watm_status::Connect, "denied");
    let begun = made!(watm_dialer_begin(Some(&dialer), target, None));
    let mut none = std::ptr::null_mut();
    let other = call!(watm_pending_wait_carried(Some(&begun), -1, Some(&mut none)));
    fails(other, watm_status::Argument, "argument");
}

/// A fixed dialer whose module wants to connect to this machine, and may not.
fn denied_dialer() -> Box<watm_fixed_dialer> {
    let fixed = module("fixed");
    let settings = new_settings();
    let config = b"tcp 127.0.0.1:9";
    let (data, length) = (config.as_ptr().cast(), config.len());
    ok(call!(watm_settings_config(Some(&settings), data, length)));
    made!(watm_fixed_dialer_new(Some(&fixed), Some(&settings)))
}

#[test]
fn servers_carry_forward_and_relay() {
    let module = module("plain");
    let settings = new_settings();
    let some = Some(&*settings);
    ok(call!(watm_settings_handshake_limit(some, 8)));
    ok(call!(watm_settings_connection_limit(some, 8)));
    ok(call!(watm_settings_backlog(some, 8)));
    let plain = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = plain.local_addr().expect("an address").to_string();
    let target = CString::new(target).expect("no zero byte");
    let echoing = std::thread::spawn(move || {
        let (mut client, _) = plain.accept().expect("a client");
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes).expect("they come");
        client.write_all(&bytes).expect("it takes them");
    });
    let any = c"127.0.0.1:0".as_ptr();
    let of = |server: &watm_server| {
        CString::new(text(watm_server_local_addr(Some(server)))).expect("no zero byte")
    };
    let exit = made!(watm_server_forward(
        Some(&module),
        some,
        any,
        target.as_ptr()
    ));
    let relay = made!(watm_relay_spawn(
        Some(&module),
        some,
        any,
        of(&exit).as_ptr()
    ));
    let entrance = made!(watm_server_carry(
        Some(&module),
        some,
        any,
        of(&relay).as_ptr()
    ));
    let mut client =
        TcpStream::connect(of(&entrance).to_str().expect("UTF-8")).expect("it listens");
    through(&mut client, b"hello");
    echoing.join().expect("it ends");
    drop(client);
    for server in [&entrance, &relay, &exit] {
        ok(call!(watm_server_drain(Some(server), 20_000)));
        ok(call!(watm_server_wait(Some(server))));
        let mut tally = watm_tally::default();
        ok(call!(watm_server_stats(
            Some(server),
            &raw mut tally,
            size_of::<watm_tally>()
        )));
        assert_eq!((tally.accepted, tally.active), (1, 0));
        watm_server_shutdown(Some(server));
    }
    // A module that chooses its remote, without a policy, refuses its clients and goes on.
    let fixed = crate::module("fixed");
    let server = made!(watm_server_carry(Some(&fixed), None, any, no_text()));
    watm_server_stop_accepting(Some(&server));
    watm_server_free(Some(server));
}

#[test]
fn a_listener_takes_a_socket_that_is_bound() {
    let module = module("plain");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let bound = socket.local_addr().expect("an address").to_string();
    let fd = socket.into_raw_fd();
    let listener: Box<watm_listener> = made!(watm_listener_from_fd(Some(&module), None, fd));
    assert_eq!(text(watm_listener_local_addr(Some(&listener))), bound);
    watm_listener_stop_accepting(Some(&listener));
    watm_listener_shutdown(Some(&listener));
    watm_listener_free(Some(listener));
}
