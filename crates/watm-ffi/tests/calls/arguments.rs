//! Arguments that cannot be right: each is refused with an error that names it, and nothing
//! happens.

use std::ffi::CString;
use std::os::fd::AsRawFd;

use watm::*;

use crate::{Outcome, call, fails, module, new_options, new_settings, no_data, no_text, ok};

/// Calls functions with null in place of all that they need.
macro_rules! all_refuse {
    ($($name:ident($($argument:expr),*);)*) => {$(
        let refused: Outcome = call!($name($($argument),*));
        assert_eq!(refused.status, watm_status::Argument, "{}: {refused:?}", stringify!($name));
        assert_eq!(refused.code, "argument", "{}", stringify!($name));
        assert!(refused.message.contains("null pointer"), "{refused:?}");
    )*};
}

#[test]
fn a_null_pointer_is_refused_by_loaders_modules_and_dials() {
    all_refuse! {
        watm_loader_sha256(None, no_text());
        watm_loader_trusted_key(None, no_text());
        watm_loader_trusted_key_file(None, no_text());
        watm_loader_signature(None, no_data(), 0);
        watm_loader_signature_file(None, no_text());
        watm_loader_max_size(None, 1);
        watm_loader_compile_timeout(None, 1);
        watm_loader_cache(None, no_text());
        watm_loader_load_file(None, no_text(), None);
        watm_loader_load_bytes(None, no_data(), 0, None);
        watm_module_load_file(no_text(), None);
        watm_module_load_file(no_text(), Some(&mut std::ptr::null_mut()));
        watm_module_load_bytes(no_data(), 0, None);
        watm_module_load_bytes(no_data(), 1, Some(&mut std::ptr::null_mut()));
        watm_dial_options_config(None, no_data(), 0);
        watm_dial_options_network(None, no_text());
        watm_dial_options_settings(None, None);
        watm_dial_options_timeout(None, 1);
        watm_dial_options_cancel(None, None);
        watm_dialer_new(None, None, None);
        watm_dialer_new(None, None, Some(&mut std::ptr::null_mut()));
        watm_dialer_dial(None, no_text(), None, Some(&mut std::ptr::null_mut()));
        watm_dialer_begin(None, no_text(), None, Some(&mut std::ptr::null_mut()));
        watm_dialer_carry(None, -1, no_text(), None, Some(&mut std::ptr::null_mut()));
        watm_fixed_dialer_new(None, None, Some(&mut std::ptr::null_mut()));
        watm_fixed_dialer_dial(None, None, Some(&mut std::ptr::null_mut()));
        watm_fixed_dialer_begin(None, None, Some(&mut std::ptr::null_mut()));
        watm_fixed_dialer_carry(None, -1, None, Some(&mut std::ptr::null_mut()));
        watm_dialer_begin_carrying(None, -1, no_text(), None, Some(&mut std::ptr::null_mut()));
        watm_fixed_dialer_begin_carrying(None, -1, None, Some(&mut std::ptr::null_mut()));
        watm_dialer_replace(None, None, None);
        watm_fixed_dialer_replace(None, None, None);
        watm_pending_wait_carried(None, 0, Some(&mut std::ptr::null_mut()));
        watm_pending_wait(None, 0, Some(&mut std::ptr::null_mut()));
        watm_pending_readiness(None, None);
        watm_drain(0, None);
        watm_addresses_add(None, no_text());
    }
}

#[test]
fn a_null_pointer_is_refused_by_settings() {
    all_refuse! {
        watm_settings_config(None, no_data(), 0);
        watm_settings_arg(None, no_text());
        watm_settings_env(None, no_text(), no_text());
        watm_settings_dir(None, no_text(), no_text(), false);
        watm_settings_file(None, no_text(), no_data(), 0);
        watm_settings_stdio(None, WATM_STDIO_LOG);
        watm_settings_allow(None, no_text());
        watm_settings_deny(None, no_text());
        watm_settings_allow_others(None, true);
        watm_settings_nat64_prefix(None, no_text());
        watm_settings_source_address(None, no_text());
        watm_settings_interface(None, no_text());
        watm_settings_mark(None, 1);
        watm_settings_upstream_proxy(None, no_text());
        watm_settings_dial_through(None, None);
        watm_settings_accept_through(None, None);
        watm_settings_dial_hook(None, None, no_data(), None);
        watm_settings_prepare(None, None, no_data(), None);
        watm_settings_observer(None, None, no_data(), None);
        watm_settings_resolver(None, None, no_data(), None);
        watm_settings_connect_timeout(None, 1);
        watm_settings_setup_timeout(None, 1);
        watm_settings_close_grace(None, 1);
        watm_settings_drain_timeout(None, 1);
        watm_settings_keepalive(None, 1);
        watm_settings_memory_limit(None, 1);
        watm_settings_memory_headroom(None, 1);
        watm_settings_descriptor_limit(None, 1);
        watm_settings_spare_instances(None, 1);
        watm_settings_spare_refill_rate(None, 1);
        watm_settings_timing(None, true);
        watm_settings_host_aead(None, false);
        watm_settings_handshake_limit(None, 1);
        watm_settings_backlog(None, 1);
        watm_settings_connection_limit(None, 1);
        watm_log(None, WATM_LOG_INFO, no_data(), None);
    }
    let settings = new_settings();
    let settings = Some(&*settings);
    all_refuse! {
        watm_settings_config(settings, no_data(), 1);
        watm_settings_arg(settings, no_text());
        watm_settings_env(settings, c"name".as_ptr(), no_text());
        watm_settings_dir(settings, c"/".as_ptr(), no_text(), false);
        watm_settings_file(settings, c"/f".as_ptr(), no_data(), 1);
        watm_settings_allow(settings, no_text());
        watm_settings_upstream_proxy(settings, no_text());
        watm_settings_dial_through(settings, None);
        watm_settings_accept_through(settings, None);
        watm_settings_dial_hook(settings, None, no_data(), None);
        watm_settings_prepare(settings, None, no_data(), None);
        watm_settings_observer(settings, None, no_data(), None);
        watm_settings_resolver(settings, None, no_data(), None);
    }
    ok(call!(watm_settings_config(settings, no_data(), 0)));
    ok(call!(watm_settings_file(
        settings,
        c"/f".as_ptr(),
        no_data(),
        0
    )));
}

#[test]
fn a_null_pointer_is_refused_by_connections_and_servers() {
    all_refuse! {
        watm_conn_read(None, no_data(), 0, None);
        watm_conn_write(None, no_data(), 0, None);
        watm_conn_write_all(None, no_data(), 0, None);
        watm_conn_shutdown(None, WATM_SHUTDOWN_BOTH);
        watm_conn_close(None, None);
        watm_conn_wait(None, 0, None);
        watm_conn_outcome(None, None);
        watm_conn_stats(None, std::ptr::null_mut(), 0);
        watm_conn_read_timeout(None, 1);
        watm_conn_write_timeout(None, 1);
        watm_conn_nonblocking(None, true);
        watm_conn_readiness(None, None);
        watm_carried_wait(None, 0, None);
        watm_carried_outcome(None, None);
        watm_carried_stats(None, std::ptr::null_mut(), 0);
        watm_carried_close(None, None);
        watm_listener_bind(None, None, no_text(), Some(&mut std::ptr::null_mut()));
        watm_listener_from_fd(None, None, -1, Some(&mut std::ptr::null_mut()));
        watm_listener_accept(None, Some(&mut std::ptr::null_mut()));
        watm_listener_try_accept(None, Some(&mut std::ptr::null_mut()));
        watm_listener_readiness(None, None);
        watm_listener_stats(None, std::ptr::null_mut(), 0);
        watm_listener_drain(None, 0);
        watm_acceptor_new(None, None, Some(&mut std::ptr::null_mut()));
        watm_acceptor_accept(None, -1, Some(&mut std::ptr::null_mut()));
        watm_acceptor_begin(None, -1, Some(&mut std::ptr::null_mut()));
        watm_acceptor_carry(None, -1, -1, Some(&mut std::ptr::null_mut()));
        watm_acceptor_begin_carrying(None, -1, -1, Some(&mut std::ptr::null_mut()));
        watm_acceptor_replace(None, None, None);
        watm_listener_replace(None, None, None);
        watm_listener_connections(None, Some(&mut std::ptr::null_mut()));
        watm_server_replace(None, None, None);
        watm_server_connections(None, Some(&mut std::ptr::null_mut()));
        watm_config_load_file(no_text(), None, Some(&mut std::ptr::null_mut()));
        watm_config_dialer(None, no_text(), None, Some(&mut std::ptr::null_mut()));
        watm_config_fixed_dialer(None, no_text(), None, Some(&mut std::ptr::null_mut()));
        watm_config_listener(None, no_text(), None, Some(&mut std::ptr::null_mut()));
        watm_config_server(None, no_text(), None, Some(&mut std::ptr::null_mut()));
        watm_relay_spawn(None, None, no_text(), no_text(), Some(&mut std::ptr::null_mut()));
        watm_server_carry(None, None, no_text(), no_text(), Some(&mut std::ptr::null_mut()));
        watm_server_forward(None, None, no_text(), no_text(), Some(&mut std::ptr::null_mut()));
        watm_server_stats(None, std::ptr::null_mut(), 0);
        watm_server_wait(None);
        watm_server_drain(None, 0);
    }
    let module = module("plain");
    let module = Some(&*module);
    all_refuse! {
        watm_listener_bind(module, None, no_text(), Some(&mut std::ptr::null_mut()));
        watm_listener_bind(module, None, c"127.0.0.1:0".as_ptr(), None);
        watm_relay_spawn(module, None, no_text(), no_text(), Some(&mut std::ptr::null_mut()));
        watm_server_forward(
            module,
            None,
            c"127.0.0.1:0".as_ptr(),
            no_text(),
            Some(&mut std::ptr::null_mut())
        );
    }
}

#[test]
fn a_call_without_a_place_for_its_error_is_refused_as_well() {
    // SAFETY: null is what is tested.
    let status = unsafe { watm_module_load_file(no_text(), None, None) };
    assert_eq!(status, watm_status::Argument);
}

#[test]
fn text_that_is_not_utf8_or_does_not_end_soon_is_refused() {
    let settings = new_settings();
    let long = CString::new(vec![b'a'; (1 << 20) + 1]).expect("no zero byte");
    for (bad, says) in [
        (c"\xc3\x28".as_ptr(), "not UTF-8"),
        (long.as_ptr(), "more than 1048576 bytes"),
    ] {
        for outcome in [
            call!(watm_settings_arg(Some(&settings), bad)),
            call!(watm_settings_env(Some(&settings), c"n".as_ptr(), bad)),
            call!(watm_settings_allow(Some(&settings), bad)),
            call!(watm_settings_interface(Some(&settings), bad)),
        ] {
            assert!(outcome.message.contains(says), "{outcome:?}");
            fails(outcome, watm_status::Argument, "argument");
        }
    }
    // A path need not be UTF-8; there is just no such file.
    let mut none = std::ptr::null_mut();
    let missing = call!(watm_module_load_file(c"/\xff".as_ptr(), Some(&mut none)));
    assert_eq!(missing.errno, libc::ENOENT);
    fails(missing, watm_status::Load, "read");
    assert!(none.is_null());
}

#[test]
fn numbers_and_texts_that_mean_nothing_are_refused() {
    let settings = new_settings();
    let options = new_options();
    let some = Some(&*settings);
    for outcome in [
        call!(watm_settings_stdio(some, 3)),
        call!(watm_settings_allow(some, c"127.1".as_ptr())),
        call!(watm_settings_deny(some, c"".as_ptr())),
        call!(watm_settings_nat64_prefix(some, c"10.0.0.0/8".as_ptr())),
        call!(watm_settings_source_address(some, c"here".as_ptr())),
        call!(watm_settings_upstream_proxy(some, c"ftp://a:1".as_ptr())),
        call!(watm_dial_options_network(Some(&options), c"udp".as_ptr())),
        call!(watm_dial_options_settings(Some(&options), None)),
        call!(watm_dial_options_cancel(Some(&options), None)),
        call!(watm_log_level(6)),
        call!(watm_log(None, 6, no_data(), None)),
    ] {
        fails(outcome, watm_status::Argument, "argument");
    }
}

#[test]
fn settings_that_cannot_work_are_named_when_something_is_made_of_them() {
    let module = module("plain");
    let settings = new_settings();
    ok(call!(watm_settings_descriptor_limit(Some(&settings), 1)));
    let mut dialer = std::ptr::null_mut();
    let refused = call!(watm_dialer_new(
        Some(&module),
        Some(&settings),
        Some(&mut dialer)
    ));
    assert!(refused.message.contains("descriptor_limit"), "{refused:?}");
    fails(refused, watm_status::Config, "invalid");
    assert!(dialer.is_null());
    let mut listener = std::ptr::null_mut();
    let outcome = call!(watm_listener_bind(
        Some(&module),
        None,
        c"nowhere".as_ptr(),
        Some(&mut listener)
    ));
    fails(outcome, watm_status::Listen, "bind");
    let fixed = crate::module("fixed");
    let outcome = call!(watm_dialer_new(Some(&fixed), None, Some(&mut dialer)));
    fails(outcome, watm_status::Config, "role");
}

/// Sets something that cannot work, and makes the most demanding of what settings are for.
macro_rules! names_its_setting {
    ($($name:ident($value:expr) => $setting:expr;)*) => {$(
        let settings = new_settings();
        ok(call!($name(Some(&settings), $value)));
        let plain = module("plain");
        let mut server = std::ptr::null_mut();
        let refused = call!(watm_relay_spawn(
            Some(&plain),
            Some(&settings),
            c"127.0.0.1:0".as_ptr(),
            c"127.0.0.1:9".as_ptr(),
            Some(&mut server)
        ));
        assert!(refused.message.contains(concat!("`", $setting, "`")), "{refused:?}");
        fails(refused, watm_status::Config, "invalid");
    )*};
}

#[test]
fn each_limit_is_that_of_its_own_setting() {
    names_its_setting! {
        watm_settings_connect_timeout(0) => "connect_timeout";
        watm_settings_setup_timeout(0) => "setup_timeout";
        watm_settings_keepalive(1) => "keepalive";
        watm_settings_memory_limit(1) => "memory_limit";
        watm_settings_descriptor_limit(481) => "descriptor_limit";
        watm_settings_spare_instances(1025) => "spare_instances";
        watm_settings_spare_refill_rate(0) => "spare_refill_rate";
        watm_settings_handshake_limit(0) => "handshake_limit";
        watm_settings_connection_limit(0) => "connection_limit";
    }
    let settings = new_settings();
    ok(call!(watm_settings_backlog(Some(&settings), 0)));
    let plain = module("plain");
    let mut listener = std::ptr::null_mut();
    let refused = call!(watm_listener_bind(
        Some(&plain),
        Some(&settings),
        c"127.0.0.1:0".as_ptr(),
        Some(&mut listener)
    ));
    assert!(refused.message.contains("`backlog`"), "{refused:?}");
    // These allow anything, and negative probes are none.
    ok(call!(watm_settings_backlog(Some(&settings), 1)));
    ok(call!(watm_settings_keepalive(Some(&settings), -1)));
    ok(call!(watm_settings_close_grace(Some(&settings), 0)));
    ok(call!(watm_settings_drain_timeout(Some(&settings), 0)));
    ok(call!(watm_settings_memory_headroom(Some(&settings), 0)));
    ok(call!(watm_settings_host_aead(Some(&settings), false)));
    drop(crate::listen(&plain, Some(&settings)));
}

#[test]
fn a_descriptor_that_is_no_stream_socket_stays_the_callers() {
    let module = module("plain");
    let acceptor = crate::made!(watm_acceptor_new(Some(&module), None));
    let file = std::fs::File::open("/dev/null").expect("a device");
    let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut conn = std::ptr::null_mut();
    let mut carried = std::ptr::null_mut();
    let fd = file.as_raw_fd();
    let outcome = call!(watm_acceptor_accept(Some(&acceptor), fd, Some(&mut conn)));
    fails(outcome, watm_status::Argument, "argument");
    let socket = one.as_raw_fd();
    for plain in [fd, socket, -1] {
        let outcome = call!(watm_acceptor_carry(
            Some(&acceptor),
            socket,
            plain,
            Some(&mut carried)
        ));
        fails(outcome, watm_status::Argument, "argument");
    }
    // Both are still open.
    file.metadata().expect("it is open");
    one.peer_addr().expect("it is open");
}
