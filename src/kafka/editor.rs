//! Writes changes of connections: one instance at a time, each change with its audit record or not at all.
//!
//! Two instances may want to change the same connection at once. The table alone cannot tell them apart in time: it is
//! read back after the fact. So the right to write is Kafka's own: a transactional id that all instances share. Whoever
//! begins with it fences the one before, whose open transaction is aborted; having done so it reads the table up to
//! what the other has written, and only then looks at revisions and names. See `adr/0005-one-editor-at-a-time.md`.
//!
//! ```text
//! no turn ──begin: fence, then read up to the fence──▶ turn ──write──▶ turn
//!                                                        └──fenced by another instance──▶ no turn
//! ```
//!
//! Decides nothing about a change; `admin/connections` does, within a [`Turn`].

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::connections::Progress;
use super::trouble::mend;

/// How long one question to the broker may take.
const QUESTION: Duration = Duration::from_secs(5);
/// How long a commit may take; beyond it nobody waits for the answer any more.
const COMMIT: Duration = Duration::from_secs(5);
/// How long the table may take to show what was written.
const READ_BACK: Duration = Duration::from_secs(3);
/// The key of the fence's records: a connection that never exists, so that they delete nothing and are compacted away.
const FENCE_KEY: &str = "-/fence";

/// A record of a change.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it goes.
    pub topic: Arc<str>,
    /// `None` leaves it to the key.
    pub partition: Option<i32>,
    /// The key.
    pub key: String,
    /// The value; `None` deletes.
    pub value: Option<Bytes>,
}

/// Where a record stands.
pub type Place = (i32, i64);

/// Why a change was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another instance has the turn now; what this one knew may be out of date.
    #[error("another instance is writing")]
    Fenced,
    /// It was not written.
    #[error("the change cannot be written: {0}")]
    Unwritten(String),
    /// It may have been written.
    #[error("it is not known whether the change was written: {0}")]
    Unknown(String),
}

/// Writes changes. One for each instance.
pub struct Editor {
    config: ClientConfig,
    connections_topic: Arc<str>,
    progress: watch::Receiver<Progress>,
    client: Mutex<Option<Client>>,
}

type Client = Arc<ThreadedProducer<Report>>;

/// The right to write, with a table that shows everything that was written before.
pub struct Turn<'a> {
    editor: &'a Editor,
    client: MutexGuard<'a, Option<Client>>,
}

impl std::fmt::Debug for Editor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Editor").field("topic", &self.connections_topic).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

impl Editor {
    /// Connects when there is something to write.
    #[must_use]
    pub fn new(
        config: ClientConfig,
        connections_topic: &str,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        let client = Mutex::new(None);
        Self { config, connections_topic: connections_topic.into(), progress, client }
    }

    /// The topic of the connections.
    #[must_use]
    pub fn connections_topic(&self) -> Arc<str> {
        Arc::clone(&self.connections_topic)
    }

    /// Waits for the turn. While it is held, nobody else in this process writes, and if another process does, writing
    /// fails.
    ///
    /// # Errors
    /// [`WriteError::Unwritten`] if Kafka does not answer, [`WriteError::Fenced`] if another instance was faster.
    pub async fn turn(&self) -> Result<Turn<'_>, WriteError> {
        let mut client = self.client.lock().await;
        if client.is_none() {
            let (config, topic) = (self.config.clone(), self.connections_topic());
            let (fresh, fence) = blocking(move || open(&config, &topic)).await?;
            for place in fence {
                if !self.shows(place).await {
                    let reason = "the connections topic is not read to its end".to_owned();
                    return Err(WriteError::Unwritten(reason));
                }
            }
            info!("this instance writes the connections now");
            *client = Some(fresh);
        }
        Ok(Turn { editor: self, client })
    }

    /// Waits until the table shows a record; `false` if that takes too long.
    async fn shows(&self, (partition, offset): Place) -> bool {
        let mut progress = self.progress.clone();
        let shown = progress.wait_for(|progress| progress.includes(partition, offset));
        matches!(timeout(READ_BACK, shown).await, Ok(Ok(_)))
    }
}

impl Turn<'_> {
    /// Writes a record that no connection is made of; the table has nothing to show of it.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn note(&mut self, entry: Entry) -> Result<(), WriteError> {
        let client = self.client.take().ok_or(WriteError::Fenced)?;
        let writer = Arc::clone(&client);
        blocking(move || transact(&writer, &[entry])).await?;
        *self.client = Some(client);
        Ok(())
    }

    /// Writes records, all or none, and waits until the table shows the last one, which is the connection's; `false` if
    /// that takes too long. Whatever goes wrong ends the turn.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write(&mut self, entries: Vec<Entry>) -> Result<bool, WriteError> {
        // Taken out: if the caller goes away in between, or the table does not show it, the next turn begins anew and
        // reads up to what was written here.
        let client = self.client.take().ok_or(WriteError::Fenced)?;
        let writer = Arc::clone(&client);
        let places = blocking(move || transact(&writer, &entries)).await?;
        let is_shown = match places.last() {
            Some(&place) => self.editor.shows(place).await,
            None => true,
        };
        if is_shown {
            *self.client = Some(client);
        }
        Ok(is_shown)
    }
}

/// Runs what waits for the network without the runtime; its panic is ours.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WriteError> + Send + 'static,
) -> Result<T, WriteError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Fences whoever wrote before, and writes a record to every partition: what stands before them is all there is.
fn open(config: &ClientConfig, topic: &Arc<str>) -> Result<(Client, Vec<Place>), WriteError> {
    let unwritten = |error: KafkaError| WriteError::Unwritten(error.to_string());
    let client: Client = Arc::new(config.create_with_context(Report).map_err(unwritten)?);
    client.init_transactions(QUESTION).map_err(|error| judge(&client, &error))?;
    let metadata = client.client().fetch_metadata(Some(topic), QUESTION).map_err(unwritten)?;
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let fence = |partition: i32| Entry {
        topic: Arc::clone(topic),
        partition: Some(partition),
        key: FENCE_KEY.to_owned(),
        value: None,
    };
    let entries: Vec<_> = (0_i32..).take(partitions).map(fence).collect();
    let places = transact(&client, &entries)?;
    Ok((client, places))
}

fn transact(client: &Client, entries: &[Entry]) -> Result<Vec<Place>, WriteError> {
    client.begin_transaction().map_err(|error| judge(client, &error))?;
    let (reports, places) = sync_channel(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let mut record =
            BaseRecord::with_opaque_to(&entry.topic, Box::new((index, reports.clone())))
                .key(entry.key.as_str());
        record.partition = entry.partition;
        record.payload = entry.value.as_deref();
        if let Err((error, _)) = client.send(record) {
            return Err(give_up(client, &error));
        }
    }
    drop(reports);
    match client.commit_transaction(COMMIT) {
        Ok(()) => collect(&places, entries.len()),
        Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
            Err(give_up(client, &KafkaError::Transaction(error)))
        }
        Err(error) if is_fenced(client, &error) => Err(WriteError::Fenced),
        Err(error) => Err(WriteError::Unknown(error.to_string())),
    }
}

/// Takes a transaction back that cannot be committed.
fn give_up(client: &Client, error: &KafkaError) -> WriteError {
    if let Err(error) = client.abort_transaction(QUESTION) {
        warn!(%error, "a change was not taken back; it ends with its transaction's time");
    }
    judge(client, error)
}

/// What an error means that came before the commit.
fn judge(client: &Client, error: &KafkaError) -> WriteError {
    if is_fenced(client, error) {
        WriteError::Fenced
    } else {
        warn!(%error, mend = mend(error), "a change of the connections cannot be written");
        WriteError::Unwritten(error.to_string())
    }
}

fn is_fenced(client: &Client, error: &KafkaError) -> bool {
    let fatal = client.client().fatal_error().map(|(code, _)| code);
    [error.rdkafka_error_code(), fatal].into_iter().flatten().any(|code| {
        matches!(
            code,
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
                | RDKafkaErrorCode::ConcurrentTransactions
        )
    })
}

/// The places in the order of the entries. All reports are there: a commit waits for them.
fn collect(reports: &Receiver<Delivered>, count: usize) -> Result<Vec<Place>, WriteError> {
    let mut places = vec![None; count];
    for (index, place) in reports.try_iter() {
        places[index] = Some(place);
    }
    let places: Option<Vec<_>> = places.into_iter().collect();
    places.ok_or_else(|| WriteError::Unknown("the broker did not say where it stands".to_owned()))
}

/// Which entry stands where.
type Delivered = (usize, Place);

/// Passes the places of written records on, on the producer's own thread.
struct Report;

impl ClientContext for Report {
    fn error(&self, error: KafkaError, reason: &str) {
        // To be fenced is how the turn passes on.
        if !matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fenced)) {
            warn!(%error, reason, mend = mend(&error), "the writer of connections has trouble");
        }
    }
}

impl ProducerContext for Report {
    type DeliveryOpaque = Box<(usize, SyncSender<Delivered>)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let (index, reports) = *opaque;
        if let Ok(record) = result {
            // Nobody listens any more where the transaction has failed.
            let _ = reports.try_send((index, (record.partition(), record.offset())));
        }
    }
}
