//! What becomes of events, asked of the admin API and by its commands: attempts, health, test events, dead letters, the
//! pipeline; and that viewers see no payload.

use std::fs;
use std::process::{Command, Output};

use barnabas::demo::receiver::Behaviour;
use serde_json::{Value, json};

use crate::support::api::{Api, one};
use crate::support::browser::Browser;
use crate::support::service::{PROGRAM, Service};
use crate::support::stage::{PROJECT, Stage, event};
use crate::support::{PATIENCE, eventually};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

/// A stage with an endpoint that fails and one that does not.
fn stage(test: &str) -> Option<Stage> {
    let stage = Stage::new(test, ADMIN)?;
    for id in ["down", "good"] {
        stage.connect(id, json!({}));
    }
    let status = http::StatusCode::INTERNAL_SERVER_ERROR;
    stage.receiver.set_behaviour("/down", Behaviour::status(status));
    Some(stage)
}

fn letters(rest: &str) -> String {
    format!("/api/v1/projects/{PROJECT}/dead-letters{rest}")
}

/// What a route answers, once that is as it should be.
fn once(api: &Api, path: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    eventually(path, || {
        let answer = api.get(path);
        let json = (answer.status == 200).then(|| answer.json())?;
        is_there(&json).then_some(json)
    })
}

fn command(api: &Api, service: &Service, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .args(["--api", api.base(), "--project", PROJECT, "-o", "json"])
        .env("BARNABAS_TOKEN", service.set_up_token())
        .output()
        .unwrap()
}

fn printed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn attempts_health_and_the_pipeline_are_answered() {
    let Some(stage) = stage("insight") else { return };
    let service = stage.serve();
    let api = Api::of(&service);
    stage.produce(0..1);
    let failed = format!("{}/attempts?outcome=failed", one("down"));
    let page = once(&api, &failed, |page| page["items"].as_array().unwrap().len() == 4);
    let newest = &page["items"][0];
    assert_eq!((&newest["outcome"], &newest["status"]), (&json!("status"), &json!(500)));
    assert_eq!(newest["next"], json!({"step": "dead_letter", "reason": "exhausted"}));
    let id = newest["id"].as_str().unwrap();
    let shown = api.get(&format!("{}/attempts/{id}", one("down"))).expect(200).json();
    assert!(shown["request"]["body"].as_str().is_some());
    api.get(&format!("{}/attempts/{id}", one("good"))).expect(404);
    api.get(&format!("{}/attempts?outcome=late", one("down"))).expect(400);
    let rest = format!("{failed}&limit=3");
    let cursor = api.get(&rest).expect(200).json()["next_cursor"].as_str().unwrap().to_owned();
    let last = api.get(&format!("{failed}&cursor={cursor}")).expect(200).json();
    assert_eq!(last["items"].as_array().unwrap().len(), 1);

    let health =
        once(&api, &format!("{}/health", one("good")), |health| !health["rates"].is_null());
    assert_eq!(health["rates"]["last_hour"]["success_rate"], 1.0);
    api.get(&format!("{}/health", one("unknown"))).expect(404);
    let pipeline =
        once(&api, "/api/v1/pipeline", |report| report["group"]["events"]["lag_records"] == 0);
    assert_eq!(pipeline["table"]["active"], 2);
    let preview = json!({"events": ["message_open"], "channels": ["email"]});
    let path = format!("/api/v1/projects/{PROJECT}/match-preview");
    let preview = api.send("POST", &path, &[], Some(&preview)).expect(200).json();
    assert_eq!((&preview["matched"], &preview["examined"]), (&json!(1), &json!(1)));
    service.stop();
}

#[test]
fn a_test_event_is_sent_and_told() {
    let Some(stage) = stage("insight-test") else { return };
    let service = stage.serve();
    let api = Api::of(&service);
    let path = format!("{}/test", one("good"));
    let body = json!({"event": "message_open", "channel": "email"});
    let report = eventually("the read models are there", || {
        let answer = api.send("POST", &path, &[], Some(&body));
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(report.expect(200).json()["outcome"], "delivered");
    let unknown = json!({"event": "teleported", "channel": "email"});
    let refused = api.send("POST", &path, &[], Some(&unknown)).expect(422);
    assert_eq!(refused.pointers(), ["/event"]);
    let code = |id: &str| {
        let output = command(&api, &service, &["connections", "test", id]);
        output.status.code()
    };
    assert_eq!([code("good"), code("down"), code("unknown")], [Some(0), Some(1), Some(4)]);
    assert_eq!(stage.receiver.counts("/good").requests, 2);
    service.stop();
}

#[test]
fn a_record_that_is_no_event_is_found_by_whoever_may_see_all_projects() {
    let Some(stage) = stage("insight-rejected") else { return };
    let service = stage.serve();
    let api = Api::of(&service);
    stage.produce_raw(Some(b"{\"id\": \"e1\", <cut"));
    let page = once(&api, "/api/v1/rejected-records", |page| page["matched"] == 1);
    let record = &page["items"][0];
    assert_eq!(
        (&record["reason"], &record["origin_offset"]),
        (&json!("malformed_event"), &json!(0))
    );
    let id = record["id"].as_str().unwrap();
    let path = format!("/api/v1/rejected-records/{id}");
    assert_eq!(api.get(&path).expect(200).json()["value"], "{\"id\": \"e1\", <cut");
    api.get("/api/v1/rejected-records?from=yesterday").expect(400);
    assert_eq!(api.get(&letters("")).expect(200).json()["matched"], 0, "it is no project's");

    let browser = Browser::signed_in(service.admin(), &service.set_up_token());
    assert!(browser.open("/pipeline").expect(200).shows("Rejected records"));
    assert!(browser.open("/rejected-records").expect(200).shows("No valid event"));
    let shown = browser.open(&format!("/rejected-records/{id}")).expect(200);
    assert!(shown.shows("&#60;cut"), "{}", shown.html);
    browser.open("/rejected-records/1-0-0").expect(404);
    service.stop();
}

#[test]
fn dead_letters_are_listed_counted_put_back_and_exported() {
    let Some(stage) = stage("insight-letters") else { return };
    let service = stage.serve();
    let api = Api::of(&service);
    stage.produce(0..2);
    let path = letters("?connection=down&reason=exhausted");
    let page = once(&api, &path, |page| page["matched"] == 2);
    let letter = page["items"][0].clone();
    let id = letter["id"].as_str().unwrap();
    let number: u64 = letter["event_id"].as_str().unwrap()[1..].parse().unwrap();
    let shown = printed(&command(&api, &service, &["dead-letters", "show", id]));
    assert_eq!(shown["value"], event(number).to_string());
    let exported = api.get(&letters("/export?connection=down")).expect(200);
    assert_eq!(
        (exported.header("content-type"), exported.body.lines().count()),
        ("application/x-ndjson", 2)
    );

    stage.receiver.set_behaviour("/down", Behaviour::Healthy);
    let before = stage.receiver.counts("/down").requests;
    let dry = ["dead-letters", "redrive", "--connection", "down", "--dry-run"];
    let dry = printed(&command(&api, &service, &dry));
    assert_eq!((&dry["redrivable"], &dry["redriven"]), (&json!(2), &json!(0)));
    let body = json!({"ids": [id], "rate_per_second": 100});
    let answer = api.send("POST", &letters("/redrive"), &[], Some(&body)).expect(200);
    let last: Value = serde_json::from_str(answer.body.lines().last().unwrap()).unwrap();
    assert_eq!((&last["redriven"], &last["is_done"]), (&json!(1), &json!(true)));
    stage.receiver.wait_for("/down", before + 1, PATIENCE).unwrap();
    let again = stage.receiver.receipts("/down").pop().unwrap();
    assert_eq!(again.webhook_id.as_deref(), letter["event_id"].as_str());
    let rest = ["dead-letters", "redrive", "--connection", "down", "--rate", "100"];
    assert_eq!(printed(&command(&api, &service, &rest))["redriven"], 1);
    let audited: Vec<_> =
        stage.audit().into_iter().map(|record| record["redrivable"].clone()).collect();
    assert_eq!(audited, [json!(1), json!(1)], "what was only counted is no change");
    let record = &stage.audit()[0];
    assert_eq!((&record["action"], &record["ids"]), (&json!("redrive"), &json!([id])));
    assert_eq!((&record["who"], &record["project_id"]), (&json!("token:set-up"), &json!(PROJECT)));
    api.send("POST", &letters("/redrive"), &[], Some(&json!({}))).expect(400);
    let code = |arguments: &[&str]| command(&api, &service, arguments).status.code();
    assert_eq!(code(&["dead-letters", "redrive"]), Some(2));
    assert_eq!(code(&["dead-letters", "show", "1-0-0"]), Some(4));
    service.stop();
}

#[test]
fn a_redrive_that_cannot_be_audited_is_refused() {
    let Some(stage) = stage("insight-unaudited") else { return };
    let service = stage.serve();
    let api = Api::of(&service);
    stage.produce(0..1);
    once(&api, &letters(""), |page| page["matched"] == 1);
    let before = stage.receiver.counts("/down").requests;
    stage.delete_topic("audit");
    let all = json!({"matching": {}});
    api.send("POST", &letters("/redrive"), &[], Some(&all)).expect(503);
    assert!(api.get(&letters("")).json()["items"][0]["redriven_at_ms"].is_null());
    assert_eq!(stage.receiver.counts("/down").requests, before);
    service.stop();
}

#[test]
fn a_viewer_sees_no_payload_and_puts_nothing_back() {
    let Some(stage) = stage("insight-viewer") else { return };
    let tokens = stage.folder().join("tokens.json");
    let made = Command::new(PROGRAM)
        .args(["tokens", "new", "looks", "--role", "viewer", "--project", PROJECT, "--file"])
        .arg(&tokens)
        .output()
        .unwrap();
    let looks = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(fs::exists(&tokens).unwrap());
    let stage = stage.with(&format!("tokens_file = {tokens:?}\n"));
    let service = stage.serve();
    let api = Api::with_token(service.admin(), &looks);
    stage.produce(0..1);
    let page = once(&api, &letters(""), |page| page["matched"] == 1);
    let letter = page["items"][0]["id"].as_str().unwrap().to_owned();
    let attempts = once(&api, &format!("{}/attempts", one("down")), |page| {
        page["items"].as_array().unwrap().len() == 4
    });
    let attempt = attempts["items"][0]["id"].as_str().unwrap();
    for path in [
        letters(&format!("/{letter}")),
        letters("/export"),
        format!("{}/attempts/{attempt}", one("down")),
    ] {
        api.get(&path).expect(403);
    }
    let all = json!({"matching": {}, "dry_run": true});
    api.send("POST", &letters("/redrive"), &[], Some(&all)).expect(403);
    let test = json!({"event": "message_open", "channel": "email"});
    api.send("POST", &format!("{}/test", one("down")), &[], Some(&test)).expect(403);
    let payload = event(0)["properties"].to_string();
    assert!(!api.seen().contains(&payload));
    service.stop();
}
