//! `fan-out`: 1,000 connections on 200 hosts, three matches an event; beside it one connection, as in `deliver`.

use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::deliver::{BURST, as_f64, burst};
use crate::figures::{Figures, Goal};
use crate::load::{Load, Order};
use crate::service::Service;
use crate::stage::{Stage, cpu_during};
use crate::world::World;

/// How many connections want each event.
const MATCHES: u64 = 3;
/// Attempts under way for each connection: some links each, and thousands in all.
const IN_FLIGHT: u32 = 2;
/// Less than a shard may hold, or some would be parked; the next one comes when this one is committed.
const EVENTS: u64 = 2_000;
/// The project of the one connection.
const ALONE: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(world: &World) -> Result<Figures, String> {
    let mut figures = Figures::new("fan_out");
    figures.goal("ratio_to_deliver", Goal::AtMost(1.7));
    let connections = world.options.size(999, 99);
    let stage = Stage::new(world, "", "")?;
    let many = (0..connections).map(|number| Connection {
        max_in_flight: IN_FLIGHT,
        ..Connection::new(
            number / MATCHES,
            format!("c{number}"),
            world.sink.url(number, "0", &format!("fan-out/{number}")),
        )
    });
    let one = Connection::new(ALONE, "crm".to_owned(), world.sink.url(0, "0", "alone"));
    stage.connect(many.chain([one]))?;
    let (load, service) = (Load::start(world)?, stage.serve()?);
    let projects = connections / MATCHES;
    let (events, alone) = (world.options.size(EVENTS, 500), world.options.size(BURST, 500));
    // Opens the links.
    fan(&stage, &load, &service, (events, projects))?;
    burst(&stage, &load, &service, (ALONE, alone / 2))?;
    for _ in 0..world.options.runs {
        let mut one = 0.0;
        let bursts = world.options.size(4, 1);
        for _ in 0..bursts {
            one += burst(&stage, &load, &service, (ALONE, alone))?.cpu_us;
        }
        let one = one / as_f64(bursts * alone);
        let (mut cpu, mut secs) = (0.0, 0.0);
        for _ in 0..bursts {
            let done = fan(&stage, &load, &service, (events, projects))?;
            (cpu, secs) = (cpu + done.0, secs + done.1);
        }
        let deliveries = as_f64(bursts * events * MATCHES);
        figures.add("cpu_us_per_delivery", cpu / deliveries);
        figures.add("per_second", deliveries / secs);
        figures.add("deliver_cpu_us", one);
        figures.add("ratio_to_deliver", cpu / deliveries / one);
    }
    figures.add("parked", service.metric("barnabas_deliveries_total", "\"parked\"")?);
    service.stop()?;
    Ok(figures)
}

/// CPU and seconds of so many events over all projects.
fn fan(
    stage: &Stage<'_>,
    load: &Load,
    service: &Service,
    (events, projects): (u64, u64),
) -> Result<(f64, f64), String> {
    let sink = &stage.world.sink;
    let requests = sink.count()?;
    cpu_during(service, || {
        let started = Instant::now();
        load.write(&Order { projects, ..stage.order(events, 0) })?;
        sink.wait_for(requests + events * MATCHES, PATIENCE)?;
        let secs = started.elapsed().as_secs_f64();
        stage.wait_until_committed(PATIENCE)?;
        Ok(secs)
    })
}
