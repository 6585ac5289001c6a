//! Tests of [`super`], by table, by golden record and by property.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::engine::fixtures::catalog;
use crate::engine::time::Timestamp;

const GOLDEN: &str = include_str!("../../../../tests/fixtures/v1/event.json");
const GOLDEN_BODY: &str = include_str!("../../../../tests/fixtures/v1/body.json");
const MAX_BYTES: u32 = 4096;

fn read(value: &str) -> Decoded<'_> {
    decode(Some(value.as_bytes()), &catalog(), MAX_BYTES)
}

/// What became of a value: `event`, a skip's label, or a dead letter's reason.
fn outcome(value: &[u8]) -> &'static str {
    match decode(Some(value), &catalog(), MAX_BYTES) {
        Decoded::Event(_) => "event",
        Decoded::Skip(reason) => reason.as_str(),
        Decoded::Malformed(reason, _) => reason.as_str(),
    }
}

fn fault(value: &str) -> String {
    let decoded = read(value);
    let Decoded::Malformed(_, fault) = decoded else { panic!("{value} is {decoded:?}") };
    fault
}

/// A small event with one key replaced, added, or (by an empty text) left out.
fn with(key: &str, json: &str) -> String {
    let mut top = vec![("project_id", "\"4172\""), ("event", "\"message_open\""), ("time", "1")];
    let mut inner = vec![("message_type", "\"sms\""), ("campaign_id", "1"), ("profile_id", "2")];
    let is_top = matches!(key, "project_id" | "event" | "time" | "event_id" | "campaign_stage");
    let fields = if is_top { &mut top } else { &mut inner };
    fields.retain(|(name, _)| *name != key);
    if !json.is_empty() {
        fields.push((key, json));
    }
    let join = |fields: &[(&str, &str)]| {
        fields.iter().map(|(key, json)| format!("\"{key}\":{json}")).collect::<Vec<_>>().join(",")
    };
    format!("{{{},\"properties\":{{{}}}}}", join(&top), join(&inner))
}

fn body(value: &str) -> String {
    body_by(value, &PayloadConfig::default())
}

fn body_by(value: &str, config: &PayloadConfig) -> String {
    let Decoded::Event(fields) = read(value) else { panic!("{value} is no event") };
    let origin = origin();
    let id = event_id(&fields, &origin);
    let record =
        Record { value: Bytes::copy_from_slice(value.as_bytes()), headers: Vec::new(), origin };
    let event = to_event(&fields, id, record, &catalog(), config);
    String::from_utf8(event.body.to_vec()).unwrap()
}

fn origin() -> Origin {
    Origin {
        topic: "campaign.actions".into(),
        partition: 3,
        offset: 1042,
        timestamp: Timestamp::EPOCH,
    }
}

#[test]
fn the_documented_event_gives_the_documented_body() {
    assert_eq!(body(GOLDEN), GOLDEN_BODY.trim_end());
}

#[test]
fn every_optional_property_may_be_null_or_absent() {
    let bare = r#"{"event":"message_open","time":1,"properties":{"message_type":"sms","campaign_id":1,"profile_id":2,"device_id":null,"trigger_id":null,"user_id":null,"email":null}}"#;
    assert_eq!(body(&with("", "")), bare);
    for key in ["device_id", "trigger_id", "user_id", "email", "external_message_id"] {
        assert_eq!(body(&with(key, "null")), bare, "{key}");
    }
}

#[test]
fn an_alias_is_delivered_as_the_name_and_a_failure_says_why() {
    let failure = with("error_message", "\"bounced\"").replace("message_open", "message_fail");
    let expected = r#"{"event":"message_failure","time":1,"properties":{"message_type":"sms","campaign_id":1,"profile_id":2,"device_id":null,"trigger_id":null,"user_id":null,"email":null,"error_message":"bounced"}}"#;
    assert_eq!(body(&failure), expected);
    assert!(!body(&with("error_message", "\"bounced\"")).contains("error_message"));
}

#[test]
fn other_properties_are_forwarded_only_where_the_operator_says_so() {
    let value = with("variation", "{\"id\": 5}");
    assert!(!body(&value).contains("variation"));
    let extra_properties = vec!["variation".to_owned(), "absent".to_owned()];
    let config = PayloadConfig { extra_properties, ..PayloadConfig::default() };
    assert!(body_by(&value, &config).ends_with(r#""email":null,"variation":{"id": 5}}}"#));
}

#[test]
fn identifiers_are_echoed_byte_for_byte() {
    for json in [
        "9007199254740993",
        "-1",
        "123456789012345678901234567890",
        "\"00123\"",
        r#""\u00e9\/\"\\ \ud83d\ude00""#,
        "\"\u{e9}\"",
        "\"\"",
    ] {
        for key in ["campaign_id", "profile_id", "device_id", "trigger_id", "user_id"] {
            let body = body(&with(key, json));
            assert!(body.contains(&format!("\"{key}\":{json}")), "{key} {json}: {body}");
        }
        let body = body(&with("external_message_id", json));
        assert!(body.ends_with(&format!("\"external_message_id\":{json}}}}}")), "{body}");
    }
}

#[test]
fn what_breaks_the_contract_is_malformed() {
    let cases: &[(&str, &[&str])] = &[
        ("project_id", &["", "null", "\"\"", "\"a/b\"", "1.0", "1e3", "true", "[]", "{}"]),
        ("project_id", &["18446744073709551616"]),
        ("event", &["", "null", "5", "[]", "\"\\ud800\""]),
        (
            "time",
            &["", "null", "0", "-1", "1.0", "1e9", "\"1\"", "100000000000", "99999999999999999999"],
        ),
        ("event_id", &["5", "true", "{}"]),
        ("campaign_stage", &["\"\"", "\"Multi\"", "1", "true", "[]"]),
        ("message_type", &["", "null", "5"]),
        ("campaign_id", &["", "null", "1.5", "1e3", "true", "[1]", "{}"]),
        ("profile_id", &["", "null", "-0.0", "false"]),
        ("device_id", &["1.5", "true", "[]"]),
        ("trigger_id", &["1E3", "{}"]),
        ("user_id", &["false", "0.1"]),
        ("external_message_id", &["false", "[]"]),
        ("email", &["5", "[]"]),
        ("error_message", &["5", "{}"]),
    ];
    for (key, values) in cases {
        for json in *values {
            assert_eq!(outcome(with(key, json).as_bytes()), "malformed_event", "{key}: {json}");
        }
    }
}

#[test]
fn what_the_contract_allows_is_an_event() {
    let cases: &[(&str, &[&str])] = &[
        ("project_id", &["4172", "-7", "18446744073709551615", "\"\\u0041\""]),
        ("time", &["1", "99999999999"]),
        ("event_id", &["null", "\"\"", "\"any text at all\""]),
        ("campaign_stage", &["null", "\"single\"", "\"\\u0073ingle\""]),
        ("event", &["\"message\\u005fopen\""]),
        ("email", &["null", "\"\""]),
        ("unknown", &["[[[{}]]]", "1.5", "\"{[{[\""]),
    ];
    for (key, values) in cases {
        for json in *values {
            assert_eq!(outcome(with(key, json).as_bytes()), "event", "{key}: {json}");
        }
    }
}

#[test]
fn bytes_that_are_no_object_are_malformed() {
    let golden = GOLDEN.trim_end();
    let twice = format!("{golden}{golden}");
    let inner_list =
        r#"{"project_id":"1","event":"message_open","time":1,"properties":["sms",1,2]}"#;
    let list =
        r#"["1","message_open",1,null,null,{"message_type":"sms","campaign_id":1,"profile_id":2}]"#;
    for value in
        ["", " ", "null", "5", "\"x\"", "[]", "{}", "{", "\u{feff}{}", inner_list, list, &twice]
    {
        assert_eq!(outcome(value.as_bytes()), "malformed_event", "{value}");
    }
    for end in 0..golden.len() {
        assert_eq!(outcome(&golden.as_bytes()[..end]), "malformed_event", "{end}");
    }
    let mut not_utf8 = with("email", "\"x\"").into_bytes();
    let place = not_utf8.iter().rposition(|byte| *byte == b'x').unwrap();
    not_utf8[place] = 0xff;
    assert_eq!(outcome(&not_utf8), "malformed_event");
}

#[test]
fn a_known_key_may_not_stand_twice_and_an_unknown_one_may() {
    for (once, twice) in [
        ("\"time\":1", "\"time\":1,\"time\":2"),
        ("\"campaign_id\":1", "\"campaign_id\":1,\"campaign_id\":1"),
        ("\"time\":1", "\"time\":1,\"properties\":null"),
        ("\"time\":1", "\"event_id\":null,\"time\":1,\"event_id\":\"x\""),
    ] {
        assert_eq!(outcome(with("", "").replace(once, twice).as_bytes()), "malformed_event");
    }
    let doubled = with("", "").replace("\"time\":1", "\"time\":1,\"x\":1,\"x\":2");
    assert_eq!(outcome(doubled.as_bytes()), "event");
}

#[test]
fn nesting_is_measured_outside_of_texts_and_before_parsing() {
    let nested = |depth: usize| with("x", &format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    // The event itself has two levels.
    assert_eq!(outcome(nested(62).as_bytes()), "event");
    assert_eq!(outcome(nested(63).as_bytes()), "malformed_event");
    assert!(fault(&nested(63)).contains("deeper"));
    assert_eq!(outcome(with("x", &format!("\"\\\"{}\"", "[".repeat(500))).as_bytes()), "event");
    assert_eq!(outcome(with("x", &format!("[{}[]]", "{},".repeat(500))).as_bytes()), "event");
    let deep = nested(100_000);
    for value in [deep.as_str(), &"[".repeat(100_000), &"{\"a\":".repeat(100_000)] {
        let decoded = decode(Some(value.as_bytes()), &catalog(), u32::MAX);
        assert!(matches!(decoded, Decoded::Malformed(DeadLetterReason::MalformedEvent, _)));
    }
}

#[test]
fn the_limit_holds_before_anything_is_read() {
    let value = with("x", &format!("\"{}\"", "y".repeat(MAX_BYTES as usize)));
    assert_eq!(outcome(value.as_bytes()), "too_large");
    assert_eq!(outcome(&[0xff; MAX_BYTES as usize + 1]), "too_large");
    assert_eq!(outcome(&[0xff; MAX_BYTES as usize]), "malformed_event");
}

#[test]
fn what_nobody_can_want_is_skipped() {
    let decoded = decode(None, &catalog(), MAX_BYTES);
    assert!(matches!(decoded, Decoded::Skip(SkipReason::NullValue)));
    assert_eq!(outcome(with("campaign_stage", "\"multi\"").as_bytes()), "multi_stage");
    assert_eq!(outcome(with("event", "\"MESSAGE_OPEN\"").as_bytes()), "unknown_event");
    assert_eq!(outcome(with("message_type", "\"fax\"").as_bytes()), "unknown_channel");
}

#[test]
fn a_fault_outranks_a_journey_and_a_journey_an_unknown_name() {
    let journey = with("campaign_stage", "\"multi\"");
    let broken = journey.replace("\"campaign_id\":1", "\"campaign_id\":1.5");
    assert_eq!(outcome(broken.as_bytes()), "malformed_event");
    assert_eq!(outcome(journey.replace("message_open", "nonsense").as_bytes()), "multi_stage");
}

#[test]
fn an_unknown_name_is_cut_and_escaped_for_the_log() {
    let value = with("event", &format!("\"a\\n{}\"", "x".repeat(500)));
    let Decoded::Skip(SkipReason::UnknownEvent(name)) = read(&value) else { panic!("{value}") };
    assert_eq!(name, format!("a\\n{}", "x".repeat(62)));
}

#[test]
fn a_fault_never_shows_the_payload() {
    let secret = "canary@example.com";
    for value in [
        format!("\"{secret}\""),
        with("event", &format!("{{\"{secret}\":1}}")),
        with("campaign_id", &format!("[\"{secret}\"]")),
        with("email", &format!("[\"{secret}\"]")),
        with("", "").replace("{\"message_type", &format!("\"{secret}\",{{\"message_type")),
        format!(r#"{{"project_id":"1","event":"x","time":1,"properties":"{secret}"}}"#),
    ] {
        assert!(!fault(&value).contains("canary"), "{}", fault(&value));
    }
    assert_eq!(fault("{}"), "missing field `project_id` at line 1 column 2");
}

#[test]
fn an_event_has_its_own_id_or_that_of_its_place() {
    let id = |value: &str| {
        let Decoded::Event(fields) = read(value) else { panic!("{value}") };
        event_id(&fields, &origin())
    };
    assert_eq!(id(GOLDEN).as_str(), "01JB8Z6W6Q0R5T8M3N2K7P4V9C");
    assert_eq!(id(&with("event_id", "\"two words\"")), EventId::from_text("two words"));
    let of_place = EventId::from_origin("campaign.actions", 3, 1042);
    for json in ["", "null", "\"\""] {
        assert_eq!(id(&with("event_id", json)), of_place, "{json}");
    }
}

#[test]
fn a_project_is_text_however_it_is_written() {
    for json in ["4172", "\"4172\"", r#""\u0034172""#] {
        let value = with("project_id", json);
        let Decoded::Event(fields) = read(&value) else { panic!("{value}") };
        assert_eq!(fields.project, "4172", "{json}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = outcome(&value);
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic_or_show_more(place in 0..GOLDEN.len(), byte in any::<u8>()) {
        let mut value = GOLDEN.as_bytes().to_vec();
        value[place] = byte;
        if let Decoded::Malformed(_, fault) = decode(Some(&value), &catalog(), MAX_BYTES) {
            prop_assert!(!fault.contains("jane"));
        }
    }

    #[test]
    fn any_json_scalar_is_echoed_or_malformed(text in ".{0,20}", number in any::<i64>()) {
        let json = serde_json::to_string(&text).unwrap();
        let expected = format!("\"user_id\":{json}");
        prop_assert!(body(&with("user_id", &json)).contains(&expected));
        let expected = format!("\"campaign_id\":{number},");
        prop_assert!(body(&with("campaign_id", &number.to_string())).contains(&expected));
    }
}
