use super::*;
use std::cell::Cell;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU64, Ordering};

fn cache() -> (tempfile::TempDir, ArtifactCache) {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = ArtifactCache::open(directory.path().join("cache")).expect("a cache");
    (directory, cache)
}

fn small_artifact() -> Result<Vec<u8>, LoadError> {
    let module = wat::parse_str("(module (func))").expect("a module");
    engine::compile(&module, Instant::now(), engine::COMPILE_TIMEOUT)
}

/// Loads a module with the cache. Returns whether it had to be compiled.
fn compiles(cache: &ArtifactCache, hash: u8) -> bool {
    let compiled = Cell::new(false);
    cache
        .load_or([hash; 32].into(), || {
            compiled.set(true);
            small_artifact()
        })
        .expect("a module");
    compiled.get()
}

fn only_file(cache: &ArtifactCache) -> PathBuf {
    let artifacts = cache.artifacts().expect("a list");
    assert_eq!(artifacts.len(), 1);
    artifacts[0].path.clone()
}

#[test]
fn a_module_is_compiled_once() {
    let (_directory, cache) = cache();
    assert!(compiles(&cache, 1));
    assert!(!compiles(&cache, 1));
    assert!(compiles(&cache, 2), "another module");
    assert!(cache.clear().expect("it can be cleared") > 0);
    assert!(compiles(&cache, 1), "after clearing");
}

#[test]
fn a_directory_that_others_can_write_by_now_is_neither_read_nor_written() {
    let (_directory, cache) = cache();
    let set_mode = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(cache.directory(), permissions).expect("to set the mode");
    };
    assert!(compiles(&cache, 1));
    assert!(!compiles(&cache, 1));
    set_mode(0o777);
    assert!(compiles(&cache, 1), "what lies there may be anybody's");
    cache.clear().expect("it can be cleared");
    assert!(compiles(&cache, 1));
    assert_eq!(cache.artifacts().expect("a list"), []);
    set_mode(0o700);
    assert!(compiles(&cache, 1));
    assert!(!compiles(&cache, 1));
}

#[test]
fn what_fails_to_compile_is_not_kept() {
    let (_directory, cache) = cache();
    let failed = cache.load_or([1; 32].into(), || {
        Err(LoadError::Compile("no module".into()))
    });
    assert!(matches!(failed, Err(LoadError::Compile(_))));
    assert_eq!(cache.artifacts().expect("a list"), []);
}

#[test]
fn a_damaged_file_is_compiled_again_whatever_byte_it_was() {
    let (_directory, cache) = cache();
    assert!(compiles(&cache, 1));
    let path = only_file(&cache);
    let whole = fs::read(&path).expect("a file");
    let mut damaged: Vec<Vec<u8>> = (0..whole.len())
        .step_by(whole.len() / 40 + 1)
        .chain([0, 7, 8, 39, 40, whole.len() - 1])
        .map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        })
        .collect();
    for len in [0, 1, 39, 40, 41, whole.len() - 1] {
        damaged.push(whole[..len].to_vec());
    }
    damaged.push([whole.clone(), vec![0]].concat());
    for bytes in damaged {
        fs::write(&path, bytes).expect("it is written");
        assert!(compiles(&cache, 1));
        assert_eq!(fs::read(&path).expect("a file").len(), whole.len());
        assert!(!compiles(&cache, 1), "it was repaired");
    }
    // Larger than any file that could be read.
    let file = OpenOptions::new().write(true).open(&path);
    file.and_then(|file| file.set_len(1 << 40)).expect("a size");
    assert!(compiles(&cache, 1));
    assert!(!compiles(&cache, 1), "it was repaired");
}

#[test]
fn a_file_under_the_name_of_another_is_not_used() {
    let (_directory, cache) = cache();
    assert!(compiles(&cache, 1));
    fs::rename(only_file(&cache), cache.path(&key([2; 32].into()))).expect("it moves");
    assert!(compiles(&cache, 2));
}

#[test]
fn what_others_could_have_written_is_not_used() {
    let (directory, cache) = cache();
    assert!(compiles(&cache, 1));
    let path = only_file(&cache);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a mode");
    assert!(compiles(&cache, 1), "others can write it");

    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).expect("it moves");
    symlink(&elsewhere, &path).expect("a link");
    assert!(compiles(&cache, 1), "a link");

    fs::remove_file(&path).expect("it is there");
    fs::create_dir(&path).expect("a directory");
    assert!(compiles(&cache, 1), "not a file");
    fs::remove_dir(&path).expect("it is there");

    assert!(compiles(&cache, 1));
    if user() == 0 {
        std::os::unix::fs::chown(&path, Some(1), None).expect("a new owner");
        assert!(compiles(&cache, 1), "another user's");
    }
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("a mode");
    let error = ArtifactCache::open(path).expect_err("it is open to all");
    assert!(error.to_string().contains("chmod 700"), "{error}");

    let file = path.join("file");
    fs::write(&file, "").expect("a file");
    assert!(ArtifactCache::open(&file).is_err());
    let inside = path.join("new/cache");
    ArtifactCache::open(&inside).expect("it is made");
    let mode = fs::metadata(&inside).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_cache_that_cannot_be_written_fails_nothing() {
    let (_directory, cache) = cache();
    fs::remove_dir(cache.directory()).expect("it is empty");
    assert!(compiles(&cache, 1));
    assert!(compiles(&cache, 1));
}

#[test]
fn those_not_used_for_longest_go_first() {
    let (_directory, cache) = cache();
    assert!(compiles(&cache, 1));
    let size = cache.artifacts().expect("a list")[0].size;
    let cache = cache.max_size(size * 2 + size / 2);
    let set_age = |hash: u8, seconds| {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        let file = File::open(cache.path(&key([hash; 32].into()))).expect("a file");
        file.set_modified(time).expect("a time");
    };
    assert!(compiles(&cache, 2));
    set_age(1, 200);
    set_age(2, 100);
    assert!(!compiles(&cache, 1), "now it was used last");
    assert!(compiles(&cache, 3));
    assert!(!compiles(&cache, 1));
    assert!(compiles(&cache, 2), "it had to go");
    assert!(cache.artifacts().expect("a list").len() <= 2);

    let tiny = cache.max_size(10);
    assert!(compiles(&tiny, 4) && compiles(&tiny, 4), "none fits");
}

#[test]
fn what_dead_processes_left_is_removed() {
    let (_directory, cache) = cache();
    let left = cache.directory().join("x").with_extension(UNFINISHED);
    let file = File::create(&left).expect("a file");
    assert!(compiles(&cache, 1));
    assert!(left.exists(), "it may still be written");
    let long_ago = SystemTime::now() - 2 * ABANDONED;
    file.set_modified(long_ago).expect("a time");
    assert!(compiles(&cache, 2));
    assert!(!left.exists());
}

#[test]
fn of_many_at_the_same_moment_one_compiles() {
    let (_directory, cache) = cache();
    let compiled = AtomicU64::new(0);
    let start = std::sync::Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                cache.load_or([1; 32].into(), || {
                    compiled.fetch_add(1, Ordering::Relaxed);
                    small_artifact()
                })
            });
        }
    });
    assert_eq!(compiled.into_inner(), 1);
}
