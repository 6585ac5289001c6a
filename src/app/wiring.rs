//! What each part of the service is built from: sections of the configuration on one side, parts on the other.

use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, watch};

use super::part::{End, Part};
use super::{AppError, Service};
use crate::admin::read_models;
use crate::driver::attempt_log::{AttemptLog, AttemptsLogged};
use crate::driver::{self, Driver};
use crate::engine::address::AddressRule;
use crate::engine::dispatcher::Terms;
use crate::engine::event::Source;
use crate::engine::gate::HostCap;
use crate::engine::intake::Budget;
use crate::engine::table::ConnectionTable;
use crate::engine::time::Timestamp;
use crate::kafka::attempts::AttemptWriter;
use crate::kafka::client::Group;
use crate::kafka::connections::{self, Progress};
use crate::kafka::consumer::{
    self, EventFeed, Feed, GroupShare, Outlet, RetryFeed, SettlementQueue,
};
use crate::kafka::log;
use crate::kafka::record::connection::ConnectionDecoder;
use crate::kafka::record::event::SkipReason;
use crate::kafka::topics::{Ready, tier_name};
use crate::metrics::Labelled;
use crate::secrets::KeyringFollower;

impl Service {
    /// The rules on connections, for their reader and for the admin API.
    pub(super) fn decoder(
        &self,
        rule: AddressRule,
        keyring: Option<&KeyringFollower>,
    ) -> ConnectionDecoder {
        ConnectionDecoder {
            catalog: Arc::clone(&self.catalog),
            rule,
            defaults: self.config.delivery.clone(),
            plaintext: self.config.connections.plaintext_secrets,
            topic: self.names.connections.as_str().into(),
            keyring: keyring.map(KeyringFollower::handle),
        }
    }

    pub(super) fn start_connections(
        &self,
        decoder: ConnectionDecoder,
        keyring: Option<KeyringFollower>,
        (table, progress): (watch::Sender<Arc<ConnectionTable>>, watch::Sender<Progress>),
        ends: &mpsc::Sender<End>,
    ) -> Result<Part, AppError> {
        let parts = connections::Parts {
            config: self.config.kafka.table_reader(),
            connections_topic: self.names.connections.clone(),
            states_topic: self.names.states.clone(),
            decoder,
            table,
            keyring,
            ready: self.table_ready.clone(),
            progress,
            metrics: Arc::clone(&self.metrics),
            shutdown: self.shutdown.clone(),
        };
        Ok(Part::start("connections", ends, move || connections::run(parts))?)
    }

    pub(super) fn shards(&self) -> usize {
        match self.config.delivery.shards {
            0 => thread::available_parallelism().map_or(1, usize::from),
            shards => usize::try_from(shards).unwrap_or(1),
        }
    }

    /// The attempt log; no producer is made for one that is off.
    pub(super) fn attempt_log(&self) -> Result<Option<AttemptLog>, AppError> {
        let config = &self.config.attempts;
        if config.log == AttemptsLogged::Off {
            return Ok(None);
        }
        let kafka = self.config.kafka.log_producer();
        let writer = AttemptWriter::new(&kafka, &self.names.attempts, &self.metrics)?;
        Ok(AttemptLog::new(config, writer, Arc::clone(&self.catalog), self.tiers()))
    }

    /// Starts what fills the read models, where somebody wants them.
    pub(super) fn start_read_models(
        &self,
        parts: &driver::Parts,
        driver: &Driver,
        ends: &mpsc::Sender<End>,
    ) -> Result<Option<Part>, AppError> {
        let Some(slot) = &self.read_models else { return Ok(None) };
        let kafka = &self.config.kafka;
        let (models, follower) = read_models::start(read_models::Parts {
            reader: kafka.table_reader(),
            names: Arc::clone(&self.names),
            events_group: kafka.group(Group::Events),
            retries_group: kafka.group(Group::Retries),
            tiers: self.tiers(),
            catalog: Arc::clone(&self.catalog),
            payload: Arc::new(self.config.payload.clone()),
            table: parts.table.clone(),
            table_ready: self.status.table.clone(),
            rule: Arc::clone(&parts.rule),
            tls: Arc::clone(&parts.tls),
            producer: self.producer.clone(),
            retry: parts.terms.retry.clone(),
            attempts_logged: self.config.attempts.log,
            watcher: driver.watcher(),
            metrics: Arc::clone(&self.metrics),
            clock: self.clock,
            shutdown: self.shutdown.clone(),
        })?;
        let _ = slot.set(models);
        Ok(Some(Part::start("read-models", ends, move || log::follow(follower))?))
    }

    /// The tiers' delays as text.
    pub(super) fn tiers(&self) -> Arc<[String]> {
        self.retry.delays().iter().map(|delay| tier_name(*delay)).collect()
    }

    /// What each shard may do: an equal part of what the instance may.
    pub(super) fn terms(&self, ready: &Ready, shards: usize) -> Terms {
        let delivery = &self.config.delivery;
        let part = |total: u32| usize::try_from(total).unwrap_or(usize::MAX).div_ceil(shards);
        Terms {
            retry: self.retry.clone().with_partitions(ready.retry_partitions),
            max_in_flight: part(delivery.max_in_flight_total),
            max_held: part(delivery.max_open_deliveries),
            host_cap: HostCap::from(&self.config.egress),
            // Each shard is given its own number.
            shard: 0,
            seed: self.clock.now().as_nanos(),
        }
    }

    pub(super) fn event_reader(
        &self,
        table: watch::Receiver<Arc<ConnectionTable>>,
        settlements: SettlementQueue,
        share: &GroupShare,
        driver: &Driver,
    ) -> consumer::Parts {
        let feed = EventFeed {
            topic: self.names.events.as_str().into(),
            catalog: Arc::clone(&self.catalog),
            payload: Arc::new(self.config.payload.clone()),
            table,
            tracer: self.traces.tracer(),
            metrics: Arc::clone(&self.metrics),
            skipped: Labelled::new(SkipReason::NAMES, |reason| {
                self.metrics.events_skipped_total.with_label_values(&[reason])
            }),
            name_logged_at: Timestamp::EPOCH,
        };
        consumer::Parts {
            config: self.config.kafka.consumer(Group::Events),
            source: Source::Events,
            topics: vec![self.names.events.clone()],
            feed: Feed::Events(feed),
            budget: self.budget(),
            outlet: Outlet::new(driver.inboxes()),
            settlements,
            share: share.clone(),
            assigned: Arc::clone(&self.status.events),
            metrics: Arc::clone(&self.metrics),
            clock: self.clock,
            shutdown: self.shutdown.clone(),
        }
    }

    pub(super) fn retry_reader(
        &self,
        settlements: SettlementQueue,
        share: &GroupShare,
        driver: &Driver,
    ) -> consumer::Parts {
        let feed = RetryFeed {
            topics: self.names.retry.iter().map(|name| name.as_str().into()).collect(),
            catalog: Arc::clone(&self.catalog),
            payload: Arc::new(self.config.payload.clone()),
        };
        consumer::Parts {
            config: self.config.kafka.consumer(Group::Retries),
            source: Source::Retries,
            topics: self.names.retry.clone(),
            feed: Feed::Retries(feed),
            budget: self.budget(),
            outlet: Outlet::new(driver.inboxes()),
            settlements,
            share: share.clone(),
            assigned: Arc::clone(&self.status.retries),
            metrics: Arc::clone(&self.metrics),
            clock: self.clock,
            shutdown: self.shutdown.clone(),
        }
    }

    pub(super) fn budget(&self) -> Budget {
        let delivery = &self.config.delivery;
        Budget { deliveries: delivery.max_open_deliveries.into(), bytes: delivery.max_open_bytes }
    }
}
