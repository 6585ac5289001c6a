//! A consumer group seen from outside: what it has committed, how much there is, who is in it.
//!
//! It joins nothing and commits nothing. All calls block, each with an end; never call them on a runtime's worker.

use std::fmt;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

/// How long one question to the broker may take.
const QUESTION: Duration = Duration::from_secs(5);

/// Why a group cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("the group {group} cannot be looked at: {source}")]
pub struct GroupError {
    /// Which.
    group: String,
    /// What librdkafka or the broker says.
    source: KafkaError,
}

/// How far a group is in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The partition's number.
    pub partition: i32,
    /// The first offset that is there.
    pub low: i64,
    /// The offset that the next record gets.
    pub high: i64,
    /// What the group has committed; `None` if nothing yet.
    pub committed: Option<i64>,
}

impl Progress {
    /// What the group reads next.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.committed.map_or(self.low, |committed| committed.max(self.low))
    }

    /// Records that are not settled.
    #[must_use]
    pub fn lag(&self) -> u64 {
        u64::try_from(self.high - self.next()).unwrap_or(0)
    }
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name that the broker gave it.
    pub id: String,
    /// What it calls itself.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// How many partitions it has.
    pub partitions: u32,
}

/// A group's state, as the broker calls it, and its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Such as `Stable`; empty if the broker does not say, as of a group that speaks the consumer protocol of KIP-848.
    pub state: String,
    /// Its members.
    pub members: Vec<Member>,
}

/// A look at one group.
pub struct GroupView {
    consumer: BaseConsumer,
    group: String,
}

impl fmt::Debug for GroupView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupView").field("group", &self.group).finish_non_exhaustive()
    }
}

impl GroupView {
    /// Connects in the background. `reader` is a client's settings without a group.
    ///
    /// # Errors
    /// If librdkafka refuses the settings.
    pub fn open(reader: &ClientConfig, group: &str) -> Result<Self, GroupError> {
        let mut config = reader.clone();
        config.set("group.id", group);
        let consumer =
            config.create().map_err(|source| GroupError { group: group.to_owned(), source })?;
        Ok(Self { consumer, group: group.to_owned() })
    }

    /// How far it is in each of these partitions of a topic.
    ///
    /// # Errors
    /// If the broker does not say.
    pub fn progress(&self, topic: &str) -> Result<Vec<Progress>, GroupError> {
        let fail = |source| GroupError { group: self.group.clone(), source };
        let metadata = self.consumer.fetch_metadata(Some(topic), QUESTION).map_err(fail)?;
        let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let count = i32::try_from(found).unwrap_or(0);
        let mut list = TopicPartitionList::new();
        for partition in 0..count {
            list.add_partition(topic, partition);
        }
        let committed = self.consumer.committed_offsets(list, QUESTION).map_err(fail)?;
        (0..count)
            .map(|partition| {
                let (low, high) =
                    self.consumer.fetch_watermarks(topic, partition, QUESTION).map_err(fail)?;
                let found = committed.find_partition(topic, partition);
                let committed = found.and_then(|found| found.offset().to_raw());
                let committed = committed.filter(|&offset| offset >= 0);
                Ok(Progress { partition, low, high, committed })
            })
            .collect()
    }

    /// Who is in it.
    ///
    /// # Errors
    /// If the broker does not say.
    pub fn membership(&self) -> Result<Membership, GroupError> {
        let fail = |source| GroupError { group: self.group.clone(), source };
        let list = self.consumer.fetch_group_list(Some(&self.group), QUESTION).map_err(fail)?;
        let Some(group) = list.groups().iter().find(|group| group.name() == self.group) else {
            return Ok(Membership::default());
        };
        let members = group.members().iter().map(|member| Member {
            id: member.id().to_owned(),
            client_id: member.client_id().to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            partitions: member.assignment().and_then(assigned).unwrap_or(0),
        });
        Ok(Membership { state: group.state().to_owned(), members: members.collect() })
    }
}

/// How many partitions an assignment of the classic protocol names: a version, then topics with their partitions.
fn assigned(bytes: &[u8]) -> Option<u32> {
    let mut rest = bytes.get(2..)?;
    let topics = take_i32(&mut rest)?;
    let mut partitions = 0;
    for _ in 0..topics {
        let name_bytes = usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
        rest = rest.get(2 + name_bytes..)?;
        let count = u32::try_from(take_i32(&mut rest)?).ok()?;
        rest = rest.get(usize::try_from(count).ok()?.checked_mul(4)?..)?;
        partitions += count;
    }
    Some(partitions)
}

fn take_i32(rest: &mut &[u8]) -> Option<i32> {
    let number = i32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
    *rest = &rest[4..];
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_assignment_is_counted_over_its_topics() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2];
        for (name, partitions) in [("a", 3_i32), ("bc", 1)] {
            bytes.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(partitions.to_be_bytes());
            (0..partitions).for_each(|number| bytes.extend(number.to_be_bytes()));
        }
        assert_eq!(assigned(&bytes), Some(4));
        assert_eq!(assigned(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_lag_counts_from_what_is_still_there() {
        let progress = |committed| Progress { partition: 0, low: 10, high: 30, committed };
        assert_eq!(progress(None).lag(), 20);
        assert_eq!(progress(Some(25)).lag(), 5);
        assert_eq!(progress(Some(5)).lag(), 20, "what retention has deleted is no lag");
        assert_eq!(progress(Some(31)).lag(), 0);
    }

    proptest! {
        #[test]
        fn no_assignment_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = assigned(&bytes);
        }
    }
}
