//! Generated modules that have the interface's imports and exports, and otherwise do anything.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use watm_abi::{ValType, imports, names};
use watm_wasmer::{Conn, Dialer, LoadError, ModuleLoader, TransportError};

use crate::peer;
use crate::process;
use crate::watchdog;

const HANDSHAKE: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_millis(10);
const MEMORY_LIMIT: u64 = 16 << 20;
/// Time that an end may take beyond its limit: library code that has begun, and a busy machine.
const MARGIN: Duration = Duration::from_secs(10);

/// A module.
pub struct ModuleCase {
    wasm: Vec<u8>,
}

impl std::fmt::Debug for ModuleCase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ModuleCase(")?;
        for byte in &self.wasm {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// How a module ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModuleEnd {
    /// It was refused.
    Refused,
    /// Its set-up failed.
    Failed,
    /// Its set-up took too long.
    TimedOut,
    /// It was set up. Then it ended by itself, or was ended.
    Carried,
}

impl<'a> Arbitrary<'a> for ModuleCase {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let config = wasm_smith::Config {
            available_imports: Some(shape().to_vec()),
            exports: Some(shape().to_vec()),
            allow_start_export: true,
            bulk_memory_enabled: true,
            reference_types_enabled: true,
            simd_enabled: true,
            multi_value_enabled: true,
            memory64_enabled: false,
            threads_enabled: false,
            tail_call_enabled: false,
            relaxed_simd_enabled: false,
            gc_enabled: false,
            exceptions_enabled: false,
            custom_page_sizes_enabled: false,
            wide_arithmetic_enabled: false,
            max_memories: 1,
            // Within the limits, so that most modules can be instantiated.
            max_memory32_bytes: MEMORY_LIMIT,
            max_table_elements: 10_000,
            max_tables: 4,
            max_imports: 16,
            ..wasm_smith::Config::default()
        };
        let module = wasm_smith::Module::new(config, u)?;
        Ok(Self {
            wasm: module.to_bytes(),
        })
    }
}

/// A module with every import and all exports of a dialer, as a template for the generator.
fn shape() -> &'static [u8] {
    static SHAPE: OnceLock<Vec<u8>> = OnceLock::new();
    SHAPE.get_or_init(|| {
        let name = |ty: &ValType| if *ty == ValType::I64 { "i64" } else { "i32" };
        let mut text = String::from("(module\n");
        for (module, function, signature) in imports() {
            let _ = write!(text, "(import \"{module}\" \"{function}\" (func");
            for param in signature.params.iter() {
                let _ = write!(text, " (param {})", name(param));
            }
            for result in signature.results.iter() {
                let _ = write!(text, " (result {})", name(result));
            }
            text.push_str("))\n");
        }
        let _ = write!(
            text,
            r#"(memory (export "memory") 1)
            (func (export "{}") (result i32) unreachable)
            (func (export "{}") (param i32) (result i32) unreachable)
            (func (export "{}") (param i32) (result i32) unreachable)
            (func (export "{}") (result i32) unreachable))"#,
            names::INIT,
            names::DIAL,
            names::CTRLPIPE,
            names::START,
        );
        wat::parse_str(text).expect("a module")
    })
}

/// Loads the module and dials with it.
///
/// # Panics
///
/// Panics if an end takes too long, the host reports a failure of its own, or something is left
/// over.
pub fn modules(case: &ModuleCase) -> ModuleEnd {
    let _watched = watchdog::watch(case);
    let end = run(case);
    process::look_now_and_then();
    end
}

fn run(case: &ModuleCase) -> ModuleEnd {
    let loader = ModuleLoader::new().compile_timeout(Duration::from_secs(2));
    let module = match loader.load_bytes(&case.wasm) {
        Ok(module) => module,
        Err(
            LoadError::Interface(_)
            | LoadError::NotAModule(_)
            | LoadError::Malformed(_)
            | LoadError::Unsupported(_)
            | LoadError::TooComplex(_)
            | LoadError::CompileTimeout { .. },
        ) => return ModuleEnd::Refused,
        Err(error) => panic!("{error}"),
    };
    let dialer = Dialer::builder(&module)
        .setup_timeout(HANDSHAKE)
        .close_grace(GRACE)
        .drain_timeout(GRACE)
        .memory_limit(MEMORY_LIMIT)
        .build()
        .expect("it is a dialer");
    let started = Instant::now();
    let end = match dialer.dial(peer::address()) {
        Ok(conn) => {
            carry(&conn);
            ModuleEnd::Carried
        }
        Err(watm_wasmer::DialError::TimedOut { .. }) => ModuleEnd::TimedOut,
        Err(watm_wasmer::DialError::Transport(TransportError::Host(error))) => {
            panic!("the host failed: {error}")
        }
        Err(_) => ModuleEnd::Failed,
    };
    let elapsed = started.elapsed();
    assert!(
        elapsed < HANDSHAKE + GRACE + MARGIN,
        "{end:?} took {elapsed:?}"
    );
    end
}

fn carry(mut conn: &Conn) {
    let _ = conn.set_write_timeout(Some(GRACE));
    let _ = conn.set_read_timeout(Some(GRACE));
    let _ = conn.write(b"some bytes of the application");
    let _ = conn.read(&mut [0; 64]);
    if let Err(TransportError::Host(error)) = conn.close() {
        panic!("the host failed: {error}");
    }
    let ended = conn.wait(Some(MARGIN));
    assert!(ended.is_some(), "the worker continues after its close");
}
