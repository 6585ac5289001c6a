//! `match`: what an event costs that nobody wants, with more and more connections beside it.
//!
//! The events' projects have connections, which want other events. The service is stopped while the events are
//! written, so that all of them wait for it: it reads as it does when it is behind.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::connection::Connection;
use crate::deliver::as_f64;
use crate::figures::{Figures, Goal};
use crate::load::{Load, Order};
use crate::stage::{Stage, cpu_during};
use crate::world::World;

/// With more connections, more of them belong to each project.
const PROJECTS: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(world: &World) -> Result<Figures, String> {
    let mut figures = Figures::new("match");
    let sizes = [10, 1_000, world.options.size(100_000, 10_000)];
    let events = world.options.size(300_000, 20_000);
    let load = Load::start(world)?;
    let mut stages = Vec::new();
    for size in sizes {
        let stage = Stage::new(world, "", "")?;
        stage.connect((0..size).map(|number| Connection {
            events: &["message_failure"],
            ..Connection::new(
                number % PROJECTS,
                format!("c{number}"),
                world.sink.url(number, "0", "match"),
            )
        }))?;
        stages.push((size, stage));
    }
    for _ in 0..world.options.runs {
        let mut costs = Vec::new();
        for (size, stage) in &stages {
            let service = stage.serve()?;
            // The first events also pay for what is set up once.
            for (count, is_measured) in [(events / 10, false), (events, true)] {
                let order = Order { projects: PROJECTS.min(*size), ..stage.order(count, 0) };
                service.signal(Signal::SIGSTOP)?;
                let written = load.write(&order);
                let (cpu, ()) = cpu_during(&service, || {
                    service.signal(Signal::SIGCONT)?;
                    written?;
                    stage.wait_until_committed(PATIENCE)
                })?;
                if is_measured {
                    costs.push(cpu / as_f64(count));
                    figures.add(&format!("cpu_us.{size}"), cpu / as_f64(count));
                }
            }
            service.stop()?;
        }
        if let [few, .., many] = costs[..] {
            figures.add("flatness", many / few);
        }
    }
    for size in sizes {
        figures.goal(&format!("cpu_us.{size}"), Goal::AtMost(1.5));
    }
    figures.goal("flatness", Goal::AtMost(1.2));
    Ok(figures)
}
