//! Clients that say first what they want: between the greeter and what serves them.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use watm_abi::Role;

use super::{Serving, Tell, Wish};
use crate::error::{ConfigError, DialError, SetupError};
use crate::net::address::{Address, Client};
use crate::net::stream::Stream;
use crate::net::target::Target;
use crate::roles::accept_loop::AcceptWaker;
use crate::roles::front::{Greeting, PlainRequest};
use crate::roles::greeter::{Greeted, Greeter, Greets, Protocols, WeakGreeter, say};

/// Checks that a server has clients for its protocols.
pub(super) fn check(protocols: &Protocols, role: Role) -> Result<(), ConfigError> {
    if protocols.front.is_some() && !matches!(role, Role::Dialer | Role::FixedDialer) {
        return Err(ConfigError::Invalid {
            setting: "front",
            message: "the clients of a server that forwards speak the protocol of the module"
                .into(),
        });
    }
    Ok(())
}

/// Starts the thread that talks with the clients of a server.
pub(super) fn spawn(
    protocols: Protocols,
    limit: Duration,
    shared: &Arc<Serving>,
    waker: &AcceptWaker,
) -> io::Result<Greeter> {
    let itself = Arc::new(OnceLock::new());
    let after = After {
        shared: Arc::clone(shared),
        waker: waker.clone(),
        greeter: Arc::clone(&itself),
    };
    let greeter = Greeter::spawn(protocols, limit, after)?;
    let _ = itself.set(greeter.downgrade());
    Ok(greeter)
}

/// What becomes of clients after their greeting.
struct After {
    shared: Arc<Serving>,
    waker: AcceptWaker,
    /// The greeter itself. It must not hold itself.
    greeter: Arc<OnceLock<WeakGreeter>>,
}

impl Greets for After {
    fn greeted(&self, greeted: Greeted) {
        let Greeted {
            stream,
            client,
            request,
            greeting,
        } = greeted;
        // The transport owns the socket from now on. So the answer has a descriptor of its own.
        let copy = greeting.as_ref().map(|_| stream.try_clone()).transpose();
        let tell = match copy {
            Ok(copy) => copy
                .zip(greeting)
                .map(|(copy, greeting)| self.tell(copy, greeting)),
            Err(error) => {
                stream.reset_on_drop();
                return self
                    .shared
                    .refuse(Client(client), SetupError::Host(error), None);
            }
        };
        let PlainRequest {
            target,
            first,
            options,
        } = request;
        let remote = match self.remote(target) {
            Ok(remote) => remote.map(|remote| (options.network, remote)),
            Err(error) => {
                stream.reset_on_drop();
                let tell = tell.map(|tell| Arc::new(Mutex::new(Some(tell))));
                return self.shared.refuse(Client(client), error, tell);
            }
        };
        let wish = Wish {
            remote,
            own: options.own,
            tell,
        };
        let stream = stream.with_unread(first);
        self.shared.serve(&self.waker, stream, client, wish);
    }

    fn refused(&self, client: Client, reason: &str) {
        let message = format_args!("client {client} was dropped: {reason}");
        self.shared.warnings.tell(module_path!(), message);
    }

    fn left(&self) {
        self.shared.book.leave();
        self.waker.wake();
    }
}

impl After {
    /// Where a client is carried to, unless the server says so.
    fn remote(&self, target: Option<Target>) -> Result<Option<Address>, SetupError> {
        let invalid = |message: &str| {
            SetupError::Config(ConfigError::Invalid {
                setting: "front",
                message: message.into(),
            })
        };
        match (self.shared.service.role(), target) {
            (Role::FixedDialer, Some(_)) => Err(invalid(
                "the module chooses the remote, so that a client cannot",
            )),
            (Role::Dialer, None) if !self.shared.service.has_remote() => {
                Err(invalid("neither the server nor its client names a remote"))
            }
            (_, Some(target)) => match target.into_address() {
                Ok(address) => Ok(Some(address)),
                Err((address, source)) => Err(SetupError::Address { address, source }),
            },
            (_, None) => Ok(None),
        }
    }

    /// What tells a client what has become of its dial.
    fn tell(&self, stream: Stream, mut greeting: Box<dyn Greeting>) -> Tell {
        let greeter = self.greeter.get().and_then(WeakGreeter::upgrade);
        Box::new(move |result| {
            match result {
                Ok(()) => {
                    // If this fails, the client is lost, which the transport finds.
                    let _ = say(&stream, &greeting.answer(Ok(())));
                }
                Err(error) => {
                    let bytes = greeting.answer(Err(&DialError::from(error)));
                    if let Some(greeter) = greeter {
                        greeter.dismiss(stream, bytes);
                    }
                }
            }
        })
    }
}

impl super::Service {
    fn has_remote(&self) -> bool {
        match self {
            Self::Relay(remote) | Self::Dial(_, remote) => remote.is_some(),
            Self::Forward(_) => true,
        }
    }
}
