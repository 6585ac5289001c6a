//! Which trace an event belongs to: W3C Trace Context's `traceparent`, and the ids of an event that has none.
//!
//! An event's ids are made of its origin and its webhook id alone, both of which travel with it through the tiers: every
//! attempt, whenever and by whichever instance, finds the same parent, and decides alike whether it is recorded.

use http::{HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::engine::event::{Event, Header};

/// The header's name, in Kafka as in HTTP.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The bit of the flags that says that the caller records its span.
const SAMPLED: u8 = 1;

/// A trace's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// A span's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// Somebody's span, as a `traceparent` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    is_sampled: bool,
}

/// An event's place in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTrace {
    /// The trace.
    pub trace: TraceId,
    /// The event's own span.
    pub span: SpanId,
    /// The producer's span.
    pub parent: Option<SpanId>,
    /// Whether its spans are recorded: as the producer decided, else one of so many.
    pub is_sampled: bool,
}

impl TraceId {
    /// 32 hexadecimal digits.
    #[must_use]
    pub fn hex(self) -> String {
        hex(&self.0)
    }
}

impl SpanId {
    /// One that nobody has; `None` where the system has no randomness.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// 16 hexadecimal digits.
    #[must_use]
    pub fn hex(self) -> String {
        hex(&self.0)
    }
}

impl TraceParent {
    /// The one among a record's headers; the last, where there are several.
    #[must_use]
    pub fn of(headers: &[Header]) -> Option<Self> {
        let (_, value) = headers.iter().rfind(|(name, _)| *name == TRACEPARENT.as_str())?;
        Self::parse(value.as_deref()?)
    }

    /// Reads a value; `None` where it is none that W3C Trace Context allows.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(value).ok()?.split('-');
        let [version] = unhex(parts.next()?)?;
        let (trace, span) = (unhex(parts.next()?)?, unhex(parts.next()?)?);
        let [flags] = unhex(parts.next()?)?;
        // A later version may say more behind these; 255 is none.
        let is_version = version < 255 && (version > 0 || parts.next().is_none());
        let is_valid = is_version && trace != [0; 16] && span != [0; 8];
        is_valid.then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            is_sampled: flags & SAMPLED != 0,
        })
    }

    /// To pass on.
    #[must_use]
    pub fn header(self) -> HeaderValue {
        let flags = u8::from(self.is_sampled);
        let text = format!("00-{}-{}-{flags:02x}", self.trace.hex(), self.span.hex());
        HeaderValue::from_str(&text).expect("hexadecimal digits are visible ASCII")
    }
}

impl EventTrace {
    /// The event's place; of so many that come without a `traceparent` one is recorded.
    #[must_use]
    pub fn of(event: &Event, sample_every: u32) -> Self {
        let origin = &event.record.origin;
        let name = format!("{}/{}/{}/{}", origin.topic, origin.partition, origin.offset, event.id);
        let digest = Sha256::digest(name);
        let digest = &digest[..];
        let span = SpanId(part(digest, 16));
        if let Some(parent) = TraceParent::of(&event.record.headers) {
            let TraceParent { trace, span: parent, is_sampled } = parent;
            return Self { trace, span, parent: Some(parent), is_sampled };
        }
        let dice = u64::from_be_bytes(part(digest, 24));
        let is_sampled = dice.checked_rem(sample_every.into()) == Some(0);
        Self { trace: TraceId(part(digest, 0)), span, parent: None, is_sampled }
    }

    /// What tells a receiver that its caller is this span of the event's trace.
    #[must_use]
    pub fn header(self, span: SpanId) -> HeaderValue {
        TraceParent { trace: self.trace, span, is_sampled: self.is_sampled }.header()
    }
}

fn part<const N: usize>(digest: &[u8], from: usize) -> [u8; N] {
    std::array::from_fn(|place| digest[from + place])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly so many bytes from lower-case digits.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.bytes().all(is_lower_hex) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::fixtures;
    use crate::engine::time::Timestamp;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn event(id: &str) -> Event {
        Arc::into_inner(fixtures::event(id, Timestamp::EPOCH)).unwrap()
    }

    #[test]
    fn a_traceparent_is_read_and_passed_on_as_it_came() {
        let parent = TraceParent::parse(GIVEN.as_bytes()).unwrap();
        assert_eq!(parent.header(), GIVEN);
        let later = format!("cc{}-what-the-future-says", &GIVEN[2..]);
        assert_eq!(TraceParent::parse(later.as_bytes()), Some(parent));
    }

    #[test]
    fn what_the_standard_does_not_allow_is_none() {
        let (zeros, upper) = ("0".repeat(32), GIVEN.to_uppercase());
        for bad in [
            "",
            "00",
            &GIVEN[..54],
            &format!("{GIVEN}-more"),
            &format!("ff{}", &GIVEN[2..]),
            &GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros),
            &GIVEN.replace("00f067aa0ba902b7", &zeros[..16]),
            &upper,
            &GIVEN.replace('-', "_"),
            "00-ä\u{301}f92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_events_trace_is_the_producers_and_its_decision_too() {
        let mut read = event("e1");
        for (flags, is_sampled) in [("01", true), ("00", false)] {
            let value = format!("{}{flags}", &GIVEN[..53]);
            read.record.headers =
                vec![(TRACEPARENT.as_str().to_owned().into(), Some(value.into()))];
            let trace = EventTrace::of(&read, 0);
            assert_eq!(trace.trace.hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(trace.parent.unwrap().hex(), "00f067aa0ba902b7");
            assert_eq!(trace.is_sampled, is_sampled);
        }
    }

    #[test]
    fn without_one_the_ids_are_the_events_own_and_some_are_recorded() {
        let traces: Vec<_> =
            (0..1_000).map(|n| EventTrace::of(&event(&format!("e{n}")), 10)).collect();
        assert_eq!(traces[7], EventTrace::of(&event("e7"), 10), "whoever asks");
        assert_ne!(traces[7].trace, traces[8].trace);
        let recorded = traces.iter().filter(|trace| trace.is_sampled).count();
        assert!((50..200).contains(&recorded), "{recorded} of 1000");
        assert!(!EventTrace::of(&event("e7"), 0).is_sampled);
        assert!(EventTrace::of(&event("e7"), 1).is_sampled);
    }
}
