//! Tests of [`super`], by table, by golden record and by property.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::engine::event::{Epoch, Header, Partition, Source};
use crate::engine::fixtures::catalog;
use crate::engine::outcome::Fault;
use crate::engine::retry::{Slot, Tier};

const EVENT: &str = include_str!("../../../../tests/fixtures/v1/event.json");
const RETRY: &str = include_str!("../../../../tests/fixtures/v1/retry-headers.json");
const MALFORMED: &str = include_str!("../../../../tests/fixtures/v1/malformed-headers.json");
const NOW: Timestamp = Timestamp::from_secs(1_760_090_600);
const DUE_AT: Timestamp = Timestamp::from_millis(1_760_090_621_500);
const POSITION: Position = Position {
    partition: Partition { source: Source::Retries, topic: 1, number: 2 },
    epoch: Epoch(4),
    offset: 77,
};

type Views<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

fn golden(json: &str) -> Vec<(String, String)> {
    serde_json::from_str(json).unwrap()
}

fn headers(golden: &[(String, String)]) -> Vec<Header> {
    golden
        .iter()
        .map(|(name, value)| (name.clone().into(), Some(Bytes::from(value.clone()))))
        .collect()
}

fn views(headers: &[Header]) -> Views<'_> {
    headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect()
}

fn read(value: &[u8], headers: Views<'_>) -> Result<Delivery, TierRecordError> {
    with_view(value, headers, |view| {
        decode(view, POSITION, NOW, &catalog(), &PayloadConfig::default())
    })
}

fn with_view<T>(value: &[u8], headers: Views<'_>, read: impl FnOnce(&RecordView<'_>) -> T) -> T {
    let topic: Arc<str> = "barnabas.retry.30s".into();
    let view = RecordView {
        topic: &topic,
        partition: 2,
        offset: 77,
        timestamp: NOW,
        value: Some(value),
        headers,
    };
    read(&view)
}

/// The delivery of the golden headers, still before its wait.
fn delivery() -> Delivery {
    read(EVENT.as_bytes(), views(&headers(&golden(RETRY)))).unwrap()
}

fn slot(due: Timestamp) -> Slot {
    Slot { tier: Tier(1), partition: 2, due }
}

fn park(delivery: Delivery, due: Timestamp, reason: WaitReason) -> Encoded {
    let destination = Destination::Tier(slot(due), reason);
    encode(&Publication { subject: Subject::Delivery(delivery), destination })
}

fn value_of<'a>(encoded: &'a Encoded, name: &str) -> Option<&'a [u8]> {
    let found = encoded.headers.iter().find(|(other, _)| other == name);
    found.and_then(|(_, value)| value.as_deref())
}

#[test]
fn the_golden_headers_are_read_and_written() {
    let delivery = delivery();
    assert_eq!(delivery.event.id.as_str(), "01JB8Z6W6Q0R5T8M3N2K7P4V9C");
    assert_eq!(delivery.connection.as_str(), "4172/whc_01JB900M6K");
    assert_eq!((delivery.position, delivery.read_at, delivery.due), (POSITION, NOW, DUE_AT));
    assert_eq!(delivery.waited_for, Some(WaitReason::Retry));
    let history = History {
        attempts: 2,
        first_attempt_at: Some(Timestamp::from_millis(1_760_090_582_000)),
        last_attempt_at: Some(Timestamp::from_millis(1_760_090_590_750)),
        last_status: Some(503),
        last_error: Some(ErrorClass::Status),
        revision: Some(7),
    };
    assert_eq!(delivery.history, history);
    let origin = &delivery.event.record.origin;
    assert_eq!((&*origin.topic, origin.partition, origin.offset), ("campaign.actions", 3, 1042));
    let encoded = park(delivery, DUE_AT, WaitReason::Retry);
    assert_eq!(encoded.key, None);
    assert_eq!(encoded.headers, headers(&golden(RETRY)));
    assert_eq!(encoded.value, EVENT.as_bytes());
}

#[test]
fn a_dead_letter_has_its_connections_key_and_no_due_time() {
    let destination = Destination::DeadLetters(DeadLetterReason::Exhausted);
    let encoded = encode(&Publication { subject: Subject::Delivery(delivery()), destination });
    assert_eq!(encoded.key.as_deref(), Some("whc_01JB900M6K"));
    assert_eq!(value_of(&encoded, REASON), Some(&b"exhausted"[..]));
    assert_eq!(value_of(&encoded, ATTEMPT), Some(&b"2"[..]));
    assert_eq!(value_of(&encoded, DUE), None);
    assert_eq!(encoded.value, EVENT.as_bytes());
}

#[test]
fn a_dead_letter_comes_back_with_the_same_id_and_all_attempts_anew() {
    let redriven = |reason| {
        let destination = Destination::DeadLetters(reason);
        let encoded = encode(&Publication { subject: Subject::Delivery(delivery()), destination });
        with_view(&encoded.value, views(&encoded.headers), |view| {
            decode_dead_letter(view, POSITION, NOW, &catalog(), &PayloadConfig::default())
        })
    };
    let back = redriven(DeadLetterReason::Exhausted).unwrap();
    assert_eq!(back.event.id, delivery().event.id);
    assert_eq!(back.event.record, delivery().event.record);
    assert_eq!((back.history, back.waited_for), (History::default(), Some(WaitReason::Retry)));
    let unmatched = redriven(DeadLetterReason::ConnectionUnreadable).unwrap();
    assert_eq!(unmatched.waited_for, Some(WaitReason::ConnectionUnreadable));
    let malformed = with_view(b"{", views(&headers(&golden(MALFORMED))), |view| {
        decode_dead_letter(view, POSITION, NOW, &catalog(), &PayloadConfig::default())
    });
    assert_eq!(malformed.unwrap_err(), TierRecordError::Missing(PROJECT));
}

#[test]
fn a_due_time_is_never_rounded_down() {
    let due = Timestamp::from_nanos(DUE_AT.as_nanos() + 1);
    let encoded = park(delivery(), due, WaitReason::RateLimit);
    assert_eq!(value_of(&encoded, DUE), Some(&b"1760090621501"[..]));
    assert_eq!(value_of(&encoded, REASON), Some(&b"rate_limit"[..]));
}

#[test]
fn a_producer_cannot_forge_our_headers() {
    let forged = vec![
        ("barnabas-connection", Some(&b"other"[..])),
        ("traceparent", Some(&b"x"[..])),
        ("barnabas-anything", None),
        ("Barnabas", None),
    ];
    let record = with_view(b"{}", forged, |view| view.to_record());
    let kept: Vec<_> = record.headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(kept, ["traceparent", "Barnabas"]);
    assert_eq!(record.origin.offset, 77);
}

#[test]
fn a_record_that_is_no_event_is_kept_with_its_place() {
    let mut record = delivery().event.record.clone();
    record.value = Bytes::from_static(b"\xff");
    let reason = DeadLetterReason::MalformedEvent;
    let rejected = Rejected { record, position: POSITION, reason };
    let destination = Destination::DeadLetters(reason);
    let encoded = encode(&Publication { subject: Subject::Rejected(rejected), destination });
    assert_eq!(encoded.key, None);
    assert_eq!(encoded.headers, headers(&golden(MALFORMED)));
    assert_eq!(&encoded.value[..], b"\xff");
}

#[test]
fn what_is_missing_or_wrong_in_a_tier_is_named() {
    let required = [
        FORMAT,
        PROJECT,
        CONNECTION,
        WEBHOOK_ID,
        ATTEMPT,
        DUE,
        ORIGIN_TOPIC,
        ORIGIN_PARTITION,
        ORIGIN_OFFSET,
        ORIGIN_TIMESTAMP,
    ];
    for name in required {
        let mut found = golden(RETRY);
        found.retain(|(other, _)| other != name);
        let error = read(EVENT.as_bytes(), views(&headers(&found))).unwrap_err();
        assert_eq!(error, TierRecordError::Missing(name));
    }
    let numbers = [
        CONNECTION_REVISION,
        ATTEMPT,
        DUE,
        FIRST_ATTEMPT_AT,
        LAST_ATTEMPT_AT,
        LAST_STATUS,
        ORIGIN_PARTITION,
        ORIGIN_OFFSET,
        ORIGIN_TIMESTAMP,
    ];
    for name in numbers {
        for value in [&b"x"[..], b"", b"1.5", b"\xff", b"99999999999999999999999"] {
            let headers = headers(&golden(RETRY));
            let mut views = views(&headers);
            views.push((name, Some(value)));
            let error = read(EVENT.as_bytes(), views).unwrap_err();
            assert_eq!(error, TierRecordError::Unreadable(name), "{value:?}");
        }
    }
}

fn read_with(name: &str, value: &str) -> Result<Delivery, TierRecordError> {
    let headers = headers(&golden(RETRY));
    let mut views = views(&headers);
    views.push((name, Some(value.as_bytes())));
    read(EVENT.as_bytes(), views)
}

#[test]
fn foreign_formats_and_projects_are_refused() {
    assert_eq!(read_with(FORMAT, "2").unwrap_err(), TierRecordError::UnknownFormat);
    assert_eq!(read_with(PROJECT, "9").unwrap_err(), TierRecordError::OtherProject);
    let error = read_with(CONNECTION, "a/b").unwrap_err();
    assert_eq!(error, TierRecordError::Unreadable(CONNECTION));
}

#[test]
fn words_of_a_later_version_cost_no_delivery() {
    assert_eq!(read_with(REASON, "new").unwrap().waited_for, Some(WaitReason::Retry));
    assert_eq!(read_with(ERROR_CLASS, "new").unwrap().history.last_error, None);
}

#[test]
fn an_event_that_is_none_any_more_becomes_a_dead_letter_that_says_whose_it_was() {
    let headers = headers(&golden(RETRY));
    let value = EVENT.replace("message_open", "message_gone");
    let error = read(value.as_bytes(), views(&headers)).unwrap_err();
    assert_eq!(error.to_string(), "its event is skipped now: unknown_event");
    let rejected =
        with_view(value.as_bytes(), views(&headers), |view| reject(view, POSITION, &error));
    assert_eq!(rejected.record.origin.offset, 1042);
    let destination = Destination::DeadLetters(rejected.reason);
    let encoded = encode(&Publication { subject: Subject::Rejected(rejected), destination });
    assert_eq!(value_of(&encoded, CONNECTION), Some(&b"whc_01JB900M6K"[..]));
    assert_eq!(value_of(&encoded, REASON), Some(&b"malformed_event"[..]));
    assert_eq!(encoded.headers.iter().filter(|(name, _)| name == REASON).count(), 1);
    assert_eq!(encoded.value, value.as_bytes());
}

#[test]
fn an_event_over_a_lowered_limit_is_too_large() {
    let config = PayloadConfig { max_event_bytes: 10, ..PayloadConfig::default() };
    let headers = headers(&golden(RETRY));
    let error = with_view(EVENT.as_bytes(), views(&headers), |view| {
        decode(view, POSITION, NOW, &catalog(), &config).unwrap_err()
    });
    assert_eq!(error.reason(), DeadLetterReason::TooLarge);
}

fn times() -> impl Strategy<Value = Option<Timestamp>> {
    prop::option::of((0..4_000_000_000_000_u64).prop_map(Timestamp::from_millis))
}

fn classes() -> impl Strategy<Value = Option<ErrorClass>> {
    let class = prop::sample::select(vec![
        ErrorClass::Status,
        ErrorClass::Fault(Fault::Dns),
        ErrorClass::Fault(Fault::Timeout),
        ErrorClass::Denied,
        ErrorClass::Panic,
    ]);
    prop::option::of(class)
}

prop_compose! {
    fn histories()(
        attempts in any::<u32>(), first_attempt_at in times(), last_attempt_at in times(),
        last_status in any::<Option<u16>>(), last_error in classes(),
        revision in any::<Option<u64>>(),
    ) -> History {
        History { attempts, first_attempt_at, last_attempt_at, last_status, last_error, revision }
    }
}

fn originals() -> impl Strategy<Value = Vec<Header>> {
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from));
    let name = ".{0,20}".prop_filter("ours", |name| !name.starts_with("barnabas-"));
    let name = name.prop_map(Cow::Owned);
    prop::collection::vec((name, value), 0..5)
}

/// A delivery whose record has those headers and that history.
fn delivery_with(headers: Vec<Header>, history: History, space: usize) -> Delivery {
    let mut delivery = delivery();
    let event = &delivery.event;
    let mut record = event.record.clone();
    record.headers = headers;
    record.value = format!("{}{EVENT}", " ".repeat(space)).into();
    delivery.event = Arc::new(crate::engine::event::Event {
        id: event.id.clone(),
        event: event.event,
        channel: event.channel,
        body: event.body.clone(),
        record,
    });
    Delivery { history, ..delivery }
}

proptest! {
    #[test]
    fn a_delivery_comes_back_from_a_tier_as_it_went(
        headers in originals(), history in histories(), space in 0..5_usize,
    ) {
        let delivery = delivery_with(headers, history, space);
        let encoded = park(delivery.clone(), DUE_AT, WaitReason::Retry);
        prop_assert_eq!(&encoded.value, &delivery.event.record.value);
        let back = read(&encoded.value, views(&encoded.headers)).unwrap();
        prop_assert_eq!(format!("{back:?}"), format!("{delivery:?}"));
        prop_assert_eq!(park(back, DUE_AT, WaitReason::Retry), encoded);
    }

    #[test]
    fn nothing_makes_it_panic(
        value in prop::collection::vec(any::<u8>(), 0..100),
        place in 0..17_usize,
        bytes in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let headers = headers(&golden(RETRY));
        let mut views = views(&headers);
        views[place].1 = Some(&bytes);
        let _ = read(EVENT.as_bytes(), views.clone());
        if let Err(error) = read(&value, views.clone()) {
            let rejected = with_view(&value, views, |view| reject(view, POSITION, &error));
            let destination = Destination::DeadLetters(rejected.reason);
            let encoded = encode(&Publication { subject: Subject::Rejected(rejected), destination });
            prop_assert_eq!(&encoded.value[..], &value[..]);
        }
    }
}
