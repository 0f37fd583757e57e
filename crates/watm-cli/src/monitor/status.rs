//! What a process says of its tunnels and connections to `watm top`, as JSON. Both sides have these
//! types: what one does not know yet is left out, and what it knows no more is 0.
//!
//! Addresses of clients are for those who may read a Unix socket alone.

use serde::{Deserialize, Serialize};

/// Where the page is.
pub(crate) const PATH: &str = "/status";
/// So many connections are listed at most, the oldest first.
pub(crate) const MOST: usize = 10_000;

/// A process at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// The version of the program.
    pub(crate) watm: String,
    pub(crate) process: u32,
    /// Seconds since it began to serve.
    pub(crate) uptime: f64,
    /// Why it is not ready, if it is not.
    pub(crate) unready: Option<String>,
    /// Bytes of memory in RAM, if the system says so.
    pub(crate) memory: Option<u64>,
    /// Seconds of processor time so far.
    pub(crate) processor: f64,
    pub(crate) tunnels: Vec<Tunnel>,
    /// Those that are open. `None` if the page is not served on a Unix socket.
    pub(crate) connections: Option<Vec<Connection>>,
    /// How many more there are.
    pub(crate) left_out: u64,
}

/// A tunnel, and all that it has done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tunnel {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) state: TunnelState,
    /// Where it listens.
    pub(crate) listen: Vec<String>,
    pub(crate) open: u64,
    pub(crate) accepted: u64,
    pub(crate) completed: u64,
    /// Those that were not set up, or ended with an error.
    pub(crate) failed: u64,
    pub(crate) from_clients: u64,
    pub(crate) to_clients: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TunnelState {
    #[default]
    Up,
    /// It has the settings of before, since the new ones failed.
    TakenBack,
    /// It accepts no more, and has connections left.
    Leaving,
    /// It accepts no more.
    Gone,
    /// Something that this program does not know.
    #[serde(other)]
    Other,
}

impl TunnelState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::TakenBack => "taken back",
            Self::Leaving => "leaving",
            Self::Gone => "gone",
            Self::Other => "?",
        }
    }
}

/// A connection that is open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Connection {
    pub(crate) tunnel: String,
    pub(crate) role: String,
    /// Its number among those of its server.
    pub(crate) number: u64,
    /// The address of the client, unless it came over a Unix socket.
    pub(crate) client: Option<String>,
    /// Seconds since it was accepted.
    pub(crate) age: f64,
    /// Whether its transport is set up.
    pub(crate) established: bool,
    pub(crate) from_client: u64,
    pub(crate) to_client: u64,
}
