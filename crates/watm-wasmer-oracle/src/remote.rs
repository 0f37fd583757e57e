//! A remote-controlled guest. Its worker reads orders from the internal descriptor, calls any host
//! function with any arguments, and fills and shows its memory.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use watm_abi::{Signature, ValType, aead_functions, imports, names};
use watm_wasmer::{Builder, Carried, Conn, Dialer, Outcome, TransportError, TransportModule};

use crate::peer;

/// Bytes of memory for cases. Two pages for the guest itself follow.
pub(crate) const MEMORY: u32 = 65536;
/// Limit for an answer. After it, the guest counts as waiting.
const ANSWER: Duration = Duration::from_millis(250);
/// Limit for the start of the guest on a busy machine.
const START: Duration = Duration::from_secs(30);
/// Grace period for closing.
const GRACE: Duration = Duration::from_millis(40);

/// Where an order is read to: the command, the function, and up to nine arguments.
const ORDER: u32 = 2 * 65536;
const ORDER_SIZE: u32 = 80;
const IOVEC: u32 = ORDER + 128;
const ANSWER_AT: u32 = ORDER + 192;

/// A host function.
pub(crate) struct Function {
    /// The module that it is imported from. Empty for one of an extension, which is in the table.
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) signature: Signature,
}

/// Every host function, by number: first those that are imported.
pub(crate) fn functions() -> &'static [Function] {
    static FUNCTIONS: OnceLock<Vec<Function>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| {
        let extension = aead_functions().map(|(name, signature)| ("", name, signature));
        imports()
            .chain(extension)
            .map(|(module, name, signature)| Function {
                module,
                name,
                signature,
            })
            .collect()
    })
}

/// Number of those that are imported.
pub(crate) fn imported_functions() -> usize {
    functions().len() - aead_functions().len()
}

/// Maximum number of host descriptors. It is low, so that cases reach it.
pub(crate) const DESCRIPTOR_LIMIT: usize = 5;

/// A running guest.
pub(crate) struct Remote {
    application: Application,
    /// The numbers of its descriptors.
    pub(crate) internal: u32,
    pub(crate) net: u32,
    pub(crate) control: u32,
}

/// What stands behind a guest's internal descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Internal {
    /// The pipe of a [`Conn`].
    Pipe,
    /// A plain connection, which is carried.
    Plain,
}

/// The application's end of it.
enum Application {
    Pipe(Conn),
    Plain(TcpStream, Carried),
}

/// The result of an order.
pub(crate) enum Answer<T> {
    Came(T),
    /// The guest waits, or it has read something other than the next order.
    Waits,
    /// The transport has ended.
    Ended,
}

impl Remote {
    /// Starts a guest with a configuration and a directory for reading.
    pub(crate) fn start(internal: Internal) -> Self {
        match internal {
            Internal::Pipe => Self::of(Self::dialer()),
            Internal::Plain => Self::behind(Application::carried(Self::dialer())),
        }
    }

    /// The dialer for these guests, which lives as long as the process.
    pub(crate) fn dialer() -> &'static Dialer {
        static DIALER: OnceLock<(Dialer, tempfile::TempDir)> = OnceLock::new();
        let (dialer, _) = DIALER.get_or_init(|| {
            let directory = tempfile::tempdir().expect("a directory");
            std::fs::write(directory.path().join("file"), "contents of a file").expect("a file");
            let dialer = Self::builder()
                .config(*b"a configuration")
                .dir(directory.path(), "/data")
                .env("NAME", "value")
                .arg("guest")
                .descriptor_limit(DESCRIPTOR_LIMIT)
                .build();
            (dialer.expect("a dialer"), directory)
        });
        dialer
    }

    /// The builder for its dialers.
    pub(crate) fn builder() -> Builder<Dialer> {
        static MODULE: OnceLock<TransportModule> = OnceLock::new();
        let module = MODULE.get_or_init(|| TransportModule::from_bytes(text()).expect("a module"));
        Dialer::builder(module)
            .close_grace(GRACE)
            .drain_timeout(Duration::from_millis(500))
            .descriptor_limit(16)
    }

    pub(crate) fn of(dialer: &Dialer) -> Self {
        let conn = dialer.dial(peer::address()).expect("a connection");
        Self::behind(Application::Pipe(conn))
    }

    fn behind(application: Application) -> Self {
        application.set_timeouts(START);
        let mut numbers = [0; 12];
        (&application)
            .read_exact(&mut numbers)
            .expect("its descriptors");
        application.set_timeouts(ANSWER);
        let number = |at: usize| u32::from_le_bytes(numbers[at..at + 4].try_into().expect("four"));
        let (internal, net, control) = (number(0), number(4), number(8));
        Self {
            application,
            internal,
            net,
            control,
        }
    }

    /// Has the guest call a function.
    pub(crate) fn call(&self, function: usize, arguments: &[u64]) -> Answer<i32> {
        let mut result = [0; 4];
        let function = u32::try_from(function).unwrap_or(u32::MAX);
        match self.order(0, function, arguments, &[], &mut result) {
            Answer::Came(()) => Answer::Came(i32::from_le_bytes(result)),
            Answer::Waits => Answer::Waits,
            Answer::Ended => Answer::Ended,
        }
    }

    /// Fills part of the memory.
    pub(crate) fn poke(&self, at: u32, bytes: &[u8]) -> Answer<()> {
        let len = bytes.len().min((MEMORY.saturating_sub(at)) as usize);
        if len == 0 {
            return Answer::Came(());
        }
        self.order(1, 0, &[at.into(), len as u64], &bytes[..len], &mut [])
    }

    /// The memory for cases.
    pub(crate) fn memory(&self) -> Answer<Vec<u8>> {
        let mut memory = vec![0; MEMORY as usize];
        match self.order(2, 0, &[0, MEMORY.into()], &[], &mut memory) {
            Answer::Came(()) => Answer::Came(memory),
            Answer::Waits => Answer::Waits,
            Answer::Ended => Answer::Ended,
        }
    }

    fn order(
        &self,
        what: u32,
        function: u32,
        arguments: &[u64],
        bytes: &[u8],
        answer: &mut [u8],
    ) -> Answer<()> {
        let mut order = Vec::with_capacity(ORDER_SIZE as usize + bytes.len());
        order.extend(what.to_le_bytes());
        order.extend(function.to_le_bytes());
        for index in 0..9 {
            let argument = arguments.get(index).copied().unwrap_or(0);
            order.extend(argument.to_le_bytes());
        }
        order.extend(bytes);
        let mut application = &self.application;
        let written = application.write_all(&order);
        let done = written.and_then(|()| application.read_exact(answer));
        match done {
            Ok(()) => Answer::Came(()),
            Err(error) if is_time_up(&error) => Answer::Waits,
            Err(_) => Answer::Ended,
        }
    }

    /// Ends the guest, whatever it does, soon after its grace period.
    pub(crate) fn end(self) -> Result<Outcome, TransportError> {
        let limit = Some(Duration::from_secs(10));
        let (result, ended) = match &self.application {
            Application::Pipe(conn) => (conn.close(), conn.wait(limit)),
            Application::Plain(_, carried) => (carried.close(), carried.wait(limit)),
        };
        assert!(
            ended.is_some(),
            "the worker continues after its close: {result:?}"
        );
        result
    }
}

fn is_time_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

impl Application {
    /// A plain client of a transport.
    fn carried(dialer: &Dialer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("a connection");
        let (plain, _) = listener.accept().expect("a client");
        let carried = dialer.carry(plain, peer::address());
        Self::Plain(client, carried.expect("a transport"))
    }

    /// A write has little to wait for.
    fn set_timeouts(&self, read: Duration) {
        let (read, write) = (Some(read), Some(ANSWER));
        let set = match self {
            Self::Pipe(conn) => {
                let set = conn.set_read_timeout(read);
                set.and_then(|()| conn.set_write_timeout(write))
            }
            Self::Plain(client, _) => {
                let set = client.set_read_timeout(read);
                set.and_then(|()| client.set_write_timeout(write))
            }
        };
        set.expect("timeouts");
    }
}

impl Read for &Application {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Application::Pipe(conn) => (&mut &*conn).read(into),
            Application::Plain(client, _) => (&mut &*client).read(into),
        }
    }
}

impl Write for &Application {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Application::Pipe(conn) => (&mut &*conn).write(bytes),
            Application::Plain(client, _) => (&mut &*client).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is kept back.
        Ok(())
    }
}

/// The guest, in the text format.
fn text() -> String {
    let numbered = || functions().iter().enumerate();
    let imports: String = numbered()
        .take(imported_functions())
        .map(|(number, f)| import(number, f))
        .collect();
    let calls: String = numbered().map(|(number, f)| call(number, f)).collect();
    format!(
        r#"(module
        {imports}
        (memory (export "memory") 3)
        (table (export "{table}") 1 funcref)
        (global $extension (mut i32) (i32.const 0))
        (func (export "{take}") (param $first i32) (param i32) (result i32)
          (global.set $extension (local.get $first))
          (i32.const 0))
        (global $internal (mut i32) (i32.const 0))
        (global $net (mut i32) (i32.const 0))
        (global $control (mut i32) (i32.const 0))
        {}
        (func $call (param $function i32) (result i32)
        {calls}
        (i32.const 0))
        {})"#,
        move_function(),
        exported_functions(),
        table = names::TABLE,
        take = names::EXT_AEAD,
    )
}

/// Imports a function under its number.
fn import(number: usize, function: &Function) -> String {
    let Function {
        module,
        name,
        signature,
    } = function;
    let ty = function_type(signature);
    format!("(import \"{module}\" \"{name}\" (func $f{number}{ty}))\n")
}

/// Parameters and results in the text format.
fn function_type(signature: &Signature) -> String {
    let types = |what: &str, types: &[ValType]| -> String {
        types
            .iter()
            .map(|ty| format!(" ({what} {})", ty.name()))
            .collect()
    };
    types("param", &signature.params) + &types("result", &signature.results)
}

/// Calls a function with the arguments of the order, if the order asks for this function.
fn call(number: usize, function: &Function) -> String {
    let argument = |(index, param): (usize, &ValType)| {
        let at = ORDER as usize + 8 + 8 * index;
        match param {
            ValType::I64 => format!(" (i64.load (i32.const {at}))"),
            _ => format!(" (i32.wrap_i64 (i64.load (i32.const {at})))"),
        }
    };
    let params = function.signature.params.iter().enumerate();
    let arguments: String = params.map(argument).collect();
    let returned = if function.signature.results.is_empty() {
        "(return (i32.const 0))"
    } else {
        "(return)"
    };
    let call = match number.checked_sub(imported_functions()) {
        None => format!("(call $f{number}{arguments})"),
        Some(place) => format!(
            "(call_indirect{}{arguments} (i32.add (global.get $extension) (i32.const {place})))",
            function_type(&function.signature)
        ),
    };
    format!(
        "(if (i32.eq (local.get $function) (i32.const {number}))
          (then {call} {returned}))\n"
    )
}

/// The number of a host function.
fn number_of(name: &str) -> usize {
    functions()
        .iter()
        .position(|function| function.name == name)
        .expect("it is a host function")
}

/// A function that moves a whole piece of memory to or from the internal descriptor.
fn move_function() -> String {
    format!(
        r#"(func $move (param $write i32) (param $at i32) (param $left i32) (result i32) (local $errno i32)
          (loop $more
            (if (i32.eqz (local.get $left)) (then (return (i32.const 0))))
            (i32.store (i32.const {IOVEC}) (local.get $at))
            (i32.store (i32.const {length}) (local.get $left))
            (i32.store (i32.const {moved}) (i32.const 0))
            (local.set $errno (if (result i32) (local.get $write)
              (then (call $f{write} (global.get $internal) (i32.const {IOVEC}) (i32.const 1) (i32.const {moved})))
              (else (call $f{read} (global.get $internal) (i32.const {IOVEC}) (i32.const 1) (i32.const {moved})))))
            ;; It may have been made non-blocking.
            (br_if $more (i32.eq (local.get $errno) (i32.const 6)))
            (if (local.get $errno) (then (return (local.get $errno))))
            (if (i32.eqz (i32.load (i32.const {moved}))) (then (return (i32.const 1))))
            (local.set $at (i32.add (local.get $at) (i32.load (i32.const {moved}))))
            (local.set $left (i32.sub (local.get $left) (i32.load (i32.const {moved}))))
            (br $more))
          (unreachable))"#,
        length = IOVEC + 4,
        moved = IOVEC + 8,
        write = number_of("fd_write"),
        read = number_of("fd_read"),
    )
}

/// The exports. The worker sends its descriptors, and then carries out one order after the other.
fn exported_functions() -> String {
    format!(
        r#"(func (export "{init}") (result i32) (i32.const 0))
        (func (export "{dial}") (param i32) (result i32)
          (global.set $internal (local.get 0))
          (global.set $net (call $f{dial_fixed}))
          (global.get $net))
        (func (export "{ctrlpipe}") (param i32) (result i32) (global.set $control (local.get 0)) (i32.const 0))
        (func (export "{start}") (result i32) (local $what i32) (local $at i32) (local $len i32) (local $errno i32)
          (i32.store (i32.const {ANSWER_AT}) (global.get $internal))
          (i32.store (i32.const {second_answer}) (global.get $net))
          (i32.store (i32.const {third_answer}) (global.get $control))
          (drop (call $move (i32.const 1) (i32.const {ANSWER_AT}) (i32.const 12)))
          (loop $next
            (if (call $move (i32.const 0) (i32.const {ORDER}) (i32.const {ORDER_SIZE})) (then (return (i32.const 0))))
            (local.set $what (i32.load (i32.const {ORDER})))
            (local.set $at (i32.wrap_i64 (i64.load (i32.const {first_argument}))))
            (local.set $len (i32.wrap_i64 (i64.load (i32.const {second_argument}))))
            (if (i32.eqz (local.get $what)) (then
              (i32.store (i32.const {ANSWER_AT}) (call $call (i32.load (i32.const {function}))))
              (local.set $what (i32.const 2))
              (local.set $at (i32.const {ANSWER_AT}))
              (local.set $len (i32.const 4))))
            (local.set $errno (call $move (i32.eq (local.get $what) (i32.const 2)) (local.get $at) (local.get $len)))
            (br_if $next (i32.eqz (local.get $errno)))
            (return (i32.const 0)))
          (unreachable))"#,
        init = names::INIT,
        dial = names::DIAL,
        ctrlpipe = names::CTRLPIPE,
        start = names::START,
        dial_fixed = number_of("water_dial_fixed"),
        second_answer = ANSWER_AT + 4,
        third_answer = ANSWER_AT + 8,
        function = ORDER + 4,
        first_argument = ORDER + 8,
        second_argument = ORDER + 16,
    )
}
