//! Which project: the first page after signing in.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::page::{Frame, refusal, render};
use super::paths;
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::problem::Problem;

#[derive(Template)]
#[template(path = "projects.html")]
struct Projects {
    frame: Frame,
    /// With the number of their connections.
    projects: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    id: Option<String>,
}

/// Whose token is for one project is there at once.
pub(super) async fn home(Extension(caller): Extension<Caller>) -> Response {
    match &caller.token.projects[..] {
        [project] if project != "*" => to_project(project),
        _ => Redirect::to("/projects").into_response(),
    }
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<Asked>,
) -> Response {
    if let Some(project) = asked.id.as_deref().map(str::trim).filter(|id| !id.is_empty()) {
        return to_project(project);
    }
    match admin.connections().projects() {
        Ok(mut projects) => {
            projects.retain(|project, _| caller.token.covers(project));
            render(&Projects { frame: Frame::of(&caller, None, "projects"), projects })
        }
        Err(error) => refusal(&Problem::from(error), Some(&caller)),
    }
}

fn to_project(project: &str) -> Response {
    Redirect::to(&paths::marketplace(project)).into_response()
}
