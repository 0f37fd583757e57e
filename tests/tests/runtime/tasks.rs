//! Tasks: connections, dialers, listeners and servers on an executor.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use watm_tests::{
    EchoServer, FullBacklog, SHORT, accept_one, built, expect_reset, listener, read_vec, tcp_pair,
};
use watm_wasmer::{
    AcceptError, AsyncConn, AsyncDialer, AsyncListener, AsyncRelay, CancelToken, DialError,
    DialOptions, Dialer, Listener, Outcome, Relay,
};

/// An executor with this many threads.
fn executor(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(threads).enable_all();
    builder.build().expect("an executor")
}

/// Runs the future to its end, within the limit for what takes milliseconds.
#[track_caller]
fn run<T>(future: impl Future<Output = T>) -> T {
    executor(2)
        .block_on(async { timeout(SHORT, future).await })
        .expect("it ends in time")
}

fn dialer(name: &str) -> AsyncDialer {
    let dialer = Dialer::builder(&built(name)).build();
    dialer.expect("a dialer").into()
}

#[test]
fn a_task_dials_writes_reads_and_closes() {
    let server = EchoServer::start();
    for name in ["plain", "rust_plain", "halfclose", "reverse"] {
        let end = run(async {
            let mut conn = dialer(name).dial(server.address()).await.expect("a dial");
            for len in [1, 100, 10_000] {
                conn.write_all(&vec![7; len]).await.expect("it writes");
                let mut echo = vec![0; len];
                conn.read_exact(&mut echo).await.expect("it reads");
                assert_eq!(echo, vec![7; len]);
            }
            conn.close().await
        });
        assert!(
            matches!(end, Ok(Outcome::Completed | Outcome::Cancelled)),
            "{name}: {end:?}"
        );
    }
}

#[test]
fn a_dial_that_fails_fails_for_the_task_with_the_same_error() {
    let silent = FullBacklog::new();
    run(async {
        let dialer = dialer("plain");
        let limit = Duration::from_millis(200);
        let options = DialOptions::new().timeout(limit);
        let late = dialer.dial_with(silent.address(), options).await;
        match late.expect_err("nobody answers") {
            DialError::TimedOut { after, .. } => assert_eq!(after, limit),
            // The time to connect is over at the same moment.
            DialError::Connect { source, .. } => {
                assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
            }
            other => panic!("{other:?}"),
        }
        let wrong = dialer.dial("no address").await.expect_err("no port");
        assert_eq!(wrong.code(), "address");
        let token = CancelToken::new();
        let options = DialOptions::new().cancel(&token);
        let dial = dialer.dial_with(silent.address(), options);
        token.cancel();
        assert!(matches!(dial.await, Err(DialError::Cancelled)));
    });
}

#[test]
fn both_directions_of_a_connection_go_on_at_the_same_time() {
    let server = EchoServer::start();
    run(async {
        let total = 4 << 20;
        let conn = dialer("plain16k").dial(server.address()).await;
        let (mut reader, mut writer) = conn.expect("a dial").into_split();
        let writing = tokio::spawn(async move {
            writer.write_all(&vec![5; total]).await.expect("it writes");
            writer
        });
        let mut echo = vec![0; total];
        reader.read_exact(&mut echo).await.expect("it reads");
        assert!(echo.iter().all(|byte| *byte == 5));
        // The end of the half for writing is the end of the stream for the module.
        drop(writing.await.expect("it goes on"));
        assert_eq!(reader.read(&mut [0; 1]).await.expect("the end"), 0);
    });
}

#[test]
fn a_listener_is_a_stream_of_connections_that_ends_when_it_closes() {
    use tokio_stream::StreamExt;

    let listener = Listener::builder(&built("plain")).bind("127.0.0.1:0");
    let mut listener = AsyncListener::from(listener.expect("a listener"));
    let address = listener.local_addr();
    run(async {
        let clients = tokio::spawn(async move {
            for _ in 0..5 {
                let mut conn = dialer("plain").dial(address).await.expect("a dial");
                conn.write_all(b"hello").await.expect("it writes");
                let mut echo = [0; 5];
                conn.read_exact(&mut echo).await.expect("it reads");
                conn.close().await.expect("a good end");
            }
        });
        for _ in 0..5 {
            let conn = listener.next().await.expect("a connection");
            let mut conn = conn.expect("a connection");
            let mut buf = [0; 5];
            conn.read_exact(&mut buf).await.expect("it reads");
            conn.write_all(&buf).await.expect("it writes");
            assert_eq!(conn.read(&mut buf).await.expect("the end"), 0);
        }
        clients.await.expect("they end");
        listener.get_ref().close();
        assert!(listener.next().await.is_none());
        let closed = listener.accept().await;
        assert!(matches!(closed, Err(AcceptError::Closed)));
    });
}

#[test]
fn each_of_several_tasks_that_accept_gets_a_connection() {
    let listener = Listener::builder(&built("plain")).bind("127.0.0.1:0");
    let listener = std::sync::Arc::new(AsyncListener::from(listener.expect("a listener")));
    let address = listener.local_addr();
    run(async {
        let accepting: Vec<_> = (0..8)
            .map(|_| {
                let listener = listener.clone();
                tokio::spawn(async move { listener.accept().await })
            })
            .collect();
        let dialer = dialer("plain");
        let mut conns = Vec::new();
        for _ in 0..8 {
            conns.push(dialer.dial(address).await.expect("a dial"));
        }
        for accepted in accepting {
            accepted.await.expect("it ends").expect("a connection");
        }
        listener.shutdown().await;
        assert_eq!(listener.get_ref().stats().active, 0);
    });
}

#[test]
fn a_relay_drains_and_shuts_down_for_a_task() {
    let server = EchoServer::start();
    let relay = Relay::builder(&built("plain")).remote(server.address());
    let relay = relay.bind("127.0.0.1:0").expect("a relay").spawn();
    let relay = AsyncRelay::from(relay.expect("it runs"));
    run(async {
        let client = tokio::net::TcpStream::connect(relay.local_addr());
        let mut client = client.await.expect("a connection");
        client.write_all(b"abc").await.expect("it writes");
        let mut echo = [0; 3];
        client.read_exact(&mut echo).await.expect("it reads");
        let mut draining = Box::pin(relay.drain());
        let polled = std::future::poll_fn(|cx| Poll::Ready(draining.as_mut().poll(cx)));
        assert!(polled.await.is_pending(), "a client is there");
        relay.wait().await.expect("it was told to end");
        drop(client);
        draining.await;
        relay.shutdown().await;
        assert_eq!(relay.stats().active, 0);
    });
}

#[test]
fn a_copy_in_both_directions_ends_when_both_sides_have() {
    let (accepting, address) = listener();
    run(async {
        let mut conn = dialer("halfclose").dial(address).await.expect("a dial");
        let (mut near, mut far) = duplex(1024);
        let peer = std::thread::spawn(move || {
            let stream = accept_one(&accepting);
            let mut received = Vec::new();
            std::io::Read::read_to_end(&mut &stream, &mut received).expect("it reads");
            std::io::Write::write_all(&mut &stream, b"answer").expect("it writes");
            received
        });
        let using = async {
            near.write_all(&[3; 100_000]).await.expect("it writes");
            near.shutdown().await.expect("it ends");
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.expect("it reads");
            answer
        };
        let (copied, answer) = tokio::join!(copy_bidirectional(&mut far, &mut conn), using);
        assert_eq!(copied.expect("it copies"), (100_000, 6));
        assert_eq!(answer, b"answer");
        assert_eq!(peer.join().expect("it ends"), [3; 100_000]);
        assert_eq!(conn.wait().await.expect("a good end"), Outcome::Completed);
    });
}

#[test]
fn a_task_carries_a_plain_connection_and_waits_for_its_end() {
    let server = EchoServer::start();
    let (client, plain) = tcp_pair();
    run(async {
        let carrying = dialer("plain").carry(plain, server.address(), DialOptions::new());
        let carried = carrying.await.expect("a dial");
        std::io::Write::write_all(&mut &client, b"abc").expect("it writes");
        let mut echo = [0; 3];
        std::io::Read::read_exact(&mut &client, &mut echo).expect("it reads");
        drop(client);
        carried.ended().await.expect("a good end");
        assert_eq!(carried.stats().plain_received, 3);
    });
}

/// What becomes of a future that is dropped after it was polled this often.
async fn dropped_after<F: Future>(polls: usize, future: F) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let mut done = false;
        std::future::poll_fn(|cx| {
            done = future.as_mut().poll(cx).is_ready();
            Poll::Ready(())
        })
        .await;
        if done {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_dial_that_is_dropped_leaves_nothing_behind() {
    let server = EchoServer::start();
    watm_tests::within(Duration::from_secs(100), move || {
        let executor = executor(2);
        let dialer = dialer("plain");
        executor.block_on(async {
            for round in 0..500_usize {
                dropped_after(round % 7, dialer.dial(server.address())).await;
                dropped_after(round % 5, async {
                    let mut conn = dialer.dial(server.address()).await.expect("a dial");
                    conn.write_all(&[1; 1000]).await.expect("it writes");
                    conn.read_exact(&mut [0; 1000]).await.expect("it reads");
                    conn.close().await.expect("a good end");
                })
                .await;
            }
        });
        watm_tests::eventually("every worker has ended", || {
            watm_wasmer::drain(Duration::ZERO) == 0
        });
    });
}

#[test]
fn a_dial_that_is_dropped_when_it_is_done_is_given_up_too() {
    let (accepting, address) = listener();
    run(async {
        let mut dial = dialer("handshake").dial(address);
        let mut peer = accept_one(&accepting);
        assert_eq!(read_vec(&peer, 16), b"WATM-HELLO-00001");
        let mut is_polled = false;
        std::future::poll_fn(|cx| {
            if is_polled {
                // Woken: its result is there, and nobody takes it.
                return Poll::Ready(());
            }
            is_polled = true;
            assert!(pin!(&mut dial).poll(cx).is_pending());
            std::io::Write::write_all(&mut peer, b"WATM-REPLY-00001").expect("it writes");
            Poll::Pending
        })
        .await;
        drop(dial);
        expect_reset(&peer);
    });
}

#[test]
fn a_write_that_is_dropped_while_it_waits_has_moved_nothing() {
    let (accepting, address) = listener();
    run(async {
        let mut conn = dialer("plain").dial(address).await.expect("a dial");
        let peer = accept_one(&accepting);
        let mut written = 0;
        // Until neither the connection nor the network takes any more.
        let full = Duration::from_millis(500);
        while let Ok(len) = timeout(full, conn.write(&[9; 4096])).await {
            written += len.expect("it writes");
        }
        conn.shutdown().await.expect("it ends");
        let received = tokio::task::spawn_blocking(move || {
            let mut received = Vec::new();
            std::io::Read::read_to_end(&mut &peer, &mut received).expect("it reads");
            received.len()
        });
        assert_eq!(received.await.expect("it ends"), written);
    });
}

#[test]
fn a_pending_read_of_a_connection_that_is_split_sees_the_close_of_the_other_half() {
    let server = EchoServer::start();
    run(async {
        let conn: AsyncConn = dialer("plain")
            .dial(server.address())
            .await
            .expect("a dial");
        let (mut reader, writer) = conn.into_split();
        let reading = tokio::spawn(async move { reader.read(&mut [0; 16]).await });
        tokio::task::yield_now().await;
        drop(writer);
        assert_eq!(reading.await.expect("it ends").expect("the end"), 0);
    });
}

#[test]
fn a_half_closes_without_stopping_the_executor_and_halves_are_put_together_again() {
    let server = EchoServer::start();
    run(async {
        let address = server.address();
        let dial = async || dialer("plain").dial(address.clone()).await.expect("a dial");
        let (reader, mut writer) = dial().await.into_split();
        writer.write_all(b"hello").await.expect("it writes");
        let mut conn = reader.reunite(writer).expect("they belong together");
        conn.read_exact(&mut [0; 5]).await.expect("it reads");
        assert_eq!(conn.stats().sent, 5);
        let (reader, writer) = conn.into_split();
        let (_other_reader, other_writer) = dial().await.into_split();
        let apart = reader.reunite(other_writer).expect_err("they do not");
        // It is done by the thread of the transport, while this one goes on.
        let closing = writer.close();
        let peer = apart.0.peer_addr().expect("an address");
        assert_eq!(peer.to_string(), address);
        let outcome = closing.await.expect("a good end");
        assert_eq!(writer.outcome().expect("it has ended").ok(), Some(outcome));
    });
}

/// Sends through the connection and reads the echo, again and again, in a task of the executor.
fn exchange(executor: &Runtime, mut conn: AsyncConn) -> AsyncConn {
    let task = executor.spawn(async move {
        for len in [1, 64, 10_000, 200_000] {
            let sent = vec![7; len];
            let (mut reader, mut writer) = tokio::io::split(&mut conn);
            let mut echo = vec![0; len];
            let (written, read) =
                tokio::join!(writer.write_all(&sent), reader.read_exact(&mut echo));
            written.expect("it writes");
            read.expect("it reads");
            assert_eq!(echo, sent);
        }
        conn
    });
    let task = async { timeout(SHORT, task).await };
    // The limit needs a clock, which not every executor has.
    let task = self::executor(1).block_on(task).expect("it ends in time");
    task.expect("no panic")
}

#[test]
fn a_connection_goes_from_one_executor_to_another() {
    let server = EchoServer::start();
    let mut conn = run(async { dialer("plain16k").dial(server.address()).await }).expect("a dial");
    let executors = [
        executor(2),
        Builder::new_multi_thread().build().expect("an executor"),
        executor(1),
    ];
    for _ in 0..2 {
        for executor in &executors {
            conn = exchange(executor, conn);
        }
    }
    // What waits in an executor that ends waits in the next.
    for executor in executors {
        let waiting = executor.spawn(async move {
            let waited = first_poll(conn.read(&mut [0; 1])).await;
            assert!(waited.is_none(), "{waited:?}");
            conn
        });
        let waiting = self::executor(1).block_on(waiting);
        conn = waiting.expect("no panic");
        executor.shutdown_background();
    }
    exchange(&executor(2), conn);
}

/// The result of the first poll.
async fn first_poll<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn many_connections_of_one_executor_are_woken_each() {
    let server = EchoServer::start();
    let executor = executor(2);
    let dialer = dialer("plain16k");
    let tasks: Vec<_> = (0..32_u8)
        .map(|number| {
            let (dialer, address) = (dialer.clone(), server.address().to_owned());
            executor.spawn(async move {
                let mut conn = dialer.dial(&*address).await.expect("a dial");
                for _ in 0..50 {
                    conn.write_all(&[number; 64]).await.expect("it writes");
                    let mut echo = [0; 64];
                    conn.read_exact(&mut echo).await.expect("it reads");
                    assert_eq!(echo, [number; 64]);
                }
            })
        })
        .collect();
    executor.block_on(async {
        for task in tasks {
            let ended = timeout(SHORT, task).await.expect("it ends in time");
            ended.expect("no panic");
        }
    });
}

#[test]
fn futures_io_reads_and_writes_the_same_connection() {
    use futures_io::{AsyncRead, AsyncWrite};

    let server = EchoServer::start();
    run(async {
        let conn = dialer("plain")
            .dial(server.address())
            .await
            .expect("a dial");
        let mut conn = pin!(conn);
        let written =
            std::future::poll_fn(|cx| AsyncWrite::poll_write(conn.as_mut(), cx, b"hello"));
        assert_eq!(written.await.expect("it writes"), 5);
        let mut echo = [0; 5];
        let mut at = 0;
        while at < 5 {
            let read =
                std::future::poll_fn(|cx| AsyncRead::poll_read(conn.as_mut(), cx, &mut echo[at..]));
            at += read.await.expect("it reads");
        }
        assert_eq!(&echo, b"hello");
        let closed = std::future::poll_fn(|cx| AsyncWrite::poll_close(conn.as_mut(), cx));
        closed.await.expect("it ends");
        let read = std::future::poll_fn(|cx| AsyncRead::poll_read(conn.as_mut(), cx, &mut echo));
        assert_eq!(read.await.expect("the end"), 0);
    });
}

#[test]
#[should_panic(expected = "the result was returned before")]
fn a_dial_is_not_polled_again_after_its_result() {
    let mut dial = dialer("plain").dial("no address");
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..2 {
        let _ = pin!(&mut dial).poll(&mut cx);
    }
}
