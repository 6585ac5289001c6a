//! `barnabas connections …`: looks at connections and changes them, through the admin API; `rewrap` works on their
//! topic.
//!
//! Reads arguments and prints; what is allowed and what is wrong with a connection is the API's to say.

mod put;
mod rewrap;

use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::PathBuf;

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::api::{ApiArgs, Client, IfMatch};
use super::topics::write_json;
use super::{CliError, Context, Output, Table};
use crate::admin::connections::StatusFilter;

const EXAMPLES: &str = "\
Examples:
  export BARNABAS_TOKEN=bnb_…              or --token-file FILE
  barnabas connections list --project 4172
  barnabas connections get --project 4172 whc_01JB900M6K -o json
  barnabas connections put --project 4172 -f crm.json
  barnabas connections deactivate --project 4172 whc_01JB900M6K
  barnabas connections delete --project 4172 whc_01JB900M6K --yes
  barnabas connections test --project 4172 whc_01JB900M6K --event message_open --channel email
  barnabas connections rewrap --dry-run    which keys the sealed credentials need

Exit codes: 0 done, 1 refused, 2 usage, 4 not found, 5 the API does not answer.";

const PUT_EXAMPLES: &str = "\
Examples:
  barnabas connections put --project 4172 -f crm.json
  barnabas connections get --project 4172 whc_01JB900M6K -o json | jq '.name = \"CRM\"' |
    barnabas connections put --project 4172 -f -

The file holds a connection as JSON. Where it has a connection_id, that one is edited; else the one of its name, and
where there is none, it is made. It may be repeated: what is as it should be stays. A secret that is left out of an
edit stays; one that is in the file is written anew each time, for nobody may find out what it was. With a revision in
the file, an edit that somebody else has made meanwhile is not lost: it is refused.";

/// How many are asked for at a time.
const PAGE: &str = "500";

/// Arguments of `barnabas connections`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show a project's connections
    List(ListArgs),
    /// Show one connection
    Get(OneArgs),
    /// Make a connection, or make it what a file says
    #[command(after_help = PUT_EXAMPLES)]
    Put(PutArgs),
    /// Let a connection have its events; ends an automatic deactivation
    Activate(OneArgs),
    /// Stop a connection; what is pending for it becomes dead letters
    Deactivate(OneArgs),
    /// Delete a connection; what is pending for it is dropped
    Delete(DeleteArgs),
    /// Send one real test event and show what came of it
    Test(TestArgs),
    /// Seal credentials with the keyring's primary key; says which keys are in use
    Rewrap(rewrap::Args),
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
struct ListArgs {
    #[command(flatten)]
    of: Of,
    /// Only those that are now
    #[arg(long, value_enum)]
    status: Option<StatusFilter>,
    /// Only those with this text in their name, id or origin
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    #[command(flatten)]
    of: Of,
    /// The connection's id
    id: String,
}

#[derive(Debug, clap::Args)]
struct PutArgs {
    #[command(flatten)]
    of: Of,
    /// A file with the connection as JSON; `-` reads stdin
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct DeleteArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
struct TestArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Which event of the catalog
    #[arg(long, default_value = "message_open")]
    event: String,
    /// On which channel of the catalog
    #[arg(long, default_value = "email")]
    channel: String,
}

/// Runs the action.
///
/// # Errors
/// [`CliError`] with the API's own words, or the action's.
pub fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    match &args.action {
        Action::List(args) => list(args, context.output()),
        Action::Get(args) => {
            let path = ["projects", &args.of.project, "connections", &args.id];
            show(&args.of.api.client()?.get(&path, &[])?, context.output())
        }
        Action::Put(args) => {
            let client = args.of.api.client()?;
            show(&put::put(&client, &args.of.project, &args.file)?, context.output())
        }
        Action::Activate(args) => set(args, "activate", context.output()),
        Action::Deactivate(args) => set(args, "deactivate", context.output()),
        Action::Delete(args) => delete(args),
        Action::Test(args) => test(args, context.output()),
        Action::Rewrap(args) => rewrap::run(args, context),
    }
}

fn list(args: &ListArgs, output: Output) -> Result<(), CliError> {
    let client = args.of.api.client()?;
    let status = args.status.map(|status| json!(status));
    let mut query = vec![("limit", PAGE)];
    query.extend(status.as_ref().and_then(Value::as_str).map(|status| ("status", status)));
    query.extend(args.search.as_deref().map(|text| ("q", text)));
    let found = all(&client, &args.of.project, &query)?;
    let mut out = io::stdout().lock();
    if output == Output::Json {
        return write_json(&mut out, &json!({ "connections": found }));
    }
    let mut table = Table::new(&["ID", "NAME", "STATUS", "REASON", "URL", "EVENTS", "CHANNELS"]);
    for one in &found {
        table.push(row(one));
    }
    Ok(table.write(&mut out)?)
}

/// Every page of a listing.
fn all(client: &Client, project: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, CliError> {
    let mut found = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut page = client.get(&["projects", project, "connections"], &query)?;
        if let Some(connections) = page["connections"].as_array_mut() {
            found.append(connections);
        }
        let Some(next) = page["next_cursor"].as_str() else { return Ok(found) };
        cursor = Some(next.to_owned());
    }
}

fn row(one: &Value) -> Vec<String> {
    let text = |name: &str| one[name].as_str().unwrap_or("-").to_owned();
    let names = |name: &str| {
        let names: Vec<_> =
            one[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        names.join(",")
    };
    vec![
        text("connection_id"),
        text("name"),
        text("effective_status"),
        text("reason"),
        text("url"),
        names("events"),
        names("channels"),
    ]
}

/// Prints one thing, field by field.
pub(super) fn show(one: &Value, output: Output) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    if output == Output::Json {
        return write_json(&mut out, one);
    }
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for (name, value) in one.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.push(vec![name.clone(), value]);
    }
    Ok(table.write(&mut out)?)
}

fn set(args: &OneArgs, action: &str, output: Output) -> Result<(), CliError> {
    let path = ["projects", &args.of.project, "connections", &args.id, action];
    let client = args.of.api.client()?;
    show(&client.send(Method::POST, &path, IfMatch::Unsaid, None)?, output)
}

fn test(args: &TestArgs, output: Output) -> Result<(), CliError> {
    let path = ["projects", &args.one.of.project, "connections", &args.one.id, "test"];
    let body = json!({ "event": args.event, "channel": args.channel });
    let client = args.one.of.api.client()?;
    let report = client.send(Method::POST, &path, IfMatch::Unsaid, Some(&body))?;
    show(&report, output)?;
    if report["outcome"] == "delivered" {
        return Ok(());
    }
    Err(CliError::Failed(report["verdict"].as_str().unwrap_or("it did not arrive").to_owned()))
}

fn delete(args: &DeleteArgs) -> Result<(), CliError> {
    let (of, id) = (&args.one.of, &args.one.id);
    let client = of.api.client()?;
    let path = ["projects", of.project.as_str(), "connections", id];
    let found = client.get(&path, &[])?;
    if !args.yes {
        confirm(found["name"].as_str().unwrap_or(id))?;
    }
    let revision = found["revision"].as_u64().map_or(IfMatch::Any, IfMatch::Revision);
    client.send(Method::DELETE, &path, revision, None)?;
    Ok(())
}

/// Asks a person; where there is none, `--yes` is needed.
fn confirm(name: &str) -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        let mend = "say --yes to delete without being asked";
        return Err(CliError::Usage(format!("nobody is there to confirm: {mend}")));
    }
    write!(io::stderr(), "Delete {name:?} and drop what is pending for it? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::Failed("nothing was deleted".to_owned())),
    }
}
