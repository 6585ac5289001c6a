//! Test sends: the limit, the body, and what is refused before anything is sent.

use super::*;
use crate::engine::address::EgressConfig;
use crate::engine::fixtures::{catalog, connection};
use crate::engine::table::Entry;
use crate::webhook::tls::client_config;

fn sends() -> TestSends {
    let mut table = ConnectionTable::default();
    let connection = connection("1/a").inactive().build();
    table.put(&connection.key.clone(), Entry::Known(Arc::new(connection)));
    let (_, table) = watch::channel(Arc::new(table));
    TestSends::start(Parts {
        table,
        catalog: Arc::new(catalog()),
        payload: Arc::default(),
        rule: Arc::new(AddressRule::new(&EgressConfig::default(), Vec::new())),
        tls: client_config(None).unwrap(),
    })
    .unwrap()
}

fn query(key: &str, event: &str) -> TestQuery {
    TestQuery {
        connection: ConnectionKey::parse(key).unwrap(),
        event: event.to_owned(),
        channel: "email".to_owned(),
    }
}

#[test]
fn ten_tests_a_minute_of_one_connection_are_enough() {
    let mut recent = Recent::default();
    let (key, other) = (ConnectionKey::parse("1/a").unwrap(), ConnectionKey::parse("1/b").unwrap());
    let start = Instant::now();
    for second in 0..10 {
        recent.admit(&key, start + Duration::from_secs(second)).unwrap();
    }
    let refused = recent.admit(&key, start + Duration::from_secs(10));
    assert_eq!(refused, Err(TestError::TooMany { retry_after_seconds: 51 }));
    recent.admit(&other, start + Duration::from_secs(10)).unwrap();
    recent.admit(&key, start + Duration::from_secs(60)).unwrap();
    recent.admit(&other, start + Duration::from_secs(200)).unwrap();
    assert_eq!(recent.0.len(), 1, "who is quiet is forgotten");
}

#[test]
fn a_sample_is_rendered_as_every_event_and_a_failure_has_its_message() {
    let sends = sends();
    let at = Timestamp::from_secs(1_760_090_581);
    let body = |event| String::from_utf8(sends.body(&query("1/a", event), at).unwrap().to_vec());
    let open = body("message_open").unwrap();
    assert!(open.starts_with(
        r#"{"event":"message_open","time":1760090581,"properties":{"message_type":"email","#
    ));
    assert!(!open.contains("error_message"));
    assert!(body("message_fail").unwrap().contains(r#""error_message":"This is a test.""#));
}

#[tokio::test]
async fn what_cannot_be_sent_is_said() {
    let sends = sends();
    let missing = sends.send(&query("1/b", "message_open")).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no connection 1/b that can be read");
    let unknown = sends.send(&query("1/a", "message_teleport")).await.unwrap_err();
    assert_eq!(unknown.to_string(), "event: the catalog has no `message_teleport`");
}
