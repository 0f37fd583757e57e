//! Modules, and the loader that names the conditions on which they are loaded.

use std::ffi::{CString, c_char, c_void};
use std::sync::Mutex;
use std::time::Duration;

use watm_wasmer::{
    ArtifactCache, HostAead, KeyError, ModuleHash, ModuleLoader, Role, TransportModule, TrustedKey,
};

use crate::border::{Counted, bytes, call, given, handle, lock, make, path, quietly, text};
use crate::status::{Fault, c_text, watm_error, watm_status};

/// The role of a dialer, as a bit of watm_module_roles().
pub const WATM_ROLE_DIALER: u32 = 1;
/// The role of a fixed dialer, which chooses its remote by itself.
pub const WATM_ROLE_FIXED_DIALER: u32 = 2;
/// The role of a listener.
pub const WATM_ROLE_LISTENER: u32 = 4;
/// The role of a relay.
pub const WATM_ROLE_RELAY: u32 = 8;

/// The bit of a role.
pub(crate) fn role_bit(role: Role) -> u32 {
    match role {
        Role::Dialer => WATM_ROLE_DIALER,
        Role::FixedDialer => WATM_ROLE_FIXED_DIALER,
        Role::Listener => WATM_ROLE_LISTENER,
        Role::Relay => WATM_ROLE_RELAY,
    }
}

/// A transport module, checked and compiled. Dialers and listeners keep what they need of it, so it
/// may be freed before them.
pub struct watm_module {
    pub(crate) module: TransportModule,
    name: CString,
    sha256: CString,
    signature: Option<[CString; 2]>,
    _counted: Counted,
}

impl watm_module {
    fn new(module: TransportModule) -> Self {
        let signature = module.signature().map(|signature| {
            [
                c_text(&signature.key_id().to_string()),
                c_text(signature.trusted_comment()),
            ]
        });
        Self {
            name: c_text(module.name()),
            sha256: c_text(&module.sha256().to_string()),
            signature,
            module,
            _counted: Counted::new(),
        }
    }
}

/// Loads modules on conditions: a hash, a signature, limits; and from a cache, which saves
/// compiling. A new loader has no conditions, and limits of 64 MiB and 60 seconds.
pub struct watm_loader {
    kept: Mutex<Kept>,
    _counted: Counted,
}

#[derive(Default)]
struct Kept {
    loader: ModuleLoader,
    keys: Vec<TrustedKey>,
}

impl Kept {
    fn change(&mut self, change: impl FnOnce(ModuleLoader) -> ModuleLoader) {
        self.loader = change(std::mem::take(&mut self.loader));
    }
}

fn change<T>(
    loader: Option<&watm_loader>,
    error: Option<&mut *mut watm_error>,
    value: impl FnOnce() -> Result<T, Fault>,
    change: impl FnOnce(ModuleLoader, T) -> ModuleLoader,
) -> watm_status {
    call(error, || {
        let loader = given("the loader", loader)?;
        let value = value()?;
        lock(&loader.kept).change(|kept| change(kept, value));
        Ok(())
    })
}

fn add_key(
    loader: Option<&watm_loader>,
    error: Option<&mut *mut watm_error>,
    key: impl FnOnce() -> Result<Result<TrustedKey, KeyError>, Fault>,
) -> watm_status {
    call(error, || {
        let loader = given("the loader", loader)?;
        let key = key()?.map_err(|error| {
            let (cause, errno) = match &error {
                KeyError::Read { source, .. } => (format!(": {source}"), source.raw_os_error()),
                _ => (String::new(), None),
            };
            let errno = errno.unwrap_or(libc::EINVAL);
            let message = format!("{error}{cause}");
            Fault::new(watm_status::Argument, "key", errno, message)
        })?;
        let mut kept = lock(&loader.kept);
        kept.keys.push(key);
        let keys = kept.keys.clone();
        kept.change(|loader| loader.trusted_keys(keys));
        Ok(())
    })
}

/// Makes a loader without conditions. Null if there is no memory.
#[unsafe(no_mangle)]
pub extern "C" fn watm_loader_new() -> *mut watm_loader {
    handle(|| watm_loader {
        kept: Mutex::default(),
        _counted: Counted::new(),
    })
}

/// Frees a loader. Modules that it has loaded stay. `loader` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_loader_free(loader: Option<Box<watm_loader>>) {
    quietly((), || drop(loader));
}

/// Refuses modules with another SHA-256, before they are parsed or compiled.
///
/// `sha256` has 64 hexadecimal digits. Fails with WATM_STATUS_ARGUMENT if it does not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_loader_sha256(
    loader: Option<&watm_loader>,
    sha256: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let parse = || {
        // SAFETY: the caller's text.
        let digits = unsafe { text("the SHA-256", sha256) }?;
        let hash: Result<ModuleHash, _> = digits.parse();
        hash.map_err(|error| Fault::argument(error.to_string()))
    };
    change(loader, error, parse, ModuleLoader::sha256)
}

/// Refuses modules that neither this key has signed nor another that was added, before they are
/// parsed or compiled.
///
/// `key` is a public key of minisign: its 56 characters, or the text of the file. The signature is
/// read from the file beside the module's, with `.minisig` behind its name, unless the loader was
/// given another. Fails with WATM_STATUS_ARGUMENT and the code `key` if it is no such key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_loader_trusted_key(
    loader: Option<&watm_loader>,
    key: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    add_key(loader, error, || {
        // SAFETY: the caller's text.
        Ok(unsafe { text("the key", key) }?.parse())
    })
}

/// Adds a trusted key as watm_loader_trusted_key() does, from a file such as `minisign.pub`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_loader_trusted_key_file(
    loader: Option<&watm_loader>,
    file: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    add_key(loader, error, || {
        // SAFETY: the caller's text.
        Ok(TrustedKey::from_file(unsafe { path("the file", file) }?))
    })
}

/// Sets the signature of the next modules: `length` bytes that `minisign -S` has written, which are
/// copied. Without trusted keys it is by an unknown key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_loader_signature(
    loader: Option<&watm_loader>,
    signature: *const c_void,
    length: usize,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    // SAFETY: the caller's bytes.
    let given = || unsafe { bytes("the signature", signature, length) };
    change(loader, error, given, |loader, given| {
        loader.signature(given)
    })
}

/// Sets the file with the signature of the next modules. It is read when a module is loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_loader_signature_file(
    loader: Option<&watm_loader>,
    file: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    // SAFETY: the caller's text.
    let given = || unsafe { path("the file", file) };
    change(loader, error, given, |loader, file| {
        loader.signature_file(file)
    })
}

/// Refuses modules of more than this many bytes; 64 MiB by default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_loader_max_size(
    loader: Option<&watm_loader>,
    size: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    change(loader, error, || Ok(size), ModuleLoader::max_size)
}

/// Gives up compiling a module after this many milliseconds; 60,000 by default.
#[unsafe(no_mangle)]
pub extern "C" fn watm_loader_compile_timeout(
    loader: Option<&watm_loader>,
    milliseconds: u64,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let timeout = || Ok(Duration::from_millis(milliseconds));
    change(loader, error, timeout, ModuleLoader::compile_timeout)
}

/// Keeps compiled modules in a directory, which belongs to the user alone, and takes them from
/// there.
///
/// A null `directory` means that of the user: `watm` in `XDG_CACHE_HOME`, or in `.cache` in the
/// home directory. It is made if it is not there. Fails with WATM_STATUS_LOAD and the code `cache`
/// if it cannot be made, belongs to another user, or can be written by others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_loader_cache(
    loader: Option<&watm_loader>,
    directory: *const c_char,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    let open = || {
        if directory.is_null() {
            return Ok(ArtifactCache::of_user()?);
        }
        // SAFETY: the caller's text.
        let directory = unsafe { path("the directory", directory) }?;
        Ok(ArtifactCache::open(directory)?)
    };
    change(loader, error, open, |loader, cache| loader.cache(&cache))
}

/// The loader as it is, so that nobody waits for another's module to be compiled.
pub(crate) fn snapshot(loader: Option<&watm_loader>) -> Result<ModuleLoader, Fault> {
    Ok(lock(&given("the loader", loader)?.kept).loader.clone())
}

/// Loads a module from a file. This compiles it, which takes seconds for a large one.
///
/// The module is left in `*module` and belongs to the caller. Fails with WATM_STATUS_LOAD, and one
/// of the codes of LoadError::code: `read`, `too-large`, `hash`, `signature`, `not-a-module`,
/// `malformed`, `unsupported`, `interface`, `too-complex`, `compile-timeout` or `compile`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_loader_load_file(
    loader: Option<&watm_loader>,
    file: *const c_char,
    module: Option<&mut *mut watm_module>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(module, error, || {
        let loader = snapshot(loader)?;
        // SAFETY: the caller's text.
        let file = unsafe { path("the file", file) }?;
        Ok(watm_module::new(loader.load_file(file)?))
    })
}

/// Loads a module from `length` bytes, as watm_loader_load_file() does. They are not needed after
/// the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_loader_load_bytes(
    loader: Option<&watm_loader>,
    data: *const c_void,
    length: usize,
    module: Option<&mut *mut watm_module>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(module, error, || {
        let loader = snapshot(loader)?;
        // SAFETY: the caller's bytes.
        let data = unsafe { bytes("the module", data, length) }?;
        Ok(watm_module::new(loader.load_bytes(data)?))
    })
}

/// Loads a module from a file without conditions, as watm_loader_load_file() does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_module_load_file(
    file: *const c_char,
    module: Option<&mut *mut watm_module>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(module, error, || {
        // SAFETY: the caller's text.
        let file = unsafe { path("the file", file) }?;
        Ok(watm_module::new(ModuleLoader::new().load_file(file)?))
    })
}

/// Loads a module from `length` bytes without conditions, as watm_loader_load_bytes() does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn watm_module_load_bytes(
    data: *const c_void,
    length: usize,
    module: Option<&mut *mut watm_module>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    make(module, error, || {
        // SAFETY: the caller's bytes.
        let data = unsafe { bytes("the module", data, length) }?;
        Ok(watm_module::new(ModuleLoader::new().load_bytes(data)?))
    })
}

/// The name of the module in logs: that of its file, else its own, else the beginning of its hash.
/// It lives as long as the handle. Empty if `module` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_module_name(module: Option<&watm_module>) -> *const c_char {
    module.map_or(c"".as_ptr(), |module| module.name.as_ptr())
}

/// The SHA-256 of the module in 64 hexadecimal digits. It lives as long as the handle. Empty if
/// `module` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_module_sha256(module: Option<&watm_module>) -> *const c_char {
    module.map_or(c"".as_ptr(), |module| module.sha256.as_ptr())
}

/// The size of the module's file in bytes. 0 if `module` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_module_size(module: Option<&watm_module>) -> u64 {
    module.map_or(0, |module| module.module.info().size())
}

/// The roles that the module offers: WATM_ROLE_DIALER and others, added together. 0 if `module` is
/// null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_module_roles(module: Option<&watm_module>) -> u32 {
    module.map_or(0, |module| {
        let roles = module.module.roles();
        roles.iter().fold(0, |bits, role| bits | role_bit(role))
    })
}

/// Whether the module asks for encryption by the host, and can take it: see
/// watm_settings_host_aead(). False if `module` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_module_wants_host_aead(module: Option<&watm_module>) -> bool {
    module.is_some_and(|module| module.module.info().host_aead() == HostAead::Wanted)
}

/// The number of the key that has signed the module, in 16 hexadecimal digits. It lives as long as
/// the handle. Null if the loader had no trusted keys, or if `module` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_module_signature_key(module: Option<&watm_module>) -> *const c_char {
    let signature = module.and_then(|module| module.signature.as_ref());
    signature.map_or(std::ptr::null(), |[key, _]| key.as_ptr())
}

/// The trusted comment of the module's signature, which is signed as well. It may hold any
/// characters, also those that move a cursor. It lives as long as the handle. Null if the loader
/// had no trusted keys, or if `module` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_module_signature_comment(module: Option<&watm_module>) -> *const c_char {
    let signature = module.and_then(|module| module.signature.as_ref());
    signature.map_or(std::ptr::null(), |[_, comment]| comment.as_ptr())
}

/// Frees a module. Whatever was made from it goes on. `module` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_module_free(module: Option<Box<watm_module>>) {
    quietly((), || drop(module));
}
