//! What fails: the tiers, the dead letters, edits while something is pending.

use std::collections::BTreeSet;

use barnabas::demo::receiver::Behaviour;
use serde_json::json;

use crate::support::stage::{PROJECT, Stage, event};
use crate::support::{PATIENCE, eventually};

fn failing() -> Behaviour {
    Behaviour::status(http::StatusCode::INTERNAL_SERVER_ERROR)
}

#[test]
fn an_endpoint_that_always_fails_goes_through_the_tiers_into_the_dead_letters() {
    let Some(stage) = Stage::new("tiers", "") else { return };
    stage.connect("down", json!({"auth": {"type": "bearer", "token": "canary-9f3a"}}));
    stage.receiver.set_behaviour("/down", failing());
    let service = stage.serve();
    stage.produce(0..3);
    let mut dead_letters = stage.dead_letters();
    let entries = eventually("all are dead letters", || {
        let entries = dead_letters.read();
        (entries.len() == 3).then(|| entries.to_vec())
    });
    service.stop();
    for entry in &entries {
        let id = entry.header("barnabas-webhook-id");
        let number: u64 = id[1..].parse().unwrap();
        assert_eq!(entry.value, event(number).to_string().into_bytes(), "the original bytes");
        assert_eq!(entry.key.as_deref(), Some("down"));
        let expected = [
            ("x-source", "campaign"),
            ("barnabas-format", "1"),
            ("barnabas-project", PROJECT),
            ("barnabas-connection", "down"),
            ("barnabas-connection-revision", "1"),
            ("barnabas-attempt", "4"),
            ("barnabas-last-status", "500"),
            ("barnabas-error-class", "status"),
            ("barnabas-reason", "exhausted"),
        ];
        for (name, value) in expected {
            assert_eq!(entry.header(name), value, "{name}");
        }
        assert_eq!(entry.header("barnabas-origin-topic"), stage.events());
        assert!(
            entry.header("barnabas-last-attempt-at") > entry.header("barnabas-first-attempt-at")
        );
        let mut attempts: Vec<_> = stage
            .receiver
            .receipts("/down")
            .into_iter()
            .filter(|receipt| receipt.webhook_id.as_deref() == Some(id))
            .map(|receipt| receipt.webhook_attempt.unwrap())
            .collect();
        attempts.sort();
        assert_eq!(attempts, ["1", "2", "3", "4"]);
    }
    for delay in ["300ms", "700ms", "1s"] {
        let mut tier = stage.tier(delay);
        let entries = tier.read();
        assert_eq!(entries.len(), 3, "{delay}");
        assert!(entries.iter().all(|entry| entry.key.is_none()), "every instance shares a backlog");
        assert!(entries.iter().all(|entry| entry.header("barnabas-due").len() == 13));
        let shown = format!("{entries:?}");
        assert!(!shown.contains("canary-9f3a") && !shown.to_lowercase().contains("authorization"));
    }
}

#[test]
fn what_waits_in_a_tier_is_there_after_a_restart() {
    let Some(stage) = Stage::new("waits", "[retry]\nschedule = [\"5s\"]\n") else { return };
    stage.connect("down", json!({}));
    stage.receiver.set_behaviour("/down", failing());
    let service = stage.serve();
    stage.produce(0..200);
    let mut tier = stage.tier("5s");
    eventually("all wait in the tier", || (tier.read().len() >= 200).then_some(()));
    service.stop();

    // Many of one partition are read at once, before the first of them is due.
    let service = stage.serve();
    let mut dead_letters = stage.dead_letters();
    eventually("all are dead letters", || (dead_letters.read().len() >= 200).then_some(()));
    service.stop();
    let ids =
        dead_letters.read().iter().map(|entry| entry.header("barnabas-webhook-id").to_owned());
    assert_eq!(ids.collect::<BTreeSet<_>>().len(), 200);
}

#[test]
fn an_edit_of_the_url_takes_effect_on_the_next_attempt() {
    let Some(stage) = Stage::new("edit", "") else { return };
    stage.connect("c", json!({}));
    stage.receiver.set_behaviour("/c", failing());
    stage.receiver.set_behaviour("/mended", Behaviour::Healthy);
    let service = stage.serve();
    stage.produce(0..5);
    stage.receiver.wait_for("/c", 5, PATIENCE).unwrap();
    stage.put("c", json!({"revision": 2, "url": stage.receiver.url("/mended")}));
    stage.receiver.wait_for("/mended", 5, PATIENCE).unwrap();
    service.stop();
    let attempts: Vec<_> = stage
        .receiver
        .receipts("/mended")
        .into_iter()
        .map(|r| r.webhook_attempt.unwrap())
        .collect();
    assert!(attempts.iter().all(|attempt| attempt != "1"), "{attempts:?}");
}

#[test]
fn what_is_pending_for_a_deactivated_connection_becomes_a_dead_letter() {
    let Some(stage) = Stage::new("deactivate", "") else { return };
    stage.connect("c", json!({}));
    stage.receiver.set_behaviour("/c", failing());
    let service = stage.serve();
    stage.produce(0..5);
    stage.receiver.wait_for("/c", 5, PATIENCE).unwrap();
    stage.put("c", json!({"revision": 2, "status": "inactive"}));
    let mut dead_letters = stage.dead_letters();
    let reasons: Vec<String> = eventually("all are dead letters", || {
        let entries = dead_letters.read();
        let reasons = entries.iter().map(|entry| entry.header("barnabas-reason").to_owned());
        (entries.len() == 5).then(|| reasons.collect())
    });
    service.stop();
    assert!(reasons.iter().all(|reason| reason == "connection_inactive"), "{reasons:?}");
}

#[test]
fn an_endpoint_that_is_gone_is_deactivated_for_good() {
    let Some(stage) = Stage::new("gone", "") else { return };
    stage.connect("c", json!({}));
    stage.receiver.set_behaviour("/c", Behaviour::status(http::StatusCode::GONE));
    let service = stage.serve();
    stage.produce(0..1);
    eventually("the connection is inactive", || {
        (service.metric("barnabas_connections", "inactive") == 1.0).then_some(())
    });
    service.stop();
    let service = stage.serve();
    stage.produce(1..10);
    eventually("all are read", || {
        (service.metric("barnabas_events_unmatched_total", "") >= 9.0).then_some(())
    });
    stage.connect("c", json!({"revision": 2}));
    eventually("a user's change brings it back", || {
        (service.metric("barnabas_connections", "\"active") == 1.0).then_some(())
    });
    let before = stage.receiver.counts("/c").requests;
    stage.produce(10..12);
    stage.receiver.wait_for("/c", before + 2, PATIENCE).unwrap();
    service.stop();
    let mut dead_letters = stage.dead_letters();
    assert_eq!(dead_letters.read()[0].header("barnabas-reason"), "gone");
    assert_eq!(before, 1);
}

#[test]
fn a_connection_that_cannot_be_read_defers_its_events_and_never_means_no_match() {
    let Some(stage) = Stage::new("unreadable", "[connections]\nplaintext_secrets = \"reject\"\n")
    else {
        return;
    };
    stage.connect("c", json!({}));
    let service = stage.serve();
    stage.produce(0..3);
    eventually("its events wait in a tier", || {
        (stage.tier("300ms").read().len() >= 3).then_some(())
    });
    let mut dead_letters = stage.dead_letters();
    let reasons: Vec<String> = eventually("in the end they are dead letters", || {
        let entries = dead_letters.read();
        let reasons = entries.iter().map(|entry| entry.header("barnabas-reason").to_owned());
        (entries.len() == 3).then(|| reasons.collect())
    });
    service.stop();
    assert!(reasons.iter().all(|reason| reason == "connection_unreadable"), "{reasons:?}");
    assert_eq!(stage.receiver.counts("/c").requests, 0);
}
