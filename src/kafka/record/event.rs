//! Reads an event from a record of the events topic.
//!
//! Decides whether a record is an event, is nobody's business or is malformed, and never copies what it reads: only
//! an event that somebody wants is made into an owned one by [`to_event`]. It knows nothing of connections. The
//! consumer calls it for each record, and [`super::delivery`] for each that comes back from a tier.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Object, SECONDS_END, excerpt, json_fault, project, text, whole_number};
use crate::engine::catalog::Catalog;
use crate::engine::delivery::DeadLetterReason;
use crate::engine::event::{Event, EventFields, EventId, Origin, Properties, Record};
use crate::engine::payload::{PayloadConfig, render_body};

/// Objects and arrays may stand so deep in each other; an event as documented has two levels.
const MAX_DEPTH: usize = 64;

/// What a record of the events topic is.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// An event.
    Event(EventFields<'a>),
    /// Nothing that anybody can have subscribed to.
    Skip(SkipReason),
    /// Not what the contract says: a dead letter with that reason, and what is wrong for the log.
    Malformed(DeadLetterReason, String),
}

/// Why a record is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// It has no value.
    NullValue,
    /// It belongs to a journey.
    MultiStage,
    /// The catalog does not have its event; the beginning of the name is for the log.
    UnknownEvent(String),
    /// The catalog does not have its channel; the beginning of the name is for the log.
    UnknownChannel(String),
}

impl SkipReason {
    /// Every label of [`Self::as_str`].
    pub const NAMES: [&str; 4] = ["null_value", "multi_stage", "unknown_event", "unknown_channel"];

    /// The label of `events_skipped_total{reason}`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NullValue => "null_value",
            Self::MultiStage => "multi_stage",
            Self::UnknownEvent(_) => "unknown_event",
            Self::UnknownChannel(_) => "unknown_channel",
        }
    }
}

/// Reads a record's value. `max_bytes` is the largest that is looked at.
#[must_use]
pub fn decode<'a>(value: Option<&'a [u8]>, catalog: &Catalog, max_bytes: u32) -> Decoded<'a> {
    let Some(value) = value else {
        return Decoded::Skip(SkipReason::NullValue);
    };
    if value.len() > usize::try_from(max_bytes).unwrap_or(usize::MAX) {
        let fault = format!("{} bytes; at most {max_bytes} are allowed", value.len());
        return Decoded::Malformed(DeadLetterReason::TooLarge, fault);
    }
    match parse(value).and_then(|envelope| check(&envelope)) {
        Ok(checked) => resolve(checked, catalog),
        Err(fault) => Decoded::Malformed(DeadLetterReason::MalformedEvent, fault),
    }
}

/// The producer's id where there is one, else that of the record's place. An empty text is no id: receivers would
/// take all events for one.
#[must_use]
pub fn event_id(fields: &EventFields<'_>, origin: &Origin) -> EventId {
    match fields.event_id.as_deref() {
        None | Some("") => EventId::from_origin(&origin.topic, origin.partition, origin.offset),
        Some(id) => EventId::from_text(id),
    }
}

/// Makes an event that somebody wants. `record` is the copy of the record that `fields` were read from.
#[must_use]
pub fn to_event(
    fields: &EventFields<'_>,
    id: EventId,
    record: Record,
    catalog: &Catalog,
    config: &PayloadConfig,
) -> Event {
    let value = std::str::from_utf8(&record.value).unwrap_or_default();
    let body = render_body(fields, value, catalog, config);
    Event { id, event: fields.event, channel: fields.channel, body, record }
}

/// The documented keys of an event, not yet looked at; all others are passed over.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    project_id: &'a RawValue,
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(borrow)]
    time: &'a RawValue,
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    campaign_stage: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Object<RawProperties<'a>>,
}

#[derive(Deserialize)]
struct RawProperties<'a> {
    #[serde(borrow)]
    message_type: &'a RawValue,
    #[serde(borrow)]
    campaign_id: &'a RawValue,
    #[serde(borrow)]
    profile_id: &'a RawValue,
    #[serde(borrow)]
    device_id: Option<&'a RawValue>,
    #[serde(borrow)]
    trigger_id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    email: Option<&'a RawValue>,
    #[serde(borrow)]
    error_message: Option<&'a RawValue>,
    #[serde(borrow)]
    external_message_id: Option<&'a RawValue>,
}

/// An event whose types are right and whose names are not yet known to be names.
struct Checked<'a> {
    project: Cow<'a, str>,
    event: Cow<'a, str>,
    channel: Cow<'a, str>,
    time: u64,
    event_id: Option<Cow<'a, str>>,
    stage: Stage,
    properties: Properties<'a>,
}

enum Stage {
    Single,
    Multi,
}

fn parse(value: &[u8]) -> Result<Envelope<'_>, String> {
    let json = std::str::from_utf8(value).map_err(|error| format!("not UTF-8: {error}"))?;
    if is_too_deep(json.as_bytes()) {
        return Err(format!("nested deeper than {MAX_DEPTH} levels"));
    }
    let parsed = serde_json::from_str(json);
    parsed.map(|Object(envelope)| envelope).map_err(|error| json_fault(&error))
}

/// Whether the nesting goes deeper than [`MAX_DEPTH`]. Few events have so many brackets at all; only those are scanned.
fn is_too_deep(json: &[u8]) -> bool {
    if memchr::memchr2_iter(b'{', b'[', json).nth(MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' if depth == MAX_DEPTH => return true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn check<'a>(envelope: &Envelope<'a>) -> Result<Checked<'a>, String> {
    let required =
        |name: &str, found: Option<Cow<'a, str>>| found.ok_or_else(|| format!("{name}: no text"));
    let properties = &envelope.properties.0;
    Ok(Checked {
        project: project(envelope.project_id)
            .ok_or("project_id: neither an integer nor a text without `/`")?,
        event: required("event", text(envelope.event))?,
        channel: required("message_type", text(properties.message_type))?,
        time: whole_number(envelope.time)
            .filter(|time| (1..SECONDS_END).contains(time))
            .ok_or("time: not an integer of UNIX seconds")?,
        event_id: match envelope.event_id {
            None => None,
            Some(raw) => Some(required("event_id", text(raw))?),
        },
        stage: stage(envelope.campaign_stage)?,
        properties: check_properties(properties)?,
    })
}

fn stage(raw: Option<&RawValue>) -> Result<Stage, String> {
    let Some(raw) = raw else { return Ok(Stage::Single) };
    match text(raw).as_deref() {
        Some("single") => Ok(Stage::Single),
        Some("multi") => Ok(Stage::Multi),
        Some(_) | None => Err("campaign_stage: neither single nor multi".to_owned()),
    }
}

fn check_properties<'a>(raw: &RawProperties<'a>) -> Result<Properties<'a>, String> {
    Ok(Properties {
        campaign_id: id("campaign_id", raw.campaign_id)?,
        profile_id: id("profile_id", raw.profile_id)?,
        device_id: optional("device_id", raw.device_id, id)?,
        trigger_id: optional("trigger_id", raw.trigger_id, id)?,
        user_id: optional("user_id", raw.user_id, id)?,
        email: optional("email", raw.email, string)?,
        error_message: optional("error_message", raw.error_message, string)?,
        external_message_id: optional("external_message_id", raw.external_message_id, id)?,
    })
}

type Check<'a> = fn(&str, &'a RawValue) -> Result<&'a RawValue, String>;

fn optional<'a>(
    name: &str,
    raw: Option<&'a RawValue>,
    check: Check<'a>,
) -> Result<Option<&'a RawValue>, String> {
    raw.map(|raw| check(name, raw)).transpose()
}

fn id<'a>(name: &str, raw: &'a RawValue) -> Result<&'a RawValue, String> {
    let json = raw.get();
    let digits = json.strip_prefix('-').unwrap_or(json);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_id = json.starts_with('"') || is_integer;
    if is_id { Ok(raw) } else { Err(format!("{name}: neither an integer nor a text")) }
}

fn string<'a>(name: &str, raw: &'a RawValue) -> Result<&'a RawValue, String> {
    if raw.get().starts_with('"') { Ok(raw) } else { Err(format!("{name}: no text")) }
}

fn resolve<'a>(checked: Checked<'a>, catalog: &Catalog) -> Decoded<'a> {
    match checked.stage {
        Stage::Single => {}
        Stage::Multi => return Decoded::Skip(SkipReason::MultiStage),
    }
    let Some(event) = catalog.events.find(&checked.event) else {
        return Decoded::Skip(SkipReason::UnknownEvent(excerpt(&checked.event)));
    };
    let Some(channel) = catalog.channels.find(&checked.channel) else {
        return Decoded::Skip(SkipReason::UnknownChannel(excerpt(&checked.channel)));
    };
    Decoded::Event(EventFields {
        project: checked.project,
        event,
        channel,
        time: checked.time,
        event_id: checked.event_id,
        properties: checked.properties,
    })
}

#[cfg(test)]
mod tests;
