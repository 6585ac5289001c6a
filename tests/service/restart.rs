//! Stops, crashes, and a broker that goes away.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use barnabas::demo::receiver::{Behaviour, Receipt};
use serde_json::json;

use crate::support::kafka::Broker;
use crate::support::stage::Stage;
use crate::support::{PATIENCE, eventually, within};

/// How often each event was answered 2xx.
fn deliveries(receipts: &[Receipt]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for receipt in receipts.iter().filter(|r| r.status.is_some_and(|status| status.is_success())) {
        *counts.entry(receipt.webhook_id.clone().unwrap()).or_default() += 1;
    }
    counts
}

fn duplicates(counts: &BTreeMap<String, usize>) -> usize {
    counts.values().map(|count| count - 1).sum()
}

/// Two connections that are slow enough to have work in flight and in their queues all the time.
fn slow_stage(test: &str) -> Option<Stage> {
    let stage = Stage::new(test, "")?;
    for id in ["slow", "slower"] {
        let delivery =
            json!({"rate_per_second": 500, "burst": 50, "max_in_flight": 32, "timeout_seconds": 5});
        stage.connect(id, json!({"delivery": delivery}));
    }
    stage.receiver.set_behaviour("/slow", Behaviour::slow(Duration::from_millis(40)));
    stage.receiver.set_behaviour("/slower", Behaviour::slow(Duration::from_millis(90)));
    Some(stage)
}

/// Waits until every event has reached both, and answers their counts.
fn all_delivered(stage: &Stage, events: usize) -> [BTreeMap<String, usize>; 2] {
    let counts = || ["/slow", "/slower"].map(|path| deliveries(&stage.receiver.receipts(path)));
    // After a crash the group gives the dead member up when its session ends, 45 s later.
    within(2 * PATIENCE, "every event has arrived", || {
        let found = counts();
        found.iter().all(|counts| counts.len() == events).then_some(found)
    })
}

#[test]
fn a_stop_in_the_middle_loses_and_repeats_nothing() {
    let Some(stage) = slow_stage("sigterm") else { return };
    let service = stage.serve();
    stage.produce(0..3_000);
    stage.receiver.wait_for("/slower", 300, PATIENCE).unwrap();
    service.stop();
    let settled = stage.receiver.counts("/slower").delivered;
    assert!(settled < 3_000, "it was in the middle: {settled}");
    let service = stage.serve();
    let counts = all_delivered(&stage, 3_000);
    service.stop();
    assert_eq!(counts.each_ref().map(duplicates), [0, 0]);
}

#[test]
fn a_crash_in_the_middle_loses_nothing_and_repeats_what_was_open() {
    let Some(stage) = slow_stage("sigkill") else { return };
    let service = stage.serve();
    stage.produce(0..3_000);
    stage.receiver.wait_for("/slower", 600, PATIENCE).unwrap();
    service.crash();
    let killed_at = SystemTime::now();
    // In flight (two windows of 32), and settled since the last commit: one second, and what a commit takes on a
    // busy machine. That nothing committed is repeated is `commits`' to show.
    let since_commit = killed_at - Duration::from_millis(2_500);
    let recent =
        |path| stage.receiver.receipts(path).iter().filter(|r| r.at >= since_commit).count();
    let bound = 64 + recent("/slow") + recent("/slower");
    let service = stage.serve();
    let counts = all_delivered(&stage, 3_000);
    service.stop();
    let repeated: usize = counts.iter().map(duplicates).sum();
    eprintln!("{repeated} repeated of at most {bound}");
    assert!(repeated <= bound, "{repeated} repeated, at most {bound} expected");
}

#[test]
fn foreign_commit_metadata_is_taken_as_unknown() {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
    let Some(stage) = Stage::new("foreign", "") else { return };
    stage.connect("all", json!({}));
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &stage.bootstrap)
        .set("group.id", &stage.name)
        .create()
        .unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    for partition in 0..4 {
        let mut element = list.add_partition(&stage.events(), partition);
        element.set_offset(rdkafka::Offset::Offset(0)).unwrap();
        element.set_metadata("hello");
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
    drop(consumer);
    let service = stage.serve();
    stage.produce(0..50);
    stage.receiver.wait_for("/all", 50, PATIENCE).unwrap();
    service.stop();
}

#[test]
fn everything_arrives_although_the_broker_crashes_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap().to_owned();
    let quick = [
        "--override",
        "broker.session.timeout.ms=3000",
        "--override",
        "broker.heartbeat.interval.ms=500",
    ];
    let options: Vec<&str> = ["--dir", &dir].into_iter().chain(quick).collect();
    let Some(broker) = Broker::start(&options) else { return };
    let bootstrap = broker.bootstrap.clone();
    // So many retries that chance alone makes no dead letter.
    let delays = vec!["\"500ms\""; 20].join(", ");
    let stage = Stage::on(&bootstrap, "broker", &format!("[retry]\nschedule = [{delays}]\n"));
    stage.create_topics();
    stage.connect("slow", json!({}));
    stage.connect("failing", json!({}));
    stage.receiver.set_behaviour("/slow", Behaviour::slow(Duration::from_millis(200)));
    stage.receiver.set_behaviour("/failing", Behaviour::Flaky { share: 0.3 });
    let service = stage.serve();
    stage.produce(0..1_500);
    stage.receiver.wait_for("/slow", 100, PATIENCE).unwrap();
    broker.crash(folder.path());
    let port = bootstrap.rsplit(':').next().unwrap().to_owned();
    let again: Vec<&str> = ["--port", &port].into_iter().chain(options).collect();
    let _broker = Broker::start(&again).unwrap();
    stage.produce(1_500..2_000);
    for path in ["/slow", "/failing"] {
        eventually("every event has arrived", || {
            (deliveries(&stage.receiver.receipts(path)).len() == 2_000).then_some(())
        });
    }
    service.stop();
}
