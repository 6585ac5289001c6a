//! What of the attempts is logged, and as what.
//!
//! Turns an attempt and its result into a record without secrets and hands it to the writer, which never waits. What
//! is kept of an answer is decided before the attempt, so that one that is not logged costs nothing. Each shard has
//! its own; nothing that is delivered depends on it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde::Deserialize;

use super::redaction::{Secrets, masked_answer, masked_request};
use crate::engine::catalog::Catalog;
use crate::engine::connection::Connection;
use crate::engine::dispatcher::NextStep;
use crate::engine::event::Event;
use crate::engine::outcome::{AttemptResult, Fault};
use crate::engine::payload::render_headers;
use crate::engine::time::Timestamp;
use crate::kafka::attempts::AttemptWriter;
use crate::kafka::record::attempt::{AttemptOutcome, AttemptRecord, Next, OriginPlace};
use crate::traces::TRACEPARENT;
use crate::webhook::answer::{Answer, Keep};

/// The section `[attempts]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttemptsConfig {
    /// Which attempts are logged to their topic.
    pub log: AttemptsLogged,
    /// Of so many successes one is logged, 1–100000; 1: each.
    pub success_every: u32,
}

impl Default for AttemptsConfig {
    fn default() -> Self {
        Self { log: AttemptsLogged::All, success_every: 1 }
    }
}

/// Which attempts are logged to their topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptsLogged {
    /// Every attempt, or every so many of the successes.
    #[default]
    All,
    /// Those that did not succeed.
    Failures,
    /// None.
    Off,
}

/// A shard's way of logging.
#[derive(Clone, Debug)]
pub struct AttemptLog {
    /// Of so many successes one is logged; 0: none.
    success_every: u32,
    /// Attempts since one whose success was to be logged.
    passed: u32,
    writer: AttemptWriter,
    catalog: Arc<Catalog>,
    tiers: Arc<[String]>,
}

/// An attempt that has ended and may have to be logged.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) at: Timestamp,
    pub(super) number: u32,
    pub(super) event: Arc<Event>,
    pub(super) connection: Arc<Connection>,
    pub(super) answer: Option<Box<Answer>>,
    pub(super) connect: Option<Duration>,
    /// What its receiver was told of its trace.
    pub(super) traceparent: Option<HeaderValue>,
    /// What was to be kept of its answer, and so whether its success is logged.
    pub(super) keep: Keep,
}

impl AttemptLog {
    /// A log by this configuration; `None` where it is off. `tiers` are the tiers' delays as text.
    #[must_use]
    pub fn new(
        config: &AttemptsConfig,
        writer: AttemptWriter,
        catalog: Arc<Catalog>,
        tiers: Arc<[String]>,
    ) -> Option<Self> {
        let success_every = match config.log {
            AttemptsLogged::All => config.success_every,
            AttemptsLogged::Failures => 0,
            AttemptsLogged::Off => return None,
        };
        Some(Self { success_every, passed: 0, writer, catalog, tiers })
    }

    /// Decides what is to be kept of the answer to the next attempt.
    pub(super) const fn draw(&mut self) -> Keep {
        self.passed += 1;
        if self.passed < self.success_every || self.success_every == 0 {
            return Keep::Failures;
        }
        self.passed = 0;
        Keep::Everything
    }

    /// Logs an attempt, if it is to be logged.
    pub(super) fn note(
        &self,
        made: &Made,
        result: &AttemptResult,
        took: Duration,
        next: Option<NextStep>,
    ) {
        let (outcome, status) = class_of(result);
        let is_success = outcome == AttemptOutcome::Delivered;
        if is_success && made.keep != Keep::Everything {
            return;
        }
        let Made { at, number, event, connection, .. } = made;
        // The very headers that were sent: made of the same values.
        let mut headers = render_headers(&event.id, *number, *at, &connection.auth);
        headers.extend(made.traceparent.clone().map(|value| (TRACEPARENT, value)));
        let origin = &event.record.origin;
        let answer = made.answer.as_ref();
        self.writer.write(&AttemptRecord {
            schema: AttemptRecord::SCHEMA,
            at_ms: at.as_millis(),
            project_id: connection.key.project().into(),
            connection_id: connection.key.connection().into(),
            revision: connection.revision,
            event_id: event.id.as_str().into(),
            event: self.catalog.events.name(event.event).into(),
            channel: self.catalog.channels.name(event.channel).into(),
            attempt: *number,
            origin: OriginPlace {
                topic: (&*origin.topic).into(),
                partition: origin.partition,
                offset: origin.offset,
                timestamp_ms: origin.timestamp.as_millis(),
            },
            outcome,
            status,
            duration_ms: millis(took),
            connect_ms: made.connect.map(millis),
            request: masked_request(&connection.endpoint, &headers, &event.body),
            answer: answer.map(|answer| masked_answer(answer, &Secrets::of(&headers))),
            next: next.map(|next| self.next(next)),
            stands_for: if is_success { self.success_every } else { 1 },
        });
    }

    /// Waits until what was noted is written or dropped, for at most that long.
    pub(super) fn flush(&self, timeout: Duration) {
        self.writer.flush(timeout);
    }

    fn next(&self, step: NextStep) -> Next<'_> {
        match step {
            NextStep::Delivered => Next::Delivered,
            NextStep::Repeat(at) => Next::Repeat { due_ms: at.as_millis() },
            NextStep::Wait(slot, reason) => Next::Retry {
                tier: Cow::Borrowed(&self.tiers[usize::from(slot.tier.0)]),
                due_ms: slot.due.as_millis(),
                reason: reason.as_str().into(),
            },
            NextStep::DeadLetter(reason) => Next::DeadLetter { reason: reason.as_str().into() },
        }
    }
}

/// The class of a result, and the answer's status.
#[must_use]
pub const fn class_of(result: &AttemptResult) -> (AttemptOutcome, Option<u16>) {
    match result {
        AttemptResult::Answered { status: status @ 200..=299, .. } => {
            (AttemptOutcome::Delivered, Some(*status))
        }
        AttemptResult::Answered { status, .. } => (AttemptOutcome::Status, Some(*status)),
        AttemptResult::Failed { fault, .. } => (of_fault(*fault), None),
        AttemptResult::Denied => (AttemptOutcome::Denied, None),
        AttemptResult::OurFault => (AttemptOutcome::OurFault, None),
        AttemptResult::Panicked => (AttemptOutcome::Panic, None),
    }
}

const fn of_fault(fault: Fault) -> AttemptOutcome {
    match fault {
        Fault::Dns => AttemptOutcome::Dns,
        Fault::Connect => AttemptOutcome::Connect,
        Fault::Tls => AttemptOutcome::Tls,
        Fault::Timeout => AttemptOutcome::Timeout,
        Fault::Reset => AttemptOutcome::Reset,
        Fault::Protocol => AttemptOutcome::Protocol,
    }
}

/// Whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::catalog;
    use crate::kafka::client::KafkaConfig;
    use crate::metrics::Metrics;

    fn log(log: AttemptsLogged, success_every: u32) -> Option<AttemptLog> {
        let metrics = Arc::new(Metrics::new().unwrap());
        let config = KafkaConfig::default().log_producer();
        let writer = AttemptWriter::new(&config, "attempts", &metrics).unwrap();
        let config = AttemptsConfig { log, success_every };
        AttemptLog::new(&config, writer, Arc::new(catalog()), Arc::from([]))
    }

    fn draws(log: &mut AttemptLog) -> Vec<bool> {
        (0..6).map(|_| log.draw() == Keep::Everything).collect()
    }

    #[test]
    fn successes_are_logged_as_often_as_was_asked_for() {
        let mut every = log(AttemptsLogged::All, 1).unwrap();
        assert_eq!(draws(&mut every), [true; 6]);
        let mut third = log(AttemptsLogged::All, 3).unwrap();
        assert_eq!(draws(&mut third), [false, false, true, false, false, true]);
        let mut none = log(AttemptsLogged::Failures, 1).unwrap();
        assert_eq!(draws(&mut none), [false; 6]);
        assert!(log(AttemptsLogged::Off, 1).is_none());
    }
}
