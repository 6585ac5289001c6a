//! What may be delivered again after a kill, or after something that cost members their partitions.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::progress::Progress;
use super::{Content, Judge, pairs_of};
use crate::observation::{Millis, Pair, Partition};

/// A request that was on its way when its instance was killed has arrived by then.
const ON_ITS_WAY: Millis = 2_000;

/// Something after which the next owner may repeat what the last commit before it calls open.
#[derive(Debug)]
pub(super) struct Disturbance {
    /// What is written later is not concerned.
    pub(super) until: Millis,
    /// The last commits before it.
    pub(super) progress: BTreeMap<Partition, Rc<Progress>>,
    pub(super) is_kill: bool,
}

/// What all disturbances together allow.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// How often a pair may be repeated.
    pub(super) pairs: BTreeMap<Pair, u32>,
    /// In flight, or settled since the last commit, at each of them, added up.
    pub(super) bound: u64,
    pub(super) kills_with_work: u64,
}

impl Judge {
    pub(super) fn allowance(&self) -> Allowance {
        let mut allowance = Allowance::default();
        for disturbance in &self.disturbances {
            let before = allowance.bound;
            self.allow(disturbance, &mut allowance);
            if disturbance.is_kill && allowance.bound > before {
                allowance.kills_with_work += 1;
            }
        }
        allowance
    }

    fn allow(&self, disturbance: &Disturbance, allowance: &mut Allowance) {
        for (partition, log) in &self.logs {
            let nothing = Rc::default();
            let progress = disturbance.progress.get(partition).unwrap_or(&nothing);
            for (offset, entry) in log.range(progress.offset..) {
                if progress.has(*offset) || entry.at > disturbance.until {
                    continue;
                }
                match entry.content {
                    Content::Event(event) => {
                        pairs_of(event)
                            .for_each(|pair| self.allow_pair(pair, disturbance, allowance));
                    }
                    Content::Waiting(pair) => self.allow_pair(pair, disturbance, allowance),
                }
            }
        }
    }

    fn allow_pair(&self, pair: Pair, disturbance: &Disturbance, allowance: &mut Allowance) {
        *allowance.pairs.entry(pair).or_default() += 1;
        let known = &self.pairs[pair.event.0 as usize][pair.slot];
        let end = disturbance.until + ON_ITS_WAY;
        let was_begun = [known.received_at, known.waited_at, known.dead_at]
            .into_iter()
            .any(|at| at > 0 && at <= end);
        allowance.bound += u64::from(was_begun);
    }
}
