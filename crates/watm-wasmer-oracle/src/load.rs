//! Files that are no modules, or nearly.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use watm_wasmer::{ArtifactCache, Dialer, LoadError, ModuleLoader};

use crate::peer;
use crate::process;
use crate::watchdog;

/// Compiling is given up after this long, so that no case takes much longer.
const COMPILE: Duration = Duration::from_millis(500);
/// What loading may take beside that.
const MARGIN: Duration = Duration::from_secs(15);

/// A file.
#[derive(Debug, Arbitrary)]
pub struct LoadCase {
    /// What it is made of; any bytes if there is nothing else.
    pub bytes: Vec<u8>,
    /// Changes of a real module; none for the bytes alone.
    pub mutations: Vec<Mutation>,
    /// Whether it is loaded over a cache whose artifact was changed in the same way.
    pub cached: bool,
}

/// A change of a real module.
#[derive(Debug, Arbitrary)]
pub enum Mutation {
    /// One byte is another.
    Byte(u32, u8),
    /// The bytes of the case stand in place of as many.
    Over(u32),
    /// The bytes of the case come in between.
    Between(u32),
    /// So many bytes are missing.
    Without(u32, u16),
    /// It ends here.
    Cut(u32),
}

/// How loading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadEnd {
    /// It is a module, and was dialled with.
    Loaded,
    /// It is malformed.
    Malformed,
    /// It does not follow the interface.
    Interface,
    /// It was refused otherwise.
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

/// The file with these changes; `bytes` are those of the case that some of them speak of.
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
/// If that takes too long, or a damaged artifact is run.
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
                .handshake_timeout(Duration::from_millis(20))
                .close_grace(Duration::from_millis(10))
                .build();
            // It may be anything by now: a listener, or a dialer that traps.
            if let Ok(dialer) = dialer {
                drop(dialer.dial(&peer::address()));
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

/// Changes the artifact of a real module, and loads that: it has to be compiled again, unless
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
