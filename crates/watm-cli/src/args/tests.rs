use std::time::Duration;

use super::*;

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::parsed(line.split_whitespace().map(OsString::from))
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn the_defaults_are_those_of_the_help() {
    let args = parse("watm dial --module m --remote h:1").expect("a command line");
    let Command::Dial(args) = args.command else {
        panic!("{args:?}");
    };
    assert_eq!(args.run.load.max_module_size, 64 << 20);
    assert_eq!(args.run.load.compile_timeout, Duration::from_secs(60));
    assert_eq!(args.run.transport.memory_limit, 256 << 20);
    assert_eq!(args.run.transport.memory_headroom, 3 << 19);
    assert_eq!(args.run.transport.close_grace, Duration::from_secs(3));
    assert_eq!(args.run.transport.keepalive, Duration::from_secs(60));
    assert_eq!(args.run.transport.connect_timeout, Duration::from_secs(10));
    assert!(!args.run.transport.no_host_aead);
    assert_eq!(args.accept.max_connections, 4096);
}

#[test]
fn a_module_may_not_print_into_the_connection() {
    for line in [
        "watm dial --module m --remote h:1 --inherit-stdio",
        "watm dial-fixed --module m --allow-all --inherit-stdio",
        "watm listen --module m --listen h:1 --inherit-stdio",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("--inherit-stdio needs"),
            "{error}"
        );
    }
    for line in [
        "watm dial --module m --remote h:1 --inherit-stdio --listen h:2",
        "watm listen --module m --listen h:1 --inherit-stdio --forward h:2",
        "watm relay --module m --listen h:1 --inherit-stdio --remote h:2",
    ] {
        parse(line).expect(line);
    }
}

#[test]
fn a_relay_and_a_fixed_dialer_need_somewhere_to_go() {
    for line in [
        "watm relay --module m --listen h:1",
        "watm relay --module m --listen h:1 --deny h:2",
        "watm dial-fixed --module m",
        "watm dial-fixed --module m --deny h:2",
    ] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 2);
    }
    for line in [
        "watm relay --module m --listen h:1 --allow 10.0.0.0/8",
        "watm relay --module m --listen h:1 --allow-all",
        "watm dial-fixed --module m --allow a:1 --allow b:2",
    ] {
        parse(line).expect(line);
    }
}

#[test]
fn there_may_be_several_addresses_to_listen_on() {
    let line = "watm dial --module m --remote h:1 --listen :1 --listen [::1%lo]:2 --quiet";
    let Command::Dial(args) = parse(line).expect(line).command else {
        panic!("not dial");
    };
    let listen: Vec<_> = args.accept.listen.iter().map(|one| one.as_str()).collect();
    assert_eq!(listen, [":1", "[::1%lo]:2"]);
    for line in [
        "watm listen --module m --listen *:1 --listen h:2",
        "watm relay --module m --remote h:1 --listen :1 --listen h:2",
        "watm dial-fixed --module m --allow-all --listen :1 --listen h:2",
    ] {
        parse(line).expect(line);
    }
    for line in [
        "watm listen --module m",
        "watm relay --module m --remote h:1",
        "watm dial --module m --remote :1",
        "watm listen --module m --listen :1 --forward :2",
    ] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 2);
    }
}

#[test]
fn an_argument_of_the_module_may_begin_with_a_hyphen() {
    let line = "watm dial --module m --remote h:1 --arg --verbose --arg -x";
    let Command::Dial(args) = parse(line).expect(line).command else {
        panic!("not dial");
    };
    assert_eq!(args.run.transport.arg, ["--verbose", "-x"]);
}

/// A heading must not take in the options that follow.
#[test]
fn an_option_stands_under_the_heading_that_it_belongs_to() {
    let command = Args::command();
    for (name, options) in [
        ("dial", &["module", "remote", "listen", "keep_open"][..]),
        ("dial-fixed", &["module", "listen", "keep_open"]),
        (
            "listen",
            &[
                "module",
                "listen",
                "forward",
                "max_connections",
                "keep_open",
            ],
        ),
        ("relay", &["module", "listen", "remote", "max_connections"]),
        ("demo", &["size", "send"]),
        (
            "bench",
            &["json", "quick", "paired", "clients", "only", "plot"],
        ),
    ] {
        let command = command.find_subcommand(name).expect(name);
        for option in options {
            let mut arguments = command.get_arguments();
            let argument = arguments.find(|argument| argument.get_id() == option);
            let heading = argument.expect(option).get_help_heading();
            assert_eq!(heading, None, "{name} {option}");
        }
    }
}
