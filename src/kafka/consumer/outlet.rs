//! The way from a consumer's thread to the delivery shards, in batches.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::engine::connection::ConnectionKey;
use crate::engine::dispatcher::Input;
use crate::engine::event::Source;
use crate::engine::rate::Share;
use crate::engine::time::Timestamp;

/// A batch is sent on at this size, or when a round of polling ends.
const BATCH: usize = 64;

/// One consumer's way to all shards.
#[derive(Debug)]
pub struct Outlet {
    shards: Vec<mpsc::Sender<Vec<Input>>>,
    batches: Vec<Vec<Input>>,
}

impl Outlet {
    /// To these shards; a connection is served by the one of its hash.
    #[must_use]
    pub fn new(shards: Vec<mpsc::Sender<Vec<Input>>>) -> Self {
        let batches = shards.iter().map(|_| Vec::new()).collect();
        Self { shards, batches }
    }

    /// Something for the shard of a connection.
    pub fn push(&mut self, key: &ConnectionKey, input: Input) {
        self.push_to(key.shard(self.shards.len()), input);
    }

    /// Something that belongs to no connection.
    pub fn push_to(&mut self, shard: usize, input: Input) {
        let shard = shard % self.shards.len();
        self.batches[shard].push(input);
        if self.batches[shard].len() >= BATCH {
            self.send(shard);
        }
    }

    /// Something that every shard must know, after all that was pushed before.
    pub fn broadcast(&mut self, input: impl Fn() -> Input) {
        for shard in 0..self.shards.len() {
            self.batches[shard].push(input());
        }
        self.flush();
    }

    /// Sends all that was pushed.
    pub fn flush(&mut self) {
        for shard in 0..self.shards.len() {
            self.send(shard);
        }
    }

    fn send(&mut self, shard: usize) {
        if !self.batches[shard].is_empty() {
            let batch = std::mem::take(&mut self.batches[shard]);
            // A shard that is gone takes nothing; what it held is open and is repeated.
            let _ = self.shards[shard].blocking_send(batch);
        }
    }
}

/// This instance's part of the group, added up over its two consumers.
#[derive(Clone, Debug)]
pub struct GroupShare(Arc<Mutex<Parts>>);

#[derive(Debug)]
struct Parts {
    events: u32,
    retries: u32,
    total: u32,
    share: Share,
}

impl GroupShare {
    /// Nothing yet, of so many partitions of events and tiers together.
    #[must_use]
    pub fn new(total: u32, now: Timestamp) -> Self {
        let share = Share::none(now);
        Self(Arc::new(Mutex::new(Parts { events: 0, retries: 0, total, share })))
    }

    /// One consumer's assignment has changed. Answers the share if it is another now.
    #[must_use]
    pub fn update(&self, source: Source, owned: u32, now: Timestamp) -> Option<Share> {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match source {
            Source::Events => parts.events = owned,
            Source::Retries => parts.retries = owned,
        }
        let owned = parts.events + parts.retries;
        // Partitions that were added while we run must not make the sum exceed the limit.
        let total = parts.total.max(owned).max(1);
        if (owned, total) == (parts.share.owned, parts.share.total) {
            return None;
        }
        parts.share = Share { owned, total, since: now };
        Some(parts.share)
    }
}
