//! `backlog`: one connection at 500 a second is offered 20,000 a second beside 50 healthy ones; and without the flood.
//!
//! The flood also takes the cores that the healthy ones' broker, sink and load run on. So there is a third run, with the
//! same flood for a project that has no connection: what the backlogged connection itself does to others is the ratio to
//! that one.

use std::thread;
use std::time::{Duration, Instant};

use crate::ages::Ages;
use crate::connection::Connection;
use crate::deliver::as_f64;
use crate::figures::{Figures, Goal};
use crate::load::{Load, Order};
use crate::stage::{Stage, memory};
use crate::world::World;

const HEALTHY: u64 = 50;
/// Events a second for all healthy connections together.
const RATE: u64 = 1_000;
/// The project of the flooded connection.
const FLOODED: u64 = 1_000_000;
/// A project without a connection.
const UNWANTED: u64 = 1_000_001;
const FLOOD_RATE: u64 = 20_000;
/// As Apache Kafka's own producer gathers unless it is told otherwise.
const FLOOD_LINGER_MS: u32 = 5;
const FLOODED_RATE_LIMIT: u32 = 500;
const LOOK: Duration = Duration::from_secs(1);
/// The tiers of the default schedule, as topics.
const TIERS: [&str; 8] = ["5s", "30s", "2m", "10m", "30m", "2h", "6h", "15h"];
const TIER_PARTITIONS: i32 = 4;
const MIB: f64 = 1_048_576.0;

pub fn run(world: &World) -> Result<Figures, String> {
    let mut figures = Figures::new("backlog");
    figures.goal("watermark_age_s", Goal::AtMost(15.0));
    figures.goal("p99_ratio", Goal::AtMost(1.1));
    figures.goal("records_per_parked_delivery", Goal::AtMost(8.0));
    let (load, flood) = (Load::start(world)?, Load::start(world)?);
    for _ in 0..world.options.runs {
        let mut p99 = Vec::new();
        for (name, project) in
            [("alone", None), ("beside_unwanted", Some(UNWANTED)), ("beside_flood", Some(FLOODED))]
        {
            let sight = measure(world, &load, project.map(|project| (&flood, project)))?;
            p99.push(sight.ages.per_mille(990));
            figures.add(&format!("{name}.p50_ms"), sight.ages.per_mille(500));
            figures.add(&format!("{name}.p99_ms"), sight.ages.per_mille(990));
            if project == Some(FLOODED) {
                figures.add("watermark_age_s", sight.watermark_age_s);
                figures.add("records_per_parked_delivery", sight.records / sight.parked.max(1.0));
                figures.add("parked_deliveries", sight.parked);
                figures.add("memory_mib.at_half_time", sight.memory_at_half / MIB);
                figures.add("memory_mib.at_the_end", sight.memory_at_end / MIB);
            }
        }
        figures.add("p99_ratio", p99[2] / p99[0]);
        figures.add("p99_ratio_to_unwanted", p99[2] / p99[1]);
    }
    Ok(figures)
}

struct Sight {
    ages: Ages,
    watermark_age_s: f64,
    /// Written into the tiers.
    records: f64,
    /// Deliveries that were parked at least once.
    parked: f64,
    memory_at_half: f64,
    memory_at_end: f64,
}

/// Measures the healthy ones, beside a flood of events for a project.
fn measure(world: &World, load: &Load, flood: Option<(&Load, u64)>) -> Result<Sight, String> {
    let stage = Stage::new(world, "", "")?;
    let connection = |project, path: &str| {
        Connection::new(project, "crm".to_owned(), world.sink.url(project, "0", path))
    };
    let flooded =
        Connection { rate_per_second: FLOODED_RATE_LIMIT, ..connection(FLOODED, "flooded") };
    stage.connect((0..HEALTHY).map(|number| connection(number, "healthy")).chain([flooded]))?;
    let service = stage.serve()?;
    let secs = world.options.size(60, 3);
    let healthy =
        |secs| Order { rate: RATE, linger_ms: 1, projects: HEALTHY, ..stage.order(RATE * secs, 0) };
    load.write(&healthy(2))?;
    let order = healthy(secs);
    world.sink.watch()?;
    load.begin_noting(&order)?;
    if let Some((flood, project)) = flood {
        let order = stage.order(FLOOD_RATE * secs, project);
        flood.begin(&Order { rate: FLOOD_RATE, linger_ms: FLOOD_LINGER_MS, ..order })?;
    }
    let (started, mut watermark_age_s) = (Instant::now(), 0.0_f64);
    let mut memory_at_half = 0.0;
    while started.elapsed().as_secs() < secs {
        thread::sleep(LOOK);
        let topic = format!("topic=\"{}\"", order.topic);
        watermark_age_s =
            watermark_age_s.max(service.metric("barnabas_kafka_lag_seconds", &topic)?);
        if memory_at_half == 0.0 && started.elapsed().as_secs() >= secs / 2 {
            memory_at_half = memory(&service)?.now;
        }
    }
    let memory_at_end = memory(&service)?.now;
    load.end()?;
    if let Some((flood, _)) = flood {
        flood.end()?;
    }
    let numbers = order.first..order.first + order.count;
    let arrivals = world.sink.arrivals()?;
    let ages = Ages::of(&load.acknowledged()?, &arrivals, |number| numbers.contains(&number));
    let mut records = 0;
    for tier in TIERS {
        records += stage.records(&format!("retry.{tier}"), TIER_PARTITIONS)?;
    }
    // All that was offered to the flooded connection and is not delivered or waiting in its lane was parked once.
    let delivered = arrivals.iter().filter(|arrival| !numbers.contains(&arrival.number)).count();
    let is_flooded = flood.is_some_and(|(_, project)| project == FLOODED);
    let offered = if is_flooded { as_f64(FLOOD_RATE * secs) } else { 0.0 };
    let parked = (offered - as_f64(delivered as u64)).max(0.0);
    Ok(Sight {
        ages,
        watermark_age_s,
        records: as_f64(records),
        parked,
        memory_at_half,
        memory_at_end,
    })
}
