//! Nothing lost: real instances on a real Apache Kafka, everything that can break breaks, and a judge accounts for
//! every event for every connection. `--help` says how to run it.

#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "it has no users")]
#![allow(clippy::wildcard_enum_match_arm, reason = "most looks are for one kind of observation")]
#![allow(clippy::print_stdout, reason = "the verdict is its output")]

mod auditor;
mod broker;
mod campaign;
mod dice;
mod fleet;
mod judge;
mod load;
mod logs;
mod nemesis;
mod observation;
mod options;
mod plants;
mod proxy;
mod report;
mod self_test;
mod story;
mod world;

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use self::nemesis::Nemesis;
use self::observation::Observation;
use self::options::Options;
use self::report::{Report, Verdict};
use self::world::World;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("{}", options::HELP);
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    if std::env::var("BARNABAS_TEST_BROKER").is_ok_and(|broker| broker == "embedded") {
        eprintln!("skipped: it needs a real Apache Kafka");
        return ExitCode::SUCCESS;
    }
    if options.self_test {
        return self_test::run(&options);
    }
    match run(&options, |nemesis, world| nemesis.run(world, options.time)) {
        Ok(report) => conclude(&options, &report),
        Err(error) => {
            eprintln!("inconclusive: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One whole run: a world, what `strike` does to it, and the judgement.
fn run(options: &Options, strike: impl FnOnce(&mut Nemesis, &mut World)) -> Result<Report, String> {
    let mut folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    folder.disable_cleanup(options.keep);
    eprintln!("seed {}, {:?}, in {}", options.seed, options.time, folder.path().display());
    let mut world = World::build(options, folder.path().to_owned())?;
    world.start_all()?;
    world.start_load(options.rate);
    let mut nemesis = Nemesis::new(options.seed);
    strike(&mut nemesis, &mut world);
    eprintln!("draining");
    let drained = world.fleet.heal().and_then(|()| world.drain());
    nemesis.tell_of_crashes(&mut world);
    nemesis.look_for_losses(&world);
    if let Err(what) = drained {
        world.observe(Observation::Missed(what));
    }
    for place in 0..world.fleet.instances.len() {
        if let Err(what) = world.fleet.stop(place) {
            world.observe(Observation::Missed(what));
        }
    }
    let rebalances = world.fleet.logs.count(logs::REASSIGNED);
    let times = world.fleet.logs.count(logs::CUT_OFF);
    world.observe(Observation::CutOff { times });
    let World { auditor, broker, sink, .. } = world;
    let facts = std::sync::Arc::clone(&auditor.facts);
    let log = auditor.stop();
    drop((broker, sink));
    let account = plants::account_of(&log);
    let stories = account.suspects.iter().map(|pair| story::tell(&log, *pair)).collect();
    let mut faults: Vec<_> = nemesis.done().collect();
    faults.push(("7 odd records: empty, null, 1 MB, not UTF-8, too deep …", account.odd));
    // A run that has failed would find every plant.
    let plants =
        if account.faults().is_empty() { plants::test_the_judge(&log) } else { Vec::new() };
    Ok(Report {
        seed: options.seed,
        minutes: options.time.as_secs_f64() / 60.0,
        account,
        rebalances,
        losses: nemesis.losses(),
        crashes: nemesis.crashes(),
        dead_letters: facts.dead_letters.load(Ordering::Relaxed),
        retries: facts.waits.load(Ordering::Relaxed),
        faults,
        points: nemesis.at_points().clone(),
        plants,
        stories,
    })
}

fn conclude(options: &Options, report: &Report) -> ExitCode {
    eprint!("{}", report.table());
    let json = report.json().to_string();
    match &options.json {
        Some(path) => {
            if let Err(error) = std::fs::write(path, &json) {
                eprintln!("{}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        }
        None => println!("{json}"),
    }
    match report.verdict() {
        Verdict::Pass => ExitCode::SUCCESS,
        Verdict::Fail | Verdict::Inconclusive => ExitCode::FAILURE,
    }
}
