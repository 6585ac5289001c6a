//! `barnabas keyring new|add|primary|remove|list`: the keys that seal credentials.
//!
//! Works on the file alone; the service follows it. Key material goes from the library into the file and is never
//! printed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::topics::write_json;
use super::{CliError, Context, Output, Table};
use crate::secrets::file::KeyringError;
use crate::secrets::keyring::{ChangeError, KeyInfo};
use crate::secrets::{KeyId, Keyring};

const EXAMPLES: &str = "\
Examples:
  barnabas keyring new --file /etc/barnabas/keyring.json     then set secrets.keyring_file
  barnabas keyring list

To change keys while the service runs, which takes a changed file over within seconds:
  barnabas keyring add                      then bring the file to every instance
  barnabas keyring primary k1f0c23a9        and again
  barnabas connections rewrap
  barnabas keyring remove k7d5e11b0         when rewrap says that nothing needs it

Every instance needs the same file. Keep a copy: without its key, a sealed credential is lost.";

/// Arguments of `barnabas keyring`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The keyring [default: secrets.keyring_file of the configuration]
    #[arg(long, global = true, value_name = "FILE", env = "BARNABAS_SECRETS__KEYRING_FILE")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a keyring with a first key; never overwrites one
    New,
    /// Add a key that only opens, until it is made primary
    Add,
    /// Let a key seal from now on
    Primary {
        /// The key, as `list` shows it
        id: String,
    },
    /// Take a key out; what it sealed cannot be opened any more
    Remove {
        /// The key, as `list` shows it
        id: String,
    },
    /// Show the keys' names and which of them seals
    List,
}

/// Makes, changes or shows a keyring.
///
/// # Errors
/// [`CliError::NotFound`] for a file or a key that is not there, [`CliError::Failed`] where the file cannot be used,
/// [`CliError::Usage`] where no file is named, [`CliError::Config`].
pub fn run(args: &Args, context: &Context) -> Result<(), CliError> {
    let path = file(args, context)?;
    let mut added = None;
    let keyring = match &args.action {
        Action::New => {
            let keyring = Keyring::generate(now())?;
            keyring.create(&path)?;
            added = Some(keyring.primary().clone());
            keyring
        }
        Action::Add => change(&path, |keyring| {
            added = Some(keyring.add(now())?);
            Ok(())
        })?,
        Action::Primary { id } => change(&path, |keyring| keyring.make_primary(id))?,
        Action::Remove { id } => change(&path, |keyring| keyring.remove(id))?,
        Action::List => Keyring::read(&path)?,
    };
    let keys = keyring.list();
    let mut out = io::stdout().lock();
    match context.output() {
        Output::Table => write_text(&mut out, &keys, added.as_ref()),
        Output::Json => write_json(&mut out, &document(&path, &keys, added.as_ref())),
    }
}

/// The file that is meant. A configuration that names a keyring which is not there yet is refused as a whole, so a
/// new one is named by `--file`.
fn file(args: &Args, context: &Context) -> Result<PathBuf, CliError> {
    if let Some(file) = args.file.clone().filter(|file| !file.as_os_str().is_empty()) {
        return Ok(file);
    }
    context.config()?.secrets.keyring_file.ok_or_else(|| {
        CliError::Usage(
            "no keyring is named: write --file FILE, or set secrets.keyring_file".into(),
        )
    })
}

fn change(
    path: &Path,
    change: impl FnOnce(&mut Keyring) -> Result<(), ChangeError>,
) -> Result<Keyring, CliError> {
    let mut keyring = Keyring::read(path)?;
    change(&mut keyring)?;
    keyring.replace(path)?;
    Ok(keyring)
}

impl From<KeyringError> for CliError {
    fn from(error: KeyringError) -> Self {
        match &error {
            KeyringError::Read { source, .. } => Self::of_file(&error, source),
            KeyringError::Mode { .. }
            | KeyringError::Invalid { .. }
            | KeyringError::Write { .. }
            | KeyringError::Exists(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<ChangeError> for CliError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::UnknownKey(_) => Self::NotFound(error.to_string()),
            ChangeError::IsPrimary(_) | ChangeError::Library => Self::Failed(error.to_string()),
        }
    }
}

fn write_text(
    out: &mut impl Write,
    keys: &[KeyInfo],
    added: Option<&KeyId>,
) -> Result<(), CliError> {
    let mut table = Table::new(&["KEY", "CREATED", "ROLE"]);
    for key in keys {
        let role = if key.is_primary { "primary" } else { "opens only" };
        table.push(vec![key.id.to_string(), date(key.created_at), role.to_owned()]);
    }
    table.write(out)?;
    if let Some(id) = added {
        writeln!(out, "{id} is new")?;
    }
    Ok(())
}

fn document(path: &Path, keys: &[KeyInfo], added: Option<&KeyId>) -> Value {
    let key = |key: &KeyInfo| json!({ "id": key.id.as_str(), "created_at": key.created_at, "primary": key.is_primary });
    json!({
        "file": path.display().to_string(),
        "keys": keys.iter().map(key).collect::<Vec<_>>(),
        "added": added.map(KeyId::as_str),
    })
}

fn date(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|secs| Timestamp::from_second(secs).ok());
    timestamp.map_or_else(|| seconds.to_string(), |timestamp| timestamp.to_string())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
