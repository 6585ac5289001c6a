//! `latency`: at 1,000 deliveries a second, from the broker's acknowledgement to the request at the sink.

use std::time::Duration;

use crate::ages::Ages;
use crate::connection::Connection;
use crate::deliver::as_f64;
use crate::figures::{Figures, Goal};
use crate::load::{Load, Order};
use crate::stage::{Stage, cpu_during};
use crate::world::World;

const RATE: u64 = 1_000;
const CONNECTIONS: u64 = 10;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(world: &World) -> Result<Figures, String> {
    let mut figures = Figures::new("latency");
    figures.goal("p50_ms", Goal::AtMost(10.0));
    figures.goal("p99_ms", Goal::AtMost(50.0));
    let stage = Stage::new(world, "", "")?;
    stage.connect((0..CONNECTIONS).map(|number| {
        let url = world.sink.url(number, "0", "latency");
        Connection::new(number, "crm".to_owned(), url)
    }))?;
    let (load, service) = (Load::start(world)?, stage.serve()?);
    let count = RATE * world.options.size(8, 1);
    let order =
        |count| Order { rate: RATE, linger_ms: 1, projects: CONNECTIONS, ..stage.order(count, 0) };
    load.write(&order(RATE))?;
    stage.wait_until_committed(PATIENCE)?;
    for _ in 0..world.options.runs {
        world.sink.watch()?;
        let (cpu, ()) = cpu_during(&service, || {
            load.begin_noting(&order(count))?;
            load.end()?;
            stage.wait_until_committed(PATIENCE)
        })?;
        let ages = Ages::of(&load.acknowledged()?, &world.sink.arrivals()?, |_| true);
        // A lane that a busy machine holds up parks what it cannot take; it comes later.
        figures.add("parked", as_f64(count.saturating_sub(ages.count())));
        figures.add("p50_ms", ages.per_mille(500));
        figures.add("p99_ms", ages.per_mille(990));
        figures.add("p999_ms", ages.per_mille(999));
        figures.add("cpu_us_per_delivery", cpu / as_f64(count));
    }
    service.stop()?;
    Ok(figures)
}
