//! `barnabas connections put`: makes a connection what a file says.

use std::io::Read as _;
use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use super::all;
use crate::cli::CliError;
use crate::cli::api::{Client, IfMatch};

/// Edits the connection that the file names by its id or its name, or makes it; gives it as it is then.
pub(super) fn put(client: &Client, project: &str, file: &Path) -> Result<Value, CliError> {
    let wanted = read(file)?;
    let Some((id, revision)) = found(client, project, &wanted)? else {
        let path = ["projects", project, "connections"];
        return client.send(Method::POST, &path, IfMatch::Unsaid, Some(&wanted));
    };
    let path = ["projects", project, "connections", id.as_str()];
    client.send(Method::PUT, &path, IfMatch::Revision(revision), Some(&wanted))
}

/// The id of the connection that is meant, and the revision that the edit is meant for.
fn found(
    client: &Client,
    project: &str,
    wanted: &Value,
) -> Result<Option<(String, u64)>, CliError> {
    let one = match (wanted["connection_id"].as_str(), wanted["name"].as_str()) {
        (Some(id), _) => Some(of_id(client, project, id)?),
        (None, Some(name)) => {
            let query = [("q", name.trim()), ("limit", super::PAGE)];
            let same = |one: &Value| one["name"].as_str() == Some(name.trim());
            all(client, project, &query)?.into_iter().find(same)
        }
        (None, None) => None,
    };
    let part = |one: &Value| {
        let id = one["connection_id"].as_str()?.to_owned();
        let revision = wanted["revision"].as_u64().or_else(|| one["revision"].as_u64())?;
        Some((id, revision))
    };
    Ok(one.as_ref().and_then(part))
}

/// The connection with that id; ids are given by the service, so that none is made by a slip.
fn of_id(client: &Client, project: &str, id: &str) -> Result<Value, CliError> {
    let mend =
        "without connection_id in the file, the one of its name is edited or a new one is made";
    let found = client.get(&["projects", project, "connections", id], &[]);
    if let Err(CliError::NotFound(said)) = found {
        return Err(CliError::NotFound(format!("{said}: {id}; {mend}")));
    }
    found
}

fn read(file: &Path) -> Result<Value, CliError> {
    let shown = file.display();
    let mut text = String::new();
    let is_read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    is_read
        .map_err(|error| CliError::of_file(&format!("{shown} cannot be read: {error}"), &error))?;
    // Not serde's own words: they may show a part of the file, and with it a secret.
    serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        CliError::Failed(format!("{shown} is no JSON: see line {line} column {column}"))
    })
}
