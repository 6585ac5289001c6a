//! A broker that is not there yet, and records that another program's client wrote.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use barnabas::demo::receiver::Behaviour;
use serde_json::json;

use crate::support::kafka::Broker;
use crate::support::stage::{Stage, event};
use crate::support::{PATIENCE, eventually};

#[test]
fn a_service_is_not_ready_without_its_broker_and_goes_on_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let Some(broker) = Broker::start(&["--dir", dir]) else { return };
    let bootstrap = broker.bootstrap.clone();
    let stage = Stage::on(&bootstrap, "early", "");
    stage.create_topics();
    stage.connect("all", json!({}));
    drop(broker);

    let service = stage.start();
    eventually("it says which broker it misses, and asks again", || {
        let complaint = format!("no broker of {bootstrap} answered");
        (service.log().matches(&complaint).count() >= 2).then_some(())
    });
    assert_eq!((service.get("/livez").0, service.get("/readyz").0), (200, 503));

    let port = bootstrap.rsplit(':').next().unwrap();
    let broker = Broker::start(&["--dir", dir, "--port", port]).unwrap();
    let service = service.ready();
    stage.produce(0..20);
    stage.receiver.wait_for("/all", 20, PATIENCE).unwrap();
    drop(broker);
    eventually("it is not ready while its broker is away", || {
        let (code, body) = service.get("/readyz");
        (code == 503 && body.contains("\"producer\":false")).then_some(())
    });
    assert!(service.log().contains("the producer has trouble; it is tried again"));
    assert_eq!(service.get("/livez").0, 200, "a restart would not help");

    let _broker = Broker::start(&["--dir", dir, "--port", port]).unwrap();
    let service = service.ready();
    stage.produce(20..40);
    stage.receiver.wait_for("/all", 40, PATIENCE).unwrap();
    service.stop();
    assert_eq!(stage.receiver.counts("/all").requests, 40);
}

/// One record by Apache Kafka's own client: a header, a key and a value.
fn produce_with_java(stage: &Stage, header: &str, key: &str, value: &str) {
    let mut tool = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/tool"))
        .args(["console-producer", "--bootstrap-server", &stage.bootstrap])
        .args(["--topic", &stage.events()])
        .args(["--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    writeln!(tool.stdin.take().unwrap(), "{header}\t{key}\t{value}").unwrap();
    assert!(tool.wait().unwrap().success());
}

#[test]
fn a_record_of_another_client_is_a_dead_letter_with_its_headers_and_without_a_credential() {
    let Some(stage) = Stage::new("foreign-client", "") else { return };
    let (password, encoded) = ("canary-7c1e", "eHA6Y2FuYXJ5LTdjMWU=");
    let auth = json!({"type": "basic", "username": "xp", "password": password});
    stage.connect("down", json!({"auth": auth}));
    stage.receiver.set_behaviour("/down", Behaviour::status(http::StatusCode::BAD_GATEWAY));
    let service = stage.serve();
    let value = event(7).to_string();
    produce_with_java(&stage, "trace:4bf92f", "4172:7", &value);
    let mut dead_letters = stage.dead_letters();
    let entry = eventually("it is a dead letter", || dead_letters.read().first().cloned());
    service.stop();

    assert_eq!((entry.key.as_deref(), entry.value), (Some("down"), value.into_bytes()));
    assert_eq!(entry.headers.get("trace").map(String::as_str), Some("4bf92f"));
    assert_eq!(entry.headers.get("barnabas-last-status").map(String::as_str), Some("502"));
    let receipts = stage.receiver.receipts("/down");
    assert!(
        receipts.iter().all(|r| r.authorization.as_deref() == Some(&format!("Basic {encoded}")))
    );
    let shown = format!("{:?}", entry.headers);
    assert!(!shown.contains(password) && !shown.contains(encoded), "{shown}");
}

#[test]
fn an_unknown_channel_is_skipped_and_an_event_above_the_limit_is_a_dead_letter() {
    let Some(stage) = Stage::new("limits", "[payload]\nmax_event_bytes = 2048\n") else { return };
    stage.connect("all", json!({}));
    let service = stage.serve();
    let mut unknown = event(1);
    unknown["properties"]["message_type"] = json!("pigeon_post");
    stage.produce_raw(Some(unknown.to_string().as_bytes()));
    let mut large = event(2);
    large["padding"] = json!("x".repeat(4096));
    let large = large.to_string().into_bytes();
    stage.produce_raw(Some(&large));
    stage.produce(3..23);
    stage.receiver.wait_for("/all", 20, PATIENCE).unwrap();
    let mut dead_letters = stage.dead_letters();
    let entry = eventually("it is a dead letter", || dead_letters.read().first().cloned());
    eventually("the unknown name is counted", || {
        (service.metric("barnabas_events_skipped_total", "unknown_channel") >= 1.0).then_some(())
    });
    service.stop();
    assert_eq!((entry.header("barnabas-reason"), entry.value.clone()), ("too_large", large));
    assert_eq!(stage.receiver.counts("/all").requests, 20);
    assert_eq!(stage.dead_letters().read().len(), 1, "an unknown name is never a dead letter");
}
