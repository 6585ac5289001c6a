//! `barnabas topics plan|create`: compares the topics with what is needed, or makes them.
//!
//! Prints; what is wanted and what is done is decided in `kafka::topics`. The events topic belongs to others and is
//! made only with `--with-events`.

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Context, Output, Table};
use crate::config::Config;
use crate::engine::retry::RetryPolicy;
use crate::kafka::topics::{Change, Difference, EventsTopic, Severity, Topics};

const EXAMPLES: &str = "\
Examples:
  barnabas topics plan                      what is missing or differs; exit code 3 if anything does
  barnabas topics create                    makes and corrects our own topics
  barnabas topics create --with-events --partitions 12
                                            the events topic too, for a first try";

const PLAN_EXAMPLES: &str = "\
Examples:
  barnabas topics plan --config barnabas.toml
  barnabas topics plan -o json | jq '.differences[] | select(.severity == \"loses_data\")'

Exit codes: 0 nothing differs, 3 something does, 5 no broker answers.";

const CREATE_EXAMPLES: &str = "\
Examples:
  barnabas topics create --config barnabas.toml
  barnabas topics create --with-events --partitions 12

It may be repeated: what is right is left alone, and nothing is ever deleted.
Exit codes: 0 the service can start, 3 something is left that could lose data, 5 no broker answers.";

/// Twelve can be shared evenly by 1, 2, 3, 4, 6 and 12 instances.
const DEFAULT_PARTITIONS: u32 = 12;

/// Arguments of `barnabas topics`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what is missing or differs; changes nothing
    #[command(after_help = PLAN_EXAMPLES)]
    Plan,
    /// Make what is missing and correct our own topics
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Make the events topic too, if it is missing; it belongs to those who write the events
    #[arg(long)]
    with_events: bool,
    /// How many partitions the events topic, and so each retry tier, is made with
    #[arg(
        long, value_name = "N", requires = "with_events", default_value_t = DEFAULT_PARTITIONS,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    partitions: u32,
}

impl CreateArgs {
    const fn events(&self) -> EventsTopic {
        if self.with_events {
            EventsTopic::Create { partitions: self.partitions }
        } else {
            EventsTopic::Leave
        }
    }
}

/// Compares or makes the topics.
///
/// # Errors
/// [`CliError::CheckFailed`] where something differs, after `create` only where it could lose data;
/// [`CliError::Unreachable`], [`CliError::Config`].
pub fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let config = context.config()?;
    let topics = connect(&config)?;
    match &args.action {
        Action::Plan => plan(&topics, context.output()),
        Action::Create(args) => create(&topics, args.events(), context.output()),
    }
}

/// The topics that a configuration needs.
pub(super) fn connect(config: &Config) -> Result<Topics, CliError> {
    let policy = RetryPolicy::try_from(&config.retry)
        .map_err(|error| CliError::Failed(format!("retry.schedule: {error}")))?;
    Ok(Topics::connect(&config.kafka, &config.topics, policy.delays())?)
}

fn plan(topics: &Topics, output: Output) -> Result<(), CliError> {
    let differences = topics.plan()?.differences;
    let mut out = io::stdout().lock();
    match output {
        Output::Table => write_differences(&mut out, &differences)?,
        Output::Json => write_json(&mut out, &json!({ "differences": differences }))?,
    }
    verdict(&differences)
}

fn create(topics: &Topics, events: EventsTopic, output: Output) -> Result<(), CliError> {
    let changes = topics.create(events)?;
    let differences = topics.plan()?.differences;
    let mut out = io::stdout().lock();
    match output {
        Output::Table => {
            write_changes(&mut out, &changes)?;
            if !differences.is_empty() {
                writeln!(out)?;
                write_differences(&mut out, &differences)?;
            }
        }
        Output::Json => {
            write_json(&mut out, &json!({ "changes": changes, "differences": differences }))?;
        }
    }
    if differences.iter().all(|one| one.severity == Severity::Advice) {
        // What is left is for people to decide; a script that goes on to `serve` may do so.
        return Ok(());
    }
    verdict(&differences)
}

/// One line a difference, and below it why it matters and what to do.
pub(super) fn write_differences(
    out: &mut impl Write,
    differences: &[Difference],
) -> Result<(), CliError> {
    if differences.is_empty() {
        return Ok(writeln!(out, "the topics are as needed")?);
    }
    let mut table = Table::new(&["TOPIC", "SEVERITY", "WHAT", "WHY"]);
    for difference in differences {
        let severity = match difference.severity {
            Severity::LosesData => "loses data",
            Severity::Advice => "advice",
        };
        let Difference { topic, what, reason, .. } = difference;
        table.push(vec![topic.clone(), severity.to_owned(), what.to_string(), reason.clone()]);
    }
    table.write(out)?;
    let mut said = Vec::new();
    for mend in differences.iter().map(|difference| &difference.mend) {
        if !said.contains(&mend) {
            writeln!(out, "to mend: {mend}")?;
            said.push(mend);
        }
    }
    Ok(())
}

fn write_changes(out: &mut impl Write, changes: &[Change]) -> Result<(), CliError> {
    if changes.is_empty() {
        return Ok(writeln!(out, "nothing was to be done")?);
    }
    let mut table = Table::new(&["TOPIC", "DONE"]);
    for change in changes {
        table.push(vec![change.topic.clone(), change.done.to_string()]);
    }
    Ok(table.write(out)?)
}

/// One JSON document, ended by a line.
pub(super) fn write_json(
    out: &mut impl Write,
    document: &serde_json::Value,
) -> Result<(), CliError> {
    Ok(writeln!(out, "{document:#}")?)
}

fn verdict(differences: &[Difference]) -> Result<(), CliError> {
    if differences.is_empty() {
        return Ok(());
    }
    let loses = differences.iter().filter(|one| one.severity == Severity::LosesData).count();
    let total = differences.len();
    Err(CliError::CheckFailed(format!(
        "the topics differ in {total} points from what is needed; {loses} of them could lose data"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::topics::What;

    fn difference(topic: &str, severity: Severity) -> Difference {
        Difference {
            topic: topic.into(),
            what: What::Missing,
            severity,
            reason: "it is needed".into(),
            mend: "run `barnabas topics create`".into(),
        }
    }

    #[test]
    fn a_remedy_is_said_once() {
        let differences = [difference("a", Severity::LosesData), difference("b", Severity::Advice)];
        let mut out = Vec::new();
        write_differences(&mut out, &differences).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("to mend").count(), 1, "{text}");
        assert!(
            text.contains("a      loses data  missing, or hidden from this user  it is needed"),
            "{text}"
        );
    }

    #[test]
    fn any_difference_is_drift() {
        assert!(verdict(&[]).is_ok());
        let error = verdict(&[difference("a", Severity::Advice)]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
    }
}
