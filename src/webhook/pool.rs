//! Idle links, kept for the next request of the same webhook connection.
//!
//! Decides which idle link may be used again and which is dropped: by age, by idleness, by the
//! global cap (least recently used first) and because its URL's origin has changed. Links are never
//! shared between webhook connections, so that no answer can reach another tenant's attempt. It
//! opens nothing, has no task and reads no clock. Only [`super::client`] calls it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use crate::engine::address::Endpoint;

/// How often all idle links are looked at: a link that its receiver has closed holds a descriptor
/// until then, and looking at 4096 of them takes about a millisecond.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How many idle links are kept, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolLimits {
    /// All idle links together.
    pub(super) links: usize,
    /// Unused for longer, a link is dropped.
    pub(super) idle: Duration,
    /// Older, it is not used again.
    pub(super) lifetime: Duration,
}

/// The idle links.
#[derive(Debug)]
pub(super) struct Pool {
    limits: PoolLimits,
    /// By a ticket that rises with each parked link, so that the first is the least recently used.
    idle: BTreeMap<u64, Idle>,
    /// The tickets of each webhook connection, rising. May name a dropped link, never a foreign one.
    tickets: HashMap<Arc<str>, VecDeque<u64>>,
    next_ticket: u64,
    next_sweep: Instant,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    /// Where the link leads.
    endpoint: Arc<Endpoint>,
    since: Instant,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(limits: PoolLimits, now: Instant) -> Self {
        Self {
            limits,
            idle: BTreeMap::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
            next_sweep: now + SWEEP_INTERVAL,
        }
    }

    /// The link of this webhook connection that was used last, if one leads to this origin. Those
    /// found unfit on the way are dropped.
    pub(super) fn take(&mut self, key: &str, endpoint: &Endpoint, now: Instant) -> Option<Link> {
        let tickets = self.tickets.get_mut(key)?;
        while let Some(ticket) = tickets.pop_back() {
            let Some(idle) = self.idle.remove(&ticket) else {
                continue;
            };
            if idle.endpoint.origin() == endpoint.origin() && self.limits.allow(&idle, now) {
                return Some(idle.link);
            }
        }
        None
    }

    /// Parks a link after an exchange, if it is fit for another one.
    pub(super) fn put(&mut self, key: Arc<str>, endpoint: Arc<Endpoint>, link: Link, now: Instant) {
        if link.is_reusable() {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.tickets.entry(key).or_default().push_back(ticket);
            self.idle.insert(ticket, Idle { link, endpoint, since: now });
        }
        if self.idle.len() > self.limits.links {
            self.idle.pop_first();
        }
        if now >= self.next_sweep {
            self.sweep(now);
        }
    }

    /// Drops every link that is too old, or was closed by its receiver.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.next_sweep = now + SWEEP_INTERVAL;
        let limits = self.limits;
        self.idle.retain(|_, idle| limits.allow(idle, now) && idle.link.is_alive());
        let idle = &self.idle;
        self.tickets.retain(|_, tickets| {
            tickets.retain(|ticket| idle.contains_key(ticket));
            !tickets.is_empty()
        });
    }
}

impl PoolLimits {
    fn allow(&self, idle: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) < self.idle
            && now.saturating_duration_since(idle.link.opened_at()) < self.lifetime
    }
}
