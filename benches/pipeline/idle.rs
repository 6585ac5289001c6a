//! `idle`: memory of 10,000 kept-alive TLS links and of 100,000 idle lanes.
//!
//! An idle lane that is as good as new is forgotten after two minutes: the lanes are looked at before and after that.
//! A lane is made by its connection's first delivery. Those of the 100,000 are of events that are too old for their
//! connections: each becomes a dead letter, and no link is opened that would be counted as the lane's.

use std::thread;
use std::time::Duration;

use crate::connection::Connection;
use crate::deliver::as_f64;
use crate::figures::{Figures, Goal};
use crate::load::{Load, Order};
use crate::service::Service;
use crate::stage::{Stage, memory};
use crate::world::World;

/// A shard keeps 4,096 idle links: three are enough for 10,000.
const SHARDS: &str = "shards = 3";
const EVENT_AGE_SECS: u64 = 3_600;
/// Shaken hands with: 500 a second leave both sides of the line time for each other.
const LINKS_A_SECOND: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(120);
/// After so long an idle lane is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(125);
/// The allocator gives back what is free within some seconds.
const SETTLE: Duration = Duration::from_secs(8);

pub fn run(world: &World) -> Result<Figures, String> {
    let mut figures = Figures::new("idle");
    figures.goal("bytes_per_link", Goal::AtMost(32.0 * 1024.0));
    figures.goal("bytes_per_lane", Goal::AtMost(200.0));
    let load = Load::start(world)?;
    let links = stage(world, world.options.size(10_000, 200), None)?;
    let lanes = stage(world, world.options.size(100_000, 2_000), Some(1))?;
    for _ in 0..world.options.runs {
        let service = links.0.serve()?;
        let before = rest(&service)?;
        let requests = world.sink.count()?;
        load.write(&Order {
            rate: LINKS_A_SECOND,
            linger_ms: 1,
            projects: links.1,
            ..links.0.order(links.1, 0)
        })?;
        world.sink.wait_for(requests + links.1, PATIENCE)?;
        let grown = rest(&service)? - before;
        figures.add("bytes_per_link", grown / as_f64(links.1));
        service.stop()?;

        let service = lanes.0.serve()?;
        let before = rest(&service)?;
        let order = Order { age: EVENT_AGE_SECS, projects: lanes.1, ..lanes.0.order(lanes.1, 0) };
        load.write(&order)?;
        lanes.0.wait_until_committed(PATIENCE)?;
        let grown = rest(&service)? - before;
        figures.add("bytes_per_lane_at_first", grown / as_f64(lanes.1));
        if !world.options.is_quick {
            thread::sleep(FORGOTTEN);
            let grown = rest(&service)? - before;
            figures.add("bytes_per_lane", grown / as_f64(lanes.1));
        }
        service.stop()?;
    }
    Ok(figures)
}

/// So many connections, each with a project of its own.
fn stage(
    world: &World,
    count: u64,
    max_age_seconds: Option<u32>,
) -> Result<(Stage<'_>, u64), String> {
    let stage = Stage::new(world, SHARDS, "")?;
    stage.connect((0..count).map(|number| Connection {
        max_age_seconds,
        ..Connection::new(
            number,
            "crm".to_owned(),
            world.sink.url(number, "0", &format!("idle/{number}")),
        )
    }))?;
    Ok((stage, count))
}

/// Memory after the allocator has given back what is free.
fn rest(service: &Service) -> Result<f64, String> {
    thread::sleep(SETTLE);
    Ok(memory(service)?.now)
}
