use super::*;

fn entry(text: &str) -> AddressEntry {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn check(policy: &AddressPolicy, host: &str, address: &str, expected: bool) {
    let address = address.parse().expect("an address");
    assert_eq!(
        policy.permits(host, address),
        expected,
        "{host} at {address}"
    );
}

#[test]
fn nothing_is_permitted_by_default() {
    check(
        &AddressPolicy::default(),
        "127.0.0.1",
        "127.0.0.1:80",
        false,
    );
    check(
        &AddressPolicy::allow_all(),
        "127.0.0.1",
        "127.0.0.1:80",
        true,
    );
}

#[test]
fn entries_match_by_host_address_block_and_port() {
    let policy = AddressPolicy::deny_all()
        .allow(entry("example.com:443"))
        .allow(entry("*.example.org"))
        .allow(entry("10.0.0.0/8:22"))
        .allow(entry("tcp6://[2001:db8::/32]:443"));
    check(&policy, "Example.COM.", "192.0.2.1:443", true);
    check(&policy, "example.com", "192.0.2.1:80", false);
    check(&policy, "a.example.org", "192.0.2.1:1", true);
    check(&policy, "example.org", "192.0.2.1:1", false);
    check(&policy, "badexample.org", "192.0.2.1:1", false);
    check(&policy, "10.9.9.9", "10.9.9.9:22", true);
    check(&policy, "10.9.9.9", "[::ffff:10.9.9.9]:22", true);
    check(&policy, "x", "[2001:db8::1]:443", true);
    check(&policy, "x", "[2001:db9::1]:443", false);
}

#[test]
fn a_denied_address_stays_denied_under_any_name_or_form() {
    let policy = AddressPolicy::allow_all()
        .deny(entry("127.0.0.0/8"))
        .deny(entry("::1"));
    check(&policy, "innocent.example", "127.0.0.1:80", false);
    check(&policy, "2130706433", "127.0.0.1:80", false);
    check(&policy, "mapped", "[::ffff:127.0.0.1]:80", false);
    check(&policy, "localhost", "[::1]:80", false);
    check(&policy, "0.0.0.0", "0.0.0.0:80", false);
    check(&policy, "any", "[::]:80", false);
    check(&policy, "any", "[::ffff:0.0.0.0]:80", false);
    check(&policy, "innocent.example", "192.0.2.1:80", true);
}

#[test]
fn names_that_no_entry_could_allow_are_known_before_they_are_resolved() {
    let policy = AddressPolicy::deny_all().allow(entry("*.example.com:443"));
    assert!(policy.could_permit(Network::Tcp, "a.example.com", 443));
    assert!(!policy.could_permit(Network::Tcp, "a.example.com", 80));
    assert!(!policy.could_permit(Network::Tcp, "secret.elsewhere.example", 443));
    let policy = AddressPolicy::deny_all().allow(entry("tcp4://10.0.0.0/8"));
    assert!(policy.could_permit(Network::Tcp, "10.0.0.1", 1));
    assert!(!policy.could_permit(Network::Tcp, "11.0.0.1", 1));
    // A lookup would send the name out.
    assert!(!policy.could_permit(Network::Tcp, "key-0123.a.name", 1));
    let policy = AddressPolicy::deny_all().allow(entry("tcp4://*"));
    assert!(policy.could_permit(Network::Tcp, "a.name", 1));
    assert!(!policy.could_permit(Network::Tcp6, "a.name", 1));
    assert!(!AddressPolicy::deny_all().could_permit(Network::Tcp, "a.name", 1));
    let policy = AddressPolicy::allow_all()
        .deny(entry("*.secret.example"))
        .deny(entry("other.example:80"));
    assert!(!policy.could_permit(Network::Tcp, "a.secret.example", 1));
    assert!(!policy.could_permit(Network::Tcp, "other.example", 80));
    assert!(policy.could_permit(Network::Tcp, "other.example", 81));
}

/// Checks each address with a policy that allows everything but `entry`.
#[track_caller]
fn check_denied(entry_text: &str, addresses: &[&str]) {
    let policy = AddressPolicy::allow_all()
        .nat64_prefix("2001:db8:64::/48".parse().expect("a prefix"))
        .deny(entry(entry_text));
    for address in addresses {
        check(&policy, "a.name", address, false);
    }
    check(&policy, "a.name", "192.0.2.1:80", true);
    check(&policy, "a.name", "[::ffff:192.0.2.1]:80", true);
    check(&policy, "a.name", "[64:ff9b::192.0.2.1]:80", true);
    check(&policy, "a.name", "[2001:db8::1]:80", true);
}

#[test]
fn an_entry_denies_what_is_written_and_what_it_leads_to() {
    check_denied(
        "0.0.0.0/8",
        &[
            "0.0.0.0:80",
            "0.0.0.1:80",
            "[::ffff:0.0.0.0]:80",
            "[64:ff9b::]:80",
        ],
    );
    check_denied("0.0.0.0", &["0.0.0.0:80", "[::ffff:0.0.0.0]:80"]);
    check_denied("::/128", &["[::]:80"]);
    check_denied("::", &["[::]:80"]);
    check_denied("::1", &["[::1]:80", "[::]:80"]);
    let loopback = [
        "127.0.0.1:80",
        "0.0.0.0:80",
        "[::ffff:127.0.0.1]:80",
        "[::ffff:0.0.0.0]:80",
        "[64:ff9b::127.0.0.1]:80",
        "[64:ff9b::0.0.0.0]:80",
        "[2001:db8:64:7f00:0:100::]:80",
        "[2001:db8:64:7f00:ff00:1ff:ffff:ffff]:80",
        "[2001:db8:64::]:80",
        "[2002:7f00:1::1]:80",
        "[2002::1]:80",
        "[2001:0:7f00:1:8000:63bf:3fff:fdd2]:80",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]:80",
        "[2001:0:4136:e378:8000:63bf:ffff:ffff]:80",
    ];
    for text in [
        "127.0.0.0/8",
        "127.0.0.1",
        "::ffff:127.0.0.0/104",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1/128",
        "[::ffff:127.0.0.0/104]:80",
    ] {
        check_denied(text, &loopback);
    }
    // Matched as written, wherever it leads.
    for (text, address) in [
        ("64:ff9b::/97", "[64:ff9b::127.0.0.1]:80"),
        ("2001:db8:64::/48", "[2001:db8:64:a00:1::]:80"),
        ("2002::/16", "[2002:a00:1::1]:80"),
        ("2001::/32", "[2001:0:a00:1::1]:80"),
    ] {
        check_denied(text, &[address]);
    }
    let all = AddressPolicy::allow_all().deny(entry("::ffff:0:0/96"));
    for address in loopback.iter().filter(|address| !address.contains("db8")) {
        check(&all, "a.name", address, false);
    }
    check(&all, "a.name", "[::1]:80", true);
    check(&all, "a.name", "[2001:db8::1]:80", true);
}

#[test]
fn an_entry_allows_only_what_it_leads_to() {
    let policy = |text| {
        AddressPolicy::deny_all()
            .allow(entry(text))
            .nat64_prefix("2001:db8:64::/96".parse().expect("a prefix"))
    };
    let everything = policy("::/0");
    check(&everything, "a.name", "[2001:db8::1]:80", true);
    check(&everything, "a.name", "[::1]:80", true);
    check(&everything, "a.name", "[::]:80", true);
    check(&everything, "a.name", "[64:ff9b:1::127.0.0.1]:80", true);
    for form in [
        "[::ffff:127.0.0.1]:80",
        "[64:ff9b::127.0.0.1]:80",
        "[2001:db8:64::127.0.0.1]:80",
        "[2002:7f00:1::1]:80",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]:80",
    ] {
        check(&everything, "a.name", form, false);
        check(&policy("2000::/3"), "a.name", form, false);
        check(&policy("126.0.0.0/8"), "a.name", form, false);
        check(&policy("0.0.0.0/0"), "a.name", form, true);
        check(&policy("*"), "a.name", form, true);
        check(&AddressPolicy::allow_all(), "a.name", form, true);
    }
    for form in [
        "[::ffff:10.0.0.1]:80",
        "[64:ff9b::10.0.0.1]:80",
        "[2001:db8:64::10.0.0.1]:80",
        "[2002:a00:1::1]:80",
        "[2001:0:a00:1:8000:63bf:f5ff:fffe]:80",
    ] {
        check(&policy("10.0.0.0/8"), "a.name", form, true);
        check(&policy("::ffff:10.0.0.0/104"), "a.name", form, true);
    }
    // Only the server is in the block, or only the client.
    for form in [
        "[2001:0:a00:1:8000:63bf:3fff:fdd2]:80",
        "[2001:0:4136:e378:8000:63bf:f5ff:fffe]:80",
    ] {
        check(&policy("10.0.0.0/8"), "a.name", form, false);
    }
    // Blocks that are only useful for the addresses that they carry.
    for (text, form, other) in [
        (
            "64:ff9b::/96",
            "[64:ff9b::10.0.0.1]:80",
            "[2002:a00:1::1]:80",
        ),
        (
            "2001:db8:64::/96",
            "[2001:db8:64::10.0.0.1]:80",
            "10.0.0.1:80",
        ),
        ("2002:a00::/24", "[2002:a00:1::1]:80", "[2002:b00:1::1]:80"),
        ("2001::/32", "[2001:0:a00:1::1]:80", "[2001:1:a00:1::1]:80"),
    ] {
        check(&policy(text), "a.name", form, true);
        check(&policy(text), "a.name", other, false);
    }
    // Without the prefix it is an ordinary block.
    let unset = AddressPolicy::deny_all().allow(entry("2001:db8::/32"));
    let form = "[2001:db8:64::10.0.0.1]:80";
    check(&unset, "a.name", form, true);
    check(&policy("2001:db8::/32"), "a.name", form, false);
}

#[test]
fn an_unspecified_address_is_allowed_as_the_loopback_address_or_by_itself() {
    let policy = |text| AddressPolicy::deny_all().allow(entry(text));
    check(&policy("127.0.0.1"), "any", "0.0.0.0:80", true);
    check(&policy("127.0.0.1"), "any", "[::]:80", false);
    check(&policy("::1"), "any", "[::]:80", true);
    check(&policy("::1"), "any", "0.0.0.0:80", false);
    check(&policy("0.0.0.0/8"), "any", "0.0.0.0:80", false);
    check(&policy("0.0.0.0/8"), "any", "0.0.0.1:80", true);
    check(&policy("0.0.0.0"), "any", "0.0.0.0:80", true);
    check(&policy("0.0.0.0"), "any", "[::ffff:0.0.0.0]:80", true);
    check(&policy("0.0.0.0"), "any", "127.0.0.1:80", false);
    check(&policy("::"), "any", "[::]:80", true);
    check(&policy("::"), "any", "[::1]:80", false);
}

#[test]
fn a_network_that_denies_matches_a_mapped_address_in_both_forms() {
    for (text, v4, mapped, v6) in [
        ("tcp4://*", false, false, true),
        ("tcp6://*", true, false, false),
        ("tcp://*", false, false, false),
    ] {
        let policy = AddressPolicy::allow_all().deny(entry(text));
        check(&policy, "a.name", "10.0.0.1:80", v4);
        check(&policy, "a.name", "[::ffff:10.0.0.1]:80", mapped);
        check(&policy, "a.name", "[2001:db8::1]:80", v6);
    }
    for (text, v4, mapped, v6) in [
        ("tcp4://*", true, true, false),
        ("tcp6://*", false, false, true),
        ("tcp4://10.0.0.0/8", true, true, false),
        ("tcp4://[::ffff:10.0.0.0/104]", true, true, false),
    ] {
        let policy = AddressPolicy::deny_all().allow(entry(text));
        check(&policy, "a.name", "10.0.0.1:80", v4);
        check(&policy, "a.name", "[::ffff:10.0.0.1]:80", mapped);
        check(&policy, "a.name", "[2001:db8::1]:80", v6);
    }
}

#[test]
fn prefixes_hold_for_entries_that_were_added_before_and_after() {
    let prefix = "2001:db8:64::/96".parse().expect("a prefix");
    let before = AddressPolicy::allow_all()
        .nat64_prefix(prefix)
        .deny(entry("10.0.0.0/8"));
    let after = AddressPolicy::allow_all()
        .deny(entry("10.0.0.0/8"))
        .nat64_prefix(prefix);
    for policy in [before, after] {
        check(&policy, "a.name", "[2001:db8:64::10.0.0.1]:80", false);
        check(&policy, "a.name", "[2001:db8:64::11.0.0.1]:80", true);
    }
}

#[test]
fn what_is_said_of_an_address_before_and_after_it_is_resolved_is_the_same() {
    let policies = [
        AddressPolicy::allow_all().deny(entry("127.0.0.0/8")),
        AddressPolicy::allow_all().deny(entry("*:80")),
        AddressPolicy::allow_all().deny(entry("tcp6://*")),
        AddressPolicy::deny_all().allow(entry("127.0.0.0/8:80")),
        AddressPolicy::deny_all().allow(entry("::/0")),
        AddressPolicy::deny_all().allow(entry("fe80::/10")),
        AddressPolicy::deny_all().allow(entry("*.lan")),
    ];
    let mut permitted = 0;
    for policy in &policies {
        for (host, ip) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("::", "::"),
            ("::1%lo", "::1"),
            ("fe80::1%a.lan", "fe80::1"),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
            ("64:ff9b::127.0.0.1", "64:ff9b::127.0.0.1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            for port in [80, 443] {
                let address = SocketAddr::new(ip.parse().expect("an address"), port);
                let expected = policy.permits(host, address);
                let said = policy.could_permit(Network::Tcp, host, port);
                assert_eq!(said, expected, "{policy:?} for {host} at {port}");
                permitted += u32::from(expected);
            }
        }
    }
    assert_eq!(permitted, 8 + 8 + 4 + 4 + 8 + 2);
}

#[test]
fn a_zone_is_no_part_of_a_name() {
    let policy = AddressPolicy::deny_all().allow(entry("*.lan"));
    check(&policy, "a.lan", "192.0.2.1:80", true);
    check(&policy, "fe80::1%a.lan", "[fe80::1]:80", false);
    check(&policy, "fe80::1%a.lan", "[fe80::1%2]:80", false);
    let policy = AddressPolicy::deny_all().allow(entry("fe80::/10"));
    check(&policy, "fe80::1%a.lan", "[fe80::1%2]:80", true);
    check(
        &policy.deny(entry("fe80::1")),
        "fe80::1%eth0",
        "[fe80::1%3]:80",
        false,
    );
}

#[test]
fn entries_that_make_no_sense_are_refused_with_a_reason() {
    for text in [
        "",
        "a b",
        "host:70000",
        "udp://x",
        "[::1",
        "10.0.0.0/40",
        "[::1]x",
        "*.",
        "http://*:x",
        "fe80::1%lo",
    ] {
        let error = text.parse::<AddressEntry>().expect_err(text);
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn entries_that_could_never_match_are_refused_with_what_to_write_instead() {
    let long_label = format!("{}.example", "a".repeat(64));
    let long_name = format!("{}aaaaaa", "abcdefg.".repeat(31));
    let long_below = format!("*.{}aaaa", "abcdefg.".repeat(31));
    let written_in_full = "in full, such as 127.0.0.1";
    for (text, reason) in [
        ("fe80::1%lo", "no zone"),
        ("[fe80::1%2]:80", "no zone"),
        ("127.1", written_in_full),
        ("127.1:80", written_in_full),
        ("2130706433", written_in_full),
        ("10.0.0", written_in_full),
        ("256.1.1.1", written_in_full),
        ("127.0.0.1.", written_in_full),
        ("0x7f000001", written_in_full),
        ("0X7F.0.0.0X1", written_in_full),
        ("0x", written_in_full),
        ("*.1", written_in_full),
        ("tcp4://0", written_in_full),
        ("127.1/8", "an address in full"),
        ("10/8", "an address in full"),
        (&long_label, "more than 63"),
        (&long_name, "more than 253"),
        (&long_below, "more than 253"),
        ("example.com:0", "leave it out"),
        ("[::1]:00", "leave it out"),
        ("*:+80", "from 1 to 65535"),
        ("*:", "from 1 to 65535"),
        ("*:65536", "from 1 to 65535"),
        ("tcp4://::1", "write tcp6://"),
        ("tcp4://[::/0]:80", "write tcp6://"),
        ("tcp4://[64:ff9b::/96]:80", "write tcp6://"),
        ("tcp6://10.0.0.0/8", "write tcp4://"),
        ("tcp6://[::ffff:10.0.0.1]:80", "write tcp4://"),
        ("tcp6://[::ffff:0:0/96]", "write tcp4://"),
    ] {
        let error = text.parse::<AddressEntry>().expect_err(text).to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn names_at_the_limits_are_names() {
    let label = "a".repeat(63);
    let name = format!("{}aaaaa", "abcdefg.".repeat(31));
    let below = format!("*.{}aaa", "abcdefg.".repeat(31));
    for text in [
        &label, &name, &below, "0x7g", "1.0x7f.a", "7f", "1.com", "a-1", "x.1a", "_a.b",
    ] {
        entry(text);
    }
    assert_eq!(entry(&format!("{name}.")), entry(&name));
    assert_eq!(entry("*:1"), entry("[*]:1"));
}

#[test]
fn errors_quote_little_and_nothing_that_moves_a_cursor() {
    let text = format!("\x1b[2J\n{}", "x".repeat(100_000));
    let error = text.parse::<AddressEntry>().expect_err("no entry");
    let message = error.to_string();
    assert!(message.starts_with("`\\u{1b}[2J\\nxxx"), "{message}");
    assert!(message.contains("x..` is not"), "{message}");
    assert_eq!(
        message.matches('x').count(),
        195 + "expected example example".matches('x').count()
    );
    let prefix = text.parse::<Nat64Prefix>().expect_err("no prefix");
    assert!(prefix.to_string().len() < 400, "{prefix}");
}
