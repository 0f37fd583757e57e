//! `watm dial-fixed`: the module chooses, the policy decides.

use std::net::TcpListener;

use crate::peers::{Server, connect, round_trip};
use crate::process::{Watm, built};

/// A configuration file that makes the module dial `address`.
fn config(address: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("tcp {address}\n")).expect("written");
    file
}

#[test]
fn an_allowed_address_is_dialled_for_each_client() {
    let server = Server::echo();
    let config = config(&server.address);
    let (_watm, entrance) = Watm::listening(&[
        "dial-fixed",
        "--module",
        &built("fixed"),
        "--listen",
        "127.0.0.1:0",
        "--config",
        config.path().to_str().expect("UTF-8"),
        "--allow",
        &server.address,
    ]);
    for message in [&b"one"[..], b"two"] {
        round_trip(&connect(&entrance), message);
    }
}

#[test]
fn an_allowed_address_is_dialled_for_standard_input_and_output() {
    let server = Server::echo();
    let config = config(&server.address);
    let mut watm = Watm::start(&[
        "dial-fixed",
        "--module",
        &built("fixed"),
        "--config",
        config.path().to_str().expect("UTF-8"),
        "--allow-all",
    ]);
    watm.write(b"hello");
    assert_eq!(watm.stdout_bytes(5), b"hello");
    watm.close_stdin();
    watm.end().success();
}

#[test]
fn a_denied_address_is_not_dialled_and_the_error_says_how_to_allow_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    let config = config(&address);
    let config = config.path().to_str().expect("UTF-8");
    let module = built("fixed");
    for policy in [
        &["--allow", "10.0.0.0/8"][..],
        &["--allow-all", "--deny", "127.0.0.0/8"],
        &["--allow", &address, "--deny", "127.0.0.1"],
    ] {
        let mut args = vec!["dial-fixed", "--module", &module, "--config", config];
        args.extend(policy);
        let hint = format!("--allow {address}");
        Watm::run(&args).failure(&[&address, "policy", &hint]);
    }
    listener.set_nonblocking(true).expect("non-blocking");
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn a_denied_address_is_not_dialled_in_any_form_that_carries_it() {
    let module = built("fixed");
    for (address, extra) in [
        ("[64:ff9b::127.0.0.1]:1", &[][..]),
        ("[2002:7f00:1::]:1", &[]),
        (
            "[2001:db8:64:7f00:0:100::]:1",
            &[
                "--nat64-prefix",
                "2001:db8::/96",
                "--nat64-prefix",
                "2001:db8:64::/48",
            ],
        ),
    ] {
        let config = config(address);
        let config = config.path().to_str().expect("UTF-8");
        let mut args = vec!["dial-fixed", "--module", &module, "--config", config];
        args.extend(["--allow-all", "--deny", "127.0.0.0/8"]);
        args.extend(extra);
        Watm::run(&args).failure(&[address, "policy", "--allow"]);
    }
}

#[test]
fn an_address_that_is_no_entry_is_not_offered_as_one() {
    let module = built("fixed");
    let config = config("127.1:1");
    let config = config.path().to_str().expect("UTF-8");
    let args = ["dial-fixed", "--module", &module, "--config", config];
    let ended = Watm::run(&[&args[..], &["--allow", "10.0.0.0/8"]].concat());
    ended.failure(&["127.1:1", "policy"]);
    assert!(!ended.stderr.contains("--allow"), "{ended:?}");
}
