//! Writes the record of a connection: the other direction of [`super::ConnectionDecoder`].
//!
//! Decides the record's shape and nothing else; how a secret is put into it is the caller's part. The admin API calls
//! it, to write records and to compare connections.

use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::SCHEMA;
use crate::engine::catalog::Catalog;
use crate::engine::connection::{Auth, Connection, OwnLimits, Status};
use crate::engine::time::Timestamp;

/// The record's value. `secret` makes of a secret what is to stand in its place.
#[must_use]
pub fn encode(
    connection: &Connection,
    catalog: &Catalog,
    secret: impl FnOnce(&SecretString) -> Value,
) -> Value {
    let Connection { key, filter, notes, .. } = connection;
    let events: Vec<_> = catalog.events.of(filter.events).collect();
    let channels: Vec<_> = catalog.channels.of(filter.channels).collect();
    let mut record = json!({
        "schema": SCHEMA,
        "project_id": key.project(),
        "connection_id": key.connection(),
        "revision": connection.revision,
        "name": connection.name,
        "status": status(connection.status),
        "url": connection.endpoint.as_str(),
        "auth": auth(&connection.auth, notes.secret_set_at, secret),
        "events": events,
        "channels": channels,
    });
    let delivery = limits(&notes.own_limits);
    let times = [
        ("created_at", Some(connection.created_at).filter(|&time| time != Timestamp::EPOCH)),
        ("updated_at", notes.updated_at),
    ];
    if let Some(fields) = record.as_object_mut() {
        if !delivery.is_empty() {
            fields.insert("delivery".to_owned(), Value::Object(delivery));
        }
        for (name, time) in times {
            if let Some(time) = time {
                fields.insert(name.to_owned(), json!(time.as_secs()));
            }
        }
        if let Some(author) = &notes.updated_by {
            fields.insert("updated_by".to_owned(), json!(author));
        }
    }
    record
}

/// The contract's word.
#[must_use]
pub const fn status(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Inactive => "inactive",
    }
}

/// The limits that a connection sets itself, by their names.
#[must_use]
pub fn limits(own: &OwnLimits) -> Map<String, Value> {
    let named = [
        ("rate_per_second", own.rate_per_second),
        ("burst", own.burst),
        ("max_in_flight", own.max_in_flight),
        ("timeout_seconds", own.timeout_seconds),
        ("max_age_seconds", own.max_age_seconds),
    ];
    named
        .into_iter()
        .filter_map(|(name, limit)| Some((name.to_owned(), json!(limit?.get()))))
        .collect()
}

fn auth(
    auth: &Auth,
    secret_set_at: Option<Timestamp>,
    secret: impl FnOnce(&SecretString) -> Value,
) -> Value {
    let mut fields = match auth {
        Auth::Basic { username, password } => {
            json!({"type": "basic", "username": username, "password": secret(password)})
        }
        Auth::Bearer { token } => json!({"type": "bearer", "token": secret(token)}),
    };
    if let Some(time) = secret_set_at {
        fields["secret_set_at"] = json!(time.as_secs());
    }
    fields
}
