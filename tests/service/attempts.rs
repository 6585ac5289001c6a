//! What people see of attempts: the log, lists, details, health, the pipeline, previews and test events.

use barnabas::admin::attempts::{AttemptQuery, AttemptSummary};
use barnabas::admin::preview::PreviewQuery;
use barnabas::admin::test_send::{TestError, TestQuery};
use barnabas::demo::receiver::{Behaviour, Credentials};
use barnabas::engine::connection::ConnectionKey;
use barnabas::kafka::record::attempt::{AttemptOutcome, Next};
use serde_json::json;
use std::sync::Arc;

use crate::support::console::Console;
use crate::support::stage::{PROJECT, Stage};
use crate::support::{PATIENCE, eventually};

/// A password that occurs nowhere else.
const CANARY: &str = "canary-9f3a";
/// `xp:canary-9f3a` as it is sent.
const CANARY_PAIR: &str = "eHA6Y2FuYXJ5LTlmM2E=";

fn failing() -> Behaviour {
    Behaviour::status(http::StatusCode::INTERNAL_SERVER_ERROR)
}

fn basic() -> serde_json::Value {
    json!({"type": "basic", "username": "xp", "password": CANARY})
}

fn key(connection: &str) -> ConnectionKey {
    ConnectionKey::parse(&format!("{PROJECT}/{connection}")).unwrap()
}

fn test_query() -> TestQuery {
    TestQuery {
        connection: key("c"),
        event: "message_click".to_owned(),
        channel: "mobile_push".to_owned(),
    }
}

/// The attempts of a connection, once there are so many.
fn attempts(console: &Console, connection: &str, count: usize) -> Vec<Arc<AttemptSummary>> {
    let query =
        AttemptQuery { connection: Some(key(connection)), limit: 100, ..AttemptQuery::default() };
    eventually("the attempts are listed", || {
        let items = console.models.attempts.page(&query).page.items;
        (items.len() >= count).then_some(items)
    })
}

#[test]
fn every_attempt_is_logged_with_what_was_sent_and_what_becomes_of_it() {
    let Some(stage) = Stage::new("attempts", "") else { return };
    stage.connect("good", json!({"auth": basic()}));
    stage.connect("down", json!({"auth": basic()}));
    stage.receiver.set_behaviour("/down", failing());
    let console = Console::start(&stage);
    stage.produce(0..3);
    let down = attempts(&console, "down", 12);
    let good = attempts(&console, "good", 3);

    assert_eq!((down.len(), good.len()), (12, 3));
    assert!(good.iter().all(|one| one.line.outcome == AttemptOutcome::Delivered));
    assert!(good.iter().all(|one| one.line.next == Some(Next::Delivered)));
    assert!(down.iter().all(|one| one.line.status == Some(500)));
    let of_one: Vec<_> = down.iter().rev().filter(|one| &*one.line.event_id == "e1").collect();
    let steps: Vec<_> = of_one.iter().map(|one| step(one)).collect();
    assert_eq!(steps, ["1 300ms", "2 700ms", "3 1s", "4 exhausted"]);

    assert_detail(&stage, &console, of_one.last().unwrap());
    assert_healths(&console);
    console.stop();
    assert_no_secret(&stage);
}

/// Which attempt it was, and what comes next.
fn step(one: &AttemptSummary) -> String {
    match one.line.next.as_ref().unwrap() {
        Next::Retry { tier, due_ms, .. } => {
            assert!(*due_ms > one.line.at_ms);
            format!("{} {tier}", one.line.attempt)
        }
        Next::DeadLetter { reason } => format!("{} {reason}", one.line.attempt),
        other @ (Next::Delivered | Next::Repeat { .. }) => panic!("{other:?}"),
    }
}

/// The fourth attempt of `e1` is shown as it was sent.
fn assert_detail(stage: &Stage, console: &Console, last: &AttemptSummary) {
    let found = console.ask(console.models.attempts.detail(&key("down"), last.id));
    let detail = found.unwrap().unwrap().record;
    let receipts = stage.receiver.receipts("/down");
    let sent = receipts.iter().find(|receipt| {
        receipt.webhook_id.as_deref() == Some("e1")
            && receipt.webhook_attempt.as_deref() == Some("4")
    });
    assert_eq!(detail.request.body.as_bytes(), &sent.unwrap().body[..]);
    assert!(detail.request.headers.contains(&("authorization".into(), "***".into())));
    assert!(detail.request.headers.contains(&("webhook-attempt".into(), "4".into())));
    assert_eq!(detail.origin.topic, stage.events());
    assert!(detail.answer.is_some());
}

fn assert_healths(console: &Console) {
    let healths = console.ask(console.models.healths.of(&[key("good"), key("down")]));
    let rate = |place: usize| healths[place].rates.as_ref().unwrap().last_hour.success_rate;
    assert_eq!((rate(0), rate(1)), (Some(1.0), Some(0.0)));
    assert!(healths[0].last_failure.is_none());
    assert_eq!(healths[1].last_failure.as_ref().unwrap().line.status, Some(500));
    assert_eq!(healths[1].lane.as_ref().unwrap().dead_lettered, 3);
}

fn assert_no_secret(stage: &Stage) {
    let raw = format!("{:?}", stage.attempts().read());
    let values: Vec<_> = stage.attempts().read().iter().map(|e| e.value.clone()).collect();
    let text = String::from_utf8(values.concat()).unwrap();
    for secret in [CANARY, CANARY_PAIR] {
        assert!(!raw.contains(secret) && !text.contains(secret));
    }
}

#[test]
fn a_log_of_failures_has_no_success_and_one_that_is_off_has_nothing() {
    for (log, wanted) in [("failures", 4), ("off", 0)] {
        let settings = format!("[attempts]\nlog = \"{log}\"\n");
        let Some(stage) = Stage::new(&format!("log-{log}"), &settings) else { return };
        stage.connect("good", json!({}));
        stage.connect("down", json!({}));
        stage.receiver.set_behaviour("/down", failing());
        let service = stage.serve();
        stage.produce(0..1);
        stage.receiver.wait_for("/good", 1, PATIENCE).unwrap();
        let mut dead_letters = stage.dead_letters();
        eventually("it is a dead letter", || (dead_letters.read().len() == 1).then_some(()));
        let mut topic = stage.attempts();
        eventually("all is logged", || (topic.read().len() >= wanted).then_some(()));
        service.stop();
        let keys: Vec<_> = topic.read().iter().map(|entry| entry.key.clone().unwrap()).collect();
        assert_eq!(keys, vec![format!("{PROJECT}/down"); wanted], "{log}");
    }
}

#[test]
fn the_pipeline_is_seen_as_it_is() {
    let schedule = "[retry]\nschedule = [\"1h\"]\n";
    let Some(stage) = Stage::new("pipeline-view", schedule) else { return };
    stage.connect("good", json!({}));
    stage.connect("down", json!({}));
    stage.put("stopped", json!({"status": "inactive"}));
    stage.receiver.set_behaviour("/down", failing());
    let console = Console::start(&stage);
    stage.produce(0..10);
    let report = eventually("all is settled and ten wait in the tier", || {
        let report = console.ask(console.models.pipeline.report());
        let group = report.group.as_ref()?;
        let is_settled = group.events.lag_records == 0
            && group.events.partitions.iter().any(|partition| partition.end_offset > 0)
            && group.tiers[0].waiting == 10
            && report.table.inactive == 1;
        is_settled.then_some(report)
    });
    let group = report.group.unwrap();
    assert_eq!((group.events.partitions.len(), group.events.lag_seconds), (4, Some(0)));
    assert_eq!(
        (group.events.group.state.as_str(), group.events.group.members.len()),
        ("Stable", 1)
    );
    assert_eq!(group.events.group.members[0].partitions, 4);
    assert_eq!(group.retries_group.members[0].partitions, 4);
    assert_eq!((group.tiers.len(), group.tiers[0].tier.as_str()), (1, "1h"));
    let due_in = group.tiers[0].oldest_due_ms.unwrap().saturating_sub(report.at_ms);
    assert!((3_000_000..=4_400_000).contains(&due_in), "{due_in}");
    assert_eq!(group.tiers[0].overdue_seconds, 0);
    assert!(report.table.is_ready);
    assert_eq!((report.table.active, report.lanes["idle"] + report.lanes["busy"]), (2, 2));
    console.stop();
}

#[test]
fn a_preview_counts_what_a_filter_would_have_matched() {
    let Some(stage) = Stage::new("preview", "") else { return };
    stage.produce(0..40);
    stage.produce_raw(Some(b"no event"));
    let console = Console::start(&stage);
    let look = |project: &str, events: &[&str]| {
        let query = PreviewQuery {
            project_id: project.to_owned(),
            events: events.iter().map(ToString::to_string).collect(),
            channels: vec!["email".to_owned()],
        };
        // Its time is bounded: on a machine that is busy enough a look may end early.
        eventually("all was read", || {
            let report = console.ask(console.models.preview.look(&query)).ok()?;
            (report.read_records == 41).then_some((report.matched, report.examined))
        })
    };
    assert_eq!(look(PROJECT, &["message_open", "message_click"]), (40, 40));
    assert_eq!(look(PROJECT, &["message_click"]), (0, 40));
    assert_eq!(look("77", &["message_open"]), (0, 0));
    console.stop();
}

#[test]
fn a_test_event_is_a_real_request() {
    let Some(stage) = Stage::new("test-send", "") else { return };
    stage.connect("c", json!({"auth": basic(), "status": "inactive"}));
    stage.receiver.set_credentials("/c", &Credentials::basic("xp", CANARY));
    let console = Console::start(&stage);
    let query = test_query();
    let report = console.ask(console.models.test_sends.send(&query)).unwrap();
    assert_eq!((report.outcome, report.status), (AttemptOutcome::Delivered, Some(200)));
    assert_eq!(report.verdict, "Delivered: the endpoint answered 200.");
    assert!(report.connect_ms.is_some());
    let receipts = stage.receiver.receipts("/c");
    assert_eq!(receipts.len(), 1);
    let authorization = format!("Basic {CANARY_PAIR}");
    assert_eq!(receipts[0].authorization.as_deref(), Some(authorization.as_str()));
    assert!(receipts[0].webhook_id.as_deref().unwrap().starts_with("test_"));
    assert_eq!(report.request.body.as_bytes(), &receipts[0].body[..]);
    let shown = serde_json::to_string(&report).unwrap();
    assert!(!shown.contains(CANARY) && !shown.contains(CANARY_PAIR), "{shown}");

    console.stop();
}

#[test]
fn tests_are_limited_and_touch_no_lane() {
    let Some(stage) = Stage::new("test-limit", "") else { return };
    stage.connect("c", json!({}));
    let console = Console::start(&stage);
    let query = test_query();
    stage.receiver.set_behaviour("/c", failing());
    for _ in 0..10 {
        let report = console.ask(console.models.test_sends.send(&query)).unwrap();
        assert_eq!(report.status, Some(500));
        assert!(report.verdict.ends_with("A delivery would be retried."), "{}", report.verdict);
    }
    let refused = console.ask(console.models.test_sends.send(&query)).unwrap_err();
    assert!(matches!(refused, TestError::TooMany { .. }), "{refused}");
    assert_eq!(stage.receiver.counts("/c").requests, 10);
    let health = console.ask(console.models.healths.of(&[key("c")])).remove(0);
    assert!(health.lane.is_none() && health.last_failure.is_none(), "no lane was touched");
    console.stop();
}
