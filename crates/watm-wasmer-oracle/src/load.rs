//! Files that are not modules, or almost.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use watm_wasmer::{ArtifactCache, Dialer, LoadError, ModuleLoader};

use crate::peer;
use crate::process;
use crate::watchdog;

/// Time limit for compiling, so that no case takes much longer.
const COMPILE: Duration = Duration::from_millis(500);
/// Time that loading may take besides compiling.
const MARGIN: Duration = Duration::from_secs(15);

/// A file.
#[derive(Debug, Arbitrary)]
pub struct LoadCase {
    /// The content, or the bytes that the mutations use.
    pub bytes: Vec<u8>,
    /// Changes to a real module. If there are none, the file consists of the bytes alone.
    pub mutations: Vec<Mutation>,
    /// Whether the file is loaded with a cache whose artifact has the same changes.
    pub cached: bool,
}

/// A change to a real module.
#[derive(Debug, Arbitrary)]
pub enum Mutation {
    /// Replaces one byte.
    Byte(u32, u8),
    /// Overwrites with the bytes of the case.
    Over(u32),
    /// Inserts the bytes of the case.
    Between(u32),
    /// Removes this many bytes.
    Without(u32, u16),
    /// Ends the file here.
    Cut(u32),
}

/// How loading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadEnd {
    /// It is a module, and was used for a dial.
    Loaded,
    /// It is malformed.
    Malformed,
    /// It does not follow the interface.
    Interface,
    /// It was refused for another reason.
    Refused,
}

fn real() -> &'static [u8] {
    static REAL: OnceLock<Vec<u8>> = OnceLock::new();
    REAL.get_or_init(|| {
        wat::parse_str(include_str!("../../../tests/guests/wat/plain.wat")).expect("a module")
    })
}

impl LoadCase {
    fn file(&self) -> Vec<u8> {
        if self.mutations.is_empty() {
            return self.bytes.clone();
        }
        change(real().to_vec(), &self.mutations, &self.bytes)
    }
}

/// The changed file. Some mutations use `bytes`, the bytes of the case.
pub(crate) fn change(mut file: Vec<u8>, mutations: &[Mutation], bytes: &[u8]) -> Vec<u8> {
    for mutation in mutations.iter().take(8) {
        if file.is_empty() {
            break;
        }
        let place = |at: u32| at as usize % file.len();
        match *mutation {
            Mutation::Byte(at, byte) => {
                let at = place(at);
                file[at] = byte;
            }
            Mutation::Over(at) => {
                let at = place(at);
                let len = bytes.len().min(file.len() - at);
                file[at..at + len].copy_from_slice(&bytes[..len]);
            }
            Mutation::Between(at) => {
                let at = place(at);
                file.splice(at..at, bytes.iter().copied());
            }
            Mutation::Without(at, len) => {
                let at = place(at);
                let end = (at + usize::from(len)).min(file.len());
                file.drain(at..end);
            }
            Mutation::Cut(at) => file.truncate(place(at)),
        }
    }
    file
}

/// Loads the file, and dials with it if it is a module.
///
/// # Panics
///
/// Panics if that takes too long, or if a damaged artifact is run.
pub fn load(case: &LoadCase) -> LoadEnd {
    let _watched = watchdog::watch(case);
    let file = case.file();
    let started = Instant::now();
    let loader = ModuleLoader::new()
        .max_size(1 << 20)
        .compile_timeout(COMPILE);
    let end = match loader.load_bytes(&file) {
        Ok(module) => {
            let dialer = Dialer::builder(&module)
                .setup_timeout(Duration::from_millis(20))
                .close_grace(Duration::from_millis(10))
                .build();
            // It may be anything by now: a listener, or a dialer that traps.
            if let Ok(dialer) = dialer {
                drop(dialer.dial(peer::address()));
            }
            LoadEnd::Loaded
        }
        Err(LoadError::NotAModule(_) | LoadError::Malformed(_) | LoadError::Unsupported(_)) => {
            LoadEnd::Malformed
        }
        Err(LoadError::Interface(_)) => LoadEnd::Interface,
        Err(_) => LoadEnd::Refused,
    };
    let elapsed = started.elapsed();
    assert!(elapsed < COMPILE + MARGIN, "it took {elapsed:?}: {end:?}");
    if case.cached {
        load_over_a_changed_artifact(case);
    }
    process::look_now_and_then();
    end
}

/// Changes the artifact of a real module and loads that module. It must be compiled again, unless
/// nothing was changed.
fn load_over_a_changed_artifact(case: &LoadCase) {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = ArtifactCache::open(directory.path().join("cache")).expect("a cache");
    let compiled = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&compiled);
    let loader = ModuleLoader::new()
        .cache(&cache)
        .before_compiling(move |_| seen.store(true, std::sync::atomic::Ordering::Relaxed));
    loader.load_bytes(real()).expect("a module");
    let artifacts = cache.artifacts().expect("a list");
    let path = &artifacts.first().expect("an artifact").path;
    let whole = std::fs::read(path).expect("the artifact");
    let changed = change(whole.clone(), &case.mutations, &case.bytes);
    std::fs::write(path, &changed).expect("to write");
    compiled.store(false, std::sync::atomic::Ordering::Relaxed);
    loader.load_bytes(real()).expect("a module");
    let compiled = compiled.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(compiled, changed != whole, "a changed artifact was run");
}
