//! Counts around the engine, for one shard. Families with labels are looked up once, not for each delivery.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};

use crate::engine::address::AddressError;
use crate::engine::delivery::DeadLetterReason;
use crate::engine::dispatcher::{Destination, Ending, Publication};
use crate::engine::lane::DropReason;
use crate::engine::outcome::{AttemptResult, Fault};
use crate::engine::streak::DeactivationReason;
use crate::metrics::{Labelled, Metrics};

/// The classes of statuses that are no success.
const STATUS_CLASSES: [&str; 4] = ["3xx", "4xx", "5xx", "other"];
/// Attempts that never reached the network, or ended in our own code.
const NOT_MADE: [&str; 3] = ["denied", "our_fault", "panic"];

/// A shard's way of counting.
pub(super) struct Observer {
    metrics: Arc<Metrics>,
    endings: Labelled,
    dropped: Labelled,
    dead_letters: Labelled,
    deactivations: Labelled,
    /// By the tier's place in the schedule.
    tiers: Vec<IntCounter>,
    delivered_attempts: IntCounter,
    /// Attempts with another answer, by the class of its status.
    refused_attempts: Labelled,
    /// Attempts without an answer, by what happened.
    unanswered_attempts: Labelled,
    shown_in_flight: i64,
}

impl Observer {
    pub(super) fn new(metrics: Arc<Metrics>, tiers: &[String]) -> Self {
        let attempts = |outcome, class| metrics.attempts_total.with_label_values(&[outcome, class]);
        for reason in AddressError::REASONS {
            metrics.egress_denied_total.with_label_values(&[reason]);
        }
        Self {
            endings: of(&metrics.deliveries_total, Ending::NAMES),
            dropped: of(&metrics.deliveries_dropped_total, DropReason::ALL.map(DropReason::as_str)),
            dead_letters: of(
                &metrics.dead_letters_total,
                DeadLetterReason::ALL.map(DeadLetterReason::as_str),
            ),
            deactivations: of(
                &metrics.deactivations_total,
                DeactivationReason::ALL.map(DeactivationReason::as_str),
            ),
            tiers: tiers
                .iter()
                .map(|tier| metrics.retries_scheduled_total.with_label_values(&[tier]))
                .collect(),
            delivered_attempts: attempts("delivered", "2xx"),
            refused_attempts: Labelled::new(STATUS_CLASSES, |class| attempts("refused", class)),
            unanswered_attempts: Labelled::new(
                Fault::ALL.map(Fault::as_str).into_iter().chain(NOT_MADE),
                |outcome| attempts(outcome, "none"),
            ),
            shown_in_flight: 0,
            metrics,
        }
    }

    pub(super) fn starting(&self, delay: Duration) {
        self.metrics.dispatch_delay_seconds.observe(delay.as_secs_f64());
    }

    pub(super) fn attempted(&self, result: &AttemptResult, took: Duration) {
        self.metrics.attempt_duration_seconds.observe(took.as_secs_f64());
        match result {
            AttemptResult::Answered { status: 200..=299, .. } => self.delivered_attempts.inc(),
            AttemptResult::Answered { status: 300..=399, .. } => self.refused_attempts.inc("3xx"),
            AttemptResult::Answered { status: 400..=499, .. } => self.refused_attempts.inc("4xx"),
            AttemptResult::Answered { status: 500..=599, .. } => self.refused_attempts.inc("5xx"),
            AttemptResult::Answered { .. } => self.refused_attempts.inc("other"),
            AttemptResult::Failed { fault, .. } => self.unanswered_attempts.inc(fault.as_str()),
            AttemptResult::Denied => self.unanswered_attempts.inc("denied"),
            AttemptResult::OurFault => self.unanswered_attempts.inc("our_fault"),
            AttemptResult::Panicked => self.unanswered_attempts.inc("panic"),
        }
    }

    /// The broker has a record for a tier or the dead letters.
    pub(super) fn written(&self, publication: &Publication) {
        match publication.destination {
            Destination::Tier(slot, _) => self.tiers[usize::from(slot.tier.0)].inc(),
            Destination::DeadLetters(reason) => self.dead_letters.inc(reason.as_str()),
        }
    }

    pub(super) fn ended(&self, ending: Ending) {
        self.endings.inc(ending.as_str());
        match ending {
            Ending::Delivered(age) => self.metrics.delivery_age_seconds.observe(age.as_secs_f64()),
            Ending::Dropped(reason) => self.dropped.inc(reason.as_str()),
            Ending::Retried | Ending::Parked | Ending::DeadLettered(_) | Ending::Abandoned => {}
        }
    }

    pub(super) fn deactivating(&self, reason: DeactivationReason) {
        self.deactivations.inc(reason.as_str());
    }

    /// Shows what has changed in a round.
    pub(super) fn show(&mut self, in_flight: usize, denials: &[(&'static str, u64)]) {
        let in_flight = i64::try_from(in_flight).unwrap_or(i64::MAX);
        self.metrics.in_flight.add(in_flight - self.shown_in_flight);
        self.shown_in_flight = in_flight;
        for (reason, count) in denials {
            self.metrics.egress_denied_total.with_label_values(&[reason]).inc_by(*count);
        }
    }
}

fn of<const N: usize>(family: &IntCounterVec, values: [&'static str; N]) -> Labelled {
    Labelled::new(values, |value| family.with_label_values(&[value]))
}
