//! How outgoing connections are made: through a proxy, through other modules, from an address.

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use watm::*;

use crate::callbacks::{Seen, prepare};
use crate::{
    call, echo, exchange, fails, listen, local_addr, made, module, new_settings, ok, receive, send,
    text, with_key,
};

/// A SOCKS5 proxy for one client, which asks for a name. Returns the name that it was asked for.
fn socks5(to: SocketAddr) -> (CString, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let serving = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut greeting = [0; 3];
        client.read_exact(&mut greeting).expect("a greeting");
        assert_eq!(greeting, [5, 1, 0]);
        client.write_all(&[5, 0]).expect("it takes it");
        let mut head = [0; 5];
        client.read_exact(&mut head).expect("a request");
        assert_eq!(head[..4], [5, 1, 0, 3], "it asks for a name");
        let mut name = vec![0; usize::from(head[4]) + 2];
        client.read_exact(&mut name).expect("the name and the port");
        name.truncate(name.len() - 2);
        let mut server = TcpStream::connect(to).expect("the server");
        client
            .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .expect("it takes the answer");
        let (mut back_from, mut back_to) = (
            server.try_clone().expect("a descriptor"),
            client.try_clone().expect("a descriptor"),
        );
        let back = thread::spawn(move || {
            // The end of a connection that was freed may be a reset, which is no matter here.
            let _ = std::io::copy(&mut back_from, &mut back_to);
        });
        let _ = std::io::copy(&mut client, &mut server);
        let _ = server.shutdown(std::net::Shutdown::Write);
        back.join().expect("it ends");
        String::from_utf8(name).expect("it is UTF-8")
    });
    let proxy = CString::new(format!("socks5://{address}")).expect("no zero byte");
    (proxy, serving)
}

#[test]
fn connections_go_through_a_proxy_whose_socket_is_prepared() {
    let module = module("plain");
    let listener = listen(&module, None);
    let to: SocketAddr = text(watm_listener_local_addr(Some(&listener)))
        .parse()
        .expect("an address");
    let (proxy, serving) = socks5(to);
    let seen = Seen::default();
    let settings = new_settings();
    let some = Some(&*settings);
    ok(call!(watm_settings_prepare(
        some,
        Some(prepare),
        seen.user(),
        None
    )));
    ok(call!(watm_settings_upstream_proxy(some, proxy.as_ptr())));
    let dialer = made!(watm_dialer_new(Some(&module), some));
    let conn = made!(watm_dialer_dial(
        Some(&dialer),
        c"name.invalid:443".as_ptr(),
        None
    ));
    thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        exchange(&conn, b"through the proxy");
        drop(call!(watm_conn_close(Some(&conn), None)));
    });
    assert_eq!(serving.join().expect("it ends"), "name.invalid");
    let address = proxy.to_str().expect("UTF-8").replace("socks5://", "");
    assert_eq!(seen.calls(), [format!("prepare {address}")]);
}

#[test]
fn the_message_about_a_proxy_does_not_quote_it() {
    let settings = new_settings();
    let refused = call!(watm_settings_upstream_proxy(
        Some(&settings),
        c"socks5://user:secret@".as_ptr()
    ));
    assert!(!refused.message.contains("secret"), "{refused:?}");
    assert_eq!(refused.errno, libc::EINVAL);
    fails(refused, watm_status::Argument, "argument");
}

#[test]
fn modules_are_chained_at_both_ends() {
    let (plain, xor) = (module("plain"), module("xor"));
    let key = with_key();
    let acceptor = made!(watm_acceptor_new(Some(&xor), Some(&key)));
    let accepting = new_settings();
    ok(call!(watm_settings_accept_through(
        Some(&accepting),
        Some(&acceptor)
    )));
    watm_acceptor_free(Some(acceptor));
    let listener = listen(&plain, Some(&accepting));
    let below = made!(watm_dialer_new(Some(&xor), Some(&key)));
    let dialling = new_settings();
    ok(call!(watm_settings_dial_through(
        Some(&dialling),
        Some(&below)
    )));
    watm_dialer_free(Some(below));
    let dialer = made!(watm_dialer_new(Some(&plain), Some(&dialling)));
    let target = local_addr(&listener);
    let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), None));
    thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        exchange(&conn, b"through two modules");
        drop(call!(watm_conn_close(Some(&conn), None)));
    });
    // A client that does not know the module below is not understood.
    let outsider = made!(watm_dialer_new(Some(&plain), None));
    let conn = made!(watm_dialer_dial(Some(&outsider), target.as_ptr(), None));
    send(&conn, b"hello");
    let other: Box<watm_conn> = made!(watm_listener_accept(Some(&listener)));
    assert_ne!(receive(&other, 5), b"hello");
}

#[test]
fn connections_come_from_the_source_address_and_over_the_interface() {
    let module = module("plain");
    let listener = listen(&module, None);
    let target = local_addr(&listener);
    let settings = new_settings();
    let some = Some(&*settings);
    ok(call!(watm_settings_source_address(
        some,
        c"127.0.0.2".as_ptr()
    )));
    let dialer = made!(watm_dialer_new(Some(&module), some));
    let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), None));
    let local: SocketAddr = text(watm_conn_local_addr(Some(&conn)))
        .parse()
        .expect("an address");
    assert_eq!(local.ip(), Ipv4Addr::new(127, 0, 0, 2));

    ok(call!(watm_settings_interface(some, c"nowhere0".as_ptr())));
    let dialer = made!(watm_dialer_new(Some(&module), some));
    let mut none = std::ptr::null_mut();
    let refused = call!(watm_dialer_dial(
        Some(&dialer),
        target.as_ptr(),
        None,
        Some(&mut none)
    ));
    assert!(refused.message.contains("nowhere0"), "{refused:?}");
    fails(refused, watm_status::Connect, "connect");
    ok(call!(watm_settings_mark(some, 7)));
}

#[test]
fn a_refused_connection_has_the_error_number_of_the_system() {
    let module = module("plain");
    let dialer = made!(watm_dialer_new(Some(&module), None));
    let unheard = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let unheard = unheard.expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    unheard.bind(&any.into()).expect("it is bound");
    let bound = unheard.local_addr().expect("an address").as_socket();
    let target = CString::new(bound.expect("of IPv4").to_string()).expect("no zero byte");
    let mut none = std::ptr::null_mut();
    let refused = call!(watm_dialer_dial(
        Some(&dialer),
        target.as_ptr(),
        None,
        Some(&mut none)
    ));
    assert_eq!(refused.errno, libc::ECONNREFUSED);
    fails(refused, watm_status::Connect, "connect");
}
