//! Command lines that make no sense are refused with exit code 2 before anything happens. Help and
//! version are not failures.

use crate::process::{Watm, built};

#[track_caller]
fn refused(line: &str, part: &str) {
    let args: Vec<&str> = line.split_whitespace().collect();
    let ended = Watm::run(&args);
    assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
    assert!(ended.stderr.contains(part), "{part:?} in {ended:?}");
    assert_eq!(ended.stdout, "");
}

#[test]
fn what_makes_no_sense_is_refused() {
    refused("", "Usage");
    refused("fly", "unrecognized subcommand");
    refused("inspect", "MODULE");
    refused("new", "NAME");
    refused("new 9p", "begins with a letter");
    refused("new a/b", "digits, `-` and `_`");
    refused("new match", "keyword of Rust");
    refused("new x --lang cobol", "possible values: rust, c, go");
    refused("build --no-cache --cache-dir c", "--cache-dir");
    refused("dial --module m", "--remote");
    refused("dial --module m --remote host", "port is missing");
    refused(
        "dial --module m --remote h:1 --no-such-option",
        "--no-such-option",
    );
    refused("listen --module m", "--listen");
    refused("dial --module m --remote h:1 --tunnel t", "--config-file");
    refused("config", "check");
    refused("relay --module m --listen h:1", "--remote");
    refused("dial-fixed --module m", "--allow");
    refused("dial-fixed --module m --allow 10.0.0.0/99", "CIDR");
    refused("dial-fixed --module m --allow 127.1", "in full");
    refused("relay --module m --listen h:1 --allow *:0", "port 0");
    refused(
        "relay --module m --listen h:1 --allow * --nat64-prefix 2001:db8::/95",
        "32, 40, 48, 56, 64 or 96",
    );
    refused("dial --module m --remote :80", "host is missing");
    refused("dial --module m --remote [fe80::1%]:80", "zone");
    refused("listen --module m --listen *", "port is missing");
    refused(
        "dial-fixed --module m --allow [fe80::1%eth0]:80",
        "an entry has no zone",
    );
    refused("inspect m --signature s", "--trusted-key");
    refused("verify", "FILE");
    refused(
        "verify a b --trusted-key k --signature s",
        "those of one file",
    );
    refused(
        "verify a --trusted-key k --trust-manifest",
        "--trust-manifest",
    );
    refused("demo m --size 1X", "K, M or G");
    refused("demo m --size 1M --send f", "--send");
    // The former name of the option, before modules could be given files.
    refused("demo m --file f", "HOST:GUEST");
    refused(
        "dial --module m --remote h:1 --connect-timeout 5",
        "unit is missing",
    );
    refused(
        "dial --module m --remote h:1 --connect-timeout 0s",
        "more than 0",
    );
    refused("dial --module m --remote h:1 --dir /a", "HOST:GUEST");
    refused("dial --module m --remote h:1 --dir /a:/b/..", "plain form");
    refused("dial --module m --remote h:1 --file /a", "HOST:GUEST");
    refused("dial --module m --remote h:1 --file /a:/", "plain form");
    refused("dial --module m --remote h:1 --env A", "NAME=VALUE");
    refused(
        "dial --module m --remote h:1 --descriptor-limit 2",
        "3..=480",
    );
    refused("dial --module m --remote h:1 --memory-limit 1K", "65536");
    refused(
        "dial --module m --remote h:1 --max-connections 9",
        "--listen",
    );
}

#[test]
fn a_hash_of_the_wrong_length_is_refused() {
    let module = built("plain");
    refused(
        &format!("inspect {module} --sha256 abcd"),
        "64 hexadecimal digits",
    );
    let digits = "x".repeat(64);
    refused(&format!("inspect {module} --sha256 {digits}"), "0 to 9");
}

#[test]
fn a_module_may_not_print_into_the_connection() {
    refused(
        "dial --module m --remote h:1 --inherit-stdio",
        "--inherit-stdio needs --listen",
    );
    refused(
        "listen --module m --listen h:1 --inherit-stdio",
        "--inherit-stdio needs --forward",
    );
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = Watm::run(&["--help"]);
    help.success();
    for part in ["inspect", "dial-fixed", "Examples:", "Exit codes"] {
        assert!(help.stdout.contains(part), "{part}");
    }
    for command in [
        "inspect",
        "dial",
        "dial-fixed",
        "listen",
        "relay",
        "demo",
        "config",
    ] {
        let help = Watm::run(&[command, "--help"]);
        help.success();
        assert!(help.stdout.contains("Examples:"), "{command}");
        assert!(
            help.stdout.contains(&format!("watm {command} ")),
            "{command}"
        );
    }
    let version = Watm::run(&["--version"]);
    version.success();
    assert_eq!(
        version.stdout,
        format!("watm {}\n", env!("CARGO_PKG_VERSION"))
    );
}
