//! Tests of [`super`], by table, by golden record and by property.

use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::engine::address::EgressConfig;
use crate::engine::connection::Auth;
use crate::engine::fixtures::{catalog, name};
use crate::secrets::{Binding, Keyring, KeyringFollower};

const GOLDEN: &str = include_str!("../../../../tests/fixtures/v1/connection.json");
const SEALED: &str = include_str!("../../../../tests/fixtures/v1/connection-sealed.json");
const KEYRING: &str = include_str!("../../../../tests/fixtures/v1/keyring.json");
const KEY: &[u8] = b"4172/whc_01JB900M6K";

fn decoder() -> ConnectionDecoder {
    ConnectionDecoder {
        catalog: Arc::new(catalog()),
        rule: AddressRule::new(&EgressConfig::default(), Vec::new()),
        defaults: DeliveryConfig::default(),
        plaintext: PlaintextSecrets::Accept,
        topic: "barnabas.connections".into(),
        keyring: None,
    }
}

/// A decoder with the golden keyring; the folder holds its file.
fn with_keyring() -> (tempfile::TempDir, ConnectionDecoder) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring.json");
    Keyring::parse(KEYRING).unwrap().create(&path).unwrap();
    let keyring = Some(KeyringFollower::open(&path).unwrap().handle());
    (folder, ConnectionDecoder { keyring, plaintext: PlaintextSecrets::Reject, ..decoder() })
}

/// The golden sealed record with a text replaced.
fn sealed_with(from: &str, to: &str) -> String {
    assert!(SEALED.contains(from), "{from}");
    SEALED.replace(from, to)
}

/// The golden record with one value replaced; `place` is a JSON pointer, and `Value::Null` removes.
fn with(place: &str, value: Value) -> String {
    let mut record: Value = serde_json::from_str(GOLDEN).unwrap();
    let (parent, key) = place.rsplit_once('/').unwrap();
    let parent = record.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(key.to_owned(), value);
    record.to_string()
}

fn connection(value: &str) -> Connection {
    let change = decoder().decode(KEY, Some(value.as_bytes()));
    let Change::Put(connection) = change else { panic!("{value} is {change:?}") };
    connection
}

fn unreadable(decoder: &ConnectionDecoder, value: &str) -> (Filter, Vec<String>) {
    let change = decoder.decode(KEY, Some(value.as_bytes()));
    let Change::Unreadable { refusal, .. } = change else { panic!("{value} is {change:?}") };
    (refusal.filter, refusal.faults.iter().map(ToString::to_string).collect())
}

fn golden_filter() -> Filter {
    let catalog = catalog();
    let events = ["message_failure", "message_unsubscribe"];
    Filter {
        events: events.iter().map(|event| name(&catalog.events, event)).collect(),
        channels: ["email", "sms"].iter().map(|text| name(&catalog.channels, text)).collect(),
    }
}

#[test]
fn the_documented_record_is_a_connection() {
    let connection = connection(GOLDEN);
    assert_eq!(connection.key.as_str(), "4172/whc_01JB900M6K");
    assert_eq!((connection.revision, &*connection.name), (7, "CRM suppression"));
    assert_eq!(connection.status, Status::Active);
    assert_eq!(connection.endpoint.as_str(), "https://hooks.example.com/campaigns?src=xp");
    assert_eq!(connection.filter, golden_filter());
    assert_eq!(connection.limits.rate_per_second.get(), 40);
    assert_eq!(connection.limits.burst.get(), 80);
    assert_eq!(connection.limits.max_in_flight.get(), 16);
    assert_eq!(connection.limits.timeout, Duration::from_secs(15));
    assert_eq!(connection.limits.max_age, None);
    assert_eq!(connection.created_at, Timestamp::from_secs(1_759_900_000));
    let Auth::Basic { username, password } = connection.auth else { panic!("not basic") };
    assert_eq!((&*username, password.expose_secret()), ("xp", "canary-plain"));
}

#[test]
fn what_the_contract_allows_is_a_connection() {
    let cases = [
        ("/schema", json!(null)),
        ("/project_id", json!(4172)),
        ("/name", json!(" é ")),
        ("/name", json!("é".repeat(100))),
        ("/status", json!("inactive")),
        ("/auth", json!({"type": "bearer", "token": "t".repeat(4096), "other": 1})),
        ("/auth/password", json!("p".repeat(1024))),
        ("/auth/username", json!("ü".repeat(255))),
        ("/events", json!(["message_fail", "message_open", "message_open"])),
        ("/delivery", json!(null)),
        ("/delivery", json!({"max_age_seconds": 1, "other": 1})),
        ("/delivery", json!({"rate_per_second": 10000, "burst": 1, "max_in_flight": 500})),
        ("/created_at", json!(null)),
        ("/future", json!({"of": ["any", "kind"]})),
    ];
    for (place, value) in cases {
        connection(&with(place, value));
    }
}

#[test]
fn what_breaks_a_rule_is_named_by_its_field() {
    let long = |count: usize| json!("x".repeat(count));
    let cases: Vec<(&str, Vec<Value>)> = vec![
        ("/schema", vec![json!(2), json!("1"), json!(0)]),
        ("/project_id", vec![json!(null), json!("4173"), json!(4173), json!(true)]),
        ("/connection_id", vec![json!(null), json!("whc_2"), json!(5)]),
        ("/revision", vec![json!(null), json!("7"), json!(-1), json!(1.5)]),
        ("/name", vec![json!(null), json!("  "), json!("a\nb"), long(101), json!(5)]),
        ("/status", vec![json!(null), json!("paused"), json!(true)]),
        (
            "/url",
            vec![json!(null), json!("http://example.com"), json!("https://127.0.0.1/"), json!(1)],
        ),
        ("/auth", vec![json!(null), json!("basic"), json!([]), json!({"type": 5}), json!({})]),
        ("/auth/type", vec![json!("none"), json!("signed"), json!("oauth2"), json!("digest")]),
        ("/auth/username", vec![json!(null), json!(""), json!("a:b"), json!("a\u{7}"), long(256)]),
        ("/auth/password", vec![json!(null), json!(""), long(1025), json!({}), json!(5)]),
        (
            "/events",
            vec![json!(null), json!([]), json!("message_open"), json!([5]), json!(["open"])],
        ),
        ("/channels", vec![json!(null), json!([]), json!({}), json!(["fax", "email"])]),
        ("/delivery", vec![json!([]), json!(5)]),
        ("/delivery/rate_per_second", vec![json!(0), json!(10001), json!(1.5), json!("50")]),
        ("/delivery/burst", vec![json!(0), json!(10001), json!(-1)]),
        ("/delivery/max_in_flight", vec![json!(0), json!(501)]),
        ("/delivery/timeout_seconds", vec![json!(0), json!(31)]),
        ("/delivery/max_age_seconds", vec![json!(0), json!(-5), json!("1d")]),
        ("/created_at", vec![json!("2025-10-10"), json!(-1), json!(1_759_900_000_000_u64)]),
    ];
    for (place, values) in cases {
        let field = place[1..].replace('/', ".");
        for value in values {
            let (_, faults) = unreadable(&decoder(), &with(place, value.clone()));
            assert_eq!(faults.len(), 1, "{place} {value}: {faults:?}");
            assert!(faults[0].starts_with(&field), "{place} {value}: {faults:?}");
        }
    }
}

#[test]
fn a_bearer_token_is_visible_ascii() {
    for token in ["", "with space", "tök", "line\n", &"x".repeat(4097)] {
        let value = with("/auth", json!({"type": "bearer", "token": token}));
        let (_, faults) = unreadable(&decoder(), &value);
        assert_eq!(faults, ["auth.token: must have 1-4096 characters of visible ASCII"]);
    }
}

#[test]
fn all_faults_of_a_record_are_listed_and_none_shows_a_secret() {
    let value = r#"{"schema":2,"project_id":"1","connection_id":"2","revision":"canary","name":"",
        "status":"canary","url":"http://canary.example.com/canary","auth":{"type":"basic",
        "username":"canary:","password":["canary"]},"events":[],"channels":[],
        "delivery":{"rate_per_second":"canary","burst":0,"max_in_flight":0,"timeout_seconds":0,
        "max_age_seconds":0},"created_at":"canary"}"#;
    let (filter, faults) = unreadable(&decoder(), value);
    assert_eq!(filter, Filter::EVERYTHING);
    assert_eq!(faults.len(), 17, "{faults:#?}");
    assert!(!faults.concat().contains("canary"), "{faults:#?}");
}

#[test]
fn secrets_are_not_printed_with_a_change() {
    let change = decoder().decode(KEY, Some(GOLDEN.as_bytes()));
    assert!(!format!("{change:?}").contains("canary"));
}

#[test]
fn a_sealed_secret_waits_for_a_keyring() {
    let change = decoder().decode(KEY, Some(SEALED.as_bytes()));
    let Change::Unreadable { refusal, waits_for_key, .. } = change else { panic!() };
    assert_eq!(refusal.filter, golden_filter());
    let fault = "auth.password: is sealed with the key k3, and secrets.keyring_file is not set";
    let faults: Vec<_> = refusal.faults.iter().map(ToString::to_string).collect();
    assert_eq!((faults, waits_for_key), (vec![fault.to_owned()], true));
}

#[test]
fn a_sealed_secret_opens_with_its_key() {
    let (_folder, decoder) = with_keyring();
    let change = decoder.decode(KEY, Some(SEALED.as_bytes()));
    let Change::Put(connection) = change else { panic!("{change:?}") };
    let Auth::Basic { password, .. } = connection.auth else { panic!("not basic") };
    assert_eq!(password.expose_secret(), "canary-sealed");
}

#[test]
fn a_sealed_secret_opens_in_its_record_and_for_its_origin_alone() {
    let (_folder, decoder) = with_keyring();
    let refused = |key: &str, value: &str| {
        let change = decoder.decode(key.as_bytes(), Some(value.as_bytes()));
        let Change::Unreadable { refusal, waits_for_key, .. } = change else {
            panic!("{value} is {change:?}")
        };
        assert!(waits_for_key);
        let [fault] = &refusal.faults[..] else { panic!("{refusal:?}") };
        let fault = fault.to_string();
        assert!(fault.starts_with("auth.password: ") && !fault.contains("canary"), "{fault}");
    };
    refused("4172/other", &sealed_with("whc_01JB900M6K", "other"));
    refused("4173/whc_01JB900M6K", &sealed_with("\"4172\"", "\"4173\""));
    let key = "4172/whc_01JB900M6K";
    refused(key, &sealed_with("hooks.example.com", "hooks.example.net"));
    refused(key, &sealed_with("v1.k3.", "v1.k4."));
    refused(key, &sealed_with("v1.k3.", "v1.k3.A"));
    refused(key, &sealed_with("v1.k3.", "v2.k3."));
    // The path is no part of the origin, and neither is the way in which a host is written.
    for same in [
        sealed_with("/campaigns?src=xp", "/other"),
        sealed_with("https://hooks.example.com/", "HTTPS://HOOKS.example.com:443/"),
    ] {
        let change = decoder.decode(KEY, Some(same.as_bytes()));
        assert!(matches!(change, Change::Put(_)), "{change:?}");
    }
    let elsewhere = ConnectionDecoder { topic: "other.connections".into(), ..decoder.clone() };
    unreadable(&elsewhere, SEALED);
}

#[test]
fn what_was_sealed_keeps_the_rules_of_its_field() {
    let (_folder, decoder) = with_keyring();
    let keyring = Keyring::parse(KEYRING).unwrap();
    let binding = Binding {
        topic: "barnabas.connections",
        project: "4172",
        connection: "whc_01JB900M6K",
        origin: "https://hooks.example.com",
    };
    let sealed = keyring.seal(&binding, &"no token: a space".into()).unwrap();
    let value = with("/auth", json!({"type": "bearer", "token": {"sealed": sealed}}));
    let (_, faults) = unreadable(&decoder, &value);
    assert_eq!(faults, ["auth.token: must have 1-4096 characters of visible ASCII"]);
    for odd in [
        json!({"sealed": 5}),
        json!({"sealed": null}),
        json!({"sealed": ""}),
        json!({"sealed": "plain"}),
    ] {
        let (_, faults) = unreadable(&decoder, &with("/auth/password", odd));
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}

#[test]
fn a_plain_secret_needs_the_operators_leave() {
    let decoder = ConnectionDecoder { plaintext: PlaintextSecrets::Reject, ..decoder() };
    let (_, faults) = unreadable(&decoder, GOLDEN);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("plaintext_secrets") && !faults[0].contains("canary"));
}

#[test]
fn an_unreadable_record_may_want_all_that_could_not_be_read() {
    let (filter, _) = unreadable(&decoder(), &with("/url", json!("ftp://x")));
    assert_eq!(filter, golden_filter());
    let (filter, _) = unreadable(&decoder(), &with("/events", json!(["open"])));
    assert_eq!(filter, Filter { events: NameSet::ALL, ..golden_filter() });
    for value in ["", "{", "null", "[]", "\"canary\"", r#"{"events":[],"events":[]}"#] {
        let (filter, faults) = unreadable(&decoder(), value);
        assert_eq!((filter, faults.len()), (Filter::EVERYTHING, 1), "{value}");
        assert!(!faults[0].contains("canary"), "{faults:?}");
    }
}

#[test]
fn a_null_deletes_and_a_bad_key_is_nothing() {
    assert!(matches!(decoder().decode(KEY, None), Change::Delete(key) if key.project() == "4172"));
    for key in [&b""[..], b"4172", b"a/b/c", b"4172/\xff"] {
        assert!(matches!(decoder().decode(key, Some(GOLDEN.as_bytes())), Change::BadKey(_)));
    }
}

#[test]
fn defaults_out_of_bounds_count_as_the_nearest_bound() {
    let config = DeliveryConfig {
        rate_per_second: 0,
        burst: 99_999,
        max_in_flight: 501,
        timeout_seconds: 60,
        ..DeliveryConfig::default()
    };
    let limits = default_limits(&config);
    let numbers = (limits.rate_per_second.get(), limits.burst.get(), limits.max_in_flight.get());
    assert_eq!((numbers, limits.timeout), ((1, 10_000, 500), Duration::from_secs(30)));
}

#[test]
fn the_section_knows_two_words() {
    let read = |json: Value| serde_json::from_value::<ConnectionsConfig>(json);
    assert_eq!(read(json!({})).unwrap().plaintext_secrets, PlaintextSecrets::Accept);
    let reject = read(json!({"plaintext_secrets": "reject"})).unwrap();
    assert_eq!(reject.plaintext_secrets, PlaintextSecrets::Reject);
    assert!(read(json!({"plaintext_secrets": "Accept"})).is_err());
    assert!(read(json!({"other": 1})).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        key in prop::collection::vec(any::<u8>(), 0..20),
        value in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
    ) {
        let _ = decoder().decode(&key, value.as_deref());
    }

    #[test]
    fn no_change_of_a_byte_shows_the_secret(place in 0..GOLDEN.len(), byte in any::<u8>()) {
        let mut value = GOLDEN.as_bytes().to_vec();
        value[place] = byte;
        let shown = format!("{:?}", decoder().decode(KEY, Some(&value)));
        prop_assert!(!shown.contains("canary") && !shown.contains("plain\""));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        name in "[a-zA-Zäß\"\\\\]{1,100}",
        revision in any::<u64>(),
        burst in prop::option::of(1..=10_000_u32),
        age in prop::option::of(1..=u32::MAX),
        created_at in 0..18_000_000_000_u64,
        by in prop::option::of("token:[a-z]{1,20}"),
    ) {
        let mut read = connection(GOLDEN);
        read.name = name.into();
        read.revision = revision;
        read.created_at = Timestamp::from_secs(created_at);
        read.notes.own_limits.burst = burst.and_then(NonZeroU32::new);
        read.notes.own_limits.max_age_seconds = age.and_then(NonZeroU32::new);
        read.limits = read.notes.own_limits.over(default_limits(&DeliveryConfig::default()));
        read.notes.updated_by = by.map(Into::into);
        let written = encode::encode(&read, &catalog(), |secret| json!(secret.expose_secret()));
        let again = connection(&written.to_string());
        prop_assert_eq!(format!("{read:?}"), format!("{again:?}"));
    }
}
