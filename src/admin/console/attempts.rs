//! A connection's attempts: the history, live or not, and one in full.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::connection_head::{ConnectionHead, find, key};
use super::insight::{Who, time};
use super::page::{Frame, answer, render};
use super::paths;
use super::reasons::reason_in_words;
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::attempts::AttemptSummary;
use crate::admin::filters::{AttemptFilter, place};
use crate::admin::problem::Problem;
use crate::engine::catalog::Catalog;
use crate::kafka::record::attempt::{AttemptOutcome, AttemptRecord, Next};

/// What the address says where the page does not follow.
const PAUSED: &str = "off";
/// What can be filtered by, and how it is called.
const OUTCOMES: [(&str, &str); 13] = [
    ("", "All"),
    ("failed", "All failures"),
    ("delivered", "Delivered"),
    ("status", "Status other than 2xx"),
    ("timeout", "Timeout"),
    ("connect", "No connection"),
    ("dns", "Name not found"),
    ("tls", "TLS failed"),
    ("reset", "Connection broke"),
    ("protocol", "No valid HTTP"),
    ("denied", "Address refused"),
    ("our_fault", "Fault on our side"),
    ("panic", "Panic"),
];

#[derive(Template)]
#[template(path = "attempts.html")]
struct Attempts {
    frame: Frame,
    head: ConnectionHead,
    asked: Asked,
    lines: Vec<Line>,
    /// The query of the next page.
    next: Option<String>,
    /// Whether the page follows: what is new is shown as it comes.
    is_live: bool,
    /// The query of the same page, live or paused.
    toggled: String,
    /// The query of this page.
    here: String,
    /// The stream that says when there is something new.
    stream: String,
    is_caught_up: bool,
    logged: &'static str,
}

/// A row of the table.
struct Line {
    id: String,
    at: String,
    event_id: String,
    event: String,
    channel: String,
    attempt: u32,
    outcome: &'static str,
    tone: &'static str,
    status: Option<u16>,
    duration_ms: u64,
    next: String,
}

#[derive(Template)]
#[template(path = "attempt.html")]
struct Attempt {
    frame: Frame,
    head: ConnectionHead,
    at: String,
    outcome: &'static str,
    tone: &'static str,
    next: String,
    record: AttemptRecord<'static>,
}

/// What the address asks for.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    outcome: String,
    from: String,
    to: String,
    cursor: String,
    live: String,
}

impl Asked {
    /// Whether that is the outcome it is filtered by.
    fn is_about(&self, outcome: &str) -> bool {
        self.outcome == outcome
    }

    fn query(&self, live: &str, cursor: &str) -> String {
        let pairs = [
            ("outcome", self.outcome.as_str()),
            ("from", &self.from),
            ("to", &self.to),
            ("cursor", cursor),
            ("live", live),
        ];
        paths::query(&pairs)
    }
}

pub(super) async fn list(
    State(admin): State<Admin>,
    axum::extract::Extension(caller): Who,
    Path((project, id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    answer(&caller, history(&admin, &caller, &project, &id, asked))
}

fn history(
    admin: &Admin,
    caller: &Caller,
    project: &str,
    id: &str,
    asked: Asked,
) -> Result<Response, Problem> {
    let key = key(project, id)?;
    let view = find(admin, caller, &key)?;
    let filter = AttemptFilter {
        outcome: asked.outcome.clone(),
        from: asked.from.clone(),
        to: asked.to.clone(),
        cursor: asked.cursor.clone(),
        limit: None,
    };
    let catalog = admin.connections().catalog();
    let found = admin.models()?.attempts.page(&filter.query(key)?);
    let next = found.page.next_cursor.map(|place| asked.query("", &place.to_string()));
    let is_live = asked.live != PAUSED && asked.cursor.is_empty();
    let other = if is_live { PAUSED } else { "" };
    let stream = format!("/api/v1{}/attempts/live", paths::connection(project, id));
    Ok(render(&Attempts {
        frame: Frame::of(caller, Some(project), "configured"),
        head: ConnectionHead::of(caller, &view, "attempts"),
        lines: found.page.items.iter().map(|one| Line::of(one, catalog)).collect(),
        next,
        is_live,
        toggled: asked.query(other, ""),
        stream,
        here: asked.query(&asked.live, &asked.cursor),
        is_caught_up: found.is_caught_up,
        logged: found.logged,
        asked,
    }))
}

pub(super) async fn show(
    State(admin): State<Admin>,
    axum::extract::Extension(caller): Who,
    Path((project, id, attempt)): Path<(String, String, String)>,
) -> Response {
    let page = async {
        let key = key(&project, &id)?;
        let view = find(&admin, &caller, &key)?;
        let found = admin.models()?.attempts.detail(&key, place(&attempt)?).await?;
        let gone = || Problem::not_found("there is no such attempt, or no longer");
        let record = found.ok_or_else(gone)?.record;
        let (outcome, tone) = in_words(record.outcome);
        Ok(render(&Attempt {
            frame: Frame::of(&caller, Some(&project), "configured"),
            head: ConnectionHead::of(&caller, &view, "attempts"),
            at: time(record.at_ms),
            outcome,
            tone,
            next: record.next.as_ref().map_or_else(String::new, next_in_words),
            record,
        }))
    };
    answer(&caller, page.await)
}

impl Line {
    fn of(one: &AttemptSummary, catalog: &Catalog) -> Self {
        let line = &one.line;
        let (outcome, tone) = in_words(line.outcome);
        Self {
            id: one.id.to_string(),
            at: time(line.at_ms),
            event_id: line.event_id.to_string(),
            event: catalog.events.label_of(&line.event).to_owned(),
            channel: catalog.channels.label_of(&line.channel).to_owned(),
            attempt: line.attempt,
            outcome,
            tone,
            status: line.status,
            duration_ms: line.duration_ms,
            next: line.next.as_ref().map_or_else(String::new, next_in_words),
        }
    }
}

/// An outcome, and the class of its pill.
pub(super) const fn in_words(outcome: AttemptOutcome) -> (&'static str, &'static str) {
    match outcome {
        AttemptOutcome::Delivered => ("Delivered", "good"),
        AttemptOutcome::Status => ("Refused", "bad"),
        AttemptOutcome::Dns => ("Name not found", "bad"),
        AttemptOutcome::Connect => ("No connection", "bad"),
        AttemptOutcome::Tls => ("TLS failed", "bad"),
        AttemptOutcome::Timeout => ("Timeout", "bad"),
        AttemptOutcome::Reset => ("Connection broke", "bad"),
        AttemptOutcome::Protocol => ("No valid HTTP", "bad"),
        AttemptOutcome::Denied => ("Address refused", "bad"),
        AttemptOutcome::OurFault => ("Fault on our side", "warn"),
        AttemptOutcome::Panic => ("Panic", "warn"),
        AttemptOutcome::Unknown => ("Unknown", ""),
    }
}

fn next_in_words(next: &Next<'_>) -> String {
    match next {
        Next::Delivered => "none".to_owned(),
        Next::Repeat { due_ms } => format!("again at {}", time(*due_ms)),
        Next::Retry { tier, due_ms, .. } => format!("again at {} (tier {tier})", time(*due_ms)),
        Next::DeadLetter { reason } => {
            format!("dead letter: {}", reason_in_words(reason).to_lowercase())
        }
    }
}
