//! Wakes a consumer's thread, which sleeps parked when there is nothing to do.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use crate::engine::intake::Settlement;

/// Wakes one thread; before that thread has said who it is, waking does nothing, for it is not asleep.
#[derive(Clone, Debug, Default)]
pub(super) struct Waker(Arc<OnceLock<Thread>>);

impl Waker {
    /// The calling thread is the one.
    pub(super) fn enlist(&self) {
        let _ = self.0.set(thread::current());
    }

    /// Wakes it.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// Brings ended deliveries back to the consumer that read them.
///
/// The channel has no bound of its own: each delivery comes back once, and the intake's budget bounds those. A bound
/// could make a shard wait for a consumer that waits for the shard.
#[derive(Clone, Debug)]
pub struct Settlements {
    sender: Sender<Vec<Settlement>>,
    waker: Waker,
}

impl Settlements {
    /// The way back to one consumer, and its end there.
    #[must_use]
    pub fn channel() -> (Self, SettlementQueue) {
        let (sender, receiver) = mpsc::channel();
        let waker = Waker::default();
        (Self { sender, waker: waker.clone() }, SettlementQueue { receiver, waker })
    }

    /// Hands a batch back.
    pub fn send(&self, batch: Vec<Settlement>) {
        // A consumer that is gone has committed what it could; the rest is repeated.
        if self.sender.send(batch).is_ok() {
            self.waker.wake();
        }
    }
}

/// The consumer's end.
#[derive(Debug)]
pub struct SettlementQueue {
    pub(super) receiver: Receiver<Vec<Settlement>>,
    pub(super) waker: Waker,
}
