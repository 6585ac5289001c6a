//! How much all connections of one host together may burden it, and how much of that falls to each shard.
//!
//! Kept up to date with every change of the table, in buckets like it. It only adds up: [`super::super::gate`] asks
//! it and decides. A host is its name as URLs give it: two names of one address are two hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::address::Host;
use crate::engine::connection::Connection;
use crate::engine::table::Lookup;

/// With a million hosts a bucket has a thousand: a change copies one in some ten microseconds.
const BUCKETS: usize = 1024;

/// What a host may be burdened with by some connections together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burden {
    /// The sum of their attempts a second; a burst counts as if it came in one.
    pub rate_per_second: u64,
    /// The sum of their attempts under way at once.
    pub in_flight: u64,
}

impl Burden {
    fn of(connection: &Connection) -> Self {
        let limits = connection.limits;
        Self {
            rate_per_second: limits.rate_per_second.max(limits.burst).get().into(),
            in_flight: limits.max_in_flight.get().into(),
        }
    }

    const fn add(&mut self, other: Self) {
        self.rate_per_second += other.rate_per_second;
        self.in_flight += other.in_flight;
    }

    const fn subtract(&mut self, other: Self) {
        self.rate_per_second -= other.rate_per_second;
        self.in_flight -= other.in_flight;
    }
}

/// The hosts of all active connections.
#[derive(Clone, Debug)]
pub(super) struct Crowds {
    shards: usize,
    buckets: Vec<Arc<BTreeMap<Host, Vec<Part>>>>,
}

/// What falls to one shard; a host has only those that have connections.
#[derive(Clone, Copy, Debug)]
struct Part {
    shard: usize,
    burden: Burden,
}

impl Crowds {
    /// None yet, for so many shards.
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, buckets: vec![Arc::default(); BUCKETS] }
    }

    /// A connection was one thing and is another.
    pub(super) fn change(&mut self, before: &Lookup, after: &Lookup) {
        let (before, after) = (active(before), active(after));
        let of =
            |connection: &Connection| (connection.endpoint.host().clone(), Burden::of(connection));
        if before.map(of) == after.map(of) {
            return;
        }
        if let Some(connection) = before {
            self.subtract(connection);
        }
        if let Some(connection) = after {
            self.part_of(connection).add(Burden::of(connection));
        }
    }

    /// What falls to a shard, and what to all together.
    pub(super) fn burdens(&self, host: &Host, shard: usize) -> (Burden, Burden) {
        let (mut own, mut all) = (Burden::default(), Burden::default());
        for part in self.buckets[bucket_of(host)].get(host).into_iter().flatten() {
            all.add(part.burden);
            if part.shard == shard {
                own = part.burden;
            }
        }
        (own, all)
    }

    fn part_of(&mut self, connection: &Connection) -> &mut Burden {
        let (host, shard) = (connection.endpoint.host(), connection.key.shard(self.shards));
        let bucket = Arc::make_mut(&mut self.buckets[bucket_of(host)]);
        let parts = bucket.entry(host.clone()).or_default();
        let place = parts.iter().position(|part| part.shard == shard).unwrap_or_else(|| {
            parts.push(Part { shard, burden: Burden::default() });
            parts.len() - 1
        });
        &mut parts[place].burden
    }

    fn subtract(&mut self, connection: &Connection) {
        self.part_of(connection).subtract(Burden::of(connection));
        let host = connection.endpoint.host();
        let bucket = Arc::make_mut(&mut self.buckets[bucket_of(host)]);
        if let Some(parts) = bucket.get_mut(host) {
            parts.retain(|part| part.burden != Burden::default());
            if parts.is_empty() {
                bucket.remove(host);
            }
        }
    }
}

fn active(lookup: &Lookup) -> Option<&Connection> {
    match lookup {
        Lookup::Active(connection) => Some(connection),
        Lookup::Inactive | Lookup::Unreadable(_) | Lookup::Missing => None,
    }
}

fn bucket_of(host: &Host) -> usize {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut fold = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    match host {
        Host::Name(name) => name.bytes().for_each(&mut fold),
        Host::Address(std::net::IpAddr::V4(ip)) => ip.octets().into_iter().for_each(&mut fold),
        Host::Address(std::net::IpAddr::V6(ip)) => ip.octets().into_iter().for_each(&mut fold),
    }
    usize::try_from(hash % BUCKETS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::engine::connection::{ConnectionKey, Limits};
    use crate::engine::fixtures::connection;
    use crate::engine::table::{ConnectionTable, Entry};

    const SHARDS: usize = 3;

    fn of(key: &str, host: &str, per_second: u32) -> Connection {
        let change = |limits: &mut Limits| {
            limits.rate_per_second = NonZeroU32::new(per_second).unwrap();
            limits.burst = NonZeroU32::MIN;
        };
        connection(key).at(&format!("https://{host}/")).limits(change).build()
    }

    fn sums(table: &ConnectionTable, host: &str) -> (u64, u64) {
        let host = Host::Name(host.into());
        let parts = (0..SHARDS).map(|shard| table.burdens(&host, shard).0.rate_per_second).sum();
        (parts, table.burdens(&host, 0).1.rate_per_second)
    }

    #[test]
    fn the_parts_of_the_shards_are_the_whole_whatever_changes() {
        let mut table = ConnectionTable::for_shards(SHARDS);
        for number in 0..10 {
            let connection = of(&format!("p/{number}"), "a.example.com", 7);
            table.put(&connection.key.clone(), Entry::Known(Arc::new(connection)));
        }
        assert_eq!(sums(&table, "a.example.com"), (70, 70));

        let mut moved = of("p/3", "b.example.com", 5);
        moved.revision = 2;
        table.put(&moved.key.clone(), Entry::Known(Arc::new(moved)));
        table.delete(&ConnectionKey::parse("p/4").unwrap());
        assert_eq!(sums(&table, "a.example.com"), (56, 56));
        assert_eq!(sums(&table, "b.example.com"), (5, 5));

        for number in 0..10 {
            table.delete(&ConnectionKey::parse(&format!("p/{number}")).unwrap());
        }
        assert!(table.crowds.buckets.iter().all(|bucket| bucket.is_empty()));
    }
}
