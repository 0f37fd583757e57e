//! A connection that is being set up, for whoever waits: a thread, or a task that polls. Giving it up
//! leaves nothing behind.

use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::channel::link::{Level, Link, Stage};
use crate::channel::sync::lock;
use crate::channel::wakers::Key;
use crate::error::SetupError;
use crate::guest::exports::Established;
use crate::threads::unpark;
use crate::worker::Refill;
use crate::worker::thread::{Report, given_up, without_a_word};

/// What the worker has said. It says it once.
type Answer = Arc<Mutex<Option<Result<Established, SetupError>>>>;

/// Where the worker says it. If it ends without a word, it says so.
struct Answering {
    link: Arc<Link>,
    answer: Answer,
}

impl Answering {
    fn say(&self, result: Result<Established, SetupError>) {
        lock(&self.answer).get_or_insert(result);
        self.link.tasks.wake();
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if lock(&self.answer).is_none() {
            self.say(Err(without_a_word()));
        }
    }
}

/// Returns what the worker calls with its result, and where that is found.
pub(super) fn answer(link: &Arc<Link>) -> (Report, Answer) {
    let answer = Answer::default();
    let answering = Answering {
        link: Arc::clone(link),
        answer: Arc::clone(&answer),
    };
    (Box::new(move |result| answering.say(result)), answer)
}

/// A connection that is being set up. Dropping it gives the connection up.
pub(crate) struct SetUp {
    link: Arc<Link>,
    answer: Answer,
    key: Key,
    /// The place of whoever watches.
    watched: Key,
    /// The answer was given, and there is nothing to give up.
    is_over: bool,
    /// The pool replaces the worker when the set-up is over, so that this does not slow it.
    _refill: Option<Refill>,
}

impl SetUp {
    pub(super) fn new(link: Arc<Link>, answer: Answer, refill: Option<Refill>) -> Self {
        Self {
            link,
            answer,
            key: Key::default(),
            watched: Key::default(),
            is_over: false,
            _refill: refill,
        }
    }

    /// Whether the transport is set up, or why it is not. Otherwise, the task is woken when that
    /// changes.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<Established, SetupError>> {
        if let Some(result) = self.result() {
            return Poll::Ready(result);
        }
        self.link.tasks.add(&mut self.key, waker);
        self.result().map_or(Poll::Pending, Poll::Ready)
    }

    /// Has `waker` woken once, as soon as there may be a result, whoever polls.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        self.link.tasks.add(&mut self.watched, waker);
        if lock(&self.answer).is_some() || self.link.is_stopping() {
            waker.wake_by_ref();
        }
    }

    /// Whether the transport is set up, or why it is not. Nobody is woken when that changes.
    pub(crate) fn result(&mut self) -> Option<Result<Established, SetupError>> {
        // A worker that was stopped may be in a call of the system, where nothing reaches it.
        let is_stopping = self.link.is_stopping();
        let answer = lock(&self.answer).take();
        let result = answer.or_else(|| is_stopping.then(|| Err(self.stopped())));
        self.is_over |= result.is_some();
        result
    }

    /// Why the set-up was stopped, if the worker has not said it.
    fn stopped(&self) -> SetupError {
        match self.link.limit() {
            Some(after) if !self.link.is_given_up() => SetupError::TimedOut {
                after,
                connecting: self.link.is_connecting(),
            },
            _ => given_up(&self.link),
        }
    }

    /// Lets the set-up go on, though nobody waits for it.
    pub(crate) fn detach(mut self) {
        self.is_over = true;
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Waits.
    pub(crate) fn wait(&mut self) -> Result<Established, SetupError> {
        let waker = unpark();
        loop {
            if let Poll::Ready(result) = self.poll(&waker) {
                return result;
            }
            std::thread::park();
        }
    }
}

impl Drop for SetUp {
    fn drop(&mut self) {
        self.link.tasks.remove(&self.key);
        self.link.tasks.remove(&self.watched);
        if !self.is_over && !self.link.give_up(Stage::GivenUp) {
            // It is set up, but nobody has taken it and so nobody will ever close it.
            self.link.raise(Level::Stopping);
        }
    }
}
