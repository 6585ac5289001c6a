//! What stands in the fields of a connection's form: as it was entered, as it is in force, or nothing yet.
//!
//! Checks nothing: it becomes the same JSON that the API takes, and the service says what is wrong with it.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::admin::connections::{ConnectionView, Draft};
use crate::engine::catalog::{Catalog, Names};

/// The limits that a connection may set itself, as the API and the form call them.
pub(super) const LIMITS: [&str; 5] =
    ["rate_per_second", "burst", "max_in_flight", "timeout_seconds", "max_age_seconds"];

/// What a browser has sent of a form.
pub(super) struct Entered(Vec<(String, String)>);

/// The values of a connection's fields.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) auth: AuthKind,
    pub(super) username: String,
    /// Empty keeps what there is.
    secret: SecretString,
    pub(super) events: Vec<String>,
    pub(super) channels: Vec<String>,
    /// In the order of [`LIMITS`]; empty is the operator's default.
    pub(super) limits: [String; 5],
}

/// How a connection proves itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AuthKind {
    #[default]
    Basic,
    Bearer,
}

impl Entered {
    pub(super) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// A field's text; empty where it was not sent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| &**value)
    }
}

impl Values {
    /// As they were entered. "Select all" chooses every name of its list, so that it works without script.
    pub(super) fn entered(entered: &Entered, catalog: &Catalog) -> Self {
        let chosen = |list: &str, names: &Names| {
            if entered.text(&format!("all_{list}")).is_empty() {
                entered.all(list).map(str::to_owned).collect()
            } else {
                names.iter().map(|name| name.name.to_string()).collect()
            }
        };
        let auth = match entered.text("auth") {
            "bearer" => AuthKind::Bearer,
            _ => AuthKind::Basic,
        };
        Self {
            name: entered.text("name").to_owned(),
            url: entered.text("url").trim().to_owned(),
            auth,
            username: entered.text("username").to_owned(),
            secret: entered.text(auth.secret_field()).into(),
            events: chosen("events", &catalog.events),
            channels: chosen("channels", &catalog.channels),
            limits: LIMITS.map(|limit| entered.text(limit).trim().to_owned()),
        }
    }

    /// Those of a connection in force.
    pub(super) fn of(view: &ConnectionView) -> Self {
        let auth = view.auth.as_ref();
        let own = &view.delivery;
        let limits = [
            own.rate_per_second,
            own.burst,
            own.max_in_flight,
            own.timeout_seconds,
            own.max_age_seconds,
        ];
        Self {
            name: view.name.clone().unwrap_or_default(),
            url: view.url.clone().unwrap_or_default(),
            auth: match auth.map(|auth| auth.kind) {
                Some("bearer") => AuthKind::Bearer,
                Some(_) | None => AuthKind::Basic,
            },
            username: auth.and_then(|auth| auth.username.clone()).unwrap_or_default(),
            secret: SecretString::default(),
            events: view.events.clone(),
            channels: view.channels.clone(),
            limits: limits.map(|limit| limit.map(|limit| limit.to_string()).unwrap_or_default()),
        }
    }

    /// The connection that they describe.
    pub(super) fn draft(&self) -> Result<Draft, String> {
        let mut auth = json!({ "type": self.auth.word() });
        if self.auth == AuthKind::Basic {
            auth["username"] = json!(self.username);
        }
        if !self.secret.expose_secret().is_empty() {
            auth[self.auth.secret_field()] = json!(self.secret.expose_secret());
        }
        let limits = LIMITS.iter().zip(&self.limits).filter(|(_, text)| !text.is_empty());
        // What is no number stays a text, so that the service says so.
        let number = |text: &String| text.parse::<u64>().map_or_else(|_| json!(text), Value::from);
        let delivery: Map<String, Value> =
            limits.map(|(name, text)| ((*name).to_owned(), number(text))).collect();
        let draft = json!({
            "name": self.name, "url": self.url, "auth": auth,
            "events": self.events, "channels": self.channels, "delivery": delivery,
        });
        Draft::parse(draft.to_string().as_bytes())
    }
}

impl AuthKind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Bearer => "bearer",
        }
    }

    const fn secret_field(self) -> &'static str {
        match self {
            Self::Basic => "password",
            Self::Bearer => "token",
        }
    }
}
