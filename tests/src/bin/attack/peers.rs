//! Peers that come in thousands, say nothing, say too much, or leave at once. Afterwards threads
//! and descriptors must be back, and an honest client must be served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::case::{Case, Limits, Run, told};
use crate::child::Output;
use crate::report::Report;
use crate::scene::Scene;
use crate::service::Service;

/// Number of peers that come at once in large attacks.
const MANY: usize = 2000;
/// Limits for attacks by peers: the buffers of sixteen connections, or of 256 handshakes.
fn limits() -> Limits {
    Limits::calling(96, 10)
}

pub(crate) fn cases() -> Vec<Case> {
    let attacks: [(&str, Attack); 5] = [
        ("2,000 come at once and say nothing", silent),
        ("2,000 come one after the other and reset at once", resets),
        ("sixteen send 4 MiB each, read nothing and reset", floods),
        ("fifty send and get one byte at a time", crumbs),
        ("200 send a little and end halfway", halves),
    ];
    let mut cases: Vec<_> = attacks
        .into_iter()
        .map(|(name, attack)| Case {
            name: format!("peers: {name}"),
            extension: "wasm",
            input: Box::new(|| guest("plain")),
            runs: vec![
                Run::service("listen", move |scene, file| {
                    let service = Service::listen(scene, file, LIMITED, Output::Read)?;
                    under(scene, service, attack, (b"", b""))
                }),
                Run::service("relay", move |scene, file| {
                    let service = Service::relay(scene, file, LIMITED)?;
                    under(scene, service, attack, (b"", b""))
                }),
            ],
        })
        .collect();
    let handshakes: [(&str, Attack); 3] = [
        ("2,000 come at once and do not greet", silent),
        ("2,000 greet halfway and stay", halfway),
        ("200 greet wrongly", wrongly),
    ];
    cases.extend(handshakes.into_iter().map(|(name, attack)| Case {
        name: format!("peers: {name}"),
        extension: "wasm",
        input: Box::new(|| guest("handshake")),
        runs: vec![Run::service("listen", move |scene, file| {
            greeted(scene, file, attack)
        })],
    }));
    cases
}

const LIMITED: &[&str] = &["--max-connections", "16"];
const GREETING: &[u8] = b"WATM-HELLO-00001";
const ANSWER: &[u8] = b"WATM-REPLY-00001";

type Attack = fn(&Service) -> Result<(), String>;

fn guest(name: &str) -> Vec<u8> {
    std::fs::read(watm_tests::path_of(name)).expect("a guest that was built")
}

/// A service whose module expects a greeting.
fn greeted(scene: &Scene, file: &Path, attack: Attack) -> Result<Report, String> {
    let service = Service::listen(scene, file, LIMITED, Output::Read)?;
    under(scene, service, attack, (GREETING, ANSWER))
}

/// Attacks the service, and checks it afterwards.
fn under(
    scene: &Scene,
    mut service: Service,
    attack: Attack,
    (greeting, answer): (&[u8], &[u8]),
) -> Result<Report, String> {
    let mut all = || {
        service.expect_served_after(greeting, answer)?;
        service.expect_gone(Duration::from_secs(10))?;
        let before = service.uses();
        attack(&service)?;
        service.expect_gone(Duration::from_secs(10))?;
        service.expect_served_after(greeting, answer)?;
        service.expect_back(before, 0)
    };
    let result = all();
    service.report(scene, &limits(), result)
}

fn silent(service: &Service) -> Result<(), String> {
    // Peers that are not accepted wait in the system's queues. The last ones do not even get there.
    let peers = (0..MANY)
        .map(|_| service.begin_to_connect())
        .collect::<Result<Vec<_>, _>>()?;
    thread::sleep(Duration::from_millis(500));
    drop(peers);
    Ok(())
}

fn halfway(service: &Service) -> Result<(), String> {
    come(service, MANY, |mut peer| {
        // A peer beyond the limit may have been turned away already.
        let _ = peer.write_all(&GREETING[..8]);
        Ok(())
    })
}

fn wrongly(service: &Service) -> Result<(), String> {
    come(service, 200, |mut peer| {
        let _ = peer.write_all(&[b'?'; 64]);
        Ok(())
    })
}

fn halves(service: &Service) -> Result<(), String> {
    come(service, 200, |mut peer| {
        let _ = peer.write_all(&[b'?'; 64]);
        let _ = peer.shutdown(std::net::Shutdown::Write);
        Ok(())
    })
}

/// `count` peers come and do something. All stay until half a second after the last one has come.
fn come(
    service: &Service,
    count: usize,
    each: impl Fn(&TcpStream) -> Result<(), String>,
) -> Result<(), String> {
    let mut peers = Vec::with_capacity(count);
    for _ in 0..count {
        let peer = service.connect()?;
        each(&peer)?;
        peers.push(peer);
    }
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

fn resets(service: &Service) -> Result<(), String> {
    for _ in 0..MANY {
        watm_tests::reset(service.connect()?);
    }
    Ok(())
}

fn floods(service: &Service) -> Result<(), String> {
    let message = vec![b'\n'; 1 << 16];
    thread::scope(|scope| {
        for _ in 0..16 {
            let mut peer = service.connect()?;
            let limit = Duration::from_millis(200);
            peer.set_write_timeout(Some(limit)).map_err(told)?;
            let message = &message;
            scope.spawn(move || {
                // The buffers between the two fill up, because nothing comes back out.
                while peer.write_all(message).is_ok() {}
                watm_tests::reset(peer);
            });
        }
        Ok(())
    })
}

fn crumbs(service: &Service) -> Result<(), String> {
    let crumb = |_| -> Result<(), String> {
        let mut peer = service.connect()?;
        for byte in 0..60 {
            peer.write_all(&[byte]).map_err(told)?;
            let mut back = [0];
            peer.read_exact(&mut back).map_err(told)?;
            if back != [byte] {
                return Err("a byte came back as another".into());
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let peers: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| (0..5).try_for_each(crumb)))
            .collect();
        peers.into_iter().try_for_each(|peer| {
            peer.join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
        })
    })
}
