//! What is sent: the request's body and its headers, as bytes.
//!
//! The body is rendered once for each event that somebody wants. Identifiers are passed on byte for byte, with the
//! type they came with. Secrets are exposed here alone, and only into header values marked sensitive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use super::catalog::{Catalog, FAILURE_EVENT};
use super::connection::Auth;
use super::event::{EventFields, EventId};
use super::time::Timestamp;

/// The event's id: the same on every attempt, for the receiver to recognise repeats (Standard Webhooks).
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
/// Seconds since the epoch, of this attempt (Standard Webhooks).
pub const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Which attempt this is, from 1.
pub const WEBHOOK_ATTEMPT: HeaderName = HeaderName::from_static("webhook-attempt");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("barnabas/", env!("CARGO_PKG_VERSION")));

/// A body is about as long as its event and these names.
const BODY_OVERHEAD_BYTES: usize = 256;

/// The section `[payload]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PayloadConfig {
    /// Names of further `properties` that are passed on after the documented ones, where an event has them.
    pub extra_properties: Vec<String>,
    /// The largest event, in bytes; a larger one is a dead letter `too_large`.
    pub max_event_bytes: u32,
}

impl Default for PayloadConfig {
    fn default() -> Self {
        Self { extra_properties: Vec::new(), max_event_bytes: 1_048_576 }
    }
}

/// Renders the body: exactly the three keys of the documented format.
///
/// `value` is the event's own text, read again only when `extra_properties` are configured.
#[must_use]
pub fn render_body(
    fields: &EventFields<'_>,
    value: &str,
    catalog: &Catalog,
    config: &PayloadConfig,
) -> Bytes {
    let event = catalog.events.name(fields.event);
    let mut body = String::with_capacity(value.len() + BODY_OVERHEAD_BYTES);
    body.push_str("{\"event\":\"");
    body.push_str(event);
    body.push_str("\",\"time\":");
    body.push_str(&fields.time.to_string());
    body.push_str(",\"properties\":{\"message_type\":\"");
    body.push_str(catalog.channels.name(fields.channel));
    body.push('"');
    let properties = &fields.properties;
    push(&mut body, "campaign_id", Some(properties.campaign_id));
    push(&mut body, "profile_id", Some(properties.profile_id));
    push(&mut body, "device_id", properties.device_id);
    push(&mut body, "trigger_id", properties.trigger_id);
    push(&mut body, "user_id", properties.user_id);
    push(&mut body, "email", properties.email);
    if event == FAILURE_EVENT {
        push(&mut body, "error_message", properties.error_message);
    }
    if properties.external_message_id.is_some() {
        push(&mut body, "external_message_id", properties.external_message_id);
    }
    if !config.extra_properties.is_empty() {
        push_extra(&mut body, value, &config.extra_properties);
    }
    body.push_str("}}");
    Bytes::from(body)
}

fn push(body: &mut String, name: &str, value: Option<&RawValue>) {
    body.push_str(",\"");
    body.push_str(name);
    body.push_str("\":");
    body.push_str(value.map_or("null", RawValue::get));
}

/// Properties that an operator asked for; names are checked by the configuration to be plain.
fn push_extra(body: &mut String, value: &str, names: &[String]) {
    #[derive(Deserialize)]
    struct Extra<'a> {
        #[serde(borrow)]
        properties: BTreeMap<String, &'a RawValue>,
    }
    let Ok(extra) = serde_json::from_str::<Extra<'_>>(value) else { return };
    for name in names {
        if let Some(raw) = extra.properties.get(name) {
            push(body, name, Some(raw));
        }
    }
}

/// A request's header fields, each name once, in the order in which they are sent. There are so few that a map would cost
/// more than it finds.
pub type RequestHeaders = Vec<(HeaderName, HeaderValue)>;

/// Renders all headers but `Host` and `Content-Length`, which the client knows.
#[must_use]
pub fn render_headers(
    id: &EventId,
    attempt: u32,
    wall_clock: Timestamp,
    auth: &Auth,
) -> RequestHeaders {
    vec![
        (CONTENT_TYPE, JSON),
        (USER_AGENT, AGENT),
        (AUTHORIZATION, authorization(auth)),
        (WEBHOOK_ID, text(id.as_str())),
        (WEBHOOK_TIMESTAMP, HeaderValue::from(wall_clock.as_secs())),
        (WEBHOOK_ATTEMPT, HeaderValue::from(attempt)),
    ]
}

fn authorization(auth: &Auth) -> HeaderValue {
    let rendered = match auth {
        Auth::Basic { username, password } => {
            format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose_secret())))
        }
        Auth::Bearer { token } => format!("Bearer {}", token.expose_secret()),
    };
    let mut value = text(&rendered);
    value.set_sensitive(true);
    value
}

fn text(checked: &str) -> HeaderValue {
    HeaderValue::from_str(checked).expect("ids and tokens are visible ASCII by construction")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(auth: &Auth) -> RequestHeaders {
        let at = Timestamp::from_millis(1_760_090_581_999);
        render_headers(&EventId::from_text("evt-1"), 3, at, auth)
    }

    #[test]
    fn headers_are_those_of_the_contract() {
        let headers = rendered(&Auth::Basic {
            username: "xp".into(),
            password: "päss:word".to_owned().into(),
        });
        let shown: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let agent = concat!("barnabas/", env!("CARGO_PKG_VERSION"));
        let expected = [
            ("content-type", "application/json"),
            ("user-agent", agent),
            ("authorization", "Basic eHA6cMOkc3M6d29yZA=="),
            ("webhook-id", "evt-1"),
            ("webhook-timestamp", "1760090581"),
            ("webhook-attempt", "3"),
        ];
        assert_eq!(shown, expected);
        assert!(headers[2].1.is_sensitive());
        let bearer = rendered(&Auth::Bearer { token: "t0ken".to_owned().into() });
        assert_eq!(bearer[2].1, "Bearer t0ken");
    }
}
