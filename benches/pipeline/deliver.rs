//! `deliver`: one connection, each event one POST, from the record in Kafka to the committed delivery.
//!
//! Each burst is shorter than the connection's burst may be, so that its rate (10,000 a second is the most) does not
//! hold it back, and shorter than what its lane takes in, so that nothing is parked: what is parked is shown, and such
//! a run was disturbed. wrk, the limit, runs between the bursts.

use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::figures::{Figures, Goal};
use crate::load::Load;
use crate::service::Service;
use crate::stage::{Stage, cpu_during};
use crate::world::World;
use crate::wrk;

/// Kept-alive connections to the sink, of the service and of wrk.
pub const LINKS: u32 = 64;
/// Less than the 10,000 that a connection may have at once, and full again after what a burst takes: a quarter of a
/// second, and up to one until it is committed. The idle service takes 5 ms of CPU in a second, which is counted, too.
pub const BURST: u64 = 8_000;
/// With slow answers, this many in flight keep the lane's rate of some thousands a second.
const LINKS_OF_SLOW: u32 = 500;
const PATIENCE: Duration = Duration::from_secs(60);

/// Project, latency of the sink in milliseconds, attempts under way.
const ENDPOINTS: [(u64, u64, u32); 3] = [(0, 0, LINKS), (1, 10, LINKS), (2, 100, LINKS_OF_SLOW)];

pub fn run(world: &World) -> Result<Figures, String> {
    let mut figures = Figures::new("deliver");
    figures.goal("ratio_to_limit", Goal::AtMost(1.33));
    let stage = Stage::new(world, "", "")?;
    stage.connect(ENDPOINTS.iter().map(|&(project, millis, links)| {
        let url = world.sink.url(0, &millis.to_string(), "deliver");
        Connection { max_in_flight: links, ..Connection::new(project, "crm".to_owned(), url) }
    }))?;
    let (load, service) = (Load::start(world)?, stage.serve()?);
    let has_limit = wrk::is_installed();
    let bursts = world.options.size(8, 1);
    let slow = world.options.size(4_000, 200);
    // Opens the links.
    for (project, ..) in ENDPOINTS {
        burst(&stage, &load, &service, (project, world.options.size(2_000, 100)))?;
    }
    for _ in 0..world.options.runs {
        let (mut cpu, mut secs) = (0.0, 0.0);
        let events = world.options.size(BURST, 1_000);
        for _ in 0..bursts {
            let done = burst(&stage, &load, &service, (0, events))?;
            cpu += done.cpu_us;
            secs += done.secs;
        }
        let count = as_f64(bursts * events);
        figures.add("cpu_us_per_delivery", cpu / count);
        figures.add("per_second", count / secs);
        if has_limit {
            let request = world.sink.sample()?;
            let limit = wrk::run(world, &request, LINKS, world.options.size(3, 1))?;
            figures.add("limit_cpu_us", limit.cpu_us_per_request);
            figures.add("limit_per_second", limit.per_second);
            figures.add("ratio_to_limit", cpu / count / limit.cpu_us_per_request);
        }
        for (project, millis, _) in &ENDPOINTS[1..] {
            let done = burst(&stage, &load, &service, (*project, slow))?;
            let name = |what: &str| format!("latency_{millis}_ms.{what}");
            figures.add(&name("cpu_us_per_delivery"), done.cpu_us / as_f64(slow));
            figures.add(&name("per_second"), as_f64(slow) / done.secs);
        }
    }
    if !has_limit {
        figures.miss("limit_cpu_us", wrk::MISSING);
        figures.miss("ratio_to_limit", wrk::MISSING);
    }
    figures.add("parked", service.metric("barnabas_deliveries_total", "\"parked\"")?);
    service.stop()?;
    Ok(figures)
}

/// What a burst took.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Of the service, until everything was committed.
    pub cpu_us: f64,
    /// Until the last request was at the sink.
    pub secs: f64,
}

/// So many events for a project's one connection.
pub fn burst(
    stage: &Stage<'_>,
    load: &Load,
    service: &Service,
    (project, events): (u64, u64),
) -> Result<Burst, String> {
    let sink = &stage.world.sink;
    let requests = sink.count()?;
    let (cpu_us, secs) = cpu_during(service, || {
        let started = Instant::now();
        load.write(&stage.order(events, project))?;
        sink.wait_for(requests + events, PATIENCE)?;
        let secs = started.elapsed().as_secs_f64();
        stage.wait_until_committed(PATIENCE)?;
        Ok(secs)
    })?;
    Ok(Burst { cpu_us, secs })
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub const fn as_f64(count: u64) -> f64 {
    count as f64
}
