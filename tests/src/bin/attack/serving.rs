//! Guests that call the host, or compute, while they carry a connection. They must be gone soon
//! after their peers.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Limits, Run};
use crate::child::Output;
use crate::guest::{Guest, buffers, filled, for_ever, import};
use crate::report::Report;
use crate::scene::Scene;
use crate::service::{GONE, MADE_ONCE, Service};

/// Pages of memory of a guest that passes its memory on: 63 MiB.
const PAGES: u32 = 1000;
/// 1,024 buffers of 4 MiB at the same address.
const COUNT: u32 = 1024;
const LENGTH: u32 = (4 << 20) - 1;
/// Maximum number of descriptors of a guest, and number of the command's own sockets, which listen,
/// accept and wake.
const DESCRIPTORS: usize = 64;
const OWN_SOCKETS: usize = 8;

pub(crate) fn cases() -> Vec<Case> {
    [streams(), connections(), descriptors(), ends()]
        .into_iter()
        .flatten()
        .collect()
}

/// Limits for a service whose guests have 63 MiB of memory, which counts.
fn limits() -> Limits {
    Limits::calling(63 + 48, 12)
}

fn case(name: &str, guest: Guest, runs: Vec<Run>) -> Case {
    Case {
        name: format!("serving: {name}"),
        extension: "wat",
        input: Box::new(move || guest.text().into_bytes()),
        runs,
    }
}

/// A guest that runs `start` once it carries a connection.
fn at_start(imports: &[&str], start: String) -> Guest {
    Guest {
        imports: imports.iter().map(|name| import(name)).collect(),
        pages: PAGES,
        start,
        ..Guest::default()
    }
}

/// A peer connects, does something and resets, and so does the server behind. Checks that the guest
/// is gone in time.
fn gone_after(
    name: &'static str,
    args: &'static [&'static str],
    output: Output,
    does: fn(&TcpStream) -> Result<(), String>,
) -> Run {
    Run::service(name, move |scene, file| {
        let service = Service::listen(scene, file, args, output)?;
        let result = visit(&service, does);
        service.report(scene, &limits(), result)
    })
}

fn visit(service: &Service, does: fn(&TcpStream) -> Result<(), String>) -> Result<(), String> {
    let before = service.uses();
    desert(service, does)?;
    service.expect_gone(GONE)?;
    service.expect_back(before, MADE_ONCE)
}

/// A peer connects, does something and resets, and so does the server behind.
fn desert(service: &Service, does: fn(&TcpStream) -> Result<(), String>) -> Result<(), String> {
    let peer = service.connect()?;
    service.expect_worker()?;
    does(&peer)?;
    watm_tests::reset(peer);
    service.reset_target();
    Ok(())
}

/// The same for a guest that fills the standard error that the command logs to. Its thread may wait
/// there to log how it ended, but must have closed its connections.
fn closed_after(
    name: &'static str,
    args: &'static [&'static str],
    output: Output,
    does: fn(&TcpStream) -> Result<(), String>,
) -> Run {
    Run::service(name, move |scene, file| {
        let service = Service::listen(scene, file, args, output)?;
        let before = service.sockets();
        let result = desert(&service, does).and_then(|()| service.expect_closed(before, GONE));
        service.report(scene, &limits(), result)
    })
}

/// Waits a moment, in which the guest does its work.
fn stays(_: &TcpStream) -> Result<(), String> {
    thread::sleep(Duration::from_millis(300));
    Ok(())
}

/// Sends as much as possible for two seconds.
fn floods(mut peer: &TcpStream) -> Result<(), String> {
    let message = vec![b'\n'; 1 << 16];
    let until = Instant::now() + Duration::from_secs(2);
    peer.set_write_timeout(Some(Duration::from_millis(100)))
        .map_err(crate::case::told)?;
    while Instant::now() < until {
        // A guest that reads nothing makes it wait, which is not a failure.
        let _ = peer.write(&message);
    }
    Ok(())
}

fn streams() -> Vec<Case> {
    let mut cases = Vec::new();
    for (fd, what) in [(1, "output"), (2, "error")] {
        let write = format!(
            "{} {} (drop (call $fd_write (i32.const {fd}) (i32.const 1024) (i32.const {COUNT}) (i32.const 8)))",
            filled(PAGES, b'\n'),
            buffers(1024, COUNT, 65536, LENGTH)
        );
        let unread = if fd == 2 { closed_after } else { gone_after };
        cases.push(case(
            &format!("4 GiB of newlines to standard {what} in one call"),
            at_start(&["fd_write"], write),
            vec![
                gone_after("logged", &[], Output::Read, stays),
                gone_after("logged with -v", &["-v"], Output::Read, stays),
                gone_after("inherited", &["--inherit-stdio"], Output::Read, stays),
                unread(
                    "inherited, unread",
                    &["--inherit-stdio"],
                    Output::Unread,
                    stays,
                ),
                gone_after(
                    "inherited, closed",
                    &["--inherit-stdio"],
                    Output::Closed,
                    stays,
                ),
            ],
        ));
    }
    let short = format!(
        "(i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 100)) {} {}",
        filled(2, b'\n'),
        for_ever("(drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))")
    );
    cases.push(case(
        "a hundred newlines to standard error, for ever",
        at_start(&["fd_write"], short),
        vec![
            gone_after("logged with -v", &["-v"], Output::Read, stays),
            gone_after("unread", &["-v"], Output::Unread, stays),
        ],
    ));
    cases
}

fn connections() -> Vec<Case> {
    let array = buffers(1024, COUNT, 65536, LENGTH);
    let arguments = format!("(i32.const 1024) (i32.const {COUNT})");
    let once = |name: &str, imports: &[&str], start: String, does| {
        let runs = vec![gone_after("", &[], Output::Read, does)];
        case(name, at_start(imports, format!("{array} {start}")), runs)
    };
    vec![
        once(
            "random numbers in all of memory, for ever",
            &["random_get"],
            for_ever(&format!(
                "(drop (call $random_get (i32.const 65536) (i32.const {})))",
                (PAGES - 1) * 65536
            )),
            stays,
        ),
        once(
            "4 GiB are wanted from a peer that floods",
            &["sock_recv"],
            // All requested bytes: WAITALL.
            format!(
                "(drop (call $sock_recv (global.get $net) {arguments} (i32.const 2) (i32.const 8) (i32.const 12)))"
            ),
            floods,
        ),
        once(
            "4 GiB are looked at again and again of a peer that floods",
            &["sock_recv"],
            for_ever(&format!(
                "(drop (call $sock_recv (global.get $net) {arguments} (i32.const 1) (i32.const 8) (i32.const 12)))"
            )),
            floods,
        ),
        once(
            "4 GiB for a peer that reads nothing, in one call",
            &["fd_write"],
            format!("(drop (call $fd_write (global.get $net) {arguments} (i32.const 8)))"),
            stays,
        ),
        once(
            "4 GiB for a peer that reads nothing, for ever",
            &["sock_send"],
            for_ever(&format!(
                "(drop (call $sock_send (global.get $net) {arguments} (i32.const 0) (i32.const 8)))"
            )),
            floods,
        ),
        once(
            "4 GiB for the application, in one call",
            &["fd_write"],
            format!("(drop (call $fd_write (global.get $internal) {arguments} (i32.const 8)))"),
            stays,
        ),
        once("nothing is done, for ever", &[], for_ever(""), floods),
        once(
            "memory is filled, for ever",
            &[],
            for_ever(&filled(PAGES, 1)),
            stays,
        ),
    ]
}

/// Guests that put sockets in the place of files and other descriptors.
fn descriptors() -> Vec<Case> {
    // A number at which a file is opened, in the first directory.
    let file = "(local.set $i (i32.const 3))
        (loop $directories
          (if (i32.eqz (call $path_open (local.get $i) (i32.const 0) (i32.const 32) (i32.const 5)
              (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8)))
            (then nop)
            (else (br_if $directories (i32.lt_u
              (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))))";
    let over = |to: &str| format!("(drop (call $fd_renumber (call $dial_fixed) {to}))");
    let rounds = |body: &str| {
        format!(
            "(loop $rounds {body}
              (br_if $rounds (i32.lt_u
                (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 700))))
            (i64.store (i32.const 90024) (i64.const 1500000000))
            (drop (call $poll_oneoff (i32.const 90000) (i32.const 131072) (i32.const 1) (i32.const 8)))"
        )
    };
    let ways = [
        ("sockets over files", format!("{file} {}", over("(i32.load (i32.const 8))"))),
        // Each is closed by the next. At most as many are open as fit into the accept queue.
        (
            "sockets over standard streams",
            format!("(if (i32.lt_u (local.get $round) (i32.const 100)) (then {}))",
                over("(i32.rem_u (local.get $round) (i32.const 3))")),
        ),
        ("sockets over directories", over("(i32.add (i32.const 3) (i32.rem_u (local.get $round) (i32.const 5)))")),
        ("sockets over every number", over("(local.get $round)")),
        ("sockets over sockets", over("(call $dial_fixed)")),
        (
            "files over sockets, and sockets over these",
            format!("{file} (drop (call $fd_renumber (i32.load (i32.const 8)) (call $dial_fixed))) {file} {}",
                over("(i32.load (i32.const 8))")),
        ),
        (
            "all over each other",
            format!(
                "{file} (drop (call $dial_fixed))
                (drop (call $fd_renumber (i32.add (i32.const 3) (i32.rem_u (local.get $round) (i32.const 64)))
                  (i32.rem_u (i32.mul (local.get $round) (i32.const 7)) (i32.const 70))))"
            ),
        ),
    ];
    ways.into_iter()
        .map(|(name, body)| {
            let guest = Guest {
                declares: "(data (i32.const 32) \"file0\")
                    (func $shuffle (local $i i32) (local $round i32) BODY)"
                    .replace("BODY", &rounds(&body)),
                ..at_start(
                    &["path_open", "fd_renumber", "poll_oneoff"],
                    "(call $shuffle)".into(),
                )
            };
            case(name, guest, vec![Run::service("", shuffle)])
        })
        .collect()
}

/// Watches how many sockets a guest gets.
fn shuffle(scene: &Scene, file: &Path) -> Result<Report, String> {
    let service = Service::relay(scene, file, &["--dir", "GIVEN:/data"])?;
    let before = service.uses();
    let mut most = 0;
    let mut watch = || {
        let peer = service.connect()?;
        service.expect_worker()?;
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            most = service.sockets().max(most);
            thread::sleep(Duration::from_millis(5));
        }
        drop(peer);
        service.expect_gone(GONE)?;
        service.expect_back(before, MADE_ONCE)
    };
    let result = watch();
    let mut report = service.report(scene, &limits(), result)?;
    report.outcome = format!("served, {most} sockets");
    if most > DESCRIPTORS + OWN_SOCKETS {
        report.fault("more sockets than descriptors are allowed");
    }
    Ok(report)
}

/// Guests that fail, twenty at once. The service must continue.
fn ends() -> Vec<Case> {
    let deep = "(func $deep (param i64 i64) (result i64)
        (i64.add (local.get 0) (call $deep (local.get 1) (local.get 0))))";
    let ways = [
        (
            "a recursion in each of twenty",
            "(drop (call $deep (i64.const 1) (i64.const 2)))",
        ),
        ("a trap in each of twenty", "unreachable"),
        (
            "an exit in each of twenty",
            "(call $proc_exit (i32.const 3))",
        ),
        (
            "memory grown to its limit by each of twenty",
            "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))",
        ),
    ];
    ways.into_iter()
        .map(|(name, start)| {
            let guest = Guest {
                declares: deep.into(),
                pages: 1,
                ..at_start(&["proc_exit"], start.into())
            };
            case(name, guest, vec![Run::service("", fail_twenty)])
        })
        .collect()
}

fn fail_twenty(scene: &Scene, file: &Path) -> Result<Report, String> {
    let service = Service::listen(scene, file, &[], Output::Read)?;
    let before = service.uses();
    let fail = || {
        // A guest that fails at once has its peer reset, perhaps before the peer knows of its
        // connection.
        let is_reset = |error: &String| error.contains("reset by peer");
        let peers = (0..20)
            .map(|_| service.connect())
            .filter(|peer| !peer.as_ref().is_err_and(is_reset))
            .collect::<Result<Vec<_>, _>>()?;
        thread::sleep(Duration::from_millis(300));
        drop(peers);
        service.reset_target();
        service.expect_gone(GONE)?;
        service.expect_back(before, MADE_ONCE)
    };
    let result = fail();
    service.report(scene, &limits(), result)
}
