//! Tasks that are dropped at any point leave nothing behind.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use watm_tests::{EchoServer, Pattern, SHORT, alone, built, eventually, threads};
use watm_wasmer::{AsyncDialer, DialAttempt, DialHook, DialOptions, Dialer, Stream};

use super::{SLACK, Uses};

/// Dials whose futures are dropped.
const DIALS: usize = 10_000;
/// Those that are under way at the same time.
const AT_ONCE: usize = 8;
/// Polls after which the last are dropped. It waits three times: to dial, to read and to close.
const MOST_POLLS: u8 = 4;

/// Where a future is dropped.
#[derive(Clone, Copy)]
struct Place {
    /// After so many polls.
    polls: u8,
    /// When it would be polled again, in place of at once: what it waited for has happened.
    when_woken: bool,
}

impl Place {
    fn random(random: &mut Pattern) -> Self {
        let mut bytes = [0; 2];
        random.fill(&mut bytes);
        Self {
            polls: bytes[0] % MOST_POLLS + 1,
            when_woken: bytes[1] % 2 == 0,
        }
    }
}

/// Drops a future there. Returns whether it was dropped before it was done.
async fn dropped_at(place: Place, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut left = place.polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(true);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending if left == 0 && !place.when_woken => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Dials, says something, hears it, and closes.
async fn converse(dialer: &AsyncDialer, address: String) {
    let mut conn = dialer.dial(address).await.expect("a dial");
    conn.write_all(&[1; 1000]).await.expect("it writes");
    conn.read_exact(&mut [0; 1000]).await.expect("it reads");
    conn.close().await.expect("a good end");
}

/// Does this many dials, some at once. Returns how many were dropped before they were done.
async fn drop_dials(
    dialer: &AsyncDialer,
    address: &str,
    count: usize,
    random: &mut Pattern,
) -> usize {
    let mut dropped = 0;
    for _ in 0..count / AT_ONCE {
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (dialer, address) = (dialer.clone(), address.to_owned());
                let place = Place::random(random);
                tokio::spawn(async move { dropped_at(place, converse(&dialer, address)).await })
            })
            .collect();
        for task in tasks {
            dropped += usize::from(task.await.expect("it ends"));
        }
    }
    dropped
}

#[test]
fn ten_thousand_dials_that_are_dropped_at_any_point_leave_nothing_behind() {
    alone(|| {
        let server = EchoServer::start();
        let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
        let dialer = AsyncDialer::from(dialer);
        let executor = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .expect("an executor");
        let mut random = Pattern::new(1);
        let mut rounds = |count| {
            let dropped =
                executor.block_on(drop_dials(&dialer, &server.address(), count, &mut random));
            // Some of them are done before. How many depends on what they have to wait for.
            assert!(
                dropped > count / 4 && dropped < count,
                "{dropped} of {count}"
            );
            eventually("every connection has ended", || {
                watm_wasmer::drain(Duration::ZERO) == 0
            });
            eventually("no worker is left", || threads("watm-worker") == 0);
        };
        rounds(800);
        let before = Uses::now();
        rounds(DIALS);
        before.expect_back(SLACK);
    });
}

/// A hook that says that it was asked, and waits until it is told to go on.
struct Held(Sender<()>, Receiver<()>);

impl DialHook for Held {
    fn dial(&self, _: &DialAttempt<'_>) -> io::Result<Stream> {
        self.0.send(()).expect("somebody waits");
        let _ = self.1.recv();
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[test]
fn dials_that_were_given_up_or_out_of_time_are_waited_for_until_their_threads_have_ended() {
    alone(|| {
        let (asked, asks) = bounded(2);
        let (go_on, held) = bounded(0);
        let dialer = Dialer::builder(&built("plain")).dial_hook(Held(asked, held));
        let dialer = dialer.build().expect("a dialer");
        let dial = dialer.begin("127.0.0.1:1", DialOptions::new());
        asks.recv_timeout(SHORT).expect("the hook is asked");
        drop(dial);
        assert_eq!(watm_wasmer::drain(Duration::ZERO), 1);
        let soon = DialOptions::new().timeout(Duration::from_millis(50));
        let late = dialer.dial_with("127.0.0.1:1", soon);
        assert_eq!(late.expect_err("it is held").code(), "timed-out");
        assert_eq!(watm_wasmer::drain(Duration::ZERO), 2);
        let executor = tokio::runtime::Builder::new_current_thread().build();
        let executor = executor.expect("an executor");
        executor.block_on(async {
            let mut draining = pin!(watm_wasmer::async_drain());
            let first = poll_fn(|cx| Poll::Ready(draining.as_mut().poll(cx).is_ready())).await;
            assert!(!first, "both are held");
            drop(go_on);
            draining.await;
        });
        assert_eq!(watm_wasmer::drain(Duration::ZERO), 0);
    });
}
