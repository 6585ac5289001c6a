//! `barnabas check-config`: whether the service could start with this configuration.
//!
//! File and environment first, every fault at once; then, unless `--offline`, the broker and the topics, by the
//! check that `serve` makes. It changes nothing.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::topics::{connect, write_differences, write_json};
use super::{CliError, Context, Output};
use crate::config::{Config, FaultReport};
use crate::kafka::topics::{Difference, Severity};

const EXAMPLES: &str = "\
Examples:
  barnabas check-config --config barnabas.toml
  barnabas check-config --config barnabas.toml --offline    without a broker, as in a build
  barnabas check-config -o json | jq '.faults[].key'

Exit codes: 0 the service could start, 3 the topics could lose data, 5 no broker answers,
78 the configuration is invalid.";

/// Arguments of `barnabas check-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Check file and environment only; ask no broker
    #[arg(long)]
    offline: bool,
}

/// Checks everything that can be checked before a start.
///
/// # Errors
/// [`CliError::Config`] with every fault, else [`CliError::Unreachable`] or [`CliError::CheckFailed`].
pub fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let output = context.output();
    let config = match context.config() {
        Err(CliError::Config(report)) => return refuse(report, output),
        other => other?,
    };
    let differences = if args.offline { None } else { Some(look(&config, output)?) };
    let mut out = io::stdout().lock();
    match output {
        Output::Table => write_text(&mut out, &config, differences.as_deref())?,
        Output::Json => write_json(&mut out, &document(&[], &config, differences.as_deref()))?,
    }
    let found = differences.iter().flatten();
    let refused = found.filter(|one| one.severity == Severity::LosesData).count();
    if refused > 0 {
        let text = format!("serve would refuse to start: {refused} points could lose data");
        return Err(CliError::CheckFailed(text));
    }
    Ok(())
}

/// The faults as data where data was asked for; stderr has them either way.
fn refuse(report: FaultReport, output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        let document = json!({ "ok": false, "faults": report, "warnings": [], "topics": [] });
        write_json(&mut io::stdout().lock(), &document)?;
    }
    Err(CliError::Config(report))
}

/// How the topics differ. Where no broker answers, the result so far is printed before the error.
fn look(config: &Config, output: Output) -> Result<Vec<Difference>, CliError> {
    let plan = connect(config)?.examine().map_err(CliError::from);
    let error = match plan {
        Ok(plan) => return Ok(plan.differences),
        Err(error) => error,
    };
    let mut out = io::stdout().lock();
    match output {
        Output::Table => write_text(&mut out, config, None)?,
        Output::Json => write_json(&mut out, &document(&[error.to_string()], config, None))?,
    }
    Err(error)
}

/// `differences` are none where the topics were not looked at.
fn write_text(
    out: &mut impl Write,
    config: &Config,
    differences: Option<&[Difference]>,
) -> Result<(), CliError> {
    writeln!(out, "the configuration is valid")?;
    for warning in config.warnings() {
        writeln!(out, "warning: {warning}")?;
    }
    match differences {
        None => Ok(writeln!(out, "the broker and the topics were not checked")?),
        Some(differences) => write_differences(out, differences),
    }
}

fn document(errors: &[String], config: &Config, differences: Option<&[Difference]>) -> Value {
    let mut found = differences.into_iter().flatten();
    let is_safe = found.all(|one| one.severity == Severity::Advice);
    json!({
        "ok": errors.is_empty() && is_safe,
        "faults": [],
        "errors": errors,
        "warnings": config.warnings(),
        "topics": differences,
    })
}
