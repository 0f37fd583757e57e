//! Plain clients that say first what they want, to a front of the application.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use watm_tests::{EchoServer, LONG, built, connect, eventually};
use watm_wasmer::{DialError, Dialer, Front, Greeting, GreetingStep, PlainRequest, ServerHandle};

/// Clients say `g` to be connected and `p` to make the front panic.
struct Letters(SocketAddr);

impl Front for Letters {
    fn greet(&self, _client: Option<SocketAddr>) -> Box<dyn Greeting> {
        Box::new(Letters(self.0))
    }
}

impl Greeting for Letters {
    fn advance(&mut self, bytes: &[u8]) -> GreetingStep {
        match bytes {
            [] => GreetingStep::More,
            [b'p', ..] => panic!("as it was asked to"),
            [b'g', ..] => GreetingStep::Carry {
                consumed: 1,
                request: PlainRequest::to(self.0),
            },
            _ => GreetingStep::refuse("it says something else"),
        }
    }

    fn answer(&mut self, result: Result<(), &DialError>) -> Vec<u8> {
        result.map_or(b"n".to_vec(), |()| b"y".to_vec())
    }
}

fn serve(echo: &EchoServer) -> ServerHandle {
    let target = echo.address().parse().expect("an address");
    let builder = Dialer::builder(&built("plain")).front(Letters(target));
    let server = builder.bind("127.0.0.1:0").expect("an address");
    server.spawn().expect("a server")
}

fn client(server: &ServerHandle, says: &[u8]) -> TcpStream {
    let mut client = connect(server.local_addr());
    client.write_all(says).expect("room");
    client
}

/// Waits until the server has as many clients.
#[track_caller]
fn await_active(server: &ServerHandle, count: u64) {
    eventually("the clients are there", || server.stats().active == count);
}

#[test]
fn a_front_that_panics_loses_one_client_and_no_place() {
    let echo = EchoServer::start();
    let server = serve(&echo);
    let mut lost = client(&server, b"p");
    let gone = lost.read(&mut [0]);
    assert!(matches!(gone, Ok(0)) || gone.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
    let mut served = client(&server, b"ghello");
    let mut answer = [0; 6];
    served.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"yhello");
    drop(served);
    assert!(server.drain(LONG), "{:?}", server.stats());
}

#[test]
fn a_server_that_was_shut_down_has_no_clients_also_none_that_say_nothing() {
    let echo = EchoServer::start();
    let server = serve(&echo);
    let silent = [client(&server, b""), client(&server, b"")];
    await_active(&server, 2);
    server.shutdown();
    assert_eq!(server.stats().active, 0);
    for mut client in silent {
        assert!(!matches!(client.read(&mut [0]), Ok(1..)));
    }
}

#[test]
fn clients_at_their_greeting_are_waited_for_when_nobody_is_accepted_any_more() {
    let echo = EchoServer::start();
    let server = serve(&echo);
    let mut slow = client(&server, b"");
    await_active(&server, 1);
    server.stop_accepting();
    assert!(!server.drain(Duration::from_millis(10)));
    slow.write_all(b"ghello").expect("room");
    let mut answer = [0; 6];
    slow.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"yhello");
    drop(slow);
    assert!(server.drain(LONG), "{:?}", server.stats());
}
