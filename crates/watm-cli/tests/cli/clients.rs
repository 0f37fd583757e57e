//! What a client costs the commands that carry plain connections: threads, descriptors and memory
//! mappings.
#![cfg(target_os = "linux")]

use std::fs;

use crate::peers::{Server, connect, round_trip};
use crate::process::{Watm, built};

/// What a process uses.
#[derive(Debug)]
struct Uses {
    threads: usize,
    descriptors: usize,
    mappings: usize,
}

impl Uses {
    fn of(watm: &Watm) -> Self {
        let process = format!("/proc/{}", watm.id());
        let entries = |name: &str| {
            let listing = fs::read_dir(format!("{process}/{name}")).expect("a listing");
            listing.count()
        };
        let maps = fs::read_to_string(format!("{process}/maps")).expect("the mappings");
        Self {
            threads: entries("task"),
            descriptors: entries("fd"),
            mappings: maps.lines().count(),
        }
    }
}

#[test]
fn a_client_takes_one_thread_four_descriptors_and_ten_mappings() {
    const CLIENTS: usize = 100;
    let server = Server::echo();
    for (command, option) in [("dial", "--remote"), ("listen", "--forward")] {
        let options = [option, &server.address, "--spare-instances", "0"];
        let (watm, address) = Watm::serving(command, &built("plain"), &options);
        let serve = || {
            let client = connect(&address);
            round_trip(&client, &[7; 1000]);
            client
        };
        // What the first clients bring with them is there once.
        let _first: Vec<_> = (0..50).map(|_| serve()).collect();
        let before = Uses::of(&watm);
        let _clients: Vec<_> = (0..CLIENTS).map(|_| serve()).collect();
        let now = Uses::of(&watm);
        let uses = format!("{command}: {before:?}, {now:?}");
        assert_eq!(now.threads - before.threads, CLIENTS, "{uses}");
        assert_eq!(now.descriptors - before.descriptors, 4 * CLIENTS, "{uses}");
        // But for what the allocator maps for all of them.
        let mappings = (now.mappings - before.mappings) as f64 / CLIENTS as f64;
        assert!(mappings < 10.5, "{uses}");
    }
}
