//! The list of a project's connections.

use askama::Template;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use url::form_urlencoded;

use super::ago::ago;
use super::connection_head::{Standing, key};
use super::health::{Bar, day, percent};
use super::notice::Notice;
use super::page::{Frame, answer, render};
use super::paths;
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::connections::{ConnectionView, Cursor, DEFAULT_LIMIT, Listing, StatusFilter};
use crate::admin::problem::Problem;
use crate::admin::tokens::Role;
use crate::clock::wall_clock;
use crate::engine::catalog::Names;

/// So many names of a connection are shown in a row.
const SHOWN_NAMES: usize = 2;

#[derive(Template)]
#[template(path = "configured.html")]
struct Configured {
    frame: Frame,
    notice: Option<Notice>,
    project: String,
    text: String,
    status: &'static str,
    rows: Vec<Row>,
    total: usize,
    /// The page behind this one.
    next: Option<String>,
    /// Whether this is not the first page.
    is_later: bool,
    may_connect: bool,
}

/// One connection.
struct Row {
    path: String,
    name: String,
    standing: Standing,
    url: String,
    events: Shown,
    channels: Shown,
    /// Its attempts of the last day, where any are known.
    rate: Option<String>,
    bars: Vec<Bar>,
    changed: String,
    changed_by: String,
}

/// Some names of a set, and how many more there are.
struct Shown {
    names: Vec<String>,
    more: usize,
    all: String,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    status: String,
    cursor: Option<String>,
    done: Option<String>,
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    answer(&caller, page(&admin, &caller, project, asked))
}

fn page(
    admin: &Admin,
    caller: &Caller,
    project: String,
    asked: Asked,
) -> Result<Response, Problem> {
    let (status, filter) = match &*asked.status {
        "active" => ("active", Some(StatusFilter::Active)),
        "inactive" => ("inactive", Some(StatusFilter::Inactive)),
        "unreadable" => ("unreadable", Some(StatusFilter::Unreadable)),
        _ => ("", None),
    };
    let cursor = asked.cursor.as_deref().and_then(Cursor::parse);
    let is_later = cursor.is_some();
    let listing = Listing { status: filter, text: asked.q.clone(), limit: DEFAULT_LIMIT, cursor };
    let found = admin.connections().list(&project, &listing)?;
    let next = found.next_cursor.map(|cursor| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &asked.q).append_pair("status", status);
        format!("{}?{}", paths::list(&project), query.append_pair("cursor", &cursor).finish())
    });
    let row = |view: ConnectionView| {
        let is_viewer = caller.token.role == Role::Viewer;
        Row::of(admin, if is_viewer { view.for_viewer() } else { view })
    };
    Ok(render(&Configured {
        frame: Frame::of(caller, Some(&project), "configured"),
        notice: Notice::after(asked.done.as_deref()),
        text: asked.q,
        status,
        rows: found.connections.into_iter().map(row).collect(),
        total: found.total,
        next,
        is_later,
        may_connect: caller.token.role >= Role::Editor,
        project,
    }))
}

impl Row {
    fn of(admin: &Admin, view: ConnectionView) -> Self {
        let catalog = admin.connections().catalog();
        let by =
            view.updated_by.as_deref().map(|by| format!("by {}", by.trim_start_matches("token:")));
        let key = key(&view.project_id, &view.connection_id).ok();
        let rates = admin.models().ok().zip(key);
        let rates = rates.and_then(|(models, key)| models.attempts.rates(&key, wall_clock()));
        let rates = rates.filter(|rates| rates.last_day.success_rate.is_some());
        Self {
            path: paths::connection(&view.project_id, &view.connection_id),
            standing: Standing::of(&view),
            events: Shown::of(&catalog.events, &view.events),
            channels: Shown::of(&catalog.channels, &view.channels),
            rate: rates.as_ref().map(|rates| percent(Some(rates.last_day))),
            bars: rates.as_ref().map_or_else(Vec::new, day),
            changed: view.updated_at.map(|at| ago(at, wall_clock())).unwrap_or_default(),
            changed_by: by.unwrap_or_default(),
            name: view.name.unwrap_or(view.connection_id),
            url: view.url.unwrap_or_default(),
        }
    }
}

impl Shown {
    fn of(catalog: &Names, names: &[String]) -> Self {
        let mut labels = catalog.labels(names);
        let all = labels.join(", ");
        if labels.len() == catalog.iter().count() {
            labels = vec!["All".to_owned()];
        }
        let more = labels.len().saturating_sub(SHOWN_NAMES);
        labels.truncate(SHOWN_NAMES);
        Self { names: labels, more, all }
    }
}
