//! An event: what happened to one message, as far as deliveries need it.
//!
//! [`EventFields`] borrows from a record's bytes and costs no copy; an [`Event`] owns what its deliveries need and is
//! made only for an event that somebody wants. Decoding is `kafka/record/event`'s work.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::catalog::NameIndex;
use super::time::Timestamp;

/// The longest text that is used as an event's id as it is.
const MAX_ID_CHARS: usize = 64;

/// Which of the two consumers read a record: fresh events and retries have a group each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The events topic.
    Events,
    /// The retry tiers.
    Retries,
}

impl Source {
    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Retries => "retries",
        }
    }
}

/// One partition of a topic that a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Who reads it.
    pub source: Source,
    /// The topic's place in the list of its source: always 0 for events, the tier for retries.
    pub topic: u16,
    /// The partition's number.
    pub number: i32,
}

/// One assignment of a partition to this instance; a later one has a greater number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// Where a record was read, and in which assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The assignment that read it; what ends in a later one is not counted.
    pub epoch: Epoch,
    /// The record's offset.
    pub offset: i64,
}

/// Where an event stood first; it travels in the headers of retries and dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The events topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's timestamp.
    pub timestamp: Timestamp,
}

/// A header of a record: a name, the record's own or one of ours, and perhaps a value.
pub type Header = (Cow<'static, str>, Option<Bytes>);

/// A record as it must be kept for retries and dead letters: untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The value's original bytes.
    pub value: Bytes,
    /// The original headers, in their order, without ours.
    pub headers: Vec<Header>,
    /// Where it stood first.
    pub origin: Origin,
}

/// An event's identity for receivers, the `webhook-id`: the same on every attempt, retry, replay and redrive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Box<str>);

impl EventId {
    /// The producer's own text where it is 1–64 of `[A-Za-z0-9_-]`, else a stable hash of it.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let usable = (1..=MAX_ID_CHARS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if usable { Self(text.into()) } else { Self::hash(text.as_bytes()) }
    }

    /// A stable id for an event without one: the same whenever the same record is read.
    #[must_use]
    pub fn from_origin(topic: &str, partition: i32, offset: i64) -> Self {
        Self::hash(format!("{topic}/{partition}/{offset}").as_bytes())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// 128 bits of SHA-256 as 32 hexadecimal digits.
    fn hash(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(digest[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A checked event that still borrows from its record.
#[derive(Debug)]
pub struct EventFields<'a> {
    /// Whose event it is, as text.
    pub project: Cow<'a, str>,
    /// What happened.
    pub event: NameIndex,
    /// On which channel (`properties.message_type`).
    pub channel: NameIndex,
    /// When it happened, in UNIX seconds.
    pub time: u64,
    /// The producer's id for it.
    pub event_id: Option<Cow<'a, str>>,
    /// What is passed on.
    pub properties: Properties<'a>,
}

/// The documented properties, each with the very bytes it came with; `None` for null or absent.
#[derive(Debug)]
pub struct Properties<'a> {
    /// Which campaign sent the message.
    pub campaign_id: &'a RawValue,
    /// Whom it was sent to.
    pub profile_id: &'a RawValue,
    /// On which device.
    pub device_id: Option<&'a RawValue>,
    /// By which trigger.
    pub trigger_id: Option<&'a RawValue>,
    /// The customer's own id of the profile.
    pub user_id: Option<&'a RawValue>,
    /// The address.
    pub email: Option<&'a RawValue>,
    /// Why a message failed.
    pub error_message: Option<&'a RawValue>,
    /// The provider's id of the message.
    pub external_message_id: Option<&'a RawValue>,
}

/// An event that somebody wants.
#[derive(Debug)]
pub struct Event {
    /// The `webhook-id`.
    pub id: EventId,
    /// What happened.
    pub event: NameIndex,
    /// On which channel.
    pub channel: NameIndex,
    /// The request's body: the same for every connection and attempt.
    pub body: Bytes,
    /// What is kept for retries and dead letters.
    pub record: Record,
}

impl Event {
    /// How much of the memory budget it takes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.body.len() + self.record.value.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usable_id_is_kept_and_any_other_is_hashed() {
        assert_eq!(EventId::from_text("01JB8Z6W6Q_a-b").as_str(), "01JB8Z6W6Q_a-b");
        for text in ["", "with space", "ä", &"x".repeat(65), "line\nbreak"] {
            let id = EventId::from_text(text);
            assert_eq!(id.as_str().len(), 32, "{text:?}");
            assert_eq!(id, EventId::from_text(text));
        }
    }

    #[test]
    fn an_id_from_the_origin_is_that_of_the_record() {
        let id = EventId::from_origin("campaign.actions", 3, 42);
        assert_eq!(id, EventId::from_origin("campaign.actions", 3, 42));
        assert_ne!(id, EventId::from_origin("campaign.actions", 4, 42));
    }
}
