//! The cluster as the admin client sees it: which topics there are and how they are set.
//!
//! Asks and gives orders, each with a time limit; never judges. [`super::Topics`] owns it. The embedded broker of
//! the demo has no admin API: the demo makes its topics itself and never comes here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigEntry, ConfigResource, ConfigSource, OwnedResourceSpecifier,
    ResourceSpecifier,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};

use super::super::client::KafkaConfig;
use super::TopicNames;
use super::difference::Difference;

/// How long one request may take: a healthy cluster answers in milliseconds, a fail-over takes seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// All that librdkafka has to say lies ready; this only bounds the reading of it.
const COMPLAINTS_TIME: Duration = Duration::from_millis(50);
/// More than librdkafka says of a few brokers within one request.
const MAX_COMPLAINTS: u32 = 100;

/// Why the topics could not be looked at, made or accepted.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// No broker answered.
    #[error(
        "no broker of {servers} answered within {} s: {reason}; \
         check kafka.bootstrap_servers, the network and the broker",
        REQUEST_TIMEOUT.as_secs()
    )]
    Unreachable {
        /// `kafka.bootstrap_servers`.
        servers: String,
        /// What librdkafka said last.
        reason: String,
    },
    /// The client could not be made.
    #[error("the Kafka admin client cannot be made: {0}; check the section [kafka]")]
    Client(KafkaError),
    /// The broker answered with an error.
    #[error("{what} failed: {error}; check the rights of this user")]
    Request {
        /// What was asked.
        what: String,
        /// What the broker said.
        error: KafkaError,
    },
    /// The set-up could lose data.
    #[error("the topics could lose data:{}", lines(.0))]
    Refused(Vec<Difference>),
}

fn lines(differences: &[Difference]) -> String {
    differences.iter().map(|difference| format!("\n  {difference}")).collect()
}

/// One topic that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) partitions: u32,
    /// `None` where they may not be read.
    pub(super) settings: Option<BTreeMap<String, Setting>>,
}

/// One setting that a topic has, by itself or from its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// `None` where it is hidden.
    pub(super) value: Option<String>,
    /// Whether it was set on this very topic.
    pub(super) is_own: bool,
}

impl Found {
    /// The value of a setting.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.settings.as_ref()?.get(key)?.value.as_deref()
    }
}

/// The clients of one cluster.
pub(super) struct Cluster {
    /// Gives the orders.
    pub(super) client: AdminClient<DefaultClientContext>,
    /// Asks for the topics. The admin client could, but never hands out what librdkafka complains of.
    asker: BaseConsumer<Listener>,
    servers: String,
}

/// Keeps librdkafka's last complaint: the error of a request only says that nobody answered.
#[derive(Default)]
struct Listener {
    last_error: Mutex<Option<String>>,
}

impl ConsumerContext for Listener {}

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, reason: &str) {
        // It only sums up what was said before.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(reason.to_owned());
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Cluster {
    pub(super) fn connect(kafka: &KafkaConfig) -> Result<Self, TopicsError> {
        let config = kafka.admin();
        let asker = config.create_with_context(Listener::default()).map_err(TopicsError::Client)?;
        let client = config.create().map_err(TopicsError::Client)?;
        Ok(Self { client, asker, servers: kafka.bootstrap_servers.clone() })
    }

    /// Looks at those of our topics and the events topic that are there.
    pub(super) fn read(&self, names: &TopicNames) -> Result<BTreeMap<String, Found>, TopicsError> {
        let mut found = self.partitions(names)?;
        if found.is_empty() {
            return Ok(found);
        }
        for resource in self.describe(found.keys())? {
            let OwnedResourceSpecifier::Topic(name) = &resource.specifier else {
                continue;
            };
            // A refused description comes back empty.
            if let Some(topic) = found.get_mut(name).filter(|_| !resource.entries.is_empty()) {
                topic.settings = Some(settings(&resource));
            }
        }
        Ok(found)
    }

    /// Which topics there are. All are listed, because asking for one by name may create it.
    fn partitions(&self, names: &TopicNames) -> Result<BTreeMap<String, Found>, TopicsError> {
        let metadata = self.metadata()?;
        let is_wanted = |name: &str| {
            name == names.events || names.is_tier(name) || names.ours().any(|own| own == name)
        };
        let there = metadata
            .topics()
            .iter()
            .filter(|topic| is_wanted(topic.name()) && partitions_of(topic) > 0);
        let found = |topic: &MetadataTopic| {
            (topic.name().to_owned(), Found { partitions: partitions_of(topic), settings: None })
        };
        Ok(there.map(found).collect())
    }

    /// Whether all of these topics are known by now, with so many partitions.
    pub(super) fn knows(&self, topics: &[(String, u32)]) -> Result<bool, TopicsError> {
        let metadata = self.metadata()?;
        let is_known = |(name, partitions): &(String, u32)| {
            let mut known = metadata.topics().iter();
            known.any(|topic| topic.name() == name && partitions_of(topic) >= *partitions)
        };
        Ok(topics.iter().all(is_known))
    }

    fn metadata(&self) -> Result<Metadata, TopicsError> {
        let answer = self.asker.client().fetch_metadata(None, REQUEST_TIMEOUT);
        answer.map_err(|error| self.failed("listing the topics", error))
    }

    /// The settings of topics; none where this cluster cannot be asked for them.
    fn describe<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<Vec<ConfigResource>, TopicsError> {
        let topics: Vec<_> = names.map(|name| ResourceSpecifier::Topic(name)).collect();
        let answer = self.ask(self.client.describe_configs(&topics, &options()));
        match answer {
            Ok(resources) => Ok(resources.into_iter().filter_map(Result::ok).collect()),
            Err(KafkaError::AdminOp(
                RDKafkaErrorCode::UnsupportedFeature
                | RDKafkaErrorCode::UnsupportedVersion
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed,
            )) => Ok(Vec::new()),
            Err(error) => Err(self.failed("describing the topics", error)),
        }
    }

    /// Waits for the answer to a request, which has its own time limit.
    pub(super) fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, KafkaError>>,
    ) -> Result<T, KafkaError> {
        // The futures need a waker and nothing else: no timer, no I/O.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| KafkaError::AdminOpCreation(error.to_string()))?;
        runtime.block_on(request)
    }

    /// Tells a broker that is not there from one that says no.
    pub(super) fn failed(&self, what: &str, error: KafkaError) -> TopicsError {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::TimedOutQueue
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SSL,
            ) => {
                let reason = self.last_complaint().unwrap_or_else(|| error.to_string());
                TopicsError::Unreachable { servers: self.servers.clone(), reason }
            }
            _ => TopicsError::Request { what: what.to_owned(), error },
        }
    }
}

impl Cluster {
    /// What librdkafka said last of its connections; it says so only when it is polled.
    fn last_complaint(&self) -> Option<String> {
        for _ in 0..MAX_COMPLAINTS {
            if self.asker.poll(COMPLAINTS_TIME).is_none() {
                break;
            }
        }
        let last = self.asker.context().last_error.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Every request ends, and one that changes something is answered when it is done.
pub(super) fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}

/// None, where the topic is not there or about to be.
fn partitions_of(topic: &MetadataTopic) -> u32 {
    if topic.error().is_some() {
        return 0;
    }
    u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX)
}

fn settings(resource: &ConfigResource) -> BTreeMap<String, Setting> {
    let own = |entry: &ConfigEntry| {
        let is_own = entry.source == ConfigSource::DynamicTopic;
        (entry.name.clone(), Setting { value: entry.value.clone(), is_own })
    };
    resource.entries.iter().map(own).collect()
}

#[cfg(test)]
impl Found {
    /// A topic with these settings of its own.
    pub(super) fn with(partitions: u32, settings: &[(&str, &str)]) -> Self {
        let mut found = Self { partitions, settings: Some(BTreeMap::new()) };
        for (key, value) in settings {
            found.set(key, value);
        }
        found
    }

    /// Sets one.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        let setting = Setting { value: Some(value.to_owned()), is_own: true };
        self.settings.get_or_insert_default().insert(key.to_owned(), setting);
    }
}

#[cfg(test)]
mod tests {
    use super::super::TopicsConfig;
    use super::*;

    #[test]
    fn a_broker_that_is_not_there_is_an_error_of_its_own() {
        // Port 9 (discard) refuses at once where nothing listens.
        let kafka =
            KafkaConfig { bootstrap_servers: "127.0.0.1:9".into(), ..KafkaConfig::default() };
        let cluster = Cluster::connect(&kafka).unwrap();
        let error = cluster
            .failed("listing", KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure));
        assert!(matches!(error, TopicsError::Unreachable { .. }), "{error}");
        let refused =
            cluster.failed("listing", KafkaError::AdminOp(RDKafkaErrorCode::PolicyViolation));
        assert!(matches!(refused, TopicsError::Request { .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_request_may_be_awaited_on_a_blocking_thread() {
        let cluster = Cluster::connect(&KafkaConfig::default()).unwrap();
        let ask = tokio::task::spawn_blocking(move || cluster.ask(async { Ok(7) }));
        assert_eq!(ask.await.unwrap().unwrap(), 7);
    }

    #[test]
    fn only_our_topics_and_the_events_are_seen() {
        let mock = rdkafka::mocking::MockCluster::new(1).unwrap();
        for topic in ["campaign.actions", "barnabas.states", "barnabas.other"] {
            mock.create_topic(topic, 3, 1).unwrap();
        }
        let kafka =
            KafkaConfig { bootstrap_servers: mock.bootstrap_servers(), ..KafkaConfig::default() };
        let names = TopicNames::new(&TopicsConfig::default(), &[]);
        let found = Cluster::connect(&kafka).unwrap().partitions(&names).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["barnabas.states", "campaign.actions"]);
        assert_eq!(found["campaign.actions"], Found { partitions: 3, settings: None });
    }
}
