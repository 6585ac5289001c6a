//! Reads a connection from a record of the connections topic.
//!
//! Checks every rule of the contract's section 2, so that nobody behind it has to, and lists all faults of a record
//! at once. It never shows a secret and never decides what an unreadable record means: that is the table's part. The
//! connections' reader calls it, and whoever wants to know whether a record would be taken.

mod auth;
pub mod encode;
pub mod reseal;

use std::borrow::Cow;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Object, SECONDS_END, connection_key, excerpt, json_fault, project, text, whole_number,
};
use crate::engine::address::{AddressRule, Endpoint};
use crate::engine::catalog::{Catalog, NameSet, Names};
use crate::engine::connection::{
    Connection, ConnectionKey, DeliveryConfig, Fault, Filter, Limits, Notes, OwnLimits, Refusal,
    Status,
};
use crate::engine::time::Timestamp;
use crate::secrets::{Binding, SharedKeyring};

/// The only version of the format.
const SCHEMA: u64 = 1;
/// What fits a line of the console.
const MAX_NAME_CHARS: usize = 100;
/// The contract's bounds of each limit.
const MAX_RATE: u32 = 10_000;
const MAX_BURST: u32 = 10_000;
const MAX_IN_FLIGHT: u32 = 500;
const MAX_TIMEOUT_SECONDS: u32 = 30;

/// The section `[connections]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionsConfig {
    /// Whether connections whose secrets are plain strings are taken: `accept` or `reject`.
    pub plaintext_secrets: PlaintextSecrets,
}

/// What is done with a secret that another system wrote as a plain string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaintextSecrets {
    /// It is used.
    #[default]
    Accept,
    /// The connection is unreadable.
    Reject,
}

/// What a record says of a connection.
#[derive(Debug)]
pub enum Change {
    /// This is it now.
    Put(Connection),
    /// It is no more.
    Delete(ConnectionKey),
    /// It exists, but its record breaks rules.
    Unreadable {
        /// Which one it is.
        key: ConnectionKey,
        /// Why.
        refusal: Refusal,
        /// Whether a sealed secret that does not open is among its faults: with another keyring it may.
        waits_for_key: bool,
    },
    /// The record's key names no connection; what is wrong, for the log.
    BadKey(String),
}

/// The rules on a connection's record.
#[derive(Clone, Debug)]
pub struct ConnectionDecoder {
    /// Which names can be wanted.
    pub catalog: Arc<Catalog>,
    /// Which URLs may be called.
    pub rule: AddressRule,
    /// Limits where a record has none.
    pub defaults: DeliveryConfig,
    /// Whether secrets may be plain strings.
    pub plaintext: PlaintextSecrets,
    /// The topic that the records are read from: a sealed secret opens there alone.
    pub topic: Box<str>,
    /// Opens sealed secrets, where there is one.
    pub keyring: Option<SharedKeyring>,
}

impl ConnectionDecoder {
    /// Reads a record. A null value deletes.
    #[must_use]
    pub fn decode(&self, key: &[u8], value: Option<&[u8]>) -> Change {
        let Some(key) = connection_key(key) else {
            let shown = excerpt(&String::from_utf8_lossy(key));
            return Change::BadKey(format!("`{shown}` is not <project_id>/<connection_id>"));
        };
        let Some(value) = value else {
            return Change::Delete(key);
        };
        let fields = match parse(value) {
            Ok(fields) => fields,
            Err(fault) => {
                let faults = Box::new([Fault::new("", fault)]);
                let refusal = Refusal::of(Filter::EVERYTHING, faults);
                return Change::Unreadable { key, refusal, waits_for_key: false };
            }
        };
        let mut faults = Faults::default();
        let events = faults.keep("events", names(fields.events, &self.catalog.events));
        let channels = faults.keep("channels", names(fields.channels, &self.catalog.channels));
        let filter = Filter {
            events: events.unwrap_or(NameSet::ALL),
            channels: channels.unwrap_or(NameSet::ALL),
        };
        match self.check(&key, filter, &fields, &mut faults) {
            Some(connection) if faults.list.is_empty() => Change::Put(connection),
            Some(_) | None => {
                let revision = number(fields.revision).ok();
                let waits_for_key = faults.waits_for_key;
                let refusal = Refusal { filter, revision, faults: faults.list.into() };
                Change::Unreadable { key, refusal, waits_for_key }
            }
        }
    }

    /// Where a connection's secret belongs.
    #[must_use]
    pub fn binding<'a>(&'a self, key: &'a ConnectionKey, endpoint: &'a Endpoint) -> Binding<'a> {
        Binding {
            topic: &self.topic,
            project: key.project(),
            connection: key.connection(),
            origin: endpoint.origin(),
        }
    }

    /// Looks at every field, whatever is wrong with the others.
    fn check(
        &self,
        key: &ConnectionKey,
        filter: Filter,
        fields: &Fields<'_>,
        faults: &mut Faults,
    ) -> Option<Connection> {
        faults.keep("schema", schema(fields.schema));
        faults.keep("project_id", same(fields.project_id.and_then(project), key.project()));
        faults.keep("connection_id", same(fields.connection_id.and_then(text), key.connection()));
        let revision = faults.keep("revision", number(fields.revision));
        let name = faults.keep("name", name(fields.name));
        let status = faults.keep("status", status(fields.status));
        let endpoint = faults.keep("url", required(fields.url)).and_then(|url| {
            let checked = self.rule.check_url(&url).map(Arc::new);
            faults.keep("url", checked)
        });
        let binding = endpoint.as_deref().map(|endpoint| self.binding(key, endpoint));
        let keyring = self.keyring.as_ref().map(SharedKeyring::current);
        let secrets =
            auth::Secrets { plaintext: self.plaintext, keyring: keyring.as_deref(), binding };
        let (auth, secret_set_at) = auth::check(fields.auth, &secrets, faults);
        let own_limits = own_limits(fields.delivery, faults);
        let created_at = faults.keep("created_at", created_at(fields.created_at));
        let notes = Notes {
            updated_at: fields.updated_at.and_then(seconds),
            updated_by: fields.updated_by.and_then(text).map(|text| excerpt(&text).into()),
            secret_set_at,
            own_limits,
        };
        Some(Connection {
            key: key.clone(),
            revision: revision?,
            name: name?,
            status: status?,
            endpoint: endpoint?,
            auth: auth?,
            filter,
            limits: own_limits.over(default_limits(&self.defaults)),
            created_at: created_at?,
            notes,
        })
    }
}

fn own_limits(raw: Option<&RawValue>, faults: &mut Faults) -> OwnLimits {
    let Some(fields) = faults.object::<LimitFields<'_>>("delivery", raw) else {
        return OwnLimits::default();
    };
    let mut limit = |name: &str, raw: Option<&RawValue>, max: u32| {
        faults.keep(&format!("delivery.{name}"), raw.map(|raw| bounded(raw, max)).transpose())?
    };
    OwnLimits {
        rate_per_second: limit("rate_per_second", fields.rate_per_second, MAX_RATE),
        burst: limit("burst", fields.burst, MAX_BURST),
        max_in_flight: limit("max_in_flight", fields.max_in_flight, MAX_IN_FLIGHT),
        timeout_seconds: limit("timeout_seconds", fields.timeout_seconds, MAX_TIMEOUT_SECONDS),
        max_age_seconds: limit("max_age_seconds", fields.max_age_seconds, u32::MAX),
    }
}

/// The limits of a connection that says nothing of them; a default out of bounds counts as the nearest bound.
#[must_use]
pub fn default_limits(config: &DeliveryConfig) -> Limits {
    let within = |value: u32, max: u32| NonZeroU32::new(value.min(max)).unwrap_or(NonZeroU32::MIN);
    let timeout_seconds = within(config.timeout_seconds, MAX_TIMEOUT_SECONDS);
    Limits {
        rate_per_second: within(config.rate_per_second, MAX_RATE),
        burst: within(config.burst, MAX_BURST),
        max_in_flight: within(config.max_in_flight, MAX_IN_FLIGHT),
        timeout: Duration::from_secs(timeout_seconds.get().into()),
        max_age: None,
    }
}

/// The keys that are known, not yet looked at: so a fault in one does not hide those in others.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    #[serde(borrow)]
    project_id: Option<&'a RawValue>,
    #[serde(borrow)]
    connection_id: Option<&'a RawValue>,
    #[serde(borrow)]
    revision: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    auth: Option<&'a RawValue>,
    #[serde(borrow)]
    events: Option<&'a RawValue>,
    #[serde(borrow)]
    channels: Option<&'a RawValue>,
    #[serde(borrow)]
    delivery: Option<&'a RawValue>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    updated_at: Option<&'a RawValue>,
    #[serde(borrow)]
    updated_by: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct LimitFields<'a> {
    #[serde(borrow)]
    rate_per_second: Option<&'a RawValue>,
    #[serde(borrow)]
    burst: Option<&'a RawValue>,
    #[serde(borrow)]
    max_in_flight: Option<&'a RawValue>,
    #[serde(borrow)]
    timeout_seconds: Option<&'a RawValue>,
    #[serde(borrow)]
    max_age_seconds: Option<&'a RawValue>,
}

/// All that is wrong with a record.
#[derive(Default)]
struct Faults {
    list: Vec<Fault>,
    /// One of them is a sealed secret that does not open.
    waits_for_key: bool,
}

impl Faults {
    fn note(&mut self, field: &str, fault: impl Display) {
        self.list.push(Fault::new(field, fault));
    }

    fn keep<T>(&mut self, field: &str, checked: Result<T, impl Display>) -> Option<T> {
        checked.map_err(|fault| self.note(field, fault)).ok()
    }

    /// The fields of an inner object; `None` also where there is no such object.
    fn object<'a, T: Deserialize<'a>>(
        &mut self,
        field: &str,
        raw: Option<&'a RawValue>,
    ) -> Option<T> {
        let parsed = serde_json::from_str::<Object<T>>(raw?.get());
        self.keep(field, parsed.map(|Object(fields)| fields).map_err(|error| json_fault(&error)))
    }
}

fn parse(value: &[u8]) -> Result<Fields<'_>, String> {
    let json = std::str::from_utf8(value).map_err(|error| format!("not UTF-8: {error}"))?;
    let parsed = serde_json::from_str(json);
    parsed.map(|Object(fields)| fields).map_err(|error| json_fault(&error))
}

fn required(raw: Option<&RawValue>) -> Result<Cow<'_, str>, &'static str> {
    text(raw.ok_or("is missing")?).ok_or("must be a text")
}

fn number(raw: Option<&RawValue>) -> Result<u64, &'static str> {
    whole_number(raw.ok_or("is missing")?).ok_or("must be a whole number")
}

fn schema(raw: Option<&RawValue>) -> Result<(), String> {
    let is_known = raw.is_none_or(|raw| whole_number(raw) == Some(SCHEMA));
    if is_known { Ok(()) } else { Err(format!("only {SCHEMA} is known to this version")) }
}

fn same(found: Option<Cow<'_, str>>, in_key: &str) -> Result<(), String> {
    let agrees = found.is_some_and(|found| found == in_key);
    if agrees { Ok(()) } else { Err("must be there and agree with the record's key".to_owned()) }
}

fn name(raw: Option<&RawValue>) -> Result<Box<str>, String> {
    let name = required(raw)?;
    let name = name.trim();
    let is_name =
        (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if is_name {
        return Ok(name.into());
    }
    Err(format!("must have 1-{MAX_NAME_CHARS} characters, without control characters"))
}

fn status(raw: Option<&RawValue>) -> Result<Status, &'static str> {
    match &*required(raw)? {
        "active" => Ok(Status::Active),
        "inactive" => Ok(Status::Inactive),
        _ => Err("must be active or inactive"),
    }
}

/// A non-empty list of names of the catalog, or of their aliases.
fn names(raw: Option<&RawValue>, names: &Names) -> Result<NameSet, String> {
    let json = raw.ok_or("is missing")?.get();
    let list: Vec<Cow<'_, str>> =
        serde_json::from_str(json).map_err(|_| "must be a list of names")?;
    let unknown: Vec<_> =
        list.iter().filter(|name| names.find(name).is_none()).map(|name| excerpt(name)).collect();
    if !unknown.is_empty() {
        return Err(format!("the catalog has no `{}`", unknown.join("`, `")));
    }
    let set: NameSet = list.iter().filter_map(|name| names.find(name)).collect();
    if set.is_empty() { Err("must not be empty".to_owned()) } else { Ok(set) }
}

fn created_at(raw: Option<&RawValue>) -> Result<Timestamp, &'static str> {
    let Some(raw) = raw else { return Ok(Timestamp::EPOCH) };
    seconds(raw).ok_or("must be an integer of UNIX seconds")
}

fn seconds(raw: &RawValue) -> Option<Timestamp> {
    let secs = whole_number(raw).filter(|secs| *secs < SECONDS_END);
    secs.map(Timestamp::from_secs)
}

fn bounded(raw: &RawValue, max: u32) -> Result<NonZeroU32, String> {
    let value = whole_number(raw).and_then(|value| u32::try_from(value).ok());
    let bounded = value.filter(|value| *value <= max).and_then(NonZeroU32::new);
    bounded.ok_or_else(|| format!("must be a whole number from 1 to {max}"))
}

#[cfg(test)]
mod tests;
