//! Activating, deactivating and deleting a connection, each confirmed first: by a dialog, or by a page of its own where
//! there is no script.

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use super::connection_head::{Action, ConnectionHead, find, key};
use super::notice::Notice;
use super::page::{Frame, answer, render};
use super::paths;
use super::settings::revision;
use super::values::Entered;
use crate::admin::access::{Access, Caller};
use crate::admin::api::{Admin, Route, route};
use crate::admin::connections::{Applied, ChangeError, Expected};
use crate::admin::problem::Problem;
use crate::engine::connection::{ConnectionKey, Status};

#[derive(Template)]
#[template(path = "confirmation.html")]
struct Confirmation {
    frame: Frame,
    head: ConnectionHead,
    notice: Option<Notice>,
    action: Action,
}

/// The path of each action, to be seen and to be done.
pub(super) fn routes() -> Vec<Route> {
    let paths = [
        (Action::Activate, "/projects/{project}/connections/{id}/activate"),
        (Action::Deactivate, "/projects/{project}/connections/{id}/deactivate"),
        (Action::Delete, "/projects/{project}/connections/{id}/delete"),
    ];
    let both = |(action, path): (Action, &'static str)| {
        let access = Access::Project(action.role());
        let ask = get(move |State(admin), Extension(caller), Path((project, id))| async move {
            show(&admin, &caller, action, (project, id))
        });
        let act = post(
            move |State(admin), Extension(caller), Path((project, id)), body: Bytes| async move {
                act(&admin, &caller, action, (project, id), &Entered::read(&body)).await
            },
        );
        [route(Method::GET, path, access, ask), route(Method::POST, path, access, act)]
    };
    paths.into_iter().flat_map(both).collect()
}

fn show(admin: &Admin, caller: &Caller, action: Action, place: (String, String)) -> Response {
    let (project, id) = place;
    answer(caller, key(&project, &id).and_then(|key| page(admin, caller, action, &key, None)))
}

async fn act(
    admin: &Admin,
    caller: &Caller,
    action: Action,
    place: (String, String),
    entered: &Entered,
) -> Response {
    let (project, id) = place;
    let result = match key(&project, &id) {
        Ok(key) => try_act(admin, caller, action, &key, entered).await,
        Err(problem) => Err(problem),
    };
    answer(caller, result)
}

async fn try_act(
    admin: &Admin,
    caller: &Caller,
    action: Action,
    key: &ConnectionKey,
    entered: &Entered,
) -> Result<Response, Problem> {
    let connections = admin.connections();
    let expected = Expected::Revision(revision(entered)?);
    let author = caller.token.author();
    let result = match action {
        Action::Activate => connections.set_status(&author, key, Status::Active, expected).await,
        Action::Deactivate => {
            connections.set_status(&author, key, Status::Inactive, expected).await
        }
        Action::Delete => connections.delete(&author, key, expected).await,
    };
    let done = match result {
        Ok(Applied::Shown(_) | Applied::Unchanged(_)) => action.word(),
        Ok(Applied::Written(_)) => "written",
        Err(error @ ChangeError::Stale(_)) => {
            let text = "Nothing was done: somebody changed this connection meanwhile. Look at it, and confirm again.";
            let page = page(admin, caller, action, key, Some(Notice::bad(text)))?;
            return Ok((Problem::from(error).status(), page).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let path = match action {
        Action::Delete => paths::list(key.project()),
        Action::Activate | Action::Deactivate => paths::connection(key.project(), key.connection()),
    };
    Ok(Redirect::to(&format!("{path}?done={done}")).into_response())
}

fn page(
    admin: &Admin,
    caller: &Caller,
    action: Action,
    key: &ConnectionKey,
    notice: Option<Notice>,
) -> Result<Response, Problem> {
    let view = find(admin, caller, key)?;
    Ok(render(&Confirmation {
        frame: Frame::of(caller, Some(key.project()), "configured"),
        head: ConnectionHead::of(caller, &view, ""),
        notice,
        action,
    }))
}
