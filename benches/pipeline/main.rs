//! What a delivery costs: the built `barnabas serve` between a real Apache Kafka and a TLS sink, each a process of its
//! own, and CPU read from `/proc`. `--help` says how to run it; nothing here is a test, and no figure fails a build.

#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "it has no users")]
#![allow(clippy::print_stdout, reason = "the table is its output")]

mod ages;
mod backlog;
mod broker;
mod connection;
mod deliver;
mod fan_out;
mod figures;
mod idle;
mod latency;
mod load;
mod matching;
mod neighbours;
mod options;
mod process;
mod report;
mod service;
mod sink;
mod stage;
mod start;
mod world;
mod wrk;

use std::process::ExitCode;

use self::figures::Figures;
use self::options::Options;
use self::world::World;

/// A benchmark: its name, and what runs it.
type Benchmark = (&'static str, fn(&World) -> Result<Figures, String>);

const BENCHMARKS: [Benchmark; 8] = [
    ("match", matching::run),
    ("deliver", deliver::run),
    ("fan-out", fan_out::run),
    ("neighbours", neighbours::run),
    ("backlog", backlog::run),
    ("start", start::run),
    ("idle", idle::run),
    ("latency", latency::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [sink::ROLE, folder] => sink::server::run(folder),
        [load::ROLE, bootstrap] => load::generator::run(bootstrap),
        _ => return measure(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{}", options::HELP);
        return ExitCode::SUCCESS;
    }
    let names = BENCHMARKS.map(|(name, _)| name);
    let options = match Options::parse(arguments.iter().cloned(), &names) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), String> {
    let world = World::build(options)?;
    let mut all = Vec::new();
    for (name, run) in BENCHMARKS {
        if world.options.wants(name) {
            eprintln!("{name} …");
            let figures = run(&world).map_err(|error| format!("{name}: {error}"))?;
            // Whoever stops a long run has what is done.
            print!("{}", report::table(&figures));
            all.push(figures);
        }
    }
    println!("{}", report::FOOTNOTE);
    if let Some(path) = &world.options.json {
        let json = report::json(&all, &world.options);
        std::fs::write(path, format!("{json:#}\n"))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
