//! Configuration files: what `watm config check` shows, and tunnels that are started from one.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use crossbeam_channel::{Receiver, unbounded};
use tempfile::TempDir;

use crate::peers::{Server, connect};
use crate::process::{LIMIT, Watm, built};

/// A directory with a configuration file, whose name is `name`.
struct Files {
    directory: TempDir,
    name: &'static str,
}

impl Files {
    fn with(name: &'static str, text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Self { directory, name };
        fs::write(files.path("key.txt"), "key").expect("a file");
        let text = text
            .replace("XOR", &built("xor"))
            .replace("KEY", files.path("key.txt").to_str().expect("UTF-8"));
        fs::write(files.path(name), text).expect("a file");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration file.
    fn file(&self) -> String {
        self.path(self.name).to_str().expect("UTF-8").to_owned()
    }
}

fn toml(forward: &str) -> String {
    format!(
        "[defaults]\nconfig = 'key.txt'\n\
         [[tunnel]]\nname = 'server'\nrole = 'listener'\nmodule = 'XOR'\n\
         listen = ['127.0.0.1:0']\nforward = '{forward}'\n\
         [[tunnel]]\nname = 'client'\nrole = 'dialer'\nmodule = {{ file = 'XOR' }}\n\
         listen = ['127.0.0.1:0']\nsettings = {{ spare_instances = 1, close_grace = '1s' }}\n"
    )
}

const JSON: &str = r#"{
  "transport_module": { "bin": "XOR", "config": "KEY" },
  "network": { "listener": { "network": "tcp", "address": "127.0.0.1:0" } },
  "module": { "argv": ["xor"], "inherit_stderr": true },
  "runtime": { "force_interpreter": true }
}"#;

const MESSAGE: &[u8] = b"through both";

/// A plain server that tells what it receives from each client.
fn recording() -> (Server, Receiver<Vec<u8>>) {
    let (sender, received) = unbounded();
    let server = Server::start(move |client| {
        let mut bytes = vec![0; MESSAGE.len()];
        (&client).read_exact(&mut bytes).expect("all of it");
        let _ = sender.send(bytes);
    });
    (server, received)
}

/// Sends through a tunnel, and returns what comes out. The server and the client are started with
/// these options.
fn through(received: &Receiver<Vec<u8>>, listen: &[&str], dial: &[&str]) -> Vec<u8> {
    let (_listen, middle) = Watm::listening(&[&["listen"], listen].concat());
    let (_dial, entrance) = Watm::listening(&[&["dial", "--remote", &middle], dial].concat());
    let client = connect(&entrance);
    (&client).write_all(MESSAGE).expect("all of it");
    received.recv_timeout(LIMIT).expect("a message")
}

#[test]
fn a_tunnel_runs_from_a_file_in_toml_and_options_replace_what_it_says() {
    let (server, received) = recording();
    let files = Files::with("watm.toml", &toml(&server.address));
    let file = files.file();
    let listen = ["--config-file", &file, "--tunnel", "server"];
    let dial = ["--config-file", &file, "--tunnel", "client"];
    assert_eq!(through(&received, &listen, &dial), MESSAGE);
    // Another key than that of the file, and so not the same bytes.
    let other = files.path("other.txt");
    fs::write(&other, "other").expect("a file");
    let other = other.to_str().expect("UTF-8");
    let dial = [&dial[..], &["--config", other, "--spare-instances", "0"]].concat();
    assert_ne!(through(&received, &listen, &dial), MESSAGE);
}

#[test]
fn a_tunnel_runs_from_the_configuration_of_the_go_runtime() {
    let (server, received) = recording();
    let files = Files::with("water.json", JSON);
    let file = files.file();
    let dial = ["--config-file", &file];
    let listen = [&dial[..], &["--forward", &server.address]].concat();
    assert_eq!(through(&received, &listen, &dial), MESSAGE);
}

#[test]
fn a_chain_runs_from_a_file_and_the_option_for_a_module_replaces_all_of_it() {
    let (server, received) = recording();
    let below = "[[tunnel.below]]\nmodule = 'XOR'\nsettings = { config = { text = 'below' } }\n";
    let text = toml(&server.address);
    let (listener, dialer) = text.split_at(text.rfind("[[tunnel]]").expect("two"));
    let files = Files::with("watm.toml", &format!("{listener}{below}{dialer}{below}"));
    let file = files.file();
    let listen = ["--config-file", &file, "--tunnel", "server"];
    let dial = ["--config-file", &file, "--tunnel", "client"];
    assert_eq!(through(&received, &listen, &dial), MESSAGE);
    let check = Watm::run(&["config", "check", &file]);
    assert_eq!(
        check.stdout.matches("below             ").count(),
        2,
        "{check:?}"
    );
    assert!(
        check.stdout.contains("config: a text of 5 bytes"),
        "{check:?}"
    );
    // With one key more than the other side.
    let (xor, key) = (built("xor"), files.path("key.txt"));
    let own = ["--module", &xor, "--config", key.to_str().expect("UTF-8")];
    let dial = [&dial[..], &own].concat();
    assert_ne!(through(&received, &listen, &dial), MESSAGE);
    let listen = [&listen[..], &own].concat();
    assert_eq!(through(&received, &listen, &dial), MESSAGE);
}

#[test]
fn a_file_names_the_proxy_and_an_option_another() {
    let text = "[[tunnel]]\nname = 't'\nrole = 'dialer'\nmodule = 'XOR'\n\
        [tunnel.settings]\nproxy = 'http://127.0.0.1:1'\nconfig = 'key.txt'\n";
    let files = Files::with("watm.toml", text);
    let file = files.file();
    let dial = ["dial", "--config-file", &file, "--remote", "192.0.2.1:443"];
    Watm::run(&dial).failure(&["127.0.0.1:1", "proxy", "refused"]);
    let other = [&dial[..], &["--proxy", "socks5://127.0.0.1:2"]].concat();
    Watm::run(&other).failure(&["127.0.0.1:2", "refused"]);
    let below = "[[tunnel.below]]\nmodule = 'XOR'\nsettings = { config = 'key.txt' }\n";
    let files = Files::with("watm.toml", &format!("{text}{below}"));
    let file = files.file();
    let dial = ["dial", "--config-file", &file, "--remote", "192.0.2.1:443"];
    Watm::run(&dial).failure(&["127.0.0.1:1", "refused"]);
    let other = [&dial[..], &["--proxy", "socks5://127.0.0.1:2"]].concat();
    Watm::run(&other).failure(&["127.0.0.1:2", "refused"]);
}

#[test]
fn a_module_is_signed_by_a_key_of_the_file_or_of_the_option() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/signed");
    let text = format!(
        "trusted_keys = ['{root}/KEYFILE']\n[[tunnel]]\nname = 't'\nrole = 'dialer'\n\
         module = '{root}/module.wat'\nremote = '127.0.0.1:1'\n"
    );
    let with = |key: &str| Files::with("watm.toml", &text.replace("KEYFILE", key));
    let (trusted, other) = ("first.pub", "second.pub");
    let files = with(trusted);
    Watm::run(&["config", "check", &files.file()]).success();
    // It is loaded, and then fails by itself.
    let loaded = "could not be set up";
    Watm::run(&["dial", "--config-file", &files.file()]).failure(&[loaded]);
    let files = with(other);
    let check = Watm::run(&["config", "check", &files.file()]);
    assert!(check.stdout.contains("signature"), "{check:?}");
    Watm::run(&["dial", "--config-file", &files.file()]).failure(&["signature"]);
    let key = format!("{root}/{trusted}");
    let option = [
        "dial",
        "--config-file",
        &files.file(),
        "--trusted-key",
        &key,
    ];
    Watm::run(&option).failure(&[loaded]);
}

#[test]
fn the_warnings_of_a_file_are_logged_and_a_hash_that_is_not_met_is_a_failure() {
    let files = Files::with("water.json", JSON);
    Watm::run(&["dial", "--config-file", &files.file()]).failure(&[
        "WARN",
        "`runtime.force_interpreter`",
        "which server to dial",
        "--remote",
    ]);
    // Whoever serves is told once, though the file is what connections are made with, too.
    let address = ["--remote", "127.0.0.1:1", "--listen", "127.0.0.1:0"];
    let file = files.file();
    let dial = [&["dial", "--config-file", &file][..], &address].concat();
    let (mut watm, _) = Watm::listening(&dial);
    watm.signal(libc::SIGTERM);
    let warnings = watm
        .end()
        .stderr
        .matches("`runtime.force_interpreter`")
        .count();
    assert_eq!(warnings, 1);
    let text = toml("h:1").replace(
        "file = 'XOR'",
        &format!("file = 'XOR', sha256 = '{:064}'", 0),
    );
    let files = Files::with("watm.toml", &text);
    let dial = ["dial", "--config-file", &files.file(), "--remote", "h:1"];
    let dial = [&dial[..], &["--tunnel", "client"]].concat();
    Watm::run(&dial).failure(&["SHA-256"]);
}

#[test]
fn a_file_that_does_not_fit_the_command_is_refused() {
    let files = Files::with("watm.toml", &toml("h:1"));
    let file = files.file();
    let run = |command: &str, more: &[&str]| {
        Watm::run(&[&[command, "--config-file", &file], more].concat())
    };
    run("dial", &[]).failure(&["2 tunnels", "`server`, `client`", "--tunnel"]);
    run("dial", &["--tunnel", "clinet"]).failure(&["nearest is `client`"]);
    run("dial", &["--tunnel", "server"]).failure(&["a listener, not a dialer", "watm listen"]);
    run("dial", &["--tunnel", "client"]).failure(&["which server to dial", "--remote"]);
    run("listen", &["--tunnel", "server", "--keep-open"]).failure(&["--keep-open", "forward to"]);
    let more = ["--tunnel", "client", "--keep-open", "--remote", "h:1"];
    run("dial", &more).failure(&["--keep-open", "says where to listen"]);
    let files = Files::with("water.json", &JSON.replace("stderr", "stdout"));
    let more = ["dial", "--remote", "h:1", "--config-file", &files.file()];
    // It says where to listen.
    let on_stdio = JSON.replace("stderr", "stdout").replace("127.0.0.1:0", "");
    let other = Files::with("water.json", &on_stdio);
    Watm::run(&["dial", "--remote", "h:1", "--config-file", &other.file()])
        .failure(&["standard input or output", "--listen"]);
    let (_watm, _) = Watm::listening(&more);
}

#[test]
fn a_check_shows_what_would_run_and_compiles_nothing() {
    let files = Files::with("watm.toml", &toml("127.0.0.1:80"));
    let check = Watm::run(&["config", "check", &files.file()]);
    check.success();
    for part in [
        "tunnel            server",
        "role              dialer",
        "from              127.0.0.1:0",
        "to                127.0.0.1:80",
        "to                an address that is given later",
        "(not pinned)",
        "close_grace       1s",
        "config            key.txt",
        "warnings          none\nproblems          none\n",
    ] {
        assert!(check.stdout.contains(part), "{part:?} in {check:?}");
    }
    assert_eq!(check.stderr, "");
    let files = Files::with("water.json", JSON);
    let check = Watm::run(&["config", "check", &files.file()]);
    check.success();
    for part in [
        "chosen by the command",
        "warnings          1",
        "no interpreter",
    ] {
        assert!(check.stdout.contains(part), "{part:?} in {check:?}");
    }
}

#[test]
fn a_check_tells_what_is_wrong_and_fails() {
    let text = toml("h:1").replace("key.txt", "none.txt");
    let files = Files::with("watm.toml", &text);
    let check = Watm::run(&["config", "check", &files.file()]);
    check.silent_failure();
    for part in [
        "problems          1",
        "line 2, column 10, `defaults.config`",
        "none.txt",
    ] {
        assert!(check.stdout.contains(part), "{part:?} in {check:?}");
    }
    let files = Files::with(
        "watm.toml",
        &toml("h:1").replace("spare_instances", "spare_instance"),
    );
    Watm::run(&["config", "check", &files.file()]).failure(&[
        "watm.toml, line 14, column 14, `tunnel[1].settings.spare_instance`",
        "`spare_instances`",
    ]);
    let files = Files::with("water.json", &JSON.replace("listener", "listner"));
    Watm::run(&["config", "check", &files.file()]).failure(&["`network.listner`", "`listener`"]);
    Watm::run(&["config", "check", "no/such"]).failure(&["no/such", "could not be read"]);
}
