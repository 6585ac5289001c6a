//! All read models together: what the API and the console ask.
//!
//! [`start`] builds them and what fills them; the app runs that. Nothing here is needed to deliver.

use std::io;
use std::sync::Arc;

use rdkafka::config::ClientConfig;
use tokio::sync::watch;

use super::attempts::Attempts;
use super::dead_letters::{self, DeadLetters};
use super::health::Healths;
use super::pipeline::{self, Pipeline, Throughput};
use super::preview::Preview;
use super::test_send::{self, TestSends};
use crate::clock::Clock;
use crate::driver::Watcher;
use crate::driver::attempt_log::AttemptsLogged;
use crate::engine::address::AddressRule;
use crate::engine::catalog::Catalog;
use crate::engine::payload::PayloadConfig;
use crate::engine::retry::RetryPolicy;
use crate::engine::table::ConnectionTable;
use crate::kafka::log::Follower;
use crate::kafka::producer::Producer;
use crate::kafka::topics::TopicNames;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

/// What the read models are built from.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The settings of a Kafka reader that belongs to no group.
    pub reader: ClientConfig,
    /// The topics.
    pub names: Arc<TopicNames>,
    /// The group of the events.
    pub events_group: String,
    /// The group of the tiers.
    pub retries_group: String,
    /// The tiers' delays as text, in the order of their topics.
    pub tiers: Arc<[String]>,
    /// Which names there are.
    pub catalog: Arc<Catalog>,
    /// What a body holds.
    pub payload: Arc<PayloadConfig>,
    /// The newest connections.
    pub table: watch::Receiver<Arc<ConnectionTable>>,
    /// Whether they were read to their end.
    pub table_ready: watch::Receiver<bool>,
    /// Which addresses may be called.
    pub rule: Arc<AddressRule>,
    /// How TLS is spoken.
    pub tls: Arc<rustls::ClientConfig>,
    /// Writes what is redriven.
    pub producer: Producer,
    /// The schedule, with the tiers' partitions.
    pub retry: RetryPolicy,
    /// Which attempts are logged.
    pub attempts_logged: AttemptsLogged,
    /// The shards.
    pub watcher: Watcher,
    /// Where they count.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Clock,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// Everything that people may ask; cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadModels {
    /// The attempts of all instances.
    pub attempts: Attempts,
    /// The dead letters of all instances.
    pub dead_letters: DeadLetters,
    /// What a filter would have matched.
    pub preview: Preview,
    /// Test events.
    pub test_sends: TestSends,
    /// How connections are.
    pub healths: Healths,
    /// The pipeline as a whole.
    pub pipeline: Pipeline,
}

/// Builds the read models, and what has to be followed on a thread of its own to fill them. Starts a thread for test
/// sends, and a task on the present runtime that looks at the counters until `shutdown`.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(parts: Parts) -> io::Result<(ReadModels, Follower)> {
    let Parts { reader, names, catalog, payload, table, clock, shutdown, .. } = parts;
    let attempts = Attempts::new(reader.clone(), &names.attempts, parts.attempts_logged);
    let dead_letters = DeadLetters::new(dead_letters::Parts {
        reader: reader.clone(),
        topic: names.dead_letters.as_str().into(),
        catalog: Arc::clone(&catalog),
        payload: Arc::clone(&payload),
        table: table.clone(),
        producer: parts.producer,
        retry: parts.retry,
        metrics: Arc::clone(&parts.metrics),
        clock,
    });
    let follower = Follower {
        config: reader.clone(),
        topics: vec![attempts.followed(), dead_letters.followed()],
        shutdown: shutdown.clone(),
    };
    let preview = Preview {
        reader: reader.clone(),
        topic: names.events.as_str().into(),
        catalog: Arc::clone(&catalog),
        payload: Arc::clone(&payload),
    };
    let (rule, tls) = (parts.rule, parts.tls);
    let tests = test_send::Parts { table: table.clone(), catalog, payload, rule, tls };
    let test_sends = TestSends::start(tests)?;
    let throughput = Throughput::new(parts.metrics);
    tokio::spawn(throughput.clone().run(shutdown));
    let watcher = parts.watcher.clone();
    let healths = Healths { attempts: attempts.clone(), watcher, clock };
    let pipeline = Pipeline::new(
        pipeline::Parts {
            reader,
            names,
            tiers: parts.tiers,
            events_group: parts.events_group,
            retries_group: parts.retries_group,
            table,
            table_ready: parts.table_ready,
            watcher: parts.watcher,
            clock,
        },
        throughput,
    );
    let models = ReadModels { attempts, dead_letters, preview, test_sends, healths, pipeline };
    Ok((models, follower))
}

/// Runs what waits for the network without the runtime; its panic is ours.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
