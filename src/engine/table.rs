//! All connections, as one immutable snapshot that is cheap to copy and to ask.
//!
//! Projects are spread over buckets, and a change copies one bucket: the cost of a change does not grow with the
//! number of connections. In a project, connections are grouped by their filter, of which there are few: the cost of
//! an event does not grow with them either. The table has one writer, `kafka/connections`.

mod crowds;
mod row;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::crowds::Burden;

use self::crowds::Crowds;
use super::address::Host;
use super::catalog::NameIndex;
use super::connection::{Connection, ConnectionKey, Filter, Refusal};
use super::time::Timestamp;

pub use self::row::Row;

/// With a million projects a bucket has 250: a few comparisons to find one, a few microseconds to copy it.
const BUCKETS: usize = 4096;

/// Why the service itself keeps a revision of a connection from delivering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deactivation {
    /// It holds for this revision alone; a user's next change ends it.
    pub revision: u64,
    /// `gone`, `failing` or `egress_denied`.
    pub reason: Box<str>,
}

/// What a record says of a connection.
#[derive(Clone, Debug)]
pub enum Entry {
    /// It can be read.
    Known(Arc<Connection>),
    /// It cannot; what was known before stays in force.
    Unreadable(Arc<Refusal>),
}

/// What an attempt finds when it asks for its connection.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It may be delivered to.
    Active(Arc<Connection>),
    /// A user or the service has stopped it.
    Inactive,
    /// It exists, but cannot be read.
    Unreadable(Filter),
    /// It does not exist.
    Missing,
}

/// Who is affected by an event.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The event's project.
    pub project: &'a str,
    /// What happened.
    pub event: NameIndex,
    /// On which channel.
    pub channel: NameIndex,
    /// When its record was written.
    pub recorded_at: Timestamp,
}

/// How many connections there are in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Delivered to.
    pub active: usize,
    /// Stopped by a user or by the service.
    pub inactive: usize,
    /// Not readable.
    pub unreadable: usize,
}

/// The snapshot.
#[derive(Clone, Debug)]
pub struct ConnectionTable {
    buckets: Vec<Arc<Bucket>>,
    crowds: Crowds,
}

type Bucket = BTreeMap<Box<str>, Arc<Project>>;

impl Default for ConnectionTable {
    fn default() -> Self {
        Self::for_shards(1)
    }
}

impl ConnectionTable {
    /// An empty one, for so many delivery shards.
    #[must_use]
    pub fn for_shards(shards: usize) -> Self {
        Self { buckets: vec![Arc::default(); BUCKETS], crowds: Crowds::new(shards) }
    }

    /// Puts in what is known of a connection now; an older revision than the known one changes nothing.
    pub fn put(&mut self, key: &ConnectionKey, entry: Entry) {
        self.change(key, |row| row.put(entry));
    }

    /// Notes in which partition a connection's records stand: the next one has to follow them, or compaction would keep
    /// both.
    pub fn locate(&mut self, key: &ConnectionKey, partition: i32) {
        self.change(key, |row| row.locate(partition));
    }

    /// Takes a connection out.
    pub fn delete(&mut self, key: &ConnectionKey) {
        self.change(key, |row| *row = Row::default());
    }

    /// Notes what the service itself has decided of a connection; `None` takes it back.
    pub fn deactivate(&mut self, key: &ConnectionKey, deactivation: Option<Deactivation>) {
        self.change(key, |row| row.note(deactivation));
    }

    /// What an attempt for that connection may do.
    #[must_use]
    pub fn get(&self, key: &ConnectionKey) -> Lookup {
        self.row(key).map_or(Lookup::Missing, Row::lookup)
    }

    /// All that is known of a connection.
    #[must_use]
    pub fn row(&self, key: &ConnectionKey) -> Option<&Row> {
        self.rows_of(key.project())?.get(key)
    }

    /// All that is known of a project's connections, in the order of their keys.
    pub fn project(&self, project: &str) -> impl Iterator<Item = (&ConnectionKey, &Row)> {
        self.rows_of(project).into_iter().flatten()
    }

    /// Every project that has connections, with their number, in no order.
    pub fn projects(&self) -> impl Iterator<Item = (&str, usize)> {
        let projects = self.buckets.iter().flat_map(|bucket| bucket.iter());
        let counted = projects.map(|(id, project)| {
            (&**id, project.connections.values().filter(|row| row.is_there()).count())
        });
        counted.filter(|(_, count)| *count > 0)
    }

    fn rows_of(&self, project: &str) -> Option<&BTreeMap<ConnectionKey, Row>> {
        Some(&self.buckets[bucket_of(project)].get(project)?.connections)
    }

    /// The connection as its newest readable record says, whether it is delivered to or not.
    #[must_use]
    pub fn record(&self, key: &ConnectionKey) -> Option<Arc<Connection>> {
        self.row(key)?.known().cloned()
    }

    /// Who wants an event: calls `each` once for each.
    pub fn fan_out(&self, question: &Question<'_>, mut each: impl FnMut(&ConnectionKey)) {
        let Some(project) = self.buckets[bucket_of(question.project)].get(question.project) else {
            return;
        };
        for (filter, members) in &project.by_filter {
            if !filter.matches(question.event, question.channel) {
                continue;
            }
            for (key, created_at) in members {
                if question.recorded_at >= *created_at {
                    each(key);
                }
            }
        }
    }

    /// What a host may be burdened with: by the active connections of a shard, and by all.
    #[must_use]
    pub fn burdens(&self, host: &Host, shard: usize) -> (Burden, Burden) {
        self.crowds.burdens(host, shard)
    }

    /// How many connections there are.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for row in self.rows() {
            match row.lookup() {
                Lookup::Active(_) => census.active += 1,
                Lookup::Inactive => census.inactive += 1,
                Lookup::Unreadable(_) => census.unreadable += 1,
                Lookup::Missing => {}
            }
        }
        census
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.values())
            .flat_map(|project| project.connections.values())
    }

    fn change(&mut self, key: &ConnectionKey, change: impl FnOnce(&mut Row)) {
        let bucket = Arc::make_mut(&mut self.buckets[bucket_of(key.project())]);
        let project = Arc::make_mut(bucket.entry(key.project().into()).or_default());
        let row = project.connections.entry(key.clone()).or_default();
        let before = row.lookup();
        change(row);
        let after = row.lookup();
        self.crowds.change(&before, &after);
        if row.is_empty() {
            project.connections.remove(key);
        }
        project.regroup(key, wants(&before), wants(&after));
        if project.connections.is_empty() {
            bucket.remove(key.project());
        }
    }
}

/// The connections of one project.
#[derive(Clone, Debug, Default)]
struct Project {
    connections: BTreeMap<ConnectionKey, Row>,
    /// Who gets events, by what they want, each with the time of its creation.
    by_filter: BTreeMap<Filter, BTreeMap<ConnectionKey, Timestamp>>,
}

/// What a connection wants, and since when.
type Wants = Option<(Filter, Timestamp)>;

impl Project {
    fn regroup(&mut self, key: &ConnectionKey, before: Wants, after: Wants) {
        if before == after {
            return;
        }
        if let Some((filter, _)) = before
            && let Some(members) = self.by_filter.get_mut(&filter)
        {
            members.remove(key);
            if members.is_empty() {
                self.by_filter.remove(&filter);
            }
        }
        if let Some((filter, created_at)) = after {
            self.by_filter.entry(filter).or_default().insert(key.clone(), created_at);
        }
    }
}

fn wants(lookup: &Lookup) -> Wants {
    match lookup {
        Lookup::Active(connection) => Some((connection.filter, connection.created_at)),
        Lookup::Unreadable(filter) => Some((*filter, Timestamp::EPOCH)),
        Lookup::Inactive | Lookup::Missing => None,
    }
}

fn bucket_of(project: &str) -> usize {
    let hash = project.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % BUCKETS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
