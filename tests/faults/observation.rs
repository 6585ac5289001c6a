//! What was seen, in the order in which it was seen. The judge needs nothing else, so a run can be judged again.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::campaign::EventNo;

/// A partition: the events topic is 0, the tiers follow, from the shortest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    pub topic: u16,
    pub number: i32,
}

/// A record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub partition: Partition,
    pub offset: i64,
}

/// One event for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    pub event: EventNo,
    pub slot: usize,
}

/// UNIX milliseconds.
pub type Millis = u64;

pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    u64::try_from(since.as_millis()).expect("before the year 584 million")
}

#[derive(Clone, Debug)]
pub enum Observation {
    /// The broker has acknowledged an event.
    Acknowledged,
    /// A record of the events topic.
    Event { place: Place, event: EventNo, at: Millis },
    /// A record of a tier.
    Waiting { place: Place, pair: Pair, at: Millis, is_draining: bool },
    /// A dead letter of a delivery.
    DeadLetter { pair: Pair, at: Millis },
    /// A dead letter of a record that is no event.
    DeadRecord { place: Place, at: Millis },
    /// A request that was answered 2xx; `at` is when it had been read.
    Receipt { pair: Pair, at: Millis },
    /// What nobody should have got or written: of no event, for no match, with a wrong body, token or value.
    Phantom(String),
    /// What a group has committed for a partition.
    Commit { partition: Partition, offset: i64, metadata: String, at: Millis },
    /// Everything that was written or answered until `at` has been observed.
    Complete { at: Millis },
    /// An instance was killed in that time.
    Killed { from: Millis, until: Millis },
    /// Something that may cost members their partitions without their doing.
    Disturbed { from: Millis, until: Millis },
    /// A connection's status was about to be changed, or it was about to be deleted.
    Changed { project: u32, slot: usize, at: Millis },
    /// The broker has deleted what lies below.
    Purged { place: Place },
    /// Exchanges that a proxy tore apart: the sink may have answered.
    Torn { exchanges: u64 },
    /// Instances have said so often that they gave attempts up that were under way, for their time was over.
    CutOff { times: u64 },
    /// Something that had to be seen was not.
    Missed(String),
}
