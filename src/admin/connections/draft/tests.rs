//! Tests of [`super`], by example.

use std::sync::Arc;

use super::*;
use crate::engine::address::{AddressRule, EgressConfig};
use crate::engine::connection::DeliveryConfig;
use crate::engine::fixtures::catalog;

const NOW: Timestamp = Timestamp::from_secs(1_760_000_000);

fn decoder() -> ConnectionDecoder {
    ConnectionDecoder {
        catalog: Arc::new(catalog()),
        rule: AddressRule::new(&EgressConfig::default(), Vec::new()),
        defaults: DeliveryConfig::default(),
        plaintext: PlaintextSecrets::Reject,
        topic: "connections".into(),
        keyring: None,
    }
}

fn compose(draft: &Value, known: Option<&Connection>) -> Result<Composed, Vec<String>> {
    let key = ConnectionKey::parse("4172/whc_1").unwrap();
    let revision = known.map_or(1, |known| known.revision + 1);
    let now = NOW + std::time::Duration::from_secs(revision);
    let base = Base { key: &key, revision, created_at: NOW, known, author: "token:ops", now };
    let draft = Draft::parse(draft.to_string().as_bytes()).unwrap();
    draft
        .compose(&base, &decoder())
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn basic() -> Value {
    json!({
        "name": "CRM", "url": "https://hooks.example.com/in",
        "auth": {"type": "basic", "username": "xp", "password": "canary"},
        "events": ["message_fail"], "channels": ["email"], "delivery": {"burst": 7},
    })
}

fn password(connection: &Connection) -> &str {
    let Auth::Basic { password, .. } = &connection.auth else { panic!("{connection:?}") };
    password.expose_secret()
}

#[test]
fn a_draft_becomes_a_connection() {
    let Composed { connection, changed } = compose(&basic(), None).unwrap();
    assert_eq!((connection.revision, password(&connection)), (1, "canary"));
    assert_eq!(connection.created_at, NOW);
    assert_eq!(connection.notes.updated_by.as_deref(), Some("token:ops"));
    assert_eq!(connection.notes.secret_set_at.map(Timestamp::as_secs), Some(1_760_000_001));
    assert!(
        changed.contains(&"auth.password".to_owned())
            && changed.contains(&"delivery.burst".to_owned())
    );
}

#[test]
fn a_secret_that_is_left_out_stays_and_is_no_change() {
    let known = compose(&basic(), None).unwrap().connection;
    for blank in [json!(null), json!("")] {
        let mut draft = basic();
        draft["auth"]["password"] = blank;
        let Composed { connection, changed } = compose(&draft, Some(&known)).unwrap();
        assert_eq!((password(&connection), changed.as_slice()), ("canary", &[][..]));
        assert_eq!(connection.notes.secret_set_at, known.notes.secret_set_at);
    }
    let Composed { connection, changed } = compose(&basic(), Some(&known)).unwrap();
    assert_eq!(changed, ["auth.password"], "whether it is the same is nobody's business");
    assert!(connection.notes.secret_set_at > known.notes.secret_set_at);
}

#[test]
fn a_secret_is_not_sent_elsewhere_by_mistake() {
    let known = compose(&basic(), None).unwrap().connection;
    let mut draft = basic();
    draft["auth"]["password"] = json!("");
    draft["url"] = json!("https://evil.example.com/in");
    let faults = compose(&draft, Some(&known)).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("auth.password: the URL leads to another host"), "{faults:?}");
    draft["auth"]["password"] = json!("again");
    assert_eq!(password(&compose(&draft, Some(&known)).unwrap().connection), "again");
    draft["auth"] = json!({"type": "bearer"});
    draft["url"] = json!("https://hooks.example.com/in");
    assert_eq!(compose(&draft, Some(&known)).unwrap_err(), ["auth.token: is missing"]);
}

#[test]
fn only_what_differs_is_a_change() {
    let known = compose(&basic(), None).unwrap().connection;
    let mut draft = basic();
    draft["auth"]["password"] = json!(null);
    draft["name"] = json!("Other");
    draft["delivery"] = json!({"max_in_flight": 3});
    draft["status"] = json!("inactive");
    let changed = compose(&draft, Some(&known)).unwrap().changed;
    assert_eq!(changed, ["delivery.burst", "delivery.max_in_flight", "name", "status"]);
}

#[test]
fn what_is_shown_may_be_sent_back_and_what_is_unknown_may_not() {
    let mut draft = basic();
    for name in SHOWN {
        draft[name] = json!("anything");
    }
    draft["auth"]["has_secret"] = json!(true);
    assert!(compose(&draft, None).is_ok());
    draft["nmae"] = json!("x");
    draft["auth"]["secret"] = json!("canary");
    draft["delivery"]["rate"] = json!(1);
    let faults = compose(&draft, None).unwrap_err();
    let fields: Vec<_> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
    assert_eq!(fields, ["nmae", "auth.secret", "delivery.rate"]);
    assert!(!faults.concat().contains("canary"));
}

#[test]
fn ciphertext_is_no_secret_of_a_user() {
    let mut draft = basic();
    draft["auth"]["password"] = json!({"sealed": "v1.k.canary"});
    assert_eq!(compose(&draft, None).unwrap_err(), ["auth.password: must be a text"]);
}

#[test]
fn a_draft_is_an_object_and_prints_no_value() {
    for body in ["", "[]", "5", "{\"canary"] {
        let fault = Draft::parse(body.as_bytes()).unwrap_err();
        assert!(!fault.contains("canary"), "{fault}");
    }
    let draft = Draft::parse(basic().to_string().as_bytes()).unwrap();
    assert!(!format!("{draft:?}").contains("canary"));
}

#[test]
fn every_url_that_the_rule_refuses_is_refused_when_it_is_entered() {
    #[derive(serde::Deserialize)]
    struct Urls {
        refused: Vec<String>,
    }
    let table = include_str!("../../../../tests/fixtures/urls.json");
    let urls: Urls = serde_json::from_str(table).unwrap();
    assert!(urls.refused.len() > 90, "{}", urls.refused.len());
    for url in urls.refused {
        let mut draft = basic();
        draft["url"] = url.as_str().into();
        let faults = compose(&draft, None).map(|_| ()).unwrap_err();
        assert!(faults.iter().all(|fault| fault.starts_with("url: ")), "{url}: {faults:?}");
    }
}
