//! A bounded single-producer single-consumer byte ring: the memory that replaces a socket
//! between the application and the guest.
//!
//! It knows nothing of who waits for whom: waking is the business of the pipe above it. Its
//! storage is allocated by the first write, so a connection that carries nothing costs nothing.

use std::sync::Arc;

use crate::channel::cells::Cells;
use crate::channel::sync::{AtomicUsize, OnceLock, Ordering};

/// Keeps the two indices on cache lines of their own, so that the sides do not slow each other.
#[repr(align(128))]
struct Line(AtomicUsize);

/// The cells between `head` and `tail` are touched by the consumer alone and the others by the
/// producer alone; the release store of an index hands cells over to the side that acquires it.
struct Ring {
    /// Total bytes ever taken out. Written by the consumer alone.
    head: Line,
    /// Total bytes ever put in. Written by the producer alone.
    tail: Line,
    storage: OnceLock<Cells>,
    capacity: usize,
}

/// The writing end. There is exactly one, and its methods take `&mut self`.
pub(crate) struct Producer {
    shared: Arc<Ring>,
    /// What this side knows of `head`; never ahead of it.
    head: usize,
    tail: usize,
    /// Bytes written but not yet shown to the consumer.
    staged: usize,
}

/// The reading end. There is exactly one, and its methods take `&mut self`.
pub(crate) struct Consumer {
    shared: Arc<Ring>,
    head: usize,
    /// What this side knows of `tail`; never ahead of it.
    tail: usize,
}

/// Makes a ring that holds up to `capacity` bytes, a power of two.
pub(crate) fn ring(capacity: usize) -> (Producer, Consumer) {
    assert!(
        capacity.is_power_of_two(),
        "a ring's capacity is a power of two"
    );
    let shared = Arc::new(Ring {
        head: Line(AtomicUsize::new(0)),
        tail: Line(AtomicUsize::new(0)),
        storage: OnceLock::new(),
        capacity,
    });
    (
        Producer {
            shared: Arc::clone(&shared),
            head: 0,
            tail: 0,
            staged: 0,
        },
        Consumer {
            shared,
            head: 0,
            tail: 0,
        },
    )
}

impl Ring {
    fn storage(&self) -> &Cells {
        self.storage.get_or_init(|| Cells::new(self.capacity))
    }

    /// The position of index `at` and how many bytes lie there without wrapping, `len` at most.
    fn span(&self, at: usize, len: usize) -> (usize, usize) {
        let start = at & (self.capacity - 1);
        (start, len.min(self.capacity - start))
    }
}

impl Producer {
    /// Bytes that can be staged now.
    pub(crate) fn free(&mut self) -> usize {
        self.head = self.shared.head.0.load(Ordering::Acquire);
        self.room()
    }

    /// Whether `len` bytes can be staged now; looks at the other side only when it has to.
    pub(crate) fn fits(&mut self, len: usize) -> bool {
        self.room() >= len || self.free() >= len
    }

    /// Copies as much of `data` as there is room for behind what is staged already, and returns
    /// how much that was. The consumer sees nothing of it before [`Producer::commit`].
    pub(crate) fn stage(&mut self, data: &[u8]) -> usize {
        if self.room() < data.len() {
            self.free();
        }
        let total = data.len().min(self.room());
        if total == 0 {
            return 0;
        }
        let storage = self.shared.storage();
        let mut done = 0;
        while done < total {
            let at = self.tail.wrapping_add(self.staged);
            let (start, len) = self.shared.span(at, total - done);
            // SAFETY: `span` stays inside the storage. `room` keeps the range to cells that the
            // consumer has released, and there is only one producer.
            unsafe { storage.put(start, &data[done..done + len]) };
            self.staged += len;
            done += len;
        }
        total
    }

    /// Shows the consumer all that was staged, as one piece.
    pub(crate) fn commit(&mut self) {
        self.tail = self.tail.wrapping_add(self.staged);
        self.staged = 0;
        self.shared.tail.0.store(self.tail, Ordering::Release);
    }

    fn room(&self) -> usize {
        self.shared.capacity - self.tail.wrapping_sub(self.head) - self.staged
    }
}

impl Consumer {
    /// Bytes that can be read now.
    pub(crate) fn available(&mut self) -> usize {
        self.tail = self.shared.tail.0.load(Ordering::Acquire);
        self.known()
    }

    /// Whether nothing can be read now; looks at the other side only when it has to.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.known() == 0 && self.available() == 0
    }

    /// Moves bytes into `buf`, across the wrap, and returns how many.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> usize {
        let done = self.peek(0, buf);
        self.skip(done);
        done
    }

    /// Copies bytes that start `offset` bytes behind the next one, without taking them out.
    pub(crate) fn peek(&mut self, offset: usize, buf: &mut [u8]) -> usize {
        if self.known() < offset.saturating_add(buf.len()) {
            self.available();
        }
        let total = buf.len().min(self.known().saturating_sub(offset));
        if total == 0 {
            return 0;
        }
        let storage = self.shared.storage();
        let mut done = 0;
        while done < total {
            let (start, len) = self
                .shared
                .span(self.head.wrapping_add(offset + done), total - done);
            // SAFETY: `span` stays inside the storage. `known` keeps the range to cells that the
            // producer has written and released, and there is only one consumer.
            unsafe { storage.get(start, &mut buf[done..done + len]) };
            done += len;
        }
        total
    }

    /// Takes out up to `len` bytes without copying them.
    pub(crate) fn skip(&mut self, len: usize) {
        let len = len.min(self.known());
        if len > 0 {
            self.head = self.head.wrapping_add(len);
            self.shared.head.0.store(self.head, Ordering::Release);
        }
    }

    fn known(&self) -> usize {
        self.tail.wrapping_sub(self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn nothing_is_seen_before_the_commit() {
        let (mut tx, mut rx) = ring(8);
        assert_eq!(tx.stage(b"abc"), 3);
        assert!(rx.is_empty());
        assert_eq!(tx.stage(b"defghijk"), 5);
        tx.commit();
        let mut buf = [0; 16];
        assert_eq!(rx.read(&mut buf), 8);
        assert_eq!(&buf[..8], b"abcdefgh");
    }

    #[test]
    fn a_read_copies_across_the_wrap() {
        let (mut tx, mut rx) = ring(8);
        let mut buf = [0; 8];
        tx.stage(b"123456");
        tx.commit();
        assert_eq!(rx.read(&mut buf[..5]), 5);
        tx.stage(b"789abcd");
        tx.commit();
        assert_eq!(rx.read(&mut buf), 8);
        assert_eq!(&buf, b"6789abcd");
    }

    #[test]
    fn storage_is_not_allocated_before_the_first_byte() {
        let (mut tx, mut rx) = ring(1 << 17);
        assert_eq!(rx.read(&mut [0; 4]), 0);
        assert_eq!(tx.free(), 1 << 17);
        assert!(tx.shared.storage.get().is_none());
        tx.stage(b"x");
        assert!(tx.shared.storage.get().is_some());
    }

    #[test]
    fn bytes_arrive_in_order_between_two_threads() {
        let (mut tx, mut rx) = ring(64);
        const TOTAL: usize = if cfg!(miri) { 500 } else { 1_000_000 };
        let writer = std::thread::spawn(move || {
            let mut next = 0usize;
            while next < TOTAL {
                let chunk: Vec<u8> = (next..(next + 23).min(TOTAL))
                    .map(|i| (i % 251) as u8)
                    .collect();
                let n = tx.stage(&chunk);
                tx.commit();
                next += n;
                if n == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut seen = 0usize;
        let mut buf = [0; 17];
        while seen < TOTAL {
            let n = rx.read(&mut buf);
            for b in &buf[..n] {
                assert_eq!(*b, (seen % 251) as u8);
                seen += 1;
            }
            if n == 0 {
                std::thread::yield_now();
            }
        }
        writer.join().expect("the writer ends");
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_queue(ops in proptest::collection::vec((0u8..4, 0usize..40), 1..200)) {
            let (mut tx, mut rx) = ring(32);
            let mut model = VecDeque::new();
            let mut next = 0u8;
            for (op, len) in ops {
                match op {
                    0 | 1 => {
                        let data: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                        let n = tx.stage(&data);
                        prop_assert_eq!(n, len.min(32 - model.len()));
                        tx.commit();
                        model.extend(&data[..n]);
                        next = next.wrapping_add(n as u8);
                    }
                    2 => {
                        let mut buf = vec![0; len];
                        let n = rx.read(&mut buf);
                        let expected: Vec<u8> = model.drain(..len.min(model.len())).collect();
                        prop_assert_eq!(&buf[..n], &expected[..]);
                    }
                    _ => {
                        let mut buf = vec![0; len];
                        let n = rx.peek(3, &mut buf);
                        let expected: Vec<u8> = model.iter().skip(3).take(len).copied().collect();
                        prop_assert_eq!(&buf[..n], &expected[..]);
                    }
                }
                prop_assert_eq!(rx.available(), model.len());
                prop_assert_eq!(tx.free(), 32 - model.len());
            }
        }
    }
}
