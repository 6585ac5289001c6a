//! The ledger: what became of every event for every connection, and how fast each connection was called.

use super::scenario::{HOSTS, MAX_CONNECTIONS, Role, START, Scenario, Temper};
use crate::engine::time::Timestamp;

/// What became of one event for one connection.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// How often the receiver answered 2xx.
    arrivals: u32,
    /// How often it was given up or dropped.
    ends: u32,
    /// How often it may have been doubled: read again after a crash, or cut off.
    excuses: u32,
}

/// All that is known of one event.
#[derive(Clone, Debug, Default)]
struct Story {
    /// Who wanted it when its record was read last.
    expected: u16,
    fates: [Fate; MAX_CONNECTIONS],
    /// Of its own record's deliveries, how many were dropped.
    dropped: u32,
}

/// A bucket that leaks at the connection's rate; its level is the worst of all windows that end now.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: f64,
    burst: f64,
    level: f64,
    at: Timestamp,
}

impl Bucket {
    fn fill(&mut self, now: Timestamp) -> f64 {
        let leaked = now.since(self.at).as_secs_f64() * self.per_second;
        self.level = (self.level - leaked - 1e-6).max(0.0) + 1.0;
        self.at = now;
        self.level
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    temper: Temper,
    stories: Vec<Story>,
    buckets: Vec<Bucket>,
    /// One for each host, since all instances have read the newest table.
    hosts: [Bucket; HOSTS],
    hosts_known_at: Timestamp,
}

impl Ledger {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let bucket = |role: &Role| Bucket {
            per_second: f64::from(role.limits.rate_per_second.get()),
            burst: f64::from(role.limits.burst.get()),
            level: 0.0,
            at: START,
        };
        let cap = f64::from(scenario.host_cap.rate_per_second.get());
        Self {
            temper: scenario.temper,
            stories: vec![Story::default(); scenario.arrivals.len()],
            buckets: scenario.roles.iter().map(bucket).collect(),
            hosts: [Bucket { per_second: cap, burst: cap, level: 0.0, at: START }; HOSTS],
            hosts_known_at: START,
        }
    }

    pub(super) fn expect(&mut self, event: usize, connections: u16) {
        self.stories[event].expected = connections;
        self.stories[event].dropped = 0;
    }

    /// From now on there may be one more arrival than before.
    pub(super) fn excuse(&mut self, event: usize, connection: usize) {
        assert_eq!(self.temper, Temper::Rough, "e{event} for c{connection} was doubled");
        self.stories[event].fates[connection].excuses += 1;
    }

    pub(super) fn arrive(&mut self, event: usize, connection: usize) {
        let fate = &mut self.stories[event].fates[connection];
        fate.arrivals += 1;
        assert!(fate.arrivals <= 1 + fate.excuses, "e{event} for c{connection} arrived: {fate:?}");
    }

    pub(super) fn end(&mut self, event: usize, connection: usize) {
        self.stories[event].fates[connection].ends += 1;
    }

    pub(super) fn drop_one(&mut self, event: usize) {
        self.stories[event].dropped += 1;
    }

    /// An attempt starts; `instances` is how many there have been at once.
    pub(super) fn attempt(&mut self, connection: usize, instances: usize, now: Timestamp) {
        let bucket = &mut self.buckets[connection];
        let most = bucket.burst + instances as f64;
        assert!(bucket.fill(now) <= most, "c{connection} is called too fast: {bucket:?}");
    }

    /// The table changes: until all instances know it, parts of hosts' caps are from different tables.
    pub(super) fn hosts_change(&mut self, known_at: Timestamp) {
        self.hosts_known_at = known_at;
        self.hosts.iter_mut().for_each(|bucket| bucket.level = 0.0);
    }

    pub(super) fn knows_hosts(&self, now: Timestamp) -> bool {
        now > self.hosts_known_at
    }

    /// An attempt to a host starts. So much of the rate may have been saved up, and one more by each of the `passers`.
    pub(super) fn attempt_to_host(
        &mut self,
        host: usize,
        saved_secs: f64,
        passers: usize,
        now: Timestamp,
    ) {
        let bucket = &mut self.hosts[host];
        let most = bucket.per_second * saved_secs + passers as f64;
        assert!(bucket.fill(now) <= most, "host {host} is called too fast: {bucket:?}");
    }

    /// Every event has ended for everyone who wanted it.
    pub(super) fn check_the_end(&self) {
        for (event, story) in self.stories.iter().enumerate() {
            let is_open = |connection: &usize| {
                let fate = story.fates[*connection];
                story.expected >> connection & 1 == 1 && fate.arrivals + fate.ends == 0
            };
            let open: Vec<_> = (0..MAX_CONNECTIONS).filter(is_open).collect();
            assert!(
                open.len() <= story.dropped as usize,
                "e{event} is lost for {open:?}: {story:?}"
            );
        }
    }
}
