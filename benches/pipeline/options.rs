//! What a run is told on its command line.

use std::path::PathBuf;

pub const HELP: &str = "\
Usage: cargo bench --bench pipeline -- [NAME]... [OPTION]...

Measures the built `barnabas serve` against a real Apache Kafka (deploy/kafka/run) and a TLS sink.
Names: match, deliver, fan-out, neighbours, backlog, start, idle, latency. Without any, all.

  --runs N         runs of each figure, interleaved; medians are shown. Default 5
  --json PATH      writes the figures as JSON, too
  --quick          once and small: shows that everything runs; the figures mean little
  --program PATH   the barnabas to measure. Default: the one built with this benchmark";

#[derive(Clone, Debug)]
pub struct Options {
    pub runs: usize,
    pub json: Option<PathBuf>,
    pub is_quick: bool,
    pub program: PathBuf,
    names: Vec<String>,
}

impl Options {
    /// Reads the arguments; what `cargo bench` passes to every benchmark is ignored.
    pub fn parse(
        mut arguments: impl Iterator<Item = String>,
        known: &[&str],
    ) -> Result<Self, String> {
        let mut options = Self {
            runs: 5,
            json: None,
            is_quick: false,
            program: PathBuf::from(env!("CARGO_BIN_EXE_barnabas")),
            names: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--bench" => {}
                "--quick" => options.is_quick = true,
                "--json" => options.json = Some(value()?.into()),
                "--program" => options.program = value()?.into(),
                "--runs" => {
                    let runs = value()?.parse().ok().filter(|runs| (1..=100).contains(runs));
                    options.runs = runs.ok_or("--runs wants a number from 1 to 100")?;
                }
                name if known.contains(&name) => options.names.push(argument),
                other => return Err(format!("{other}: no such benchmark or option")),
            }
        }
        if options.is_quick {
            options.runs = 1;
        }
        Ok(options)
    }

    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    /// A size: the real one, or the one that only shows that it runs.
    pub fn size(&self, real: u64, quick: u64) -> u64 {
        if self.is_quick { quick } else { real }
    }
}
