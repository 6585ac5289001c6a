//! Wakes a consumer's thread, which sleeps parked when there is nothing to do.

use std::thread::{self, Thread};

/// Wakes one thread.
#[derive(Clone, Debug)]
pub(super) struct Waker(Thread);

impl Waker {
    /// Of the calling thread.
    pub(super) fn of_this_thread() -> Self {
        Self(thread::current())
    }

    /// Wakes it.
    pub(super) fn wake(&self) {
        self.0.unpark();
    }
}
