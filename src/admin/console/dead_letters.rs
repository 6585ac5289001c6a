//! A project's dead letters: listed, shown in full, exported.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::connection_head::key;
use super::insight::{Who, time};
use super::page::{Frame, answer, render};
use super::paths;
use super::reasons::{REASONS, reason_in_words};
use crate::admin::api::{Admin, export_letters};
use crate::admin::dead_letters::{Letter, LetterSummary, Scope};
use crate::admin::filters::{LetterFilter, place};
use crate::admin::problem::Problem;
use crate::admin::tokens::Role;

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

pub(super) fn path_of(project: &str) -> String {
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
            paths::query(&pairs)
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
        let scope = Scope::Project(project.clone());
        let found = admin.models()?.dead_letters.show(&scope, place(&letter)?).await?;
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
