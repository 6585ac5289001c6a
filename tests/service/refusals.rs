//! A broker that does not take what the service must write, or that has deleted what it should read.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use barnabas::demo::receiver::Behaviour;
use http::StatusCode;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;

use crate::support::log::committed;
use crate::support::service::Service;
use crate::support::stage::Stage;
use crate::support::{PATIENCE, eventually, within};

const TIER: &str = "retry.300ms";
/// A producer asks for a topic that is not there for half a minute before it says so, and so does a consumer.
const LONG: Duration = Duration::from_secs(180);

/// Sets one setting of one of the stage's topics.
fn alter(stage: &Stage, topic: &str, setting: &str) {
    let topic = format!("{}.{topic}", stage.name);
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/tool"))
        .args(["configs", "--bootstrap-server", &stage.bootstrap, "--alter"])
        .args(["--entity-type", "topics", "--entity-name", &topic, "--add-config", setting])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn is_ready(service: &Service) -> bool {
    service.get("/readyz").0 == 200
}

/// Below which offset everything is settled, in each partition.
fn settled(stage: &Stage) -> [i64; 4] {
    let commits = committed(&stage.bootstrap, &stage.name, &stage.events(), 4);
    [0, 1, 2, 3].map(|number| commits.get(&number).map_or(0, |(offset, _)| *offset))
}

fn wait_until_all_is_committed(stage: &Stage, events: i64) {
    within(LONG, "everything is committed", || {
        (settled(stage).iter().sum::<i64>() == events).then_some(())
    });
}

#[test]
fn a_tier_that_takes_nothing_holds_the_offset_and_the_readiness_until_it_does() {
    let Some(stage) = Stage::new("full", "") else { return };
    stage.connect("healthy", json!({}));
    stage.connect("dead", json!({}));
    stage.receiver.set_behaviour("/dead", Behaviour::status(StatusCode::INTERNAL_SERVER_ERROR));
    let service = stage.serve();
    alter(&stage, TIER, "max.message.bytes=100");

    stage.produce(0..20);
    stage.receiver.wait_for("/healthy", 20, PATIENCE).unwrap();
    eventually("it is not ready", || (!is_ready(&service)).then_some(()));
    assert!(service.metric("barnabas_ready", "producer") < 0.5, "what the alert looks at");
    // That other topics take records does not make it ready, nor does it settle what waits.
    let mut dead_letters = stage.dead_letters();
    for number in 1..=10 {
        stage.produce_raw(Some(b"no event"));
        eventually("a dead letter is written", || {
            (dead_letters.read().len() >= number).then_some(())
        });
        assert!(!is_ready(&service));
    }
    assert!(settled(&stage).iter().sum::<i64>() < 30, "the offsets wait");
    assert_eq!(stage.tier("300ms").held(), 0);

    alter(&stage, TIER, "max.message.bytes=2097152");
    eventually("it is ready again", || is_ready(&service).then_some(()));
    eventually("all has gone through the tiers", || {
        (dead_letters.read().len() == 30).then_some(())
    });
    wait_until_all_is_committed(&stage, 30);
    service.stop();
    assert_eq!(stage.receiver.counts("/healthy").requests, 20, "nothing is repeated");
}

#[test]
fn a_tier_that_is_missing_holds_the_offset_and_the_readiness_until_it_is_there() {
    let Some(stage) = Stage::new("missing", "") else { return };
    stage.connect("healthy", json!({}));
    stage.connect("dead", json!({}));
    stage.receiver.set_behaviour("/dead", Behaviour::status(StatusCode::INTERNAL_SERVER_ERROR));
    let service = stage.serve();
    stage.delete_topic(TIER);

    stage.produce(0..20);
    stage.receiver.wait_for("/healthy", 20, PATIENCE).unwrap();
    within(LONG, "it is not ready", || (!is_ready(&service)).then_some(()));
    assert!(settled(&stage).iter().sum::<i64>() < 20, "the offsets wait");

    stage.create_topics();
    within(LONG, "it is ready again", || is_ready(&service).then_some(()));
    let mut dead_letters = stage.dead_letters();
    within(LONG, "all has gone through the tiers", || {
        (dead_letters.read().len() == 20).then_some(())
    });
    wait_until_all_is_committed(&stage, 20);
    service.stop();
    assert_eq!(stage.receiver.counts("/healthy").requests, 20, "nothing is repeated");
}

/// What is told of records that nobody can bring back.
const DELETED: &str = "records were deleted before they were read";

/// The broker deletes half of what the group has not read, in every partition. Answers how many records that are.
fn delete_half(stage: &Stage) -> i64 {
    let client = || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &stage.bootstrap).set("group.id", &stage.name);
        config
    };
    let consumer: BaseConsumer = client().create().unwrap();
    let log = |number| consumer.fetch_watermarks(&stage.events(), number, PATIENCE).unwrap();
    let (mut below, mut deleted) = (TopicPartitionList::new(), 0);
    for (number, offset) in (0..).zip(settled(stage)) {
        let records = (log(number).1 - offset) / 2;
        deleted += records;
        let start = Offset::Offset(offset + records);
        below.add_partition_offset(&stage.events(), number, start).unwrap();
    }
    let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(admin.delete_records(&below, &AdminOptions::new())).unwrap();
    for partition in done.elements() {
        partition.error().unwrap();
    }
    for partition in below.elements() {
        eventually("the log begins where it was cut", || {
            (Offset::Offset(log(partition.partition()).0) == partition.offset()).then_some(())
        });
    }
    deleted
}

#[test]
fn what_the_broker_deleted_before_it_was_read_is_counted_and_the_rest_is_delivered() {
    let Some(stage) = Stage::new("expired", "") else { return };
    stage.connect("all", json!({}));
    let service = stage.serve();
    stage.produce(0..40);
    stage.receiver.wait_for("/all", 40, PATIENCE).unwrap();
    wait_until_all_is_committed(&stage, 40);
    eventually("what is deleted of a partition without any record will show too", || {
        let commits = committed(&stage.bootstrap, &stage.name, &stage.events(), 4);
        (commits.len() == 4).then_some(())
    });
    assert!(service.metric("barnabas_kafka_records_expired_total", "") < 0.5);
    service.stop();

    stage.produce(40..240);
    let deleted = delete_half(&stage);
    assert!(deleted >= 90, "{deleted}");
    let service = stage.serve();
    let rest = 240 - u64::try_from(deleted).unwrap();
    stage.receiver.wait_for("/all", rest, PATIENCE).unwrap();
    wait_until_all_is_committed(&stage, 240);
    assert_eq!(stage.receiver.counts("/all").requests, rest, "none is skipped, none is repeated");
    #[allow(clippy::cast_precision_loss, reason = "a few")]
    let deleted = deleted as f64;
    eventually("what was deleted is counted", || {
        let counted = service.metric("barnabas_kafka_records_expired_total", "actions");
        assert!(counted < deleted + 0.5, "{counted} of {deleted}");
        (counted > deleted - 0.5).then_some(())
    });
    assert!(service.log().contains(DELETED));
    service.stop();

    // It is told as well by one that gives the partitions up before librdkafka has told where they begin.
    stage.produce(240..440);
    let rest = rest + 200 - u64::try_from(delete_half(&stage)).unwrap();
    let service = stage.serve();
    stage.receiver.wait_for("/all", rest, PATIENCE).unwrap();
    service.ask_to_stop();
    eventually("what was deleted is told before the end", || {
        service.log().contains(DELETED).then_some(())
    });
    service.end();
}
