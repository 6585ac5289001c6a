//! Spans of events and their attempts, in the trace that an event's record came with.
//!
//! ```text
//! the producer's span ──▶ event: read and matched ──▶ attempt 1
//!   (`traceparent`)                               └─▶ attempt 2, hours later, by another instance
//! ```
//!
//! Makes spans and hands them to the exporter's bounded queue; never waits for it, and what has no room is counted.
//! Where nobody asked for it there is no [`Tracer`], and the path of a delivery looks at an `Option`. The consumer of the
//! events and the shards call it; the app starts and ends [`Traces`].

#[cfg(feature = "otlp")]
mod export;
pub mod parent;
pub mod span;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::HeaderValue;
use prometheus::IntCounter;
use serde::Deserialize;
use tokio::sync::mpsc;
use url::Url;

pub use self::parent::TRACEPARENT;

use self::parent::{EventTrace, SpanId, TraceParent};
use self::span::{Attribute, Kind, Span};
use crate::engine::connection::Connection;
use crate::engine::dispatcher::Attempt;
use crate::engine::event::Event;
use crate::engine::outcome::AttemptResult;
use crate::engine::time::Timestamp;

/// Whether this program can export spans.
const CAN_EXPORT: bool = cfg!(feature = "otlp");

/// The section `[traces]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// The base address of an OTLP collector, over HTTP; empty: spans go nowhere.
    pub endpoint: String,
    /// Of so many events that come without a `traceparent` one has spans; 0: none.
    pub sample_every: u32,
    /// Whether receivers are told the trace.
    pub traceparent: Telling,
}

/// Whether a request carries a `traceparent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Telling {
    /// It does not.
    #[default]
    Off,
    /// It does, where its event has a trace.
    Send,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { endpoint: String::new(), sample_every: 1, traceparent: Telling::Off }
    }
}

impl TracesConfig {
    /// What is wrong with `endpoint`, and how to mend it.
    #[must_use]
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.endpoint.is_empty() {
            return None;
        }
        let is_http = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
        if Url::parse(&self.endpoint).ok().filter(is_http).is_none() {
            let mend = "write the base address of an OTLP collector, such as http://collector:4318";
            return Some(("is no address of http or https", mend));
        }
        let mend = "build it with --features otlp, or leave the key empty";
        (!CAN_EXPORT).then_some(("this program was built without the feature otlp", mend))
    }
}

/// The tracer and what exports its spans.
#[derive(Debug)]
pub struct Traces {
    tracer: Option<Tracer>,
    exporter: Option<JoinHandle<()>>,
}

/// Where spans are handed in. Every thread that makes some has a clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    /// `None` where spans go nowhere and receivers are told what the events came with.
    outbox: Option<Outbox>,
    sample_every: u32,
    telling: Telling,
}

#[derive(Clone, Debug)]
struct Outbox {
    spans: mpsc::Sender<Span>,
    dropped: IntCounter,
}

/// An attempt under way that is recorded, or whose receiver is told its trace.
#[derive(Debug)]
pub struct AttemptTrace {
    /// The header `traceparent` of its request.
    pub header: Option<HeaderValue>,
    place: EventTrace,
    /// `None` where it is not recorded.
    span: Option<SpanId>,
    at: Timestamp,
    event: Arc<Event>,
    connection: Arc<Connection>,
    number: u32,
}

impl Traces {
    /// Starts what the configuration asks for.
    ///
    /// # Errors
    /// If the exporter's thread cannot be started.
    pub fn start(config: &TracesConfig, dropped: &IntCounter) -> io::Result<Self> {
        let (outbox, exporter) = match exporter(config, dropped)? {
            Some((spans, thread)) => {
                (Some(Outbox { spans, dropped: dropped.clone() }), Some(thread))
            }
            None => (None, None),
        };
        let is_wanted = outbox.is_some() || config.traceparent == Telling::Send;
        let TracesConfig { sample_every, traceparent: telling, .. } = *config;
        let tracer = is_wanted.then_some(Tracer { outbox, sample_every, telling });
        Ok(Self { tracer, exporter })
    }

    /// Where spans are handed in; `None` where nobody asked for any.
    #[must_use]
    pub fn tracer(&self) -> Option<Tracer> {
        self.tracer.clone()
    }

    /// Waits until the last spans have gone, or their collector's time is over. All other tracers must be gone by then.
    pub fn end(self) {
        drop(self.tracer);
        if self.exporter.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the exporter of spans panicked");
        }
    }
}

/// A way to the collector and the thread that serves it.
type Exporter = (mpsc::Sender<Span>, JoinHandle<()>);

#[cfg(feature = "otlp")]
fn exporter(config: &TracesConfig, dropped: &IntCounter) -> io::Result<Option<Exporter>> {
    if config.endpoint.is_empty() {
        return Ok(None);
    }
    export::start(&config.endpoint, dropped.clone()).map(Some)
}

#[cfg(not(feature = "otlp"))]
const fn exporter(_: &TracesConfig, _: &IntCounter) -> io::Result<Option<Exporter>> {
    Ok(None)
}

impl Tracer {
    /// An event was read, and so many connections want it.
    pub fn event_read(&self, event: &Event, read_at: Timestamp, until: Timestamp, deliveries: u32) {
        let Some(outbox) = &self.outbox else { return };
        let place = EventTrace::of(event, self.sample_every);
        if !place.is_sampled {
            return;
        }
        let origin = &event.record.origin;
        outbox.hand_in(Span {
            name: format!("process {}", origin.topic),
            kind: Kind::Consumer,
            trace: place.trace,
            span: place.span,
            parent: place.parent,
            started_at: read_at,
            ended_at: until,
            attributes: vec![
                ("messaging.system", "kafka".into()),
                ("messaging.destination.name", (&*origin.topic).into()),
                ("messaging.destination.partition.id", origin.partition.to_string().into()),
                ("messaging.kafka.offset", origin.offset.into()),
                ("barnabas.webhook_id", event.id.as_str().into()),
                ("barnabas.deliveries", i64::from(deliveries).into()),
            ],
            failure: None,
        });
    }

    /// An attempt starts; `None` where it is neither recorded nor its receiver told.
    #[must_use]
    pub fn begin(&self, attempt: &Attempt, at: Timestamp) -> Option<Box<AttemptTrace>> {
        let Attempt { event, connection, number, .. } = attempt;
        let place = EventTrace::of(event, self.sample_every);
        let is_recorded = place.is_sampled && self.outbox.is_some();
        let span = is_recorded.then(SpanId::random).flatten();
        let header = match (self.telling, span) {
            (Telling::Off, _) => None,
            (Telling::Send, Some(span)) => Some(place.header(span)),
            // Nobody would find a span of ours: the receiver's hangs below the producer's.
            (Telling::Send, None) => TraceParent::of(&event.record.headers).map(|p| p.header()),
        };
        let is_wanted = span.is_some() || header.is_some();
        is_wanted.then(|| {
            Box::new(AttemptTrace {
                header,
                place,
                span,
                at,
                event: Arc::clone(event),
                connection: Arc::clone(connection),
                number: *number,
            })
        })
    }

    /// The attempt has ended.
    pub fn end(&self, begun: &AttemptTrace, result: &AttemptResult, took: Duration) {
        let (Some(outbox), Some(span)) = (&self.outbox, begun.span) else { return };
        let AttemptTrace { place, at, event, connection, number, .. } = begun;
        let (status, failure) = meaning(result);
        let mut attributes: Vec<(&'static str, Attribute)> = vec![
            ("http.request.method", "POST".into()),
            ("barnabas.project", connection.key.project().into()),
            ("barnabas.connection", connection.key.connection().into()),
            ("barnabas.webhook_id", event.id.as_str().into()),
            ("barnabas.attempt", i64::from(*number).into()),
        ];
        attributes.extend(status.map(|code| ("http.response.status_code", i64::from(code).into())));
        attributes.extend(failure.clone().map(|failure| ("error.type", failure.into())));
        outbox.hand_in(Span {
            name: "POST".to_owned(),
            kind: Kind::Client,
            trace: place.trace,
            span,
            parent: Some(place.span),
            started_at: *at,
            ended_at: *at + took,
            attributes,
            failure,
        });
    }
}

impl Outbox {
    fn hand_in(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.dropped.inc();
        }
    }
}

/// The status of an answer, and what went wrong.
fn meaning(result: &AttemptResult) -> (Option<u16>, Option<String>) {
    match result {
        AttemptResult::Answered { status: status @ 200..=299, .. } => (Some(*status), None),
        AttemptResult::Answered { status, .. } => (Some(*status), Some(status.to_string())),
        AttemptResult::Failed { fault, .. } => (None, Some(fault.as_str().to_owned())),
        AttemptResult::Denied => (None, Some("denied".to_owned())),
        AttemptResult::OurFault => (None, Some("our_fault".to_owned())),
        AttemptResult::Panicked => (None, Some("panic".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(endpoint: &str) -> Option<(&'static str, &'static str)> {
        TracesConfig { endpoint: endpoint.to_owned(), ..TracesConfig::default() }.fault()
    }

    #[test]
    fn an_endpoint_is_an_address_of_http_and_needs_the_feature() {
        assert_eq!(fault(""), None);
        for bad in ["collector:4318", "grpc://collector:4317", "http://", "unix:/run/otel"] {
            assert_eq!(fault(bad).unwrap().0, "is no address of http or https", "{bad}");
        }
        assert_eq!(fault("http://collector:4318").is_none(), CAN_EXPORT);
    }

    #[test]
    fn nobody_who_asks_for_nothing_gets_a_tracer() {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let traces = Traces::start(&TracesConfig::default(), &dropped).unwrap();
        assert!(traces.tracer().is_none() && traces.exporter.is_none());
        traces.end();
    }
}
