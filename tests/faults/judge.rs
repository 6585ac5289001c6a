//! The judge: what became of every event for every connection that wants it.
//!
//! Told of observations one by one, it checks each commit when it is observed, and in the end puts each pair into
//! exactly one class. Nothing in it asks the world; a recorded run can be judged again, with a fault planted in it.

mod account;
mod disturbance;
mod progress;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

pub use self::account::{Account, Class};

use self::disturbance::Disturbance;
use self::progress::Progress;
use crate::campaign::{EventNo, Fate, Kind, PROJECTS, SLOTS};
use crate::observation::{Millis, Observation, Pair, Partition, Place};

/// So many complaints are kept in words; the rest are counted.
const WORDS: usize = 20;
/// Progress is remembered so long, for a disturbance that is told of when it is over.
const MEMORY: Millis = 300_000;

/// What is known of a pair. Times are of the first one, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    receipts: u16,
    dead_letters: u16,
    received_at: Millis,
    dead_at: Millis,
    waited_at: Millis,
    /// When it was parked because its partition was given up.
    drained_at: Millis,
}

/// A record of a partition.
#[derive(Clone, Copy, Debug)]
struct Entry {
    content: Content,
    at: Millis,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Event(EventNo),
    Waiting(Pair),
}

#[derive(Debug, Default)]
pub struct Judge {
    /// By event and slot.
    pairs: Vec<[Known; SLOTS.len()]>,
    /// Where the events are.
    places: Vec<Option<Place>>,
    logs: BTreeMap<Partition, BTreeMap<i64, Entry>>,
    /// The tiers' records of a pair.
    waits: HashMap<Pair, Vec<(Millis, Place)>>,
    dead_records: HashMap<Place, Millis>,
    /// The last commit of each partition.
    progress: BTreeMap<Partition, Rc<Progress>>,
    /// What any commit has called settled.
    checked: BTreeMap<Partition, Progress>,
    history: Vec<(Millis, BTreeMap<Partition, Rc<Progress>>)>,
    disturbances: Vec<Disturbance>,
    /// Called settled by a commit at that time, without anything that would show it yet.
    suspects: Vec<(Place, Millis)>,
    changed: HashMap<(u32, usize), Millis>,
    purged: BTreeSet<Place>,
    torn: u64,
    cut_offs: u64,
    acknowledged: u64,
    kills: u64,
    commits: u64,
    unsafe_commits: u64,
    phantoms: u64,
    complaints: Vec<String>,
    missed: Vec<String>,
}

impl Judge {
    pub fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Acknowledged => self.acknowledged += 1,
            &Observation::Event { place, event, at } => {
                self.known(event);
                self.places[event.0 as usize] = Some(place);
                self.enter(place, Entry { content: Content::Event(event), at });
            }
            &Observation::Waiting { place, pair, at, is_draining } => {
                if is_draining {
                    note(&mut self.known(pair.event)[pair.slot].drained_at, at);
                }
                note(&mut self.known(pair.event)[pair.slot].waited_at, at);
                self.waits.entry(pair).or_default().push((at, place));
                self.enter(place, Entry { content: Content::Waiting(pair), at });
            }
            &Observation::DeadLetter { pair, at } => {
                let known = &mut self.known(pair.event)[pair.slot];
                known.dead_letters += 1;
                note(&mut known.dead_at, at);
            }
            &Observation::DeadRecord { place, at } => {
                self.dead_records.entry(place).or_insert(at);
            }
            &Observation::Receipt { pair, at } => {
                let known = &mut self.known(pair.event)[pair.slot];
                known.receipts += 1;
                note(&mut known.received_at, at);
            }
            Observation::Phantom(what) => {
                self.phantoms += 1;
                self.complain(format!("phantom: {what}"));
            }
            Observation::Commit { partition, offset, metadata, at } => {
                self.commit(*partition, *offset, metadata, *at);
            }
            &Observation::Complete { at } => self.hear_suspects(at),
            &Observation::Killed { from, until } => {
                self.kills += 1;
                self.disturb(from, until, true);
            }
            &Observation::Disturbed { from, until } => self.disturb(from, until, false),
            &Observation::Changed { project, slot, at } => {
                self.changed.entry((project, slot)).or_insert(at);
            }
            &Observation::Purged { place } => {
                self.purge(place);
            }
            Observation::Torn { exchanges } => self.torn += exchanges,
            Observation::CutOff { times } => self.cut_offs += times,
            Observation::Missed(what) => self.missed.push(what.clone()),
        }
    }

    /// Commits that nothing seen so far bears out: a look at everything may clear them.
    pub const fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// How many records are known that are not settled by the last commits.
    pub fn open_records(&self) -> usize {
        let open = |(partition, log): (&Partition, &BTreeMap<i64, Entry>)| {
            let Some(checked) = self.checked.get(partition) else { return log.len() };
            log.range(checked.offset..).filter(|(at, _)| !checked.has(**at)).count()
        };
        self.logs.iter().map(open).sum()
    }

    /// When the oldest event was written that is not settled by the last commits.
    pub fn oldest_event(&self) -> Option<Millis> {
        let logs = self.logs.iter().filter(|(partition, _)| partition.topic == 0);
        let first_open = |(partition, log): (&Partition, &BTreeMap<i64, Entry>)| {
            let Some(checked) = self.checked.get(partition) else {
                return log.values().next().copied();
            };
            let mut beyond = log.range(checked.offset..);
            beyond.find(|(at, _)| !checked.has(**at)).map(|(_, entry)| *entry)
        };
        logs.filter_map(first_open).map(|entry| entry.at).min()
    }

    /// How many commits were seen that said something new.
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// What lies below that place and is not settled by now is excused.
    fn purge(&mut self, below: Place) {
        let log = self.logs.get(&below.partition).map(|log| log.range(..below.offset));
        let places = log.into_iter().flatten().map(|(&offset, _)| Place { offset, ..below });
        let open: Vec<Place> = places.filter(|place| !self.is_settled(*place)).collect();
        self.purged.extend(open);
    }

    fn known(&mut self, event: EventNo) -> &mut [Known; SLOTS.len()] {
        let place = event.0 as usize;
        if self.pairs.len() <= place {
            self.pairs.resize(place + 1, [Known::default(); SLOTS.len()]);
            self.places.resize(place + 1, None);
        }
        &mut self.pairs[place]
    }

    fn enter(&mut self, place: Place, entry: Entry) {
        self.logs.entry(place.partition).or_default().insert(place.offset, entry);
    }

    fn commit(&mut self, partition: Partition, offset: i64, metadata: &str, at: Millis) {
        self.commits += 1;
        let new = Progress::read(offset, metadata);
        let last = self.progress.get(&partition).map_or(0, |last| last.offset);
        if offset < last {
            self.unsafe_commits += 1;
            self.complain(format!(
                "the watermark of {partition:?} went back from {last} to {offset}"
            ));
        }
        let newly = new.beyond(self.checked.entry(partition).or_default());
        self.checked.entry(partition).or_default().join(&new);
        self.progress.insert(partition, Rc::new(new));
        for offset in newly {
            let place = Place { partition, offset };
            if self.bears_out(place, at) != Some(true) {
                self.suspects.push((place, at));
            }
        }
        self.remember(at);
    }

    /// Keeps what the commits say now, for disturbances that are told of when they are over.
    fn remember(&mut self, at: Millis) {
        match self.history.last_mut() {
            Some((last, progress)) if *last == at => *progress = self.progress.clone(),
            Some(_) | None => self.history.push((at, self.progress.clone())),
        }
        if self.history[0].0 + MEMORY < at {
            self.history.retain(|(then, _)| then + MEMORY / 2 >= at);
        }
    }

    fn entry(&self, place: Place) -> Option<Entry> {
        self.logs.get(&place.partition)?.get(&place.offset).copied()
    }

    /// Whether what happened until `at` bears out that a record is settled; `None` while the record is not known.
    fn bears_out(&self, place: Place, at: Millis) -> Option<bool> {
        if self.is_purged(place) {
            return Some(true);
        }
        let entry = self.entry(place)?;
        Some(match entry.content {
            Content::Event(event) => match event.fate() {
                Fate::Skipped => true,
                Fate::DeadLetter => self.dead_records.get(&place).is_some_and(|then| *then <= at),
                Fate::Deliveries => pairs_of(event).all(|pair| {
                    let known = &self.pairs[pair.event.0 as usize][pair.slot];
                    self.has_ended(pair, at) || (known.waited_at > 0 && known.waited_at <= at)
                }),
            },
            Content::Waiting(pair) => self.has_ended(pair, at) || self.waits_on(pair, place, at),
        })
    }

    fn has_ended(&self, pair: Pair, at: Millis) -> bool {
        let known = &self.pairs[pair.event.0 as usize][pair.slot];
        let by = |time: Millis| time > 0 && time <= at;
        by(known.received_at) || by(known.dead_at) || self.is_excused(pair, at)
    }

    /// Whether a tier has another record of it: one written later, or an earlier one that is not settled.
    fn waits_on(&self, pair: Pair, place: Place, at: Millis) -> bool {
        let waits = self.waits.get(&pair).map_or(&[][..], Vec::as_slice);
        let own = waits.iter().find(|(_, other)| *other == place);
        waits.iter().any(|wait| {
            let is_later = own.is_some_and(|own| wait > own);
            wait.1 != place && wait.0 <= at && (is_later || !self.is_settled(wait.1))
        })
    }

    fn is_settled(&self, place: Place) -> bool {
        self.checked.get(&place.partition).is_some_and(|checked| checked.has(place.offset))
    }

    fn is_purged(&self, place: Place) -> bool {
        self.purged.contains(&place)
    }

    fn is_excused(&self, pair: Pair, at: Millis) -> bool {
        let key = (pair.event.project(), pair.slot);
        SLOTS[pair.slot] == Kind::Toggled && self.changed.get(&key).is_some_and(|then| *then <= at)
    }

    /// Everything until `at` has been seen: what is still not borne out is a loss in the making.
    fn hear_suspects(&mut self, until: Millis) {
        let suspects = std::mem::take(&mut self.suspects);
        for (place, at) in suspects {
            if at > until {
                self.suspects.push((place, at));
            } else if self.bears_out(place, at) != Some(true) {
                self.unsafe_commits += 1;
                let entry = self.entry(place).map(|entry| entry.content);
                self.complain(format!("committed before it was settled: {place:?}, {entry:?}"));
            }
        }
    }

    fn disturb(&mut self, from: Millis, until: Millis, is_kill: bool) {
        let then = self.history.iter().rev().find(|(at, _)| *at <= from);
        let progress = then.map(|(_, progress)| progress.clone()).unwrap_or_default();
        self.disturbances.push(Disturbance { from, until, progress, is_kill });
    }

    fn complain(&mut self, what: String) {
        if self.complaints.len() < WORDS {
            self.complaints.push(what);
        }
    }
}

/// The first time counts.
fn note(first: &mut Millis, at: Millis) {
    if *first == 0 || at < *first {
        *first = at;
    }
}

/// For whom an event is.
fn pairs_of(event: EventNo) -> impl Iterator<Item = Pair> {
    (0..SLOTS.len())
        .filter(move |slot| event.is_wanted_by(*slot))
        .map(move |slot| Pair { event, slot })
}

/// All connections.
pub fn connections() -> BTreeSet<(u32, usize)> {
    (0..PROJECTS).flat_map(|project| (0..SLOTS.len()).map(move |slot| (project, slot))).collect()
}
