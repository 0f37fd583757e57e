//! Every role with every module that supports it. Each combination is one test, so that a failure
//! names both.

use std::io::Write;

use watm_tests::{
    Duo, accept_one, built, connect, expect_end, expect_reset, listener, read_vec, wat,
};
use watm_wasmer::{AddressPolicy, Builder, Dialer, FixedDialer, Listener, Relay, TransportModule};

/// A module, and the configuration with which it dials a given address.
struct Guest {
    module: TransportModule,
    fixed_config: fn(&str) -> String,
    config: &'static str,
}

fn guest(name: &str) -> Guest {
    let (fixed_config, config): (fn(&str) -> String, _) = match name {
        "xor" => (|address| format!("key\n{address}"), "key"),
        // It reads the number of its steps from the start of the line.
        "compute" => (str::to_owned, "1"),
        "fixed" => (|address| format!("tcp {address}"), ""),
        _ => (str::to_owned, ""),
    };
    let module = match name.strip_suffix("_wat") {
        Some(name) => wat(name),
        None => built(name),
    };
    Guest {
        module,
        fixed_config,
        config,
    }
}

impl Guest {
    fn configured<R>(&self, builder: Builder<R>) -> Builder<R> {
        if self.config.is_empty() {
            builder
        } else {
            builder.config(self.config)
        }
    }
}

/// Sends messages in both directions at once. Each is long enough for the modules that first want
/// some bytes, and short enough for those that change each piece.
#[track_caller]
fn talk(mut a: impl Write, b: impl Write, reads: (impl std::io::Read, impl std::io::Read)) {
    let mut b = b;
    let (there, back) = ([b'a'; 500], [b'b'; 500]);
    a.write_all(&there).expect("room");
    b.write_all(&back).expect("room");
    assert_eq!(read_vec(reads.1, 500), there);
    assert_eq!(read_vec(reads.0, 500), back);
}

#[track_caller]
fn dials_and_listens(name: &str) {
    let guest = guest(name);
    let duo = Duo::with(
        guest.configured(Dialer::builder(&guest.module)),
        guest.configured(Listener::builder(&guest.module)),
    );
    if name == "compute" {
        // Its note is for the network. Both instances send it, and both applications read it.
        assert_eq!(read_vec(&duo.dialer, 9), b"computing");
        assert_eq!(read_vec(&duo.listener, 9), b"computing");
    }
    talk(&duo.dialer, &duo.listener, (&duo.dialer, &duo.listener));
    duo.dialer.close().expect("a clean end");
    expect_end(&duo.listener);
    duo.listener.close().expect("a clean end");
}

#[track_caller]
fn dials_its_own_address(name: &str) {
    let guest = guest(name);
    let unwrapping = if name == "fixed" {
        built("plain")
    } else {
        guest.module.clone()
    };
    let listener = Listener::builder(&unwrapping);
    let listener = guest
        .configured(listener)
        .bind("127.0.0.1:0")
        .expect("a listener");
    let config = (guest.fixed_config)(&listener.local_addr().to_string());
    let dialer = FixedDialer::builder(&guest.module)
        .config(config)
        .policy(AddressPolicy::deny_all().allow("127.0.0.1".parse().expect("an entry")));
    let conn = dialer
        .build()
        .expect("a fixed dialer")
        .dial()
        .expect("a connection");
    let accepted = watm_tests::within(watm_tests::SHORT, move || {
        listener.accept().expect("a connection")
    });
    if name == "compute" {
        assert_eq!(read_vec(&conn, 9), b"computing");
        assert_eq!(read_vec(&accepted, 9), b"computing");
    }
    talk(&conn, &accepted, (&conn, &accepted));
    conn.close().expect("a clean end");
    expect_end(&accepted);
}

#[track_caller]
fn relays(name: &str) {
    let guest = guest(name);
    let (remote, address) = listener();
    let relay = guest
        .configured(Relay::builder(&guest.module))
        .remote(address);
    let relay = relay
        .bind("127.0.0.1:0")
        .expect("a relay")
        .spawn()
        .expect("a thread");
    let client = connect(relay.local_addr());
    if name == "handshake" {
        (&client).write_all(b"WATM-HELLO-00001").expect("room");
        assert_eq!(read_vec(&client, 16), b"WATM-REPLY-00001");
    }
    let server = accept_one(&remote);
    match name {
        "handshake" => {
            assert_eq!(read_vec(&server, 16), b"WATM-HELLO-00001");
            (&server).write_all(b"WATM-REPLY-00001").expect("room");
        }
        "compute" => assert_eq!(read_vec(&server, 9), b"computing"),
        _ => {}
    }
    let text = b"the same text in both directions";
    let mut expected = text.to_vec();
    match name {
        "reverse" | "rust_reverse" => expected.reverse(),
        "xor" => {
            for (byte, key) in expected.iter_mut().zip(b"key".iter().cycle()) {
                *byte ^= key;
            }
        }
        _ => {}
    }
    (&client).write_all(text).expect("room");
    assert_eq!(read_vec(&server, text.len()), expected);
    (&server).write_all(text).expect("room");
    assert_eq!(read_vec(&client, text.len()), expected);
    relay.shutdown();
    expect_reset(&client);
    expect_reset(&server);
    assert_eq!(relay.stats().cut, 1);
}

macro_rules! roles {
    ($role:ident, $check:ident: $($name:ident)*) => {
        mod $role {
            $(#[test]
            fn $name() {
                super::$check(stringify!($name));
            })*
        }
    };
}

roles! { a_dialer_and_a_listener_carry_messages_through, dials_and_listens:
    plain plain16k plain_reactor plain_wrapped plain_wat reverse halfclose handshake xor exit0 posix
    files compute rust_plain rust_reverse rust_tcp rust_files
}

roles! { a_fixed_dialer_carries_messages_through, dials_its_own_address:
    plain plain16k plain_reactor plain_wrapped plain_wat reverse halfclose xor exit0 posix fixed
    files compute rust_plain rust_reverse rust_tcp rust_files
}

roles! { a_relay_carries_messages_through, relays:
    plain plain16k plain_reactor plain_wrapped plain_wat reverse halfclose handshake xor exit0 posix
    files compute rust_plain rust_reverse rust_tcp rust_files
}
