//! `barnabas dead-letters …`: looks at a project's dead letters, puts them back into delivery and exports them, through
//! the admin API.
//!
//! Reads arguments and prints; what can be put back is the API's to say.

use std::io::{self, IsTerminal as _, Write};

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::{ApiArgs, Client};
use super::progress::Progress;
use super::topics::write_json;
use super::{CliError, Context, Output, Table};

const EXAMPLES: &str = "\
Examples:
  barnabas dead-letters list --project 4172 --reason exhausted --from 2026-01-31T12:00:00Z
  barnabas dead-letters show --project 4172 1760090590750-3-1042
  barnabas dead-letters redrive --project 4172 --connection whc_01JB900M6K --dry-run
  barnabas dead-letters redrive --project 4172 --connection whc_01JB900M6K --rate 20
  barnabas dead-letters redrive --project 4172 1760090590750-3-1042
  barnabas dead-letters export --project 4172 > dead-letters.ndjson

Exit codes: 0 done, 1 refused or not all put back, 2 usage, 4 not found, 5 the API does not answer.";

/// How many are asked for at a time.
const PAGE: usize = 500;

/// Arguments of `barnabas dead-letters`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List dead letters, the newest first
    List(ListArgs),
    /// Show one with its value and headers
    Show(ShowArgs),
    /// Put dead letters back into delivery
    Redrive(RedriveArgs),
    /// Print them in full, as lines of JSON
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
struct Of {
    #[command(flatten)]
    api: ApiArgs,
    /// The project
    #[arg(long, value_name = "ID", env = "BARNABAS_PROJECT")]
    project: String,
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// Of this connection alone
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
    /// Given up for this reason, such as `exhausted`
    #[arg(long)]
    reason: Option<String>,
    /// Given up then or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Given up before then (RFC 3339)
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    filter: Filter,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    of: Of,
    /// Its id, from the list
    id: String,
}

#[derive(Debug, clap::Args)]
struct RedriveArgs {
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    filter: Filter,
    /// These alone, by their ids from the list
    #[arg(conflicts_with_all = ["connection", "reason", "from", "to", "all"])]
    ids: Vec<String>,
    /// All of the project, where no filter is given
    #[arg(long)]
    all: bool,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// How many a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Also those that were put back before
    #[arg(long)]
    again: bool,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    filter: Filter,
}

impl Filter {
    fn pairs(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("connection", &self.connection),
            ("reason", &self.reason),
            ("from", &self.from),
            ("to", &self.to),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

/// Runs the action.
///
/// # Errors
/// [`CliError`] with the API's own words, or the action's.
pub fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    match &args.action {
        Action::List(args) => list(args, context.output()),
        Action::Show(args) => {
            let path = ["projects", &args.of.project, "dead-letters", &args.id];
            let letter = args.of.api.client()?.get(&path, &[])?;
            super::connections::show(&letter, context.output())
        }
        Action::Redrive(args) => redrive(args, context.output()),
        Action::Export(args) => export(args),
    }
}

fn list(args: &ListArgs, output: Output) -> Result<(), CliError> {
    let client = args.of.api.client()?;
    let mut found = Vec::new();
    let (mut cursor, mut matched): (Option<String>, _) = (None, Value::Null);
    while found.len() < args.limit {
        let limit = PAGE.min(args.limit - found.len()).to_string();
        let mut query = args.filter.pairs();
        query.push(("limit", &limit));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut page = client.get(&["projects", &args.of.project, "dead-letters"], &query)?;
        if let Some(items) = page["items"].as_array_mut() {
            found.append(items);
        }
        matched = page["matched"].take();
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = Some(next.to_owned());
    }
    let mut out = io::stdout().lock();
    if output == Output::Json {
        return write_json(&mut out, &json!({ "matched": matched, "dead_letters": found }));
    }
    let mut table =
        Table::new(&["ID", "GIVEN UP", "REASON", "CONNECTION", "EVENT", "STATUS", "REDRIVEN"]);
    for letter in &found {
        table.push(row(letter));
    }
    Ok(table.write(&mut out)?)
}

fn row(letter: &Value) -> Vec<String> {
    let text = |name: &str| letter[name].as_str().unwrap_or("-").to_owned();
    let status = letter["last_status"].as_u64();
    vec![
        text("id"),
        time(&letter["at_ms"]),
        text("reason"),
        text("connection_id"),
        text("event_id"),
        status.map_or_else(|| text("error_class"), |status| status.to_string()),
        time(&letter["redriven_at_ms"]),
    ]
}

fn time(at_ms: &Value) -> String {
    let at = at_ms.as_i64().and_then(|at_ms| jiff::Timestamp::from_millisecond(at_ms).ok());
    at.map_or_else(|| "-".to_owned(), |at| at.to_string())
}

fn redrive(args: &RedriveArgs, output: Output) -> Result<(), CliError> {
    let filter = args.filter.pairs();
    if args.ids.is_empty() && filter.is_empty() && !args.all {
        let mend = "give ids, a filter, or --all for all of the project";
        return Err(CliError::Usage(format!("which dead letters? {mend}")));
    }
    let mut body = json!({
        "dry_run": args.dry_run, "rate_per_second": args.rate, "again": args.again,
    });
    if args.ids.is_empty() {
        let filter = filter.into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
        body["matching"] = Value::Object(filter.collect());
    } else {
        body["ids"] = json!(args.ids);
    }
    let last = follow(&args.of.api.client()?, &args.of.project, &body)?;
    super::connections::show(&last, output)?;
    match last["error"].as_str() {
        Some(error) => Err(CliError::Failed(format!("not all were put back: {error}"))),
        None if last["failed"].as_u64().unwrap_or(0) > 0 => {
            Err(CliError::Failed("Kafka did not take all of them; try again".to_owned()))
        }
        None => Ok(()),
    }
}

/// Writes the lines as they come; a person whose screen they do not fill sees how far it is.
fn export(args: &ExportArgs) -> Result<(), CliError> {
    let path = ["projects", args.of.project.as_str(), "dead-letters", "export"];
    let (client, filter) = (args.of.api.client()?, args.filter.pairs());
    let mut out = io::stdout().lock();
    let is_watched = io::stderr().is_terminal() && !io::stdout().is_terminal();
    let mut progress = None;
    if is_watched {
        progress = Progress::open(count(&client, &args.of.project, &filter)?);
    }
    let mut written = 0_u64;
    client.download(&path, &filter, |part| {
        out.write_all(part)?;
        written += part.iter().filter(|&&byte| byte == b'\n').count() as u64;
        progress.as_mut().map_or(Ok(()), |progress| Ok(progress.show(written)?))
    })?;
    Ok(out.flush()?)
}

/// How many dead letters a filter is about.
fn count(client: &Client, project: &str, filter: &[(&str, &str)]) -> Result<u64, CliError> {
    let query = [filter, &[("limit", "1")]].concat();
    let page = client.get(&["projects", project, "dead-letters"], &query)?;
    Ok(page["matched"].as_u64().unwrap_or(0))
}

/// Follows a redrive to its end and gives its last line; a person sees how far it is.
fn follow(client: &Client, project: &str, body: &Value) -> Result<Value, CliError> {
    let path = ["projects", project, "dead-letters", "redrive"];
    let (mut rest, mut last) = (Vec::new(), Value::Null);
    let mut progress: Option<Progress> = None;
    client.follow(&path, body, |part| {
        rest.extend_from_slice(part);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            last = serde_json::from_slice(&line).unwrap_or(Value::Null);
            let [done, all] =
                ["redriven", "redrivable"].map(|name| last[name].as_u64().unwrap_or(0));
            progress = progress.take().or_else(|| Progress::open(all));
            if let Some(progress) = &mut progress {
                progress.show(done)?;
            }
        }
        Ok(())
    })?;
    drop(progress);
    if last["is_done"] == true || last["error"].is_string() {
        return Ok(last);
    }
    let mend = "see how many are redriven, and repeat it for the rest";
    Err(CliError::Failed(format!("the redrive broke off at {}: {mend}", last["redriven"])))
}
