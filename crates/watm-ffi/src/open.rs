//! The connections of a listener or a server that are open.

use std::ffi::{CString, c_char};
use std::ptr::null;

use watm_wasmer::OpenConnection;

use crate::border::{Counted, quietly};
use crate::conn::{nanoseconds, watm_traffic};
use crate::status::c_text;

/// A connection of a listener or a server that was open when it was asked. Later releases may add
/// fields at its end.
#[repr(C)]
pub struct watm_open_connection {
    /// Its number among those that were accepted. The first is 1.
    pub number: u64,
    /// The time since it was accepted, in nanoseconds.
    pub age_nanoseconds: u64,
    /// The address of the client.
    pub client: *const c_char,
    /// What it had moved.
    pub traffic: *const watm_traffic,
    /// Whether its transport was set up.
    pub is_established: bool,
}

/// The connections that were open when a listener or a server was asked, the oldest first. They are
/// not kept open by it.
pub struct watm_connections {
    /// They point to what the others hold, which neither grows nor moves.
    records: Vec<watm_open_connection>,
    _clients: Vec<CString>,
    _traffic: Vec<watm_traffic>,
    _counted: Counted,
}

impl watm_connections {
    pub(crate) fn new(open: &[OpenConnection]) -> Self {
        let clients = open.iter().map(|open| {
            let client = open.client.map(|client| client.to_string());
            c_text(&client.unwrap_or_default())
        });
        let clients: Vec<CString> = clients.collect();
        let traffic = open.iter().map(|open| open.stats.into());
        let traffic: Vec<watm_traffic> = traffic.collect();
        let records = open.iter().zip(&clients).zip(&traffic);
        let records = records.map(|((open, client), traffic)| watm_open_connection {
            number: open.number,
            age_nanoseconds: nanoseconds(open.age),
            client: client.as_ptr(),
            traffic,
            is_established: open.is_established,
        });
        Self {
            records: records.collect(),
            _clients: clients,
            _traffic: traffic,
            _counted: Counted::new(),
        }
    }
}

/// How many connections there were. 0 if `connections` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_connections_count(connections: Option<&watm_connections>) -> usize {
    connections.map_or(0, |connections| connections.records.len())
}

/// One of the connections, from 0 on. It lives as long as the handle, as does what it points to.
/// Null if there are not that many, or if `connections` is null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_connections_at(
    connections: Option<&watm_connections>,
    index: usize,
) -> *const watm_open_connection {
    let record = connections.and_then(|connections| connections.records.get(index));
    record.map_or(null(), std::ptr::from_ref)
}

/// Frees what was told of connections, and nothing of the connections. `connections` may be null.
#[unsafe(no_mangle)]
pub extern "C" fn watm_connections_free(connections: Option<Box<watm_connections>>) {
    quietly((), || drop(connections));
}
