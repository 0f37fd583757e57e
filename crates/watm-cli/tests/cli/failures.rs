//! Failures before any byte moves: one message with a hint, and exit code 1.

use std::net::TcpListener;
use std::process::Stdio;

use crate::peers::free_address;
use crate::process::{Ended, Watm, built};

#[test]
fn a_module_that_is_not_there_is_named() {
    for args in [
        &["inspect", "no/such.wasm"][..],
        &[
            "dial",
            "--module",
            "no/such.wasm",
            "--remote",
            "127.0.0.1:1",
        ],
        &["demo", "no/such.wasm"],
    ] {
        Watm::run(args).failure(&["no/such.wasm", "No such file", "watm: hint: "]);
    }
}

#[test]
fn a_module_with_another_hash_is_not_loaded() {
    let (module, hash) = (built("plain"), "1".repeat(64));
    Watm::run(&[
        "listen",
        "--module",
        &module,
        "--listen",
        "127.0.0.1:0",
        "--sha256",
        &hash,
    ])
    .failure(&[&hash, "SHA-256", "--sha256"]);
}

#[test]
fn a_module_that_is_too_large_is_not_read() {
    let args = ["demo", &built("plain"), "--max-module-size", "1K"];
    Watm::run(&args).failure(&["limit of 1024", "--max-module-size"]);
}

#[test]
fn a_module_that_takes_too_long_to_compile_is_given_up() {
    let args = [
        "demo",
        &built("rust_plain"),
        "--no-cache",
        "--compile-timeout",
        "1ms",
    ];
    Watm::run(&args).failure(&["within 1ms", "--compile-timeout"]);
}

#[test]
fn a_missing_role_is_named_with_those_that_are_there() {
    let free = free_address();
    let (module, address) = (built("fixed"), &free.address);
    for args in [
        &["dial", "--module", &module, "--remote", address][..],
        &["listen", "--module", &module, "--listen", address],
        &[
            "relay", "--module", &module, "--listen", address, "--remote", address,
        ],
        &["demo", &module],
    ] {
        Watm::run(args).failure(&[
            "the module is not a ",
            "its roles: fixed dialer",
            "watm inspect",
        ]);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let args = ["demo", &built("xor"), "--config", "no/such.cfg"];
    Watm::run(&args).failure(&["no/such.cfg", "--config"]);
}

#[test]
fn a_module_that_wants_a_configuration_is_not_silent_about_it() {
    let args = ["demo", &built("xor"), "--size", "1K"];
    Watm::run(&args).failure(&["watm_init_v1", "invalid argument", "--config"]);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let args = ["demo", &built("plain"), "--dir", "/no/such/dir:/data"];
    Watm::run(&args).failure(&["/no/such/dir", "--dir"]);
}

#[test]
fn a_refused_connection_is_said_with_the_address() {
    let free = free_address();
    let (module, address) = (built("plain"), &free.address);
    Watm::run(&["dial", "--module", &module, "--remote", address]).failure(&[
        address,
        "refused",
        "watm: hint: ",
    ]);
}

/// Runs the command with 4 GB of address space. One connection reserves 8 GiB.
fn run_in_little_address_space(args: &[&str]) -> Ended {
    let limited = [
        "-c",
        "ulimit -v 4000000 && exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_watm"),
    ];
    let mut watm = Watm::start_as("sh", &[&limited[..], args].concat(), Stdio::null());
    watm.end()
}

#[test]
fn a_lack_of_address_space_is_told_from_a_limit_on_memory_that_is_too_low() {
    let free = free_address();
    let module = built("plain");
    let dial = ["dial", "--module", &module, "--remote", &free.address];
    let ended = run_in_little_address_space(&dial);
    ended.failure(&["8 GiB", "3906 MiB", "ulimit -v"]);
    assert!(!ended.stderr.contains("--memory-limit"), "{ended:?}");
    let ended = Watm::run(&[&dial[..], &["--memory-limit", "64K"]].concat());
    ended.failure(&["limit of 65536", "--memory-limit"]);
    assert!(!ended.stderr.contains("ulimit"), "{ended:?}");
}

#[test]
fn a_port_in_use_is_said_with_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("an address").to_string();
    let module = built("plain");
    for args in [
        &[
            "dial",
            "--module",
            &module,
            "--remote",
            "127.0.0.1:1",
            "--listen",
            &address,
        ][..],
        &[
            "listen",
            "--module",
            &module,
            "--listen",
            &address,
            "--forward",
            "127.0.0.1:1",
        ],
        &["listen", "--module", &module, "--listen", &address],
        &[
            "relay",
            "--module",
            &module,
            "--listen",
            &address,
            "--remote",
            "127.0.0.1:1",
        ],
    ] {
        let ended = Watm::run(args);
        ended.failure(&[&address, "cannot listen on", "another port"]);
        assert_eq!(ended.stdout, "", "it does not listen");
    }
}

#[test]
fn nobody_reads_the_listening_line() {
    let mut watm = std::process::Command::new(env!("CARGO_BIN_EXE_watm"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let module = built("plain");
    let output = watm
        .args(["listen", "--module", &module, "--listen", "127.0.0.1:0"])
        .stdout(writer)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
