//! What happens when a resource of the system runs out.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use watm_tests::{
    EchoServer, Pair, ThreadTimes, accept_one, alone, alternate, built, connect, echo_messages,
    eventually, expect_reset, listener, open_descriptors, read_numbers, read_vec, threads, wat,
    within,
};
use watm_wasmer::{DialError, Dialer, Listener, Relay};

use super::SLACK;
use super::Uses;

/// Leaves the process only `spare` more descriptors. Dropping it ends the shortage.
struct Shortage {
    before: Rlimit,
}

impl Shortage {
    fn of(spare: usize) -> Self {
        // What the test has used before may still be ending.
        let mut open = 0;
        eventually("descriptors are no longer given back", || {
            let before = std::mem::replace(&mut open, open_descriptors());
            std::thread::sleep(Duration::from_millis(10));
            open == before
        });
        // Opens the numbers that are assigned next. No list of open descriptors shows them: a
        // thread that waits for a connection has reserved one.
        let next: Vec<File> = (0..=spare)
            .map(|_| File::open("/dev/null").expect("a descriptor"))
            .collect();
        let limit = next.iter().map(AsRawFd::as_raw_fd).max();
        let limit = limit.expect("there is one").try_into().expect("it is open");
        drop(next);
        let before = getrlimit(Resource::Nofile);
        let now = Rlimit {
            current: Some(limit),
            ..before
        };
        setrlimit(Resource::Nofile, now).expect("to set the limit");
        Self { before }
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, self.before);
    }
}

#[test]
fn a_lack_of_descriptors_stops_accepting_for_as_long_as_it_lasts_and_costs_no_processor() {
    alone(|| {
        let module = built("plain");
        drop(Pair::dial(&module));
        let (remote, address) = listener();
        let listening = Listener::builder(&module).bind("127.0.0.1:0");
        let listening = listening.expect("a listener");
        let relay = Relay::builder(&module).remote(address).bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");
        eventually("the first one has ended", || threads("watm-worker") == 0);
        // The system connects these clients, but nobody can accept them.
        let clients = [listening.local_addr(), relay.local_addr()].map(|address| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            (socket.expect("a socket"), address)
        });
        eventually("both accept", || threads("watm-accept") == 2);
        let before = ThreadTimes::of("watm-accept");
        {
            let _shortage = Shortage::of(0);
            for (client, address) in &clients {
                client.connect(&(*address).into()).expect("a connection");
            }
            // Measures this time.
            std::thread::sleep(Duration::from_millis(500));
        }
        let used = ThreadTimes::of("watm-accept").most_since(&before);
        assert!(used <= 5, "accepting used {used} ticks of 50");
        let [(client, _), (relayed, _)] = clients;
        let conn = within(watm_tests::SHORT, move || {
            listening.accept().expect("a connection")
        });
        alternate(&conn, &std::net::TcpStream::from(client), 1024, |_| {});
        let server = accept_one(&remote);
        alternate(&server, &std::net::TcpStream::from(relayed), 1024, |_| {});
    });
}

/// Uses up all of the process's memory mappings except one in `part`.
struct Mappings {
    at: *mut libc::c_void,
    len: usize,
}

impl Mappings {
    fn all_but_one_in(part: usize) -> Self {
        let number = |path| -> usize {
            let text = std::fs::read_to_string(path).expect("a number of the system");
            text.trim().parse().expect("a number")
        };
        let limit = number("/proc/sys/vm/max_map_count");
        let used = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
        let wanted = limit - limit / part - used.lines().count();
        let len = wanted * 4096;
        // SAFETY: these are new pages, which nobody else knows and nobody accesses. Every other
        // page gets different rights, so that no two neighbours share a mapping.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let at = libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED, "address space");
            for page in (0..wanted).step_by(2) {
                let at = at.byte_add(page * 4096);
                assert_eq!(libc::mprotect(at, 4096, libc::PROT_READ), 0, "a mapping");
            }
            Self { at, len }
        }
    }
}

impl Drop for Mappings {
    fn drop(&mut self) {
        // SAFETY: the pages are ours, and there are no references into them.
        unsafe { libc::munmap(self.at, self.len) };
    }
}

#[test]
fn a_process_with_few_mappings_left_starts_no_connection_and_lives_on() {
    alone(|| {
        let module = built("plain");
        let (remote, address) = listener();
        let dialer = Dialer::builder(&module).build().expect("a dialer");
        let mut conn = dialer.dial(&address).expect("a connection");
        let mut peer = accept_one(&remote);
        let listening = Listener::builder(&module).bind("127.0.0.1:0");
        let listening = listening.expect("a listener");
        let relay = Relay::builder(&module).remote(&address).bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");

        // With fewer left, threads and allocations anywhere may abort the process.
        let shortage = Mappings::all_but_one_in(9);
        let mut tries = 0;
        let error = loop {
            match dialer.dial(&address) {
                Ok(conn) => drop(conn),
                Err(error) => break error,
            }
            drop(accept_one(&remote));
            tries += 1;
            assert!(tries < 1000, "it goes on for ever");
        };
        match error {
            DialError::Host(error) => {
                assert!(error.to_string().contains("vm.max_map_count"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        // Clients wait to be accepted, and open connections continue.
        let early = [listening.local_addr(), relay.local_addr()].map(connect);
        alternate(&conn, &peer, 64 * 1024, |_| {});
        assert_eq!(relay.stats().accepted, 0);
        dialer.dial(&address).expect_err("still");

        drop(shortage);
        let [client, relayed] = early;
        let accepted = within(watm_tests::SHORT, move || {
            listening.accept().expect("a connection")
        });
        alternate(&accepted, &client, 1024, |_| {});
        alternate(&accept_one(&remote), &relayed, 1024, |_| {});
        drop(dialer.dial(&address).expect("a connection"));
        conn.write_all(b"on and on").expect("room");
        assert_eq!(read_vec(&mut peer, 9), b"on and on");
    });
}

#[test]
fn any_lack_of_descriptors_fails_dials_and_clients_alone_and_leaves_nothing_behind() {
    alone(|| {
        // Nobody has to accept there.
        let (_remote, address) = listener();
        let module = built("xor");
        let dialer = Dialer::builder(&module).config(*b"key").build();
        let dialer = dialer.expect("a dialer");
        drop(dialer.dial(&address).expect("a connection"));
        eventually("the first one has ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        let listening = Listener::builder(&built("plain")).bind("127.0.0.1:0");
        let listening = listening.expect("a listener");
        let (mut failed, mut worked) = (0, 0);
        for spare in 0..9 {
            let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let client = client.expect("a socket");
            let shortage = Shortage::of(spare);
            let (dialer, address) = (dialer.clone(), address.clone());
            match within(watm_tests::SHORT, move || dialer.dial(&address)) {
                Ok(conn) => {
                    worked += 1;
                    drop(conn);
                }
                Err(_) => failed += 1,
            }
            client
                .connect(&listening.local_addr().into())
                .expect("a connection");
            drop(shortage);
            // The client is dropped, or may be served at some point.
            drop(client);
            eventually("it is over", || threads("watm-worker") == 0);
        }
        assert!(failed > 1 && worked > 0, "{failed} failed, {worked} worked");
        // Also drops the connections that were set up but not accepted.
        drop(listening);
        before.expect_back(SLACK);
        // Everything works again.
        let server = EchoServer::start();
        echo_messages(&dialer.dial(server.address()).expect("a connection"));
    });
}

#[test]
fn a_guest_that_opens_files_while_there_are_no_descriptors_is_told_so_and_goes_on() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "content").expect("a file");
        let builder = || Dialer::builder(&wat("open_path")).dir(directory.path(), "/data");
        let ask = |pair: &Pair| {
            (&pair.conn).write_all(b"r3file").expect("room");
            let answer = read_numbers(&read_vec(&pair.conn, 8)[..]);
            if answer[0] == 0 {
                assert_eq!(read_vec(&pair.conn, 7), b"content");
            }
            answer[0]
        };
        let pair = Pair::with(builder());
        assert_eq!(ask(&pair), 0);
        let before = open_descriptors();
        for spare in 0..3 {
            let shortage = Shortage::of(spare);
            let errno = ask(&pair);
            assert_eq!(errno != 0, spare < 1, "{spare}: {errno}");
            drop(shortage);
            assert_eq!(ask(&pair), 0);
        }
        eventually("no descriptor is left over", || {
            open_descriptors() <= before
        });
        pair.conn.close().expect("a clean end");
    });
}

#[test]
fn half_finished_handshakes_by_the_thousand_keep_no_honest_client_out() {
    alone(|| {
        let module = built("handshake");
        let limit = 32;
        let listening = Listener::builder(&module)
            .handshake_limit(limit)
            .bind("127.0.0.1:0");
        let listening = listening.expect("a listener");
        let (remote, address) = listener();
        let relay = Relay::builder(&module)
            .remote(address)
            .handshake_limit(limit)
            .bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");
        let mut most = 0;
        for address in [listening.local_addr(), relay.local_addr()] {
            let mut silent = Vec::new();
            for i in 0..1000 {
                let mut client = connect(address);
                // Each stops at a different byte.
                let _ = client.write_all(&b"WATM-HELLO-00001"[..i % 16]);
                silent.push(client);
                if i % 50 == 49 {
                    most = most.max(threads("watm-worker"));
                    // The oldest is dropped once the last has come in.
                    match (&silent[i - limit]).read(&mut [0]) {
                        Ok(0) => {}
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                        other => panic!("it is not dropped: {other:?}"),
                    }
                    // Dropped clients take a moment to end, and longer on a busy machine.
                    eventually("the oldest are gone", || {
                        threads("watm-worker") <= 2 * limit + 2
                    });
                }
            }
            let mut client = connect(address);
            client.write_all(b"WATM-HELLO-00001").expect("room");
            assert_eq!(read_vec(&client, 16), b"WATM-REPLY-00001");
            if address == relay.local_addr() {
                let mut server = accept_one(&remote);
                assert_eq!(read_vec(&server, 16), b"WATM-HELLO-00001");
                server.write_all(b"WATM-REPLY-00001").expect("room");
                alternate(&client, &server, 64, |_| {});
            } else {
                let conn = listening.accept().expect("a connection");
                alternate(&conn, &client, 64, |_| {});
            }
            eventually("the oldest are gone", || {
                threads("watm-worker") <= 2 * limit + 2
            });
        }
        // The limits, one honest client each, and the clients since the last look.
        assert!(most <= 2 * limit + 2 + 50, "{most} workers at a time");
    });
}

#[test]
fn silent_clients_of_a_chain_are_bounded_in_all_of_its_modules() {
    alone(|| {
        let limit = 4;
        let module = built("handshake");
        let below = Listener::builder(&module).acceptor().expect("an acceptor");
        let middle = Listener::builder(&module).over(below).acceptor();
        let listener = Listener::builder(&module).over(middle.expect("an acceptor"));
        let listener = listener.handshake_limit(limit).bind("127.0.0.1:0");
        let listener = listener.expect("a listener");
        let clients: Vec<_> = (0..60).map(|_| connect(listener.local_addr())).collect();
        // Those beyond the limit are dropped with the modules below, long before their time is over.
        clients[..clients.len() - limit]
            .iter()
            .for_each(expect_reset);
        eventually("each of the last has one thread for each module", || {
            threads("watm-worker") <= 3 * limit
        });
        drop(clients);
        eventually("no thread is left", || threads("watm-worker") == 0);
    });
}
