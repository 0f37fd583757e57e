//! Contract, section 1: what is a module, what is not and why, and in which order the host calls
//! it.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::time::Duration;

use watm_abi::{ItemKind, import_signature};
use watm_tests::{
    Duo, EchoServer, Pair, accept_one, alternate, built, connect, echo_messages, expect_end,
    listener, path_of, read_vec, text, wat, wat_text, with_worker, within,
};
use watm_wasmer::{
    AddressPolicy, ArtifactCache, ConfigError, DialError, Dialer, FixedDialer, InterfaceError,
    ListenError, Listener, LoadError, ModuleLoader, Relay, Role, TransportError, TransportModule,
};

#[track_caller]
fn problems(file: &str) -> Vec<InterfaceError> {
    match TransportModule::from_file(path_of(file)).expect_err(file) {
        LoadError::Interface(problems) => problems,
        other => panic!("{file}: {other:?}"),
    }
}

/// Returns the only problem of a module, whose message must contain all of `texts`.
#[track_caller]
fn problem(file: &str, texts: &[&str]) -> InterfaceError {
    let mut problems = problems(file);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problem = problems.remove(0);
    let message = problem.to_string();
    for text in texts {
        assert!(message.contains(text), "{text:?} is missing: {message}");
    }
    problem
}

#[test]
fn a_missing_export_is_named_with_the_signature_expected() {
    let found = problem("missing_export.wat", &["watm_ctrlpipe_v1", "(i32) -> i32"]);
    assert!(matches!(found, InterfaceError::MissingExport { .. }));
}

#[test]
fn a_missing_memory_is_named() {
    let found = problem("missing_memory.wat", &["memory"]);
    assert!(matches!(found, InterfaceError::MissingExport { .. }));
}

#[test]
fn a_wrongly_typed_export_is_named_with_both_signatures() {
    let texts = ["watm_dial_v1", "() -> i64", "(i32) -> i32"];
    let found = problem("wrong_signature.wat", &texts);
    assert!(matches!(found, InterfaceError::ExportSignature { .. }));
}

#[test]
fn an_import_that_nobody_provides_is_named_with_its_signature() {
    let found = problem(
        "unknown_import.wat",
        &["env", "water_teleport", "(i32) -> i32"],
    );
    assert!(matches!(found, InterfaceError::ImportUnknown { .. }));
}

#[test]
fn a_wrongly_typed_import_is_named_with_both_signatures() {
    let texts = [
        "water_dial",
        "(i32, i32) -> i32",
        "(i32, i32, i32, i32) -> i32",
    ];
    let found = problem("wrong_import.wat", &texts);
    assert!(matches!(found, InterfaceError::ImportSignature { .. }));
}

#[test]
fn a_memory_that_is_wanted_from_the_host_is_named() {
    problem("imported_memory.wat", &["memory", "env"]);
}

#[test]
fn a_shared_memory_is_refused() {
    assert_eq!(
        problem("shared_memory.wat", &["shared"]),
        InterfaceError::SharedMemory
    );
}

#[test]
fn a_module_without_any_role_is_told_which_functions_were_looked_for() {
    let names = [
        "watm_dial_v1",
        "watm_dial_fixed_v1",
        "watm_accept_v1",
        "watm_associate_v1",
    ];
    let found = problem("no_role.wat", &names);
    assert!(matches!(found, InterfaceError::NoRole { .. }));
}

#[test]
fn the_draft_that_is_also_called_v1_is_refused_by_name() {
    let found = problem("draft_v1.wat", &["draft", "watm_userpipe_v1"]);
    assert_eq!(found, InterfaceError::DraftV1);
}

#[test]
fn v0_is_refused_by_name() {
    let found = problem("v0.wat", &["v0", "_water_v0"]);
    assert_eq!(found, InterfaceError::Version0);
}

#[test]
fn all_problems_of_a_module_are_told_at_once() {
    let error = TransportModule::from_bytes(
        r#"(module
            (import "env" "water_teleport" (func))
            (import "wasi_snapshot_preview1" "fd_raed" (func))
            (func (export "watm_init_v1"))
            (func (export "watm_dial_v1") (param i32 i32)))"#,
    );
    let error = error.expect_err("nothing is right").to_string();
    for name in [
        "memory",
        "watm_init_v1",
        "watm_ctrlpipe_v1",
        "watm_start_v1",
        "watm_dial_v1",
        "water_teleport",
        "fd_raed",
    ] {
        assert!(
            error.contains(&format!("`{name}`")),
            "{name} is missing: {error}"
        );
    }
}

#[test]
fn nothing_of_a_module_runs_before_it_is_found_wrong_or_while_it_loads() {
    let endless = |rest: &str| {
        format!(
            r#"(module
                (import "env" "water_dial_fixed" (func $dial (result i32)))
                (memory (export "memory") 1)
                (func $endless (loop $l (br $l)))
                (start $endless)
                (func (export "_initialize") (loop $l (br $l)))
                (func (export "watm_init_v1") (result i32) (i32.const 0))
                (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
                (func (export "watm_dial_v1") (param i32) (result i32) (call $dial))
                {rest})"#
        )
    };
    let wrong = endless("");
    let right = endless(r#"(func (export "watm_start_v1") (result i32) (i32.const 0))"#);
    within(watm_tests::SHORT, move || {
        let error = TransportModule::from_bytes(wrong).expect_err("an export is missing");
        assert!(matches!(error, LoadError::Interface(_)), "{error:?}");
        TransportModule::from_bytes(right).expect("a module")
    });
}

#[test]
fn a_module_without_the_role_asked_for_is_refused_with_the_roles_that_it_has() {
    #[track_caller]
    fn refused(error: &(impl Error + ?Sized), role: &str, has: &str) {
        let message = error.to_string();
        assert!(message.contains(role), "{message}");
        assert!(message.contains(has), "{message}");
    }
    let fixed = built("fixed");
    let error = Dialer::builder(&fixed).build().expect_err("no dialer");
    assert!(matches!(
        error,
        ConfigError::Role(InterfaceError::MissingRole { .. })
    ));
    refused(&error, "not a dialer", "roles: fixed dialer");
    let error = Listener::builder(&fixed)
        .bind("127.0.0.1:0")
        .expect_err("no listener");
    assert!(matches!(error, ListenError::Config(ConfigError::Role(_))));
    refused(&error, "not a listener", "roles: fixed dialer");
    let error = Listener::builder(&fixed)
        .acceptor()
        .expect_err("no listener");
    refused(&error, "not a listener", "roles: fixed dialer");
    let error = Relay::builder(&fixed)
        .bind("127.0.0.1:0")
        .expect_err("no relay");
    refused(&error, "not a relay", "roles: fixed dialer");
    let both = built("err_positive");
    let error = FixedDialer::builder(&both)
        .build()
        .expect_err("no fixed dialer");
    refused(&error, "not a fixed dialer", "roles: dialer, relay");
}

#[test]
fn modules_tell_their_roles() {
    let all = Role::ALL;
    for (module, roles) in [
        (built("plain"), all),
        (built("rust_tcp"), all),
        (wat("plain"), all),
        (built("fixed"), &[Role::FixedDialer][..]),
        (built("dialmany"), &[Role::Dialer, Role::FixedDialer][..]),
        (wat("no_wasi"), &[Role::Dialer][..]),
    ] {
        let found: Vec<_> = module.roles().iter().collect();
        assert_eq!(found, roles, "{}", module.name());
        assert_eq!(module.has_role(Role::Relay), roles.contains(&Role::Relay));
    }
}

#[test]
fn a_command_runs_its_main_once_and_a_reactor_its_initializer() {
    let reactor = wat_text("order");
    let command = reactor.replace("_initialize", "_start");
    let neither = reactor.replace("_initialize", "something_else");
    for (module, order) in [(reactor, "sindcw"), (command, "sindcw"), (neither, "sndcw")] {
        let pair = Pair::dial(&text(&module));
        assert_eq!(
            String::from_utf8_lossy(&read_vec(&pair.conn, order.len())),
            order
        );
        expect_end(&pair.conn);
    }
}

#[test]
fn the_functions_of_each_role_are_called_in_order() {
    let dialled = Pair::dial(&wat("order"));
    assert_eq!(read_vec(&dialled.conn, 6), b"sindcw");
    let accepted = Pair::accepted(Listener::builder(&wat("order")));
    assert_eq!(read_vec(&accepted.conn, 6), b"sinacw");

    let (remote, address) = listener();
    let port = address.rsplit_once(':').expect("a port").1;
    let module = text(&wat_text("order").replace(":00000", &format!(":{port:0>5}")));
    let policy = AddressPolicy::allow_all();
    let dialer = FixedDialer::builder(&module).policy(policy).build();
    let conn = dialer
        .expect("a fixed dialer")
        .dial()
        .expect("a connection");
    assert_eq!(read_vec(&conn, 6), b"sinfcw");
    drop(accept_one(&remote));

    let relay = Relay::builder(&wat("order"))
        .remote(address)
        .bind("127.0.0.1:0");
    let relay = relay.expect("a relay").spawn().expect("a thread");
    let client = connect(relay.local_addr());
    assert_eq!(read_vec(&client, 6), b"sinrcw");
    expect_end(&client);
}

#[test]
fn an_instance_serves_one_connection_and_no_other() {
    // The worker increments a global and reports it.
    let module = text(
        &wat_text("order")
            .replace(
                "(global $source",
                "(global $calls (mut i32) (i32.const 48))\n(global $source",
            )
            .replace(
                "(call $note (i32.const 119))",
                "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (call $note (global.get $calls))",
            ),
    );
    for _ in 0..3 {
        let pair = Pair::dial(&module);
        assert_eq!(read_vec(&pair.conn, 6), b"sindc1");
    }
}

#[test]
fn a_main_that_exits_with_0_leaves_the_instance_usable() {
    let pair = Pair::dial(&built("exit0"));
    alternate(&pair.conn, &pair.peer, 16_384, |_| {});
    let duo = Duo::new(&built("exit0"));
    alternate(&duo.dialer, &duo.listener, 16_384, |_| {});
}

#[test]
fn a_main_that_exits_with_another_code_fails_the_set_up_with_that_code() {
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&built("exit3")).build().expect("a dialer");
    match dialer.dial(&address).expect_err("main failed") {
        DialError::Transport(error @ TransportError::Exited { function, code }) => {
            assert_eq!((function, code), ("_start", 3));
            assert!(error.to_string().contains("exit code 3"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_reactors_and_modules_without_either_carry_data() {
    for module in [
        built("plain"),
        built("plain_reactor"),
        built("plain_wrapped"),
        built("rust_plain"),
        wat("plain"),
        text(&wat_text("plain").replace("_initialize", "unused")),
    ] {
        let server = EchoServer::start();
        let dialer = Dialer::builder(&module).build().expect("a dialer");
        let conn = dialer.dial(server.address());
        echo_messages(&conn.unwrap_or_else(|error| panic!("{}: {error:?}", module.name())));
    }
}

#[test]
fn a_module_without_wasi_loads_and_dials() {
    let module = wat("no_wasi");
    assert_eq!(module.info().imports().len(), 1);
    let pair = Pair::dial(&module);
    expect_end(&pair.conn);
    expect_end(&pair.peer);
    pair.conn.close().expect("a clean end");
}

/// The WASI functions that public modules import, and those that Rust's std adds.
const WASI: [&str; 26] = [
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_filestat_get",
    "fd_prestat_get",
    "fd_prestat_dir_name",
    "fd_read",
    "fd_readdir",
    "fd_seek",
    "fd_write",
    "path_filestat_get",
    "path_open",
    "path_readlink",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

pub(crate) fn importing(imports: impl Iterator<Item = (&'static str, &'static str)>) -> String {
    let mut text = String::from("(module\n");
    for (module, name) in imports {
        let signature = import_signature(module, name).expect(name);
        let types = |types: &[watm_abi::ValType]| {
            types.iter().map(|ty| format!(" {ty}")).collect::<String>()
        };
        let (params, results) = (types(&signature.params), types(&signature.results));
        let id = if name == "water_dial_fixed" {
            "$dial"
        } else {
            ""
        };
        writeln!(
            text,
            "(import \"{module}\" \"{name}\" (func {id} (param{params}) (result{results})))"
        )
        .expect("text");
    }
    text + r#"(memory (export "memory") 2)
        (func (export "watm_init_v1") (result i32) (i32.const 0))
        (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
        (func (export "watm_dial_v1") (param i32) (result i32) (call $dial))
        (func (export "watm_start_v1") (result i32) (i32.const 0)))"#
}

#[test]
fn every_function_that_public_modules_import_is_provided() {
    let wasi = WASI
        .into_iter()
        .map(|name| ("wasi_snapshot_preview1", name));
    let env = ["water_dial", "water_dial_fixed", "water_accept"].map(|name| ("env", name));
    let pair = Pair::dial(&text(&importing(wasi.chain(env))));
    pair.conn.close().expect("a clean end");
}

#[test]
fn every_function_of_the_interface_is_provided_alone_and_together() {
    let all: Vec<_> = watm_abi::imports()
        .map(|(module, name, _)| (module, name))
        .collect();
    let pair = Pair::dial(&text(&importing(all.iter().copied())));
    pair.conn.close().expect("a clean end");
    let dial = ("env", "water_dial_fixed");
    for one in all.into_iter().filter(|one| *one != dial) {
        let module = TransportModule::from_bytes(importing([one, dial].into_iter()));
        let pair = Pair::dial(&module.unwrap_or_else(|error| panic!("{one:?}: {error}")));
        pair.conn
            .close()
            .unwrap_or_else(|error| panic!("{one:?}: {error}"));
    }
}

#[test]
fn initial_memories_may_be_small_or_large() {
    for pages in [1, 2, 258, 1000] {
        let grown = importing([("env", "water_dial_fixed")].into_iter())
            .replace("\"memory\") 2", &format!("\"memory\") {pages}"));
        let module = TransportModule::from_bytes(grown).expect("a module");
        assert_eq!(module.info().memory().expect("a memory").min_pages, pages);
        Pair::dial(&module).conn.close().expect("a clean end");
    }
}

#[test]
fn a_module_can_be_shared_between_threads_without_loading_it_again() {
    let module = built("plain");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let module = module.clone();
            scope.spawn(move || {
                let pair = Pair::dial(&module);
                alternate(&pair.conn, &pair.peer, 1024, |_| {});
            });
        }
    });
}

#[test]
fn a_module_tells_its_imports_exports_memory_and_makers() {
    let module = built("rust_plain");
    let info = module.info();
    let import = info
        .imports()
        .iter()
        .find(|import| import.name == "water_dial");
    assert_eq!(import.expect("an import").module, "env");
    let export = info
        .exports()
        .iter()
        .find(|export| export.name == "watm_dial_v1");
    match &export.expect("an export").kind {
        ItemKind::Function(signature) => assert_eq!(signature.to_string(), "(i32) -> i32"),
        other => panic!("{other:?}"),
    }
    assert!(info.memory().expect("a memory").min_pages >= 2);
    assert!(info.problems().is_empty());
    assert_eq!(module.name(), "rust_plain");

    let text = wat_text("no_wasi").replace(
        "(module",
        "(module $its_own_name (@producers (language \"Hand\" \"1.5\") (sdk \"none\" \"\"))",
    );
    let module = TransportModule::from_bytes(text).expect("a module");
    assert_eq!(module.info().name(), Some("its_own_name"));
    assert_eq!(module.name(), "its_own_name");
    let producers = module.info().producers();
    assert_eq!(producers.len(), 2);
    assert_eq!(
        (&*producers[0].field, &*producers[0].name),
        ("language", "Hand")
    );
    assert_eq!(
        (&*producers[0].version, &*producers[1].version),
        ("1.5", "")
    );
}

#[test]
fn a_start_section_that_traps_or_never_ends_fails_the_dial() {
    let starting = |body: &str| {
        let worker = wat_text("order").replace("(call $note (i32.const 115))", body);
        TransportModule::from_bytes(worker).expect("a module")
    };
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&starting("(unreachable)")).build();
    let dialer = dialer.expect("a dialer");
    match dialer.dial(&address).expect_err("it never starts") {
        DialError::Transport(TransportError::Trapped { message, .. }) => {
            assert!(message.contains("unreachable"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let error = within(watm_tests::SHORT, {
        let (module, address) = (starting("(loop $l (br $l))"), address.clone());
        move || {
            let limit = Duration::from_millis(300);
            let dialer = Dialer::builder(&module).setup_timeout(limit).build();
            dialer
                .expect("a dialer")
                .dial(&address)
                .expect_err("it never starts")
        }
    });
    assert!(matches!(error, DialError::TimedOut { .. }), "{error:?}");
}

#[test]
fn the_worker_runs_only_after_the_control_pipe_was_given() {
    // The worker reads a byte from control without waiting. There is nothing, and the descriptor
    // exists.
    let module = with_worker(
        "(call $put (call $set_flags (global.get $control) (i32.const 4)))
         (call $put (call $read (global.get $control) (i32.const 16384) (i32.const 1)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let mut report = Vec::new();
    (&Pair::dial(&module).conn)
        .read_to_end(&mut report)
        .expect("the report");
    assert_eq!(report, [0, 0, 0, 0, 6, 0, 0, 0]);
}

#[test]
fn a_module_from_the_cache_works_and_fails_like_one_that_was_compiled() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = ArtifactCache::open(directory.path()).expect("a cache");
    let loader = ModuleLoader::new().cache(&cache);
    let trapping = wat_text("order").replace("(call $note (i32.const 115))", "(unreachable)");
    let (_listener, address) = listener();
    for kept in [0, 2] {
        assert_eq!(cache.artifacts().expect("a list").len(), kept);
        let module = loader.load_file(path_of("reverse")).expect("a module");
        assert_eq!(module.name(), "reverse");
        let pair = Pair::dial(&module);
        (&pair.conn).write_all(b"abc").expect("room");
        assert_eq!(read_vec(&pair.peer, 3), b"cba");

        let module = loader.load_bytes(&trapping).expect("a module");
        let dialer = Dialer::builder(&module).build().expect("a dialer");
        match dialer.dial(&address).expect_err("it traps") {
            DialError::Transport(TransportError::Trapped { message, .. }) => {
                assert!(message.contains("unreachable"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_cache_does_not_let_through_what_would_not_be_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = ArtifactCache::open(directory.path()).expect("a cache");
    let loader = ModuleLoader::new().cache(&cache);
    for _ in 0..2 {
        assert!(matches!(
            loader.load_bytes("(module)"),
            Err(LoadError::Interface(_))
        ));
        assert!(loader.load_bytes(b"\0asm\x01\0\0\0\xff").is_err());
    }
    assert_eq!(cache.artifacts().expect("a list"), []);
    let plain = std::fs::read(path_of("plain")).expect("a file");
    loader.load_bytes(&plain).expect("a module");
    assert!(matches!(
        loader.clone().sha256([0; 32].into()).load_bytes(&plain),
        Err(LoadError::Hash { .. })
    ));
    assert!(matches!(
        loader.max_size(10).load_bytes(&plain),
        Err(LoadError::TooLarge { .. })
    ));
}
