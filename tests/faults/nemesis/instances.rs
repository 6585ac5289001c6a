//! Faults of the instances: killed, stopped, frozen, coming and going.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::Nemesis;
use crate::observation::{Observation, now};
use crate::world::{World, disturbed_since, until};

/// The points at which the program can end itself, with the most that are passed before it does.
const POINTS: [(&str, u64); 6] = [
    ("after-poll", 200),
    ("after-2xx", 200),
    ("before-acknowledgement", 20),
    ("before-commit", 4),
    ("in-rebalance", 2),
    ("while-loading", 60),
];
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
        let has_ended = || world.fleet.instance(place).is_ok_and(|instance| instance.has_ended());
        if until(point, has_ended).is_err() {
            eprintln!("          {point} was not passed {passes} times");
            strike_down(world, place);
        }
        // When exactly it ended is not known: between the last two looks.
        world.observe(Observation::Killed { at: now().saturating_sub(1_000).max(from) });
        world.observe(disturbed_since(now().saturating_sub(1_000).max(from)));
        world.fleet.start(place, None)?;
        world.fleet.wait_until_ready(place)
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
        let place = world.fleet.instances.len() - 1;
        let from = now();
        world.fleet.instance(place)?.signal(Signal::SIGSTOP)?;
        std::thread::sleep(FROZEN);
        let instance = world.fleet.instance(place)?;
        let before = instance.log().matches("the assignment has changed").count();
        instance.signal(Signal::SIGCONT)?;
        until("the zombie finds out", || {
            let log = world.fleet.instance(place).map(|instance| instance.log());
            log.is_ok_and(|log| log.matches("the assignment has changed").count() > before)
        })?;
        world.fleet.wait_until_ready(place)?;
        world.observe(disturbed_since(from));
        Ok(())
    }

    /// The last member leaves and joins again at once, again and again.
    pub(super) fn come_and_go(&mut self, world: &mut World) -> Result<(), String> {
        let place = world.fleet.instances.len() - 1;
        for _ in 0..4 {
            world.fleet.stop(place)?;
            world.fleet.start(place, None)?;
            self.pause(100, 500);
        }
        world.fleet.wait_until_ready(place)
    }

    /// The attempts of an instance panic now and then.
    pub(super) fn panic(&mut self, world: &mut World) -> Result<(), String> {
        let place = self.any_instance(world);
        world.fleet.stop(place)?;
        world.fleet.start(place, Some("panic-in-attempt=~40"))?;
        world.fleet.wait_until_ready(place)?;
        let started = world.fleet.count_in_logs("an attempt panicked");
        until("an attempt panics", || world.fleet.count_in_logs("an attempt panicked") > started)?;
        world.fleet.stop(place)?;
        world.fleet.start(place, None)?;
        world.fleet.wait_until_ready(place)
    }
}

fn strike_down(world: &mut World, place: usize) {
    if world.fleet.kill(place) {
        world.observe(Observation::Killed { at: now() });
    }
}
