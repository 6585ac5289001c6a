//! Writes the campaign and the connections to the embedded broker, and counts what that means.
//!
//! Writes as fast as it is told and never waits, except at its close, for the last acknowledgements. It knows nothing
//! of what becomes of an event: the expectation is its whole opinion.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, error::KafkaError};

use super::DemoError;
use super::campaign::{Campaign, CampaignEvent, Expectation, Meaning, Oddities, Script};
use super::cast::{CAST, PROJECT, Role};
use super::tally::Written;

/// The broker is in this process and answers in milliseconds.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// More than the load model has, so that a short run shows some of each. Nothing is written twice: the receiver tells
/// events apart by their ids, and what it then gets twice is our doing.
const ODDITIES: Oddities =
    Oddities { duplicates: 0.0, malformed: 0.003, unknown: 0.003, multi_stage: 0.02 };

/// The campaign's way to the broker.
pub(super) struct Writer {
    producer: ThreadedProducer<Acknowledgements>,
    acknowledged: Arc<AtomicU64>,
    put: u64,
    topic: String,
    campaign: Campaign,
    expectation: Expectation,
    written: Written,
}

impl Writer {
    /// Connects in the background.
    pub(super) fn open(config: &ClientConfig, topic: &str, seed: u64) -> Result<Self, KafkaError> {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let context = Acknowledgements(Arc::clone(&acknowledged));
        let script = Script {
            projects: vec![PROJECT.to_owned()],
            oddities: ODDITIES,
            seed,
            ..Script::default()
        };
        Ok(Self {
            producer: ThreadedProducer::from_config_and_context(config, context)?,
            acknowledged,
            put: 0,
            topic: topic.to_owned(),
            campaign: Campaign::new(script),
            expectation: Expectation::new(CAST.iter().map(Role::interest).collect()),
            written: Written::default(),
        })
    }

    /// Writes one record.
    pub(super) fn put(&mut self, topic: &str, key: &str, value: &[u8]) -> Result<(), KafkaError> {
        let record = BaseRecord::to(topic).key(key).payload(value);
        self.producer.send(record).map_err(|(error, _)| error)?;
        self.put += 1;
        Ok(())
    }

    /// Writes events, happening at `time` (UNIX seconds), until there are as many as are due.
    pub(super) fn write_due(&mut self, due: u64, time: u64) -> Result<(), KafkaError> {
        while self.written.events < due {
            let event = self.campaign.event_at(time);
            let topic = self.topic.clone();
            self.put(&topic, &event.key, &event.value)?;
            self.count(&event);
        }
        Ok(())
    }

    /// Waits until the broker has everything.
    pub(super) fn flush(&self) -> Result<(), DemoError> {
        self.producer.flush(FLUSH_LIMIT)?;
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        if acknowledged == self.put {
            return Ok(());
        }
        Err(DemoError::Unwritten { open: self.put - acknowledged })
    }

    /// What was written.
    pub(super) const fn written(&self) -> Written {
        self.written
    }

    /// How many events each role must be sent, in the order of the cast.
    pub(super) fn matched(&self) -> &[u64] {
        self.expectation.matched()
    }

    fn count(&mut self, event: &CampaignEvent) {
        self.expectation.count(event);
        self.written.events += 1;
        match event.meaning {
            Meaning::Deliverable { .. } => {}
            Meaning::MultiStage => self.written.journeys += 1,
            Meaning::UnknownName => self.written.unknown += 1,
            Meaning::Malformed => self.written.malformed += 1,
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("written", &self.written).finish_non_exhaustive()
    }
}

/// Counts the broker's answers, on the producer's own thread.
struct Acknowledgements(Arc<AtomicU64>);

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::broker::Broker;
    use crate::kafka::client::KafkaConfig;

    #[test]
    fn what_is_written_is_acknowledged_and_counted() {
        let broker = Broker::start(&[("campaign.actions", 4)]).unwrap();
        let bootstrap_servers = broker.bootstrap().to_owned();
        let kafka = KafkaConfig { bootstrap_servers, ..KafkaConfig::default() };
        let mut writer = Writer::open(&kafka.producer(), "campaign.actions", 7).unwrap();
        writer.write_due(2_000, 1_760_090_581).unwrap();
        writer.write_due(2_000, 1_760_090_581).unwrap();
        writer.flush().unwrap();
        let written = writer.written();
        assert_eq!(written.events, 2_000);
        assert!(written.malformed > 0 && written.unknown > 0 && written.journeys > 0);
        assert!(writer.matched().iter().all(|&matched| matched > 0), "{:?}", writer.matched());
    }
}
