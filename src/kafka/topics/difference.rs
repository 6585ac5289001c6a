//! How the cluster differs from what is wanted, and whether the service may start on it.
//!
//! Pure comparison: no cluster is asked and nothing is changed. [`super::Topics`] calls it; commands
//! print what it finds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::cluster::{Found, TopicsError};
use super::tier_name;
use super::wanted::{Accepts, Role, Rule, Wanted};

const HOUR_MILLIS: u64 = 3_600_000;

/// How bad a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth mending; the service starts.
    Advice,
    /// Deliveries could be lost; `serve` refuses to start.
    LosesData,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// The topic is not there, or this user may not see it.
    Missing,
    /// A tier's topic whose delay is not in the schedule.
    Unread,
    /// Its settings may not be read.
    Unreadable,
    /// Its records may not be read.
    Forbidden,
    /// A setting.
    Setting {
        /// Its name.
        key: &'static str,
        /// What it is.
        is: String,
        /// What it should be, or be at least.
        wants: String,
        /// What `topics create` would set it to.
        value: String,
    },
    /// Fewer partitions than wanted.
    Partitions {
        /// How many there are.
        is: u32,
        /// How many there should be.
        wants: u32,
    },
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The topic.
    pub topic: String,
    /// What differs.
    #[serde(flatten)]
    pub what: What,
    /// How bad it is.
    pub severity: Severity,
    /// Why it matters.
    pub reason: String,
    /// What to do, in one line.
    pub mend: String,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "missing, or hidden from this user"),
            Self::Unread => write!(f, "not in the schedule"),
            Self::Forbidden => write!(f, "this user may not read it"),
            Self::Unreadable => write!(f, "settings unreadable"),
            Self::Setting { key, is, wants, .. } => write!(f, "{key} is {is}, wants {wants}"),
            Self::Partitions { is, wants } => write!(f, "{is} partitions, wants {wants}"),
        }
    }
}

impl Difference {
    /// A topic that the service has to read and its user may not.
    pub(super) fn forbidden(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            what: What::Forbidden,
            severity: Severity::LosesData,
            reason: "what is in it would wait for ever".to_owned(),
            mend: "give this user the right Read on it (deploy/README.md, Least privilege)"
                .to_owned(),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}; {}", self.topic, self.what, self.reason, self.mend)
    }
}

/// The comparison of a whole cluster.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Everything that differs, topic by topic.
    pub differences: Vec<Difference>,
    /// The events topic's partitions, where it is there.
    pub events_partitions: Option<u32>,
    /// The fewest partitions of any tier's topic, where all are there.
    pub retry_partitions: Option<u32>,
}

/// What the service needs to know of topics that it may start on.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The events topic's partitions.
    pub events_partitions: u32,
    /// Every tier's topic has at least so many.
    pub retry_partitions: u32,
    /// What is worth mending.
    pub advice: Vec<Difference>,
}

impl Plan {
    /// Compares what was found with what is wanted.
    pub(super) fn compare(wanted: &[Wanted], found: &BTreeMap<String, Found>) -> Self {
        let mut differences = Vec::new();
        for topic in wanted {
            match found.get(&topic.name) {
                None => differences.push(missing(topic)),
                Some(is) => differences.extend(differing(topic, is)),
            }
        }
        let is_wanted = |name: &&String| wanted.iter().any(|topic| topic.name == **name);
        differences.extend(found.keys().filter(|name| !is_wanted(name)).map(|name| unread(name)));
        let partitions = |topic: &Wanted| found.get(&topic.name).map(|topic| topic.partitions);
        let of_role = |role| wanted.iter().filter(move |topic| topic.role == role);
        Self {
            differences,
            events_partitions: of_role(Role::Events).find_map(partitions),
            // `None` is less than any number: one missing tier makes it unknown.
            retry_partitions: of_role(Role::Tier).map(partitions).min().flatten(),
        }
    }

    /// Whether a topic is not there.
    pub(super) fn lacks(&self, topic: &str) -> bool {
        self.differences.iter().any(|one| one.topic == topic && one.what == What::Missing)
    }

    /// Whether the service may start.
    pub(super) fn check(self) -> Result<Ready, TopicsError> {
        let (refused, advice): (Vec<_>, Vec<_>) = self
            .differences
            .into_iter()
            .partition(|difference| difference.severity == Severity::LosesData);
        match (self.events_partitions, self.retry_partitions) {
            (Some(events_partitions), Some(retry_partitions)) if refused.is_empty() => {
                Ok(Ready { events_partitions, retry_partitions, advice })
            }
            _ => Err(TopicsError::Refused(refused)),
        }
    }
}

fn missing(topic: &Wanted) -> Difference {
    let by_us = "run `barnabas topics create`";
    let by_them =
        "let its owners create it, or run `barnabas topics create --with-events --partitions N`";
    let (severity, mend) = match topic.role {
        Role::Events => (Severity::LosesData, by_them),
        Role::Needed | Role::Tier => (Severity::LosesData, by_us),
        Role::Kept => (Severity::Advice, by_us),
    };
    difference(topic, What::Missing, severity, topic.holds, mend.to_owned())
}

/// A tier that an earlier schedule had.
fn unread(name: &str) -> Difference {
    Difference {
        topic: name.to_owned(),
        what: What::Unread,
        severity: Severity::Advice,
        reason: "nobody reads it: what still waits in it is not delivered".to_owned(),
        mend: "keep its delay in retry.schedule until it is empty, then delete the topic"
            .to_owned(),
    }
}

fn differing(topic: &Wanted, is: &Found) -> Vec<Difference> {
    let mut differences = Vec::new();
    let wanted_partitions = topic.partitions.filter(|_| topic.role == Role::Tier);
    if let Some(wants) = wanted_partitions.filter(|&wants| is.partitions < wants) {
        let what = What::Partitions { is: is.partitions, wants };
        let reason = "a backlog is worked off by fewer instances than events are";
        let mend = "run `barnabas topics create`".to_owned();
        differences.push(difference(topic, what, Severity::Advice, reason, mend));
    }
    if is.settings.is_none() {
        let reason = "nobody can say whether it is set up safely";
        let mend = "allow this user to describe the topic's configuration".to_owned();
        differences.push(difference(topic, What::Unreadable, Severity::Advice, reason, mend));
        return differences;
    }
    for rule in &topic.rules {
        let value = is.setting(rule.key).unwrap_or("not set");
        let Some(severity) = rule.judge(value) else { continue };
        let mend = mend_setting(topic, rule);
        differences.push(difference(topic, setting(rule, value), severity, rule.reason, mend));
    }
    differences
}

fn difference(
    topic: &Wanted,
    what: What,
    severity: Severity,
    reason: &str,
    mend: String,
) -> Difference {
    Difference { topic: topic.name.clone(), what, severity, reason: reason.to_owned(), mend }
}

fn setting(rule: &Rule, is: &str) -> What {
    let least = match rule.accepts {
        Accepts::Exactly => "",
        Accepts::AtLeast => "at least ",
    };
    What::Setting {
        key: rule.key,
        is: readable(rule.key, is),
        wants: format!("{least}{}", readable(rule.key, &rule.value)),
        value: rule.value.clone(),
    }
}

fn mend_setting(topic: &Wanted, rule: &Rule) -> String {
    let by_hand = alter_command(&topic.name, rule.key, &rule.value);
    match topic.role {
        Role::Events if rule.key == "retention.ms" => {
            format!("let its owners run `{by_hand}`, or lower topics.min_events_retention_hours")
        }
        Role::Events => format!("let its owners run `{by_hand}`"),
        Role::Needed | Role::Tier | Role::Kept => "run `barnabas topics create`".to_owned(),
    }
}

/// What to run where it cannot or shall not be done from here.
pub(super) fn alter_command(topic: &str, key: &str, value: &str) -> String {
    format!(
        "kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {key}={value}"
    )
}

/// A setting's value with the time it stands for.
fn readable(key: &str, value: &str) -> String {
    match value.parse::<i64>() {
        Ok(-1) => "-1 (no limit)".to_owned(),
        Ok(number) if key.ends_with(".ms") => {
            format!("{value} ({})", hours_and_rest(u64::try_from(number).unwrap_or(0)))
        }
        Ok(_) | Err(_) => value.to_owned(),
    }
}

/// `604805000` is 168h 5s.
fn hours_and_rest(millis: u64) -> String {
    let (hours, rest) = (millis / HOUR_MILLIS, millis % HOUR_MILLIS);
    let rest_name = tier_name(Duration::from_millis(rest));
    match (hours, rest) {
        (0, _) => rest_name,
        (_, 0) => format!("{hours}h"),
        (_, _) => format!("{hours}h {rest_name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TopicNames, TopicsConfig, wanted};
    use super::*;

    const TIERS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(7200)];

    /// A cluster on which everything is as `create` makes it.
    fn cluster() -> BTreeMap<String, Found> {
        let events = Found::with(3, &[("max.message.bytes", "1048588")]);
        let mut found = BTreeMap::from([("campaign.actions".to_owned(), events)]);
        for topic in wanted_of(&found) {
            let mut settings: Vec<_> =
                topic.rules.iter().map(|rule| (rule.key, rule.value.as_str())).collect();
            settings.push(("max.message.bytes", "1114124"));
            found.insert(topic.name.clone(), Found::with(topic.partitions.unwrap_or(3), &settings));
        }
        found.get_mut("campaign.actions").unwrap().set("max.message.bytes", "1048588");
        found
    }

    fn wanted_of(found: &BTreeMap<String, Found>) -> Vec<Wanted> {
        let config = TopicsConfig::default();
        wanted::wanted(&TopicNames::new(&config, &TIERS), &config, &TIERS, found)
    }

    fn plan(found: &BTreeMap<String, Found>) -> Plan {
        Plan::compare(&wanted_of(found), found)
    }

    #[test]
    fn what_create_makes_has_no_difference() {
        let plan = plan(&cluster());
        assert_eq!(plan.differences, []);
        let ready = plan.check().unwrap();
        assert_eq!((ready.events_partitions, ready.retry_partitions), (3, 3));
    }

    #[test]
    fn an_empty_cluster_misses_everything() {
        let plan = plan(&BTreeMap::new());
        assert_eq!(plan.differences.len(), 8);
        assert!(plan.differences.iter().all(|difference| difference.what == What::Missing));
        let Err(TopicsError::Refused(refused)) = plan.check() else { panic!("started on nothing") };
        assert_eq!(refused.len(), 6, "attempts and audit are only advice");
    }

    #[test]
    fn what_could_lose_data_is_refused() {
        for (topic, key, value) in [
            ("barnabas.connections", "cleanup.policy", "delete"),
            ("barnabas.states", "cleanup.policy", "compact,delete"),
            ("barnabas.retry.2h", "retention.ms", "3600000"),
            ("barnabas.retry.5s", "retention.bytes", "1000000"),
            ("barnabas.retry.5s", "cleanup.policy", "compact"),
            ("barnabas.dead-letters", "cleanup.policy", "compact"),
            ("campaign.actions", "retention.ms", "3600000"),
            ("campaign.actions", "cleanup.policy", "compact"),
        ] {
            let mut found = cluster();
            found.get_mut(topic).unwrap().set(key, value);
            let Err(TopicsError::Refused(refused)) = plan(&found).check() else {
                panic!("{topic} {key}={value} was accepted")
            };
            assert_eq!(refused.len(), 1, "{refused:?}");
            assert_eq!(refused[0].topic, topic);
        }
    }

    #[test]
    fn what_only_costs_is_advice() {
        for (topic, key, value) in [
            ("barnabas.connections", "segment.ms", "604800000"),
            ("barnabas.retry.5s", "max.message.bytes", "1048588"),
            ("barnabas.dead-letters", "retention.ms", "604800000"),
            ("barnabas.attempts", "compression.type", "producer"),
        ] {
            let mut found = cluster();
            found.get_mut(topic).unwrap().set(key, value);
            let ready = plan(&found).check().unwrap();
            assert_eq!(ready.advice.len(), 1, "{topic} {key}={value}");
        }
    }

    #[test]
    fn a_narrow_tier_is_told_and_bounds_the_writer() {
        let mut found = cluster();
        found.get_mut("barnabas.retry.5s").unwrap().partitions = 1;
        let ready = plan(&found).check().unwrap();
        assert_eq!(ready.retry_partitions, 1);
        assert_eq!(ready.advice[0].what, What::Partitions { is: 1, wants: 3 });
    }

    #[test]
    fn a_tier_that_nobody_reads_is_told() {
        let mut found = cluster();
        found.insert("barnabas.retry.9s".to_owned(), Found::with(3, &[]));
        let ready = plan(&found).check().unwrap();
        assert_eq!((ready.advice.len(), &ready.advice[0].what), (1, &What::Unread));
    }

    #[test]
    fn settings_that_may_not_be_read_are_no_reason_to_refuse() {
        let mut found = cluster();
        found.get_mut("barnabas.states").unwrap().settings = None;
        assert_eq!(plan(&found).check().unwrap().advice[0].what, What::Unreadable);
    }

    #[test]
    fn times_are_told_in_units() {
        assert_eq!(readable("retention.ms", "259200000"), "259200000 (72h)");
        assert_eq!(readable("retention.ms", "604805000"), "604805000 (168h 5s)");
        assert_eq!(readable("retention.ms", "5000"), "5000 (5s)");
        assert_eq!(readable("retention.ms", "-1"), "-1 (no limit)");
        assert_eq!(readable("cleanup.policy", "compact"), "compact");
    }
}
