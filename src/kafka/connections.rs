//! Reads the connections: the compacted topic to its end, then whatever changes; and the service's own deactivations.
//!
//! The one writer of the [`ConnectionTable`]. It belongs to no group: every instance reads everything, from the
//! beginning. It is *ready* when the end of every partition was reached; before that no event may be matched.
//!
//! It follows the keyring's file, too, because a new key may open records that it had to refuse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::sync::watch;
use tracing::{info, warn};

pub use super::record::connection::{ConnectionsConfig, PlaintextSecrets};

use super::compacted::CompactedTopic;
use super::record::connection::{Change, ConnectionDecoder};
use super::record::{connection_key, state};
use crate::engine::connection::ConnectionKey;
use crate::engine::table::{Census, ConnectionTable, Entry};
use crate::failpoint;
use crate::metrics::Metrics;
use crate::secrets::{KeyringFollower, Refresh};
use crate::shutdown::Shutdown;

/// Changes are collected so long before a new table is published: a thousand edits at once make one table.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// A look at the states and at the wish to stop, while no connection changes.
const POLL: Duration = Duration::from_millis(250);
/// The shortest wait for a record: before the table is whole, nothing is published in whose time it should end.
const SHORTEST_POLL: Duration = Duration::from_millis(10);
/// Before the broker is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two looks at the keyring's file: a new key is known everywhere before a person can use it.
const KEYRING_LOOK: Duration = Duration::from_secs(2);

/// What the reader is built from.
#[derive(Debug)]
pub struct Parts {
    /// Its settings, without a group.
    pub config: ClientConfig,
    /// The connections topic.
    pub connections_topic: String,
    /// The states topic.
    pub states_topic: String,
    /// Reads records.
    pub decoder: ConnectionDecoder,
    /// Where new tables go.
    pub table: watch::Sender<Arc<ConnectionTable>>,
    /// Follows the keyring that the decoder opens secrets with.
    pub keyring: Option<KeyringFollower>,
    /// Turns true when the table is whole.
    pub ready: watch::Sender<bool>,
    /// How far the published table goes.
    pub progress: watch::Sender<Progress>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// How far the published table goes: the offset of the last record of each partition of the connections topic that is
/// in it. Whoever has written a record knows by it when the table shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress(BTreeMap<i32, i64>);

impl Progress {
    /// Whether the record at that place is in the table, or a newer one.
    #[must_use]
    pub fn includes(&self, partition: i32, offset: i64) -> bool {
        self.0.get(&partition).is_some_and(|&last| last >= offset)
    }
}

/// Why the connections cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionsError {
    /// Librdkafka refused the settings or the assignment.
    #[error("the connections cannot be read: {0}")]
    Start(#[from] KafkaError),
}

/// Follows the topics on the calling thread until it is to stop.
///
/// # Errors
/// [`ConnectionsError`] if it cannot start; what goes wrong later is tried again.
pub fn run(parts: Parts) -> Result<(), ConnectionsError> {
    let Some(mut connections) = open(&parts, &parts.connections_topic)? else { return Ok(()) };
    let Some(mut states) = open(&parts, &parts.states_topic)? else { return Ok(()) };
    // It comes empty, and knows for how many shards it is.
    let table = ConnectionTable::clone(&parts.table.borrow());
    let mut writer = Writer {
        table,
        changed_at: Some(Instant::now()),
        progress: Progress::default(),
        waiting: BTreeMap::new(),
        keyring_seen: Instant::now(),
        records: 0,
        started: Instant::now(),
        parts,
    };
    while !writer.parts.shutdown.is_asked() {
        while let Some(record) = states.poll(Duration::ZERO) {
            writer.take_state(&record);
        }
        if let Some(record) = connections.poll(writer.wait()) {
            writer.records += 1;
            writer.progress.0.insert(record.partition(), record.offset());
            writer.take_connection(&Record::of(&record));
        }
        writer.follow_keyring();
        writer.publish(connections.is_read() && states.is_read());
    }
    Ok(())
}

/// Assigns itself every partition; `None` if it is to stop before the broker says which there are.
fn open(parts: &Parts, name: &str) -> Result<Option<CompactedTopic>, KafkaError> {
    let mut topic = CompactedTopic::new(&parts.config, name)?;
    while !parts.shutdown.is_asked() {
        if topic.assign()? {
            return Ok(Some(topic));
        }
        warn!(topic = name, "its partitions are not known yet; the broker is asked again");
        thread::sleep(PAUSE);
    }
    Ok(None)
}

/// A record of the connections topic.
struct Record<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
    partition: i32,
    offset: i64,
}

impl<'a> Record<'a> {
    fn of(record: &'a BorrowedMessage<'_>) -> Self {
        Self {
            key: record.key().unwrap_or_default(),
            value: record.payload(),
            partition: record.partition(),
            offset: record.offset(),
        }
    }
}

/// The same, kept until there is another keyring.
struct Waiting {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    partition: i32,
    offset: i64,
}

impl From<&Record<'_>> for Waiting {
    fn from(record: &Record<'_>) -> Self {
        let &Record { key, value, partition, offset } = record;
        Self { key: key.to_vec(), value: value.map(<[u8]>::to_vec), partition, offset }
    }
}

impl Waiting {
    fn as_record(&self) -> Record<'_> {
        let Self { key, value, partition, offset } = self;
        Record { key, value: value.as_deref(), partition: *partition, offset: *offset }
    }
}

/// Writes the table.
struct Writer {
    parts: Parts,
    table: ConnectionTable,
    /// Since when there are changes that are not published.
    changed_at: Option<Instant>,
    progress: Progress,
    /// The newest records whose secret no key opens; at most one a connection.
    waiting: BTreeMap<ConnectionKey, Waiting>,
    /// When the keyring's file was last looked at.
    keyring_seen: Instant,
    records: u64,
    started: Instant,
}

impl Writer {
    fn take_connection(&mut self, record: &Record<'_>) {
        failpoint::kill("while-loading");
        self.changed_at.get_or_insert_with(Instant::now);
        match self.parts.decoder.decode(record.key, record.value) {
            Change::Put(connection) => {
                let key = connection.key.clone();
                self.waiting.remove(&key);
                self.table.put(&key, Entry::Known(Arc::new(connection)));
                self.table.locate(&key, record.partition);
            }
            Change::Delete(key) => {
                self.waiting.remove(&key);
                self.table.delete(&key);
            }
            Change::Unreadable { key, refusal, waits_for_key } => {
                let faults: Vec<_> = refusal.faults.iter().map(ToString::to_string).collect();
                self.refuse(record, key.as_str(), &faults.join("; "));
                self.waiting.remove(&key);
                self.table.put(&key, Entry::Unreadable(Arc::new(refusal)));
                self.table.locate(&key, record.partition);
                if waits_for_key {
                    self.waiting.insert(key, Waiting::from(record));
                }
            }
            Change::BadKey(fault) => self.refuse(record, "", &fault),
        }
    }

    fn refuse(&self, record: &Record<'_>, connection: &str, faults: &str) {
        self.parts.metrics.connection_records_refused_total.inc();
        let &Record { partition, offset, .. } = record;
        warn!(connection, partition, offset, faults, "a connection's record is refused");
    }

    /// Looks at the keyring's file now and then, and tries again what waits for a key when there are others.
    fn follow_keyring(&mut self) {
        let Some(keyring) = &mut self.parts.keyring else { return };
        if self.keyring_seen.elapsed() < KEYRING_LOOK {
            return;
        }
        self.keyring_seen = Instant::now();
        let reloads = &self.parts.metrics.keyring_reloads_total;
        match keyring.refresh() {
            Refresh::Unchanged => {}
            Refresh::Refused(error) => {
                reloads.with_label_values(&["refused"]).inc();
                warn!(%error, "the keyring's file cannot be used; the keyring in force stays");
            }
            Refresh::Changed => {
                reloads.with_label_values(&["changed"]).inc();
                let current = keyring.handle().current();
                let (primary, keys) = (current.primary(), current.list().len());
                info!(%primary, keys, "the keyring has changed");
                for record in std::mem::take(&mut self.waiting).into_values() {
                    self.take_connection(&record.as_record());
                }
            }
        }
    }

    fn take_state(&mut self, record: &BorrowedMessage<'_>) {
        let Some(key) = record.key().and_then(connection_key) else { return };
        self.changed_at.get_or_insert_with(Instant::now);
        self.table.deactivate(&key, state::decode(record.payload()));
    }

    /// How long the next record may be waited for.
    fn wait(&self) -> Duration {
        let left = |since: Instant| BATCH_TIME.saturating_sub(since.elapsed());
        self.changed_at.map_or(POLL, left).max(SHORTEST_POLL)
    }

    /// Publishes what has changed, at once when the table becomes whole and else a while after the first change.
    fn publish(&mut self, is_whole: bool) {
        let becomes_whole = is_whole && !*self.parts.ready.borrow();
        let is_time = self.changed_at.is_some_and(|since| since.elapsed() >= BATCH_TIME);
        if !becomes_whole && (!is_whole || !is_time) {
            return;
        }
        self.changed_at = None;
        self.show_census();
        self.parts.table.send_replace(Arc::new(self.table.clone()));
        self.parts.progress.send_replace(self.progress.clone());
        if becomes_whole {
            let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(records = self.records, millis, "the connections are read");
            self.parts.metrics.table_ready.set(1);
            self.parts.ready.send_replace(true);
        }
    }

    fn show_census(&self) {
        let Census { active, inactive, unreadable } = self.table.census();
        for (status, count) in
            [("active", active), ("inactive", inactive), ("unreadable", unreadable)]
        {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.parts.metrics.connections.with_label_values(&[status]).set(count);
        }
    }
}
