//! The schemas against the contract's examples, by the few keywords that they use.

use serde_json::{Value, json};

use super::Record;
use crate::engine::delivery::DeadLetterReason;
use crate::kafka::record::attempt::AttemptOutcome;

fn schema(record: Record) -> Value {
    serde_json::from_str(&record.schema()).unwrap()
}

/// Where a value breaks a schema: types, `required`, `const`, `enum`, bounds, `oneOf` and `$ref`; patterns are
/// not looked at.
fn breaks(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).expect("every $ref has a target");
        found.extend(breaks(root, target, value, path));
    }
    if !has_type(&schema["type"], value) {
        found.push(format!("{path}: type"));
    }
    if schema.get("const").is_some_and(|wanted| wanted != value) {
        found.push(format!("{path}: const"));
    }
    if schema["enum"].as_array().is_some_and(|choices| !choices.contains(value)) {
        found.push(format!("{path}: enum"));
    }
    let number = value.as_f64();
    let breaks_bound = |name: &str, breaks: fn(f64, f64) -> bool| {
        schema[name].as_f64().zip(number).is_some_and(|(bound, number)| breaks(number, bound))
    };
    if breaks_bound("minimum", |number, least| number < least)
        || breaks_bound("maximum", |number, most| number > most)
        || breaks_bound("exclusiveMaximum", |number, end| number >= end)
    {
        found.push(format!("{path}: range"));
    }
    let few = |items: &Vec<Value>| schema["minItems"].as_u64().unwrap_or(0) > items.len() as u64;
    if value.as_array().is_some_and(few) {
        found.push(format!("{path}: minItems"));
    }
    if let Some(branches) = schema["oneOf"].as_array() {
        let fits = |branch: &&Value| breaks(root, branch, value, path).is_empty();
        if branches.iter().filter(fits).count() != 1 {
            found.push(format!("{path}: oneOf"));
        }
    }
    let names = schema["required"].as_array().filter(|_| value.is_object());
    for name in names.into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{path}.{name}: required"));
        }
    }
    if schema["additionalProperties"] == false {
        let known = schema["properties"].as_object();
        let is_known = |name: &String| known.is_some_and(|known| known.contains_key(name));
        let names = value.as_object().into_iter().flat_map(|object| object.keys());
        found.extend(
            names.filter(|name| !is_known(name)).map(|name| format!("{path}.{name}: unknown")),
        );
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            found.extend(breaks(root, inner, value, &format!("{path}.{name}")));
        }
    }
    found
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => unreachable!("no schema uses the type {other}"),
    };
    match wanted {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    }
}

fn check(record: Record, value: &Value) -> Vec<String> {
    let schema = schema(record);
    breaks(&schema, &schema, value, "")
}

fn event() -> Value {
    json!({"event_id": "01JB8Z6W6Q0R5T8M3N2K7P4V9C", "project_id": "4172", "event": "message_open",
        "time": 1_760_090_581, "properties": {"message_type": "mobile_push", "campaign_id": 245_624,
        "profile_id": 98_234_411, "device_id": 17_186_391, "trigger_id": 21_714_179,
        "user_id": "crm-884213", "email": "jane.doe@example.com"}})
}

fn connection() -> Value {
    json!({"schema": 1, "project_id": "4172", "connection_id": "whc_01JB900M6K", "revision": 7,
        "name": "CRM suppression", "status": "active",
        "url": "https://hooks.example.com/campaigns?src=xp",
        "auth": {"type": "basic", "username": "xp", "password": {"sealed": "v1.k3.x"}},
        "events": ["message_failure", "message_unsubscribe"], "channels": ["email", "sms"],
        "delivery": {"rate_per_second": 50, "burst": 50, "max_in_flight": 16, "timeout_seconds": 15},
        "created_at": 1_759_900_000, "updated_at": 1_760_080_000, "updated_by": "token:ops"})
}

#[test]
fn the_examples_of_the_contract_are_accepted() {
    assert_eq!(check(Record::Event, &event()), [""; 0]);
    assert_eq!(check(Record::Connection, &connection()), [""; 0]);
    let mut bearer = connection();
    bearer["auth"] = json!({"type": "bearer", "token": "t0ken"});
    assert_eq!(check(Record::Connection, &bearer), [""; 0]);
    let headers = json!({"barnabas-format": "1", "barnabas-reason": "exhausted",
        "barnabas-origin-topic": "campaign.actions", "barnabas-origin-partition": "3",
        "barnabas-origin-offset": "1042", "barnabas-origin-timestamp": "1760090581000",
        "barnabas-attempt": "9", "barnabas-last-status": "503", "barnabas-error-class": "status"});
    let dead = json!({"key": "whc_1", "value": "{}", "headers": headers});
    assert_eq!(check(Record::DeadLetter, &dead), [""; 0]);
}

#[test]
fn what_breaks_the_contract_is_refused() {
    for (pointer, value) in [
        ("/time", json!("1760090581")),
        ("/time", json!(100_000_000_000_u64)),
        ("/properties/campaign_id", json!(null)),
        ("/properties/email", json!(5)),
        ("/project_id", json!(["4172"])),
    ] {
        let mut bad = event();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert_eq!(check(Record::Event, &bad).len(), 1, "{pointer}");
    }
    for (pointer, value) in [
        ("/status", json!("paused")),
        ("/events", json!([])),
        ("/delivery/timeout_seconds", json!(31)),
        ("/auth/type", json!("digest")),
        ("/auth/password", json!(5)),
    ] {
        let mut bad = connection();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert_eq!(check(Record::Connection, &bad).len(), 1, "{pointer}");
    }
}

#[test]
fn attempts_as_they_are_written_are_accepted() {
    let golden = include_str!("../../../tests/fixtures/v1/attempt.json");
    let mut attempt: Value = serde_json::from_str(golden).unwrap();
    assert_eq!(check(Record::Attempt, &attempt), [""; 0]);
    for absent in ["status", "connect_ms", "answer", "next"] {
        attempt[absent] = json!(null);
    }
    assert_eq!(check(Record::Attempt, &attempt), [""; 0]);
    attempt["request"]["is_body_cut"] = json!("no");
    assert_eq!(check(Record::Attempt, &attempt), [".request.is_body_cut: type"]);
    let schema = schema(Record::Attempt);
    for outcome in schema["properties"]["outcome"]["enum"].as_array().unwrap() {
        let read: AttemptOutcome = serde_json::from_value(outcome.clone()).unwrap();
        assert_ne!(read, AttemptOutcome::Unknown, "{outcome}");
    }
}

#[test]
fn every_reason_of_a_dead_letter_is_named() {
    let schema = schema(Record::DeadLetter);
    let named = schema["properties"]["headers"]["properties"]["barnabas-reason"]["enum"].clone();
    assert_eq!(named, json!(DeadLetterReason::ALL.map(DeadLetterReason::as_str)));
}

#[test]
fn configurations_are_judged_as_the_service_does() {
    let files = [
        include_str!("../../../config/default.toml"),
        include_str!("../../../config/production.toml"),
    ];
    for text in files {
        let file: Value = toml::from_str(text).unwrap();
        assert_eq!(check(Record::Config, &file), [""; 0]);
    }
    for (text, fault) in [
        ("delivery.burst = 0", ".delivery.burst: range"),
        ("delivery.burts = 5", ".delivery.burts: unknown"),
        ("retry.schedule = '5s'", ".retry.schedule: type"),
        ("log.format = 'xml'", ".log.format: enum"),
        ("retri.x = 5", ".retri: unknown"),
    ] {
        assert_eq!(check(Record::Config, &toml::from_str(text).unwrap()), [fault], "{text}");
    }
    let free: Value = toml::from_str("kafka.properties.'sasl.username' = 'svc'").unwrap();
    assert_eq!(check(Record::Config, &free), [""; 0]);
}
