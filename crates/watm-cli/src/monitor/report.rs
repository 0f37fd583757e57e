//! What `/tunnels` and `/connections` say, in JSON: written by commands that serve, and read by `watm
//! top`.
//!
//! Fields may be added and never change their meaning. Whoever reads ignores those that it does not
//! know, and takes a missing one for 0 or nothing.

use serde::{Deserialize, Serialize};

/// Maximum number of connections that are listed.
pub(crate) const CONNECTIONS: usize = 10_000;

/// The process and its tunnels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Overview {
    /// The version of the program. No other program has this field.
    pub(crate) watm: String,
    #[serde(default)]
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) uptime_seconds: f64,
    /// Why it does not serve as it should: `starting` or `ending`.
    #[serde(default)]
    pub(crate) unready: Option<String>,
    #[serde(default)]
    pub(crate) process: Process,
    pub(crate) tunnels: Vec<Tunnel>,
}

/// What the process takes of the machine, as far as the system says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Process {
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_fds: Option<u64>,
    pub(crate) max_fds: Option<u64>,
}

/// A tunnel that there is, or was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tunnel {
    pub(crate) name: String,
    pub(crate) role: String,
    /// `up` while it accepts, `leaving` while it has connections of a server that accepts no more,
    /// `ended` after that.
    pub(crate) state: String,
    /// The last settings failed, and those before are used.
    pub(crate) taken_back: bool,
    pub(crate) module: Option<Module>,
    pub(crate) listening: Vec<String>,
    /// Where all of its connections are carried to, if that is one place.
    pub(crate) target: Option<String>,
    /// Connections that are open or being set up.
    pub(crate) connections: u64,
    /// The part of them whose server accepts no more.
    pub(crate) leaving: u64,
    pub(crate) connection_limit: Option<u64>,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cut: u64,
    #[serde(flatten)]
    pub(crate) bytes: Bytes,
}

/// The file that a tunnel runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

/// Bytes that were moved, also by connections that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Bytes {
    pub(crate) network_received: u64,
    pub(crate) network_sent: u64,
    /// The part that came from clients of a listener or relay.
    pub(crate) client_received: u64,
    pub(crate) client_sent: u64,
    pub(crate) plain_received: u64,
    pub(crate) plain_sent: u64,
}

/// The connections that are open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) connections: Vec<Connection>,
    /// How many more there are.
    #[serde(default)]
    pub(crate) left_out: u64,
}

/// A connection that is open or being set up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Connection {
    pub(crate) tunnel: String,
    pub(crate) role: String,
    /// Numbers the servers that a tunnel has had: a reload may give it another.
    pub(crate) server: u64,
    /// Numbers the connections of that server.
    pub(crate) number: u64,
    pub(crate) client: Option<String>,
    /// The address that it leads to, or else the target of its tunnel.
    pub(crate) remote: Option<String>,
    /// A word of [`watm_wasmer::ConnState::code`].
    pub(crate) state: String,
    pub(crate) client_ended: bool,
    pub(crate) remote_ended: bool,
    pub(crate) age_seconds: f64,
    #[serde(flatten)]
    pub(crate) bytes: Bytes,
}

impl Bytes {
    /// What was moved from clients towards their target, on the network: in the form in which the
    /// other end of a tunnel counts it too.
    pub(crate) fn up(&self, role: &str) -> u64 {
        match role {
            "listener" | "relay" => self.client_received,
            _ => self.network_sent,
        }
    }

    /// What was moved back.
    pub(crate) fn down(&self, role: &str) -> u64 {
        match role {
            "listener" | "relay" => self.client_sent,
            _ => self.network_received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_version_adds_is_ignored_and_what_it_leaves_out_is_nothing() {
        let text = r#"{"watm": "9.0.0", "new": [1], "tunnels": [{"name": "a", "new": {"x": 1}}]}"#;
        let read: Overview = serde_json::from_str(text).expect("JSON of ours");
        let expected = Overview {
            watm: "9.0.0".into(),
            tunnels: vec![Tunnel {
                name: "a".into(),
                ..Tunnel::default()
            }],
            ..Overview::default()
        };
        assert_eq!(read, expected);
        for other in [
            "{}",
            "[]",
            r#"{"tunnels": []}"#,
            r#"{"watm": 1, "tunnels": []}"#,
        ] {
            serde_json::from_str::<Overview>(other).expect_err(other);
        }
    }

    #[test]
    fn both_ends_of_a_tunnel_agree_on_what_is_up_and_down() {
        let dialer = Bytes {
            network_sent: 7,
            network_received: 9,
            ..Bytes::default()
        };
        let listener = Bytes {
            network_received: 7,
            network_sent: 9,
            client_received: 7,
            client_sent: 9,
            ..Bytes::default()
        };
        assert_eq!((dialer.up("dialer"), dialer.down("dialer")), (7, 9));
        assert_eq!((listener.up("listener"), listener.down("listener")), (7, 9));
        let relay = Bytes {
            network_received: 16,
            network_sent: 16,
            ..listener
        };
        assert_eq!((relay.up("relay"), relay.down("relay")), (7, 9));
    }
}
