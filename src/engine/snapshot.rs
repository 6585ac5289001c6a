//! What people and metrics may see of the engine: plain data, a copy.

use super::connection::ConnectionKey;
use super::delivery::WaitReason;
use super::time::Timestamp;

/// What became of a lane's deliveries since the lane was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Answered 2xx.
    pub delivered: u64,
    /// Put into a tier after a failed attempt.
    pub retried: u64,
    /// Put into a tier without an attempt.
    pub parked: u64,
    /// Given up.
    pub dead_lettered: u64,
    /// Nobody wanted them any more.
    pub dropped: u64,
}

/// What a lane is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneState {
    /// Nothing.
    Idle,
    /// Attempts are under way, nothing is queued.
    Busy,
    /// Deliveries wait for the rate or the window.
    Backlogged,
    /// The endpoint asked to be left alone.
    Paused,
    /// The breaker is open.
    BreakerOpen,
    /// The breaker lets one attempt through.
    Probing,
}

impl LaneState {
    /// Every state, for metrics.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Busy, Self::Backlogged, Self::Paused, Self::BreakerOpen, Self::Probing];

    /// The name in metrics and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Backlogged => "backlogged",
            Self::Paused => "paused",
            Self::BreakerOpen => "breaker_open",
            Self::Probing => "probing",
        }
    }
}

/// One lane.
#[derive(Clone, Debug)]
pub struct LaneSnapshot {
    /// Whose it is.
    pub connection: ConnectionKey,
    /// What it is doing.
    pub state: LaneState,
    /// What keeps its next delivery from going: the rate or the window, the breaker, the endpoint's own wish.
    pub waits_for: Option<WaitReason>,
    /// Until when it does, where that is known.
    pub until: Option<Timestamp>,
    /// Deliveries in its queue.
    pub queued: usize,
    /// Attempts under way.
    pub in_flight: u32,
    /// Parked for the rate by this instance and not seen again.
    pub parked: u64,
    /// When the oldest event was recorded that is queued or under way here.
    pub oldest: Option<Timestamp>,
    /// What became of the others.
    pub totals: Totals,
}

/// One shard.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Its lanes.
    pub lanes: Vec<LaneSnapshot>,
    /// Attempts under way.
    pub in_flight: usize,
    /// Deliveries in queues.
    pub queued: usize,
}
