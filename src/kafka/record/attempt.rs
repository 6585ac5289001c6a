//! The records of the attempt log: what one attempt sent, what it met, and what becomes of its delivery.
//!
//! JSON, told apart by `schema`; the key is the connection's. It is for people and holds no credential: whoever makes
//! one has masked the request and taken secrets out of the answer. The driver writes them, the read models read them;
//! nothing is decided by them. A reader takes what it knows and passes over the rest.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Encoded;

/// The only version of the format.
const SCHEMA: u32 = 1;

/// One attempt. Texts borrow from what was sent while it is written, and are owned when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord<'a> {
    /// The format's version.
    pub schema: u32,
    /// When it began, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The connection's project.
    pub project_id: Cow<'a, str>,
    /// The connection's id.
    pub connection_id: Cow<'a, str>,
    /// The connection's revision that it was made with.
    pub revision: u64,
    /// The `webhook-id`.
    pub event_id: Cow<'a, str>,
    /// What happened.
    pub event: Cow<'a, str>,
    /// On which channel.
    pub channel: Cow<'a, str>,
    /// Which attempt it was, from 1; a quick repeat from memory has the number of the one that it repeats.
    pub attempt: u32,
    /// Where the event stood first.
    pub origin: OriginPlace<'a>,
    /// What it met, as a class.
    pub outcome: AttemptOutcome,
    /// The answer's status code.
    pub status: Option<u16>,
    /// From its start to the end of the answer, in milliseconds.
    pub duration_ms: u64,
    /// What of that the name's look-up, the TCP connection and the TLS handshake took together; null where an open
    /// link served.
    pub connect_ms: Option<u64>,
    /// What was sent.
    pub request: SentRequest<'a>,
    /// What came back; null without an answer, or where the log keeps none.
    pub answer: Option<KeptAnswer<'a>>,
    /// What becomes of the delivery; null where that was decided before the attempt had ended.
    pub next: Option<Next<'a>>,
    /// How many attempts it stands for: more than itself where only a part of the successes is logged.
    pub stands_for: u32,
}

/// A record as a line of a list: without what was sent and what came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptLine {
    /// The format's version.
    #[serde(skip_serializing)]
    schema: u32,
    /// When it began, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The connection's project.
    pub project_id: Box<str>,
    /// The connection's id.
    pub connection_id: Box<str>,
    /// The connection's revision that it was made with.
    pub revision: u64,
    /// The `webhook-id`.
    pub event_id: Box<str>,
    /// What happened.
    pub event: Box<str>,
    /// On which channel.
    pub channel: Box<str>,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// What it met, as a class.
    pub outcome: AttemptOutcome,
    /// The answer's status code.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What becomes of the delivery.
    pub next: Option<Next<'static>>,
    /// How many attempts it stands for.
    pub stands_for: u32,
}

/// A record's place in the events topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginPlace<'a> {
    /// The topic.
    pub topic: Cow<'a, str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When it was recorded, in milliseconds since the epoch.
    pub timestamp_ms: u64,
}

/// What an attempt met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// 200–299.
    Delivered,
    /// Another status.
    Status,
    /// The host's name did not resolve.
    Dns,
    /// No TCP connection came about.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// Its time was over.
    Timeout,
    /// The connection broke.
    Reset,
    /// What came was not HTTP, or over a limit.
    Protocol,
    /// The egress guard refused.
    Denied,
    /// The fault is on our side; nothing is charged.
    OurFault,
    /// The code of the attempt panicked.
    Panic,
    /// A class of a later version.
    #[serde(other)]
    Unknown,
}

/// A header's name and value.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A request as it was sent, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRequest<'a> {
    /// Always `POST`.
    pub method: Cow<'a, str>,
    /// With `***` in place of every value of its query.
    pub url: Cow<'a, str>,
    /// In their order; `Authorization` is `***`.
    pub headers: Vec<Pair<'a>>,
    /// Its beginning, as text.
    pub body: Cow<'a, str>,
    /// Whether there was more of it.
    pub is_body_cut: bool,
}

/// An answer, redacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer<'a> {
    /// In their order, at most 4 KiB, without cookies.
    pub headers: Vec<Pair<'a>>,
    /// Its first 4 KiB, as text.
    pub body: Cow<'a, str>,
    /// Whether there was more of it.
    pub is_body_cut: bool,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Next<'a> {
    /// It arrived.
    Delivered,
    /// It is tried again from memory.
    Repeat {
        /// When, in milliseconds since the epoch.
        due_ms: u64,
    },
    /// It waits in a tier.
    Retry {
        /// The tier's delay, such as `5s`.
        tier: Cow<'a, str>,
        /// When it is taken up again, in milliseconds since the epoch.
        due_ms: u64,
        /// Why it waits: `retry`, `our_fault`, `draining`.
        reason: Cow<'a, str>,
    },
    /// It is given up.
    DeadLetter {
        /// Why.
        reason: Cow<'a, str>,
    },
}

impl SentRequest<'_> {
    /// The same with texts of its own.
    #[must_use]
    pub fn into_owned(self) -> SentRequest<'static> {
        SentRequest {
            method: own(self.method),
            url: own(self.url),
            headers: self.headers.into_iter().map(own_pair).collect(),
            body: own(self.body),
            is_body_cut: self.is_body_cut,
        }
    }
}

impl KeptAnswer<'_> {
    /// The same with texts of its own.
    #[must_use]
    pub fn into_owned(self) -> KeptAnswer<'static> {
        KeptAnswer {
            headers: self.headers.into_iter().map(own_pair).collect(),
            body: own(self.body),
            is_body_cut: self.is_body_cut,
        }
    }
}

impl AttemptRecord<'_> {
    /// The version to write.
    pub const SCHEMA: u32 = SCHEMA;

    /// The record to be written.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let key = format!("{}/{}", self.project_id, self.connection_id);
        // Texts and numbers only: there is nothing that serde could refuse.
        let value = serde_json::to_vec(self).unwrap_or_default();
        Encoded { key: Some(key), headers: Vec::new(), value: Bytes::from(value) }
    }
}

/// Reads a record's value; `None` for a null, another version and what cannot be read.
#[must_use]
pub fn decode(value: Option<&[u8]>) -> Option<AttemptRecord<'static>> {
    let record: AttemptRecord<'static> = serde_json::from_slice(value?).ok()?;
    (record.schema == SCHEMA).then_some(record)
}

/// Reads of a record's value what a list shows; `None` as for [`decode`].
#[must_use]
pub fn decode_line(value: Option<&[u8]>) -> Option<AttemptLine> {
    let line: AttemptLine = serde_json::from_slice(value?).ok()?;
    (line.schema == SCHEMA).then_some(line)
}

fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn own_pair((name, value): Pair<'_>) -> Pair<'static> {
    (own(name), own(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &str = include_str!("../../../tests/fixtures/v1/attempt.json");

    #[test]
    fn the_golden_record_is_read_and_written_again() {
        let record = decode(Some(GOLDEN.as_bytes())).unwrap();
        assert_eq!((record.outcome, record.status), (AttemptOutcome::Status, Some(503)));
        let encoded = record.encode();
        assert_eq!(encoded.key.as_deref(), Some("4172/whc_01JB900M6K"));
        assert_eq!(encoded.value, GOLDEN.trim_end().as_bytes());
        let line = decode_line(Some(GOLDEN.as_bytes())).unwrap();
        assert_eq!((line.at_ms, line.next), (record.at_ms, record.next));
    }

    #[test]
    fn a_class_of_a_later_version_is_unknown_and_another_schema_is_none() {
        let later = GOLDEN.replace(r#""outcome":"status""#, r#""outcome":"quic","extra":1"#);
        assert_eq!(decode(Some(later.as_bytes())).unwrap().outcome, AttemptOutcome::Unknown);
        let other = GOLDEN.replace(r#""schema":1"#, r#""schema":2"#);
        assert_eq!(decode(Some(other.as_bytes())), None);
        assert_eq!(decode(None), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(Some(&value));
        }
    }
}
