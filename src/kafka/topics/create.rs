//! Makes what is missing and corrects our own topics.
//!
//! [`steps`] decides, [`run`] does. Never deletes, never takes a setting away, never touches the
//! events topic unless it is missing and was asked for. [`super::Topics::create`] calls both.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Serialize;

use super::cluster::{Cluster, Found, TopicsError, options};
use super::difference::{Plan, What, alter_command};
use super::wanted::{Role, Wanted};

/// A new topic is known to every broker after this, or something is wrong.
const SPREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks whether it is known.
const SPREAD_PAUSE: Duration = Duration::from_millis(100);

/// What is done about the events topic, which belongs to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsTopic {
    /// Nothing.
    Leave,
    /// It is made if it is missing.
    Create {
        /// With so many partitions.
        partitions: u32,
    },
}

/// One thing that was done, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The topic.
    pub topic: String,
    /// What was done.
    #[serde(flatten)]
    pub done: Done,
}

/// What was done to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Done {
    /// It was made.
    Created {
        /// With so many partitions.
        partitions: u32,
    },
    /// A setting was corrected.
    Set {
        /// Its name.
        key: String,
        /// What it is now.
        value: String,
    },
    /// Partitions were added.
    Widened {
        /// How many there are now.
        partitions: u32,
    },
    /// It was not done.
    NotDone {
        /// Why not.
        why: String,
        /// What to do instead.
        mend: String,
    },
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { partitions: 1 } => write!(f, "created with 1 partition"),
            Self::Created { partitions } => write!(f, "created with {partitions} partitions"),
            Self::Set { key, value } => write!(f, "set {key}={value}"),
            Self::Widened { partitions } => write!(f, "widened to {partitions} partitions"),
            Self::NotDone { why, mend } => write!(f, "not done: {why}; {mend}"),
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create { topic: String, partitions: u32, settings: Vec<(&'static str, String)> },
    Set { topic: String, settings: Vec<(&'static str, String)> },
    Widen { topic: String, partitions: u32 },
    Leave { topic: String, why: &'static str, mend: String },
}

/// What to do about the differences.
pub(super) fn steps(wanted: &[Wanted], plan: &Plan, events: EventsTopic) -> Vec<Step> {
    wanted.iter().flat_map(|topic| topic_steps(topic, plan, events)).collect()
}

fn topic_steps(topic: &Wanted, plan: &Plan, events: EventsTopic) -> Vec<Step> {
    let differences = plan.differences.iter().filter(|difference| difference.topic == topic.name);
    let mut steps = Vec::new();
    let mut settings = Vec::new();
    for difference in differences {
        let is_theirs = topic.role == Role::Events;
        match &difference.what {
            What::Missing => steps.push(creation(topic, events, &difference.mend)),
            What::Setting { key, value, .. } if !is_theirs => settings.push((*key, value.clone())),
            What::Partitions { wants, .. } if !is_theirs => {
                steps.push(Step::Widen { topic: topic.name.clone(), partitions: *wants });
            }
            // Says what the service may do, not what the topic is like.
            What::Forbidden => {}
            What::Unread | What::Setting { .. } | What::Partitions { .. } | What::Unreadable => {
                steps.push(leave(
                    topic,
                    if is_theirs { "it belongs to others" } else { "its settings cannot be read" },
                    &difference.mend,
                ))
            }
        }
    }
    if !settings.is_empty() {
        steps.push(Step::Set { topic: topic.name.clone(), settings });
    }
    steps
}

fn creation(topic: &Wanted, events: EventsTopic, mend: &str) -> Step {
    if topic.role == Role::Events && events == EventsTopic::Leave {
        return leave(topic, "it belongs to others", mend);
    }
    let Some(partitions) = topic.partitions else {
        return leave(
            topic,
            "it follows the events topic's partitions, and that topic is missing",
            "create the events topic first, or add --with-events",
        );
    };
    let settings =
        topic.rules.iter().map(|rule| (rule.key, rule.on_creation(topic.role))).collect();
    Step::Create { topic: topic.name.clone(), partitions, settings }
}

fn leave(topic: &Wanted, why: &'static str, mend: &str) -> Step {
    Step::Leave { topic: topic.name.clone(), why, mend: mend.to_owned() }
}

/// Does the steps, and waits until the cluster knows the new topics.
pub(super) fn run(
    cluster: &Cluster,
    steps: Vec<Step>,
    replication_factor: i32,
    found: &BTreeMap<String, Found>,
) -> Result<Vec<Change>, TopicsError> {
    let mut changes = Vec::new();
    for step in steps {
        match step {
            Step::Create { topic, partitions, settings } => {
                create(cluster, &topic, partitions, replication_factor, &settings)?;
                changes.push(Change { topic, done: Done::Created { partitions } });
            }
            Step::Widen { topic, partitions } => {
                widen(cluster, &topic, partitions)?;
                changes.push(Change { topic, done: Done::Widened { partitions } });
            }
            Step::Set { topic, settings } => {
                let done = set(cluster, &topic, &settings, found.get(&topic))?;
                changes.extend(done.into_iter().map(|done| Change { topic: topic.clone(), done }));
            }
            Step::Leave { topic, why, mend } => {
                changes.push(Change { topic, done: Done::NotDone { why: why.to_owned(), mend } });
            }
        }
    }
    wait_for(cluster, &changes)?;
    Ok(changes)
}

fn create(
    cluster: &Cluster,
    topic: &str,
    partitions: u32,
    replication_factor: i32,
    settings: &[(&'static str, String)],
) -> Result<(), TopicsError> {
    let count = i32::try_from(partitions).unwrap_or(i32::MAX);
    let mut new = NewTopic::new(topic, count, TopicReplication::Fixed(replication_factor));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let answer = cluster.ask(cluster.client.create_topics([&new], &options()));
    // Another instance may have been quicker.
    let is_there = |code: &RDKafkaErrorCode| *code == RDKafkaErrorCode::TopicAlreadyExists;
    let refused = first_refusal(answer, is_there);
    refused.map_err(|error| cluster.failed(&format!("creating {topic}"), error))
}

fn widen(cluster: &Cluster, topic: &str, partitions: u32) -> Result<(), TopicsError> {
    let count = usize::try_from(partitions).unwrap_or(usize::MAX);
    let new = NewPartitions::new(topic, count);
    let answer = cluster.ask(cluster.client.create_partitions([&new], &options()));
    first_refusal(answer, |_| false)
        .map_err(|error| cluster.failed(&format!("adding partitions to {topic}"), error))
}

/// Sets a topic's settings. The request that rdkafka offers replaces all of a topic's own settings, so those
/// that it has are sent along; where one of them is hidden, it is left to a person.
fn set(
    cluster: &Cluster,
    topic: &str,
    settings: &[(&'static str, String)],
    found: Option<&Found>,
) -> Result<Vec<Done>, TopicsError> {
    let own = found.and_then(|found| found.settings.as_ref()).into_iter().flatten();
    let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
    for (key, setting) in own.filter(|(_, setting)| setting.is_own) {
        let Some(value) = &setting.value else {
            return Ok(settings.iter().map(|(key, value)| by_hand(topic, key, value)).collect());
        };
        alter = alter.set(key, value);
    }
    for (key, value) in settings {
        alter = alter.set(key, value);
    }
    let answer = cluster.ask(cluster.client.alter_configs([&alter], &options()));
    let refused = answer.and_then(|results| {
        let refusal = results.into_iter().find_map(Result::err);
        refusal.map_or(Ok(()), |(_, code)| Err(KafkaError::AdminOp(code)))
    });
    refused.map_err(|error| cluster.failed(&format!("setting {topic}"), error))?;
    let done = |(key, value): &(&'static str, String)| Done::Set {
        key: (*key).to_owned(),
        value: value.clone(),
    };
    Ok(settings.iter().map(done).collect())
}

fn by_hand(topic: &str, key: &str, value: &str) -> Done {
    let mend = format!("run `{}`", alter_command(topic, key, value));
    Done::NotDone { why: "the topic has a hidden setting that would be lost".to_owned(), mend }
}

/// The first topic that was refused, as an error.
fn first_refusal(
    answer: Result<Vec<rdkafka::admin::TopicResult>, KafkaError>,
    is_fine: impl Fn(&RDKafkaErrorCode) -> bool,
) -> Result<(), KafkaError> {
    let refusal = answer?.into_iter().filter_map(Result::err).find(|(_, code)| !is_fine(code));
    refusal.map_or(Ok(()), |(_, code)| Err(KafkaError::AdminOp(code)))
}

/// A broker learns of a new topic or partition a moment after the controller made it.
fn wait_for(cluster: &Cluster, changes: &[Change]) -> Result<(), TopicsError> {
    let size = |change: &Change| match change.done {
        Done::Created { partitions } | Done::Widened { partitions } => {
            Some((change.topic.clone(), partitions))
        }
        Done::Set { .. } | Done::NotDone { .. } => None,
    };
    let new: Vec<_> = changes.iter().filter_map(size).collect();
    let start = Instant::now();
    while !new.is_empty() && !cluster.knows(&new)? && start.elapsed() < SPREAD_TIMEOUT {
        thread::sleep(SPREAD_PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{TopicNames, TopicsConfig, wanted};
    use super::*;

    const TIERS: [Duration; 1] = [Duration::from_secs(5)];

    fn steps_for(found: &BTreeMap<String, Found>, events: EventsTopic) -> Vec<Step> {
        let config = TopicsConfig::default();
        let mut wanted = wanted::wanted(&TopicNames::new(&config, &TIERS), &config, &TIERS, found);
        if let EventsTopic::Create { partitions } = events {
            wanted::give_partitions(&mut wanted, partitions);
        }
        steps(&wanted, &Plan::compare(&wanted, found), events)
    }

    fn created(steps: &[Step]) -> Vec<(&str, u32)> {
        let creations = steps.iter().filter_map(|step| match step {
            Step::Create { topic, partitions, .. } => Some((topic.as_str(), *partitions)),
            Step::Set { .. } | Step::Widen { .. } | Step::Leave { .. } => None,
        });
        creations.collect()
    }

    #[test]
    fn the_events_topic_is_left_to_its_owners() {
        let steps = steps_for(&BTreeMap::new(), EventsTopic::Leave);
        let left: Vec<_> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Leave { topic, .. } => Some(topic.as_str()),
                Step::Create { .. } | Step::Set { .. } | Step::Widen { .. } => None,
            })
            .collect();
        assert_eq!(left, ["campaign.actions", "barnabas.retry.5s"]);
        assert_eq!(created(&steps).len(), 5);
    }

    #[test]
    fn with_events_everything_is_made_and_tiers_follow() {
        let steps = steps_for(&BTreeMap::new(), EventsTopic::Create { partitions: 4 });
        let made = created(&steps);
        assert_eq!(made.len(), 7);
        assert!(
            made.contains(&("campaign.actions", 4)) && made.contains(&("barnabas.retry.5s", 4))
        );
    }

    #[test]
    fn settings_of_one_topic_are_one_step_and_theirs_are_none() {
        let found = BTreeMap::from([
            ("campaign.actions".to_owned(), Found::with(3, &[("cleanup.policy", "compact")])),
            ("barnabas.states".to_owned(), Found::with(6, &[("cleanup.policy", "delete")])),
        ]);
        let steps = steps_for(&found, EventsTopic::Leave);
        let set: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Set { .. })).collect();
        let [Step::Set { topic, settings }] = set.as_slice() else { panic!("{set:?}") };
        assert_eq!((topic.as_str(), settings.len()), ("barnabas.states", 5));
    }
}
