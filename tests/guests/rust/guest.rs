// What every Rust guest needs: host functions, WASI calls that std has no name for, the module's
// descriptors, and the four roles. Knows nothing of the worker. Each guest uses only some of it.
#![allow(dead_code)]

use std::cell::Cell;

/// The WASI errno numbers that the guests use.
pub const AGAIN: i32 = 6;
pub const CANCELED: i32 = 11;
pub const IO: i32 = 29;
pub const NOENT: i32 = 44;
pub const NOTCONN: i32 = 53;
pub const PERM: i32 = 63;
pub const NOTCAPABLE: i32 = 76;

/// A value, or a WASI errno above 0.
pub type Result<T> = std::result::Result<T, i32>;

#[repr(C)]
pub struct Ciovec {
    pointer: *const u8,
    length: usize,
}

impl Ciovec {
    pub fn new(bytes: &[u8]) -> Self {
        Ciovec { pointer: bytes.as_ptr(), length: bytes.len() }
    }
}

#[repr(C)]
pub struct Iovec {
    pointer: *mut u8,
    length: usize,
}

/// A subscription for reading or writing, of 48 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Subscription {
    userdata: u64,
    tag: u8,
    padding: [u8; 7],
    fd: i32,
    unused: [u32; 7],
}

impl Subscription {
    pub fn readable(fd: i32) -> Self {
        Subscription { userdata: fd as u64, tag: 1, padding: [0; 7], fd, unused: [0; 7] }
    }

    pub fn writable(fd: i32) -> Self {
        Subscription { tag: 2, ..Self::readable(fd) }
    }
}

/// An event, of 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Event {
    userdata: u64,
    error: u16,
    kind: u8,
    nbytes: u64,
    flags: u16,
}

const _: () = assert!(std::mem::size_of::<Subscription>() == 48 && std::mem::size_of::<Event>() == 32);

mod host {
    use super::Ciovec;

    #[link(wasm_import_module = "env")]
    extern "C" {
        pub fn water_dial(network: *const Ciovec, networks: usize, address: *const Ciovec, addresses: usize) -> i32;
        pub fn water_dial_fixed() -> i32;
        pub fn water_accept() -> i32;
    }
}

mod wasi {
    use super::{Ciovec, Event, Iovec, Subscription};

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    extern "C" {
        pub fn fd_fdstat_set_flags(fd: i32, flags: i32) -> i32;
        pub fn fd_read(fd: i32, iovecs: *const Iovec, count: usize, length: *mut usize) -> i32;
        pub fn fd_write(fd: i32, iovecs: *const Ciovec, count: usize, length: *mut usize) -> i32;
        pub fn poll_oneoff(waits: *const Subscription, events: *mut Event, count: usize, ready: *mut usize) -> i32;
        pub fn sock_shutdown(fd: i32, how: i32) -> i32;
    }
}

fn value(result: i32) -> Result<i32> {
    if result < 0 { Err(-result) } else { Ok(result) }
}

fn success(errno: i32) -> Result<()> {
    if errno == 0 { Ok(()) } else { Err(errno) }
}

pub fn dial(network: &str, address: &str) -> Result<i32> {
    let network = Ciovec::new(network.as_bytes());
    let address = Ciovec::new(address.as_bytes());
    value(unsafe { host::water_dial(&network, 1, &address, 1) })
}

pub fn dial_fixed() -> Result<i32> {
    value(unsafe { host::water_dial_fixed() })
}

pub fn accept() -> Result<i32> {
    value(unsafe { host::water_accept() })
}

pub fn set_nonblocking(fd: i32) -> Result<()> {
    const NONBLOCK: i32 = 4;
    success(unsafe { wasi::fd_fdstat_set_flags(fd, NONBLOCK) })
}

pub fn read(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    let iovec = Iovec { pointer: buffer.as_mut_ptr(), length: buffer.len() };
    let mut length = 0;
    success(unsafe { wasi::fd_read(fd, &iovec, 1, &mut length) })?;
    Ok(length)
}

pub fn write(fd: i32, buffer: &[u8]) -> Result<usize> {
    let mut length = 0;
    success(unsafe { wasi::fd_write(fd, &Ciovec::new(buffer), 1, &mut length) })?;
    Ok(length)
}

/// Ends the outgoing stream. The pinned std does not support `TcpStream::shutdown`.
pub fn shutdown_write(fd: i32) -> Result<()> {
    const WR: i32 = 2;
    success(unsafe { wasi::sock_shutdown(fd, WR) })
}

/// Waits. Fails if any slot holds an error, even one that the host did not report.
pub fn poll(subscriptions: &[Subscription]) -> Result<()> {
    let mut events = [Event::default(); 3];
    let events = &mut events[..subscriptions.len()];
    let mut ready = 0;
    success(unsafe {
        wasi::poll_oneoff(subscriptions.as_ptr(), events.as_mut_ptr(), subscriptions.len(), &mut ready)
    })?;
    events.iter().try_for_each(|event| success(event.error.into()))
}

/// Fails with CANCELED once control has been used.
pub fn check_control(control: i32) -> Result<()> {
    match read(control, &mut [0]) {
        Ok(_) => Err(CANCELED),
        Err(AGAIN) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub fn config() -> Result<String> {
    std::fs::read_to_string("/conf/watm.cfg").map_err(|error| error.raw_os_error().unwrap_or(IO))
}

/// The module's descriptors. The source of a dialer or listener is the application, that of a relay
/// the accepted connection. The remote is the network side.
#[derive(Clone, Copy)]
pub struct Descriptors {
    pub source: i32,
    pub remote: i32,
    pub control: i32,
}

thread_local! {
    static REGISTERED: Cell<Option<fn() -> Result<()>>> = const { Cell::new(None) };
    static DESCRIPTORS: Cell<Descriptors> = const { Cell::new(Descriptors { source: -1, remote: -1, control: -1 }) };
}

pub fn register() {
    register_with(|| Ok(()));
}

/// Registers the module, and what it does in watm_init_v1.
pub fn register_with(init: fn() -> Result<()>) {
    REGISTERED.with(|registered| registered.set(Some(init)));
}

pub fn descriptors() -> Descriptors {
    DESCRIPTORS.with(Cell::get)
}

fn set_descriptors(change: impl FnOnce(&mut Descriptors)) {
    let mut now = descriptors();
    change(&mut now);
    DESCRIPTORS.with(|descriptors| descriptors.set(now));
}

/// Converts a result for the interface.
pub fn negated(result: Result<i32>) -> i32 {
    result.unwrap_or_else(|errno| -errno)
}

fn connect(source: i32, remote: Result<i32>) -> Result<i32> {
    let remote = remote?;
    set_descriptors(|now| {
        now.source = source;
        now.remote = remote;
    });
    Ok(remote)
}

#[no_mangle]
extern "C" fn watm_init_v1() -> i32 {
    negated(REGISTERED.with(Cell::get).ok_or(PERM).and_then(|init| init()).map(|()| 0))
}

#[no_mangle]
extern "C" fn watm_ctrlpipe_v1(fd: i32) -> i32 {
    set_descriptors(|now| now.control = fd);
    0
}

#[no_mangle]
extern "C" fn watm_dial_v1(internal: i32) -> i32 {
    negated(connect(internal, dial_fixed()))
}

#[no_mangle]
extern "C" fn watm_dial_fixed_v1(internal: i32) -> i32 {
    let remote = config().and_then(|text| {
        let address = text.lines().next().ok_or(NOENT)?;
        dial("tcp", address)
    });
    negated(connect(internal, remote))
}

#[no_mangle]
extern "C" fn watm_accept_v1(internal: i32) -> i32 {
    negated(connect(internal, accept()))
}

#[no_mangle]
extern "C" fn watm_associate_v1() -> i32 {
    negated(accept().and_then(|source| connect(source, dial_fixed())).map(|_| 0))
}
