//! What a user has written of a connection, and the connection that comes of it.
//!
//! Checks nothing itself that the record's decoder checks: the draft is put into a record, and the decoder says what is
//! wrong with it. Its own are only the rules on what is *not* in a record: unknown keys, and secrets that are left out.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use crate::engine::catalog::Catalog;
use crate::engine::connection::{Auth, Connection, ConnectionKey, Fault};
use crate::engine::time::Timestamp;
use crate::kafka::connections::PlaintextSecrets;
use crate::kafka::record::connection::encode::{encode, status};
use crate::kafka::record::connection::{Change, ConnectionDecoder};

/// What a user may write.
const FIELDS: [&str; 7] = ["name", "status", "url", "auth", "events", "channels", "delivery"];
/// What an answer shows beside that: taken back and left alone, so that what was read can be sent again.
const SHOWN: [&str; 11] = [
    "schema",
    "project_id",
    "connection_id",
    "revision",
    "effective_status",
    "reason",
    "created_at",
    "updated_at",
    "updated_by",
    "faults",
    "limits",
];
/// The same within `auth`.
const AUTH_FIELDS: [&str; 4] = ["type", "username", "password", "token"];
const AUTH_SHOWN: [&str; 2] = ["has_secret", "secret_set_at"];
/// Within `delivery`.
const DELIVERY_FIELDS: [&str; 5] =
    ["rate_per_second", "burst", "max_in_flight", "timeout_seconds", "max_age_seconds"];
/// How much of an unknown field's name is shown.
const MAX_SHOWN_CHARS: usize = 64;
/// What every change changes.
const ALWAYS_NEW: [&str; 4] = ["revision", "updated_at", "updated_by", "auth.secret_set_at"];

/// A connection as a user has written it. Its secrets are not printed.
pub struct Draft(Map<String, Value>);

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Draft").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}

/// What stands already.
pub(super) struct Base<'a> {
    pub(super) key: &'a ConnectionKey,
    /// The revision that is to be.
    pub(super) revision: u64,
    pub(super) created_at: Timestamp,
    /// What is in force.
    pub(super) known: Option<&'a Connection>,
    pub(super) author: &'a str,
    pub(super) now: Timestamp,
}

/// A connection that may be written, and what is new in it.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) connection: Connection,
    pub(super) changed: Vec<String>,
}

impl Draft {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// Why it is none, without showing it.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err("the body must be a JSON object".to_owned()),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                Err(format!("the body is no JSON: see line {line} column {column}"))
            }
        }
    }

    /// The connection that comes of it.
    pub(super) fn compose(
        &self,
        base: &Base<'_>,
        decoder: &ConnectionDecoder,
    ) -> Result<Composed, Vec<Fault>> {
        let mut faults = self.unknown_keys();
        let secret = self.secret(base, decoder, &mut faults);
        let record = self.record(base, &secret);
        let key = base.key.as_str().as_bytes();
        // Whether secrets may be stored in clear text is asked when they are.
        let decoder = ConnectionDecoder { plaintext: PlaintextSecrets::Accept, ..decoder.clone() };
        match decoder.decode(key, Some(record.to_string().as_bytes())) {
            Change::Put(connection) if faults.is_empty() => {
                let changed = changes(base.known, &connection, &secret, &decoder.catalog);
                Ok(Composed { connection, changed })
            }
            Change::Put(_) => Err(faults),
            Change::Unreadable { refusal, .. } => {
                faults.extend(refusal.faults);
                Err(faults)
            }
            Change::Delete(_) | Change::BadKey(_) => {
                faults.push(Fault::new("project_id", "is no project's id"));
                Err(faults)
            }
        }
    }

    fn unknown_keys(&self) -> Vec<Fault> {
        let inner = |name: &str| self.0.get(name).and_then(Value::as_object);
        let mut faults = unknown_in("", Some(&self.0), &FIELDS, &SHOWN);
        faults.extend(unknown_in("auth.", inner("auth"), &AUTH_FIELDS, &AUTH_SHOWN));
        faults.extend(unknown_in("delivery.", inner("delivery"), &DELIVERY_FIELDS, &[]));
        faults
    }

    /// The secret that is to be: the one that was entered, or the one that stands already.
    fn secret(
        &self,
        base: &Base<'_>,
        decoder: &ConnectionDecoder,
        faults: &mut Vec<Fault>,
    ) -> Secret {
        let auth = self.0.get("auth");
        let text = |name: &str| auth.and_then(|auth| auth.get(name));
        let (field, stored) = match text("type").and_then(Value::as_str) {
            Some("basic") => ("password", base.known.and_then(stored_password)),
            Some("bearer") => ("token", base.known.and_then(stored_token)),
            Some(_) | None => return Secret::None,
        };
        match text(field) {
            Some(Value::String(entered)) if !entered.is_empty() => {
                Secret::Entered(field, entered.clone().into())
            }
            None | Some(Value::Null | Value::String(_)) => {
                let Some(stored) = stored else { return Secret::None };
                if self.leads_elsewhere(base, decoder) {
                    let text = "the URL leads to another host or port now: enter the secret again, so that it is \
                                not sent there by mistake";
                    faults.push(Fault::new(&format!("auth.{field}"), text));
                }
                Secret::Kept(field, stored)
            }
            Some(_) => {
                faults.push(Fault::new(&format!("auth.{field}"), "must be a text"));
                // Something in its place, so that it is not a fault twice.
                Secret::Kept(field, "x".to_owned().into())
            }
        }
    }

    /// Whether the URL's origin is not that of the connection in force.
    fn leads_elsewhere(&self, base: &Base<'_>, decoder: &ConnectionDecoder) -> bool {
        let url = self.0.get("url").and_then(Value::as_str).unwrap_or_default();
        let endpoint = decoder.rule.check_url(url);
        let (Some(known), Ok(endpoint)) = (base.known, endpoint) else { return false };
        known.endpoint.origin() != endpoint.origin()
    }

    fn record(&self, base: &Base<'_>, secret: &Secret) -> Value {
        let mut record: Map<String, Value> = FIELDS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.0.get(*name)?.clone())))
            .collect();
        let now = base.now.as_secs();
        if let Some(auth) = record.get_mut("auth").and_then(Value::as_object_mut) {
            let kept = base.known.and_then(|known| known.notes.secret_set_at);
            let (found, set_at) = match secret {
                Secret::None => (None, None),
                Secret::Kept(field, secret) => {
                    (Some((field, secret)), kept.map(Timestamp::as_secs))
                }
                Secret::Entered(field, secret) => (Some((field, secret)), Some(now)),
            };
            if let Some((field, secret)) = found {
                auth.insert((*field).to_owned(), json!(secret.expose_secret()));
            }
            auth.insert("secret_set_at".to_owned(), json!(set_at));
        }
        let known = base.known.map_or("active", |known| status(known.status));
        record.entry("status").or_insert_with(|| json!(known));
        record.insert("project_id".to_owned(), json!(base.key.project()));
        record.insert("connection_id".to_owned(), json!(base.key.connection()));
        record.insert("revision".to_owned(), json!(base.revision));
        record.insert("updated_at".to_owned(), json!(now));
        record.insert("updated_by".to_owned(), json!(base.author));
        if base.created_at != Timestamp::EPOCH {
            record.insert("created_at".to_owned(), json!(base.created_at.as_secs()));
        }
        Value::Object(record)
    }
}

fn unknown_in(
    prefix: &str,
    fields: Option<&Map<String, Value>>,
    known: &[&str],
    shown: &[&str],
) -> Vec<Fault> {
    let is_known =
        |name: &&String| known.contains(&name.as_str()) || shown.contains(&name.as_str());
    let fault = |name: &String| {
        let name: String = name.chars().take(MAX_SHOWN_CHARS).collect();
        let text = format!("there is no such field; known are {}", known.join(", "));
        Fault::new(&format!("{prefix}{name}"), text)
    };
    fields.into_iter().flat_map(Map::keys).filter(|name| !is_known(name)).map(fault).collect()
}

/// The secret of a draft, with its field's name.
enum Secret {
    None,
    Kept(&'static str, SecretString),
    Entered(&'static str, SecretString),
}

fn stored_password(known: &Connection) -> Option<SecretString> {
    match &known.auth {
        Auth::Basic { password, .. } => Some(password.clone()),
        Auth::Bearer { .. } => None,
    }
}

fn stored_token(known: &Connection) -> Option<SecretString> {
    match &known.auth {
        Auth::Bearer { token } => Some(token.clone()),
        Auth::Basic { .. } => None,
    }
}

/// The fields that differ, without their values.
fn changes(
    known: Option<&Connection>,
    new: &Connection,
    secret: &Secret,
    catalog: &Catalog,
) -> Vec<String> {
    let leaves = |connection: &Connection| {
        let mut leaves = BTreeMap::new();
        collect("", encode(connection, catalog, |_| Value::Null), &mut leaves);
        leaves
    };
    let before = known.map(leaves).unwrap_or_default();
    let after = leaves(new);
    let mut changed: Vec<String> = before
        .keys()
        .chain(after.keys().filter(|field| !before.contains_key(*field)))
        .filter(|field| before.get(*field) != after.get(*field))
        .filter(|field| !ALWAYS_NEW.contains(&field.as_str()))
        .cloned()
        .collect();
    if let Secret::Entered(field, _) = secret {
        changed.retain(|name| *name != format!("auth.{field}"));
        changed.push(format!("auth.{field}"));
    }
    changed.sort();
    changed
}

fn collect(prefix: &str, value: Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                collect(&path, value, leaves);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            leaves.insert(prefix.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests;
