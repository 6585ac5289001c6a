//! Faults of the connections and of the endpoints behind them.

use barnabas::demo::receiver::Behaviour;

use super::Nemesis;
use crate::campaign::{Kind, PROJECTS, SLOTS};
use crate::observation::{Observation, now};
use crate::world::World;

/// Those that are well unless something is done to them.
const WELL: [Kind; 5] = [Kind::Healthy, Kind::Flaky, Kind::Slow, Kind::Limited, Kind::Edited];

impl Nemesis {
    /// URLs and tokens change while deliveries are under way; one connection is switched off, deleted, made again.
    pub(super) fn edit(&mut self, world: &mut World) -> Result<(), String> {
        let project = u32::try_from(self.dice.below(u64::from(PROJECTS))).expect("a few");
        let (edited, toggled) = (slot_of(Kind::Edited), slot_of(Kind::Toggled));
        for _ in 0..3 {
            world.edit(project, edited);
            self.pause(20, 200);
        }
        // The last good revision stays in force.
        world.corrupt(project, edited);
        world.observe(Observation::Changed { project, slot: toggled, at: now() });
        world.deactivate(project, toggled);
        self.pause(100, 1_000);
        world.edit(project, toggled);
        self.pause(100, 1_000);
        world.delete(project, toggled);
        self.pause(100, 1_000);
        world.edit(project, toggled);
        world.edit(project, edited);
        world.flush()
    }

    pub(super) fn take_endpoints_down(&mut self, world: &mut World) -> Result<(), String> {
        world.set_endpoints(&WELL, Some(&Behaviour::status(http::StatusCode::SERVICE_UNAVAILABLE)));
        self.pause(2_000, 4_000);
        world.set_endpoints(&WELL, None);
        Ok(())
    }
}

fn slot_of(kind: Kind) -> usize {
    SLOTS.iter().position(|slot| *slot == kind).expect("every kind has a slot")
}
