//! Manifests with the files that they name. What a manifest may say is tested beside its parser.

use std::path::Path;

use watm_wasmer::{
    LoadError, Manifest, ManifestError, ManifestProblem, ModuleHash, ModuleLoader, Role,
    SignatureError,
};

use super::signatures::{alter, copies, key, read, signed};

#[track_caller]
fn refused<T>(result: Result<T, ManifestError>, place: &str, parts: &[&str]) -> ManifestError {
    let error = result.err().expect("a problem");
    let text = error.to_string();
    assert!(text.contains(place), "{place:?} in {text:?}");
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
    error
}

/// A manifest that pins the module, with these lines from line 5 on.
fn pinned(directory: &Path, lines: &str) -> Manifest {
    let hash = ModuleHash::of(&read("module.wat"));
    let text = format!("[[module]]\nname = 'a'\nfile = 'module.wat'\nsha256 = '{hash}'\n{lines}\n");
    Manifest::parse(text, directory.join("m.toml")).expect("a manifest")
}

#[test]
fn a_manifest_loads_what_it_names() {
    let manifest = Manifest::from_file(signed("modules.toml")).expect("a manifest");
    assert_eq!(manifest.signature(), None);
    assert_eq!(manifest.trusted_keys(), [key("first.pub")]);
    let [module] = manifest.modules() else {
        panic!("{manifest:?}");
    };
    assert_eq!(module.name(), "example");
    assert!(module.roles().contains(Role::Dialer));
    let loaded = manifest.load("example").expect("a module");
    assert_eq!(Some(loaded.sha256()), module.sha256());
    let signature = loaded.signature().expect("it was verified");
    assert_eq!(signature.trusted_comment(), "version 2");
    assert_eq!(manifest.config("example").expect("none is named"), None);
    let verified = manifest.verify("example").expect("it holds");
    assert_eq!(verified.info.sha256(), loaded.sha256());
    assert_eq!(verified.signature.as_ref(), loaded.signature());
}

#[test]
fn a_manifest_is_verified_before_it_is_parsed() {
    let directory = copies();
    let path = directory.path().join("modules.toml");
    let open = |name: &str| Manifest::from_signed_file(&path, &[key(name)]);
    let manifest = open("first.pub").expect("it is signed");
    let signature = manifest.signature().expect("it was verified");
    assert_eq!(signature.trusted_comment(), "modules, version 1");

    // Its own key does not vouch for itself.
    let error = refused(open("second.pub"), "modules.toml: ", &["not accepted"]);
    assert_eq!(error.line(), None);
    let unknown = ManifestProblem::Signature(SignatureError::UnknownKey {
        id: key("first.pub").id(),
        trusted: vec![key("second.pub").id()],
    });
    assert_eq!(format!("{:?}", error.problem()), format!("{unknown:?}"));

    std::fs::write(&path, "this is no manifest").expect("written");
    let error = open("first.pub").expect_err("it was altered");
    assert!(
        matches!(
            error.problem(),
            ManifestProblem::Signature(SignatureError::Wrong { .. })
        ),
        "{error:?}"
    );
    std::fs::remove_file(directory.path().join("modules.toml.minisig")).expect("removed");
    let error = open("first.pub").expect_err("it is not signed");
    assert!(
        matches!(
            error.problem(),
            ManifestProblem::Signature(SignatureError::Missing)
        ),
        "{error:?}"
    );
}

#[test]
fn a_module_that_is_not_the_one_that_is_named_is_refused_at_the_key_that_says_so() {
    let directory = copies();
    let manifest = Manifest::from_file(directory.path().join("modules.toml")).expect("a manifest");
    let module = directory.path().join("module.wat");
    alter(&module);
    refused(
        manifest.load("example"),
        "line 6, `file`: ",
        &["because of its signature"],
    );
    refused(
        manifest.verify("example"),
        "line 6, `file`: ",
        &["module.wat.minisig"],
    );
    refused(
        pinned(directory.path(), "").load("a"),
        "m.toml, line 4, `sha256`: ",
        &["was expected"],
    );

    std::fs::remove_file(&module).expect("removed");
    let error = refused(
        manifest.load("example"),
        "line 6, `file`: ",
        &["could not be read"],
    );
    assert!(
        matches!(
            error.problem(),
            ManifestProblem::Load(LoadError::Read { .. })
        ),
        "{error:?}"
    );
}

#[test]
fn a_signature_that_is_named_is_refused_at_its_own_line() {
    let directory = copies();
    let first = std::fs::read_to_string(signed("first.pub")).expect("text");
    let first = first.lines().nth(1).expect("a key");
    let text = format!(
        "trusted_keys = ['{first}']\n[[module]]\nname = 'a'\nfile = 'module.wat'\n\
         signature = 'second.minisig'\n"
    );
    let manifest = Manifest::parse(text, directory.path().join("m.toml")).expect("a manifest");
    refused(
        manifest.load("a"),
        "line 5, `signature`: ",
        &["second.minisig"],
    );
    let error = manifest.verify("a").expect_err("there is none");
    let ManifestProblem::Load(LoadError::Signature { source, .. }) = error.problem() else {
        panic!("{error:?}");
    };
    assert!(matches!(source, SignatureError::Missing), "{source:?}");
    std::fs::copy(
        signed("older.minisig"),
        directory.path().join("second.minisig"),
    )
    .expect("a copy");
    manifest.load("a").expect("it holds");
}

#[test]
fn roles_that_a_module_does_not_offer_are_named() {
    let directory = copies();
    let manifest = pinned(directory.path(), "roles = ['dialer', 'listener', 'relay']");
    let parts = ["does not offer: listener, relay", "it offers: dialer"];
    refused(manifest.load("a"), "m.toml, line 5, `roles`: ", &parts);
    refused(manifest.verify("a"), "m.toml, line 5, `roles`: ", &parts);
}

#[test]
fn a_configuration_is_read_and_has_the_hash_that_is_said() {
    let directory = copies();
    let path = directory.path().join("a.cfg");
    let hash = ModuleHash::of(b"key");
    let free = pinned(directory.path(), "config = 'a.cfg'");
    let bound = pinned(
        directory.path(),
        &format!("config = 'a.cfg'\nconfig_sha256 = '{hash}'"),
    );
    refused(
        free.config("a"),
        "m.toml, line 5, `config`: ",
        &["a.cfg could not be read"],
    );
    std::fs::write(&path, "key").expect("written");
    for manifest in [&free, &bound] {
        let config = manifest.config("a").expect("a configuration");
        assert_eq!(config.as_deref(), Some(&b"key"[..]));
        manifest.verify("a").expect("it holds");
    }
    std::fs::write(&path, "another").expect("written");
    free.config("a").expect("any will do");
    let place = "m.toml, line 6, `config_sha256`: ";
    refused(bound.config("a"), place, &["was expected"]);
    refused(bound.verify("a"), place, &["was expected"]);
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len((16 << 20) + 1).expect("a sparse file");
    let error = free.config("a").expect_err("it is too large");
    let source = std::error::Error::source(&error)
        .expect("a cause")
        .to_string();
    assert!(source.contains("16 MiB"), "{source}");
}

#[test]
fn a_link_does_not_lead_out_of_the_directory_of_a_manifest() {
    let outside = copies();
    let directory = copies();
    let link = |name: &str, to: &Path| {
        let at = directory.path().join(name);
        std::os::unix::fs::symlink(to, at).expect("a link");
    };
    std::fs::write(outside.path().join("secret"), "secret").expect("written");
    link("out", &outside.path().join("secret"));
    link("up", Path::new(".."));
    link("in", Path::new("module.wat"));
    for config in ["out", "up/etc/passwd"] {
        let manifest = pinned(directory.path(), &format!("config = '{config}'"));
        refused(
            manifest.config("a"),
            "line 5, `config`: ",
            &["could not be read"],
        );
    }
    let within = pinned(directory.path(), "config = 'in'");
    within.config("a").expect("it stays inside");
    // What is outside is named as such.
    let absolute = outside.path().join("secret");
    let manifest = pinned(
        directory.path(),
        &format!("config = '{}'", absolute.display()),
    );
    let config = manifest.config("a").expect("it is named");
    assert_eq!(config.as_deref(), Some(&b"secret"[..]));
}

#[test]
fn a_pipe_in_place_of_a_file_is_not_waited_for() {
    let directory = copies();
    let path = directory.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a pipe");
    let manifest = pinned(directory.path(), "config = 'pipe'");
    refused(
        manifest.config("a"),
        "line 5, `config`: ",
        &["could not be read"],
    );
    let error = Manifest::from_file(&path).expect_err("it is a pipe");
    assert!(
        matches!(error.problem(), ManifestProblem::Read(_)),
        "{error:?}"
    );
}

#[test]
fn a_module_that_is_not_named_is_refused_with_the_nearest() {
    let manifest = Manifest::from_file(signed("modules.toml")).expect("a manifest");
    for result in [
        manifest.load("exampel").map(drop),
        manifest.config("exampel").map(drop),
    ] {
        refused(
            result,
            "modules.toml: ",
            &["no module `exampel`", "`example`"],
        );
    }
    let long = "x\u{1b}".repeat(100_000);
    let error = manifest
        .verify(&long)
        .expect_err("there is none")
        .to_string();
    assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn the_loader_of_a_manifest_sets_limits_and_no_conditions() {
    let manifest = Manifest::from_file(signed("modules.toml")).expect("a manifest");
    let size = read("module.wat").len() as u64;
    let small = manifest
        .clone()
        .loader(ModuleLoader::new().max_size(size - 1));
    let error = refused(
        small.load("example"),
        "line 6, `file`: ",
        &["more than the limit"],
    );
    assert!(
        matches!(
            error.problem(),
            ManifestProblem::Load(LoadError::TooLarge { .. })
        ),
        "{error:?}"
    );
    // What counts is what the manifest says.
    let other = ModuleLoader::new()
        .sha256(ModuleHash::of(b"another"))
        .trusted_keys([key("second.pub")])
        .signature("none");
    manifest.loader(other).load("example").expect("a module");
}

#[test]
fn a_manifest_without_an_end_is_read_no_further_than_its_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("m.toml");
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len(1 << 40).expect("a sparse file");
    let error = Manifest::from_file(&path).expect_err("it is too large");
    assert!(
        matches!(error.problem(), ManifestProblem::TooLarge { .. }),
        "{error:?}"
    );
    let error = Manifest::parse(vec![b'#'; 300 << 10], &path).expect_err("it is too large");
    assert!(
        matches!(error.problem(), ManifestProblem::TooLarge { .. }),
        "{error:?}"
    );
}
