//! The load model's shares, and that each event means what it says.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::*;

fn events(script: Script, count: usize) -> Vec<CampaignEvent> {
    Campaign::new(script).take(count).collect()
}

fn clean() -> Script {
    Script { oddities: Oddities::NONE, ..Script::default() }
}

/// Occurrences of each event on one channel, for each message sent.
fn shares(channel: &str) -> BTreeMap<String, f64> {
    let script = Script { channel: Some(channel.to_owned()), ..clean() };
    let mut counts = BTreeMap::<String, f64>::new();
    for told in events(script, 50_000) {
        let Meaning::Deliverable { event, .. } = told.meaning else { unreachable!() };
        *counts.entry(event).or_default() += 1.0;
    }
    let sent = counts["message_send"];
    counts.into_iter().map(|(event, count)| (event, count / sent)).collect()
}

#[test]
fn the_same_script_gives_the_same_events() {
    let script = || Script { oddities: Oddities::WITH_JOURNEYS, ..Script::default() };
    assert_eq!(events(script(), 5000), events(script(), 5000));
    let other = Script { seed: 2, ..script() };
    assert_ne!(events(script(), 10), events(other, 10));
}

fn assert_shares(channel: &str, expected: &[(&str, f64)]) {
    let found = shares(channel);
    for (event, share) in expected {
        let slack = 0.001 + share * 0.1;
        assert!((found[*event] - share).abs() < slack, "{channel} {event}: {}", found[*event]);
    }
}

#[test]
fn each_channel_has_its_mix() {
    let push = [("message_delivery", 0.55), ("message_failure", 0.05), ("message_open", 0.04)];
    assert_shares("mobile_push", &push);
    let email = [("message_delivery", 0.985), ("message_failure", 0.010), ("message_open", 0.45)];
    assert_shares("email", &email);
}

#[test]
fn an_event_is_what_its_meaning_says() {
    let projects = vec!["4172".to_owned(), "shop-2".to_owned()];
    for told in events(Script { projects, ..clean() }, 2000) {
        let value: Value = serde_json::from_slice(&told.value).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let written = Meaning::Deliverable {
            project: text(&value["project_id"]),
            event: text(&value["event"]),
            channel: text(&value["properties"]["message_type"]),
        };
        assert_eq!(told.meaning, written);
        let (project, profile) = told.key.split_once(':').unwrap();
        assert_eq!(project, text(&value["project_id"]));
        assert_eq!(profile, value["properties"]["profile_id"].to_string());
        let failed = value["event"] == "message_failure";
        assert_eq!(failed, value["properties"].get("error_message").is_some());
    }
}

#[test]
fn oddities_are_as_frequent_as_asked() {
    let oddities = Oddities { duplicates: 0.01, malformed: 0.02, unknown: 0.03, multi_stage: 0.1 };
    let told = events(Script { oddities, ..Script::default() }, 50_000);
    let count = |meaning: &Meaning| told.iter().filter(|told| told.meaning == *meaning).count();
    assert!((800..1200).contains(&count(&Meaning::Malformed)));
    assert!((1100..1500).contains(&count(&Meaning::UnknownName)));
    assert!((4600..5200).contains(&count(&Meaning::MultiStage)));
    let distinct: HashSet<&Bytes> = told
        .iter()
        .filter(|told| told.meaning != Meaning::Malformed)
        .map(|told| &told.value)
        .collect();
    let repeats = told.len() - count(&Meaning::Malformed) - distinct.len();
    assert!((400..600).contains(&repeats), "{repeats}");
}

#[test]
fn a_clean_campaign_never_repeats_itself() {
    let told = events(clean(), 20_000);
    let distinct: HashSet<&Bytes> = told.iter().map(|told| &told.value).collect();
    assert_eq!(distinct.len(), told.len());
}

#[test]
fn a_single_event_comes_once_for_each_recipient() {
    let script =
        Script { event: Some("message_open".into()), channel: Some("sms".into()), ..clean() };
    let told = events(script, 100);
    let expected = Meaning::Deliverable {
        project: "4172".into(),
        event: "message_open".into(),
        channel: "sms".into(),
    };
    assert!(told.iter().all(|told| told.meaning == expected));
    let keys: HashSet<&String> = told.iter().map(|told| &told.key).collect();
    assert_eq!(keys.len(), 100);
}

#[test]
fn what_is_expected_is_counted_for_each_connection() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let interest = |project: &str, events: &[&str], channels: &[&str]| Interest {
        project: project.to_owned(),
        events: names(events),
        channels: names(channels),
    };
    let mut expectation = Expectation::new(vec![
        interest("4172", &["message_open"], &["email", "mobile_push"]),
        interest("4172", &["message_open"], &["email"]),
        interest("other", &["message_open"], &["email"]),
        interest("4172", &["message_click"], &["email"]),
    ]);
    let script = Script { event: Some("message_open".into()), ..clean() };
    for told in events(script, 1000) {
        expectation.count(&told);
    }
    let matched = expectation.matched();
    assert_eq!((matched[0], matched[2], matched[3]), (1000, 0, 0));
    assert!((300..500).contains(&matched[1]), "{matched:?}");
}
