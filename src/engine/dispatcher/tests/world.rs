//! The simulated world: a virtual clock, seeded dice, a broker, a group of instances and scripted receivers.
//!
//! It drives dispatchers and intakes as the edges do, and asserts at every step what must always hold. A run ends when
//! everything is quiet; a run that does not become quiet has failed.

mod broker;
mod consuming;
mod delivering;
mod group;
mod instance;
mod ledger;
mod receiver;
mod scenario;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::broker::{Broker, Content};
use self::group::Group;
use self::instance::Instance;
use self::ledger::Ledger;
use self::receiver::Receiver;
pub(super) use self::scenario::Temper;
use self::scenario::{Edit, Kind, PROJECTS, PROPS, START, Scenario, Turn, below, revision_of};
use crate::engine::connection::{Filter, Status};
use crate::engine::dispatcher::dice::Dice;
use crate::engine::dispatcher::{AttemptId, Publication};
use crate::engine::event::{Event, EventId, Origin, Partition, Record, Source};
use crate::engine::fixtures::unreadable;
use crate::engine::intake::Commit;
use crate::engine::outcome::AttemptResult;
use crate::engine::retry::RetryPolicy;
use crate::engine::streak::DeactivationReason;
use crate::engine::table::{ConnectionTable, Deactivation, Entry};
use crate::engine::time::Timestamp;

/// The tiers of every world: short, so that a run ends.
const SCHEDULE: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];
/// A world that is not quiet by then makes no progress.
const DEADLINE: Duration = Duration::from_hours(3);
/// An instance has read a new table by then.
const MOST_LAG: Duration = Duration::from_millis(300);
/// How many lines of a trace are worth reading.
const TRACE_LINES: usize = 150;

thread_local! {
    /// The last lines of the run of this thread; `None` while nobody wants to read them.
    static TRACE: RefCell<Option<VecDeque<String>>> = const { RefCell::new(None) };
}

/// What happens at a time.
#[derive(Debug)]
enum Happening {
    Arrive(usize),
    Edit(usize),
    Turn(Turn),
    /// An instance reads the newest table.
    Table(usize),
    /// An instance's deactivation is in the states topic.
    Deactivate(usize, u64, DeactivationReason),
    Wake(usize),
    Answer(usize, usize, AttemptId, AttemptResult),
    Append(usize, usize, Publication),
    Acknowledge(usize, usize, Publication),
    Commit(usize),
    CommitAcknowledged(usize, Commit),
    /// The group gives out what is free.
    Balance,
    CutOff(usize),
    /// The group gives an instance up.
    Expire(usize),
    /// A lost instance learns it.
    Learn(usize),
}

/// The world.
pub(super) struct World {
    now: Timestamp,
    dice: Dice,
    scenario: Scenario,
    retry: RetryPolicy,
    broker: Broker,
    group: Group,
    instances: Vec<Instance>,
    receivers: Vec<Receiver>,
    /// Revisions of the connections.
    revisions: Vec<u64>,
    table: Arc<ConnectionTable>,
    ledger: Ledger,
    /// Boxed, because a tree moves its entries about.
    happenings: BTreeMap<(Timestamp, u64), Box<Happening>>,
    next_number: u64,
    /// Happenings that are not mere wake-ups.
    pending: usize,
    hash: u64,
}

impl World {
    /// Runs a whole schedule and answers the hash of its trace.
    ///
    /// # Panics
    /// When a property does not hold.
    pub(super) fn run(seed: u64, temper: Temper) -> u64 {
        let mut world = Self::new(seed, temper);
        while let Some(((at, _), happening)) = world.happenings.pop_first() {
            world.now = at;
            assert!(at < START + DEADLINE, "no progress in {DEADLINE:?}");
            world.pending -= usize::from(!matches!(*happening, Happening::Wake(_)));
            world.happen(*happening);
            if world.pending == 0 && world.is_quiet() {
                break;
            }
        }
        assert!(world.is_quiet(), "no progress: nothing will ever happen again");
        world.check_the_end();
        world.hash
    }

    /// From now on, this thread remembers the last lines of its runs.
    pub(super) fn watch() {
        TRACE.set(Some(VecDeque::new()));
    }

    /// The lines that were remembered.
    pub(super) fn trace() -> String {
        let lines = TRACE.take().unwrap_or_default();
        lines.into_iter().map(|line| line + "\n").collect()
    }

    fn new(seed: u64, temper: Temper) -> Self {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::throw(temper, &mut dice);
        let retry = RetryPolicy::new(&SCHEDULE).unwrap().with_partitions(scenario.tier_partitions);
        let tiers = SCHEDULE.len() as u16;
        let broker = Broker::new(scenario.event_partitions, tiers, scenario.tier_partitions);
        let mut world = Self {
            now: START,
            group: Group::new(broker.partitions.iter().copied()),
            receivers: scenario.roles.iter().map(|role| Receiver::new(role.manner)).collect(),
            revisions: vec![1; scenario.roles.len()],
            table: Arc::new(table_of(&scenario)),
            ledger: Ledger::new(&scenario),
            instances: Vec::new(),
            happenings: BTreeMap::new(),
            next_number: 0,
            pending: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            dice,
            retry,
            broker,
            scenario,
        };
        world.note(|| format!("{:#?}", world.scenario));
        world.begin();
        world
    }

    fn begin(&mut self) {
        (0..self.scenario.instances).for_each(|_| self.join());
        for number in 0..self.scenario.arrivals.len() {
            self.at(self.scenario.arrivals[number].at, Happening::Arrive(number));
        }
        for number in 0..self.scenario.edits.len() {
            self.at(self.scenario.edits[number].0, Happening::Edit(number));
        }
        for (at, turn) in self.scenario.turns.clone() {
            self.at(at, Happening::Turn(turn));
        }
    }

    fn happen(&mut self, happening: Happening) {
        let is_told_elsewhere = matches!(
            happening,
            Happening::Append(..) | Happening::Acknowledge(..) | Happening::Wake(_)
        );
        if !is_told_elsewhere {
            self.note(|| format!("{happening:?}"));
        }
        match happening {
            Happening::Arrive(number) => self.arrive(number),
            Happening::Edit(number) => self.edit(number),
            Happening::Turn(turn) => self.turn(turn),
            Happening::Table(instance) => self.read_table(instance),
            Happening::Deactivate(connection, revision, reason) => {
                self.deactivate(connection, revision, reason);
            }
            Happening::Wake(instance) => self.wake(instance),
            Happening::Answer(instance, shard, id, result) => {
                self.answer(instance, shard, id, result);
            }
            Happening::Append(instance, shard, publication) => {
                self.append(instance, shard, publication);
            }
            Happening::Acknowledge(instance, shard, publication) => {
                self.acknowledge(instance, shard, publication);
            }
            Happening::Commit(instance) => self.commit(instance),
            Happening::CommitAcknowledged(instance, commit) => {
                self.commit_acknowledged(instance, commit);
            }
            Happening::Balance => self.balance(),
            Happening::CutOff(instance) => self.cut_off(instance),
            Happening::Expire(instance) => self.expire(instance),
            Happening::Learn(instance) => self.learn(instance),
        }
    }

    fn arrive(&mut self, number: usize) {
        let arrival = self.scenario.arrivals[number];
        let partition = Partition { source: Source::Events, topic: 0, number: arrival.partition };
        let content = match arrival.kind {
            Kind::Malformed => Content::Malformed,
            Kind::Open | Kind::Click => {
                let event = Arc::new(event(number, arrival.kind, self.now));
                Content::Event { project: arrival.project, event }
            }
        };
        let gap = i64::from(self.dice.throw() < 0.1);
        self.broker.log(partition).append(content, gap);
        self.wake_owner(partition);
    }

    fn edit(&mut self, number: usize) {
        let (_, connection, edit) = self.scenario.edits[number];
        let key = &PROPS.keys[connection];
        self.revisions[connection] += 1;
        let revision = self.revisions[connection];
        let mut record = revision_of(&self.scenario.roles[connection], connection, revision);
        let mut table = (*self.table).clone();
        match edit {
            Edit::Save => table.put(key, Entry::Known(record)),
            Edit::Stop => {
                Arc::make_mut(&mut record).status = Status::Inactive;
                table.put(key, Entry::Known(record));
            }
            Edit::Delete => table.delete(key),
        }
        self.spread(table);
    }

    fn deactivate(&mut self, connection: usize, revision: u64, reason: DeactivationReason) {
        let mut table = (*self.table).clone();
        let note = Deactivation { revision, reason: reason.as_str().into() };
        table.deactivate(&PROPS.keys[connection], Some(note));
        self.spread(table);
    }

    /// Every instance reads a new table a little later.
    fn spread(&mut self, table: ConnectionTable) {
        self.table = Arc::new(table);
        self.ledger.hosts_change(self.now + MOST_LAG);
        self.instances.iter_mut().flat_map(|one| &mut one.tries).for_each(|one| one.host = None);
        for instance in 0..self.instances.len() {
            let lag = self.millis(5, MOST_LAG.as_millis() as usize);
            self.at(self.now + lag, Happening::Table(instance));
        }
    }

    fn at(&mut self, at: Timestamp, happening: Happening) {
        self.pending += usize::from(!matches!(happening, Happening::Wake(_)));
        self.happenings.insert((at, self.next_number), Box::new(happening));
        self.next_number += 1;
    }

    fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + below(&mut self.dice, to - from)) as u64)
    }

    fn chance(&mut self, share: f64) -> bool {
        self.dice.throw() < share
    }

    /// Whether the world is one in which things go wrong.
    fn is_rough(&self) -> bool {
        self.scenario.temper == Temper::Rough
    }

    /// Folds facts into the hash of the trace.
    fn mark(&mut self, facts: [u64; 4]) {
        for fact in [self.now.as_nanos()].into_iter().chain(facts) {
            self.hash = (self.hash ^ fact).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }

    /// Writes a line into the trace, if somebody wants to read it.
    fn note(&self, line: impl FnOnce() -> String) {
        TRACE.with_borrow_mut(|trace| {
            let Some(lines) = trace else { return };
            if lines.len() == TRACE_LINES {
                lines.remove(1);
            }
            let millis = self.now.since(START).as_millis();
            lines.push_back(format!("{millis:>8} ms  {}", line()));
        });
    }
}

fn table_of(scenario: &Scenario) -> ConnectionTable {
    let mut table = ConnectionTable::for_shards(scenario.shards);
    for (index, role) in scenario.roles.iter().enumerate() {
        let entry = if role.readable {
            Entry::Known(revision_of(role, index, 1))
        } else {
            unreadable(Filter::EVERYTHING)
        };
        table.put(&PROPS.keys[index], entry);
    }
    table
}

/// The number stands in the origin, so that an attempt can be traced back to its arrival.
fn event(number: usize, kind: Kind, now: Timestamp) -> Event {
    let value = bytes::Bytes::from_static(b"{}");
    Event {
        id: EventId::from_text(&format!("e{number}")),
        event: if kind == Kind::Click { PROPS.click } else { PROPS.open },
        channel: PROPS.email,
        body: value.clone(),
        record: Record {
            value,
            headers: Vec::new(),
            origin: Origin {
                topic: PROJECTS[0].into(),
                partition: 0,
                offset: number as i64,
                timestamp: now,
            },
        },
    }
}
