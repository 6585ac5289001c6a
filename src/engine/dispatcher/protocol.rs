//! What is said to a dispatcher and what it says: its terms, inputs, actions, and what is in them.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::connection::{Connection, ConnectionKey};
use crate::engine::delivery::{DeadLetterReason, Delivery, WaitReason};
use crate::engine::event::{Epoch, Event, Partition, Position, Record};
use crate::engine::gate::HostCap;
use crate::engine::intake::Settlement;
use crate::engine::lane::DropReason;
use crate::engine::outcome::AttemptResult;
use crate::engine::rate::Share;
use crate::engine::retry::{RetryPolicy, Slot};
use crate::engine::streak::DeactivationReason;
use crate::engine::table::ConnectionTable;
use crate::engine::time::Timestamp;

/// What a dispatcher is built from.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The schedule.
    pub retry: RetryPolicy,
    /// Attempts under way at once; when so many are, a lane may still have one.
    pub max_in_flight: usize,
    /// Deliveries held at once, in queues and attempts; a guide for lanes, not a bound: the intake's budget is that.
    pub max_held: usize,
    /// The most that all connections together may burden one host with.
    pub host_cap: HostCap,
    /// The shard's number, from 0; connections are spread over the shards as the table was told.
    pub shard: usize,
    /// Where the dice start.
    pub seed: u64,
}

/// What happens to a dispatcher.
#[derive(Debug)]
pub enum Input {
    /// A delivery was read: fresh, or due from a tier.
    Delivery(Delivery),
    /// A record was read that is no event; it becomes a dead letter.
    Reject(Rejected),
    /// An attempt has ended.
    Answered(AttemptId, AttemptResult),
    /// A record was acknowledged by the broker.
    Published(Publication),
    /// The connections have changed.
    Table(Arc<ConnectionTable>),
    /// The group was divided anew.
    Share(Share),
    /// Partitions are given up, up to these epochs: what is queued of them is parked.
    Release(Arc<[(Partition, Epoch)]>),
    /// Partitions were lost without notice, up to these epochs: their next owner reads everything open again, so what
    /// is queued of them is forgotten.
    Abandon(Arc<[(Partition, Epoch)]>),
    /// Their time is over: attempts under way are no longer waited for, and parked.
    CutOff(Arc<[(Partition, Epoch)]>),
}

/// What a dispatcher wants done.
#[derive(Debug)]
pub enum Action {
    /// Make an attempt and answer with [`Input::Answered`].
    Attempt(Attempt),
    /// Write a record and answer with [`Input::Published`] when the broker has acknowledged it.
    Publish(Publication),
    /// A delivery has ended.
    Settle(Settlement, Ending),
    /// Note in the states topic that a revision of a connection gets nothing more.
    Deactivate {
        /// The connection.
        key: ConnectionKey,
        /// Its revision.
        revision: u64,
        /// Why.
        reason: DeactivationReason,
    },
}

/// One attempt to be made.
#[derive(Debug)]
pub struct Attempt {
    /// To answer with.
    pub id: AttemptId,
    /// What is sent.
    pub event: Arc<Event>,
    /// Where to, with which credentials and limits: read when the attempt starts, one version for the whole request.
    pub connection: Arc<Connection>,
    /// Which attempt it is, from 1.
    pub number: u32,
    /// How long after it was due it starts, for the metric.
    pub delay: Duration,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// It arrived.
    Delivered,
    /// It is tried again from memory, at that time.
    Repeat(Timestamp),
    /// It waits in a tier.
    Wait(Slot, WaitReason),
    /// It is given up.
    DeadLetter(DeadLetterReason),
}

/// An attempt under way; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptId {
    pub(super) slot: usize,
    pub(super) serial: u64,
}

/// A record to be written.
#[derive(Debug)]
pub struct Publication {
    /// What it holds.
    pub subject: Subject,
    /// Where it goes.
    pub destination: Destination,
}

/// What a record holds.
#[derive(Debug)]
pub enum Subject {
    /// A delivery.
    Delivery(Delivery),
    /// A record that is no event.
    Rejected(Rejected),
}

/// A record that is no event.
#[derive(Debug)]
pub struct Rejected {
    /// It as it came.
    pub record: Record,
    /// Where it was read.
    pub position: Position,
    /// What is wrong with it.
    pub reason: DeadLetterReason,
}

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Into a tier.
    Tier(Slot, WaitReason),
    /// To the dead letters.
    DeadLetters(DeadLetterReason),
}

/// How a delivery ended here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Answered 2xx, so long after its event was recorded.
    Delivered(Duration),
    /// Written to a tier after a failed attempt.
    Retried,
    /// Written to a tier without an attempt.
    Parked,
    /// Written to the dead letters.
    DeadLettered(DeadLetterReason),
    /// Nobody wants it any more.
    Dropped(DropReason),
    /// Its partition was lost before it was attempted; the next owner reads it again.
    Abandoned,
}

impl Ending {
    /// Every name.
    pub const NAMES: [&str; 6] =
        ["delivered", "retried", "parked", "dead_lettered", "dropped", "abandoned"];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Retried => "retried",
            Self::Parked => "parked",
            Self::DeadLettered(_) => "dead_lettered",
            Self::Dropped(_) => "dropped",
            Self::Abandoned => "abandoned",
        }
    }
}
