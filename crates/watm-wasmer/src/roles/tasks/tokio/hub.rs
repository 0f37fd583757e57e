//! Wakes tasks from within their runtime.
//!
//! A worker is a thread that its runtime does not know. A runtime with several threads answers a
//! wake-up from such a thread by waking two of its own: one for the task, and one that looks for more
//! work. So the worker leaves the wake-up at the hub of the runtime, and makes a descriptor ready that
//! the runtime watches for a task of the hub, which wakes the others: as the sockets of the runtime
//! wake theirs. There is one hub for each such runtime, from the first connection that waits in it
//! until the runtime ends. A runtime that cannot watch descriptors has none, nor has one with a single
//! thread, which any wake-up reaches at once.
//!
//! Knows tasks, and nothing of connections.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::task::{Wake, Waker};

use rustix::event::{EventfdFlags, eventfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Handle, Id, RuntimeFlavor};

use crate::channel::pipe::Wakes;
use crate::channel::sync::lock;

/// So many hubs are kept in mind before those that have ended are forgotten.
const MANY: usize = 64;

/// All hubs. One that has ended stays for a while, so that it is not begun again.
static HUBS: LazyLock<Mutex<HashMap<Id, Weak<Hub>>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The hub that this thread has used last.
    static LAST: RefCell<Option<(Id, Weak<Hub>)>> = const { RefCell::new(None) };
}

/// This task, which is woken by the hub of its runtime, if that has one.
pub(super) fn near(task: &Waker) -> impl Wakes {
    Near(task)
}

struct Near<'a>(&'a Waker);

impl Wakes for Near<'_> {
    fn leave_waker(&self, place: &mut Option<Waker>) {
        match Hub::current() {
            None => self.0.leave_waker(place),
            Some(hub) => {
                let task = self.0.clone();
                *place = Some(Waker::from(Arc::new(Through { hub, task })));
            }
        }
    }
}

/// Wakes a task through a hub.
struct Through {
    hub: Arc<Hub>,
    task: Waker,
}

impl Wake for Through {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.hub.wake(self.task.clone());
    }
}

struct Hub {
    /// Ready once there are tasks to wake. It is watched for changes, so that nothing is read from it.
    ready: OwnedFd,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    to_wake: Vec<Waker>,
    /// The task of the hub is gone. Whoever wakes does so directly.
    closed: bool,
}

impl Hub {
    /// The hub of the runtime that polls this task.
    fn current() -> Option<Arc<Self>> {
        // What is not a task is the future of `block_on`, whose thread only sleeps.
        tokio::task::try_id()?;
        let runtime = Handle::try_current().ok()?;
        if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
            return None;
        }
        let id = runtime.id();
        // A thread that ends may have lost it already.
        let last = LAST.try_with(|last| match &*last.borrow() {
            Some((of, hub)) if *of == id => hub.upgrade(),
            _ => None,
        });
        let hub = last.ok().flatten().or_else(|| {
            let hub = Self::of(&runtime)?;
            let _ = LAST.try_with(|last| last.replace(Some((id, Arc::downgrade(&hub)))));
            Some(hub)
        });
        hub.filter(|hub| !lock(&hub.tasks).closed)
    }

    /// The hub of a runtime, which begins unless it has ended already.
    fn of(runtime: &Handle) -> Option<Arc<Self>> {
        let mut hubs = lock(&HUBS);
        if let Some(hub) = hubs.get(&runtime.id()) {
            return hub.upgrade();
        }
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        // Without a descriptor left, the next connection that waits tries again.
        let ready = eventfd(0, flags).ok()?;
        let watched = ready.try_clone().ok()?;
        let hub = Arc::new(Self {
            ready,
            tasks: Mutex::default(),
        });
        if hubs.len() >= MANY {
            hubs.retain(|_, hub| hub.strong_count() > 0);
        }
        hubs.insert(runtime.id(), Arc::downgrade(&hub));
        let open = Open(Arc::clone(&hub));
        runtime.spawn(async move {
            if let Err(error) = open.run(watched).await {
                log::debug!("tasks are woken directly: {error}");
            }
        });
        Some(hub)
    }

    /// Has a task woken soon, by the hub or at once.
    fn wake(&self, task: Waker) {
        let mut tasks = lock(&self.tasks);
        if tasks.closed {
            drop(tasks);
            task.wake();
            return;
        }
        tasks.to_wake.push(task);
        let is_first = tasks.to_wake.len() == 1;
        drop(tasks);
        if is_first {
            // It fails only if it is ready already, after 2^64 times.
            let _ = rustix::io::write(&self.ready, &1_u64.to_ne_bytes());
        }
    }
}

/// A hub whose task runs. However that ends, nobody waits for it.
struct Open(Arc<Hub>);

impl Open {
    async fn run(&self, watched: OwnedFd) -> io::Result<()> {
        let watched = watch(watched)?;
        let mut tasks = Vec::new();
        loop {
            // What comes after this makes the descriptor ready once more.
            watched.readable().await?.clear_ready();
            std::mem::swap(&mut tasks, &mut lock(&self.0.tasks).to_wake);
            wake_all(tasks.drain(..));
        }
    }
}

/// Has the runtime watch a descriptor.
#[expect(
    unsafe_code,
    reason = "the same is required of any type that has a descriptor"
)]
fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: it is open for as long as the `AsyncFd` owns it, and always the same.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(watched?)
}

impl Drop for Open {
    fn drop(&mut self) {
        let tasks = {
            let mut tasks = lock(&self.0.tasks);
            tasks.closed = true;
            std::mem::take(&mut tasks.to_wake)
        };
        wake_all(tasks);
    }
}

/// Wakes each of these tasks, even if a waker panics.
fn wake_all(tasks: impl IntoIterator<Item = Waker>) {
    for task in tasks {
        if catch_unwind(AssertUnwindSafe(|| task.wake())).is_err() {
            log::error!("a waker panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    /// Long enough for a busy machine.
    const LIMIT: Duration = Duration::from_secs(30);

    /// Tells on which thread it was woken.
    struct Told(mpsc::Sender<ThreadId>);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(thread::current().id());
        }
    }

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("as wanted by the test");
        }
    }

    fn told() -> (Waker, mpsc::Receiver<ThreadId>) {
        let (sender, receiver) = mpsc::channel();
        (Waker::from(Arc::new(Told(sender))), receiver)
    }

    fn several_threads() -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).enable_io().build().expect("one")
    }

    /// What a task of this runtime leaves for a wake-up.
    fn left(runtime: &Runtime, task: &Waker) -> Waker {
        let task = task.clone();
        let left = runtime.spawn(async move {
            let mut place = None;
            near(&task).leave_waker(&mut place);
            place.expect("a waker")
        });
        runtime.block_on(left).expect("no panic")
    }

    #[test]
    fn a_task_of_several_threads_is_woken_by_one_of_them() {
        let runtime = several_threads();
        let (task, woken) = told();
        for _ in 0..100 {
            let waker = left(&runtime, &task);
            waker.wake();
            let thread = woken.recv_timeout(LIMIT).expect("it is woken");
            assert_ne!(thread, thread::current().id());
        }
        assert_eq!(
            lock(&HUBS)
                .iter()
                .filter(|(id, _)| **id == runtime.handle().id())
                .count(),
            1
        );
    }

    #[test]
    fn each_wake_up_of_many_threads_arrives() {
        const THREADS: usize = 4;
        const EACH: usize = 2_000;
        struct Counts(AtomicUsize, mpsc::Sender<()>);
        impl Wake for Counts {
            fn wake(self: Arc<Self>) {
                if self.0.fetch_add(1, Ordering::Relaxed) + 1 == THREADS * EACH {
                    let _ = self.1.send(());
                }
            }
        }
        let runtime = several_threads();
        let (sender, all) = mpsc::channel();
        let task = Waker::from(Arc::new(Counts(AtomicUsize::new(0), sender)));
        let waker = left(&runtime, &task);
        let threads = [(); THREADS].map(|()| {
            let waker = waker.clone();
            thread::spawn(move || (0..EACH).for_each(|_| waker.wake_by_ref()))
        });
        for thread in threads {
            thread.join().expect("no panic");
        }
        all.recv_timeout(LIMIT).expect("none is lost");
    }

    #[test]
    fn a_task_of_one_thread_and_what_is_no_task_are_woken_directly() {
        let (task, woken) = told();
        let one = Builder::new_current_thread().enable_io().build();
        let waker = left(&one.expect("a runtime"), &task);
        waker.wake();
        assert_eq!(woken.try_recv(), Ok(thread::current().id()));

        let mut place = None;
        several_threads().block_on(async { near(&task).leave_waker(&mut place) });
        place.take().expect("a waker").wake();
        assert_eq!(woken.try_recv(), Ok(thread::current().id()));

        near(&task).leave_waker(&mut place);
        place.expect("a waker").wake();
        assert_eq!(woken.try_recv(), Ok(thread::current().id()));
    }

    #[test]
    fn a_runtime_that_cannot_watch_descriptors_wakes_directly() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build();
        let runtime = runtime.expect("a runtime");
        let (task, woken) = told();
        // The task of the hub fails as soon as it runs.
        left(&runtime, &task).wake();
        woken.recv_timeout(LIMIT).expect("it is woken");
        let hub = lock(&HUBS)[&runtime.handle().id()].clone();
        while hub.upgrade().is_some_and(|hub| !lock(&hub.tasks).closed) {
            thread::yield_now();
        }
        left(&runtime, &task).wake();
        assert_eq!(woken.try_recv(), Ok(thread::current().id()));
    }

    #[test]
    fn whoever_waits_when_the_runtime_ends_is_woken_directly() {
        let runtime = several_threads();
        let (task, woken) = told();
        let waker = left(&runtime, &task);
        drop(runtime);
        waker.wake_by_ref();
        assert_eq!(woken.try_recv(), Ok(thread::current().id()));
        assert_eq!(woken.try_recv(), Err(mpsc::TryRecvError::Empty));
    }

    #[test]
    fn a_waker_that_panics_keeps_no_other_from_being_woken() {
        let runtime = several_threads();
        let (task, woken) = told();
        let good = left(&runtime, &task);
        let bad = left(&runtime, &Waker::from(Arc::new(Panics)));
        for _ in 0..10 {
            bad.wake_by_ref();
            good.wake_by_ref();
            woken.recv_timeout(LIMIT).expect("it is woken");
        }
    }
}
