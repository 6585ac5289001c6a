//! What the names chosen in a form would have matched, before it is saved: a part of a page, which the form asks for
//! whenever the choice changes.

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;

use super::ago::ago;
use super::page::render;
use super::values::{Entered, Values};
use crate::admin::api::Admin;
use crate::admin::preview::{PreviewKind, PreviewQuery, PreviewReport};
use crate::admin::problem::Problem;
use crate::clock::wall_clock;
use crate::engine::catalog::Catalog;

/// So many kinds of matched events are named.
const NAMED: usize = 6;

#[derive(Template)]
#[template(path = "match_preview.html")]
struct MatchPreview {
    found: Option<Found>,
    /// Why there is none.
    why_not: String,
}

struct Found {
    report: PreviewReport,
    /// Since when there were that many.
    since: String,
    kinds: Vec<(String, u64)>,
}

/// Nothing here is refused: what cannot be told now is said in the preview's place.
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(project): Path<String>,
    body: Bytes,
) -> Response {
    let values = Values::entered(&Entered::read(&body), admin.connections().catalog());
    let none = |why: &str| MatchPreview { found: None, why_not: why.to_owned() };
    if values.events.is_empty() || values.channels.is_empty() {
        return render(&none(
            "Choose event types and channels to see what they would have matched.",
        ));
    }
    let query =
        PreviewQuery { project_id: project, events: values.events, channels: values.channels };
    let page = match look(&admin, &query).await {
        Ok(report) => {
            let found = Found::of(report, admin.connections().catalog());
            MatchPreview { found: Some(found), why_not: String::new() }
        }
        Err(problem) => none(&format!("No preview now: {}.", problem.detail())),
    };
    render(&page)
}

async fn look(admin: &Admin, query: &PreviewQuery) -> Result<PreviewReport, Problem> {
    Ok(admin.models()?.preview.look(query).await?)
}

impl Found {
    fn of(report: PreviewReport, catalog: &Catalog) -> Self {
        let label = |kind: &PreviewKind| {
            let event = catalog.events.label_of(&kind.event);
            let channel = catalog.channels.label_of(&kind.channel);
            (format!("{event} · {channel}"), kind.count)
        };
        let matched = report.kinds.iter().filter(|kind| kind.is_matched);
        let since = report.oldest_ms.map(|at_ms| ago(at_ms / 1000, wall_clock()));
        Self {
            kinds: matched.take(NAMED).map(label).collect(),
            since: since.unwrap_or_default(),
            report,
        }
    }
}
