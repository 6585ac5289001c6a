//! `barnabas demo`: everything at work in one process, with nothing installed.
//!
//! Reads the arguments, lets the demo run and prints its summary; sums that do not agree are a failure.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;

use super::{CliError, Context, Output};
use crate::demo::tally::Summary;
use crate::demo::{self, DemoError, Plan, Show};

const EXAMPLES: &str = "\
Examples:
  barnabas demo                            until Ctrl-C, then a summary
  barnabas demo --seconds 10               ends by itself
  barnabas demo --seconds 10 -o json       the summary for a program
  barnabas demo --rate 400                 a faster campaign
  barnabas demo --verbose                  the service's log in place of the table

A link to the console is printed at the start; it signs in. What happens is shown on stderr, the summary is written to stdout. For each connection it says how many events
matched, by the campaign's count; were delivered, by the receiver's; were retried and dead-lettered, as read from the
topics. Exit code 1 where these do not agree. The configuration file is not read.";

/// Arguments of `barnabas demo`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// End the campaign after so long, and the demo when the last delivery has come to its end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Events a second in the mean; they come in waves
    #[arg(
        long, value_name = "EVENTS_PER_SECOND", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    rate: u32,
    /// The same seed draws the same recipients
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Show the service's log in place of the table
    #[arg(long)]
    verbose: bool,
}

impl Args {
    fn plan(self, is_terminal: bool) -> Plan {
        Plan {
            length: self.seconds.map(Duration::from_secs),
            events_per_second: self.rate,
            seed: self.seed,
            show: match (self.verbose, is_terminal) {
                (true, _) => Show::Log,
                (false, true) => Show::Table,
                (false, false) => Show::Lines,
            },
        }
    }
}

/// Runs the demo.
///
/// # Errors
/// [`CliError::Failed`] where it cannot go on, or where the sums do not agree.
pub fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let summary = demo::run(&args.plan(io::stderr().is_terminal()))?;
    let disagreements = summary.disagreements();
    let mut out = io::stdout().lock();
    match context.output() {
        Output::Table => {
            for line in demo::summary_lines(&summary) {
                writeln!(out, "{line}")?;
            }
        }
        Output::Json => {
            let whole = Whole { summary: &summary, disagreements: &disagreements };
            serde_json::to_writer_pretty(&mut out, &whole).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    if disagreements.is_empty() {
        return Ok(());
    }
    Err(CliError::Failed(format!("the sums do not agree\n  {}", disagreements.join("\n  "))))
}

/// The summary for programs.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    disagreements: &'a [String],
}

impl From<DemoError> for CliError {
    fn from(error: DemoError) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.args)
    }

    #[test]
    fn it_shows_what_fits_where_it_is_shown() {
        let plan = |line: &str, is_terminal| parse(line).unwrap().plan(is_terminal).show;
        assert_eq!(plan("demo", true), Show::Table);
        assert_eq!(plan("demo", false), Show::Lines);
        assert_eq!(plan("demo --verbose", true), Show::Log);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for line in ["demo --seconds 0", "demo --rate 0", "demo --rate 1001", "demo --seed x"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert_eq!(
            parse("demo --seconds 5").unwrap().plan(true).length,
            Some(Duration::from_secs(5))
        );
    }
}
