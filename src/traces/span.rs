//! A span that has ended, as OTLP wants to hear of it.

use serde_json::{Value, json};

use super::parent::{SpanId, TraceId};
use crate::engine::time::Timestamp;

/// What a span is in its trace; the numbers are OTLP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It calls somebody.
    Client = 3,
    /// It works on what a topic holds.
    Consumer = 5,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// Something that took some time.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it did; of few different ones.
    pub name: String,
    /// What it is in its trace.
    pub kind: Kind,
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub span: SpanId,
    /// Whose part it is.
    pub parent: Option<SpanId>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What else is known of it: no payload, no path of a URL, no credential.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl Attribute {
    /// Named, in OTLP's JSON, which writes 64-bit numbers as text.
    #[must_use]
    pub fn to_json(&self, key: &str) -> Value {
        let value = match self {
            Self::Text(text) => json!({ "stringValue": text }),
            Self::Number(number) => json!({ "intValue": number.to_string() }),
        };
        json!({ "key": key, "value": value })
    }
}

impl Span {
    /// In OTLP's JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let attributes: Vec<_> = self.attributes.iter().map(|(k, v)| v.to_json(k)).collect();
        let status = match &self.failure {
            None => json!({}),
            Some(failure) => json!({ "code": 2, "message": failure }),
        };
        json!({
            "traceId": self.trace.hex(),
            "spanId": self.span.hex(),
            "parentSpanId": self.parent.map_or_else(String::new, SpanId::hex),
            "name": self.name,
            "kind": self.kind as u8,
            "startTimeUnixNano": self.started_at.as_nanos().to_string(),
            "endTimeUnixNano": self.ended_at.as_nanos().to_string(),
            "attributes": attributes,
            "status": status,
        })
    }
}
