//! The clients of a command that serves many: limits their number and ends them all.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use watm_wasmer::Conn;

use super::copy::{Carried, Pair};

/// All clients of one command. Clones refer to the same clients.
#[derive(Clone)]
pub(crate) struct Clients {
    shared: Arc<Shared>,
}

/// The place of one client. Dropping it makes the place free again.
pub(crate) struct Place {
    clients: Clients,
}

/// A client that is being connected or carried.
pub(crate) struct Busy {
    clients: Clients,
}

struct Shared {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    admits: bool,
    cut: bool,
    /// The number of places that are taken.
    taken: usize,
    /// The number of clients that are being connected or carried.
    busy: usize,
    /// The clients that are being carried.
    carried: HashMap<u64, Arc<Pair>>,
    next: u64,
}

impl Clients {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            shared: Arc::new(Shared {
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
                state: Mutex::new(State {
                    admits: true,
                    cut: false,
                    taken: 0,
                    busy: 0,
                    carried: HashMap::new(),
                    next: 0,
                }),
                changed: Condvar::new(),
            }),
        }
    }

    /// Waits for a free place. Returns `None` after [`Clients::admit_nobody`].
    pub(crate) fn admit(&self) -> Option<Place> {
        let limit = self.shared.limit;
        let mut state = self
            .shared
            .changed
            .wait_while(self.lock(), |state| state.taken >= limit && state.admits)
            .unwrap_or_else(PoisonError::into_inner);
        if !state.admits {
            return None;
        }
        state.taken += 1;
        Some(Place {
            clients: self.clone(),
        })
    }

    /// Stops admitting clients. Those that have a place continue.
    pub(crate) fn admit_nobody(&self) {
        self.lock().admits = false;
        self.shared.changed.notify_all();
    }

    /// Cuts off all clients that are carried, and those that would be from now on. Does not wait.
    pub(crate) fn cut(&self) {
        let carried: Vec<_> = {
            let mut state = self.lock();
            state.admits = false;
            state.cut = true;
            state.carried.values().cloned().collect()
        };
        self.shared.changed.notify_all();
        for pair in carried {
            pair.cut();
        }
    }

    /// Waits up to `limit` until no client is being connected or carried. Returns how many are
    /// left.
    pub(crate) fn wait_idle(&self, limit: Duration) -> usize {
        self.wait_until_none(limit, |state| state.busy)
    }

    /// Waits up to `limit` until no client is being carried. Returns how many are left. Clients
    /// that are still being connected cannot be cut off, so this does not wait for them.
    pub(crate) fn wait_cut(&self, limit: Duration) -> usize {
        self.wait_until_none(limit, |state| state.carried.len())
    }

    fn wait_until_none(&self, limit: Duration, count: impl Fn(&State) -> usize) -> usize {
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(self.lock(), limit, |state| count(state) > 0);
        let (state, _timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        count(&state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state changes in single steps, so a panic elsewhere leaves it valid.
        let locked = self.shared.state.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Marks the client as being connected and then carried, until the result is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.clients.lock().busy += 1;
        Busy {
            clients: self.clients.clone(),
        }
    }

    /// Carries a client to its end (see [`Pair::carry`]) and reports the result, which is `None` if
    /// the command is ending. The place stays taken until the worker has ended too.
    pub(crate) fn carry(
        self,
        busy: Busy,
        conn: Conn,
        plain: TcpStream,
        patience: Duration,
        report: impl FnOnce(Option<io::Result<Carried>>),
    ) {
        let pair = Arc::new(Pair::new(conn, plain));
        report(self.carry_pair(&pair, patience));
        drop(busy);
        self.free_after(pair.conn());
    }

    /// Closes a connection and frees the place once its worker has ended. A module that does not
    /// end when it should keeps its place, so it cannot take a core beside the next client's.
    pub(crate) fn free_after(self, conn: &Conn) {
        let _ = conn.close();
        let _ = conn.wait(None);
    }

    fn carry_pair(&self, pair: &Arc<Pair>, patience: Duration) -> Option<io::Result<Carried>> {
        let id = {
            let mut state = self.clients.lock();
            if state.cut {
                drop(state);
                pair.cut();
                return None;
            }
            let id = state.next;
            state.next += 1;
            state.carried.insert(id, Arc::clone(pair));
            id
        };
        let carried = pair.carry(patience);
        self.clients.lock().carried.remove(&id);
        self.clients.shared.changed.notify_all();
        Some(carried)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.lock().taken -= 1;
        self.clients.shared.changed.notify_all();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.clients.lock().busy -= 1;
        self.clients.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn a_place_is_free_again_when_its_client_has_gone() {
        let clients = Clients::new(1);
        let place = clients.admit().expect("a place");
        let (sender, receiver) = bounded(1);
        let waiting = clients.clone();
        let thread = std::thread::spawn(move || {
            let _ = sender.send(waiting.admit().is_some());
        });
        assert!(receiver.try_recv().is_err(), "there is only one place");
        drop(place);
        let admitted = receiver.recv_timeout(Duration::from_secs(20));
        assert_eq!(admitted, Ok(true));
        thread.join().expect("the thread ends");
    }

    #[test]
    fn nobody_is_admitted_after_the_stop_and_those_who_wait_are_told() {
        let clients = Clients::new(1);
        let _place = clients.admit().expect("a place");
        let (sender, receiver) = bounded(1);
        let waiting = clients.clone();
        let thread = std::thread::spawn(move || {
            let _ = sender.send(waiting.admit().is_none());
        });
        clients.admit_nobody();
        let refused = receiver.recv_timeout(Duration::from_secs(20));
        assert_eq!(refused, Ok(true));
        assert!(clients.admit().is_none());
        assert_eq!(clients.wait_idle(Duration::from_secs(20)), 0);
        thread.join().expect("the thread ends");
    }
}
