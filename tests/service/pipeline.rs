//! From a record to a request: what is matched, what is sent, and what becomes of bad records.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use barnabas::demo::receiver::{Behaviour, Credentials, Receipt};
use serde_json::{Value, json};

use crate::support::stage::{PROJECT, Stage, event};
use crate::support::{PATIENCE, eventually};

/// Ten thousand events: opens of emails and pushes and failures of pushes, in two projects.
fn campaign() -> Vec<Value> {
    let kinds = [
        ("message_open", "email"),
        ("message_open", "mobile_push"),
        ("message_failure", "mobile_push"),
    ];
    (0..10_000_u64)
        .map(|id| {
            let (event, channel) = kinds[usize::try_from(id % 3).unwrap()];
            let project = if id % 10 == 9 { json!(77) } else { json!(PROJECT) };
            json!({
                "event_id": format!("evt-{id}"), "project_id": project, "event": event,
                "time": 1_760_000_000 + id,
                "properties": {"message_type": channel, "campaign_id": 9_007_199_254_740_993_u64,
                    "profile_id": format!("00{id}"), "device_id": id, "trigger_id": null,
                    "user_id": "crm \"8\" ä", "error_message": "bounced", "ignored": {"a": [1]}},
            })
        })
        .collect()
}

/// Apache Kafka's own console producer: another program's client.
fn produce_with_java(stage: &Stage, events: &[Value]) {
    let mut tool = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/tool"))
        .args([
            "console-producer",
            "--bootstrap-server",
            &stage.bootstrap,
            "--topic",
            &stage.events(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = tool.stdin.take().unwrap();
    for event in events {
        writeln!(input, "{event}").unwrap();
    }
    drop(input);
    assert!(tool.wait().unwrap().success());
}

/// The body that the contract asks for, written down a second time.
fn expected_body(event: &Value) -> String {
    let properties = &event["properties"];
    let failure =
        if event["event"] == "message_failure" { r#","error_message":"bounced""# } else { "" };
    format!(
        r#"{{"event":{},"time":{},"properties":{{"message_type":{},"campaign_id":9007199254740993,"profile_id":{},"device_id":{},"trigger_id":null,"user_id":"crm \"8\" ä","email":null{failure}}}}}"#,
        event["event"],
        event["time"],
        properties["message_type"],
        properties["profile_id"],
        properties["device_id"],
    )
}

fn assert_exactly_once(receipts: &[Receipt], wanted: &[&Value], authorization: &str) {
    let ids: BTreeSet<_> = receipts.iter().map(|r| r.webhook_id.clone().unwrap()).collect();
    let expected: BTreeSet<_> =
        wanted.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, expected);
    assert_eq!(receipts.len(), wanted.len(), "each once");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for receipt in receipts {
        let id = receipt.webhook_id.as_deref().unwrap();
        let event = wanted.iter().find(|event| event["event_id"] == id).unwrap();
        assert_eq!(std::str::from_utf8(&receipt.body).unwrap(), expected_body(event));
        assert_eq!(receipt.authorization.as_deref(), Some(authorization));
        assert_eq!(receipt.webhook_attempt.as_deref(), Some("1"));
        assert_eq!(receipt.content_type.as_deref(), Some("application/json"));
        assert!(receipt.user_agent.as_deref().unwrap().starts_with("barnabas/"));
        let timestamp: u64 = receipt.webhook_timestamp.as_deref().unwrap().parse().unwrap();
        assert!(timestamp <= now && now - timestamp < 300, "{timestamp} at {now}");
    }
}

#[test]
fn ten_thousand_events_of_another_client_reach_exactly_those_that_want_them() {
    let Some(stage) = Stage::new("campaign", "") else { return };
    let events = campaign();
    let basic = json!({"type": "basic", "username": "xp", "password": "päss"});
    stage.connect(
        "opens",
        json!({"events": ["message_open"], "channels": ["email"], "auth": basic}),
    );
    stage.connect(
        "failures",
        json!({"events": ["message_fail"], "channels": ["mobile_push", "sms"]}),
    );
    stage.connect("other", json!({"project_id": "77", "events": ["message_open"]}));
    stage.connect("inactive", json!({"status": "inactive"}));
    stage.connect("nothing", json!({"events": ["message_unsubscribe"]}));
    stage.receiver.set_credentials("/opens", &Credentials::basic("xp", "päss"));
    let service = stage.serve();
    produce_with_java(&stage, &events);

    let of = |project: &Value, event: &str, channel: Option<&str>| -> Vec<&Value> {
        let wants = |e: &&Value| {
            e["project_id"] == *project
                && e["event"] == event
                && channel.is_none_or(|channel| e["properties"]["message_type"] == channel)
        };
        events.iter().filter(wants).collect()
    };
    let opens = of(&json!(PROJECT), "message_open", Some("email"));
    let failures = of(&json!(PROJECT), "message_failure", Some("mobile_push"));
    let other = of(&json!(77), "message_open", None);
    for (path, wanted) in [("/opens", &opens), ("/failures", &failures), ("/other", &other)] {
        stage.receiver.wait_for(path, wanted.len() as u64, PATIENCE).unwrap();
    }
    eventually("everything is read", || {
        (service.metric("barnabas_events_consumed_total", "") >= 10_000.0).then_some(())
    });
    service.stop();
    assert_exactly_once(&stage.receiver.receipts("/opens"), &opens, "Basic eHA6cMOkc3M=");
    assert_exactly_once(&stage.receiver.receipts("/failures"), &failures, "Bearer t0ken");
    assert_exactly_once(&stage.receiver.receipts("/other"), &other, "Bearer t0ken");
    assert_eq!(stage.receiver.counts("/inactive").requests, 0);
    assert_eq!(stage.receiver.counts("/nothing").requests, 0);
}

#[test]
fn bad_records_reach_the_dead_letters_and_the_partition_goes_on() {
    let Some(stage) = Stage::new("malformed", "") else { return };
    stage.connect("all", json!({}));
    let service = stage.serve();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bad: [&[u8]; 5] = [b"", b"{\"project_id\":", b"\xff\xfe", deep.as_bytes(), b"{\"time\":1}"];
    for value in bad {
        stage.produce_raw(Some(value));
    }
    stage.produce_raw(None);
    let mut unknown = event(1);
    unknown["event"] = json!("message_teleport");
    stage.produce_raw(Some(unknown.to_string().as_bytes()));
    stage.produce(0..20);
    stage.receiver.wait_for("/all", 20, PATIENCE).unwrap();
    let mut dead_letters = stage.dead_letters();
    let values: BTreeSet<Vec<u8>> = eventually("all bad records are dead letters", || {
        let entries = dead_letters.read();
        (entries.len() == bad.len()).then(|| {
            assert!(
                entries.iter().all(|entry| entry.header("barnabas-reason") == "malformed_event")
            );
            assert!(entries.iter().all(|entry| entry.header("x-source") == "campaign"));
            assert!(
                entries.iter().all(|entry| entry.header("barnabas-origin-topic") == stage.events())
            );
            entries.iter().map(|entry| entry.value.clone()).collect()
        })
    });
    assert_eq!(values, bad.iter().map(|value| value.to_vec()).collect());
    let skipped = |reason: &str| service.metric("barnabas_events_skipped_total", reason);
    assert_eq!((skipped("null_value"), skipped("unknown_event")), (1.0, 1.0));
    service.stop();
}

#[test]
fn a_tombstone_stops_deliveries() {
    let Some(stage) = Stage::new("tombstone", "") else { return };
    stage.connect("gone", json!({}));
    stage.connect("stays", json!({}));
    let service = stage.serve();
    stage.produce(0..10);
    stage.receiver.wait_for("/gone", 10, PATIENCE).unwrap();
    stage.delete("gone");
    eventually("the table has one connection", || {
        (service.metric("barnabas_connections", "active") == 1.0).then_some(())
    });
    stage.produce(10..30);
    stage.receiver.wait_for("/stays", 30, PATIENCE).unwrap();
    service.stop();
    assert_eq!(stage.receiver.counts("/gone").requests, 10);
}

#[test]
fn events_from_before_a_connection_was_created_are_not_for_it() {
    let Some(stage) = Stage::new("created", "") else { return };
    let in_an_hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
    stage.connect("later", json!({"created_at": in_an_hour}));
    stage.connect("now", json!({}));
    let service = stage.serve();
    stage.produce(0..10);
    stage.receiver.wait_for("/now", 10, PATIENCE).unwrap();
    service.stop();
    assert_eq!(stage.receiver.counts("/later").requests, 0);
}

#[test]
fn a_compacted_topic_of_many_revisions_loads_the_newest() {
    let Some(stage) = Stage::new("revisions", "") else { return };
    let small = "segment.ms=100,min.cleanable.dirty.ratio=0.01,max.compaction.lag.ms=100,delete.retention.ms=0";
    let topic = format!("{}.connections", stage.name);
    let altered = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/tool"))
        .args([
            "configs",
            "--bootstrap-server",
            &stage.bootstrap,
            "--alter",
            "--entity-type",
            "topics",
        ])
        .args(["--entity-name", &topic, "--add-config", small])
        .output()
        .unwrap();
    assert!(altered.status.success(), "{}", String::from_utf8_lossy(&altered.stderr));
    stage.receiver.set_behaviour("/old", Behaviour::Healthy);
    stage.receiver.set_behaviour("/new", Behaviour::Healthy);
    let log = crate::support::log::Log::open(&stage.bootstrap, &topic);
    let mut revision = 0;
    eventually("the broker has compacted the topic", || {
        revision += 1;
        stage.put("c", json!({"revision": revision, "url": stage.receiver.url("/old")}));
        (log.held() < revision).then_some(())
    });
    stage.put("c", json!({"revision": revision + 1, "url": stage.receiver.url("/new")}));
    let service = stage.serve();
    stage.produce(0..5);
    stage.receiver.wait_for("/new", 5, PATIENCE).unwrap();
    service.stop();
    assert_eq!(stage.receiver.counts("/old").requests, 0);
    assert!(fs::exists(stage.folder()).unwrap());
}
