//! The nemesis: breaks one thing after the other, in an order that the seed gives, and lets each heal.
//!
//! The seed fixes what is done to whom and for how long; when a thing heals is the machine's business, so that two runs
//! of one seed have the same faults in the same order and not at the same moments.

mod broker;
mod connections;
mod instances;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::observation::{Millis, Observation};
use crate::world::World;

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Kill,
    KillAtPoint,
    RollingRestart,
    Freeze,
    ComeAndGo,
    BrokerCrash,
    BrokerFreeze,
    BrokerLine,
    Unwritable,
    Edits,
    SinkLine,
    Outage,
    Retention,
    ForeignCommit,
    Panic,
}

/// What every run has, however short; a longer one goes on by the dice.
const FIRST: [Fault; 12] = [
    Fault::Kill,
    Fault::Edits,
    Fault::KillAtPoint,
    Fault::SinkLine,
    Fault::RollingRestart,
    Fault::Unwritable,
    Fault::Kill,
    Fault::BrokerCrash,
    Fault::Freeze,
    Fault::ComeAndGo,
    Fault::ForeignCommit,
    Fault::Retention,
];

/// Then, in each round, these are shuffled: mostly kills.
const ROUND: [(Fault, usize); 15] = [
    (Fault::Kill, 20),
    (Fault::KillAtPoint, 12),
    (Fault::RollingRestart, 1),
    (Fault::Freeze, 1),
    (Fault::ComeAndGo, 1),
    (Fault::BrokerCrash, 1),
    (Fault::BrokerFreeze, 1),
    (Fault::BrokerLine, 2),
    (Fault::Unwritable, 1),
    (Fault::Edits, 3),
    (Fault::SinkLine, 3),
    (Fault::Outage, 1),
    (Fault::Retention, 1),
    (Fault::ForeignCommit, 1),
    (Fault::Panic, 1),
];

/// A member that is starved finds out so long after its session ran out, at most.
const BEFORE_A_LOSS: Millis = 20_000;

impl Fault {
    /// The row of the table in the documentation, and what is done.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "1 kill -9",
            Self::KillAtPoint => "1 kill at a named point",
            Self::RollingRestart => "2 SIGTERM, one after the other",
            Self::Freeze => "3 SIGSTOP beyond the session, SIGCONT",
            Self::ComeAndGo => "4 a member joins and leaves every half second",
            Self::BrokerCrash => "5 broker killed and restarted",
            Self::BrokerFreeze => "5 broker frozen",
            Self::BrokerLine => "5 line to the broker delayed, slow, half-open, cut",
            Self::Unwritable => "6 tiers and dead letters not writable",
            Self::Edits => "8 connections edited, deactivated, deleted, corrupted",
            Self::SinkLine => "9 line to the endpoints delayed, slow, half-open, cut",
            Self::Outage => "11 all endpoints down, then up",
            Self::ForeignCommit => "15 foreign commit metadata",
            Self::Retention => "16 retention passes the committed offset",
            Self::Panic => "17 the code of attempts panics",
        }
    }

    /// Those that the built program must help with.
    const fn needs_failpoints(self) -> bool {
        matches!(self, Self::KillAtPoint | Self::Panic)
    }
}

pub struct Nemesis {
    dice: Dice,
    done: BTreeMap<Fault, u64>,
    points: usize,
    /// How often an instance has ended itself at each of the named points.
    at_points: BTreeMap<&'static str, u64>,
    losses: u64,
    crashes: u64,
}

impl Nemesis {
    pub fn new(seed: u64) -> Self {
        let (dice, done, at_points) = (Dice::new(seed), BTreeMap::new(), BTreeMap::new());
        Self { dice, done, points: 0, at_points, losses: 0, crashes: 0 }
    }

    /// Breaks things until the time is over; every run has the first round.
    pub fn run(&mut self, world: &mut World, time: Duration) {
        let end = Instant::now() + time;
        let mut deck = FIRST.to_vec();
        deck.reverse();
        while Instant::now() < end {
            let Some(fault) = deck.pop() else {
                deck = ROUND.iter().flat_map(|(fault, times)| vec![*fault; *times]).collect();
                self.dice.shuffle(&mut deck);
                continue;
            };
            if fault.needs_failpoints() && !cfg!(feature = "failpoints") {
                continue;
            }
            self.inflict(fault, world);
        }
    }

    /// Breaks these things, one after the other.
    pub fn run_through(&mut self, world: &mut World, faults: &[Fault]) {
        faults.iter().for_each(|fault| self.inflict(*fault, world));
    }

    fn inflict(&mut self, fault: Fault, world: &mut World) {
        let started = Instant::now();
        let result = world.fleet.heal().and_then(|()| self.strike(fault, world));
        self.tell_of_crashes(world);
        self.look_for_losses(world);
        eprintln!("{:6.1} s  {}", started.elapsed().as_secs_f64(), fault.name());
        if let Err(what) = result {
            eprintln!("          {what}");
            world.observe(Observation::Missed(format!("{}: {what}", fault.name())));
        }
        *self.done.entry(fault).or_default() += 1;
        self.pause(300, 1_500);
    }

    /// How often each was done.
    pub fn done(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.done.iter().map(|(fault, times)| (fault.name(), *times))
    }

    /// How often an instance has ended itself at each of the named points.
    pub const fn at_points(&self) -> &BTreeMap<&'static str, u64> {
        &self.at_points
    }

    fn has_done(&self, fault: Fault) -> bool {
        self.done.contains_key(&fault)
    }

    /// A crash that is not ours counts as a kill, at a time that is not quite known.
    pub fn tell_of_crashes(&mut self, world: &mut World) {
        for at in std::mem::take(&mut world.fleet.crashes) {
            self.crashes += 1;
            world
                .observe(Observation::Killed { from: at.saturating_sub(BEFORE_A_LOSS), until: at });
        }
    }

    /// How often librdkafka has crashed.
    pub const fn crashes(&self) -> u64 {
        self.crashes
    }

    /// A member on a machine that is too busy may lose its partitions, or not get its last commit through, without any
    /// fault of ours; it says so, and what it held may be repeated.
    pub fn look_for_losses(&mut self, world: &World) {
        let told = world.fleet.logs.take_losses();
        let (Some(first), Some(last)) = (told.iter().min(), told.iter().max()) else { return };
        self.losses += told.len() as u64;
        let from = first.saturating_sub(BEFORE_A_LOSS);
        world.observe(Observation::Disturbed { from, until: *last });
    }

    /// How often members have said that they lost what they held.
    pub const fn losses(&self) -> u64 {
        self.losses
    }

    fn strike(&mut self, fault: Fault, world: &mut World) -> Result<(), String> {
        match fault {
            Fault::Kill => self.kill(world),
            Fault::KillAtPoint => self.kill_at_point(world),
            Fault::RollingRestart => self.restart_all(world),
            Fault::Freeze => self.freeze(world),
            Fault::ComeAndGo => self.come_and_go(world),
            Fault::BrokerCrash => self.crash_broker(world),
            Fault::BrokerFreeze => self.freeze_broker(world),
            Fault::BrokerLine => self.bend_broker_line(world),
            Fault::Unwritable => self.forbid_writing(world),
            Fault::Edits => self.edit(world),
            Fault::SinkLine => self.bend_sink_line(world),
            Fault::Outage => self.take_endpoints_down(world),
            Fault::Retention => self.purge(world),
            Fault::ForeignCommit => self.commit_as_a_stranger(world),
            Fault::Panic => self.panic(world),
        }
    }

    /// How long a fault lasts is no assertion: only the dice decide it.
    fn pause(&mut self, from_millis: u64, to_millis: u64) {
        let more = self.dice.below(to_millis - from_millis);
        thread::sleep(Duration::from_millis(from_millis + more));
    }

    fn any_instance(&mut self, world: &World) -> usize {
        let count = world.fleet.instances.len() as u64;
        usize::try_from(self.dice.below(count)).expect("a few instances")
    }
}
