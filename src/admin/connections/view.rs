//! A connection as people see it: everything but its secret.
//!
//! Decides what is shown; who may see it is decided by `access`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::problem::FieldProblem;
use crate::engine::catalog::Catalog;
use crate::engine::connection::{Auth, Connection, ConnectionKey, OwnLimits, Status};
use crate::engine::table::{Lookup, Row};
use crate::engine::time::Timestamp;
use crate::kafka::record::connection::encode::status;

/// Why a user's own word stops a connection.
const BY_USER: &str = "user";

/// A connection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConnectionView {
    /// Whose events it wants.
    pub project_id: String,
    /// Its id.
    pub connection_id: String,
    /// Rises with every change; its ETag.
    pub revision: u64,
    /// What users call it; missing where no record of it can be read, as are the others below.
    pub name: Option<String>,
    /// What a user has set: `active` or `inactive`.
    pub status: Option<&'static str>,
    /// Whether events are delivered to it.
    pub effective_status: EffectiveStatus,
    /// Why it is inactive: `user`, `gone`, `failing` or `egress_denied`.
    pub reason: Option<String>,
    /// Where requests go. Viewers see its origin only: many receivers put a secret behind it.
    pub url: Option<String>,
    /// How it proves itself.
    pub auth: Option<AuthView>,
    /// The events that it wants.
    pub events: Vec<String>,
    /// The channels that it wants.
    pub channels: Vec<String>,
    /// The limits that it sets itself.
    pub delivery: LimitsView,
    /// UNIX seconds; events recorded earlier are not for it.
    pub created_at: Option<u64>,
    /// UNIX seconds.
    pub updated_at: Option<u64>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// What is wrong with its newest record, which is therefore not in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FieldProblem>,
}

/// Whether events are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EffectiveStatus {
    /// They are.
    Active,
    /// They are not: by a user or by the service itself, see `reason`.
    Inactive,
    /// No record of it can be read; its events wait.
    Unreadable,
}

/// Credentials without the secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuthView {
    /// `basic` or `bearer`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Of `basic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Whether there is a secret, which is never shown.
    pub has_secret: bool,
    /// When it was entered, in UNIX seconds, where that is known.
    pub secret_set_at: Option<u64>,
}

/// The limits that a connection sets itself.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct LimitsView {
    /// Attempts a second, over all instances: 1–10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    /// Attempts at once after a pause: 1–10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Attempts under way at once: 1–500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// How long an attempt may take: 1–30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// How old an event may become before it is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
}

impl From<&OwnLimits> for LimitsView {
    fn from(own: &OwnLimits) -> Self {
        Self {
            rate_per_second: own.rate_per_second.map(u32::from),
            burst: own.burst.map(u32::from),
            max_in_flight: own.max_in_flight.map(u32::from),
            timeout_seconds: own.timeout_seconds.map(u32::from),
            max_age_seconds: own.max_age_seconds.map(u32::from),
        }
    }
}

impl ConnectionView {
    /// Without what stands behind the URL's origin.
    #[must_use]
    pub fn for_viewer(mut self) -> Self {
        let origin = |url: String| {
            let end = url.bytes().enumerate().filter(|(_, byte)| *byte == b'/').nth(2);
            let (place, _) = end?;
            let is_bare = place + 1 == url.len();
            Some(if is_bare { url } else { format!("{}/…", &url[..place]) })
        };
        self.url = self.url.and_then(origin);
        self
    }
}

/// What is known of a connection.
pub(super) fn of_row(key: &ConnectionKey, row: &Row, catalog: &Catalog) -> ConnectionView {
    let faults =
        row.refusal().map(|refusal| refusal.faults.iter().map(FieldProblem::from).collect());
    let effective_status = match row.lookup() {
        Lookup::Active(_) => EffectiveStatus::Active,
        Lookup::Inactive => EffectiveStatus::Inactive,
        Lookup::Unreadable(_) | Lookup::Missing => EffectiveStatus::Unreadable,
    };
    let view = match row.known() {
        Some(known) => of_connection(known, catalog),
        None => unreadable(key),
    };
    ConnectionView {
        revision: row.revision(),
        effective_status,
        reason: row.deactivation().map(|note| note.reason.to_string()).or(view.reason),
        faults: faults.unwrap_or_default(),
        ..view
    }
}

/// A connection that is in force as its user has set it.
pub(super) fn of_connection(connection: &Connection, catalog: &Catalog) -> ConnectionView {
    let Connection { key, filter, notes, .. } = connection;
    let own = |name: &str| name.to_owned();
    let is_active = connection.status == Status::Active;
    ConnectionView {
        revision: connection.revision,
        name: Some(connection.name.to_string()),
        status: Some(status(connection.status)),
        effective_status: if is_active {
            EffectiveStatus::Active
        } else {
            EffectiveStatus::Inactive
        },
        reason: (!is_active).then(|| BY_USER.to_owned()),
        url: Some(connection.endpoint.as_str().to_owned()),
        auth: Some(auth(&connection.auth, notes.secret_set_at)),
        events: catalog.events.of(filter.events).map(own).collect(),
        channels: catalog.channels.of(filter.channels).map(own).collect(),
        delivery: LimitsView::from(&notes.own_limits),
        created_at: Some(connection.created_at)
            .filter(|&time| time != Timestamp::EPOCH)
            .map(Timestamp::as_secs),
        updated_at: notes.updated_at.map(Timestamp::as_secs),
        updated_by: notes.updated_by.as_deref().map(own),
        ..unreadable(key)
    }
}

fn unreadable(key: &ConnectionKey) -> ConnectionView {
    ConnectionView {
        project_id: key.project().to_owned(),
        connection_id: key.connection().to_owned(),
        revision: 0,
        name: None,
        status: None,
        effective_status: EffectiveStatus::Unreadable,
        reason: None,
        url: None,
        auth: None,
        events: Vec::new(),
        channels: Vec::new(),
        delivery: LimitsView::default(),
        created_at: None,
        updated_at: None,
        updated_by: None,
        faults: Vec::new(),
    }
}

fn auth(auth: &Auth, secret_set_at: Option<Timestamp>) -> AuthView {
    let secret_set_at = secret_set_at.map(Timestamp::as_secs);
    let (kind, username) = match auth {
        Auth::Basic { username, .. } => ("basic", Some(username.to_string())),
        Auth::Bearer { .. } => ("bearer", None),
    };
    AuthView { kind, username, has_secret: true, secret_set_at }
}
