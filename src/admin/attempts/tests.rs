//! The index of attempts: what it keeps, what it finds, what it counts.

use super::index::{KEPT, KEPT_OF_ONE};
use super::*;

const GOLDEN: &str = include_str!("../../../tests/fixtures/v1/attempt.json");
const HOUR_MS: u64 = 3_600_000;
const NOW_MS: u64 = 500 * 24 * HOUR_MS;

fn attempts() -> Attempts {
    Attempts::new(ClientConfig::new(), "attempts", AttemptsLogged::All)
}

fn record(connection: &str, at_ms: u64, offset: i64, outcome: &str) -> LogRecord {
    let mut value: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    value["connection_id"] = connection.into();
    value["at_ms"] = at_ms.into();
    value["outcome"] = outcome.into();
    LogRecord {
        partition: 0,
        offset,
        timestamp: Timestamp::from_millis(at_ms),
        key: None,
        value: Some(value.to_string().into_bytes()),
        headers: Vec::new(),
    }
}

fn key(connection: &str) -> ConnectionKey {
    ConnectionKey::parse(&format!("4172/{connection}")).unwrap()
}

fn offsets(attempts: &Attempts, query: &AttemptQuery) -> Vec<i64> {
    attempts.page(query).page.items.iter().map(|summary| summary.id.offset).collect()
}

fn all() -> AttemptQuery {
    AttemptQuery { limit: 10, ..AttemptQuery::default() }
}

#[test]
fn a_query_finds_what_it_asks_for_page_by_page() {
    let attempts = attempts();
    for (offset, (connection, outcome)) in
        [("a", "delivered"), ("b", "status"), ("a", "dns"), ("a", "delivered")].iter().enumerate()
    {
        let at_ms = NOW_MS + u64::try_from(offset).unwrap();
        attempts.take(&record(connection, at_ms, i64::try_from(offset).unwrap(), outcome));
    }
    assert_eq!(offsets(&attempts, &all()), [3, 2, 1, 0]);
    let of_a = AttemptQuery { connection: Some(key("a")), ..all() };
    assert_eq!(offsets(&attempts, &of_a), [3, 2, 0]);
    let failed = AttemptQuery { outcome: Some("failed".parse().unwrap()), ..all() };
    assert_eq!(offsets(&attempts, &failed), [2, 1]);
    let dns = AttemptQuery { outcome: Some("dns".parse().unwrap()), ..of_a.clone() };
    assert_eq!(offsets(&attempts, &dns), [2]);
    let time = AttemptQuery { from_ms: Some(NOW_MS + 1), to_ms: Some(NOW_MS + 3), ..all() };
    assert_eq!(offsets(&attempts, &time), [2, 1]);
    let other = AttemptQuery { project_id: Some("77".to_owned()), ..all() };
    assert!(offsets(&attempts, &other).is_empty());
    let first = attempts.page(&AttemptQuery { limit: 2, ..of_a.clone() }).page;
    let rest = AttemptQuery { cursor: first.next_cursor, ..of_a };
    assert_eq!(offsets(&attempts, &rest), [0]);
    assert!("teapot".parse::<OutcomeFilter>().is_err());
}

#[test]
fn the_last_of_each_connection_are_kept_and_all_together_are_bounded() {
    let attempts = attempts();
    attempts.take(&record("quiet", NOW_MS, 0, "status"));
    let many = KEPT_OF_ONE + 50;
    for offset in 1..=i64::try_from(many).unwrap() {
        attempts.take(&record("loud", NOW_MS + offset.unsigned_abs(), offset, "delivered"));
    }
    let of =
        |connection: &str| AttemptQuery { connection: Some(key(connection)), limit: 500, ..all() };
    assert_eq!(offsets(&attempts, &of("loud")).len(), KEPT_OF_ONE);
    assert_eq!(offsets(&attempts, &of("quiet")), [0], "a loud neighbour pushes nothing out");
    assert_eq!(attempts.last_failure(&key("quiet")).unwrap().id.offset, 0);
    assert!(attempts.last_failure(&key("loud")).is_none());
    const { assert!(KEPT > KEPT_OF_ONE) };
}

#[test]
fn rates_count_what_was_the_endpoints_doing_and_each_attempt_once() {
    let attempts = attempts();
    let now = Timestamp::from_millis(NOW_MS);
    let mut samples = vec![record("a", NOW_MS - 2 * HOUR_MS, 0, "status")];
    samples.push(record("a", NOW_MS - 1000, 1, "delivered"));
    samples.push(record("a", NOW_MS - 1000, 2, "our_fault"));
    samples.push(record("a", NOW_MS - 500, 3, "timeout"));
    for sample in samples.iter().chain(&samples) {
        attempts.take(sample);
    }
    let rates = attempts.rates(&key("a"), now).unwrap();
    assert_eq!((rates.last_hour.succeeded, rates.last_hour.failed), (1, 1));
    assert_eq!(rates.last_hour.success_rate, Some(0.5));
    assert_eq!((rates.last_day.succeeded, rates.last_day.failed), (1, 2));
    assert_eq!((rates.by_minute.len(), rates.by_ten_minutes.len()), (60, 144));
    let later = Timestamp::from_millis(NOW_MS + 25 * HOUR_MS);
    assert_eq!(attempts.rates(&key("a"), later).unwrap().last_day.success_rate, None);
    assert!(attempts.rates(&key("b"), now).is_none());
}

#[test]
fn a_sampled_success_counts_for_those_that_were_passed_over() {
    let attempts = attempts();
    let mut sampled = record("a", NOW_MS, 1, "delivered");
    let value = String::from_utf8(sampled.value.unwrap()).unwrap();
    sampled.value = Some(value.replace(r#""stands_for":1"#, r#""stands_for":10"#).into_bytes());
    attempts.take(&sampled);
    let rates = attempts.rates(&key("a"), Timestamp::from_millis(NOW_MS)).unwrap();
    assert_eq!(rates.last_hour.succeeded, 10);
}

#[test]
fn who_follows_live_gets_what_is_new_and_nothing_of_before() {
    let attempts = attempts();
    let mut live = attempts.live();
    attempts.take(&record("a", NOW_MS, 0, "delivered"));
    attempts.caught_up.store(true, Ordering::Release);
    attempts.take(&record("a", NOW_MS + 1, 1, "delivered"));
    assert_eq!(live.try_recv().unwrap().id.offset, 1);
    assert!(live.try_recv().is_err());
}

#[test]
fn a_summary_is_flat_json_without_bodies() {
    let attempts = attempts();
    attempts.take(&record("a", NOW_MS, 7, "status"));
    let page = serde_json::to_value(attempts.page(&all())).unwrap();
    let item = &page["items"][0];
    assert_eq!(item["id"], format!("{NOW_MS}-0-7"));
    assert_eq!((&item["outcome"], &item["next"]["tier"]), (&"status".into(), &"30s".into()));
    assert!(item.get("request").is_none() && item.get("schema").is_none(), "{item}");
    assert_eq!(page["next_cursor"], serde_json::Value::Null);
}
