//! Tests of [`super`], by example.

use super::*;
use crate::engine::fixtures::{connection, name, unreadable};

const RECORDED: Timestamp = Timestamp::from_secs(2_000);

fn fan_out(table: &ConnectionTable, project: &str, event: &str, channel: &str) -> Vec<String> {
    let catalog = crate::engine::fixtures::catalog();
    let question = Question {
        project,
        event: name(&catalog.events, event),
        channel: name(&catalog.channels, channel),
        recorded_at: RECORDED,
    };
    let mut found = Vec::new();
    table.fan_out(&question, |key| found.push(key.connection().to_owned()));
    found.sort();
    found
}

fn put(table: &mut ConnectionTable, connection: Connection) {
    table.put(&connection.key.clone(), Entry::Known(Arc::new(connection)));
}

#[test]
fn an_event_goes_to_those_of_its_project_that_want_it() {
    let mut table = ConnectionTable::default();
    put(&mut table, connection("1/a").wants(&["message_open"], &["email", "sms"]).build());
    put(&mut table, connection("1/b").wants(&["message_open"], &["sms"]).build());
    put(&mut table, connection("1/c").wants(&["message_open"], &["email"]).inactive().build());
    put(
        &mut table,
        connection("1/d").wants(&["message_open"], &["email"]).created_at(2_001).build(),
    );
    put(&mut table, connection("2/e").wants(&["message_open"], &["email"]).build());
    assert_eq!(fan_out(&table, "1", "message_open", "email"), ["a"]);
    assert_eq!(fan_out(&table, "1", "message_open", "sms"), ["a", "b"]);
    assert_eq!(fan_out(&table, "2", "message_open", "email"), ["e"]);
    assert!(fan_out(&table, "1", "message_click", "email").is_empty());
    assert!(fan_out(&table, "3", "message_open", "email").is_empty());
}

#[test]
fn a_change_shows_in_the_new_table_alone() {
    let mut table = ConnectionTable::default();
    put(&mut table, connection("1/a").wants(&["message_open"], &["email"]).build());
    let before = table.clone();
    put(&mut table, connection("1/a").revision(2).wants(&["message_click"], &["email"]).build());
    assert_eq!(fan_out(&table, "1", "message_click", "email"), ["a"]);
    assert!(fan_out(&table, "1", "message_open", "email").is_empty());
    assert_eq!(fan_out(&before, "1", "message_open", "email"), ["a"]);
    table.delete(&ConnectionKey::parse("1/a").unwrap());
    assert!(fan_out(&table, "1", "message_click", "email").is_empty());
    assert_eq!(table.census(), Census::default());
}

#[test]
fn an_older_revision_changes_nothing() {
    let mut table = ConnectionTable::default();
    put(&mut table, connection("1/a").revision(7).wants(&["message_open"], &["email"]).build());
    put(&mut table, connection("1/a").revision(6).wants(&["message_click"], &["email"]).build());
    assert_eq!(fan_out(&table, "1", "message_open", "email"), ["a"]);
}

#[test]
fn an_unreadable_record_keeps_the_known_one_and_alone_never_means_no_match() {
    let mut table = ConnectionTable::default();
    let key = ConnectionKey::parse("1/a").unwrap();
    table.put(&key, unreadable(Filter::EVERYTHING));
    assert_eq!(fan_out(&table, "1", "message_open", "email"), ["a"]);
    put(&mut table, connection("1/a").wants(&["message_click"], &["email"]).build());
    table.put(&key, unreadable(Filter::EVERYTHING));
    assert!(fan_out(&table, "1", "message_open", "email").is_empty());
    assert_eq!(table.census(), Census { active: 1, ..Census::default() });
}

#[test]
fn a_deactivation_holds_for_its_revision_alone_whichever_comes_first() {
    let mut table = ConnectionTable::default();
    let key = ConnectionKey::parse("1/a").unwrap();
    table.deactivate(&key, Some(Deactivation { revision: 7, reason: "gone".into() }));
    put(&mut table, connection("1/a").revision(7).wants(&["message_open"], &["email"]).build());
    assert!(matches!(table.get(&key), Lookup::Inactive));
    assert!(fan_out(&table, "1", "message_open", "email").is_empty());
    put(&mut table, connection("1/a").revision(8).wants(&["message_open"], &["email"]).build());
    assert!(matches!(table.get(&key), Lookup::Active(_)));
    assert_eq!(fan_out(&table, "1", "message_open", "email"), ["a"]);
}
