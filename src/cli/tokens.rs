//! `barnabas tokens new|list|revoke`: who may use the admin API.
//!
//! Changes the tokens file, which a running service reads again within a second. A token is printed once, on stdout;
//! the file holds only what recognises it.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::topics::write_json;
use super::{CliError, Context, Output, Table};
use crate::admin::tokens::{EVERY_PROJECT, Role, Token, TokensError, TokensFile, shown_once};
use crate::clock::wall_clock;

const EXAMPLES: &str = "\
Examples:
  barnabas tokens new ops --role operator --file tokens.json > ops.token
  barnabas tokens new crm-sync --role editor --project 4172 --days 365 > crm-sync.token
  barnabas tokens list
  barnabas tokens revoke crm-sync

Without --file, the file is admin.tokens_file of the configuration.";

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// Arguments of `barnabas tokens`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The tokens file; `new` makes it
    #[arg(long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token and print it, once
    New(NewArgs),
    /// Show the tokens, without what proves them
    List,
    /// Take a token away; its sessions end, too
    Revoke {
        /// Its id
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct NewArgs {
    /// How the audit log names it: 1-32 of a-z, 0-9, _ and -
    id: String,
    /// What it may do: a viewer looks, an editor changes, an operator deletes and redrives, too
    #[arg(long, value_enum)]
    role: Role,
    /// A project that it is for; may be repeated; all of them where none is given
    #[arg(long, value_name = "ID")]
    project: Vec<String>,
    /// Ends after so many days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: Option<u64>,
}

/// Runs the action.
///
/// # Errors
/// [`CliError::NotFound`] for a file that is not there or an id that is none, [`CliError::Failed`], [`CliError::Config`].
pub fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let path = match &args.file {
        Some(path) => path.clone(),
        None => context.config()?.admin.tokens_file.ok_or_else(|| {
            CliError::Usage("give --file FILE, or set admin.tokens_file".to_owned())
        })?,
    };
    match &args.action {
        Action::New(new) => {
            let mut file =
                if path.exists() { TokensFile::load(&path)? } else { TokensFile::default() };
            let text = add(&mut file, new)?;
            file.save(&path)?;
            show_new(new, &text, context.output())
        }
        Action::List => list(&TokensFile::load(&path)?, context.output()),
        Action::Revoke { id } => {
            let mut file = TokensFile::load(&path)?;
            let before = file.tokens.len();
            file.tokens.retain(|token| token.id != *id);
            if file.tokens.len() == before {
                return Err(CliError::NotFound(format!("{} has no token `{id}`", path.display())));
            }
            Ok(file.save(&path)?)
        }
    }
}

fn add(file: &mut TokensFile, new: &NewArgs) -> Result<String, CliError> {
    if file.tokens.iter().any(|token| token.id == new.id) {
        let id = &new.id;
        return Err(CliError::Failed(format!("there is a token `{id}` already; revoke it first")));
    }
    let every = || vec![EVERY_PROJECT.to_owned()];
    let projects = if new.project.is_empty() { every() } else { new.project.clone() };
    let lifetime = new.days.map(|days| Duration::from_secs(days * SECONDS_A_DAY));
    let (token, text) = Token::generate(&new.id, new.role, projects, wall_clock(), lifetime)?;
    file.tokens.push(token);
    Ok(shown_once(&text).to_owned())
}

/// Shows a token, this once.
fn show_new(new: &NewArgs, text: &str, output: Output) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match output {
        Output::Table => Ok(writeln!(out, "{text}")?),
        Output::Json => {
            write_json(&mut out, &json!({"id": new.id, "role": new.role, "token": text}))
        }
    }
}

fn list(file: &TokensFile, output: Output) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let now = wall_clock();
    if output == Output::Json {
        let shown = |token: &Token| {
            json!({"id": token.id, "role": token.role, "projects": token.projects,
                "created_at": token.created_at, "expires_at": token.expires_at, "expired": token.is_expired(now)})
        };
        let tokens: Vec<_> = file.tokens.iter().map(shown).collect();
        return write_json(&mut out, &json!({ "tokens": tokens }));
    }
    let mut table = Table::new(&["ID", "ROLE", "PROJECTS", "EXPIRES"]);
    for token in &file.tokens {
        let day = |secs: u64| {
            let time =
                i64::try_from(secs).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok());
            time.map_or_else(|| secs.to_string(), |time| time.to_string())
        };
        let expires = match token.expires_at {
            None => "never".to_owned(),
            Some(_) if token.is_expired(now) => "expired".to_owned(),
            Some(secs) => day(secs),
        };
        let role = format!("{:?}", token.role).to_lowercase();
        table.push(vec![token.id.clone(), role, token.projects.join(","), expires]);
    }
    Ok(table.write(&mut out)?)
}

impl From<TokensError> for CliError {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::BadId(_) => Self::Usage(error.to_string()),
            TokensError::File { ref source, .. } => Self::of_file(&error, source),
            TokensError::Content { .. } | TokensError::Random(_) => Self::Failed(error.to_string()),
        }
    }
}
