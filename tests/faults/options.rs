//! What a run is told on its command line.

use std::path::PathBuf;
use std::time::Duration;

pub const HELP: &str = "\
Usage: cargo test [--release] [--features failpoints] --test faults -- [OPTION]...

Runs real instances against a real Apache Kafka and a TLS sink, breaks what can break, and judges
what became of every event for every connection. Exit codes: 0 pass, 1 fail or inconclusive, 2 usage.

  --minutes N      how long faults are injected; fractions are allowed. Default 1.2
  --seed S         which faults, in which order. Default 7
  --rate N         events a second; each is wanted by some 12 connections. Default 40
  --instances N    instances of the service, 2 to 5. Default 3
  --json PATH      the verdict as JSON; without it, the last line of stdout is it
  --program PATH   the barnabas to run. Default: the one built with this test
  --plant NAME     plants a fault in the instances (needs the feature): the verdict must then be fail
  --self-test      the judge's own test (needs the feature): a short run without a fault of ours, which must hold,
                   and one with each planted fault, which must fail
  --keep           keeps the folder with the configuration, the logs and the broker's data";

/// The default run's seed: any would do, but CI should repeat itself.
const SEED: u64 = 7;
/// A run without arguments ends, drained, within two minutes.
const MINUTES: f64 = 1.2;

#[derive(Clone, Debug)]
pub struct Options {
    pub time: Duration,
    pub seed: u64,
    pub rate: u32,
    pub instances: usize,
    pub json: Option<PathBuf>,
    pub program: PathBuf,
    pub plant: Option<String>,
    pub self_test: bool,
    pub keep: bool,
}

impl Options {
    /// Reads the arguments; what `cargo test` passes to every test is ignored where it means nothing here.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            time: Duration::from_secs_f64(MINUTES * 60.0),
            seed: SEED,
            rate: 40,
            instances: 3,
            json: None,
            program: PathBuf::from(env!("CARGO_BIN_EXE_barnabas")),
            plant: None,
            self_test: false,
            keep: false,
        };
        while let Some(argument) = arguments.next() {
            if matches!(argument.as_str(), "--nocapture" | "--quiet" | "-q") {
                continue;
            }
            if argument == "--keep" {
                options.keep = true;
                continue;
            }
            if argument == "--self-test" {
                options.self_test = true;
                continue;
            }
            let value =
                arguments.next().ok_or_else(|| format!("{argument}: unknown, or wants a value"))?;
            options.set(&argument, &value)?;
        }
        Ok(options)
    }

    fn set(&mut self, argument: &str, value: &str) -> Result<(), String> {
        match argument {
            "--minutes" => self.time = minutes(value)?,
            "--seed" => self.seed = number(argument, value)?,
            "--rate" => self.rate = number(argument, value)?,
            "--instances" => {
                self.instances = number(argument, value)?;
                if !(2..=5).contains(&self.instances) {
                    return Err(format!("--instances wants 2 to 5, not {value}"));
                }
            }
            "--json" => self.json = Some(value.into()),
            "--program" => self.program = value.into(),
            "--plant" => self.plant = Some(value.to_owned()),
            _ => return Err(format!("unknown argument {argument}")),
        }
        Ok(())
    }
}

fn minutes(value: &str) -> Result<Duration, String> {
    let minutes = value.parse().ok().filter(|minutes: &f64| (0.1..=100_000.0).contains(minutes));
    let minutes = minutes.ok_or_else(|| format!("--minutes wants a number, not {value}"))?;
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

fn number<T: std::str::FromStr>(argument: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{argument} wants a number, not {value}"))
}
