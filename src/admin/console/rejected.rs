//! The records that are no events: listed, and shown in full.

use askama::Template;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::insight::{Who, time};
use super::page::{Frame, answer, render};
use super::paths;
use super::reasons::reason_in_words;
use crate::admin::api::Admin;
use crate::admin::dead_letters::{Letter, LetterSummary, Scope};
use crate::admin::filters::{RejectedFilter, place};
use crate::admin::problem::Problem;
use crate::admin::tokens::Role;

const PATH: &str = "/rejected-records";

#[derive(Template)]
#[template(path = "rejected_records.html")]
struct RecordsPage {
    frame: Frame,
    filter: RejectedFilter,
    lines: Vec<Line>,
    matched: u64,
    next: Option<String>,
    is_caught_up: bool,
    is_cut: bool,
    may_look: bool,
}

/// A row of the table.
struct Line {
    record: LetterSummary,
    at: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "rejected_record.html")]
struct RecordPage {
    frame: Frame,
    at: String,
    reason: String,
    letter: Letter,
}

/// What the address asks for.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    from: String,
    to: String,
    cursor: String,
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Query(Asked { from, to, cursor }): Query<Asked>,
) -> Response {
    let page = || {
        let filter = RejectedFilter { from, to, cursor, limit: None };
        let found = admin.models()?.dead_letters.page(&filter.query()?);
        let next = |cursor: String| {
            let pairs =
                [("from", filter.from.as_str()), ("to", &filter.to), ("cursor", cursor.as_str())];
            format!("{PATH}?{}", paths::query(&pairs))
        };
        let line = |record: LetterSummary| Line {
            at: time(record.at_ms),
            reason: reason_in_words(&record.reason).to_owned(),
            record,
        };
        Ok(render(&RecordsPage {
            frame: Frame::of(&caller, None, "pipeline"),
            next: found.page.next_cursor.map(|place| next(place.to_string())),
            lines: found.page.items.into_iter().map(line).collect(),
            matched: found.matched,
            is_caught_up: found.is_caught_up,
            is_cut: found.is_cut,
            may_look: caller.token.role >= Role::Editor,
            filter,
        }))
    };
    answer(&caller, page())
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(caller): Who,
    Path(record): Path<String>,
) -> Response {
    let page = async {
        let found = admin.models()?.dead_letters.show(&Scope::Rejected, place(&record)?).await?;
        let gone = || Problem::not_found("there is no such record, or no longer");
        let letter = found.ok_or_else(gone)?;
        Ok(render(&RecordPage {
            frame: Frame::of(&caller, None, "pipeline"),
            at: time(letter.summary.at_ms),
            reason: reason_in_words(&letter.summary.reason).to_owned(),
            letter,
        }))
    };
    answer(&caller, page.await)
}
