//! Looks into a topic: everything that it holds, and what a group has committed.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const QUESTION: Duration = Duration::from_secs(10);

/// A record, whole.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Option<String>,
    pub value: Vec<u8>,
    pub headers: BTreeMap<String, String>,
}

impl Entry {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A topic that is read from its beginning.
pub struct Log {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
    entries: Vec<Entry>,
}

impl Log {
    pub fn open(bootstrap: &str, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "looks-only")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), QUESTION).unwrap();
        let partitions = i32::try_from(metadata.topics()[0].partitions().len()).unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        list.set_all_offsets(Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        Self { consumer, topic: topic.to_owned(), partitions, entries: Vec::new() }
    }

    /// How many records the broker still holds: compaction leaves gaps, so they are read, not counted by offsets.
    pub fn held(&self) -> u64 {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, self.partitions - 1);
        list.set_all_offsets(Offset::Beginning).unwrap();
        self.consumer.assign(&list).unwrap();
        let ends: BTreeMap<i32, i64> = (0..self.partitions)
            .map(|partition| {
                let marks = self.consumer.fetch_watermarks(&self.topic, partition, QUESTION);
                (partition, marks.unwrap().1)
            })
            .filter(|&(_, high)| high > 0)
            .collect();
        let mut at = BTreeMap::new();
        let mut held = 0;
        while ends.iter().any(|(partition, end)| at.get(partition).is_none_or(|at| at + 1 < *end)) {
            let Some(record) = self.consumer.poll(Duration::from_secs(2)) else { break };
            let record = record.unwrap();
            at.insert(record.partition(), record.offset());
            held += 1;
        }
        held
    }

    /// All records that there are by now.
    pub fn read(&mut self) -> &[Entry] {
        let end: i64 = (0..self.partitions)
            .map(|partition| {
                let (low, high) =
                    self.consumer.fetch_watermarks(&self.topic, partition, QUESTION).unwrap();
                high - low
            })
            .sum();
        while i64::try_from(self.entries.len()).unwrap() < end {
            let Some(record) = self.consumer.poll(QUESTION) else { break };
            let record = record.unwrap();
            let headers = record.headers().map(|headers| {
                headers
                    .iter()
                    .map(|h| (h.key.to_owned(), text(h.value.unwrap_or_default())))
                    .collect()
            });
            self.entries.push(Entry {
                key: record.key().map(text),
                value: record.payload().unwrap_or_default().to_vec(),
                headers: headers.unwrap_or_default(),
            });
        }
        &self.entries
    }
}

/// The values of a topic of one partition that is written in transactions, without what was aborted.
pub fn committed_values(bootstrap: &str, topic: &str) -> Vec<Vec<u8>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "looks-only")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut values = Vec::new();
    loop {
        match consumer.poll(QUESTION).expect("an end is told, too") {
            Ok(record) => values.push(record.payload().unwrap_or_default().to_vec()),
            Err(KafkaError::PartitionEOF(_)) => return values,
            Err(error) => panic!("{topic}: {error}"),
        }
    }
}

/// What a group has committed for a topic: offset and metadata of each partition that has a commit.
pub fn committed(
    bootstrap: &str,
    group: &str,
    topic: &str,
    partitions: i32,
) -> BTreeMap<i32, (i64, String)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let committed = consumer.committed_offsets(list, QUESTION).unwrap();
    committed
        .elements()
        .iter()
        .filter_map(|element| {
            let Offset::Offset(offset) = element.offset() else { return None };
            Some((element.partition(), (offset, element.metadata().to_owned())))
        })
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
