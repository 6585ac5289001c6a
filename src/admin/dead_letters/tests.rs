//! The index of dead letters: what is found, what is shown, what is refused before anything is read.

use std::num::NonZeroU32;

use super::*;
use crate::engine::fixtures::{catalog, connection, unreadable as unreadable_entry};
use crate::engine::table::Entry;
use crate::engine::time::Timestamp;
use crate::kafka::client::KafkaConfig;
use crate::kafka::record::delivery;
use crate::kafka::topics::{TopicNames, TopicsConfig};

const SECOND: Duration = Duration::from_secs(1);

fn dead_letters(table: ConnectionTable) -> DeadLetters {
    let metrics = Arc::new(Metrics::new().unwrap());
    let names = Arc::new(TopicNames::new(&TopicsConfig::default(), &[SECOND]));
    let kafka = KafkaConfig::default();
    DeadLetters::new(Parts {
        reader: kafka.table_reader(),
        topic: names.dead_letters.as_str().into(),
        catalog: Arc::new(catalog()),
        payload: Arc::default(),
        table: watch::channel(Arc::new(table)).1,
        producer: Producer::new(&kafka.producer(), names, Arc::clone(&metrics)).unwrap(),
        retry: RetryPolicy::new(&[SECOND]).unwrap(),
        metrics,
        clock: Clock::start(),
    })
}

fn record(at_ms: u64, headers: &[(&str, &str)]) -> LogRecord {
    let own = |&(name, value): &(&str, &str)| (name.to_owned(), Some(value.as_bytes().to_vec()));
    LogRecord {
        partition: 0,
        offset: i64::try_from(at_ms).unwrap(),
        timestamp: Timestamp::from_millis(at_ms),
        key: None,
        value: Some(b"\xff".to_vec()),
        headers: headers.iter().map(own).collect(),
    }
}

fn letter(at_ms: u64, connection: &str, reason: &str) -> LogRecord {
    record(
        at_ms,
        &[
            (delivery::PROJECT, "1"),
            (delivery::CONNECTION, connection),
            (delivery::REASON, reason),
            (delivery::ATTEMPT, "9"),
            (delivery::LAST_STATUS, "503"),
            (delivery::ORIGIN_TIMESTAMP, "7000"),
        ],
    )
}

fn found(letters: &DeadLetters, query: &LetterQuery) -> Vec<u64> {
    letters.page(query).page.items.iter().map(|letter| letter.at_ms).collect()
}

fn all() -> LetterQuery {
    LetterQuery { limit: 10, ..LetterQuery::default() }
}

#[test]
fn a_query_finds_what_it_asks_for_and_says_how_many_there_are_in_all() {
    let letters = dead_letters(ConnectionTable::default());
    letters.take(&letter(10, "a", "exhausted"));
    letters.take(&letter(20, "b", "gone"));
    letters.take(&letter(30, "a", "gone"));
    letters.take(&record(40, &[(delivery::REASON, "malformed_event")]));
    letters.take(&letter(30, "a", "gone"));
    assert_eq!(found(&letters, &all()), [40, 30, 20, 10]);
    let of_a = LetterQuery { connection: ConnectionKey::parse("1/a"), ..all() };
    assert_eq!(found(&letters, &of_a), [30, 10]);
    let gone = LetterQuery { reason: Some("gone".to_owned()), ..all() };
    assert_eq!(found(&letters, &gone), [30, 20]);
    let project = LetterQuery { scope: Scope::Project("1".to_owned()), ..all() };
    assert_eq!(found(&letters, &project), [30, 20, 10]);
    let time = LetterQuery { from_ms: Some(20), to_ms: Some(40), ..all() };
    assert_eq!(found(&letters, &time), [30, 20]);
    let backwards = LetterQuery { from_ms: Some(40), to_ms: Some(20), ..all() };
    assert!(found(&letters, &backwards).is_empty());
    let first = letters.page(&LetterQuery { limit: 3, ..all() });
    assert_eq!((first.matched, first.page.items.len()), (4, 3));
    let rest = LetterQuery { cursor: first.page.next_cursor, ..all() };
    assert_eq!(found(&letters, &rest), [10]);
}

#[test]
fn a_letter_shows_what_its_headers_say_and_bytes_that_are_no_text_in_base64() {
    let shown = serde_json::to_value(Letter::of(&letter(10, "a", "exhausted"))).unwrap();
    assert_eq!(shown["id"], "10-0-10");
    assert_eq!((&shown["attempts"], &shown["last_status"]), (&9.into(), &503.into()));
    assert_eq!(shown["origin_timestamp_ms"], 7000);
    assert_eq!(
        (&shown["value"], &shown["value_base64"]),
        (&serde_json::Value::Null, &"/w==".into())
    );
    assert_eq!(shown["headers"][0], serde_json::json!(["barnabas-project", "1"]));
}

#[test]
fn what_cannot_be_put_back_is_counted_by_its_reason() {
    let mut table = ConnectionTable::default();
    let stopped = connection("1/stopped").inactive().build();
    let aged = connection("1/aged").limits(|limits| limits.max_age = Some(SECOND)).build();
    for one in [connection("1/good").build(), stopped, aged] {
        table.put(&one.key.clone(), Entry::Known(Arc::new(one)));
    }
    let unreadable = ConnectionKey::parse("1/unreadable").unwrap();
    table.put(&unreadable, unreadable_entry(crate::engine::connection::Filter::EVERYTHING));
    let letters = dead_letters(table);
    for (place, id) in ["good", "stopped", "aged", "unreadable", "deleted"].iter().enumerate() {
        letters.take(&letter(place as u64, id, "exhausted"));
    }
    letters.take(&record(9, &[(delivery::REASON, "malformed_event")]));
    let everything = RedriveOrder {
        project_id: None,
        selection: Selection::Matching(all()),
        rate_per_second: NonZeroU32::MIN,
        again: false,
    };
    let report = letters.dry_run(&everything);
    assert_eq!((report.matched, report.redrivable, report.redriven), (6, 1, 0));
    let refused = [
        Refusal::NoConnection,
        Refusal::ConnectionDeleted,
        Refusal::ConnectionInactive,
        Refusal::ConnectionUnreadable,
        Refusal::Expired,
    ];
    assert_eq!(report.refused, refused.map(|refusal| (refusal, 1)).into());
    let shown = serde_json::to_value(&report).unwrap();
    assert_eq!(shown["refused"]["connection_inactive"], 1);
    let good = Place { at_ms: 0, partition: 0, offset: 0 };
    letters.index().note_redriven(good, 5);
    let ids = Selection::Ids(vec![good, good, Place { at_ms: 77, partition: 0, offset: 77 }]);
    let again = letters.dry_run(&RedriveOrder { selection: ids.clone(), ..everything.clone() });
    let refused = [(Refusal::NotFound, 1), (Refusal::AlreadyRedriven, 1)];
    assert_eq!((again.matched, again.refused), (2, refused.into()));
    let wanted = RedriveOrder { selection: ids, again: true, ..everything };
    assert_eq!(letters.dry_run(&wanted).redrivable, 1);
}
