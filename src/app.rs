//! The one place where the parts meet: build, start, wait, drain.
//!
//! ```text
//! topics are safe ─▶ connections are read ─▶ shards and consumers run ─▶ asked to stop ─▶ consumers drain, commit
//! and leave ─▶ shards end ─▶ producer is flushed ─▶ telemetry ends
//! ```
//!
//! Every long-lived thread reports its end; the first that ends unasked stops the rest and is named.

mod addresses;
mod admin;
mod error;
mod part;
mod roles;
mod wiring;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

pub use self::error::AppError;
pub use self::roles::{Role, Roles};

use self::part::{End, Part};
use crate::admin::read_models::ReadModels;
use crate::admin::tokens::Tokens;
use crate::clock::Clock;
use crate::config::Config;
use crate::driver::{self, Driver};
use crate::engine::address::AddressRule;
use crate::engine::catalog::{Catalog, CatalogError};
use crate::engine::retry::RetryPolicy;
use crate::engine::table::ConnectionTable;
use crate::kafka::connections::Progress;
use crate::kafka::consumer::{self, GroupShare, Settlements};
use crate::kafka::producer::Producer;
use crate::kafka::topics::{Ready, TopicNames, Topics, TopicsError};
use crate::metrics::Metrics;
use crate::secrets::KeyringFollower;
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Status};
use crate::traces::Traces;
use crate::webhook;

/// Pauses between questions to a broker that does not answer.
const BROKER_PAUSE: Duration = Duration::from_secs(2);
/// The producer is looked at so often.
const PRODUCER_LOOK: Duration = Duration::from_secs(5);
/// What reports its end: two consumers, the connections, the admin API and the read models.
const PARTS: usize = 5;
/// After the grace, what Kafka may still take for the last commits and the leave.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// How long the producer may take for what is left in its queue.
const FLUSH_TIME: Duration = Duration::from_secs(5);

/// Whether the topics have to be looked at.
#[derive(Debug)]
pub enum TopicCheck {
    /// They are checked at the start.
    Look,
    /// Somebody has just made them, on a broker that cannot describe them: the demo.
    Trust(Ready),
}

/// The service, built and not yet running.
#[derive(Debug)]
pub struct App {
    listener: TcpListener,
    set_up_token: Option<SecretString>,
    service: Service,
}

#[derive(Debug)]
struct Service {
    config: Config,
    roles: Roles,
    check: TopicCheck,
    shutdown: Shutdown,
    clock: Clock,
    metrics: Arc<Metrics>,
    traces: Traces,
    names: Arc<TopicNames>,
    retry: RetryPolicy,
    catalog: Arc<Catalog>,
    producer: Producer,
    status: Status,
    table_ready: watch::Sender<bool>,
    /// Until the admin API takes them.
    tokens: Option<Tokens>,
    /// Where the read models go; `None` where nobody wants them.
    read_models: Option<Arc<OnceLock<ReadModels>>>,
}

impl App {
    /// Builds what needs no broker, and listens for telemetry.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn build(
        config: Config,
        check: TopicCheck,
        shutdown: Shutdown,
    ) -> Result<Self, AppError> {
        let address = config.telemetry.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| AppError::Listen { address, source })?;
        let metrics = Arc::new(Metrics::new()?);
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let retry = RetryPolicy::try_from(&config.retry)?;
        let names = Arc::new(TopicNames::new(&config.topics, retry.delays()));
        let producer =
            Producer::new(&config.kafka.producer(), Arc::clone(&names), Arc::clone(&metrics))?;
        let (table_ready, table) = watch::channel(false);
        let status = Status {
            topics: Arc::default(),
            table,
            events: Arc::default(),
            retries: Arc::default(),
            delivers: true,
            producer: producer.health(),
            stopping: Arc::default(),
            shards: Arc::default(),
        };
        let clock = Clock::start();
        let catalog =
            Catalog::new(&config.catalog).map_err(|faults| AppError::Catalog(join(&faults)))?;
        let (tokens, set_up_token) = match config.admin.listen {
            Some(_) => config.admin.tokens().map(|(tokens, text)| (Some(tokens), text))?,
            None => (None, None),
        };
        let traces = Traces::start(&config.traces, &metrics.spans_dropped_total)?;
        let service = Service {
            config,
            roles: Roles::ALL,
            check,
            shutdown,
            clock,
            traces,
            metrics,
            names,
            retry,
            catalog: Arc::new(catalog),
            producer,
            status,
            table_ready,
            tokens,
            read_models: None,
        };
        Ok(Self { listener, set_up_token, service })
    }

    /// Leaves out what is none of these roles.
    #[must_use]
    pub fn with(mut self, roles: Roles) -> Self {
        self.service.roles = roles;
        self.service.status.delivers = roles.delivers;
        if !roles.has_api {
            (self.service.tokens, self.set_up_token) = (None, None);
        }
        self
    }

    /// The token for the set-up, where there is no tokens file: for whoever has started the process, and nobody else.
    #[must_use]
    pub const fn set_up_token(&self) -> Option<&SecretString> {
        self.set_up_token.as_ref()
    }

    /// How it is; also while it runs.
    #[must_use]
    pub fn status(&self) -> Status {
        self.service.status.clone()
    }

    /// Asks for the read models, which cost threads and memory. They are there once the connections are read.
    pub fn read_models(&mut self) -> Arc<OnceLock<ReadModels>> {
        Arc::clone(self.service.read_models.get_or_insert_default())
    }

    /// Runs until it is asked to stop, and then ends in order.
    ///
    /// # Errors
    /// [`AppError`]: what kept it from starting, or which part ended unasked.
    pub async fn run(self) -> Result<(), AppError> {
        let Self { listener, service, set_up_token: _ } = self;
        let address = listener.local_addr()?;
        info!(%address, version = env!("CARGO_PKG_VERSION"), "telemetry is served");
        let status = service.status.clone();
        let (metrics, config) = (Arc::clone(&service.metrics), service.config.telemetry.clone());
        let telemetry =
            tokio::spawn(async move { telemetry::serve(listener, status, metrics, &config).await });
        let result = service.run().await;
        telemetry.abort();
        result
    }
}

/// Everything that runs.
struct Running {
    readers: Vec<Part>,
    driver: Driver,
    connections: Part,
    admin: Option<JoinHandle<()>>,
    read_models: Option<Part>,
    ended: mpsc::Receiver<End>,
}

impl Service {
    async fn run(mut self) -> Result<(), AppError> {
        let Some(ready) = self.topics().await? else { return Ok(()) };
        self.status.topics.store(true, Ordering::Release);
        let Some(mut running) = self.start(&ready).await? else { return Ok(()) };
        info!("running");
        let result = tokio::select! {
            // First: what ends because it was asked to has not ended unasked.
            biased;
            () = self.shutdown.asked() => Ok(()),
            end = running.ended.recv() => Err(unasked(end)),
            reason = broken(&self.producer) => Err(AppError::Ended { part: "producer", reason }),
        };
        self.status.stopping.store(true, Ordering::Release);
        self.shutdown.ask();
        let patience = self.shutdown.grace() + STOP_MARGIN;
        let admin = running.admin.take();
        let producer = self.producer.clone();
        let stopping = tokio::task::spawn_blocking(move || stop(running, &producer));
        if tokio::time::timeout(patience, stopping).await.is_err() {
            error!("stopping takes too long; what is open is repeated after the next start");
            std::process::exit(1);
        }
        if let Some(admin) = admin {
            admin.abort();
        }
        blocking(move || self.traces.end()).await;
        result
    }

    /// Waits for a broker with safe topics; `None` if it is to stop before there is one.
    async fn topics(&mut self) -> Result<Option<Ready>, AppError> {
        let ready = match std::mem::replace(&mut self.check, TopicCheck::Look) {
            TopicCheck::Trust(ready) => return Ok(Some(ready)),
            TopicCheck::Look => loop {
                match self.look_at_topics().await {
                    Ok(ready) => break ready,
                    Err(error @ TopicsError::Unreachable { .. }) => {
                        error!(%error, "Kafka does not answer; it is tried again");
                    }
                    Err(error) => return Err(error.into()),
                }
                tokio::select! {
                    () = self.shutdown.asked() => return Ok(None),
                    () = tokio::time::sleep(BROKER_PAUSE) => {}
                }
            },
        };
        for difference in &ready.advice {
            warn!(topic = difference.topic, "{difference}");
        }
        Ok(Some(ready))
    }

    async fn look_at_topics(&self) -> Result<Ready, TopicsError> {
        let (kafka, topics) = (self.config.kafka.clone(), self.config.topics.clone());
        let delays = self.retry.delays().to_vec();
        blocking(move || Topics::connect(&kafka, &topics, &delays)?.check()).await
    }

    /// Starts all parts; `None` if it is to stop before the connections are read.
    async fn start(&mut self, ready: &Ready) -> Result<Option<Running>, AppError> {
        let kafka = self.config.kafka.clone();
        let own_addresses = blocking(move || addresses::own(&kafka)).await;
        let rule = AddressRule::new(&self.config.egress, own_addresses);
        let tls = webhook::tls::client_config(self.config.egress.ca_file.as_deref())?;
        let (ends, mut ended) = mpsc::channel(PARTS);
        let (table_writer, table) =
            watch::channel(Arc::new(ConnectionTable::for_shards(self.shards())));
        let keyring_file = self.config.secrets.keyring_file.as_deref();
        let keyring = keyring_file.map(KeyringFollower::open).transpose()?;
        let decoder = self.decoder(rule.clone(), keyring.as_ref());
        let (progress_writer, progress) = watch::channel(Progress::default());
        let writers = (table_writer, progress_writer);
        let connections = self.start_connections(decoder.clone(), keyring, writers, &ends)?;
        let admin = self.start_admin(decoder, (table.clone(), progress), &ends).await?;
        let mut whole = self.status.table.clone();
        tokio::select! {
            () = self.shutdown.asked() => return Ok(None),
            end = ended.recv() => return Err(unasked(end)),
            _ = whole.wait_for(|whole| *whole) => {}
        }
        let (events, events_queue) = Settlements::channel();
        let (retries, retries_queue) = Settlements::channel();
        let shards = self.shards();
        let parts = driver::Parts {
            terms: self.terms(ready, shards),
            tiers: self.tiers(),
            table: table.clone(),
            producer: self.producer.clone(),
            events,
            retries,
            log: self.attempt_log()?,
            tracer: self.traces.tracer(),
            rule: Arc::new(rule),
            tls,
            metrics: Arc::clone(&self.metrics),
            clock: self.clock,
        };
        let driver = Driver::start(&parts, shards)?;
        let _ = self.status.shards.set(driver.watcher());
        let read_models = self.start_read_models(&parts, &driver, &ends)?;
        let tiers = u32::try_from(self.names.retry.len()).unwrap_or(u32::MAX);
        let partitions = ready.events_partitions + tiers * ready.retry_partitions;
        let share = GroupShare::new(partitions, self.clock.now());
        let mut readers = Vec::new();
        if self.roles.delivers {
            let fresh = self.event_reader(table, events_queue, &share, &driver);
            let due = self.retry_reader(retries_queue, &share, &driver);
            readers.push(Part::start("events-consumer", &ends, move || consumer::run(fresh))?);
            readers.push(Part::start("retries-consumer", &ends, move || consumer::run(due))?);
        }
        Ok(Some(Running { readers, driver, connections, admin, read_models, ended }))
    }
}

/// Waits until the producer is broken for good.
async fn broken(producer: &Producer) -> String {
    loop {
        tokio::time::sleep(PRODUCER_LOOK).await;
        if let Some(reason) = producer.fatal_error() {
            return reason;
        }
    }
}

/// Runs what waits for the network without the runtime; its panic is ours.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn join(faults: &[CatalogError]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn unasked(end: Option<End>) -> AppError {
    let (part, reason) = end.unwrap_or(("everything", None));
    AppError::Ended { part, reason: reason.unwrap_or_else(|| "nobody asked it to".to_owned()) }
}

/// Consumers first, for they drain into the shards; then the shards, what they wrote, and the connections.
fn stop(running: Running, producer: &Producer) {
    running.readers.into_iter().for_each(Part::join);
    running.driver.join();
    if let Err(error) = producer.flush(FLUSH_TIME) {
        warn!(%error, "the producer's queue could not be emptied; what was in it is repeated");
    }
    running.connections.join();
    running.read_models.into_iter().for_each(Part::join);
    info!("stopped");
}
