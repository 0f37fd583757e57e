//! Replacing the module of what is running.

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::thread;

use watm::*;

use crate::{
    call, echo, exchange, fails, listen, local_addr, made, module, no_text, ok, receive, send,
    text, with_key,
};

/// Dials, and exchanges bytes with what accepts.
fn round(dialer: &watm_dialer, listener: &watm_listener) {
    let target = local_addr(listener);
    let conn = made!(watm_dialer_dial(Some(dialer), target.as_ptr(), None));
    thread::scope(|scope| {
        scope.spawn(|| echo(listener));
        exchange(&conn, b"hello");
        ok(call!(watm_conn_close(Some(&conn), None)));
    });
}

/// What a dialer sends for `hello`.
fn on_the_wire(dialer: &watm_dialer) -> [u8; 5] {
    let raw = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = raw.local_addr().expect("an address").to_string();
    let target = CString::new(target).expect("no zero byte");
    let conn = made!(watm_dialer_dial(Some(dialer), target.as_ptr(), None));
    send(&conn, b"hello");
    let mut bytes = [0; 5];
    let (mut peer, _) = raw.accept().expect("a client");
    peer.read_exact(&mut bytes).expect("they come");
    watm_conn_abort(Some(&conn));
    bytes
}

#[test]
fn a_dialer_and_a_listener_go_on_with_another_module() {
    let (plain, xor) = (module("plain"), module("xor"));
    let listener = listen(&plain, None);
    let dialer = made!(watm_dialer_new(Some(&plain), None));
    round(&dialer, &listener);
    assert_eq!(&on_the_wire(&dialer), b"hello");

    let key = with_key();
    let (new, key) = (Some(&*xor), Some(&*key));
    ok(call!(watm_dialer_replace(Some(&dialer), new, key)));
    ok(call!(watm_listener_replace(Some(&listener), new, key)));
    round(&dialer, &listener);
    assert_ne!(&on_the_wire(&dialer), b"hello");
}

#[test]
fn a_module_that_cannot_be_used_replaces_nothing() {
    let (plain, xor, fixed) = (module("plain"), module("xor"), module("fixed"));
    let listener = listen(&plain, None);
    let dialer = made!(watm_dialer_new(Some(&plain), None));
    for (bad, status, code) in [
        (&fixed, watm_status::Config, "role"),
        // It has no key, and says so when it is initialised.
        (&xor, watm_status::Transport, "failed"),
    ] {
        let bad = Some(&**bad);
        let outcome = call!(watm_dialer_replace(Some(&dialer), bad, None));
        fails(outcome, status, code);
        let outcome = call!(watm_listener_replace(Some(&listener), bad, None));
        fails(outcome, status, code);
    }
    let nothing = call!(watm_dialer_replace(Some(&dialer), None, None));
    fails(nothing, watm_status::Argument, "argument");
    round(&dialer, &listener);
}

#[test]
fn acceptors_and_fixed_dialers_are_replaced_as_well() {
    let (plain, xor) = (module("plain"), module("xor"));
    let key = with_key();
    let acceptor = made!(watm_acceptor_new(Some(&plain), None));
    ok(call!(watm_acceptor_replace(
        Some(&acceptor),
        Some(&xor),
        Some(&key)
    )));
    let raw = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut client = TcpStream::connect(raw.local_addr().expect("an address")).expect("it listens");
    let accepted = raw.accept().expect("a client").0.into_raw_fd();
    let conn = made!(watm_acceptor_accept(Some(&acceptor), accepted));
    client.write_all(b"hello").expect("it takes them");
    assert_ne!(receive(&conn, 5), b"hello");

    let fixed = module("fixed");
    let dialer = made!(watm_fixed_dialer_new(Some(&fixed), None));
    let keyless = call!(watm_fixed_dialer_replace(Some(&dialer), Some(&xor), None));
    fails(keyless, watm_status::Transport, "failed");
    ok(call!(watm_fixed_dialer_replace(
        Some(&dialer),
        Some(&plain),
        None
    )));
}

#[test]
fn each_kind_of_server_is_replaced_in_its_role() {
    let (plain, fixed) = (module("plain"), module("fixed"));
    let any = c"127.0.0.1:0".as_ptr();
    let to = c"127.0.0.1:9".as_ptr();
    let some = Some(&*plain);
    let servers = [
        made!(watm_relay_spawn(some, None, any, to)),
        made!(watm_server_carry(some, None, any, to)),
        made!(watm_server_forward(some, None, any, to)),
    ];
    for server in &servers {
        let server = Some(&**server);
        ok(call!(watm_server_replace(server, some, None)));
        let wrong = call!(watm_server_replace(server, Some(&fixed), None));
        fails(wrong, watm_status::Config, "role");
        let open = made!(watm_server_connections(server));
        assert_eq!(watm_connections_count(Some(&open)), 0);
        assert_eq!(
            text(watm_server_local_addr(server)),
            text(watm_server_local_addr_at(server, 0))
        );
        assert!(watm_server_local_addr_at(server, 1).is_null());
    }
    let chooses = made!(watm_server_carry(Some(&fixed), None, any, no_text()));
    ok(call!(watm_server_replace(
        Some(&chooses),
        Some(&fixed),
        None
    )));
    ok(call!(watm_server_replace(Some(&chooses), some, None)));
}
