//! What all pages have in common: their frame, and what is shown where there is none.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use tracing::error;

use crate::admin::access::Caller;
use crate::admin::problem::Problem;
use crate::admin::tokens::Role;

/// The frame around a page: where one is, and who.
#[derive(Debug)]
pub(super) struct Frame {
    /// The project that the page is about.
    pub(super) project: Option<String>,
    /// Which entry of the navigation it belongs to.
    pub(super) here: &'static str,
    /// The token's id.
    pub(super) caller: String,
    /// What it may do.
    pub(super) role: &'static str,
}

impl Frame {
    /// Of a page of a project.
    pub(super) fn of(caller: &Caller, project: Option<&str>, here: &'static str) -> Self {
        Self {
            project: project.map(str::to_owned),
            here,
            caller: caller.token.id.clone(),
            role: match caller.token.role {
                Role::Viewer => "viewer",
                Role::Editor => "editor",
                Role::Operator => "operator",
            },
        }
    }
}

/// The page as an answer.
pub(super) fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(fault) => {
            error!(%fault, "a page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    title: &'a str,
    detail: &'a str,
}

/// A problem as a page: whoever is not signed in signs in first.
pub(in crate::admin) fn refusal(problem: &Problem, caller: Option<&Caller>) -> Response {
    let Some(caller) = caller else { return Redirect::to("/sign-in").into_response() };
    let frame = Frame::of(caller, None, "");
    let page = ProblemPage { frame, title: problem.title(), detail: problem.detail() };
    (problem.status(), render(&page)).into_response()
}

/// A page, or the problem that there is in its place.
pub(super) fn answer(caller: &Caller, page: Result<Response, Problem>) -> Response {
    page.unwrap_or_else(|problem| refusal(&problem, Some(caller)))
}
