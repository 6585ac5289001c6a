//! Brings ended deliveries back to the consumer that read them.

use std::sync::mpsc::{self, Receiver, Sender};

use crate::engine::intake::Settlement;

/// The way back to one consumer.
///
/// It has no bound of its own: each delivery comes back once, and the intake's budget bounds those. A bound could make a
/// shard wait for a consumer that waits for the shard. Nor does it wake the consumer, which looks when it has something
/// to read, or to commit, or wants room: woken for each batch, it would cost a context switch for some ten deliveries.
#[derive(Clone, Debug)]
pub struct Settlements(Sender<Vec<Settlement>>);

impl Settlements {
    /// The way back to one consumer, and its end there.
    #[must_use]
    pub fn channel() -> (Self, SettlementQueue) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), receiver)
    }

    /// Hands a batch back.
    pub fn send(&self, batch: Vec<Settlement>) {
        // A consumer that is gone has committed what it could; the rest is repeated.
        let _ = self.0.send(batch);
    }
}

/// The consumer's end.
pub type SettlementQueue = Receiver<Vec<Settlement>>;
