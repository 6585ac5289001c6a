//! What a lane is told when it decides, and what it decides.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::connection::Connection;
use crate::engine::delivery::{DeadLetterReason, Delivery, WaitReason};
use crate::engine::gate::Passage;
use crate::engine::rate::Share;
use crate::engine::retry::RetryPolicy;
use crate::engine::table::Lookup;
use crate::engine::time::Timestamp;

/// What surrounds a lane when it decides.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The time.
    pub now: Timestamp,
    /// What the table says of the connection.
    pub connection: &'a Lookup,
    /// The schedule.
    pub retry: &'a RetryPolicy,
    /// This instance's part of the limits.
    pub share: Share,
    /// Attempts that may still be started, in all lanes; with none left, each lane may have one.
    pub free_slots: usize,
    /// Whether its host can be called now, as far as other lanes go.
    pub passage: Passage,
}

/// What the head of a lane's queue does now.
#[derive(Debug)]
pub enum Step {
    /// It is attempted.
    Attempt(Delivery, Arc<Connection>),
    /// It goes to the tier nearest to that wait.
    Park(Delivery, Duration, WaitReason),
    /// It is given up.
    DeadLetter(Delivery, DeadLetterReason),
    /// Nobody wants it any more.
    Drop(Delivery, DropReason),
    /// Nothing before that time, unless something ends before.
    Wait(Timestamp),
    /// It goes when its host's gate lets it; nothing else before that time.
    StandInLine(Timestamp),
    /// There is nothing to do.
    Idle,
}

/// Why a delivery ended without an attempt and without a trace but a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Its connection was deleted.
    ConnectionDeleted,
    /// Its connection could not be read before, and does not want it now that it can.
    NoMatch,
}

impl DropReason {
    /// Every reason, for metrics.
    pub const ALL: [Self; 2] = [Self::ConnectionDeleted, Self::NoMatch];

    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionDeleted => "connection_deleted",
            Self::NoMatch => "no_match",
        }
    }
}
