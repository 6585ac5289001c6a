//! One dead letter as people see it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::admin::place::Place;
use crate::engine::connection::ConnectionKey;
use crate::kafka::log::LogRecord;
use crate::kafka::record::delivery;
use utoipa::ToSchema;

/// One dead letter in a list: what its headers say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LetterSummary {
    /// Names it.
    #[schema(value_type = String)]
    pub id: Place,
    /// When it was given up, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Why.
    pub reason: Box<str>,
    /// The connection's project; null for what is no event.
    pub project_id: Option<Box<str>>,
    /// The connection's id; null for what is no event.
    pub connection_id: Option<Box<str>>,
    /// The connection's revision at the last attempt.
    pub connection_revision: Option<u64>,
    /// The `webhook-id`.
    pub event_id: Option<Box<str>>,
    /// How many attempts were made and charged.
    pub attempts: Option<u32>,
    /// When its horizon began, in milliseconds since the epoch.
    pub first_attempt_at_ms: Option<u64>,
    /// When the last attempt was made, in milliseconds since the epoch.
    pub last_attempt_at_ms: Option<u64>,
    /// The last answer's status code.
    pub last_status: Option<u16>,
    /// What the last attempt failed of.
    pub error_class: Option<Box<str>>,
    /// The events topic.
    pub origin_topic: Option<Box<str>>,
    /// The event's partition there.
    pub origin_partition: Option<i32>,
    /// The event's offset there.
    pub origin_offset: Option<i64>,
    /// When the event was recorded, in milliseconds since the epoch.
    pub origin_timestamp_ms: Option<u64>,
    /// How large its value is.
    pub value_bytes: u64,
    /// When this instance put it back into delivery, since it started; in milliseconds since the epoch.
    pub redriven_at_ms: Option<u64>,
}

/// One dead letter in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Letter {
    /// What its headers say.
    #[serde(flatten)]
    pub summary: LetterSummary,
    /// The original value as text; null if it is none.
    pub value: Option<String>,
    /// The original value in base64, where it is no text.
    pub value_base64: Option<String>,
    /// All headers, the original ones first; a value that is no text is null.
    pub headers: Vec<(String, Option<String>)>,
}

impl LetterSummary {
    pub(super) fn of(record: &LogRecord) -> Self {
        let text = |name| record.header(name).map(Box::<str>::from);
        let number = |name| record.header(name).and_then(|text| text.parse().ok());
        let at_ms = record.timestamp.as_millis();
        Self {
            id: Place { at_ms, partition: record.partition, offset: record.offset },
            at_ms,
            reason: text(delivery::REASON).unwrap_or_default(),
            project_id: text(delivery::PROJECT),
            connection_id: text(delivery::CONNECTION),
            connection_revision: number(delivery::CONNECTION_REVISION),
            event_id: text(delivery::WEBHOOK_ID),
            attempts: number(delivery::ATTEMPT).and_then(|number| u32::try_from(number).ok()),
            first_attempt_at_ms: number(delivery::FIRST_ATTEMPT_AT),
            last_attempt_at_ms: number(delivery::LAST_ATTEMPT_AT),
            last_status: number(delivery::LAST_STATUS).and_then(|code| u16::try_from(code).ok()),
            error_class: text(delivery::ERROR_CLASS),
            origin_topic: text(delivery::ORIGIN_TOPIC),
            origin_partition: record
                .header(delivery::ORIGIN_PARTITION)
                .and_then(|text| text.parse().ok()),
            origin_offset: record
                .header(delivery::ORIGIN_OFFSET)
                .and_then(|text| text.parse().ok()),
            origin_timestamp_ms: number(delivery::ORIGIN_TIMESTAMP),
            value_bytes: record.value.as_ref().map_or(0, |value| value.len() as u64),
            redriven_at_ms: None,
        }
    }

    /// Whose it is; `None` for what is no event.
    pub(super) fn connection(&self) -> Option<ConnectionKey> {
        let (project, connection) = (self.project_id.as_ref()?, self.connection_id.as_ref()?);
        ConnectionKey::parse(&format!("{project}/{connection}"))
    }
}

impl Letter {
    pub(super) fn of(record: &LogRecord) -> Self {
        let value = record.value.as_deref().unwrap_or_default();
        let text = std::str::from_utf8(value).ok();
        let shown = |value: &Option<Vec<u8>>| String::from_utf8(value.clone()?).ok();
        let headers = record.headers.iter();
        Self {
            summary: LetterSummary::of(record),
            value: text.map(str::to_owned),
            value_base64: text.is_none().then(|| STANDARD.encode(value)),
            headers: headers.map(|(name, value)| (name.clone(), shown(value))).collect(),
        }
    }
}
