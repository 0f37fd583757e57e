use super::*;

const NOW: Patience<'static> = Patience::None;
const SOON: Patience<'static> = Patience::Wait(Some(Duration::from_secs(20)));

fn ends() -> (ApplicationEnd, GuestEnd) {
    pipe(Arc::new(Link::default()))
}

/// A task, and how often it was woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl std::task::Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Task {
    fn woken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Remembers what it was told last.
#[derive(Default)]
struct Told(Mutex<[Option<bool>; 2]>);

impl Signal for Told {
    fn set_ready(&self, way: Way) {
        lock(&self.0)[way as usize] = Some(true);
    }

    fn set_blocked(&self, way: Way) {
        lock(&self.0)[way as usize] = Some(false);
    }
}

fn guest_write(guest: &mut GuestEnd, data: &[u8]) {
    assert_eq!(guest.write(data), data.len());
    guest.write_done(false);
}

#[test]
fn bytes_come_before_the_end_of_stream() {
    let (app, mut guest) = ends();
    guest_write(&mut guest, b"last words");
    drop(guest);
    let mut buf = [0; 32];
    assert_eq!(app.read(&mut buf, NOW).expect("bytes"), 10);
    assert_eq!(app.read(&mut buf, NOW).expect("the end"), 0);
    assert_eq!(
        app.write(b"x", NOW).expect_err("nobody reads").kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[test]
fn a_reader_that_waits_is_woken_by_bytes_and_by_the_end() {
    let (app, mut guest) = ends();
    let reader = std::thread::spawn(move || {
        let mut buf = [0; 8];
        let first = app.read(&mut buf, SOON).expect("bytes");
        (first, app.read(&mut buf, SOON).expect("the end"))
    });
    guest_write(&mut guest, b"abc");
    drop(guest);
    assert_eq!(reader.join().expect("the reader ends"), (3, 0));
}

#[test]
fn a_reader_is_woken_late_when_more_is_to_come_but_before_the_guest_sleeps() {
    let (app, mut guest) = ends();
    let reader = std::thread::spawn(move || {
        let mut buf = [0; 8];
        app.read(&mut buf, SOON).expect("bytes")
    });
    while !guest.pipe.has_sleeping_reader() {
        std::thread::yield_now();
    }
    assert_eq!(guest.write(b"abc"), 3);
    guest.write_done(true);
    assert!(guest.owes_wake_up);
    guest.wake_readers();
    assert!(!guest.owes_wake_up && !lock(&guest.pipe.owed).owed);
    assert_eq!(reader.join().expect("the reader ends"), 3);
}

#[test]
fn a_reader_is_woken_at_once_when_much_is_there() {
    let (_app, mut guest) = ends();
    let waits = &guest.pipe.to_application.application_waits;
    waits.store(true, Ordering::Relaxed);
    guest.write(&vec![0; BYTES_WORTH_WAKING]);
    guest.write_done(true);
    assert!(!guest.owes_wake_up && !guest.pipe.has_sleeping_reader());
}

#[test]
fn a_reader_is_woken_though_the_guest_never_comes_back() {
    let (app, mut guest) = ends();
    let reader = std::thread::spawn(move || {
        let mut buf = [0; 8];
        app.read(&mut buf, SOON).expect("bytes")
    });
    while !guest.pipe.has_sleeping_reader() {
        std::thread::yield_now();
    }
    guest.write(b"abc");
    guest.write_done(true);
    assert_eq!(reader.join().expect("the supervisor wakes it"), 3);
    drop(guest);
}

#[test]
fn a_writer_that_waits_is_woken_when_the_guest_reads() {
    let (app, mut guest) = ends();
    let data = vec![7; PIPE_CAPACITY];
    assert_eq!(app.write(&data, NOW).expect("room"), PIPE_CAPACITY);
    assert_eq!(
        app.write(b"x", NOW).expect_err("full").kind(),
        io::ErrorKind::WouldBlock
    );
    let writer = std::thread::spawn(move || app.write(b"x", SOON).expect("room"));
    let mut buf = vec![0; PIPE_CAPACITY];
    let len = guest.read(&mut buf);
    guest.read_done(len);
    assert_eq!(len, PIPE_CAPACITY);
    assert_eq!(writer.join().expect("the writer ends"), 1);
}

#[test]
fn a_wait_ends_at_its_limit() {
    let (app, _guest) = ends();
    let brief = Patience::Wait(Some(Duration::from_millis(1)));
    let error = app.read(&mut [0; 4], brief).expect_err("nothing comes");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn the_guest_reads_the_last_byte_and_then_the_end() {
    let (app, mut guest) = ends();
    app.write(b"ab", NOW).expect("room");
    app.shutdown_write();
    assert!(!guest.at_end());
    let mut buf = [0; 8];
    assert_eq!(guest.read(&mut buf), 2);
    assert!(guest.at_end() && guest.is_readable());
    assert_eq!(
        app.write(b"c", NOW).expect_err("shut down").kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[test]
fn what_nobody_reads_is_dropped_without_blocking_the_guest() {
    let (app, mut guest) = ends();
    app.shutdown_read();
    for _ in 0..4 {
        assert!(guest.accepts(PIPE_CAPACITY));
        guest_write(&mut guest, &vec![0; PIPE_CAPACITY]);
    }
    assert_eq!(app.read(&mut [0; 4], NOW).expect("shut down"), 0);
}

#[test]
fn a_task_that_found_nothing_is_woken_once_by_bytes_by_room_and_by_the_end() {
    let (app, mut guest) = ends();
    let (reads, writes) = (Arc::new(Task::default()), Arc::new(Task::default()));
    let (reader, writer) = (Waker::from(reads.clone()), Waker::from(writes.clone()));
    let mut buf = vec![0; PIPE_CAPACITY];
    assert!(
        app.poll_read(&mut buf, Patience::Task(&reader))
            .is_pending()
    );
    for _ in 0..2 {
        guest_write(&mut guest, b"abc");
    }
    assert_eq!((reads.woken(), writes.woken()), (1, 0));
    let read = app.poll_read(&mut buf, Patience::Task(&reader));
    assert!(matches!(read, Poll::Ready(Ok(6))));
    assert!(
        app.poll_read(&mut buf, Patience::Task(&reader))
            .is_pending()
    );

    let full = app.poll_write(&[IoSlice::new(&buf)], Patience::Task(&writer));
    assert!(matches!(full, Poll::Ready(Ok(PIPE_CAPACITY))));
    assert!(
        app.poll_write(&[IoSlice::new(b"x")], Patience::Task(&writer))
            .is_pending()
    );
    let len = guest.read(&mut buf);
    guest.read_done(len);
    assert_eq!((reads.woken(), writes.woken()), (1, 1));

    assert!(
        app.poll_read(&mut buf, Patience::Task(&reader))
            .is_pending()
    );
    drop(guest);
    assert_eq!((reads.woken(), writes.woken()), (2, 1));
    let end = app.poll_read(&mut buf, Patience::Task(&reader));
    assert!(matches!(end, Poll::Ready(Ok(0))));
}

#[test]
fn a_signal_follows_what_the_application_may_do() {
    let (app, mut guest) = ends();
    let told = Arc::new(Told::default());
    let signal: Arc<dyn Signal> = told.clone();
    app.watch(&signal);
    let told = || *lock(&told.0);
    assert_eq!(told(), [None, None]);
    assert!(app.poll_read(&mut [0; 4], NOW).is_pending());
    assert_eq!(told(), [Some(false), None]);
    guest_write(&mut guest, b"abcd");
    assert_eq!(told(), [Some(true), None]);
    assert!(app.poll_read(&mut [0; 4], NOW).is_ready());
    assert!(app.poll_read(&mut [0; 4], NOW).is_pending());
    let data = [IoSlice::new(&[0; PIPE_CAPACITY])];
    assert!(app.poll_write(&data, NOW).is_ready() && app.poll_write(&data, NOW).is_pending());
    assert_eq!(told(), [Some(false), Some(false)]);
    drop(guest);
    assert_eq!(told(), [Some(true), Some(true)]);
}

#[test]
fn several_buffers_are_written_at_once_as_far_as_there_is_room() {
    let (app, mut guest) = ends();
    let large = vec![b'c'; PIPE_CAPACITY];
    let bufs = [&b"a"[..], b"", b"bb", &large].map(IoSlice::new);
    let written = app.poll_write(&bufs, NOW);
    assert!(matches!(written, Poll::Ready(Ok(PIPE_CAPACITY))));
    let mut buf = vec![0; PIPE_CAPACITY];
    assert_eq!(guest.read(&mut buf), PIPE_CAPACITY);
    assert_eq!(&buf[..4], b"abbc");
    let nothing = app.poll_write(&[IoSlice::new(b"")], NOW);
    assert!(matches!(nothing, Poll::Ready(Ok(0))));
}
