//! Keeps the process from running out of memory mappings.
//!
//! Linux lets a process have a limited number of mappings (`vm.max_map_count`, 65,530 unless it was
//! raised), and each connection takes about ten: stacks, guard pages, the guest's memory. A process that
//! has them all is lost: a thread that begins, or memory that is allocated, finds none and aborts
//! it. So no worker is started when few are left. How many there are is looked up, which takes the
//! system a microsecond for each, but only after as many workers as were certain to fit.

use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::channel::sync::lock;
use crate::worker::census;

/// Mappings that a new connection may take, the threads that the application may have for it
/// included; usually half as many.
const EACH: usize = 40;
/// How much of the limit is left to the rest of the process: one in so many.
const RESERVE: usize = 8;
/// Workers that are started without a look: a program that has fewer cannot have come to the limit.
const FEW: usize = 64;
/// Room for fewer than this is no room: a look for each of the last would take all the time.
const LEAST: usize = 16;
/// The most that are started after one look: the application makes mappings too.
const MOST: usize = 512;
/// How long it is not looked again when there was no room.
const PAUSE: Duration = Duration::from_millis(250);
/// What is assumed where the system does not tell: its default, and what each worker takes at most.
const DEFAULT_LIMIT: usize = 65_530;
const USUAL: usize = 20;

static ROOM: Mutex<Room> = Mutex::new(Room {
    workers: FEW,
    pause_until: None,
});

struct Room {
    /// Workers that may be started before the next look.
    workers: usize,
    pause_until: Option<Instant>,
}

/// Takes room for one more worker.
///
/// # Errors
///
/// There is none: the message says what to do.
pub(crate) fn take_room() -> io::Result<()> {
    lock(&ROOM).find(look)?.workers -= 1;
    Ok(())
}

/// Whether there is room for one more worker.
///
/// # Errors
///
/// As [`take_room`].
pub(crate) fn check_room() -> io::Result<()> {
    lock(&ROOM).find(look).map(|_| ())
}

impl Room {
    /// Itself, with room for one worker at least.
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

/// Workers for which there is certainly room.
fn fitting(used: usize, limit: usize) -> usize {
    let workers = (limit - limit / RESERVE).saturating_sub(used) / EACH;
    if workers < LEAST {
        0
    } else {
        workers.min(MOST)
    }
}

/// The mappings that there are, and that there may be.
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
            // Longer than anything that keeps the test from going on.
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
