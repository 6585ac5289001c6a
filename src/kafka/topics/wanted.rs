//! What every topic must be like: the table of the contract as data.
//!
//! States rules with their reasons; never looks at a cluster beyond the events topic's size, which
//! ours follow. [`super::Topics`] calls [`wanted`], and the comparison reads the rules.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::Found;
use super::difference::Severity;
use super::{TopicNames, TopicsConfig};

/// Partitions of the compacted topics: enough to load them in parallel, few enough to follow at no cost.
const COMPACTED_PARTITIONS: u32 = 6;
/// Partitions of the topics that are only written here.
const WRITTEN_PARTITIONS: u32 = 6;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a new events topic keeps its records: Kafka's own default.
const EVENTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// A retry record outlives its delay by this: long enough to mend whatever stopped the service.
const RETRY_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Below this a long weekend of standstill deletes what waits.
const RETRY_KEPT_LEAST: Duration = DAY;
const DEAD_LETTERS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const ATTEMPTS_KEPT: Duration = Duration::from_secs(3 * 24 * 3600);
const AUDIT_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// What our headers add to an event in a tier or the dead letters, with room to spare.
const HEADER_BYTES: u64 = 65_536;
/// A broker's own `max.message.bytes`, where the events topic's cannot be read.
const BROKER_MAX_MESSAGE_BYTES: u64 = 1_048_588;
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// One topic as it should be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) role: Role,
    /// What is missed where the topic is missing.
    pub(super) holds: &'static str,
    /// How many it is made with; a tier has none while the events topic is unknown.
    pub(super) partitions: Option<u32>,
    pub(super) rules: Vec<Rule>,
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Theirs: never made or changed unasked.
    Events,
    /// Its records are needed to deliver.
    Needed,
    /// Follows the events topic's partitions.
    Tier,
    /// Kept for people; nothing is delivered from it.
    Kept,
}

/// One setting of a topic.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) key: &'static str,
    /// What `create` sets.
    pub(super) value: String,
    pub(super) accepts: Accepts,
    /// Below (or other than) what `serve` refuses to start.
    pub(super) refuses: Refuses,
    pub(super) reason: &'static str,
}

/// Which values are as good as the rule's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    Exactly,
    /// Numbers; -1 is without limit.
    AtLeast,
}

/// Which values are refused at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refuses {
    Nothing,
    /// Whatever is not accepted.
    AllElse,
    /// Numbers below this.
    Below(u64),
}

impl Rule {
    fn exactly(key: &'static str, value: &str, refuses: Refuses, reason: &'static str) -> Self {
        Self { key, value: value.to_owned(), accepts: Accepts::Exactly, refuses, reason }
    }

    fn at_least(key: &'static str, value: u64, refuses: Refuses, reason: &'static str) -> Self {
        Self { key, value: value.to_string(), accepts: Accepts::AtLeast, refuses, reason }
    }

    /// What a new topic is given: the rule's value, but never a bare minimum for what belongs to others.
    pub(super) fn on_creation(&self, role: Role) -> String {
        match (role, self.accepts) {
            (Role::Events, Accepts::AtLeast) => {
                let week = millis(EVENTS_KEPT);
                number(&self.value).map_or(week, |least| least.max(week)).to_string()
            }
            (Role::Events | Role::Needed | Role::Tier | Role::Kept, _) => self.value.clone(),
        }
    }

    /// How bad a value is; `None` where it is as good as the rule's.
    pub(super) fn judge(&self, is: &str) -> Option<Severity> {
        let accepted = match self.accepts {
            Accepts::Exactly => is == self.value,
            Accepts::AtLeast => number(is) >= number(&self.value),
        };
        if accepted {
            return None;
        }
        let refused = match self.refuses {
            Refuses::Nothing => false,
            Refuses::AllElse => true,
            Refuses::Below(least) => number(is) < Some(least),
        };
        Some(if refused { Severity::LosesData } else { Severity::Advice })
    }
}

/// A broker's number, with -1 (no limit) above all others; what is no number is below all.
fn number(text: &str) -> Option<u64> {
    match text.trim().parse::<i64>().ok()? {
        -1 => Some(u64::MAX),
        number => Some(u64::try_from(number).unwrap_or(0)),
    }
}

/// Every topic as it should be, given what the events topic is like.
pub(super) fn wanted(
    names: &TopicNames,
    config: &TopicsConfig,
    tiers: &[Duration],
    found: &BTreeMap<String, Found>,
) -> Vec<Wanted> {
    let events = found.get(&names.events);
    let largest = events.and_then(|events| events.setting(MAX_MESSAGE_BYTES)).and_then(number);
    let room = largest.unwrap_or(BROKER_MAX_MESSAGE_BYTES).saturating_add(HEADER_BYTES);
    let mut wanted = vec![
        events_topic(names, config),
        compacted(
            &names.connections,
            "it holds the connections",
            "connections would be deleted and their events not delivered",
        ),
        compacted(
            &names.states,
            "it holds automatic deactivations",
            "deactivations would be deleted and dead endpoints called again",
        ),
    ];
    let partitions = events.map(|events| events.partitions);
    for (name, &delay) in names.retry.iter().zip(tiers) {
        wanted.push(tier(name, delay, room, partitions));
    }
    wanted.push(dead_letters(&names.dead_letters, room));
    wanted.push(attempts(&names.attempts));
    wanted.push(audit(&names.audit));
    wanted
}

/// Tells the events topic and the tiers how many partitions to be made with.
pub(super) fn give_partitions(wanted: &mut [Wanted], partitions: u32) {
    for topic in wanted {
        match topic.role {
            Role::Events | Role::Tier if topic.partitions.is_none() => {
                topic.partitions = Some(partitions);
            }
            Role::Events | Role::Tier | Role::Needed | Role::Kept => {}
        }
    }
}

fn events_topic(names: &TopicNames, config: &TopicsConfig) -> Wanted {
    let least = u64::from(config.min_events_retention_hours) * 3_600_000;
    let rules = vec![
        Rule::at_least(
            "retention.ms",
            least,
            Refuses::AllElse,
            "events would be deleted before a service that stood still has read them",
        ),
        Rule::exactly(
            "cleanup.policy",
            "delete",
            Refuses::AllElse,
            "of all events with one key only the last would be kept",
        ),
    ];
    let holds = "the events come from it";
    Wanted { name: names.events.clone(), role: Role::Events, holds, partitions: None, rules }
}

fn compacted(name: &str, holds: &'static str, loss: &'static str) -> Wanted {
    let rules = vec![
        Rule::exactly("cleanup.policy", "compact", Refuses::AllElse, loss),
        Rule::exactly(
            "segment.ms",
            &millis(HOUR).to_string(),
            Refuses::Nothing,
            "old revisions are only removed from closed segments",
        ),
        Rule::exactly(
            "min.cleanable.dirty.ratio",
            "0.1",
            Refuses::Nothing,
            "the less has been superseded, the faster the table loads",
        ),
        Rule::exactly(
            "max.compaction.lag.ms",
            &millis(DAY).to_string(),
            Refuses::Nothing,
            "a superseded secret is gone from disk within a day",
        ),
        Rule::at_least(
            "delete.retention.ms",
            millis(DAY),
            Refuses::Nothing,
            "a reader that is slower than this never learns of a deletion",
        ),
    ];
    Wanted {
        name: name.to_owned(),
        holds,
        role: Role::Needed,
        partitions: Some(COMPACTED_PARTITIONS),
        rules,
    }
}

fn tier(name: &str, delay: Duration, room: u64, partitions: Option<u32>) -> Wanted {
    let rules = vec![
        not_compacted("its records have no key: a compacted topic refuses them"),
        Rule::at_least(
            "retention.ms",
            millis(delay + RETRY_KEPT),
            Refuses::Below(millis(delay + RETRY_KEPT_LEAST)),
            "deliveries would be deleted while they wait",
        ),
        Rule::exactly(
            "retention.bytes",
            "-1",
            Refuses::AllElse,
            "a backlog would be deleted while it waits",
        ),
        has_room(room),
    ];
    let holds = "failed deliveries wait in it";
    Wanted { name: name.to_owned(), holds, role: Role::Tier, partitions, rules }
}

fn dead_letters(name: &str, room: u64) -> Wanted {
    let rules = vec![
        not_compacted("of all dead letters of a connection only the last would be kept"),
        kept(DEAD_LETTERS_KEPT, "dead letters would be gone before somebody redrives them"),
        has_room(room),
    ];
    let holds = "what is given up is kept in it";
    Wanted {
        name: name.to_owned(),
        holds,
        role: Role::Needed,
        partitions: Some(WRITTEN_PARTITIONS),
        rules,
    }
}

fn attempts(name: &str) -> Wanted {
    let rules = vec![
        Rule::exactly("cleanup.policy", "delete", Refuses::Nothing, "every attempt is a record"),
        kept(ATTEMPTS_KEPT, "attempts would be gone before somebody asks for them"),
        Rule::exactly(
            "compression.type",
            "zstd",
            Refuses::Nothing,
            "attempts are many and alike: compressed they are a tenth",
        ),
    ];
    let holds = "the attempt log goes there";
    Wanted {
        name: name.to_owned(),
        holds,
        role: Role::Kept,
        partitions: Some(WRITTEN_PARTITIONS),
        rules,
    }
}

fn audit(name: &str) -> Wanted {
    let rules = vec![
        Rule::exactly("cleanup.policy", "delete", Refuses::Nothing, "every change is a record"),
        kept(AUDIT_KEPT, "changes would be gone before somebody asks for them"),
    ];
    let holds = "the audit log goes there";
    // One partition keeps the changes in the order in which they were made.
    Wanted { name: name.to_owned(), holds, role: Role::Kept, partitions: Some(1), rules }
}

fn not_compacted(loss: &'static str) -> Rule {
    Rule::exactly("cleanup.policy", "delete", Refuses::AllElse, loss)
}

fn kept(time: Duration, loss: &'static str) -> Rule {
    Rule::at_least("retention.ms", millis(time), Refuses::Nothing, loss)
}

fn has_room(room: u64) -> Rule {
    Rule::at_least(
        MAX_MESSAGE_BYTES,
        room,
        Refuses::Nothing,
        "the largest events would not fit with their headers, and their partition would stand still",
    )
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_more_than_any_number() {
        let rule = kept(DAY, "x");
        assert_eq!(rule.judge("-1"), None);
        assert_eq!(rule.judge("86400000"), None);
        assert_eq!(rule.judge("86399999"), Some(Severity::Advice));
        assert_eq!(rule.judge("much"), Some(Severity::Advice));
    }

    #[test]
    fn a_tier_between_a_day_and_a_week_is_only_advice() {
        let delay = Duration::from_secs(30);
        let topic = tier("t", delay, 1, None);
        let rule = topic.rules.iter().find(|rule| rule.key == "retention.ms").unwrap();
        assert_eq!(rule.judge(&millis(delay + RETRY_KEPT).to_string()), None);
        assert_eq!(rule.judge(&millis(delay + DAY).to_string()), Some(Severity::Advice));
        assert_eq!(rule.judge(&(millis(delay + DAY) - 1).to_string()), Some(Severity::LosesData));
    }

    #[test]
    fn only_missing_partitions_are_given() {
        let mut topics = vec![tier("a", DAY, 1, Some(3)), tier("b", DAY, 1, None), audit("c")];
        give_partitions(&mut topics, 12);
        let partitions: Vec<_> = topics.iter().map(|topic| topic.partitions).collect();
        assert_eq!(partitions, [Some(3), Some(12), Some(1)]);
    }
}
