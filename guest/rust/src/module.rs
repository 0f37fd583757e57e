//! What the exports of a module do: the order of the calls, and what is kept between them.
//!
//! `export!` makes the functions. Must never know imports: see `System`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::config;
use crate::error::{Error, Result};
use crate::raw::{self, Descriptor, Descriptors};
use crate::session::{self, Handshake, Session};
use crate::stream::Io;
use crate::transport::{Address, Transport};
use crate::worker::{self, Limits};

/// The state of a module, and its exports: each method is the export of its name, and returns what
/// the interface says.
pub struct Module<T: Transport>(Exports<T, Wasi>);

impl<T: Transport> Module<T> {
    /// A module that is not yet initialised.
    pub const fn new() -> Self {
        Module(Exports::new(Wasi))
    }

    /// `watm_init_v1`.
    pub fn init(&self) -> i32 {
        self.0.init()
    }

    /// `watm_ctrlpipe_v1`.
    pub fn ctrlpipe(&self, control: i32) -> i32 {
        self.0.ctrlpipe(control)
    }

    /// `watm_dial_v1`.
    pub fn dial(&self, internal: i32) -> i32 {
        self.0.dial(internal)
    }

    /// `watm_dial_fixed_v1`.
    pub fn dial_fixed(&self, internal: i32) -> i32 {
        self.0.dial_fixed(internal)
    }

    /// `watm_accept_v1`.
    pub fn accept(&self, internal: i32) -> i32 {
        self.0.accept(internal)
    }

    /// `watm_associate_v1`.
    pub fn associate(&self) -> i32 {
        self.0.associate()
    }

    /// `watm_start_v1`.
    pub fn start(&self) -> i32 {
        self.0.start()
    }
}

impl<T: Transport> Default for Module<T> {
    fn default() -> Self {
        Module::new()
    }
}

/// What the exports need of the host.
trait System {
    fn config(&self) -> Result<Option<Vec<u8>>>;
    fn dial(&self, address: Address<'_>) -> Result<i32>;
    fn dial_fixed(&self) -> Result<i32>;
    fn accept(&self) -> Result<i32>;
    /// A network connection, for the handshake.
    fn stream(&self, number: i32) -> Rc<dyn Io>;
    /// Runs the worker.
    fn run<T: Transport>(&self, control: i32, connection: Connection<T>) -> Result<()>;
}

struct Wasi;

impl System for Wasi {
    fn config(&self) -> Result<Option<Vec<u8>>> {
        config()
    }

    fn dial(&self, address: Address<'_>) -> Result<i32> {
        raw::dial(address).map(|descriptor| descriptor.as_raw())
    }

    fn dial_fixed(&self) -> Result<i32> {
        raw::dial_fixed().map(|descriptor| descriptor.as_raw())
    }

    fn accept(&self) -> Result<i32> {
        raw::accept().map(|descriptor| descriptor.as_raw())
    }

    fn stream(&self, number: i32) -> Rc<dyn Io> {
        Rc::new(Descriptor::from_raw(number))
    }

    fn run<T: Transport>(&self, control: i32, connection: Connection<T>) -> Result<()> {
        let control = Descriptor::from_raw(control);
        let internal = Descriptor::from_raw(connection.internal);
        let network = Descriptor::from_raw(connection.network);
        let mut host = Descriptors::new(&control, &internal, &network)?;
        worker::run(&mut host, connection.session, Limits::of::<T>())
    }
}

/// A connection that waits for its worker.
struct Connection<T: Transport> {
    /// The application's side. In a relay, that of the incoming connection.
    internal: i32,
    network: i32,
    session: Session<T::Encoder, T::Decoder>,
}

struct State<T: Transport> {
    transport: Option<T>,
    control: Option<i32>,
    is_connected: bool,
    connection: Option<Connection<T>>,
}

struct Exports<T: Transport, S> {
    system: S,
    state: RefCell<State<T>>,
}

impl<T: Transport, S: System> Exports<T, S> {
    const fn new(system: S) -> Self {
        let state = State {
            transport: None,
            control: None,
            is_connected: false,
            connection: None,
        };
        Exports {
            system,
            state: RefCell::new(state),
        }
    }

    fn init(&self) -> i32 {
        self.export(|state| {
            if state.transport.is_some() {
                return Err(Error::ALREADY);
            }
            let config = self.system.config()?;
            state.transport = Some(T::new(config.as_deref())?);
            Ok(0)
        })
    }

    fn ctrlpipe(&self, control: i32) -> i32 {
        self.export(|state| {
            state.control = Some(control);
            Ok(0)
        })
    }

    fn dial(&self, internal: i32) -> i32 {
        self.connect(Handshake::Dial, |_| {
            Ok((internal, self.system.dial_fixed()?))
        })
    }

    fn dial_fixed(&self, internal: i32) -> i32 {
        self.connect(Handshake::Dial, |transport| {
            let address = transport.address().ok_or(Error::DESTADDRREQ)?;
            Ok((internal, self.system.dial(address)?))
        })
    }

    fn accept(&self, internal: i32) -> i32 {
        self.connect(Handshake::Accept, |_| Ok((internal, self.system.accept()?)))
    }

    /// Returns an error number, where the other roles return the network's descriptor.
    fn associate(&self) -> i32 {
        let network = self.connect(Handshake::Dial, |transport| {
            let internal = self.system.accept()?;
            let network = match (self.system.dial_fixed(), transport.address()) {
                // The host leaves the remote of this relay to the module.
                (Err(Error::NODEV), Some(address)) => self.system.dial(address),
                (network, _) => network,
            };
            Ok((internal, network?))
        });
        network.min(0)
    }

    /// `open` returns both sides.
    fn connect(&self, handshake: Handshake, open: impl FnOnce(&T) -> Result<(i32, i32)>) -> i32 {
        self.export(|state| {
            // The host has not called init, or has ignored that it failed.
            let transport = state.transport.as_mut().ok_or(Error::PERM)?;
            if state.is_connected {
                return Err(Error::ISCONN);
            }
            state.is_connected = true;
            let (internal, network) = open(transport)?;
            let session = session::begin(transport, handshake, self.system.stream(network))?;
            state.connection = Some(Connection {
                internal,
                network,
                session,
            });
            Ok(network)
        })
    }

    fn start(&self) -> i32 {
        self.export(|state| {
            let control = state.control.ok_or(Error::BADF)?;
            let connection = state.connection.take().ok_or(Error::NOTCONN)?;
            self.system.run(control, connection)?;
            Ok(0)
        })
    }

    fn export(&self, call: impl FnOnce(&mut State<T>) -> Result<i32>) -> i32 {
        let result = match self.state.try_borrow_mut() {
            Ok(mut state) => call(&mut state),
            // A call within a call: from an import of the host.
            Err(_) => Err(Error::BUSY),
        };
        result.unwrap_or_else(Error::negated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Identity;
    use crate::stream::Stream;
    use std::io::{Read, Write};

    /// Greets with its configuration.
    struct Greeting(Vec<u8>);

    impl Transport for Greeting {
        type Encoder = Identity;
        type Decoder = Identity;

        fn new(config: Option<&[u8]>) -> Result<Self> {
            config
                .map(|config| Greeting(config.to_vec()))
                .ok_or(Error::INVAL)
        }

        fn dial(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
            stream.write_all(&self.0)?;
            Ok((Identity, Identity))
        }

        fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
            stream.write_all(b"no")?;
            stream.read_exact(&mut [0])?;
            Ok((Identity, Identity))
        }

        fn address(&self) -> Option<Address<'_>> {
            std::str::from_utf8(&self.0)
                .ok()
                .filter(|text| text.contains(':'))
                .map(Address::tcp)
        }
    }

    /// Numbers the descriptors, and keeps a journal.
    #[derive(Default)]
    struct Fake {
        config: Option<&'static str>,
        journal: Rc<RefCell<Vec<String>>>,
        result: Option<Error>,
        has_no_remote: bool,
    }

    impl Fake {
        fn note(&self, text: String) {
            self.journal.borrow_mut().push(text);
        }
    }

    impl System for Fake {
        fn config(&self) -> Result<Option<Vec<u8>>> {
            Ok(self.config.map(|text| text.as_bytes().to_vec()))
        }

        fn dial(&self, address: Address<'_>) -> Result<i32> {
            self.note(format!("dial {} {}", address.network(), address.address()));
            Ok(10)
        }

        fn dial_fixed(&self) -> Result<i32> {
            self.note("dial_fixed".into());
            if self.has_no_remote {
                return Err(Error::NODEV);
            }
            Ok(11)
        }

        fn accept(&self) -> Result<i32> {
            self.note("accept".into());
            Ok(12)
        }

        fn stream(&self, number: i32) -> Rc<dyn Io> {
            Rc::new(Silent {
                number,
                journal: self.journal.clone(),
            })
        }

        fn run<T: Transport>(&self, control: i32, connection: Connection<T>) -> Result<()> {
            let Connection {
                internal, network, ..
            } = connection;
            self.note(format!("run {control} {internal} {network}"));
            self.result.map_or(Ok(()), Err)
        }
    }

    /// A peer that reads and ends.
    struct Silent {
        number: i32,
        journal: Rc<RefCell<Vec<String>>>,
    }

    impl Io for Silent {
        fn try_read(&self, _buffer: &mut [u8]) -> Result<usize> {
            Ok(0)
        }

        fn try_write(&self, bytes: &[u8]) -> Result<usize> {
            let text = String::from_utf8_lossy(bytes);
            self.journal
                .borrow_mut()
                .push(format!("write {} {}", self.number, text));
            Ok(bytes.len())
        }

        fn wait_readable(&self) -> Result<()> {
            Ok(())
        }

        fn wait_writable(&self) -> Result<()> {
            Ok(())
        }
    }

    fn module(config: &'static str) -> Exports<Greeting, Fake> {
        let module = Exports::new(Fake {
            config: Some(config),
            ..Fake::default()
        });
        assert_eq!(module.init(), 0);
        module
    }

    #[track_caller]
    fn assert_journal(module: &Exports<Greeting, Fake>, expected: &[&str]) {
        assert_eq!(*module.system.journal.borrow(), expected);
    }

    #[test]
    fn a_dialer_dials_what_the_host_has() {
        let module = module("hi");
        assert_eq!(module.dial(3), 11);
        assert_eq!(module.ctrlpipe(4), 0);
        assert_eq!(module.start(), 0);
        assert_journal(&module, &["dial_fixed", "write 11 hi", "run 4 3 11"]);
    }

    #[test]
    fn a_fixed_dialer_dials_the_address_of_the_transport() {
        let module = module("host:1");
        assert_eq!(module.dial_fixed(3), 10);
        assert_journal(&module, &["dial tcp host:1", "write 10 host:1"]);
    }

    #[test]
    fn a_fixed_dialer_without_an_address_fails() {
        assert_eq!(module("hi").dial_fixed(3), Error::DESTADDRREQ.negated());
    }

    #[test]
    fn a_relay_accepts_first_and_greets_the_outgoing_side() {
        let module = module("hi");
        assert_eq!(module.associate(), 0);
        module.ctrlpipe(4);
        assert_eq!(module.start(), 0);
        assert_journal(
            &module,
            &["accept", "dial_fixed", "write 11 hi", "run 4 12 11"],
        );
    }

    #[test]
    fn a_relay_without_a_remote_dials_the_address_of_the_transport() {
        let fake = |config| Fake {
            config: Some(config),
            has_no_remote: true,
            ..Fake::default()
        };
        let module = Exports::<Greeting, Fake>::new(fake("host:1"));
        module.init();
        assert_eq!(module.associate(), 0);
        let expected = ["accept", "dial_fixed", "dial tcp host:1", "write 10 host:1"];
        assert_journal(&module, &expected);

        let module = Exports::<Greeting, Fake>::new(fake("hi"));
        module.init();
        assert_eq!(module.associate(), Error::NODEV.negated());
    }

    #[test]
    fn a_failed_handshake_fails_the_role_and_sends_what_it_wrote() {
        let module = module("hi");
        assert_eq!(module.accept(3), Error::PROTO.negated());
        module.ctrlpipe(4);
        assert_eq!(module.start(), Error::NOTCONN.negated());
        assert_journal(&module, &["accept", "write 12 no"]);
    }

    #[test]
    fn a_failed_relay_returns_its_error() {
        let module = Exports::<Greeting, Fake>::new(Fake::default());
        assert_eq!(module.associate(), Error::PERM.negated());
    }

    #[test]
    fn the_error_of_the_worker_is_negated() {
        let fake = Fake {
            config: Some("hi"),
            result: Some(Error::CANCELED),
            ..Fake::default()
        };
        let module = Exports::<Greeting, Fake>::new(fake);
        module.init();
        module.dial(3);
        module.ctrlpipe(4);
        assert_eq!(module.start(), -11);
    }

    #[test]
    fn calls_in_another_order_are_refused() {
        let module = Exports::<Greeting, Fake>::new(Fake::default());
        assert_eq!(module.init(), Error::INVAL.negated());
        assert_eq!(module.dial(3), Error::PERM.negated());
        assert_eq!(module.start(), Error::BADF.negated());

        let module = self::module("hi");
        assert_eq!(module.init(), Error::ALREADY.negated());
        assert_eq!(module.dial(3), 11);
        assert_eq!(module.dial(3), Error::ISCONN.negated());
        module.ctrlpipe(4);
        assert_eq!(module.start(), 0);
        assert_eq!(module.start(), Error::NOTCONN.negated());
        assert_eq!(module.accept(3), Error::ISCONN.negated());
    }
}
