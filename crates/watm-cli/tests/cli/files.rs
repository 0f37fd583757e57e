//! Files and directories that a module is given.

use crate::peers::Server;
use crate::process::{Watm, built};

/// The content that the module `files` finds at `/data/greeting.txt` with these options.
#[track_caller]
fn greeting(options: &[&str], len: usize) -> String {
    let server = Server::echo();
    let module = built("files");
    let mut args = vec!["dial", "--module", &module, "--remote", &server.address];
    args.extend(options);
    let mut watm = Watm::start(&args);
    String::from_utf8(watm.stdout_bytes(len)).expect("text")
}

#[test]
fn a_module_finds_a_file_that_was_given_and_directories_at_the_root() {
    let host = tempfile::tempdir().expect("a directory");
    let path = |name: &str| host.path().join(name);
    std::fs::create_dir(path("data")).expect("a directory");
    std::fs::write(path("data/greeting.txt"), "hello\n").expect("a file");
    std::fs::write(path("other"), "from memory\n").expect("a file");
    let given = |name: &str, guest: &str| format!("{}:{guest}", path(name).display());
    let root = given("", "/");
    assert_eq!(greeting(&["--dir", &root], 6), "hello\n");
    let writable = format!("{root}:rw");
    assert_eq!(greeting(&["--dir", &writable], 6), "hello\n");
    let file = given("other", "/data/greeting.txt");
    let more = given("other", "/etc/more");
    assert_eq!(
        greeting(&["--file", &file, "--file", &more], 12),
        "from memory\n"
    );
    // The file takes precedence over what is in the root directory.
    let options = ["--dir", &root, "--file", &file];
    assert_eq!(greeting(&options, 12), "from memory\n");
}

#[test]
fn files_that_cannot_be_given_are_named_with_what_to_do() {
    let host = tempfile::tempdir().expect("a directory");
    let file = host.path().join("file");
    let large = std::fs::File::create(&file).expect("a file");
    let directory = format!("{}:/data", host.path().display());
    let module = built("files");
    let at = |guest: &str| format!("{}:{guest}", file.display());
    let run = |options: &[&str]| {
        let mut args = vec!["dial", "--module", &module, "--remote", "127.0.0.1:1"];
        args.extend(options);
        Watm::run(&args)
    };
    run(&["--file", "no/such:/a"]).failure(&["no/such", "No such file", "--file"]);
    run(&["--file", &at("/data/x"), "--dir", &directory]).failure(&["/data/x", "\"/data\""]);
    run(&["--file", &at("/a"), "--file", &at("/a")]).failure(&["\"/a\"", "twice"]);
    run(&["--file", &at("/conf/watm.cfg")]).failure(&["/conf/watm.cfg", "configuration"]);
    // Together they are too large.
    large.set_len(40 << 20).expect("a sparse file");
    run(&["--file", &at("/a"), "--file", &at("/b")]).failure(&["24.0 MiB", "--file", "64 MiB"]);
    run(&["--file", "/dev/zero:/a"]).failure(&["/dev/zero", "64.0 MiB"]);
}
