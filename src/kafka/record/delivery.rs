//! The records of the retry tiers and of the dead letters: a delivery, or a record that is no event.
//!
//! The value is the original event's, byte for byte; what the delivery went through stands in headers, typed, in
//! UTF-8, behind the original ones. No credential and no rendered header is ever among them. The producer encodes,
//! the consumer of the tiers decodes; nothing here decides where a record goes.

mod headers;

use bytes::Bytes;

use self::headers::{Ours, Writer};
use super::{Encoded, RecordView, event};
use crate::engine::catalog::Catalog;
use crate::engine::connection::ConnectionKey;
use crate::engine::delivery::{DeadLetterReason, Delivery, History, WaitReason};
use crate::engine::dispatcher::{Destination, Publication, Rejected, Subject};
use crate::engine::event::{EventId, Origin, Position, Record};
use crate::engine::outcome::ErrorClass;
use crate::engine::payload::PayloadConfig;
use crate::engine::time::Timestamp;

/// The format's version.
pub const FORMAT: &str = "barnabas-format";
/// The connection's project.
pub const PROJECT: &str = "barnabas-project";
/// The connection's id.
pub const CONNECTION: &str = "barnabas-connection";
/// The connection's revision at the last attempt.
pub const CONNECTION_REVISION: &str = "barnabas-connection-revision";
/// The event's id for receivers.
pub const WEBHOOK_ID: &str = "barnabas-webhook-id";
/// How many attempts were made and charged.
pub const ATTEMPT: &str = "barnabas-attempt";
/// When the wait in the tier ends, in milliseconds.
pub const DUE: &str = "barnabas-due";
/// When the horizon began, in milliseconds.
pub const FIRST_ATTEMPT_AT: &str = "barnabas-first-attempt-at";
/// When the last attempt was made, in milliseconds.
pub const LAST_ATTEMPT_AT: &str = "barnabas-last-attempt-at";
/// The last answer's status code.
pub const LAST_STATUS: &str = "barnabas-last-status";
/// What the last attempt failed of.
pub const ERROR_CLASS: &str = "barnabas-error-class";
/// Why it waits, or why it was given up.
pub const REASON: &str = "barnabas-reason";
/// The events topic.
pub const ORIGIN_TOPIC: &str = "barnabas-origin-topic";
/// The event's partition there.
pub const ORIGIN_PARTITION: &str = "barnabas-origin-partition";
/// The event's offset there.
pub const ORIGIN_OFFSET: &str = "barnabas-origin-offset";
/// The event's record's timestamp, in milliseconds.
pub const ORIGIN_TIMESTAMP: &str = "barnabas-origin-timestamp";

/// The only version of the format.
const VERSION: &str = "1";
/// Rounds a due time up: a record that is read a part of a millisecond early would break a promise.
const NANOS_BELOW_A_MILLI: u64 = 999_999;

/// Why a tier's record cannot be taken up again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TierRecordError {
    /// A header that must be there is not.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A header's value is not of its type.
    #[error("the header {0} cannot be read")]
    Unreadable(&'static str),
    /// Another version wrote it.
    #[error("its format is not {VERSION}")]
    UnknownFormat,
    /// Its connection could never have asked for its event.
    #[error("its event is not of its connection's project")]
    OtherProject,
    /// Its value was an event and no longer is one: the catalog or a limit was changed.
    #[error("its event is skipped now: {}", .0.as_str())]
    Skipped(event::SkipReason),
    /// Its value is no event.
    #[error("its event is {}: {}", .0.as_str(), .1)]
    Malformed(DeadLetterReason, String),
}

impl TierRecordError {
    /// The reason of its dead letter.
    #[must_use]
    pub const fn reason(&self) -> DeadLetterReason {
        match self {
            Self::Malformed(reason, _) => *reason,
            Self::Missing(_)
            | Self::Unreadable(_)
            | Self::UnknownFormat
            | Self::OtherProject
            | Self::Skipped(_) => DeadLetterReason::MalformedEvent,
        }
    }
}

/// The record that a publication asks for.
#[must_use]
pub fn encode(publication: &Publication) -> Encoded {
    match &publication.subject {
        Subject::Delivery(delivery) => encode_delivery(delivery, publication.destination),
        Subject::Rejected(rejected) => encode_rejected(rejected),
    }
}

/// Takes a delivery up again from its record in a tier.
///
/// # Errors
/// The first thing that cannot be read; the record is then to be given to [`reject`].
pub fn decode(
    record: &RecordView<'_>,
    position: Position,
    now: Timestamp,
    catalog: &Catalog,
    config: &PayloadConfig,
) -> Result<Delivery, TierRecordError> {
    let ours = Ours(&record.headers);
    let anew = take_up(record, position, now, catalog, config)?;
    Ok(Delivery {
        due: ours.time(DUE)?.ok_or(TierRecordError::Missing(DUE))?,
        history: history(&ours)?,
        // A later version may know reasons that this one does not; only why it waited is lost then.
        waited_for: Some(
            ours.text(REASON)?.and_then(WaitReason::parse).unwrap_or(WaitReason::Retry),
        ),
        ..anew
    })
}

/// Takes a dead letter up again: the same event with the same id for the same connection, with all attempts anew.
///
/// # Errors
/// The first thing that cannot be read, as for a record that never was a delivery.
pub fn decode_dead_letter(
    record: &RecordView<'_>,
    position: Position,
    now: Timestamp,
    catalog: &Catalog,
    config: &PayloadConfig,
) -> Result<Delivery, TierRecordError> {
    let anew = take_up(record, position, now, catalog, config)?;
    // What was never matched against a readable connection is matched when it comes back.
    let unmatched = WaitReason::ConnectionUnreadable;
    let is_unmatched = Ours(&record.headers).text(REASON)? == Some(unmatched.as_str());
    let waited_for = if is_unmatched { unmatched } else { WaitReason::Retry };
    Ok(Delivery { waited_for: Some(waited_for), ..anew })
}

/// The delivery of a record, as if it had never been attempted.
fn take_up(
    record: &RecordView<'_>,
    position: Position,
    now: Timestamp,
    catalog: &Catalog,
    config: &PayloadConfig,
) -> Result<Delivery, TierRecordError> {
    let ours = Ours(&record.headers);
    if ours.required(FORMAT)? != VERSION {
        return Err(TierRecordError::UnknownFormat);
    }
    let connection = connection(&ours)?;
    let original = Record { origin: origin(&ours)?, ..record.to_record() };
    let fields = match event::decode(record.value, catalog, config.max_event_bytes) {
        event::Decoded::Event(fields) => fields,
        event::Decoded::Skip(reason) => return Err(TierRecordError::Skipped(reason)),
        event::Decoded::Malformed(reason, fault) => {
            return Err(TierRecordError::Malformed(reason, fault));
        }
    };
    if fields.project != connection.project() {
        return Err(TierRecordError::OtherProject);
    }
    let id = EventId::from_text(ours.required(WEBHOOK_ID)?);
    Ok(Delivery {
        event: event::to_event(&fields, id, original, catalog, config).into(),
        connection,
        position,
        read_at: now,
        due: now,
        repeated: false,
        history: History::default(),
        waited_for: None,
    })
}

/// Gives up a tier's record that cannot be decoded. Our headers stay on it: they say what it was.
#[must_use]
pub fn reject(record: &RecordView<'_>, position: Position, error: &TierRecordError) -> Rejected {
    let own = record.to_record();
    let headers = record.headers.iter().map(super::own_header).collect();
    let origin = origin(&Ours(&record.headers)).unwrap_or(own.origin);
    Rejected {
        record: Record { value: own.value, headers, origin },
        position,
        reason: error.reason(),
    }
}

fn encode_delivery(delivery: &Delivery, destination: Destination) -> Encoded {
    let record = &delivery.event.record;
    let (key, due, reason) = match destination {
        Destination::Tier(slot, reason) => (None, Some(slot.due), reason.as_str()),
        Destination::DeadLetters(reason) => {
            (Some(delivery.connection.connection().to_owned()), None, reason.as_str())
        }
    };
    let history = &delivery.history;
    let mut writer = Writer::after(&record.headers);
    writer.put(FORMAT, VERSION);
    writer.put(PROJECT, delivery.connection.project());
    writer.put(CONNECTION, delivery.connection.connection());
    writer.put_some(CONNECTION_REVISION, history.revision);
    writer.put(WEBHOOK_ID, &delivery.event.id);
    writer.put(ATTEMPT, history.attempts);
    writer.put_some(DUE, due.map(due_millis));
    writer.put_some(FIRST_ATTEMPT_AT, history.first_attempt_at.map(Timestamp::as_millis));
    writer.put_some(LAST_ATTEMPT_AT, history.last_attempt_at.map(Timestamp::as_millis));
    writer.put_some(LAST_STATUS, history.last_status);
    writer.put_some(ERROR_CLASS, history.last_error.map(ErrorClass::as_str));
    writer.put(REASON, reason);
    write_origin(&mut writer, &record.origin);
    Encoded { key, headers: writer.end(), value: Bytes::clone(&record.value) }
}

fn encode_rejected(rejected: &Rejected) -> Encoded {
    let record = &rejected.record;
    let mut writer = Writer::after(&record.headers);
    writer.put(FORMAT, VERSION);
    writer.put(REASON, rejected.reason.as_str());
    write_origin(&mut writer, &record.origin);
    Encoded { key: None, headers: writer.end(), value: Bytes::clone(&record.value) }
}

fn write_origin(writer: &mut Writer, origin: &Origin) {
    writer.put(ORIGIN_TOPIC, &origin.topic);
    writer.put(ORIGIN_PARTITION, origin.partition);
    writer.put(ORIGIN_OFFSET, origin.offset);
    writer.put(ORIGIN_TIMESTAMP, origin.timestamp.as_millis());
}

const fn due_millis(due: Timestamp) -> u64 {
    Timestamp::from_nanos(due.as_nanos().saturating_add(NANOS_BELOW_A_MILLI)).as_millis()
}

fn connection(ours: &Ours<'_>) -> Result<ConnectionKey, TierRecordError> {
    let (project, connection) = (ours.required(PROJECT)?, ours.required(CONNECTION)?);
    let key = ConnectionKey::parse(&format!("{project}/{connection}"));
    key.ok_or(TierRecordError::Unreadable(CONNECTION))
}

fn origin(ours: &Ours<'_>) -> Result<Origin, TierRecordError> {
    Ok(Origin {
        topic: ours.required(ORIGIN_TOPIC)?.into(),
        partition: ours.number(ORIGIN_PARTITION)?,
        offset: ours.number(ORIGIN_OFFSET)?,
        timestamp: ours
            .time(ORIGIN_TIMESTAMP)?
            .ok_or(TierRecordError::Missing(ORIGIN_TIMESTAMP))?,
    })
}

fn history(ours: &Ours<'_>) -> Result<History, TierRecordError> {
    Ok(History {
        attempts: ours.number(ATTEMPT)?,
        first_attempt_at: ours.time(FIRST_ATTEMPT_AT)?,
        last_attempt_at: ours.time(LAST_ATTEMPT_AT)?,
        last_status: ours.some_number(LAST_STATUS)?,
        // As with the reason: a class of a later version is for people only.
        last_error: ours.text(ERROR_CLASS)?.and_then(ErrorClass::parse),
        revision: ours.some_number(CONNECTION_REVISION)?,
    })
}

#[cfg(test)]
mod tests;
