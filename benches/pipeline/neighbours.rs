//! `neighbours`: 100 endpoints, of which 10 hang and 10 answer after two seconds; and again without those twenty.

use crate::ages::Ages;
use crate::connection::Connection;
use crate::deliver::as_f64;
use crate::figures::{Figures, Goal};
use crate::load::{Load, Order};
use crate::stage::Stage;
use crate::world::World;

const CONNECTIONS: u64 = 100;
/// The first ten hang, the next ten are slow.
const HANGING: u64 = 10;
const SICK: u64 = 20;
/// Events a second over all projects: ten for each connection.
const RATE: u64 = 1_000;

pub fn run(world: &World) -> Result<Figures, String> {
    let mut figures = Figures::new("neighbours");
    figures.goal("p99_ratio", Goal::AtMost(1.1));
    figures.goal("throughput_ratio", Goal::AtLeast(0.95));
    let load = Load::start(world)?;
    for _ in 0..world.options.runs {
        let alone = measure(&stage(world, SICK)?, &load)?;
        let beside = measure(&stage(world, 0)?, &load)?;
        for (name, sight) in [("alone", &alone), ("beside_sick", &beside)] {
            figures.add(&format!("{name}.p50_ms"), sight.ages.per_mille(500));
            figures.add(&format!("{name}.p99_ms"), sight.ages.per_mille(990));
            figures.add(&format!("{name}.per_second"), sight.per_second);
        }
        figures.add("p99_ratio", beside.ages.per_mille(990) / alone.ages.per_mille(990));
        figures.add("throughput_ratio", beside.per_second / alone.per_second);
    }
    Ok(figures)
}

/// With all connections but the first ones.
fn stage(world: &World, first: u64) -> Result<Stage<'_>, String> {
    let stage = Stage::new(world, "", "")?;
    stage.connect((first..CONNECTIONS).map(|number| {
        let behaviour = match number {
            0..HANGING => "hang",
            HANGING..SICK => "2000",
            _ => "0",
        };
        let url = world.sink.url(number, behaviour, &format!("neighbour/{number}"));
        // What an operator gets who sets nothing.
        Connection {
            rate_per_second: 50,
            max_in_flight: 16,
            timeout_seconds: 15,
            ..Connection::new(number, "crm".to_owned(), url)
        }
    }))?;
    Ok(stage)
}

struct Sight {
    ages: Ages,
    per_second: f64,
}

/// The healthy ones' ages and throughput, in the time from the first event to the end of the load.
///
/// The service is then killed with the stage: whatever of the sick is under way would only be waited for.
fn measure(stage: &Stage<'_>, load: &Load) -> Result<Sight, String> {
    let _service = stage.serve()?;
    let order = |secs| Order {
        rate: RATE,
        linger_ms: 1,
        projects: CONNECTIONS,
        ..stage.order(RATE * secs, 0)
    };
    // Opens the links and the breakers: what is measured is the state that lasts.
    load.write(&order(stage.world.options.size(5, 1)))?;
    let order = order(stage.world.options.size(10, 2));
    stage.world.sink.watch()?;
    load.begin_noting(&order)?;
    load.end()?;
    let acknowledged = load.acknowledged()?;
    let secs = as_f64(order.count) / as_f64(order.rate);
    // What comes after the end of the load is late, and no throughput of that time.
    let arrivals = stage.world.sink.arrivals()?;
    let is_healthy = |number: u64| number % CONNECTIONS >= SICK;
    let ages = Ages::of(&acknowledged, &arrivals, is_healthy);
    let per_second = as_f64(ages.count()) / secs;
    Ok(Sight { ages, per_second })
}
