//! `barnabas connections rewrap`: seals credentials with the primary key, while the service runs.
//!
//! Prints what `kafka::rewrap` has found and done: the keys that are in use, so that an operator knows which of them
//! may be removed.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::topics::write_json;
use crate::cli::{CliError, Context, Output, Table};
use crate::config::Config;
use crate::engine::address::AddressRule;
use crate::engine::retry::RetryPolicy;
use crate::kafka::record::connection::reseal::{Keeping, PlainSecrets, Resealer};
use crate::kafka::rewrap::{Mode, Report, RewrapError, rewrap};
use crate::kafka::topics::TopicNames;
use crate::secrets::Keyring;

const EXAMPLES: &str = "\
Examples:
  barnabas connections rewrap --dry-run           which keys are in use; writes nothing
  barnabas connections rewrap                     after `keyring primary`
  barnabas connections rewrap --seal-plaintext    also what was written as plain text
  barnabas connections rewrap -o json | jq '.keys[] | select(.after == 0 and .removable) | .key'

It may run while the service does, and be repeated. Revisions do not change.
Exit codes: 0 all are sealed with the primary key or plain, 3 some could not be opened, 5 no broker answers.";

/// Arguments of `barnabas connections rewrap`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only look: count the keys, write nothing
    #[arg(long)]
    dry_run: bool,
    /// Seal what is plain text, too
    #[arg(long)]
    seal_plaintext: bool,
}

/// Seals and reports.
///
/// # Errors
/// [`CliError::CheckFailed`] where secrets could not be opened, [`CliError::Unreachable`], [`CliError::Failed`],
/// [`CliError::Config`], [`CliError::Usage`] without a keyring.
pub(super) fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let config = context.config()?;
    let keyring = keyring_of(&config)?;
    let policy = RetryPolicy::try_from(&config.retry)
        .map_err(|error| CliError::Failed(format!("retry.schedule: {error}")))?;
    let names = TopicNames::new(&config.topics, policy.delays());
    // Our own addresses do not matter here: nothing is called, and an origin does not depend on them.
    let rule = AddressRule::new(&config.egress, Vec::new());
    let plain = if args.seal_plaintext { PlainSecrets::Seal } else { PlainSecrets::Leave };
    let resealer = Resealer { topic: &names.connections, rule: &rule, keyring: &keyring, plain };
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Write };
    let report = rewrap(&config.kafka, &resealer, mode)?;
    let mut out = io::stdout().lock();
    match context.output() {
        Output::Table => write_text(&mut out, &report, &keyring, mode)?,
        Output::Json => write_json(&mut out, &document(&report, &keyring, mode))?,
    }
    match report.faults.len() {
        0 => Ok(()),
        count => Err(CliError::CheckFailed(format!(
            "{count} connections keep a secret that cannot be opened or sealed"
        ))),
    }
}

fn keyring_of(config: &Config) -> Result<Keyring, CliError> {
    let path: Option<&Path> = config.secrets.keyring_file.as_deref();
    let path = path.ok_or_else(|| {
        CliError::Usage("there is nothing to seal with: secrets.keyring_file is not set".to_owned())
    })?;
    Keyring::read(path).map_err(|error| CliError::Failed(error.to_string()))
}

impl From<RewrapError> for CliError {
    fn from(error: RewrapError) -> Self {
        match error {
            RewrapError::Silent { .. } => Self::Unreachable(error.to_string()),
            RewrapError::Client(_) | RewrapError::Write { .. } | RewrapError::Contended { .. } => {
                Self::Failed(error.to_string())
            }
        }
    }
}

/// One way in which secrets are kept, or could be: every key of the keyring is there, in use or not.
struct Row {
    keeping: Keeping,
    is_primary: bool,
    is_held: bool,
    before: u64,
    after: u64,
}

impl Row {
    fn name(&self) -> &str {
        match &self.keeping {
            Keeping::Sealed(key) => key.as_str(),
            Keeping::Plain => "(plain text)",
            Keeping::Unknown => "(unreadable)",
        }
    }

    fn role(&self) -> &'static str {
        match (&self.keeping, self.is_primary, self.is_held) {
            (Keeping::Plain | Keeping::Unknown, ..) => "",
            (Keeping::Sealed(_), true, _) => "primary",
            (Keeping::Sealed(_), false, true) => "opens only",
            (Keeping::Sealed(_), false, false) => "not in the keyring",
        }
    }

    /// A key of the ring that nothing needs. Of an unreadable record nobody knows.
    fn is_removable(&self, report: &Report) -> bool {
        let all_known = !report.after.contains_key(&Keeping::Unknown);
        self.is_held && !self.is_primary && self.after == 0 && all_known
    }
}

fn rows(report: &Report, keyring: &Keyring) -> Vec<Row> {
    let held = keyring.list().into_iter().map(|info| Keeping::Sealed(info.id));
    let used = report.before.keys().chain(report.after.keys()).cloned();
    let keepings: BTreeSet<Keeping> = held.chain(used).collect();
    let row = |keeping: Keeping| {
        let key = match &keeping {
            Keeping::Sealed(key) => Some(key),
            Keeping::Plain | Keeping::Unknown => None,
        };
        Row {
            is_primary: key == Some(keyring.primary()),
            is_held: key.is_some_and(|key| keyring.has(key)),
            before: report.before.get(&keeping).copied().unwrap_or(0),
            after: report.after.get(&keeping).copied().unwrap_or(0),
            keeping,
        }
    };
    keepings.into_iter().map(row).collect()
}

fn write_text(
    out: &mut impl Write,
    report: &Report,
    keyring: &Keyring,
    mode: Mode,
) -> Result<(), CliError> {
    let mut table = Table::new(&["KEY", "ROLE", "BEFORE", "AFTER"]);
    let rows = rows(report, keyring);
    for row in &rows {
        let (name, role) = (row.name().to_owned(), row.role().to_owned());
        table.push(vec![name, role, row.before.to_string(), row.after.to_string()]);
    }
    table.write(out)?;
    let done = match mode {
        Mode::DryRun => "would be written",
        Mode::Write => "written",
    };
    writeln!(out, "{} records {done}", report.written)?;
    for row in rows.iter().filter(|row| row.is_removable(report)) {
        writeln!(out, "{} is not in use: `barnabas keyring remove {0}`", row.name())?;
    }
    for fault in &report.faults {
        writeln!(out, "{}: {}", fault.connection, fault.fault)?;
    }
    Ok(())
}

fn document(report: &Report, keyring: &Keyring, mode: Mode) -> Value {
    let row = |row: &Row| {
        json!({
            "key": row.name(), "primary": row.is_primary, "in_keyring": row.is_held,
            "before": row.before, "after": row.after, "removable": row.is_removable(report),
        })
    };
    let rows = rows(report, keyring);
    let is_key = |row: &&Row| matches!(row.keeping, Keeping::Sealed(_));
    let counts = |keeping: &Keeping| {
        let of = |counts: &std::collections::BTreeMap<Keeping, u64>| {
            counts.get(keeping).copied().unwrap_or(0)
        };
        json!({ "before": of(&report.before), "after": of(&report.after) })
    };
    let fault = |fault: &crate::kafka::rewrap::Fault| json!({ "connection": fault.connection, "fault": fault.fault });
    json!({
        "dry_run": mode == Mode::DryRun,
        "written": report.written,
        "keys": rows.iter().filter(is_key).map(row).collect::<Vec<_>>(),
        "plain_text": counts(&Keeping::Plain),
        "unreadable": counts(&Keeping::Unknown),
        "faults": report.faults.iter().map(fault).collect::<Vec<_>>(),
    })
}
