//! The formats of the records that are read and written, one file for each.
//!
//! Here bytes become the engine's types and back, and every rule of the contract on them is checked. Nothing here
//! knows a Kafka client, a clock or a connection's state, and nothing here fails on any input: what cannot be read
//! is a value too. The consumer, the connections' reader and the producer call it.

pub mod attempt;
pub mod connection;
pub mod delivery;
pub mod event;
pub mod state;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::engine::connection::ConnectionKey;
use crate::engine::event::{Header, Origin, Record};
use crate::engine::time::Timestamp;

/// What our own headers begin with. On a producer's record they are not believed, but dropped.
pub const HEADER_PREFIX: &str = "barnabas-";

/// UNIX seconds from here on (the year 5138) are taken for milliseconds written by mistake.
const SECONDS_END: u64 = 100_000_000_000;
/// How much of a name from outside is put into a log.
const EXCERPT_CHARS: usize = 64;

/// A record as it was read, still in the client's memory.
#[derive(Clone, Debug)]
pub struct RecordView<'a> {
    /// Shared, so that keeping it costs no copy.
    pub topic: &'a Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When it was written, by its producer's or the broker's clock.
    pub timestamp: Timestamp,
    /// The value; `None` is a null.
    pub value: Option<&'a [u8]>,
    /// The headers in their order, ours among them.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl RecordView<'_> {
    /// Copies what retries and dead letters keep: the value and the headers without ours. Its place becomes the origin.
    #[must_use]
    pub fn to_record(&self) -> Record {
        let theirs = self.headers.iter().filter(|(name, _)| !name.starts_with(HEADER_PREFIX));
        Record {
            value: Bytes::copy_from_slice(self.value.unwrap_or_default()),
            headers: theirs.map(own_header).collect(),
            origin: Origin {
                topic: Arc::clone(self.topic),
                partition: self.partition,
                offset: self.offset,
                timestamp: self.timestamp,
            },
        }
    }
}

/// A record to be written, all but its topic and partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The key, where records of that topic have one.
    pub key: Option<String>,
    /// The headers in their order.
    pub headers: Vec<Header>,
    /// The value.
    pub value: Bytes,
}

/// The connection that a record of the connections or the states topic is about.
#[must_use]
pub fn connection_key(key: &[u8]) -> Option<ConnectionKey> {
    ConnectionKey::parse(std::str::from_utf8(key).ok()?)
}

/// A `T` that is written as an object: serde's own would take an array of its fields' values, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

fn own_header((name, value): &(&str, Option<&[u8]>)) -> Header {
    (Cow::Owned((*name).to_owned()), value.map(Bytes::copy_from_slice))
}

/// A JSON string's text; `None` for any other type.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// A JSON number that is whole and not negative, written without fraction and exponent.
fn whole_number(raw: &RawValue) -> Option<u64> {
    let json = raw.get();
    json.bytes().all(|byte| byte.is_ascii_digit()).then(|| json.parse().ok())?
}

/// A project's id: text or a number, worked with as text; it is one part of a connection's key.
fn project(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    let is_number = json.parse::<i64>().is_ok() || json.parse::<u64>().is_ok();
    let project = if is_number { Cow::Borrowed(json) } else { text(raw)? };
    (!project.is_empty() && !project.contains('/')).then_some(project)
}

/// What serde says, unless that could show a part of the record.
fn json_fault(error: &serde_json::Error) -> String {
    let fault = error.to_string();
    let shows_nothing = match error.classify() {
        Category::Io | Category::Syntax | Category::Eof => true,
        Category::Data => {
            fault.starts_with("missing field") || fault.starts_with("duplicate field")
        }
    };
    if shows_nothing {
        return fault;
    }
    format!("not an object at line {} column {}", error.line(), error.column())
}

/// The beginning of a name from outside, fit for a log.
fn excerpt(name: &str) -> String {
    name.chars().take(EXCERPT_CHARS).flat_map(char::escape_debug).collect()
}
