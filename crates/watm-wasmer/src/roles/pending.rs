//! Connections that are being set up.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::channel::link::{Link, Stage};
use crate::channel::pipe::{Signal, Way};
use crate::channel::sync::lock;
use crate::error::{ConfigError, SetupError};
use crate::guest::exports::Established;
use crate::guest::settings::{Common, Settings};
use crate::host::Ends;
use crate::net::readiness::Readiness;
use crate::roles::{builder, dropped};
use crate::worker::Workers;
use crate::worker::set_up::SetUp;

/// A connection that is being set up: a [`Conn`](crate::Conn) or a [`Carried`](crate::Carried).
///
/// It is a future, which any executor can run: the thread of the transport wakes the task. Or
/// [`Pending::wait`] blocks. Event loops watch [`Pending::readiness`] and call
/// [`Pending::try_wait`]; the feature `mio` makes it an event source. The set-up goes on whether or
/// not anybody waits. Dropping this value gives the connection up.
///
/// ```no_run
/// use watm_wasmer::{DialOptions, Dialer, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// let dialer = Dialer::builder(&module).build()?;
/// // Both are set up at the same time.
/// let first = dialer.begin("192.0.2.1:443", DialOptions::new());
/// let second = dialer.begin("192.0.2.2:443", DialOptions::new());
/// let conns = [first.wait()?, second.wait()?];
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it gives the connection up"]
pub struct Pending<T, E> {
    /// Nothing once the result was given out.
    state: Option<State<T>>,
    explain: fn(SetupError) -> E,
    /// What event loops watch, if one asked for it.
    signal: Option<Arc<Readiness>>,
}

enum State<T> {
    UnderWay {
        set_up: SetUp,
        make: Make<T>,
    },
    /// It could not begin.
    Failed(SetupError),
}

/// Makes the connection from what is known about its transport.
type Make<T> = Box<dyn FnOnce(Established) -> T + Send>;

/// What a single connection may have in place of what its role has.
#[derive(Clone, Default)]
pub(super) struct Own {
    pub(super) settings: Option<Arc<Common>>,
    pub(super) config: Option<Arc<[u8]>>,
    pub(super) timeout: Option<Duration>,
    pub(super) cancel: Option<CancelToken>,
}

impl<T, E> Pending<T, E> {
    /// Begins to set up a connection with these ends, which depend on its link and its settings.
    pub(super) fn begin(
        workers: &Workers,
        own: Own,
        ends: impl FnOnce(&Arc<Link>, &Settings) -> (Ends, Make<T>),
    ) -> Self
    where
        E: From<SetupError>,
    {
        if own.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Self::failed(SetupError::Closed);
        }
        let settings = own.settings.map(|common| own_settings(workers, &common));
        let settings = match settings.transpose() {
            Ok(settings) => settings,
            Err(error) => return Self::failed(SetupError::Config(error)),
        };
        let worker = workers.next(settings, own.config).within(own.timeout);
        let link = Arc::clone(worker.link());
        let (ends, make) = ends(&link, worker.settings());
        let begun = worker.begin(ends);
        if let Some(cancel) = own.cancel {
            cancel.watch(&link);
        }
        Self::of(match begun {
            Ok(set_up) => State::UnderWay { set_up, make },
            Err(error) => State::Failed(error),
        })
    }

    /// A connection that cannot be set up.
    pub(super) fn failed(error: SetupError) -> Self
    where
        E: From<SetupError>,
    {
        Self::of(State::Failed(error))
    }

    fn of(state: State<T>) -> Self
    where
        E: From<SetupError>,
    {
        Self {
            state: Some(state),
            explain: E::from,
            signal: None,
        }
    }

    /// Waits until the connection is set up.
    ///
    /// # Errors
    ///
    /// Why it could not be set up.
    ///
    /// # Panics
    ///
    /// If it has already returned its result.
    pub fn wait(mut self) -> Result<T, E> {
        self.result(|set_up| Some(set_up.wait()))
            .expect("it has waited")
    }

    /// Returns the connection if it is set up, or why it could not be; `None` as long as the set-up
    /// goes on. Never waits.
    ///
    /// # Panics
    ///
    /// If it has already returned its result.
    pub fn try_wait(&mut self) -> Option<Result<T, E>> {
        let result = self.result(SetUp::result);
        if result.is_some() {
            return result;
        }
        // What woke the loop was something else.
        self.arm();
        self.result(SetUp::result)
    }

    /// A descriptor for event loops, such as epoll or poll: it becomes readable when
    /// [`Pending::try_wait`] has a result. There is nothing to read from it.
    ///
    /// The first call takes two descriptors, and each takes one for what it returns. Without a call,
    /// nothing is paid.
    ///
    /// # Errors
    ///
    /// Those of the system, if it has no descriptors left.
    ///
    /// ```no_run
    /// use rustix::event::{PollFd, PollFlags, poll};
    /// use watm_wasmer::{DialOptions, Dialer, TransportModule};
    ///
    /// let module = TransportModule::from_file("plain.wasm")?;
    /// let dialer = Dialer::builder(&module).build()?;
    /// let mut dial = dialer.begin("192.0.2.1:443", DialOptions::new());
    /// let ready = dial.readiness()?;
    /// let conn = loop {
    ///     if let Some(result) = dial.try_wait() {
    ///         break result?;
    ///     }
    ///     poll(&mut [PollFd::new(&ready, PollFlags::IN)], None)?;
    /// };
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn readiness(&mut self) -> io::Result<OwnedFd> {
        self.signal()?.descriptor()
    }

    pub(super) fn signal(&mut self) -> io::Result<&Readiness> {
        if self.signal.is_none() {
            self.signal = Some(Arc::new(Readiness::new()?));
            self.arm();
        }
        Ok(self.signal.as_ref().expect("it was just made"))
    }

    /// Has the event loop told once, when there may be a result.
    fn arm(&mut self) {
        let under_way = match &mut self.state {
            Some(State::UnderWay { set_up, .. }) => Some(set_up),
            _ => None,
        };
        if let (Some(signal), Some(set_up)) = (&self.signal, under_way) {
            signal.set_blocked(Way::Read);
            set_up.watch(&Waker::from(Arc::clone(signal)));
        }
    }

    /// Gives the result out, if `look` finds one.
    fn result(
        &mut self,
        look: impl FnOnce(&mut SetUp) -> Option<Result<Established, SetupError>>,
    ) -> Option<Result<T, E>> {
        let state = self.state.take();
        let result = match state.expect("the result was returned before") {
            State::Failed(error) => Err(error),
            State::UnderWay { mut set_up, make } => match look(&mut set_up) {
                None => {
                    self.state = Some(State::UnderWay { set_up, make });
                    return None;
                }
                Some(Ok(established)) => Ok(make(established)),
                Some(Err(error)) => {
                    // The worker may be in a call of the system.
                    dropped::add(set_up.link());
                    Err(error)
                }
            },
        };
        Some(result.map_err(self.explain))
    }

    /// Lets the set-up go on, though nobody waits for it; its result is lost.
    pub(super) fn detach(mut self) -> Result<(), SetupError> {
        match self.state.take() {
            Some(State::UnderWay { set_up, .. }) => {
                dropped::add(set_up.link());
                set_up.detach();
            }
            Some(State::Failed(error)) => return Err(error),
            None => {}
        }
        Ok(())
    }

    /// The same for a value that is made from the connection.
    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(super) fn map<U>(mut self, then: impl FnOnce(T) -> U + Send + 'static) -> Pending<U, E>
    where
        T: 'static,
    {
        let state = self.state.take().map(|state| match state {
            State::UnderWay { set_up, make } => State::UnderWay {
                set_up,
                make: Box::new(move |established| then(make(established))),
            },
            State::Failed(error) => State::Failed(error),
        });
        Pending {
            state,
            explain: self.explain,
            signal: self.signal.take(),
        }
    }
}

/// The settings of one connection alone, for what a role is used for.
pub(super) fn own_settings(
    workers: &Workers,
    common: &Common,
) -> Result<Arc<Settings>, ConfigError> {
    let settings = Settings {
        common: common.clone(),
        ..Settings::clone(&workers.current())
    };
    builder::check(&settings, workers.role())
}

impl<T, E> Future for Pending<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let look = |set_up: &mut SetUp| match set_up.poll(cx.waker()) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        };
        self.get_mut()
            .result(look)
            .map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T, E> Unpin for Pending<T, E> {}

impl<T, E> Drop for Pending<T, E> {
    fn drop(&mut self) {
        if let Some(State::UnderWay { set_up, .. }) = self.state.take() {
            // It ends soon, but not at once.
            dropped::add(set_up.link());
        }
    }
}

impl<T, E> fmt::Debug for Pending<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

/// Cancels dials, from any thread: see [`DialOptions::cancel`](crate::DialOptions::cancel).
///
/// Clones cancel the same dials. A token that was cancelled stays so: dials that begin later with it
/// fail at once.
///
/// ```
/// use watm_wasmer::{CancelToken, DialError, DialOptions, Dialer, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let dialer = Dialer::builder(&module).build()?;
/// let token = CancelToken::new();
/// let canceller = token.clone();
/// // The user closes the window, here before anything was dialled.
/// let window = std::thread::spawn(move || canceller.cancel());
/// # window.join().expect("it cancels");
/// let options = DialOptions::new().cancel(&token);
/// let result = dialer.dial_with("192.0.2.1:443", options);
/// assert!(matches!(result, Err(DialError::Cancelled)));
/// assert!(token.is_cancelled());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Mutex<Cancel>>);

#[derive(Default)]
struct Cancel {
    is_cancelled: bool,
    /// The dials that are under way, and some that are not any more.
    links: Vec<Weak<Link>>,
}

impl CancelToken {
    /// A token that cancels nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels all dials that are under way and have this token: they fail with
    /// [`DialError::Cancelled`](crate::DialError::Cancelled). Connections that are set up already
    /// go on. Does not wait.
    pub fn cancel(&self) {
        let links = {
            let mut cancel = lock(&self.0);
            cancel.is_cancelled = true;
            std::mem::take(&mut cancel.links)
        };
        for link in links.iter().filter_map(Weak::upgrade) {
            link.give_up(Stage::GivenUp);
        }
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        lock(&self.0).is_cancelled
    }

    /// Has the dial cancelled with the others, or at once.
    pub(super) fn watch(&self, link: &Arc<Link>) {
        let mut cancel = lock(&self.0);
        if cancel.is_cancelled {
            drop(cancel);
            link.give_up(Stage::GivenUp);
            return;
        }
        if cancel.links.len() == cancel.links.capacity() {
            // Dials that are over are forgotten before the list grows.
            let is_under_way = |link: &Weak<Link>| {
                let link = link.upgrade();
                link.is_some_and(|link| link.set_up_by().is_some() && !link.is_finished())
            };
            cancel.links.retain(is_under_way);
        }
        cancel.links.push(Arc::downgrade(link));
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_forgets_the_dials_that_are_over() {
        let token = CancelToken::new();
        for _ in 0..10_000 {
            let link = Arc::<Link>::default();
            token.watch(&link);
            link.finish();
        }
        assert!(lock(&token.0).links.capacity() < 64);
    }

    #[test]
    fn a_token_gives_up_what_is_under_way_and_what_begins_later() {
        let token = CancelToken::new();
        let [early, done, late] = std::array::from_fn(|_| Arc::<Link>::default());
        token.watch(&early);
        token.watch(&done);
        assert!(done.advance(Stage::SettingUp, Stage::Established));
        token.clone().cancel();
        token.watch(&late);
        assert!(early.is_given_up() && late.is_given_up() && token.is_cancelled());
        assert!(done.is_established() && !done.is_stopping());
    }
}
