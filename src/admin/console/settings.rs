//! The settings of a connection, which can be edited.

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::ago::ago;
use super::connection_form::ConnectionForm;
use super::connection_head::{ConnectionHead, find, key};
use super::notice::Notice;
use super::page::{Frame, answer, render};
use super::paths;
use super::values::{Entered, Values};
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::connections::{Applied, ChangeError, ConnectionView, Expected};
use crate::admin::problem::Problem;
use crate::clock::wall_clock;
use crate::engine::connection::ConnectionKey;

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    frame: Frame,
    head: ConnectionHead,
    notice: Option<Notice>,
    /// For those who may edit.
    form: Option<ConnectionForm>,
    view: ConnectionView,
    /// Of the names that it wants.
    events: Vec<String>,
    channels: Vec<String>,
    changed: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    done: Option<String>,
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path((project, id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    let page = key(&project, &id).and_then(|key| {
        let view = find(&admin, &caller, &key)?;
        let form = form(&admin, &view, Values::of(&view), view.revision);
        Ok(page(&admin, &caller, view, form, Notice::after(asked.done.as_deref())))
    });
    answer(&caller, page)
}

pub(super) async fn save(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path((project, id)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let result = match key(&project, &id) {
        Ok(key) => try_save(&admin, &caller, &key, &Entered::read(&body)).await,
        Err(problem) => Err(problem),
    };
    answer(&caller, result)
}

async fn try_save(
    admin: &Admin,
    caller: &Caller,
    key: &ConnectionKey,
    entered: &Entered,
) -> Result<Response, Problem> {
    let connections = admin.connections();
    let values = Values::entered(entered, connections.catalog());
    let draft = values.draft().map_err(Problem::bad_request)?;
    let revision = revision(entered)?;
    let expected = Expected::Revision(revision);
    let author = caller.token.author();
    let done = match connections.update(&author, key, &draft, expected).await {
        Ok(Applied::Shown(_)) => "saved",
        Ok(Applied::Unchanged(_)) => "unchanged",
        Ok(Applied::Written(_)) => "written",
        Err(error) => {
            let view = find(admin, caller, key)?;
            let (status, form, notice) = faulty(form(admin, &view, values, revision), error)?;
            return Ok((status, page(admin, caller, view, form, notice)).into_response());
        }
    };
    let path = paths::connection(key.project(), key.connection());
    Ok(Redirect::to(&format!("{path}?done={done}")).into_response())
}

/// The revision that a form is meant for.
pub(super) fn revision(entered: &Entered) -> Result<u64, Problem> {
    let read = entered.text("revision").parse();
    read.map_err(|_| Problem::bad_request("the form has lost its revision; open the page again"))
}

/// A form that was refused, with the reason where it belongs.
///
/// # Errors
/// What no form can mend.
pub(super) fn faulty(
    mut form: ConnectionForm,
    error: ChangeError,
) -> Result<(StatusCode, ConnectionForm, Option<Notice>), Problem> {
    match &error {
        ChangeError::NotFound => return Err(error.into()),
        ChangeError::Invalid(faults) => {
            let form = form.with_faults(faults);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, form, None));
        }
        ChangeError::NameTaken(_) => {
            form.note("name", "another connection of this project has this name; choose another");
            return Ok((StatusCode::CONFLICT, form, None));
        }
        ChangeError::Stale(_) => {
            let text = "Not saved: somebody changed this connection while you edited it. What you entered still \
                        stands below.";
            let link = Some((form.action.clone(), "Load the current version"));
            let notice = Notice { link, ..Notice::bad(text) };
            return Ok((StatusCode::PRECONDITION_FAILED, form, Some(notice)));
        }
        ChangeError::Starting
        | ChangeError::Unreadable
        | ChangeError::NoKeyring
        | ChangeError::Seal(_)
        | ChangeError::Busy
        | ChangeError::Unwritten(_)
        | ChangeError::Unknown(_)
        | ChangeError::Random(_) => {}
    }
    let problem = Problem::from(error);
    let notice = Notice::bad(format!("{}: {}.", problem.title(), problem.detail()));
    Ok((problem.status(), form, Some(notice)))
}

fn form(admin: &Admin, view: &ConnectionView, values: Values, revision: u64) -> ConnectionForm {
    ConnectionForm {
        action: paths::connection(&view.project_id, &view.connection_id),
        preview: paths::match_preview(&view.project_id),
        button: "Save",
        hidden: ("revision", revision.to_string()),
        ..ConnectionForm::new(admin.connections(), values, view.auth.as_ref(), wall_clock())
    }
}

fn page(
    admin: &Admin,
    caller: &Caller,
    view: ConnectionView,
    form: ConnectionForm,
    notice: Option<Notice>,
) -> Response {
    let catalog = admin.connections().catalog();
    let head = ConnectionHead::of(caller, &view, "settings");
    render(&Settings {
        frame: Frame::of(caller, Some(&view.project_id), "configured"),
        notice,
        form: head.may_edit.then_some(form),
        head,
        events: catalog.events.labels(&view.events),
        channels: catalog.channels.labels(&view.channels),
        changed: view.updated_at.map(|at| ago(at, wall_clock())),
        view,
    })
}
