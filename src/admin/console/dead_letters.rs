//! A project's dead letters: listed, shown in full, counted and put back into delivery, exported.

use std::time::Duration;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::watch;
use tracing::info;
use url::form_urlencoded::{self, Serializer};

use super::connection_head::key;
use super::insight::{Who, time};
use super::page::{Frame, answer, render};
use super::paths;
use super::reasons::{REASONS, reason_in_words};
use crate::admin::access::Caller;
use crate::admin::api::{Admin, export_letters};
use crate::admin::dead_letters::{
    Letter, LetterSummary, RedriveOrder, RedriveReport, Refusal, Selection,
};
use crate::admin::filters::{LetterFilter, place, redrive_rate};
use crate::admin::problem::Problem;
use crate::admin::tokens::Role;

/// So long a page waits for a redrive to end; then it goes on alone.
const WAIT: Duration = Duration::from_secs(5);

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct Letters {
    frame: Frame,
    path: String,
    filter: LetterFilter,
    lines: Vec<Line>,
    matched: u64,
    next: Option<String>,
    export: String,
    is_caught_up: bool,
    is_cut: bool,
    may_look: bool,
    may_redrive: bool,
}

/// A row of the table.
struct Line {
    letter: LetterSummary,
    at: String,
    reason: String,
    /// The connection's page and name, where it is still there.
    connection: Option<(String, String)>,
    redriven: Option<String>,
}

#[derive(Template)]
#[template(path = "dead_letter.html")]
struct LetterPage {
    frame: Frame,
    path: String,
    at: String,
    reason: String,
    may_redrive: bool,
    letter: Letter,
}

#[derive(Template)]
#[template(path = "redrive.html")]
struct RedrivePage {
    frame: Frame,
    path: String,
    report: RedriveReport,
    refused: Vec<(&'static str, u64)>,
    /// The form's fields again, where it was only counted.
    fields: Vec<(String, String)>,
    is_counted_only: bool,
    error: Option<String>,
    rate: u32,
}

fn path_of(project: &str) -> String {
    format!("/projects/{}/dead-letters", utf8_percent_encode(project, NON_ALPHANUMERIC))
}

/// What the address asks for.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    connection: String,
    reason: String,
    from: String,
    to: String,
    cursor: String,
}

impl Asked {
    fn filter(self) -> LetterFilter {
        let Self { connection, reason, from, to, cursor } = self;
        LetterFilter { connection, reason, from, to, cursor, limit: None }
    }
}

impl Line {
    fn of(admin: &Admin, project: &str, letter: LetterSummary) -> Self {
        let key = letter.connection_id.as_deref().and_then(|id| key(project, id).ok());
        let view = key.and_then(|key| admin.connections().get(&key).ok());
        let connection = view.map(|view| {
            let path = paths::connection(project, &view.connection_id);
            (path, view.name.unwrap_or(view.connection_id))
        });
        Self {
            at: time(letter.at_ms),
            reason: reason_in_words(&letter.reason).to_owned(),
            connection,
            redriven: letter.redriven_at_ms.map(time),
            letter,
        }
    }
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path(project): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let page = || {
        let filter = asked.filter();
        let found = admin.models()?.dead_letters.page(&filter.query(&project)?);
        let query = |cursor: &str| {
            let pairs = [
                ("connection", filter.connection.as_str()),
                ("reason", &filter.reason),
                ("from", &filter.from),
                ("to", &filter.to),
                ("cursor", cursor),
            ];
            let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
            Serializer::new(String::new()).extend_pairs(given).finish()
        };
        let line = |letter| Line::of(&admin, &project, letter);
        Ok(render(&Letters {
            frame: Frame::of(&caller, Some(&project), "dead-letters"),
            path: path_of(&project),
            next: found.page.next_cursor.map(|place| query(&place.to_string())),
            export: query(""),
            lines: found.page.items.into_iter().map(line).collect(),
            matched: found.matched,
            is_caught_up: found.is_caught_up,
            is_cut: found.is_cut,
            may_look: caller.token.role >= Role::Editor,
            may_redrive: caller.token.role >= Role::Operator,
            filter,
        }))
    };
    answer(&caller, page())
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path((project, letter)): Path<(String, String)>,
) -> Response {
    let page = async {
        let found = admin.models()?.dead_letters.show(Some(&project), place(&letter)?).await?;
        let gone = || Problem::not_found("there is no such dead letter, or no longer");
        let letter = found.ok_or_else(gone)?;
        Ok(render(&LetterPage {
            frame: Frame::of(&caller, Some(&project), "dead-letters"),
            path: path_of(&project),
            at: time(letter.summary.at_ms),
            reason: reason_in_words(&letter.summary.reason).to_owned(),
            may_redrive: caller.token.role >= Role::Operator,
            letter,
        }))
    };
    answer(&caller, page.await)
}

pub(super) async fn export(
    admin: State<Admin>,
    Extension(caller): Who,
    project: Path<String>,
    filter: Result<Query<LetterFilter>, QueryRejection>,
) -> Response {
    answer(&caller, export_letters(admin, project, filter).await)
}

/// Counts first; puts back when the count was confirmed.
pub(super) async fn redrive(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path(project): Path<String>,
    body: String,
) -> Response {
    let fields: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    answer(&caller, put_back(&admin, &caller, &project, fields).await)
}

async fn put_back(
    admin: &Admin,
    caller: &Caller,
    project: &str,
    fields: Vec<(String, String)>,
) -> Result<Response, Problem> {
    let order = order(project, &fields)?;
    let letters = admin.models()?.dead_letters.clone();
    let rate = order.rate_per_second.get();
    let is_counted_only = text(&fields, "confirmed").is_empty();
    let (report, error) = if is_counted_only {
        (letters.dry_run(&order), None)
    } else {
        let author = caller.token.author();
        admin.connections().note_redrive(&author, &order, &letters.dry_run(&order)).await?;
        info!(who = author, project, "dead letters are redriven");
        let (progress, watched) = watch::channel(RedriveReport::default());
        let run = tokio::spawn(async move { letters.redrive(&order, &progress).await });
        let ended = tokio::time::timeout(WAIT, run).await;
        let so_far = watched.borrow().clone();
        match ended {
            Ok(Ok(Ok(report))) => (report, None),
            Ok(Ok(Err(error))) => (so_far, Some(error.to_string())),
            Ok(Err(error)) => (so_far, Some(error.to_string())),
            Err(_) => (so_far, None),
        }
    };
    let refused = report.refused.iter().map(|(why, count)| (in_words(*why), *count)).collect();
    Ok(render(&RedrivePage {
        frame: Frame::of(caller, Some(project), "dead-letters"),
        path: path_of(project),
        report,
        refused,
        fields: fields.into_iter().filter(|(name, _)| name != "rate").collect(),
        is_counted_only,
        error,
        rate,
    }))
}

fn text<'a>(fields: &'a [(String, String)], wanted: &str) -> &'a str {
    fields.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value)
}

fn order(project: &str, fields: &[(String, String)]) -> Result<RedriveOrder, Problem> {
    let own = |name| text(fields, name).to_owned();
    let selection = if text(fields, "which") == "matching" {
        let filter = LetterFilter {
            connection: own("connection"),
            reason: own("reason"),
            from: own("from"),
            to: own("to"),
            ..LetterFilter::default()
        };
        Selection::Matching(filter.query(project)?)
    } else {
        let ids = fields.iter().filter(|(name, _)| name == "id").map(|(_, id)| id.parse());
        let ids: Result<Vec<_>, _> = ids.collect();
        let bad = |error: crate::admin::place::BadPlace| Problem::bad_request(error.to_string());
        Selection::Ids(ids.map_err(bad)?)
    };
    let asked = text(fields, "rate").trim();
    let number = asked.parse().map_err(|_| Problem::bad_request("the rate is a whole number"));
    let rate_per_second = redrive_rate(if asked.is_empty() { None } else { Some(number?) })?;
    Ok(RedriveOrder {
        project_id: Some(project.to_owned()),
        selection,
        rate_per_second,
        again: false,
    })
}

const fn in_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound => "there is none of that id any more",
        Refusal::NoConnection => "a record that is no event",
        Refusal::ConnectionDeleted => "its connection was deleted",
        Refusal::ConnectionInactive => "its connection is inactive: activate it first",
        Refusal::ConnectionUnreadable => "its connection cannot be read: mend it first",
        Refusal::Expired => "older than its connection wants",
        Refusal::AlreadyRedriven => "put back before",
        Refusal::NoEvent => "its value is no event any more",
    }
}
