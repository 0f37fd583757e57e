//! What the configuration file wants to be run: the first step of each start and each reload.
//! Nothing is loaded or bound here.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use watm_wasmer::{Config, Role, Tunnel};

use crate::args::DaemonArgs;
use crate::setup;
use crate::terminal::failure::Failure;

/// The exit code for a file that cannot be used.
const BAD_FILE: u8 = 2;
/// The grace period of the library.
const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// A tunnel that is complete.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) tunnel: Tunnel,
    pub(super) name: String,
    pub(super) role: Role,
    /// The hash of the user name and the password that clients have to know, as they are now.
    password: Option<[u8; 32]>,
}

/// What a change of a tunnel asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is as before, as far as the file says.
    None,
    /// Its connections are made in another way, from the same sockets to the same address.
    Settings,
    /// What a server keeps for its life: it takes another one.
    Server,
}

/// Reads the file. An error has the exit code for bad files.
pub(super) fn read(args: &DaemonArgs) -> Result<Vec<Plan>, Failure> {
    let tunnels = tunnels(args).map_err(|failure| failure.with_exit_code(BAD_FILE))?;
    let loader = setup::loader_below(&args.load())?;
    let plans = tunnels.into_iter().map(|(name, role, tunnel)| Plan {
        password: password(&tunnel),
        tunnel: tunnel.loader(loader.clone()),
        name,
        role,
    });
    Ok(plans.collect())
}

/// If the file cannot be read, loading says so.
fn password(tunnel: &Tunnel) -> Option<[u8; 32]> {
    let bytes = std::fs::read(tunnel.socks_auth()?).ok()?;
    Some(Sha256::digest(bytes).into())
}

fn tunnels(args: &DaemonArgs) -> Result<Vec<(String, Role, Tunnel)>, Failure> {
    let config = Config::from_file(&args.file)?;
    for warning in config.warnings() {
        log::warn!("{}: {warning}", args.file.display());
    }
    for name in &args.only {
        config.tunnel(name)?;
    }
    let (mut tunnels, mut lacks) = (Vec::new(), Vec::new());
    for tunnel in config.tunnels() {
        let (Some(name), Some(role)) = (tunnel.name(), tunnel.role()) else {
            return Err(of_the_go_runtime(&args.file));
        };
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        if let Some(lack) = lack(name, role, tunnel) {
            lacks.push(lack);
        }
        let mut tunnel = tunnel.clone();
        if !args.trusted_key.is_empty() {
            tunnel = tunnel.without("trusted_keys");
        }
        tunnels.push((name.to_owned(), role, tunnel));
    }
    if lacks.is_empty() {
        return Ok(tunnels);
    }
    let file = args.file.display();
    Err(Failure::new(format!("{file}: {}", lacks.join("; "))).hint(
        "`watm run` serves plain clients with each tunnel: add what is missing, or choose tunnels \
         with --only",
    ))
}

/// What a tunnel lacks to serve without standard input and output.
fn lack(name: &str, role: Role, tunnel: &Tunnel) -> Option<String> {
    let mut missing = Vec::new();
    if tunnel.listen().is_empty() {
        missing.push("`listen`");
    }
    if role == Role::Dialer && tunnel.remote().is_none() && !tunnel.is_proxy() {
        missing.push("`remote`");
    }
    if role == Role::Listener && tunnel.forward().is_none() && tunnel.asked().is_none() {
        missing.push("`forward`");
    }
    if missing.is_empty() {
        return None;
    }
    Some(format!("tunnel `{name}` lacks {}", missing.join(" and ")))
}

fn of_the_go_runtime(file: &Path) -> Failure {
    let shown = file.display();
    Failure::new(format!(
        "{shown} is a configuration of the Go runtime, which does not say in which role its module \
         is used"
    ))
    .hint(format!(
        "write a file in TOML for `watm run`, or use `watm dial --config-file {shown} --remote \
         HOST:PORT` or another command for the role"
    ))
}

impl Plan {
    /// How it differs from the plan before.
    pub(super) fn change_from(&self, before: &Self) -> Change {
        let (now, then) = (&self.tunnel, &before.tunnel);
        // What a server keeps, also when its settings are replaced.
        let kept = |tunnel: &Tunnel| -> Vec<(&str, String)> {
            let has_times =
                self.role == Role::Listener || tunnel.is_proxy() || tunnel.expects_proxy_protocol();
            let settings = tunnel.settings().into_iter();
            let is_kept = |(key, _): &(&str, String)| match *key {
                "handshake_limit" => true,
                "connect_timeout" | "setup_timeout" => has_times,
                _ => false,
            };
            settings.filter(is_kept).collect()
        };
        let is_same_server = self.role == before.role
            && now.listen() == then.listen()
            && now.remote() == then.remote()
            && now.forward() == then.forward()
            && now.has_fronts_of(then)
            && self.password == before.password
            && now.connection_limit() == then.connection_limit()
            && kept(now) == kept(then);
        if !is_same_server {
            Change::Server
        } else if now.has_settings_of(then) {
            Change::None
        } else {
            Change::Settings
        }
    }

    /// The time that its connections have at the end of the process.
    pub(super) fn close_grace(&self) -> Duration {
        self.tunnel.close_grace().unwrap_or(CLOSE_GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lines: &str) -> Plan {
        let text = format!("[[tunnel]]\nname = 't'\nmodule = 'm.wasm'\n{lines}");
        let config = Config::from_toml(&text, "/base").expect(lines);
        let tunnel = config.only().expect("a tunnel").clone();
        Plan {
            name: "t".to_owned(),
            role: tunnel.role().expect("a role"),
            password: None,
            tunnel,
        }
    }

    #[test]
    fn a_change_asks_for_no_more_than_it_needs() {
        let before = "role = 'dialer'\nlisten = ['127.0.0.1:1']\nremote = 'h:1'\n";
        let relay = before.replace("dialer", "relay");
        for (lines, change) in [
            (before.to_owned(), Change::None),
            (
                format!("{before}settings = {{ timing = true }}"),
                Change::Settings,
            ),
            (before.replace("m.wasm", "n.wasm"), Change::None),
            (before.replace("127.0.0.1:1", "127.0.0.1:2"), Change::Server),
            (before.replace("h:1", "h:2"), Change::Server),
            (relay, Change::Server),
            (
                format!("{before}settings = {{ setup_timeout = '9s' }}"),
                Change::Settings,
            ),
            (format!("{before}socks = true"), Change::Server),
            (format!("{before}proxy_protocol = true"), Change::Server),
            (
                format!("{before}settings = {{ connection_limit = 1 }}"),
                Change::Server,
            ),
            (
                format!("{before}settings = {{ handshake_limit = 1 }}"),
                Change::Server,
            ),
        ] {
            assert_eq!(plan(&lines).change_from(&plan(before)), change, "{lines}");
        }
    }

    #[test]
    fn what_a_tunnel_lacks_is_named() {
        let lack = |lines: &str| {
            let plan = plan(lines);
            super::lack("t", plan.role, &plan.tunnel)
        };
        let policy = "[tunnel.settings]\npolicy = { allow_all = true }\n";
        for (role, rest, missing) in [
            ("dialer", "", Some("`listen` and `remote`")),
            ("listener", "", Some("`listen` and `forward`")),
            ("relay", policy, Some("`listen`")),
            ("fixed-dialer", policy, Some("`listen`")),
        ] {
            let lines = format!("role = '{role}'\n{rest}");
            let expected = missing.map(|missing| format!("tunnel `t` lacks {missing}"));
            assert_eq!(lack(&lines), expected);
        }
        let complete = "role = 'relay'\nlisten = [':1']\n";
        assert_eq!(lack(&format!("{complete}{policy}")), None);
    }
}
