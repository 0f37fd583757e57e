//! A plugin of Shadowsocks (SIP003), client or server: `ss-local --plugin watm --plugin-opts ..`
//! starts this program without arguments, and says in the environment what it is to be. That becomes
//! the command line of `watm dial` or `watm listen`.

use std::ffi::OsString;

use crate::plugin_options;

/// Why a plugin cannot be what it is asked to be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PluginError {
    #[error("{0} is not set; a program that speaks SIP003 sets it")]
    Missing(&'static str),
    #[error("SS_PLUGIN_OPTIONS: {0}")]
    Options(#[from] plugin_options::PluginOptionsError),
    #[error(
        "SS_PLUGIN_OPTIONS names no module; expected module=FILE, and config=FILE if it has one"
    )]
    NoModule,
    #[error(
        "SS_PLUGIN_OPTIONS: `{0}` cannot be set there, since the program that starts it says so"
    )]
    Taken(String),
}

/// What the program that has started this one sets.
const REMOTE: [&str; 2] = ["SS_REMOTE_HOST", "SS_REMOTE_PORT"];
const LOCAL: [&str; 2] = ["SS_LOCAL_HOST", "SS_LOCAL_PORT"];

/// The command line of the plugin, if this process was started as one: without arguments, and with what
/// SIP003 puts into the environment.
pub(crate) fn command_line() -> Option<Result<Vec<OsString>, PluginError>> {
    let is_alone = std::env::args_os().len() == 1;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_plugin = REMOTE
        .iter()
        .chain(&LOCAL)
        .any(|name| variable(name).is_some());
    (is_alone && is_plugin).then(|| line(variable))
}

fn line(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<OsString>, PluginError> {
    let addresses = |[host, port]: [&'static str; 2]| {
        let port = variable(port).ok_or(PluginError::Missing(port))?;
        let hosts = variable(host).ok_or(PluginError::Missing(host))?;
        // A server may have several.
        let hosts = hosts.split('|').filter(|host| !host.is_empty());
        Ok::<_, PluginError>(hosts.map(|host| address(host, &port)).collect::<Vec<_>>())
    };
    let (remote, local) = (addresses(REMOTE)?, addresses(LOCAL)?);
    let options = plugin_options::parse(&variable("SS_PLUGIN_OPTIONS").unwrap_or_default())?;
    let is_server = options
        .iter()
        .any(|option| *option == ("server".into(), None));
    let (command, from, to, target) = if is_server {
        ("listen", remote, local, "--forward")
    } else {
        ("dial", local, remote, "--remote")
    };
    let mut line: Vec<OsString> = ["watm", command, "--quiet"].map(OsString::from).into();
    for address in from {
        line.push(format!("--listen={address}").into());
    }
    if let Some(address) = to.first() {
        line.push(format!("{target}={address}").into());
    }
    let mut has_module = false;
    for (name, value) in options {
        has_module |= matches!(name.as_str(), "module" | "config-file");
        line.extend(argument(&name, value)?);
    }
    if !has_module {
        return Err(PluginError::NoModule);
    }
    Ok(line)
}

fn address(host: &str, port: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The argument that an option becomes: that with the same name.
fn argument(name: &str, value: Option<String>) -> Result<Option<OsString>, PluginError> {
    match (name, value) {
        ("server", None) => Ok(None),
        ("listen" | "forward" | "remote" | "socks" | "server" | "quiet", _) => {
            Err(PluginError::Taken(name.to_owned()))
        }
        // Programs on phones have it set by their plugin interface.
        ("__android_vpn" | "fast-open", _) => Ok(None),
        (name, None) => Ok(Some(format!("--{name}").into())),
        (name, Some(value)) => Ok(Some(format!("--{name}={value}").into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &str, variables: &[(&str, &str)]) -> Result<Vec<String>, PluginError> {
        let common = [
            ("SS_REMOTE_HOST", "192.0.2.1"),
            ("SS_REMOTE_PORT", "8388"),
            ("SS_LOCAL_HOST", "127.0.0.1"),
            ("SS_LOCAL_PORT", "1984"),
            ("SS_PLUGIN_OPTIONS", options),
        ];
        let all = [&common[..], variables].concat();
        let line = line(|name| {
            let found = all.iter().rev().find(|(known, _)| *known == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .filter(|value| !value.is_empty())
        })?;
        Ok(line
            .into_iter()
            .map(|one| one.into_string().expect("text"))
            .collect())
    }

    #[test]
    fn a_client_dials_and_a_server_listens() {
        let client = of(r"module=/m.wasm;config=a\;b.json", &[]).expect("a client");
        let expected = "watm dial --quiet --listen=127.0.0.1:1984 --remote=192.0.2.1:8388 \
                        --module=/m.wasm --config=a;b.json";
        assert_eq!(client.join(" "), expected);
        let hosts = [("SS_REMOTE_HOST", "0.0.0.0|::"), ("SS_LOCAL_HOST", "::1")];
        let server = of("server;module=/m.wasm;spare-instances=2", &hosts).expect("a server");
        let expected = "watm listen --quiet --listen=0.0.0.0:8388 --listen=[::]:8388 \
                        --forward=[::1]:1984 --module=/m.wasm --spare-instances=2";
        assert_eq!(server.join(" "), expected);
    }

    #[test]
    fn what_is_missing_or_taken_is_named() {
        assert_eq!(of("", &[]), Err(PluginError::NoModule));
        assert_eq!(
            of("module=m", &[("SS_LOCAL_PORT", "")]),
            Err(PluginError::Missing("SS_LOCAL_PORT"))
        );
        for option in ["listen=:1", "remote=h:1", "server=1", "quiet"] {
            let error = of(&format!("module=m;{option}"), &[]).expect_err(option);
            assert!(matches!(error, PluginError::Taken(_)), "{error}");
        }
        assert!(matches!(
            of("module=m\\", &[]),
            Err(PluginError::Options(_))
        ));
    }
}
