//! What an observer hears, and which connections are open.

use std::ffi::{c_char, c_void};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use watm::*;

use crate::{call, echo, exchange, listen, local_addr, made, module, new_settings, ok, text};

/// A stage as the callback saw it.
#[derive(Clone, Debug)]
struct Heard {
    kind: u32,
    role: u32,
    connection: u64,
    module: String,
    client: Option<String>,
    local: Option<String>,
    peer: Option<String>,
    code: Option<String>,
    message: Option<String>,
    outcome: watm_outcome,
    traffic: Option<watm_traffic>,
}

#[derive(Default)]
struct All(Mutex<Vec<Heard>>);

impl All {
    fn user(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// What was heard, once that many connections have failed or ended.
    fn after(&self, over: usize) -> Vec<Heard> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let heard = self.0.lock().expect("no test panics here").clone();
            let ends = [WATM_EVENT_FAILED, WATM_EVENT_ENDED];
            if heard.iter().filter(|one| ends.contains(&one.kind)).count() >= over {
                return heard;
            }
            assert!(Instant::now() < deadline, "{heard:?}");
            thread::yield_now();
        }
    }
}

fn optional(from: *const c_char) -> Option<String> {
    (!from.is_null()).then(|| text(from))
}

unsafe extern "C-unwind" fn hear(user: *mut c_void, event: *const watm_event) {
    // SAFETY: each test gives its own, and the library a valid event.
    let (all, event) = unsafe { (&*user.cast::<All>(), &*event) };
    all.0.lock().expect("no test panics here").push(Heard {
        kind: event.kind,
        role: event.role,
        connection: event.connection,
        module: text(event.module),
        client: optional(event.client),
        local: optional(event.local),
        peer: optional(event.peer),
        code: optional(event.code),
        message: optional(event.message),
        outcome: event.outcome,
        // SAFETY: null, or valid during the call.
        traffic: unsafe { event.traffic.as_ref() }.copied(),
    });
}

unsafe extern "C-unwind" fn panic_on_event(_: *mut c_void, _: *const watm_event) {
    panic!("the application's own defect")
}

fn observed(all: &All) -> Box<watm_settings> {
    let settings = new_settings();
    ok(call!(watm_settings_observer(
        Some(&settings),
        Some(hear),
        all.user(),
        None
    )));
    settings
}

#[test]
fn an_observer_hears_of_each_stage_of_a_connection_that_works() {
    // The last thread of a connection may still be about to let go of it at the end of the test.
    let all: &All = Box::leak(Box::default());
    let settings = observed(all);
    let module = module("plain");
    let listener = listen(&module, None);
    let target = local_addr(&listener);
    let dialer = made!(watm_dialer_new(Some(&module), Some(&settings)));
    let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), None));
    let local = text(watm_conn_local_addr(Some(&conn)));
    thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        exchange(&conn, b"hello");
        ok(call!(watm_conn_close(Some(&conn), None)));
    });
    let heard = all.after(1);
    let kinds: Vec<u32> = heard.iter().map(|one| one.kind).collect();
    assert_eq!(
        kinds,
        [
            WATM_EVENT_BEGUN,
            WATM_EVENT_CONNECTED,
            WATM_EVENT_ESTABLISHED,
            WATM_EVENT_ENDED
        ]
    );
    for one in &heard {
        assert_eq!(one.role, WATM_ROLE_DIALER);
        assert_eq!(one.module, "plain");
        assert_eq!(one.connection, heard[0].connection);
        assert_eq!(
            (&one.client, &one.code, &one.message),
            (&None, &None, &None)
        );
    }
    let remote = Some(target.to_str().expect("UTF-8").to_owned());
    assert_eq!(heard[1].peer, remote);
    assert_eq!((&heard[2].local, &heard[2].peer), (&Some(local), &remote));
    let ended = heard[3].traffic.expect("it has ended");
    assert_eq!((ended.sent, ended.received), (5, 5));
    assert!(heard[..3].iter().all(|one| one.traffic.is_none()));
    assert!(matches!(
        heard[3].outcome,
        watm_outcome::Completed | watm_outcome::Cancelled
    ));
}

#[test]
fn an_observer_hears_why_a_connection_failed() {
    let all: &All = Box::leak(Box::default());
    let settings = observed(all);
    let xor = module("xor");
    let dialer = made!(watm_dialer_new(Some(&xor), Some(&settings)));
    let mut none = std::ptr::null_mut();
    drop(call!(watm_dialer_dial(
        Some(&dialer),
        c"127.0.0.1:9".as_ptr(),
        None,
        Some(&mut none)
    )));
    let heard = all.after(1);
    let last = heard.last().expect("it has failed");
    assert_eq!(last.kind, WATM_EVENT_FAILED);
    assert_eq!(last.code.as_deref(), Some("failed"));
    let message = last.message.as_deref().expect("it says why");
    assert!(message.contains("watm_init_v1"), "{message}");
}

#[test]
fn a_panic_in_an_observer_disturbs_no_connection() {
    let settings = new_settings();
    ok(call!(watm_settings_observer(
        Some(&settings),
        Some(panic_on_event),
        std::ptr::null_mut(),
        None
    )));
    let module = module("plain");
    let listener = listen(&module, Some(&settings));
    let dialer = made!(watm_dialer_new(Some(&module), Some(&settings)));
    let target = local_addr(&listener);
    let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), None));
    thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        exchange(&conn, b"hello");
        ok(call!(watm_conn_close(Some(&conn), None)));
    });
}

#[test]
fn the_open_connections_of_a_listener_are_told() {
    let module = module("plain");
    let listener = listen(&module, None);
    let target = local_addr(&listener);
    let dialer = made!(watm_dialer_new(Some(&module), None));
    let conn = made!(watm_dialer_dial(Some(&dialer), target.as_ptr(), None));
    let accepted: Box<watm_conn> = made!(watm_listener_accept(Some(&listener)));
    let open = made!(watm_listener_connections(Some(&listener)));
    assert_eq!(watm_connections_count(Some(&open)), 1);
    // SAFETY: null, or a record that lives as long as the handle.
    let at = |index| unsafe { watm_connections_at(Some(&open), index).as_ref() };
    let first = at(0).expect("a connection");
    assert_eq!(first.number, 1);
    assert_eq!(text(first.client), text(watm_conn_local_addr(Some(&conn))));
    assert!(first.is_established);
    assert!(first.age_nanoseconds > 0);
    // SAFETY: as above.
    assert_eq!(unsafe { *first.traffic }.plain_received, 0);
    assert!(at(1).is_none());
    watm_connections_free(Some(open));

    watm_conn_free(Some(accepted));
    watm_conn_free(Some(conn));
    ok(call!(watm_listener_drain(Some(&listener), 20_000)));
    let open = made!(watm_listener_connections(Some(&listener)));
    assert_eq!(watm_connections_count(Some(&open)), 0);
}
