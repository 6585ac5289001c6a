//! Carries inputs to the engine and actions to the edges.
//!
//! Deliveries run in shards: each is one thread with a current_thread runtime, the dispatcher of the connections that
//! hash to it, their lanes, their timers and their links. Nothing is stolen from one shard by another, and nothing in
//! a delivery is locked. A [`Driver`] starts the shards and asks them for snapshots.

pub mod attempt_log;
mod observer;
pub mod redaction;
mod shard;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use self::attempt_log::AttemptLog;
use crate::clock::Clock;
use crate::engine::address::AddressRule;
use crate::engine::dispatcher::{Input, Terms};
use crate::engine::snapshot::Snapshot;
use crate::engine::table::ConnectionTable;
use crate::kafka::consumer::Settlements;
use crate::kafka::producer::Producer;
use crate::metrics::Metrics;
use crate::traces::Tracer;

/// Batches that may wait for a shard; the intake's budget bounds what is in them.
const INBOX_BATCHES: usize = 1024;
/// Questions that may wait for a shard.
const QUESTIONS: usize = 8;
/// A shard that is asked for its state answers within this, or is left out.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// A shard that has not gone round for so long is stuck: it goes round every few seconds with nothing to do.
const STUCK_TIME: Duration = Duration::from_secs(30);

/// What all shards share.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What each dispatcher is built from; each gets a seed of its own.
    pub terms: Terms,
    /// The tiers' names, for metrics.
    pub tiers: Arc<[String]>,
    /// The newest connections.
    pub table: watch::Receiver<Arc<ConnectionTable>>,
    /// Writes retries and dead letters.
    pub producer: Producer,
    /// The way back to the consumer of fresh events.
    pub events: Settlements,
    /// The way back to the consumer of the tiers.
    pub retries: Settlements,
    /// Which addresses may be called.
    pub rule: Arc<AddressRule>,
    /// How TLS is spoken.
    pub tls: Arc<rustls::ClientConfig>,
    /// Where attempts are logged; `None` where they are not.
    pub log: Option<AttemptLog>,
    /// Where their spans are handed in; `None` where nobody asked for any.
    pub tracer: Option<Tracer>,
    /// Where they count.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Clock,
}

/// The shards, running.
#[derive(Debug)]
pub struct Driver {
    shards: Vec<Shard>,
    clock: Clock,
}

#[derive(Debug)]
struct Shard {
    inbox: mpsc::Sender<Vec<Input>>,
    questions: mpsc::Sender<oneshot::Sender<Snapshot>>,
    /// When it last went round, in nanoseconds of its clock.
    pulse: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// Asks the shards how they are, for metrics and tables.
#[derive(Clone, Debug)]
pub struct Watcher {
    questions: Vec<mpsc::Sender<oneshot::Sender<Snapshot>>>,
    pulses: Vec<Arc<AtomicU64>>,
    clock: Clock,
}

impl Driver {
    /// Starts so many shards.
    ///
    /// # Errors
    /// If a thread or its runtime cannot be started.
    pub fn start(parts: &Parts, shards: usize) -> io::Result<Self> {
        let shards = (0..shards).map(|number| Shard::start(parts.clone(), number)).collect();
        Ok(Self {
            shards: Result::from_iter::<Vec<io::Result<Shard>>>(shards)?,
            clock: parts.clock,
        })
    }

    /// The ways to the shards, for a consumer's outlet.
    #[must_use]
    pub fn inboxes(&self) -> Vec<mpsc::Sender<Vec<Input>>> {
        self.shards.iter().map(|shard| shard.inbox.clone()).collect()
    }

    /// Somebody to ask how they are; it holds no shard up.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        Watcher {
            questions: self.shards.iter().map(|shard| shard.questions.clone()).collect(),
            pulses: self.shards.iter().map(|shard| Arc::clone(&shard.pulse)).collect(),
            clock: self.clock,
        }
    }

    /// Ends the shards: each goes on until nobody can send it anything more.
    pub fn join(self) {
        for Shard { inbox, thread, .. } in self.shards {
            drop(inbox);
            if thread.join().is_err() {
                tracing::error!("a shard panicked");
            }
        }
    }
}

impl Shard {
    fn start(mut parts: Parts, number: usize) -> io::Result<Self> {
        let (inbox, inputs) = mpsc::channel(INBOX_BATCHES);
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let pulse = Arc::new(AtomicU64::new(parts.clock.now().as_nanos()));
        parts.terms.seed = parts.terms.seed.wrapping_add(number as u64);
        parts.terms.shard = number;
        let ends = shard::Ends { inputs, asked, pulse: Arc::clone(&pulse) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(move || runtime.block_on(shard::run(parts, ends)))?;
        Ok(Self { inbox, questions, pulse, thread })
    }
}

impl Watcher {
    /// The state of all shards that answer in time.
    pub async fn snapshot(&self) -> Snapshot {
        let mut whole = Snapshot::default();
        for questions in &self.questions {
            let (reply, answer) = oneshot::channel();
            if questions.try_send(reply).is_err() {
                continue;
            }
            if let Ok(Ok(part)) = tokio::time::timeout(ANSWER_TIME, answer).await {
                whole.lanes.extend(part.lanes);
                whole.in_flight += part.in_flight;
                whole.queued += part.queued;
            }
        }
        whole
    }

    /// Whether every shard goes round.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let oldest = self.clock.now() - STUCK_TIME;
        self.pulses.iter().all(|pulse| pulse.load(Ordering::Relaxed) >= oldest.as_nanos())
    }
}
