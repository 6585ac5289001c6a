//! The topics: their names, what they must be like, and the look at what they are.
//!
//! [`Topics::plan`] compares the cluster with the contract, [`Topics::check`] says whether the
//! service may start on it, [`Topics::create`] makes what is missing and corrects our own topics.
//! Nothing is made unless `create` was asked for, and the events topic, which belongs to others,
//! only when that was asked for by name. All calls block, each with an end; never call them on a
//! runtime's worker. `topics plan|create`, `check-config` and `serve` call this.

mod access;
mod cluster;
mod create;
mod difference;
mod wanted;

use std::time::Duration;

use serde::Deserialize;

use super::client::KafkaConfig;
use cluster::Cluster;

pub use self::cluster::TopicsError;
pub use self::create::{Change, Done, EventsTopic};
pub use self::difference::{Difference, Plan, Ready, Severity, What};

/// The longest name that a broker takes.
const MAX_NAME_BYTES: usize = 249;

/// The section `[topics]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicsConfig {
    /// The topic of the campaign events. It belongs to those who write them.
    pub events: String,
    /// How the names of our own topics begin; `.connections` and so on is added.
    pub prefix: String,
    /// How many brokers keep each of our topics when `topics create` makes them; -1: the broker's default.
    pub replication_factor: i32,
    /// `serve` refuses to start where events are deleted sooner than this, in hours; 0: never refuses.
    pub min_events_retention_hours: u32,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        Self {
            events: "campaign.actions".to_owned(),
            prefix: "barnabas".to_owned(),
            replication_factor: -1,
            min_events_retention_hours: 72,
        }
    }
}

/// One fault of the section `[topics]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicsConfigFault {
    /// A name that a broker would refuse.
    #[error("`{name}` is no topic name; write 1-249 of letters, digits, `.`, `_` and `-`")]
    Name {
        /// The key in the section.
        key: &'static str,
        /// The longest name that would come of it, or the name itself.
        name: String,
    },
    /// The events topic has the name of one of ours.
    #[error("it is one of our own topics; choose another topics.prefix or events topic")]
    Ours,
    /// A replication factor that no cluster has.
    #[error("a topic cannot be kept by {0} brokers; write 1-32767, or -1 for the broker's default")]
    Replication(i32),
}

impl TopicsConfigFault {
    /// The key in the section that it is about.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Name { key, .. } => key,
            Self::Ours => "events",
            Self::Replication(_) => "replication_factor",
        }
    }
}

impl TopicsConfig {
    /// Every fault of the section, with the tiers that the retry schedule needs.
    #[must_use]
    pub fn faults(&self, tiers: &[Duration]) -> Vec<TopicsConfigFault> {
        let mut faults = Vec::new();
        if !is_topic_name(&self.events) {
            faults.push(TopicsConfigFault::Name { key: "events", name: self.events.clone() });
        }
        let names = TopicNames::new(self, tiers);
        if let Some(bad) = names.ours().find(|name| self.prefix.is_empty() || !is_topic_name(name))
        {
            faults.push(TopicsConfigFault::Name { key: "prefix", name: bad.to_owned() });
        }
        if names.ours().any(|name| name == self.events) {
            faults.push(TopicsConfigFault::Ours);
        }
        if self.replication_factor == 0
            || !(-1..=i32::from(i16::MAX)).contains(&self.replication_factor)
        {
            faults.push(TopicsConfigFault::Replication(self.replication_factor));
        }
        faults
    }
}

/// The names of all topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNames {
    /// Campaign events; theirs.
    pub events: String,
    /// Connections, compacted.
    pub connections: String,
    /// Automatic deactivations, compacted.
    pub states: String,
    /// What was given up.
    pub dead_letters: String,
    /// The attempt log.
    pub attempts: String,
    /// Who changed what.
    pub audit: String,
    /// The tiers' topics, in the order of the delays that were given.
    pub retry: Vec<String>,
}

impl TopicNames {
    /// From the section and the tiers' delays.
    #[must_use]
    pub fn new(config: &TopicsConfig, tiers: &[Duration]) -> Self {
        let own = |name: &str| format!("{}.{name}", config.prefix);
        Self {
            events: config.events.clone(),
            connections: own("connections"),
            states: own("states"),
            dead_letters: own("dead-letters"),
            attempts: own("attempts"),
            audit: own("audit"),
            retry: tiers.iter().map(|&delay| own(&format!("retry.{}", tier_name(delay)))).collect(),
        }
    }

    /// Whether a topic is a tier's by its name, in this schedule or an earlier one.
    fn is_tier(&self, name: &str) -> bool {
        let prefix = self.connections.strip_suffix("connections").unwrap_or_default();
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("retry."))
    }

    /// All but the events topic.
    fn ours(&self) -> impl Iterator<Item = &str> {
        let fixed =
            [&self.connections, &self.states, &self.dead_letters, &self.attempts, &self.audit];
        fixed.into_iter().chain(&self.retry).map(String::as_str)
    }
}

/// A delay as it stands in its topic's name: the largest of h, m, s and ms that divides it, so that one delay
/// has one topic however the schedule writes it.
#[must_use]
pub fn tier_name(delay: Duration) -> String {
    let millis = delay.as_millis();
    let (size, unit) = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(size, _)| millis > 0 && millis.is_multiple_of(*size))
        .unwrap_or((1, "ms"));
    format!("{}{unit}", millis / size)
}

/// The topics of one cluster, to be compared and made.
#[derive(Debug)]
pub struct Topics {
    cluster: Cluster,
    kafka: KafkaConfig,
    config: TopicsConfig,
    /// The tiers' delays.
    tiers: Vec<Duration>,
    names: TopicNames,
}

impl Topics {
    /// Makes the client; nothing is asked of the broker yet.
    ///
    /// # Errors
    /// [`TopicsError::Client`] where librdkafka refuses the settings.
    pub fn connect(
        kafka: &KafkaConfig,
        config: &TopicsConfig,
        tiers: &[Duration],
    ) -> Result<Self, TopicsError> {
        Ok(Self {
            cluster: Cluster::connect(kafka)?,
            kafka: kafka.clone(),
            config: config.clone(),
            tiers: tiers.to_vec(),
            names: TopicNames::new(config, tiers),
        })
    }

    /// Compares the cluster with what is wanted.
    ///
    /// # Errors
    /// [`TopicsError::Unreachable`] or [`TopicsError::Request`].
    pub fn plan(&self) -> Result<Plan, TopicsError> {
        let found = self.cluster.read(&self.names)?;
        let wanted = wanted::wanted(&self.names, &self.config, &self.tiers, &found);
        Ok(Plan::compare(&wanted, &found))
    }

    /// The plan, and which topics this user may not read although the service has to.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn examine(&self) -> Result<Plan, TopicsError> {
        let mut plan = self.plan()?;
        let names = &self.names;
        let read = [&names.events, &names.connections, &names.states];
        let is_there = |name: &&str| !plan.lacks(name);
        let topics =
            read.into_iter().chain(&names.retry).map(String::as_str).filter(is_there).collect();
        for topic in access::unreadable(&self.kafka, &topics)? {
            plan.differences.push(Difference::forbidden(topic));
        }
        Ok(plan)
    }

    /// Whether the service may start: everything there that holds deliveries, and nothing set so that it
    /// could lose them.
    ///
    /// # Errors
    /// [`TopicsError::Refused`] with every reason, or that the cluster could not be asked.
    pub fn check(&self) -> Result<Ready, TopicsError> {
        self.examine()?.check()
    }

    /// Makes what is missing and corrects what differs in our own topics.
    ///
    /// # Errors
    /// [`TopicsError::Unreachable`] or [`TopicsError::Request`]; what was done by then stays done.
    pub fn create(&self, events: EventsTopic) -> Result<Vec<Change>, TopicsError> {
        let found = self.cluster.read(&self.names)?;
        let mut wanted = wanted::wanted(&self.names, &self.config, &self.tiers, &found);
        if let EventsTopic::Create { partitions } = events {
            wanted::give_partitions(&mut wanted, partitions);
        }
        let plan = Plan::compare(&wanted, &found);
        let steps = create::steps(&wanted, &plan, events);
        create::run(&self.cluster, steps, self.config.replication_factor, &found)
    }
}

fn is_topic_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_plain)
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_delay_has_one_name() {
        let names = [
            (Duration::from_millis(200), "200ms"),
            (Duration::from_millis(1500), "1500ms"),
            (secs(5), "5s"),
            (secs(90), "90s"),
            (secs(120), "2m"),
            (secs(3600), "1h"),
            (secs(6 * 3600), "6h"),
            (secs(24 * 3600), "24h"),
        ];
        for (delay, name) in names {
            assert_eq!(tier_name(delay), name);
        }
    }

    #[test]
    fn names_begin_with_the_prefix() {
        let names = TopicNames::new(&TopicsConfig::default(), &[secs(5), secs(7200)]);
        assert_eq!(names.events, "campaign.actions");
        assert_eq!(names.dead_letters, "barnabas.dead-letters");
        assert_eq!(names.retry, ["barnabas.retry.5s", "barnabas.retry.2h"]);
        assert!(names.is_tier("barnabas.retry.9s") && !names.is_tier("other.retry.9s"));
    }

    #[test]
    fn every_fault_is_found() {
        assert_eq!(TopicsConfig::default().faults(&[secs(5)]), []);
        let config = TopicsConfig {
            events: "x y".into(),
            prefix: String::new(),
            replication_factor: 0,
            ..TopicsConfig::default()
        };
        let keys: Vec<_> = config.faults(&[secs(5)]).iter().map(TopicsConfigFault::key).collect();
        assert_eq!(keys, ["events", "prefix", "replication_factor"]);
        let own = TopicsConfig { events: "barnabas.states".into(), ..TopicsConfig::default() };
        assert_eq!(own.faults(&[]), [TopicsConfigFault::Ours]);
        let long = TopicsConfig { prefix: "x".repeat(240), ..TopicsConfig::default() };
        assert_eq!(long.faults(&[])[0].key(), "prefix");
    }
}
