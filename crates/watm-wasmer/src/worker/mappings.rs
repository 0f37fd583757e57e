//! Keeps the process from running out of memory mappings.
//!
//! Linux limits the number of mappings of a process (`vm.max_map_count`, 65,530 unless it was
//! raised). Each connection takes about ten of them: stacks, guard pages, the guest's memory.
//! Threads that an application has for it take more; one that is carried needs none. A process that
//! has used up all of them is lost: a new thread or an allocation finds none and aborts it. So no
//! worker is started when few are left.
//!
//! Counting the mappings takes the system a microsecond for each. They are only counted again once
//! as many workers have started as were certain to fit.

use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::channel::sync::lock;
use crate::worker::census;

/// Maximum number of mappings for a new connection, including the threads that the application may
/// have for it. With two threads that copy its bytes, a connection takes half as many; without any,
/// a quarter.
const EACH: usize = 40;
/// The share of the limit that is left to the rest of the process: one part in this many.
const RESERVE: usize = 8;
/// Number of workers that are started without counting mappings. A program with fewer workers
/// cannot have reached the limit.
const FEW: usize = 64;
/// Room for fewer workers than this counts as none. Otherwise, counting for each of the last
/// workers would take all the time.
const LEAST: usize = 16;
/// Maximum number of workers that are started after one count. The application creates mappings
/// too.
const MOST: usize = 512;
/// How long not to count again after there was no room.
const PAUSE: Duration = Duration::from_millis(250);
/// The values to assume if the system does not tell: its default limit, and what each connection
/// takes of which the application copies the bytes. One that is carried takes half as many.
const DEFAULT_LIMIT: usize = 65_530;
const USUAL: usize = 20;

static ROOM: Mutex<Room> = Mutex::new(Room {
    workers: FEW,
    pause_until: None,
});

struct Room {
    /// Number of workers that may be started before the next count.
    workers: usize,
    pause_until: Option<Instant>,
}

/// Takes room for one more worker.
///
/// # Errors
///
/// There is no room. The message says what to do.
pub(crate) fn take_room() -> io::Result<()> {
    lock(&ROOM).find(look)?.workers -= 1;
    Ok(())
}

/// Checks whether there is room for one more worker.
///
/// # Errors
///
/// See [`take_room`].
pub(crate) fn check_room() -> io::Result<()> {
    lock(&ROOM).find(look).map(|_| ())
}

impl Room {
    /// Returns itself, with room for at least one worker.
    fn find(&mut self, look: impl FnOnce() -> (usize, usize)) -> io::Result<&mut Self> {
        if self.workers > 0 {
            return Ok(self);
        }
        let now = Instant::now();
        if self.pause_until.is_none_or(|until| until <= now) {
            let (used, limit) = look();
            self.workers = fitting(used, limit);
            self.pause_until = (self.workers == 0).then(|| now + PAUSE);
        }
        if self.workers > 0 {
            return Ok(self);
        }
        Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            "the process has too many memory mappings for another connection: \
             raise the system's limit (sysctl vm.max_map_count)",
        ))
    }
}

/// Number of workers that certainly fit.
fn fitting(used: usize, limit: usize) -> usize {
    let workers = (limit - limit / RESERVE).saturating_sub(used) / EACH;
    if workers < LEAST {
        0
    } else {
        workers.min(MOST)
    }
}

/// The current number of mappings, and the maximum.
fn look() -> (usize, usize) {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT_LIMIT);
    (count().unwrap_or_else(|_| census::workers() * USUAL), limit)
}

fn count() -> io::Result<usize> {
    let mut maps = File::open("/proc/self/maps")?;
    let mut buf = [0; 4096];
    let mut lines = 0;
    loop {
        match maps.read(&mut buf) {
            Ok(0) => return Ok(lines),
            Ok(len) => lines += buf.iter().take(len).filter(|byte| **byte == b'\n').count(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_until_the_reserve_begins() {
        assert_eq!(fitting(1_000, 65_530), MOST);
        assert_eq!(fitting(50_000, 65_530), (57_339 - 50_000) / 40);
        assert_eq!(fitting(57_339 - 16 * 40, 65_530), 16);
        assert_eq!(fitting(57_340 - 16 * 40, 65_530), 0);
        assert_eq!(fitting(70_000, 65_530), 0);
        assert_eq!(fitting(0, 0), 0);
    }

    #[test]
    fn it_looks_when_the_room_is_used_up_and_not_again_at_once() {
        let mut room = Room {
            workers: 1,
            pause_until: None,
        };
        room.find(|| panic!("there is room")).expect("room").workers -= 1;
        room.find(|| (0, 1_000)).expect("room");
        assert_eq!(room.workers, 875 / 40);
        room.workers = 0;
        for look in [|| (900, 1_000), || panic!("not so soon")] {
            let error = room.find(look).err().expect("no room");
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
            assert!(error.to_string().contains("vm.max_map_count"), "{error}");
            // Longer than any delay of the test.
            room.pause_until = room.pause_until.map(|end| end + 1000 * PAUSE);
        }
        room.pause_until = Some(Instant::now());
        room.find(|| (0, 1_000)).expect("room again");
    }

    #[test]
    fn the_mappings_of_this_process_are_counted() {
        let before = count().expect("a number");
        assert!(before > 10, "{before}");
        let (used, limit) = look();
        assert!(used > 10 && limit > used, "{used} of {limit}");
    }
}
