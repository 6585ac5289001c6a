//! Faults of the instances: killed, stopped, frozen, coming and going.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Fault, Nemesis};
use crate::logs::{PANICKED, REASSIGNED};
use crate::observation::{Observation, now};
use crate::world::{World, disturbed_since, until, within};

/// The points at which the program can end itself, with the most that are passed before it does.
const POINTS: [(&str, u64); 6] = [
    ("after-poll", 200),
    ("after-2xx", 200),
    ("before-acknowledgement", 20),
    ("before-commit", 4),
    (IN_REBALANCE, 2),
    ("while-loading", 60),
];
const IN_REBALANCE: &str = "in-rebalance";
/// A point that is not passed so often by then is not waited for.
const PASSED_BY: Duration = Duration::from_secs(20);
/// Members that come and go are not waited for: every so often, in a run that is long enough for more than one round.
const COME_AND_GO: [usize; 2] = [6, 100];
/// Longer than the session: the group goes on without the member.
const FROZEN: Duration = Duration::from_secs(9);

impl Nemesis {
    /// One or two at a time.
    pub(super) fn kill(&mut self, world: &mut World) -> Result<(), String> {
        let count = world.fleet.instances.len();
        let first = self.any_instance(world);
        let victims = 1 + usize::try_from(self.dice.below(2)).expect("0 or 1");
        let victims: Vec<usize> = (0..victims).map(|more| (first + more) % count).collect();
        victims.iter().for_each(|place| strike_down(world, *place));
        self.pause(0, 500);
        victims.iter().try_for_each(|place| world.fleet.start(*place, None))?;
        victims.iter().try_for_each(|place| world.fleet.wait_until_ready(*place))
    }

    /// An instance is killed; the next one in its place ends itself at a point, as if killed there.
    pub(super) fn kill_at_point(&mut self, world: &mut World) -> Result<(), String> {
        let (point, most) = POINTS[self.points % POINTS.len()];
        self.points += 1;
        let place = self.any_instance(world);
        strike_down(world, place);
        let passes = 1 + self.dice.below(most);
        world.fleet.start(place, Some(&format!("{point}={passes}")))?;
        let from = now();
        if point == IN_REBALANCE {
            self.cause_rebalance(world, place)?;
        }
        // It ended between the last two looks.
        let mut looks = (from, from);
        let has_ended = || {
            let has_ended = world.fleet.instance(place).is_ok_and(|instance| instance.has_ended());
            looks = (looks.1, now());
            has_ended
        };
        if within(PASSED_BY, point, has_ended).is_ok() {
            let (from, until) = looks;
            world.observe(Observation::Killed { from, until });
            *self.at_points.entry(point).or_default() += 1;
        } else {
            eprintln!("          {point} was not passed {passes} times");
            strike_down(world, place);
        }
        world.fleet.start(place, None)?;
        world.fleet.wait_until_ready(place)
    }

    /// The last one is no static member: when it goes and comes back, partitions move.
    fn cause_rebalance(&mut self, world: &mut World, but: usize) -> Result<(), String> {
        let last = world.fleet.instances.len() - 1;
        if last != but {
            world.fleet.stop(last)?;
            world.fleet.start(last, None)?;
        }
        Ok(())
    }

    pub(super) fn restart_all(&mut self, world: &mut World) -> Result<(), String> {
        for place in 0..world.fleet.instances.len() {
            world.fleet.stop(place)?;
            world.fleet.start(place, None)?;
            world.fleet.wait_until_ready(place)?;
        }
        Ok(())
    }

    /// The zombie wakes up after others have taken its partitions over.
    pub(super) fn freeze(&mut self, world: &mut World) -> Result<(), String> {
        let place = self.any_instance(world);
        let from = now();
        world.fleet.instance(place)?.signal(Signal::SIGSTOP)?;
        std::thread::sleep(FROZEN);
        let instance = world.fleet.instance(place)?;
        let before = instance.log().matches(REASSIGNED).count();
        instance.signal(Signal::SIGCONT)?;
        until("the zombie finds out", || {
            let log = world.fleet.instance(place).map(|instance| instance.log());
            log.is_ok_and(|log| log.matches(REASSIGNED).count() > before)
        })?;
        world.fleet.wait_until_ready(place)?;
        world.observe(disturbed_since(from));
        Ok(())
    }

    /// The last member is told to leave and another one joins, every half second at least, again and again: a group
    /// that never comes to rest still gets on.
    pub(super) fn come_and_go(&mut self, world: &mut World) -> Result<(), String> {
        let place = world.fleet.instances.len() - 1;
        let rounds = COME_AND_GO[usize::from(self.has_done(Fault::ComeAndGo))];
        let commits = world.commits();
        let started = Instant::now();
        for _ in 0..rounds {
            world.fleet.send_away(place)?;
            world.fleet.start(place, None)?;
            self.pause(200, 450);
        }
        let commits = world.commits() - commits;
        // Each of the members that stay commits once a second.
        if commits < started.elapsed().as_secs() / 4 {
            return Err(format!("{commits} commits in {:?}", started.elapsed()));
        }
        world.fleet.see_off()?;
        world.fleet.wait_until_ready(place)
    }

    /// The attempts of an instance panic now and then.
    pub(super) fn panic(&mut self, world: &mut World) -> Result<(), String> {
        let place = self.any_instance(world);
        world.fleet.stop(place)?;
        world.fleet.start(place, Some("panic-in-attempt=~40"))?;
        world.fleet.wait_until_ready(place)?;
        let before = world.fleet.logs.count(PANICKED);
        until("an attempt panics", || world.fleet.logs.count(PANICKED) > before)?;
        world.fleet.stop(place)?;
        world.fleet.start(place, None)?;
        world.fleet.wait_until_ready(place)
    }
}

fn strike_down(world: &mut World, place: usize) {
    let from = now();
    if world.fleet.kill(place) {
        world.observe(Observation::Killed { from, until: now() });
    }
}
