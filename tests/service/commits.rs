//! What a commit says beyond its offset: it survives a crash, and a broker may refuse it.

use std::collections::BTreeMap;
use std::time::Duration;

use barnabas::demo::receiver::Behaviour;
use barnabas::engine::offsets::{Admission, OffsetTracker};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::json;

use crate::support::eventually;
use crate::support::kafka::Broker;
use crate::support::log::committed;
use crate::support::stage::{Stage, event};

/// What `topics create` is asked for by the stage.
const PARTITIONS: i32 = 4;
/// The partition in which one record stays open.
const HELD: i32 = 0;
/// Records before the one that stays open, and after it in each partition.
const BEFORE: u64 = 10;
const AFTER: u64 = 100;
const QUESTION: Duration = Duration::from_secs(10);

/// `fast` takes the opens, `stuck` the one click; its attempt hangs for longer than the test looks.
fn hold_one_record(stage: &Stage, timeout_seconds: u32) {
    let delivery = |seconds| json!({"rate_per_second": 10000, "burst": 10000, "max_in_flight": 64, "timeout_seconds": seconds});
    stage.connect("fast", json!({"events": ["message_open"], "delivery": delivery(5)}));
    stage.connect(
        "stuck",
        json!({"events": ["message_click"], "delivery": delivery(timeout_seconds)}),
    );
    stage.receiver.set_behaviour("/stuck", Behaviour::Hang);
}

/// Opens in every partition, and the click among those of [`HELD`].
fn produce_around_the_held(stage: &Stage) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", &stage.bootstrap).create().unwrap();
    let send = |partition: i32, value: serde_json::Value| {
        let (topic, value) = (stage.events(), value.to_string());
        let record = BaseRecord::<(), str>::to(&topic).partition(partition).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    };
    let mut ids = 0..;
    let mut open = || event(ids.next().unwrap());
    (0..BEFORE).for_each(|_| send(HELD, open()));
    let mut click = event(1_000_000);
    click["event"] = json!("message_click");
    send(HELD, click);
    for partition in 0..PARTITIONS {
        (0..AFTER).for_each(|_| send(partition, open()));
    }
    producer.flush(QUESTION).unwrap();
}

/// How many opens [`produce_around_the_held`] writes.
fn opens() -> u64 {
    BEFORE + AFTER * u64::try_from(PARTITIONS).unwrap()
}

/// The end of each partition of the events.
fn ends(stage: &Stage) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &stage.bootstrap).create().unwrap();
    let end =
        |partition| consumer.fetch_watermarks(&stage.events(), partition, QUESTION).unwrap().1;
    (0..PARTITIONS).map(|partition| (partition, end(partition))).collect()
}

/// The records that a new owner would deliver again, by partition, as it would read the commits.
fn open_by_commit(stage: &Stage) -> BTreeMap<i32, Vec<i64>> {
    let commits = committed(&stage.bootstrap, &stage.name, &stage.events(), PARTITIONS);
    let open = |(partition, end): (i32, i64)| {
        let (offset, metadata) = commits.get(&partition).cloned().unwrap_or_default();
        let mut tracker = OffsetTracker::resume(offset, &metadata);
        let open = (offset..end).filter(|&at| tracker.admit(at) == Admission::Fresh).collect();
        (partition, open)
    };
    ends(stage)
        .into_iter()
        .map(open)
        .filter(|(_, open): &(i32, Vec<i64>)| !open.is_empty())
        .collect()
}

/// How often each event has come to a path, whatever was answered.
fn requests(stage: &Stage, path: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for receipt in stage.receiver.receipts(path) {
        *counts.entry(receipt.webhook_id.unwrap()).or_default() += 1;
    }
    counts
}

fn assert_each_open_came_once(stage: &Stage) {
    let counts = requests(stage, "/fast");
    assert_eq!(counts.len() as u64, opens(), "nothing is lost");
    let repeated: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(repeated.is_empty(), "settled before and repeated: {repeated:?}");
}

fn wait_until_all_is_committed(stage: &Stage) {
    eventually("every record is committed", || {
        let commits = committed(&stage.bootstrap, &stage.name, &stage.events(), PARTITIONS);
        let offsets: BTreeMap<_, _> =
            commits.into_iter().map(|(p, (offset, _))| (p, offset)).collect();
        (offsets == ends(stage)).then_some(())
    });
}

#[test]
fn a_crash_repeats_nothing_that_a_commit_calls_settled() {
    let Some(stage) = Stage::new("holes", "") else { return };
    hold_one_record(&stage, 30);
    let service = stage.serve();
    produce_around_the_held(&stage);
    let held = BTreeMap::from([(HELD, vec![i64::try_from(BEFORE).unwrap()])]);
    eventually("the commits leave nothing open but the held record", || {
        (open_by_commit(&stage) == held).then_some(())
    });
    let commits = committed(&stage.bootstrap, &stage.name, &stage.events(), PARTITIONS);
    let (offset, metadata) = &commits[&HELD];
    assert_eq!(*offset, i64::try_from(BEFORE).unwrap(), "the watermark waits for the held record");
    assert!(metadata.starts_with("b1.") && metadata.len() <= 4_000, "{metadata}");
    service.crash();

    stage.receiver.set_behaviour("/stuck", Behaviour::Healthy);
    let service = stage.serve();
    wait_until_all_is_committed(&stage);
    service.stop();
    assert_each_open_came_once(&stage);
    assert_eq!(requests(&stage, "/stuck").values().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn a_broker_that_takes_no_metadata_still_gets_the_offsets_of_every_partition() {
    // The metadata of one open record has some 15 characters.
    let options = ["--override", "offset.metadata.max.bytes=8"];
    let Some(broker) = Broker::start(&options) else { return };
    let stage = Stage::on(&broker.bootstrap, "small-metadata", "");
    stage.create_topics();
    hold_one_record(&stage, 5);
    let service = stage.serve();
    produce_around_the_held(&stage);
    eventually("the refusal is told", || {
        service.log().contains("offset.metadata.max.bytes").then_some(())
    });
    let watermarks = BTreeMap::from_iter((0..PARTITIONS).map(|partition| {
        let end = i64::try_from(if partition == HELD { BEFORE } else { AFTER }).unwrap();
        (partition, (end, String::new()))
    }));
    eventually("the watermarks are committed, without metadata", || {
        let commits = committed(&stage.bootstrap, &stage.name, &stage.events(), PARTITIONS);
        (commits == watermarks).then_some(())
    });
    stage.receiver.set_behaviour("/stuck", Behaviour::Healthy);
    wait_until_all_is_committed(&stage);
    service.stop();
    assert_each_open_came_once(&stage);
}
