//! `start`: time and memory until 100,000 and 1,000,000 connections are loaded and the service is ready.

use crate::connection::Connection;
use crate::figures::{Figures, Goal};
use crate::stage::{Stage, memory};
use crate::world::World;

const PROJECTS: u64 = 10_000;
const GIB: f64 = 1_073_741_824.0;

pub fn run(world: &World) -> Result<Figures, String> {
    let mut figures = Figures::new("start");
    let sizes = [world.options.size(100_000, 1_000), world.options.size(1_000_000, 10_000)];
    figures.goal(&format!("seconds.{}", sizes[1]), Goal::AtMost(30.0));
    figures.goal(&format!("most_memory_gib.{}", sizes[1]), Goal::AtMost(1.5));
    let mut stages = Vec::new();
    for size in sizes {
        let stage = Stage::new(world, "", "")?;
        stage.connect((0..size).map(|number| {
            let url = world.sink.url(number, "0", &format!("hooks/{number}"));
            Connection::new(number % PROJECTS, format!("c{number}"), url)
        }))?;
        stages.push((size, stage));
    }
    for _ in 0..world.options.runs {
        for (size, stage) in &stages {
            let (service, took) = stage.serve_timed()?;
            let memory = memory(&service)?;
            figures.add(&format!("seconds.{size}"), took.as_secs_f64());
            figures.add(&format!("memory_gib.{size}"), memory.now / GIB);
            figures.add(&format!("most_memory_gib.{size}"), memory.most / GIB);
            service.stop()?;
        }
    }
    Ok(figures)
}
