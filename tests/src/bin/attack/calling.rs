//! Guests that call the host, or compute, during set-up: with the most work per call, or
//! repeatedly. Guests that never end are interrupted after two seconds.

use crate::case::{Case, Expected, Limits, Run};
use crate::guest::{Guest, buffers, call_with, filled, for_ever, import};

/// Pages of memory of a guest that passes much of it to the host: 125 MiB.
const PAGES: u32 = 2000;
const ALL: u32 = (PAGES - 1) * 65536;
/// 1,024 buffers of 4 MiB at the same address.
const COUNT: u32 = 1024;
const LENGTH: u32 = (4 << 20) - 1;

pub(crate) fn cases() -> Vec<Case> {
    [
        calls(),
        writes(),
        vec![files()],
        paths(),
        computing(),
        ends(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A case whose guest is run by `watm dial-fixed`. It may take twice its time limit, and
/// its whole memory.
fn case(name: &str, guest: Guest) -> Case {
    with_args(name, guest, "")
}

fn with_args(name: &str, guest: Guest, args: &str) -> Case {
    let command = "dial-fixed --module FILE --allow-all --spare-instances 0 --no-cache \
        --setup-timeout 2s --close-grace 1s --dir GIVEN:/data:rw";
    Case {
        name: format!("calling: {name}"),
        extension: "wat",
        input: Box::new(move || guest.text().into_bytes()),
        runs: vec![Run::command(
            "",
            &format!("{command} {args}"),
            Expected::Refused,
            // A guest has at most 256 MiB of memory.
            |_| Limits::calling(256 + 64, 5),
        )],
    }
}

/// A guest that runs `init` while it is initialised.
fn at_init(imports: &[&str], init: String) -> Guest {
    Guest {
        imports: imports.iter().map(|name| import(name)).collect(),
        pages: PAGES,
        init,
        ..Guest::default()
    }
}

/// An array of 1,024 buffers, all over the same 4 MiB.
fn array() -> String {
    buffers(1024, COUNT, 65536, LENGTH)
}

/// The largest calls of single functions, repeated for ever.
fn calls() -> Vec<Case> {
    vec![
        case(
            "random numbers in all of memory, for ever",
            at_init(
                &["random_get"],
                for_ever(&format!(
                    "(drop (call $random_get (i32.const 65536) (i32.const {ALL})))"
                )),
            ),
        ),
        case(
            "polls of 1 to 2 million subscriptions, for ever",
            at_init(
                &["poll_oneoff"],
                for_ever(
                    "(local.set $i (i32.const 1))
                    (loop $more
                      (drop (call $poll_oneoff (i32.const 65536) (i32.const 65536) (local.get $i)
                        (i32.const 8)))
                      (local.set $i (i32.shl (local.get $i) (i32.const 1)))
                      (br_if $more (i32.lt_u (local.get $i) (i32.const 2000000))))",
                ),
            ),
        ),
        case(
            "addresses to dial in 1,024 buffers of 4 MiB, for ever",
            at_init(
                &["water_dial"],
                format!(
                    "{} {} {}",
                    filled(PAGES, b'\n'),
                    array(),
                    for_ever(&format!(
                        "(drop (call $water_dial (i32.const 1024) (i32.const {COUNT})
                            (i32.const 1024) (i32.const {COUNT})))"
                    ))
                ),
            ),
        ),
        case(
            "lists of a directory of 2,000 files, for ever",
            at_init(
                &["fd_readdir"],
                for_ever(&each_directory(&format!(
                    "(drop (call $fd_readdir (local.get $i) (i32.const 65536) (i32.const {ALL})
                        (i64.const 0) (i32.const 8)))"
                ))),
            ),
        ),
    ]
}

/// Large writes to the standard streams, which turn them into log lines.
fn writes() -> Vec<Case> {
    let array = array();
    let write = |fd: u32| {
        format!(
            "(drop (call $fd_write (i32.const {fd}) (i32.const 1024) (i32.const {COUNT}) (i32.const 8)))"
        )
    };
    let mut cases = Vec::new();
    for (fd, what) in [(1, "output"), (2, "error")] {
        for (value, bytes) in [(b'\n', "newlines"), (1, "control characters")] {
            let content = filled(PAGES, value);
            let once = at_init(&["fd_write"], format!("{content} {array} {}", write(fd)));
            let name = format!("4 GiB of {bytes} to standard {what} in one call");
            cases.push(with_args(&name, once, "-v"));
        }
        let lines = filled(PAGES, b'\n');
        let again = at_init(
            &["fd_write"],
            format!("{lines} {array} {}", for_ever(&write(fd))),
        );
        let name = format!("4 GiB of newlines to standard {what}, for ever");
        cases.push(case(&name, again));
        let short = at_init(
            &["fd_write"],
            format!(
                "(i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 3000))
                {} {}",
                filled(2, 1),
                for_ever(&format!(
                    "(drop (call $fd_write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)))"
                ))
            ),
        );
        let name = format!("3,000 control characters to standard {what}, for ever");
        cases.push(with_args(&name, short, "-v"));
    }
    cases
}

/// A guest that writes and reads 4 GiB of a file in one call each.
fn files() -> Case {
    let array = array();
    let arguments = format!("(i32.const 1024) (i32.const {COUNT})");
    let file = "(i32.load (i32.const 8))";
    let guest = at_init(
        &["path_open", "fd_write", "fd_pwrite", "fd_read", "fd_pread"],
        format!(
            "{array}
            {}
            (drop (call $fd_write {file} {arguments} (i32.const 16)))
            (drop (call $fd_pwrite {file} {arguments} (i64.const 0) (i32.const 16)))
            (drop (call $fd_pread {file} {arguments} (i64.const 0) (i32.const 16)))
            (drop (call $fd_read {file} {arguments} (i32.const 16)))",
            // Created, for reading and writing.
            each_directory(
                "(drop (call $path_open (local.get $i) (i32.const 0) (i32.const 32) (i32.const 5)
                    (i32.const 1) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 8)))"
            )
        ),
    );
    let guest = Guest {
        declares: "(data (i32.const 32) \"large\")".into(),
        ..guest
    };
    case("4 GiB of a file in each call", guest)
}

/// Runs `body` for each number that may be a directory's. The number is in `$i`.
fn each_directory(body: &str) -> String {
    format!(
        "(local.set $i (i32.const 3))
        (loop $directories
          {body}
          (br_if $directories (i32.lt_u
            (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))"
    )
}

/// Passes paths as long as memory, or as long as the system allows, to every function.
fn paths() -> Vec<Case> {
    let calls: [(&str, &str); 9] = [
        ("path_create_directory", "PATH"),
        ("path_filestat_get", "(i32.const 0) PATH (i32.const 8)"),
        (
            "path_filestat_set_times",
            "(i32.const 0) PATH (i64.const 0) (i64.const 0) (i32.const 0)",
        ),
        (
            "path_open",
            "(i32.const 0) PATH (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 8)",
        ),
        (
            "path_readlink",
            "PATH (i32.const 65536) (i32.const 1000000) (i32.const 8)",
        ),
        ("path_remove_directory", "PATH"),
        ("path_rename", "PATH (local.get $i) PATH"),
        ("path_unlink_file", "PATH"),
        ("path_link", "(i32.const 0) PATH (local.get $i) PATH"),
    ];
    let mut cases = Vec::new();
    for (length, value, what) in [
        (ALL, b'a', "125 MiB of letters"),
        (ALL, b'/', "125 MiB of slashes"),
        (4095, b'/', "4,095 slashes"),
        (4095, b'.', "4,095 dots"),
    ] {
        let path = format!("(i32.const 65536) (i32.const {length})");
        let all: String = calls
            .iter()
            .map(|(name, arguments)| {
                let arguments = arguments.replace("PATH", &path);
                format!("(drop (call ${name} (local.get $i) {arguments}))")
            })
            .collect();
        let names: Vec<_> = calls.iter().map(|(name, _)| *name).collect();
        let init = format!(
            "{} {}",
            filled(PAGES, value),
            for_ever(&each_directory(&all))
        );
        let name = format!("paths of {what} to every function, for ever");
        cases.push(case(&name, at_init(&names, init)));
    }
    cases
}

fn computing() -> Vec<Case> {
    let declares = |text: &str| Guest {
        declares: text.to_owned(),
        ..Guest::default()
    };
    let tables: String = (0..8).map(|n| format!("(table $t{n} 1 funcref)")).collect();
    let growing: String = (0..8)
        .map(|n| {
            format!(
                "(loop $l{n} (br_if $l{n} (i32.ne (i32.const -1)
                    (table.grow $t{n} (ref.null func) (i32.const 1000)))))"
            )
        })
        .collect();
    vec![
        case(
            "memory is grown to its end and filled",
            Guest {
                init: "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))
                    (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))"
                    .into(),
                ..Guest::default()
            },
        ),
        case(
            "eight tables are grown to their ends",
            Guest {
                init: growing,
                ..declares(&tables)
            },
        ),
        case(
            "all of memory is filled, for ever",
            at_init(&[], for_ever(&filled(PAGES, 1))),
        ),
        case("nothing is done, for ever", at_init(&[], for_ever(""))),
        case(
            "the processor is given up, for ever",
            at_init(&["sched_yield"], for_ever(&call_with("sched_yield", "sched_yield", 0))),
        ),
        case(
            "the arguments are asked for, for ever",
            at_init(
                &["args_get", "environ_get", "args_sizes_get"],
                for_ever(
                    &["args_get", "environ_get", "args_sizes_get"]
                        .map(|name| call_with(name, name, 1024))
                        .concat(),
                ),
            ),
        ),
    ]
}

/// A recursion, a trap and an exit, during initialisation and during the dial.
fn ends() -> Vec<Case> {
    let deep = "(func $deep (param i64 i64) (result i64)
        (i64.add (local.get 0) (call $deep (local.get 1) (local.get 0))))";
    let ways: [(&str, &str); 4] = [
        (
            "a recursion",
            "(drop (call $deep (i64.const 1) (i64.const 2)))",
        ),
        ("a trap", "unreachable"),
        ("an exit", "(call $proc_exit (i32.const 7))"),
        (
            "an exit that is no failure",
            "(call $proc_exit (i32.const 0))",
        ),
    ];
    let mut cases = Vec::new();
    for (what, code) in ways {
        let guest = |init: String, dial: String| Guest {
            imports: import("proc_exit"),
            declares: deep.into(),
            init,
            dial,
            ..Guest::default()
        };
        let dial = format!("{code} (i32.const -1)");
        cases.push(case(
            &format!("{what} where it is initialised"),
            guest(code.into(), "(i32.const -1)".into()),
        ));
        cases.push(case(
            &format!("{what} where it dials"),
            guest(String::new(), dial),
        ));
    }
    cases
}
