//! The salts that were seen: files in a directory, since each connection is an instance of its own.
//!
//! A file for each salt, created in a way that only one instance can. The files are in buckets,
//! directories that are removed as a whole when their salts no longer matter. Only salts of clients
//! that have the key come here.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Seconds that a timestamp may differ from the clock.
pub(crate) const TOLERANCE: u64 = 30;

/// Seconds of timestamps in one bucket of SIP022.
const SPAN: u64 = 60;

/// Salts in a bucket of the AEAD methods, about.
const BUCKET_SIZE: u64 = 16 * 1024;

/// Buckets of the AEAD methods that are kept.
const BUCKETS: u64 = 16;

/// One salt in so many is counted, on average.
const SAMPLE: u64 = 64;

/// Files of outdated buckets that one connection removes: more than it adds, and not so many that
/// it notices.
const REMOVED: usize = 64;

/// The file in a bucket whose length counts its salts. No salt has its name.
const COUNT: &str = "count";

/// A directory with the salts that were seen.
#[derive(Clone, Debug)]
pub(crate) struct Salts {
    directory: PathBuf,
}

impl Salts {
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        Salts {
            directory: directory.into(),
        }
    }

    /// Whether the directory is there.
    pub(crate) fn is_there(&self) -> bool {
        fs::metadata(&self.directory).is_ok_and(|metadata| metadata.is_dir())
    }

    /// Remembers the salt of a request of SIP022. Returns whether it is new.
    ///
    /// `timestamp` is that of the request: the same request always comes into the same bucket.
    ///
    /// # Errors
    ///
    /// That of the file system. The salt must not be taken for a new one then.
    pub(crate) fn add_stamped(&self, salt: &[u8], timestamp: u64, now: u64) -> io::Result<bool> {
        let is_outdated = |start: u64| start.saturating_add(SPAN + 2 * TOLERANCE) < now;
        self.tidy("2022-", is_outdated)?;
        let start = timestamp - timestamp % SPAN;
        let bucket = self.directory.join(format!("2022-{start}"));
        create_directory(&bucket)?;
        create_file(&bucket.join(hex(salt)))
    }

    /// Remembers the salt of a stream of an AEAD method, without a time. Returns whether it is none
    /// of the last 245,760, about.
    ///
    /// `chance` is random: it decides whether this salt is counted.
    ///
    /// # Errors
    ///
    /// As `add_stamped`.
    pub(crate) fn add(&self, salt: &[u8], chance: u8) -> io::Result<bool> {
        let newest = self.buckets("aead-")?.into_iter().max().unwrap_or(0);
        self.tidy("aead-", |number| number.saturating_add(BUCKETS) <= newest)?;
        let bucket = self.directory.join(format!("aead-{newest}"));
        create_directory(&bucket)?;
        let name = hex(salt);
        if !create_file(&bucket.join(&name))? {
            return Ok(false);
        }
        if u64::from(chance).is_multiple_of(SAMPLE) {
            self.count(&bucket, newest)?;
        }
        // Another instance may have the same salt in another bucket, also a newer one than ours.
        // Both look after they have created theirs, so at least one of them sees the other's.
        for number in self.buckets("aead-")? {
            let other = self.directory.join(format!("aead-{number}"));
            if number != newest && exists(&other.join(&name))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Counts a salt, and begins a new bucket if this one is full.
    fn count(&self, bucket: &Path, number: u64) -> io::Result<()> {
        use std::io::Write as _;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(bucket.join(COUNT))?;
        file.write_all(b".")?;
        if file.metadata()?.len() >= BUCKET_SIZE / SAMPLE {
            create_directory(
                &self
                    .directory
                    .join(format!("aead-{}", number.saturating_add(1))),
            )?;
        }
        Ok(())
    }

    /// The numbers of the buckets with this prefix.
    fn buckets(&self, prefix: &str) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    /// Removes some files of one outdated bucket, and the bucket with the last of them.
    fn tidy(&self, prefix: &str, is_outdated: impl Fn(u64) -> bool) -> io::Result<()> {
        let oldest = self
            .buckets(prefix)?
            .into_iter()
            .filter(|&number| is_outdated(number))
            .min();
        let Some(oldest) = oldest else {
            return Ok(());
        };
        let bucket = self.directory.join(format!("{prefix}{oldest}"));
        let files = match fs::read_dir(&bucket) {
            Ok(entries) => entries.take(REMOVED).collect::<io::Result<Vec<_>>>()?,
            // Another instance was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for file in &files {
            gone(fs::remove_file(file.path()))?;
        }
        if files.len() < REMOVED {
            match fs::remove_dir(&bucket) {
                // An instance that was slow has put a salt into it: next time.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                result => gone(result)?,
            }
        }
        Ok(())
    }
}

fn create_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Creates a file. Returns whether it was not there.
fn create_file(path: &Path) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn exists(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// That something to remove is not there is no failure.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    const COUNTED: u8 = 0;
    const NOT_COUNTED: u8 = 1;

    fn salts() -> (tempfile::TempDir, Salts) {
        let directory = tempfile::tempdir().expect("a directory");
        let salts = Salts::new(directory.path());
        (directory, salts)
    }

    fn files(directory: &Path) -> usize {
        let entries = fs::read_dir(directory).expect("a directory");
        let directories = entries.map(|entry| entry.expect("an entry").path());
        directories
            .map(|path| fs::read_dir(path).expect("a bucket").count())
            .sum()
    }

    #[test]
    fn a_salt_is_new_once() {
        let (_directory, salts) = salts();
        assert!(salts.add_stamped(b"one", 1000, 1010).expect("added"));
        assert!(salts.add_stamped(b"two", 1000, 1010).expect("added"));
        assert!(!salts.add_stamped(b"one", 1000, 1029).expect("seen"));
        assert!(salts.add(b"one", NOT_COUNTED).expect("added"));
        assert!(!salts.add(b"one", COUNTED).expect("seen"));
        assert!(salts.add(b"two", COUNTED).expect("added"));
    }

    #[test]
    fn a_salt_is_known_for_as_long_as_its_timestamp_is_taken() {
        let (_directory, salts) = salts();
        for timestamp in [0, 59, 60, 1019] {
            assert!(
                salts
                    .add_stamped(b"salt", timestamp, timestamp)
                    .expect("added")
            );
            // Others, so that something may be removed.
            let now = timestamp + TOLERANCE;
            assert!(
                salts
                    .add_stamped(&now.to_be_bytes(), now, now)
                    .expect("added")
            );
            assert!(!salts.add_stamped(b"salt", timestamp, now).expect("seen"));
            salts.tidy("2022-", |_| true).expect("tidied");
            salts.tidy("2022-", |_| true).expect("tidied");
        }
    }

    #[test]
    fn outdated_salts_are_removed_while_others_come() {
        let (directory, salts) = salts();
        let mut most = 0;
        for number in 0..3000_u64 {
            // Ten seconds between two.
            let now = number * 10;
            assert!(
                salts
                    .add_stamped(&number.to_be_bytes(), now, now)
                    .expect("added")
            );
            most = most.max(files(directory.path()));
        }
        assert!(most <= 40, "{most} files");
    }

    #[test]
    fn a_full_bucket_is_removed_piece_by_piece() {
        let (directory, salts) = salts();
        for number in 0..200_u64 {
            assert!(
                salts
                    .add_stamped(&number.to_be_bytes(), 0, 0)
                    .expect("added")
            );
        }
        for number in 0..3_u64 {
            assert!(
                salts
                    .add_stamped(&number.to_be_bytes(), 500, 500)
                    .expect("added")
            );
            assert_eq!(
                files(directory.path()) as u64,
                200 - 64 * (number + 1) + number + 1
            );
        }
        assert!(salts.add_stamped(b"last", 500, 500).expect("added"));
        assert_eq!(
            fs::read_dir(directory.path()).expect("a directory").count(),
            1
        );
    }

    #[test]
    fn buckets_without_a_time_are_begun_and_removed_by_count() {
        let (directory, salts) = salts();
        let buckets = || salts.buckets("aead-").expect("buckets");
        // Each of these counts for 64.
        let mut number = 0_u64;
        let mut add = || {
            number += 1;
            assert!(salts.add(&number.to_be_bytes(), COUNTED).expect("added"));
            number
        };
        let first = add();
        while buckets().len() < 2 {
            assert!(add() <= BUCKET_SIZE / SAMPLE);
        }
        assert!(!salts.add(&first.to_be_bytes(), NOT_COUNTED).expect("seen"));
        while buckets().into_iter().max() != Some(BUCKETS + 2) {
            add();
        }
        let most = (BUCKETS + 2) * (BUCKET_SIZE / SAMPLE + 1);
        assert!((files(directory.path()) as u64) < most);
        assert!(buckets().len() as u64 <= BUCKETS + 2);
        assert!(
            salts
                .add(&first.to_be_bytes(), NOT_COUNTED)
                .expect("forgotten")
        );
    }

    #[test]
    fn no_two_of_many_instances_see_the_same_salt_as_new() {
        let (_directory, salts) = salts();
        for round in 0..50_u8 {
            let barrier = Barrier::new(4);
            let new = thread::scope(|scope| {
                let add = || {
                    barrier.wait();
                    salts.add(&[round], COUNTED).expect("added")
                };
                let threads = [(); 4].map(|()| scope.spawn(add));
                let results = threads.map(|thread| thread.join().expect("no panic"));
                results.into_iter().filter(|&is_new| is_new).count()
            });
            assert!(new <= 1, "{new} instances");
        }
    }

    #[test]
    fn a_directory_that_is_missing_or_other_files_in_it_do_no_harm() {
        let (directory, salts) = salts();
        fs::write(directory.path().join("aead-x"), b"").expect("written");
        fs::write(directory.path().join("notes"), b"").expect("written");
        assert!(salts.add(b"salt", COUNTED).expect("added"));
        let missing = Salts::new(directory.path().join("missing"));
        assert!(!missing.is_there());
        assert!(missing.add(b"salt", COUNTED).is_err());
        assert!(missing.add_stamped(b"salt", 0, 0).is_err());
    }
}
