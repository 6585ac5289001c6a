//! Idle links, kept for the next request of the same webhook connection.
//!
//! Decides which idle link may be used again and which is dropped: by age, by idleness, by the
//! global cap (least recently used first) and because its URL's origin has changed. Links are never
//! shared between webhook connections, so that no answer can reach another tenant's attempt. It
//! opens nothing, has no task and reads no clock. Only [`super::client`] calls it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use crate::engine::address::Endpoint;

/// How often all idle links are looked at: a link that its receiver has closed holds a descriptor
/// until then, and looking at 4096 of them takes about a millisecond.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// When there are too many, one in so many goes: to find the least recently used takes a look at each.
const ROOM: usize = 16;

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
    /// Those of each webhook connection, in the order in which they were parked.
    idle: HashMap<Arc<str>, Vec<Idle>>,
    /// All of them together.
    links: usize,
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
        Self { limits, idle: HashMap::new(), links: 0, next_sweep: now + SWEEP_INTERVAL }
    }

    /// The link of this webhook connection that was used last, if one leads to this origin. Those
    /// found unfit on the way are dropped.
    pub(super) fn take(&mut self, key: &str, endpoint: &Endpoint, now: Instant) -> Option<Link> {
        let parked = self.idle.get_mut(key)?;
        while let Some(idle) = parked.pop() {
            self.links -= 1;
            if idle.endpoint.origin() == endpoint.origin() && self.limits.allow(&idle, now) {
                return Some(idle.link);
            }
        }
        None
    }

    /// Parks a link after an exchange, if it is fit for another one.
    pub(super) fn put(&mut self, key: Arc<str>, endpoint: Arc<Endpoint>, link: Link, now: Instant) {
        if link.is_reusable() {
            self.idle.entry(key).or_default().push(Idle { link, endpoint, since: now });
            self.links += 1;
        }
        if self.links > self.limits.links {
            self.make_room();
        }
        if now >= self.next_sweep {
            self.sweep(now);
        }
    }

    /// Drops every link that is too old, or was closed by its receiver.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.next_sweep = now + SWEEP_INTERVAL;
        let limits = self.limits;
        self.retain(|idle| limits.allow(idle, now) && idle.link.is_alive());
    }

    /// Drops those that were used least recently.
    fn make_room(&mut self) {
        let mut times: Vec<_> = self.idle.values().flatten().map(|idle| idle.since).collect();
        let surplus = self.links - self.limits.links + self.limits.links / ROOM;
        let (_, &mut newest_to_go, _) = times.select_nth_unstable(surplus - 1);
        self.retain(|idle| idle.since > newest_to_go);
    }

    fn retain(&mut self, mut is_kept: impl FnMut(&mut Idle) -> bool) {
        self.idle.retain(|_, parked| {
            parked.retain_mut(&mut is_kept);
            !parked.is_empty()
        });
        self.links = self.idle.values().map(Vec::len).sum();
    }
}

impl PoolLimits {
    fn allow(&self, idle: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) < self.idle
            && now.saturating_duration_since(idle.link.opened_at()) < self.lifetime
    }
}
