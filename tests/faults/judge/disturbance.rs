//! What may be delivered again after a kill, or after something that cost members their partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::progress::Progress;
use super::{Content, Judge, pairs_of};
use crate::observation::{Millis, Pair, Partition};

/// A request that was on its way when its instance was killed has arrived by then.
const ON_ITS_WAY: Millis = 2_000;

/// Something after which the next owner may repeat what the last commit before it calls open.
#[derive(Debug)]
pub(super) struct Disturbance {
    pub(super) from: Millis,
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
    /// In flight, or settled since the last commit, at each of them, added up. Where several overlap, a pair counts
    /// once: they are one misfortune, told by several.
    pub(super) bound: u64,
    /// The part of the bound that kills alone account for.
    pub(super) bound_of_kills: u64,
    pub(super) kills_with_work: u64,
}

impl Judge {
    pub(super) fn allowance(&self) -> Allowance {
        let mut allowance = Allowance::default();
        let mut in_time: Vec<&Disturbance> = self.disturbances.iter().collect();
        in_time.sort_by_key(|disturbance| disturbance.from);
        // Of those that overlap: until when, whether all are kills, and which pairs they concern.
        let (mut end, mut only_kills, mut concerned) = (0, true, BTreeSet::new());
        for disturbance in in_time {
            if disturbance.from > end {
                allowance.close(only_kills, &mut concerned);
                only_kills = true;
            }
            end = end.max(disturbance.until);
            only_kills &= disturbance.is_kill;
            let has_work = self.allow(disturbance, &mut allowance, &mut concerned);
            allowance.kills_with_work += u64::from(disturbance.is_kill && has_work);
        }
        allowance.close(only_kills, &mut concerned);
        allowance
    }

    /// Answers whether anything was in flight, or settled since the last commit.
    fn allow(
        &self,
        disturbance: &Disturbance,
        allowance: &mut Allowance,
        concerned: &mut BTreeSet<Pair>,
    ) -> bool {
        let mut has_work = false;
        for (partition, log) in &self.logs {
            let nothing = Rc::default();
            let progress = disturbance.progress.get(partition).unwrap_or(&nothing);
            for (offset, entry) in log.range(progress.offset..) {
                if progress.has(*offset) || entry.at > disturbance.until {
                    continue;
                }
                let mut allow = |pair| {
                    *allowance.pairs.entry(pair).or_default() += 1;
                    if self.was_begun(pair, disturbance.until + ON_ITS_WAY) {
                        has_work = true;
                        concerned.insert(pair);
                    }
                };
                match entry.content {
                    Content::Event(event) => pairs_of(event).for_each(allow),
                    Content::Waiting(pair) => allow(pair),
                }
            }
        }
        has_work
    }

    fn was_begun(&self, pair: Pair, by: Millis) -> bool {
        let known = &self.pairs[pair.event.0 as usize][pair.slot];
        [known.received_at, known.waited_at, known.dead_at].into_iter().any(|at| at > 0 && at <= by)
    }
}

impl Allowance {
    /// What was open through a misfortune counts, once.
    fn close(&mut self, only_kills: bool, concerned: &mut BTreeSet<Pair>) {
        let count = std::mem::take(concerned).len() as u64;
        self.bound += count;
        if only_kills {
            self.bound_of_kills += count;
        }
    }
}
