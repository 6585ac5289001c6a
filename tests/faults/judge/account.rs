//! The sum of a run: each pair in its class, and the verdict.

use std::collections::BTreeMap;

use super::{Judge, pairs_of};
use crate::campaign::{EventNo, Fate, Kind, SLOTS, Shape};
use crate::observation::{Pair, Place};

/// So many are told at length.
const STORIES: usize = 5;

/// What became of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// D: delivered at least once.
    Delivered,
    /// X: in the dead letters.
    DeadLettered,
    /// R: in a tier, at or above the group's committed offset.
    Waiting,
    /// U: in the source, at or above the committed offset.
    Unread,
    /// S: excused, for the connection was changed or the broker deleted the record.
    Excused,
    /// None of these.
    Lost,
}

/// What a run has come to.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub events: u64,
    /// Events whose record is of an odd shape.
    pub odd: u64,
    pub pairs: u64,
    pub classes: BTreeMap<Class, u64>,
    /// Records that are no event and have no dead letter.
    pub lost_records: u64,
    pub phantoms: u64,
    pub duplicates: u64,
    pub duplicates_bound: u64,
    /// The part of the bound that kills alone account for.
    pub bound_of_kills: u64,
    /// Deliveries repeated without a kill or a disturbance that would explain it.
    pub unexplained: u64,
    pub unsafe_commits: u64,
    pub commits: u64,
    pub kills: u64,
    pub kills_with_work: u64,
    pub torn: u64,
    /// Repeated because an attempt was given up that was under way when its partition had to go.
    pub cut_off: u64,
    /// Pairs that were repeated without an explanation, or lost: the first of them.
    pub suspects: Vec<Pair>,
    pub complaints: Vec<String>,
    pub missed: Vec<String>,
}

impl Account {
    pub fn lost(&self) -> u64 {
        self.classes.get(&Class::Lost).copied().unwrap_or(0) + self.lost_records
    }

    /// What is wrong, in words; empty for a run in which everything held.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        check(self.lost(), "lost");
        check(self.phantoms, "phantoms");
        check(self.unsafe_commits, "commits that were not safe");
        check(self.unexplained, "duplicates that nothing explains");
        check(self.duplicates.saturating_sub(self.duplicates_bound), "duplicates above the bound");
        faults.extend(self.missed.iter().cloned());
        faults
    }
}

impl Judge {
    pub fn account(&self) -> Account {
        let allowance = self.allowance();
        let mut account = Account {
            phantoms: self.phantoms,
            unsafe_commits: self.unsafe_commits,
            commits: self.commits,
            kills: self.kills,
            kills_with_work: allowance.kills_with_work,
            bound_of_kills: allowance.bound_of_kills,
            duplicates_bound: allowance.bound + self.torn,
            torn: self.torn,
            complaints: self.complaints.clone(),
            missed: self.missed.clone(),
            ..Account::default()
        };
        let mut torn_left = self.torn;
        for (number, place) in self.places.iter().enumerate() {
            let event = EventNo(u32::try_from(number).expect("an event's number"));
            let Some(place) = *place else { continue };
            account.events += 1;
            account.odd += u64::from(event.shape() != Shape::Usual);
            if event.fate() == Fate::DeadLetter && !self.is_accounted_for(place) {
                account.lost_records += 1;
                account.complain(format!("no dead letter of {event:?} at {place:?}"));
            }
            for pair in pairs_of(event) {
                let class = self.class(pair, place);
                account.pairs += 1;
                *account.classes.entry(class).or_default() += 1;
                if class == Class::Lost {
                    account.complain(format!("lost: {pair:?} of {place:?}"));
                    account.suspect(pair);
                }
                let allowed = allowance.pairs.get(&pair).copied().unwrap_or(0);
                self.count_repeats(pair, allowed, &mut torn_left, &mut account);
            }
        }
        account.duplicates_bound += account.cut_off;
        account
    }

    fn is_accounted_for(&self, place: Place) -> bool {
        self.dead_records.contains_key(&place) || !self.is_settled(place) || self.is_purged(place)
    }

    fn class(&self, pair: Pair, place: Place) -> Class {
        let known = &self.pairs[pair.event.0 as usize][pair.slot];
        if known.receipts > 0 {
            return Class::Delivered;
        }
        if known.dead_letters > 0 {
            return Class::DeadLettered;
        }
        let waits = self.waits.get(&pair).map_or(&[][..], Vec::as_slice);
        if waits.iter().any(|(_, place)| !self.is_settled(*place)) {
            return Class::Waiting;
        }
        if !self.is_settled(place) && !self.is_purged(place) {
            return Class::Unread;
        }
        let is_excused = self.is_purged(place) || self.is_excused(pair, u64::MAX);
        if is_excused { Class::Excused } else { Class::Lost }
    }

    fn count_repeats(&self, pair: Pair, allowed: u32, torn_left: &mut u64, account: &mut Account) {
        let known = &self.pairs[pair.event.0 as usize][pair.slot];
        let repeats = u64::from(known.receipts.saturating_sub(1));
        account.duplicates += repeats;
        let mut beyond = repeats.saturating_sub(u64::from(allowed));
        if SLOTS[pair.slot] == Kind::Proxied {
            let torn = beyond.min(*torn_left);
            *torn_left -= torn;
            beyond -= torn;
        }
        // It was under way when its partition had to go, and was parked as well.
        if self.cut_offs > 0 && known.drained_at > 0 {
            account.cut_off += beyond.min(1);
            beyond -= beyond.min(1);
        }
        account.unexplained += beyond;
        if beyond > 0 {
            account.complain(format!("repeated {repeats} times, {allowed} allowed: {pair:?}"));
            account.suspect(pair);
        }
    }
}

impl Account {
    fn suspect(&mut self, pair: Pair) {
        if self.suspects.len() < STORIES {
            self.suspects.push(pair);
        }
    }

    fn complain(&mut self, what: String) {
        if self.complaints.len() < super::WORDS * 2 {
            self.complaints.push(what);
        }
    }
}
