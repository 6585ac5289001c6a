//! A delivery: one event for one connection, and what it has been through.

use std::sync::Arc;

use super::connection::ConnectionKey;
use super::event::{Event, Position};
use super::outcome::{AttemptResult, ErrorClass, Outcome};
use super::time::Timestamp;

/// One event for one connection.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event, shared with the deliveries of other connections.
    pub event: Arc<Event>,
    /// Who wants it.
    pub connection: ConnectionKey,
    /// Where it was read this time, and what is settled when it ends.
    pub position: Position,
    /// When it was read this time.
    pub read_at: Timestamp,
    /// When its attempt was due: the time of its record, or the end of its wait in a tier.
    pub due: Timestamp,
    /// Whether its first attempt was repeated from memory already.
    pub repeated: bool,
    /// What it went through, also in earlier lives in the tiers.
    pub history: History,
    /// Why it was in a tier; `None` for a fresh one.
    pub waited_for: Option<WaitReason>,
}

impl Delivery {
    /// The first attempt is repeated once, soon, when the endpoint cannot have seen enough of it to answer.
    #[must_use]
    pub const fn is_worth_a_repeat(&self, outcome: Outcome) -> bool {
        let is_silent = matches!(outcome, Outcome::Unanswered { answer_begun: false, .. });
        is_silent && self.history.attempts == 0 && !self.repeated
    }
}

/// What a delivery went through; it travels in the headers of tiers and dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Attempts that were charged to the endpoint.
    pub attempts: u32,
    /// The start of its horizon: the first failed attempt, or the first time an open breaker turned it away.
    pub first_attempt_at: Option<Timestamp>,
    /// The last attempt.
    pub last_attempt_at: Option<Timestamp>,
    /// The last answer's status.
    pub last_status: Option<u16>,
    /// What the last attempt failed of.
    pub last_error: Option<ErrorClass>,
    /// The connection's revision at the last attempt.
    pub revision: Option<u64>,
}

impl History {
    /// Writes down what an attempt met that was the endpoint's doing; it is not charged by this.
    pub fn note(&mut self, result: &AttemptResult, outcome: Outcome, started_at: Timestamp) {
        self.last_attempt_at = Some(started_at);
        self.last_status = match result {
            AttemptResult::Answered { status, .. } => Some(*status),
            AttemptResult::Failed { .. }
            | AttemptResult::Denied
            | AttemptResult::OurFault
            | AttemptResult::Panicked => None,
        };
        self.last_error = outcome.error_class();
        if outcome != Outcome::Delivered {
            self.first_attempt_at.get_or_insert(started_at);
        }
    }
}

/// Why a delivery waits in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// An attempt failed.
    Retry,
    /// The lane was full: the connection's rate or window does not keep up.
    RateLimit,
    /// The endpoint asked to be left alone.
    RetryAfter,
    /// The breaker is open.
    BreakerOpen,
    /// The connection's record cannot be read.
    ConnectionUnreadable,
    /// This instance is giving the partition up.
    Draining,
    /// A fault on our side kept the attempt from being made.
    OurFault,
}

impl WaitReason {
    const ALL: [Self; 7] = [
        Self::Retry,
        Self::RateLimit,
        Self::RetryAfter,
        Self::BreakerOpen,
        Self::ConnectionUnreadable,
        Self::Draining,
        Self::OurFault,
    ];

    /// The name in the `barnabas-reason` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RateLimit => "rate_limit",
            Self::RetryAfter => "retry_after",
            Self::BreakerOpen => "breaker_open",
            Self::ConnectionUnreadable => "connection_unreadable",
            Self::Draining => "draining",
            Self::OurFault => "our_fault",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Why a delivery or an event was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadLetterReason {
    /// The retry schedule or its horizon is over.
    Exhausted,
    /// The endpoint refuses this body.
    Rejected,
    /// The endpoint is gone for good.
    Gone,
    /// Older than the connection wants.
    Expired,
    /// The egress guard refused.
    EgressDenied,
    /// The connection was inactive when the attempt was due.
    ConnectionInactive,
    /// The connection's record could not be read for the whole horizon.
    ConnectionUnreadable,
    /// The event's record is not what the contract says.
    MalformedEvent,
    /// The event's record is larger than the limit.
    TooLarge,
    /// Our code panicked on it.
    Panic,
}

impl DeadLetterReason {
    /// Every reason, for metrics and parsing.
    pub const ALL: [Self; 10] = [
        Self::Exhausted,
        Self::Rejected,
        Self::Gone,
        Self::Expired,
        Self::EgressDenied,
        Self::ConnectionInactive,
        Self::ConnectionUnreadable,
        Self::MalformedEvent,
        Self::TooLarge,
        Self::Panic,
    ];

    /// The name in headers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Rejected => "rejected",
            Self::Gone => "gone",
            Self::Expired => "expired",
            Self::EgressDenied => "egress_denied",
            Self::ConnectionInactive => "connection_inactive",
            Self::ConnectionUnreadable => "connection_unreadable",
            Self::MalformedEvent => "malformed_event",
            Self::TooLarge => "too_large",
            Self::Panic => "panic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_reason_is_read_back() {
        for reason in WaitReason::ALL {
            assert_eq!(WaitReason::parse(reason.as_str()), Some(reason));
        }
    }
}
