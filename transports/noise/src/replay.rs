//! What a listener does about first messages that were recorded and are sent again.
//!
//! Each connection has an instance of the module, and instances share no memory. What they share is
//! a directory of the host: a file for each first message that was answered, named by its ephemeral
//! key. The file is created by the one that answers, and only one can create it.
//!
//! A first message says when it was made, and is answered only near that time. So files are of use
//! for a while only. They lie in buckets, which are directories of one minute each. Buckets that
//! are out of use are removed, some files with each connection. Only those who know the key can
//! make files: what others send is refused before.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;

use crate::curve::KEY;

/// What is done about repeated first messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Nothing: they are answered.
    Off,
    /// They are refused.
    Store(Store),
}

/// The first messages that were answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    directory: PathBuf,
    /// Seconds that the clocks of both sides may differ.
    window: u64,
}

/// Why a first message gets no answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It says that it was made so many seconds from now, which are negative in the past.
    Time(i128),
    Seen,
    /// It cannot be recorded.
    Store(io::Error),
}

impl Replay {
    /// Seconds, if nothing else is said.
    pub(crate) const WINDOW: u64 = 120;
    pub(crate) const WINDOWS: RangeInclusive<u64> = 10..=3600;

    pub(crate) fn store(directory: PathBuf, window: u64) -> Self {
        Replay::Store(Store { directory, window })
    }

    /// Whether the first message may be answered: it was made at `time` with the ephemeral key.
    /// Records it.
    pub(crate) fn admit(&self, time: u64, ephemeral: &[u8; KEY], now: u64) -> Result<(), Refusal> {
        match self {
            Replay::Off => Ok(()),
            Replay::Store(store) => store.admit(time, ephemeral, now),
        }
    }

    /// The directory, which has to be there.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Replay::Off => None,
            Replay::Store(store) => Some(&store.directory),
        }
    }
}

impl Store {
    /// Files that one connection removes at most, in which it adds one.
    const REMOVED: usize = 32;

    /// Seconds of a bucket. It does not depend on the window: the files stay right when a server
    /// starts again with another one.
    pub(crate) const BUCKET: u64 = 60;

    /// Seconds for which a bucket is kept after its last message has become too old: longer than
    /// any connection needs from reading the clock to recording its message.
    const GRACE: u64 = 120;

    fn admit(&self, time: u64, ephemeral: &[u8; KEY], now: u64) -> Result<(), Refusal> {
        if time.abs_diff(now) > self.window {
            return Err(Refusal::Time(i128::from(time) - i128::from(now)));
        }
        // A failure leaves files behind, which the next connection tries to remove.
        let _ = self.remove_old(now);
        let bucket = self.directory.join((time / Self::BUCKET).to_string());
        match fs::create_dir(&bucket) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Refusal::Store(error));
            }
            _ => {}
        }
        let path = bucket.join(HEXLOWER.encode(ephemeral));
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Refusal::Seen),
            Err(error) => Err(Refusal::Store(error)),
        }
    }

    /// Removes some of what no message can need any more.
    fn remove_old(&self, now: u64) -> io::Result<()> {
        let mut left = Self::REMOVED;
        for bucket in fs::read_dir(&self.directory)? {
            let bucket = bucket?;
            let number = bucket
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            // Whatever else lies there is not ours.
            if !number.is_some_and(|number| self.is_old(number, now)) {
                continue;
            }
            for file in fs::read_dir(bucket.path())? {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                // Another connection may have removed it. What nobody can remove stays.
                let _ = fs::remove_file(file?.path());
            }
            let _ = fs::remove_dir(bucket.path());
        }
        Ok(())
    }

    fn is_old(&self, bucket: u64, now: u64) -> bool {
        let end = bucket.saturating_add(1).saturating_mul(Self::BUCKET);
        end.saturating_add(self.window).saturating_add(Self::GRACE) < now
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |duration| duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const NOW: u64 = 1_800_000_000;

    fn store(directory: &Path) -> Replay {
        Replay::store(directory.to_path_buf(), 60)
    }

    fn key(number: u16) -> [u8; KEY] {
        let mut key = [9; KEY];
        key[..2].copy_from_slice(&number.to_be_bytes());
        key
    }

    fn files(directory: &Path) -> usize {
        let buckets = fs::read_dir(directory).expect("a directory");
        buckets
            .map(|bucket| {
                fs::read_dir(bucket.expect("an entry").path())
                    .expect("it")
                    .count()
            })
            .sum()
    }

    #[test]
    fn a_message_is_answered_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path());
        assert!(store.admit(NOW, &key(1), NOW).is_ok());
        assert!(store.admit(NOW, &key(2), NOW).is_ok());
        for later in [0, 1, 59, 60] {
            assert!(matches!(
                store.admit(NOW, &key(1), NOW + later),
                Err(Refusal::Seen)
            ));
        }
    }

    #[test]
    fn a_message_stays_answered_when_the_window_changes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_path_buf();
        assert!(store(&path).admit(NOW, &key(1), NOW).is_ok());
        let other = Replay::store(path, 600);
        assert!(matches!(
            other.admit(NOW, &key(1), NOW + 60),
            Err(Refusal::Seen)
        ));
    }

    #[test]
    fn only_one_of_many_at_once_is_answered() {
        let directory = tempfile::tempdir().expect("a directory");
        let answered = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| store(directory.path()).admit(NOW, &key(1), NOW).is_ok()))
                .collect();
            let results = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            results.filter(|&is_answered| is_answered).count()
        });
        assert_eq!(answered, 1);
    }

    #[test]
    fn a_message_of_another_time_is_refused_and_not_recorded() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path());
        for (time, difference) in [(NOW - 61, -61), (NOW + 61, 61)] {
            match store.admit(time, &key(1), NOW) {
                Err(Refusal::Time(found)) => assert_eq!(found, difference),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(
            store.admit(u64::MAX, &key(1), NOW),
            Err(Refusal::Time(_))
        ));
        assert_eq!(files(directory.path()), 0);
        assert!(store.admit(NOW - 60, &key(1), NOW).is_ok());
        assert!(store.admit(NOW + 60, &key(2), NOW).is_ok());
    }

    #[test]
    fn a_bucket_outlives_its_messages_and_is_then_removed_some_files_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path());
        for number in 0..100 {
            assert!(store.admit(NOW, &key(number), NOW).is_ok());
        }
        // The bucket ends 60 seconds after NOW at most. Its messages live for 60 more.
        assert!(store.admit(NOW + 180, &key(1000), NOW + 180).is_ok());
        assert_eq!(files(directory.path()), 101);
        let much_later = NOW + 60 + 60 + Store::GRACE + 1;
        for (round, expected) in [101 + 1 - 32, 70 + 1 - 32, 39 + 1 - 32, 8 + 1 - 4]
            .into_iter()
            .enumerate()
        {
            let number = 2000 + u16::try_from(round).expect("a small number");
            assert!(store.admit(much_later, &key(number), much_later).is_ok());
            assert_eq!(files(directory.path()), expected);
        }
        assert_eq!(fs::read_dir(directory.path()).expect("it").count(), 2);
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("README"), "mine").expect("a file");
        fs::create_dir(directory.path().join("1x")).expect("a directory");
        assert!(store(directory.path()).admit(NOW, &key(1), NOW).is_ok());
        assert!(directory.path().join("README").exists() && directory.path().join("1x").exists());
    }

    #[test]
    fn without_the_directory_nothing_is_answered() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(&directory.path().join("missing"));
        assert!(matches!(
            store.admit(NOW, &key(1), NOW),
            Err(Refusal::Store(_))
        ));
    }

    #[test]
    fn switched_off_it_answers_everything() {
        assert!(Replay::Off.admit(0, &key(1), NOW).is_ok());
    }
}
