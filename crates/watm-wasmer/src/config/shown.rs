//! Settings as a person reads them.

use watm_abi::Excerpt;

use super::file::{
    ConfigKey, DirectoryTable, FileTable, PolicyTable, Settings, StdioKey, StdioName, StreamName,
};
use super::value::Parsed;
use crate::net::proxy::UpstreamProxy;

/// The settings that are set, in the order of the schema. Texts from the file are escaped.
pub(super) fn shown(settings: &Settings) -> Vec<(&'static str, String)> {
    let Settings {
        config,
        args,
        env,
        dirs,
        files,
        stdio,
        policy,
        source_addresses,
        interface,
        mark,
        proxy,
        connect_timeout,
        setup_timeout,
        close_grace,
        drain_timeout,
        keepalive,
        memory_limit,
        memory_headroom,
        descriptor_limit,
        handshake_limit,
        backlog,
        connection_limit,
        spare_instances,
        spare_refill_rate,
        host_aead,
        timing,
    } = settings;
    let number = |number: &Option<u64>| number.map(|number| number.to_string());
    let lines = [
        ("config", config.as_ref().map(configuration)),
        (
            "args",
            args.as_deref().map(|args| list(args, |arg| (*arg).clone())),
        ),
        (
            "env",
            env.as_ref()
                .map(|env| list(env.keys(), |name| (*name).clone())),
        ),
        ("dirs", dirs.as_deref().map(|dirs| list(dirs, directory))),
        ("files", files.as_deref().map(|files| list(files, file))),
        ("stdio", stdio.as_ref().map(streams)),
        ("policy", policy.as_ref().map(addresses)),
        (
            "source_addresses",
            source_addresses
                .as_deref()
                .map(|addresses| list(addresses, |address| address.text.clone())),
        ),
        (
            "interface",
            interface.as_ref().map(|name| Excerpt(name).to_string()),
        ),
        ("mark", number(mark)),
        // Without the credentials.
        ("proxy", proxy.as_ref().map(upstream)),
        ("connect_timeout", text(connect_timeout.as_ref())),
        ("setup_timeout", text(setup_timeout.as_ref())),
        ("close_grace", text(close_grace.as_ref())),
        ("drain_timeout", text(drain_timeout.as_ref())),
        ("keepalive", text(keepalive.as_ref())),
        ("memory_limit", text(memory_limit.as_ref())),
        ("memory_headroom", text(memory_headroom.as_ref())),
        ("descriptor_limit", number(descriptor_limit)),
        ("handshake_limit", number(handshake_limit)),
        ("backlog", number(backlog)),
        ("connection_limit", number(connection_limit)),
        ("spare_instances", number(spare_instances)),
        ("spare_refill_rate", number(spare_refill_rate)),
        ("host_aead", host_aead.map(|on| on.to_string())),
        ("timing", timing.map(|timing| timing.to_string())),
    ];
    let lines = lines.into_iter();
    lines
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

fn text<T>(parsed: Option<&Parsed<T>>) -> Option<String> {
    parsed.map(|parsed| parsed.text.clone())
}

/// Texts with commas between them, each of them escaped.
fn list<I: IntoIterator>(items: I, write: impl Fn(&I::Item) -> String) -> String {
    let items = items
        .into_iter()
        .map(|item| Excerpt(&write(&item)).to_string());
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        return "none".to_owned();
    }
    items.join(", ")
}

fn upstream(proxy: &Parsed<UpstreamProxy>) -> String {
    Excerpt(&proxy.value.to_string()).to_string()
}

fn configuration(config: &ConfigKey) -> String {
    match config {
        ConfigKey::File(path) => Excerpt(&path.text).to_string(),
        ConfigKey::Text(table) => format!("a text of {} bytes", table.text.len()),
    }
}

fn directory(dir: &&DirectoryTable) -> String {
    let writable = if dir.writable { ", writable" } else { "" };
    format!("{} as {}{writable}", dir.host.text, dir.guest)
}

fn file(file: &&FileTable) -> String {
    format!("{} as {}", file.host.text, file.guest)
}

fn streams(stdio: &StdioKey) -> String {
    match stdio {
        StdioKey::All(StdioName::Log) => "log".to_owned(),
        StdioKey::All(StdioName::Inherit) => "inherit".to_owned(),
        StdioKey::All(StdioName::Null) => "null".to_owned(),
        StdioKey::These(names) => {
            let names = list(names, |name| {
                match name {
                    StreamName::Stdin => "stdin",
                    StreamName::Stdout => "stdout",
                    StreamName::Stderr => "stderr",
                }
                .to_owned()
            });
            format!("inherit {names}; log the others")
        }
    }
}

fn addresses(policy: &PolicyTable) -> String {
    let mut parts = Vec::new();
    if policy.allow_all {
        parts.push("allow everything".to_owned());
    } else if policy.allow.is_empty() {
        parts.push("allow nothing".to_owned());
    }
    let named = |name: &str, texts: Vec<&str>| {
        (!texts.is_empty()).then(|| format!("{name} {}", list(texts, |text| (*text).to_owned())))
    };
    let texts = |list: &'_ [Parsed<_>]| list.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
    let (allow, deny) = (texts(&policy.allow), texts(&policy.deny));
    let prefixes = policy
        .nat64_prefixes
        .iter()
        .map(|prefix| prefix.text.as_str());
    parts.extend(named("allow", allow.iter().map(String::as_str).collect()));
    parts.extend(named("deny", deny.iter().map(String::as_str).collect()));
    parts.extend(named("NAT64 prefixes", prefixes.collect()));
    parts.join("; ")
}
