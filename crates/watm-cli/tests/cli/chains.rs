//! Several modules in a chain.

use crate::peers::{Server, connect, round_trip};
use crate::process::{Watm, built, wat};

/// Files with keys for the guest `xor`.
fn keys() -> (tempfile::TempDir, [String; 2]) {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = ["above", "below"].map(|key| {
        let path = directory.path().join(key);
        std::fs::write(&path, key).expect("it is written");
        path.to_str().expect("a path").to_owned()
    });
    (directory, keys)
}

#[test]
fn two_modules_on_both_sides_carry_what_one_side_alone_does_not_understand() {
    let server = Server::echo();
    let (_directory, [above, below]) = keys();
    let (xor, plain) = (built("xor"), built("plain"));
    let chain = [
        "--module", &xor, "--config", &above, "--module", &xor, "--config", &below,
    ];
    let forward = ["--forward", &server.address, "--listen", "127.0.0.1:0"];
    let (mut exit, exit_address) = Watm::listening(&[&["listen"][..], &chain, &forward].concat());
    let remote = ["--remote", &exit_address, "--listen", "127.0.0.1:0"];
    let (mut entrance, address) = Watm::listening(&[&["dial"][..], &chain, &remote].concat());
    round_trip(&connect(&address), b"through four instances");

    // Both keys as one: the wire carries the bytes of both, and nothing else.
    let both = tempfile::NamedTempFile::new().expect("a file");
    let mixed: Vec<u8> = b"above".iter().zip(b"below").map(|(a, b)| a ^ b).collect();
    std::fs::write(both.path(), &mixed).expect("it is written");
    let both = both.path().to_str().expect("a path");
    let one = [
        "--module", &plain, "--config", "", "--module", &xor, "--config", both,
    ];
    let (mut other, address) = Watm::listening(&[&["dial"][..], &one, &remote].concat());
    round_trip(&connect(&address), b"with a module that does nothing above");

    for watm in [&mut entrance, &mut other, &mut exit] {
        watm.signal(libc::SIGTERM);
        watm.end().success();
    }
}

#[test]
fn all_modules_of_a_chain_are_read_again_on_both_sides() {
    let server = Server::echo();
    let (_directory, [above, below]) = keys();
    let xor = built("xor");
    let chain = [
        "--module", &xor, "--config", &above, "--module", &xor, "--config", &below, "-v",
    ];
    let forward = ["--forward", &server.address, "--listen", "127.0.0.1:0"];
    let (mut exit, exit_address) = Watm::listening(&[&["listen"][..], &chain, &forward].concat());
    let remote = ["--remote", &exit_address, "--listen", "127.0.0.1:0"];
    let (mut entrance, address) = Watm::listening(&[&["dial"][..], &chain, &remote].concat());
    let old = connect(&address);
    round_trip(&old, b"with the old keys");
    for (number, key) in [&above, &below].into_iter().enumerate() {
        std::fs::write(key, format!("another key {number}")).expect("it is written");
        for watm in [&mut exit, &mut entrance] {
            watm.signal(libc::SIGHUP);
            watm.await_log("SIGHUP: new connections use the module");
        }
        round_trip(&connect(&address), b"with a new key");
    }
    round_trip(&old, b"and the old one goes on");
    for watm in [&mut entrance, &mut exit] {
        watm.signal(libc::SIGTERM);
        watm.end();
    }
}

#[test]
fn what_does_not_fit_together_is_told_with_what_does() {
    let (_directory, [above, below]) = keys();
    let xor = built("xor");
    let hash = "00".repeat(32);
    let two = [
        "dial",
        "--remote",
        "127.0.0.1:1",
        "--module",
        &xor,
        "--module",
        &xor,
    ];
    let run = |more: &[&str]| Watm::run(&[&two[..], more].concat());
    run(&["--config", &above]).failure(&["1 configurations for 2 modules", "--config for each"]);
    run(&["--sha256", &hash]).failure(&["--sha256 is for one module"]);
    let one = ["dial", "--remote", "127.0.0.1:1", "--module", &xor];
    let run = |more: &[&str]| Watm::run(&[&one[..], more].concat());
    run(&["--config", &above, "--config", &below]).failure(&["2 configurations for 1 modules"]);
    let demo = Watm::run(&["demo", &xor, "--config", &above, "--config", &below]);
    demo.failure(&["--config is given twice"]);
}

#[test]
fn a_module_below_a_listener_need_not_be_able_to_dial() {
    let server = Server::echo();
    let text = std::fs::read_to_string(wat("plain")).expect("a module");
    let text = text.replace("watm_dial_v1", "no_dial");
    let directory = tempfile::tempdir().expect("a directory");
    let below = directory.path().join("below.wat");
    std::fs::write(&below, text.replace("watm_dial_fixed_v1", "no_dial_fixed"))
        .expect("it is written");
    let (plain, below) = (built("plain"), below.to_str().expect("a path").to_owned());
    let (mut exit, address) = Watm::listening(&[
        "listen",
        "--module",
        &plain,
        "--module",
        &below,
        "--forward",
        &server.address,
        "--listen",
        "127.0.0.1:0",
    ]);
    round_trip(&connect(&address), b"a plain client of two modules");
    exit.signal(libc::SIGTERM);
    exit.end().success();
}
