//! Follows every topic of a run from its beginning: the events, the tiers, the dead letters.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::Scene;
use crate::campaign::{EventNo, Fate, PROJECTS, SLOTS};
use crate::observation::{Observation, Pair, Partition, Place};

const QUESTION: Duration = Duration::from_secs(2);
/// How long it may take to read on to the ends.
const PATIENCE: Duration = Duration::from_secs(20);
/// `topics create` makes the dead letters with so many.
const DEAD_LETTER_PARTITIONS: i32 = 6;

pub(super) struct Tail {
    consumer: BaseConsumer,
    topics: Vec<String>,
    dead_letters: String,
    /// The next offset of each partition.
    next: BTreeMap<(String, i32), i64>,
}

impl Tail {
    pub(super) fn open(scene: &Scene) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &scene.bootstrap)
            .set("group.id", "tail")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.queue.backoff.ms", "10")
            .set("reconnect.backoff.max.ms", "500")
            .set("auto.offset.reset", "earliest")
            .set("log_level", "2")
            .create()
            .expect("a consumer");
        let mut next = BTreeMap::new();
        for topic in &scene.topics {
            (0..scene.partitions).for_each(|number| {
                next.insert((topic.clone(), number), 0);
            });
        }
        (0..DEAD_LETTER_PARTITIONS).for_each(|number| {
            next.insert((scene.dead_letters.clone(), number), 0);
        });
        let mut list = TopicPartitionList::new();
        for (topic, number) in next.keys() {
            list.add_partition_offset(topic, *number, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("an assignment");
        Self {
            consumer,
            topics: scene.topics.clone(),
            dead_letters: scene.dead_letters.clone(),
            next,
        }
    }

    /// What a record says that is there; `None` if there is none now.
    pub(super) fn next(&mut self) -> Option<Observation> {
        self.poll(Duration::ZERO)
    }

    fn poll(&mut self, timeout: Duration) -> Option<Observation> {
        // An error is the broker's absence; what it holds comes when it is back.
        let record = self.consumer.poll(timeout)?.ok()?;
        let key = (record.topic().to_owned(), record.partition());
        let observation = observe(&record, &self.topics, &self.dead_letters);
        self.next.insert(key, record.offset() + 1);
        Some(observation)
    }

    /// Reads on to the ends that the partitions have now. Answers whether they were reached.
    pub(super) fn reach_ends(&mut self, mut each: impl FnMut(Observation)) -> bool {
        let mut ends = BTreeMap::new();
        for (topic, number) in self.next.keys() {
            let Ok((_, end)) = self.consumer.fetch_watermarks(topic, *number, QUESTION) else {
                return false;
            };
            ends.insert((topic.clone(), *number), end);
        }
        let started = Instant::now();
        while ends.iter().any(|(key, end)| self.next[key] < *end) {
            if started.elapsed() > PATIENCE {
                return false;
            }
            if let Some(observation) = self.poll(Duration::from_millis(100)) {
                each(observation);
            }
        }
        true
    }
}

fn observe(record: &BorrowedMessage<'_>, topics: &[String], dead_letters: &str) -> Observation {
    let observed = if record.topic() == dead_letters {
        dead_letter(record)
    } else {
        let topic = topics.iter().position(|name| name == record.topic()).expect("one of ours");
        let partition = Partition {
            topic: u16::try_from(topic).expect("a few topics"),
            number: record.partition(),
        };
        let place = Place { partition, offset: record.offset() };
        if topic == 0 { event(record, place) } else { waiting(record, place) }
    };
    observed.unwrap_or_else(|| {
        let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
        Observation::Phantom(format!("a record that cannot be: {topic}[{partition}] at {offset}"))
    })
}

fn event(record: &BorrowedMessage<'_>, place: Place) -> Option<Observation> {
    let number = std::str::from_utf8(record.key()?).ok()?.parse().ok()?;
    Some(Observation::Event { place, event: EventNo(number), at: written_at(record) })
}

fn waiting(record: &BorrowedMessage<'_>, place: Place) -> Option<Observation> {
    let is_draining = header(record, "barnabas-reason") == Some("draining");
    Some(Observation::Waiting { place, pair: pair(record)?, at: written_at(record), is_draining })
}

fn dead_letter(record: &BorrowedMessage<'_>) -> Option<Observation> {
    let at = written_at(record);
    if header(record, "barnabas-connection").is_some() {
        return Some(Observation::DeadLetter { pair: pair(record)?, at });
    }
    let number = header(record, "barnabas-origin-partition")?.parse().ok()?;
    let offset = header(record, "barnabas-origin-offset")?.parse().ok()?;
    let place = Place { partition: Partition { topic: 0, number }, offset };
    Some(Observation::DeadRecord { place, at })
}

/// Whose delivery it is; `None` also if its value is not its event's, byte for byte.
fn pair(record: &BorrowedMessage<'_>) -> Option<Pair> {
    let event = EventNo::parse(header(record, "barnabas-webhook-id")?)?;
    let project: u32 = header(record, "barnabas-project")?.parse().ok()?;
    let slot = header(record, "barnabas-connection")?.strip_prefix('c')?.parse().ok()?;
    let is_one = project < PROJECTS
        && project == event.project()
        && slot < SLOTS.len()
        && event.fate() == Fate::Deliveries
        && event.is_wanted_by(slot)
        && event.value().as_deref() == record.payload();
    is_one.then_some(Pair { event, slot })
}

fn header<'a>(record: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let headers = record.headers()?;
    let value = headers.iter().filter(|header| header.key == name).last()?.value?;
    std::str::from_utf8(value).ok()
}

fn written_at(record: &BorrowedMessage<'_>) -> u64 {
    record.timestamp().to_millis().and_then(|millis| millis.try_into().ok()).unwrap_or(0)
}
