//! Configuration files: what they say, and what is made of them.

use std::ffi::{CString, c_char, c_int, c_void};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use watm::*;

use crate::{call, echo, exchange, fails, guest, made, new_settings, no_text, ok, text};

/// Writes a configuration file, and returns its path.
fn write(name: &str, contents: &str) -> CString {
    let path = format!("{}/watm-ffi-{name}", env!("CARGO_TARGET_TMPDIR"));
    fs::write(&path, contents).expect("it can be written");
    CString::new(path).expect("no zero byte")
}

fn load(name: &str, contents: &str) -> Box<watm_config> {
    made!(watm_config_load_file(write(name, contents).as_ptr(), None))
}

fn module_file(name: &str) -> String {
    guest(name).to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_configuration_file_tells_its_tunnels_and_runs_them() {
    let plain = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = plain.local_addr().expect("an address");
    let module = module_file("plain");
    let config = load(
        "exit.toml",
        &format!(
            "[[tunnel]]\nname = \"exit\"\nrole = \"listener\"\nmodule = \"{module}\"\n\
             listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nforward = \"{target}\"\n\
             [tunnel.settings]\nconnection_limit = 4\n"
        ),
    );
    let some = Some(&*config);
    let exit = made!(watm_config_server(some, c"exit".as_ptr(), None));
    let second = text(watm_server_local_addr_at(Some(&exit), 1));
    assert!(watm_server_local_addr_at(Some(&exit), 2).is_null());
    watm_config_free(Some(config));

    let config = load(
        "both.toml",
        &format!(
            "[[tunnel]]\nname = \"near\"\nrole = \"dialer\"\nmodule = \"{module}\"\n\
             remote = \"{second}\"\nlisten = [\"127.0.0.1:0\"]\n\
             [[tunnel]]\nname = \"relay\"\nrole = \"relay\"\nmodule = \"{module}\"\n\
             remote = \"{second}\"\nlisten = [\"127.0.0.1:0\"]\n"
        ),
    );
    let some = Some(&*config);
    assert_eq!(watm_config_tunnel_count(some), 2);
    assert_eq!(text(watm_config_tunnel_name(some, 0)), "near");
    assert_eq!(text(watm_config_tunnel_remote(some, 1)), second);
    assert_eq!(watm_config_tunnel_role(some, 0), WATM_ROLE_DIALER);
    assert_eq!(watm_config_tunnel_role(some, 1), WATM_ROLE_RELAY);
    assert!(watm_config_tunnel_name(some, 2).is_null());
    assert_eq!(watm_config_tunnel_role(some, 2), 0);
    assert!(watm_config_warning(some, 0).is_null());
    let entrance = made!(watm_config_server(some, c"near".as_ptr(), None));
    let relay = made!(watm_config_server(some, c"relay".as_ptr(), None));
    let echoing = thread::spawn(move || {
        let (mut client, _) = plain.accept().expect("a client");
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes).expect("they come");
        client.write_all(&bytes).expect("it takes them");
    });
    let address = text(watm_server_local_addr(Some(&entrance)));
    let mut client = TcpStream::connect(address).expect("it listens");
    client.write_all(b"hello").expect("it takes them");
    let mut back = [0; 5];
    client.read_exact(&mut back).expect("they come back");
    assert_eq!(&back, b"hello");
    echoing.join().expect("it ends");
    drop(client);
    for server in [entrance, relay, exit] {
        ok(call!(watm_server_drain(Some(&server), 20_000)));
    }
}

#[test]
fn dialers_and_listeners_are_made_of_tunnels() {
    let module = module_file("plain");
    let config = load(
        "listener.toml",
        &format!(
            "[[tunnel]]\nname = \"in\"\nrole = \"listener\"\nmodule = \"{module}\"\n\
             listen = [\"127.0.0.1:0\"]\n"
        ),
    );
    let listener = made!(watm_config_listener(Some(&config), no_text(), None));
    assert!(watm_listener_local_addr_at(Some(&listener), 1).is_null());
    let remote = text(watm_listener_local_addr(Some(&listener)));
    let config = load(
        "dialer.toml",
        &format!(
            "[[tunnel]]\nname = \"out\"\nrole = \"dialer\"\nmodule = \"{module}\"\n\
             remote = \"{remote}\"\n"
        ),
    );
    let some = Some(&*config);
    let dialer = made!(watm_config_dialer(some, no_text(), None));
    let target = watm_config_tunnel_remote(some, 0);
    let conn = made!(watm_dialer_dial(Some(&dialer), target, None));
    thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        exchange(&conn, b"hello");
        ok(call!(watm_conn_close(Some(&conn), None)));
    });
    let mut none = std::ptr::null_mut();
    let other = call!(watm_config_listener(some, no_text(), None, Some(&mut none)));
    assert!(other.message.contains("is a dialer"), "{other:?}");
    fails(other, watm_status::Config, "invalid");
    let mut none = std::ptr::null_mut();
    let fixed = call!(watm_config_fixed_dialer(
        some,
        no_text(),
        None,
        Some(&mut none)
    ));
    fails(fixed, watm_status::Config, "invalid");
    let mut none = std::ptr::null_mut();
    let missing = call!(watm_config_dialer(
        some,
        c"owt".as_ptr(),
        None,
        Some(&mut none)
    ));
    assert!(missing.message.contains("`out`"), "{missing:?}");
    fails(missing, watm_status::Config, "no-such-tunnel");
}

#[test]
fn a_file_of_the_go_runtime_has_warnings_and_fits_each_role() {
    let module = module_file("plain");
    let config = load(
        "water.json",
        &format!(
            "{{\"transport_module\": {{\"bin\": \"{module}\"}}, \
             \"runtime\": {{\"force_interpreter\": true}}}}"
        ),
    );
    let some = Some(&*config);
    assert_eq!(watm_config_tunnel_count(some), 1);
    assert!(watm_config_tunnel_name(some, 0).is_null());
    assert!(watm_config_tunnel_remote(some, 0).is_null());
    assert_eq!(watm_config_tunnel_role(some, 0), 0);
    assert!(text(watm_config_warning(some, 0)).contains("force_interpreter"));
    let _dialer: Box<watm_dialer> = made!(watm_config_dialer(some, no_text(), None));
    let _fixed: Box<watm_fixed_dialer> = made!(watm_config_fixed_dialer(some, no_text(), None));
    let mut none = std::ptr::null_mut();
    let server = call!(watm_config_server(some, no_text(), None, Some(&mut none)));
    assert!(server.message.contains("role"), "{server:?}");
    fails(server, watm_status::Config, "invalid");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_the_place_of_the_problem() {
    let mut none = std::ptr::null_mut();
    let missing = call!(watm_config_load_file(
        c"/nowhere.toml".as_ptr(),
        None,
        Some(&mut none)
    ));
    assert_eq!(missing.errno, libc::ENOENT);
    fails(missing, watm_status::Config, "read");
    let file = write("unknown.toml", "[[tunnel]]\nnam = \"a\"\n");
    let unknown = call!(watm_config_load_file(file.as_ptr(), None, Some(&mut none)));
    assert!(unknown.message.contains("line 2"), "{unknown:?}");
    fails(unknown, watm_status::Config, "unknown-key");
    // The limits of the loader hold for the modules of the file.
    // SAFETY: it was just made.
    let loader = unsafe { Box::from_raw(watm_loader_new()) };
    ok(call!(watm_loader_max_size(Some(&loader), 10)));
    let module = module_file("plain");
    let file = write(
        "large.toml",
        &format!(
            "[[tunnel]]\nname = \"a\"\nrole = \"dialer\"\nmodule = \"{module}\"\n\
             remote = \"192.0.2.1:1\"\n"
        ),
    );
    let config = made!(watm_config_load_file(file.as_ptr(), Some(&loader)));
    let mut none = std::ptr::null_mut();
    let large = call!(watm_config_dialer(
        Some(&config),
        no_text(),
        None,
        Some(&mut none)
    ));
    fails(large, watm_status::Load, "too-large");
}

unsafe extern "C-unwind" fn protect(_: *mut c_void, _: c_int, _: *const c_char) -> c_int {
    0
}

#[test]
fn a_file_does_not_lead_connections_around_what_prepares_their_sockets() {
    let module = module_file("plain");
    let settings = new_settings();
    let preparing = Some(&*settings);
    ok(call!(watm_settings_prepare(
        preparing,
        Some(protect),
        std::ptr::null_mut(),
        None
    )));
    let tunnel = format!(
        "[[tunnel]]\nname = \"out\"\nrole = \"dialer\"\nmodule = \"{module}\"\n\
         remote = \"192.0.2.1:443\"\nlisten = [\"127.0.0.1:0\"]\n"
    );
    let plain = load("plain-way.toml", &tunnel);
    let _dialer: Box<watm_dialer> = made!(watm_config_dialer(Some(&plain), no_text(), preparing));
    for (name, way) in [
        (
            "proxy.toml",
            "[tunnel.settings]\nproxy = \"socks5://127.0.0.1:9\"\n".to_owned(),
        ),
        (
            "chain.toml",
            format!("[[tunnel.below]]\nmodule = \"{module}\"\n"),
        ),
    ] {
        let config = load(name, &format!("{tunnel}{way}"));
        let some = Some(&*config);
        let mut dialer = std::ptr::null_mut();
        let refused = call!(watm_config_dialer(
            some,
            no_text(),
            preparing,
            Some(&mut dialer)
        ));
        assert!(refused.message.contains("prepared"), "{refused:?}");
        fails(refused, watm_status::Config, "invalid");
        let mut server = std::ptr::null_mut();
        let refused = call!(watm_config_server(
            some,
            no_text(),
            preparing,
            Some(&mut server)
        ));
        fails(refused, watm_status::Config, "invalid");
        let _dialer: Box<watm_dialer> = made!(watm_config_dialer(some, no_text(), None));
    }
}
