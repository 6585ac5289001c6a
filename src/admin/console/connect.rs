//! The page on which a webhook is connected.

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};

use super::connection_form::ConnectionForm;
use super::notice::Notice;
use super::page::{Frame, answer, render};
use super::paths;
use super::settings::faulty;
use super::values::{Entered, Values};
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::connections::{Applied, IdempotencyKey};
use crate::admin::problem::Problem;
use crate::admin::tokens::random_text;
use crate::clock::wall_clock;

#[derive(Template)]
#[template(path = "connect.html")]
struct Connect {
    frame: Frame,
    notice: Option<Notice>,
    marketplace: String,
    form: ConnectionForm,
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
) -> Response {
    let once = random_text().map_err(|error| Problem::unavailable(error.to_string()));
    let page = once.map(|once| {
        let form = form(&admin, &project, Values::default(), once);
        page(&caller, &project, form, None)
    });
    answer(&caller, page)
}

pub(super) async fn connect(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
    body: Bytes,
) -> Response {
    answer(&caller, try_connect(&admin, &caller, &project, &Entered::read(&body)).await)
}

async fn try_connect(
    admin: &Admin,
    caller: &Caller,
    project: &str,
    entered: &Entered,
) -> Result<Response, Problem> {
    let connections = admin.connections();
    let values = Values::entered(entered, connections.catalog());
    let draft = values.draft().map_err(Problem::bad_request)?;
    let once = IdempotencyKey::parse(entered.text("once"));
    let author = caller.token.author();
    let (view, done) = match connections.create(&author, project, &draft, once.as_ref()).await {
        Ok(Applied::Shown(view)) => (view, "connected"),
        Ok(Applied::Unchanged(view)) => (view, "again"),
        Ok(Applied::Written(_)) => {
            let list = paths::list(project);
            return Ok(Redirect::to(&format!("{list}?done=written")).into_response());
        }
        Err(error) => {
            let form = form(admin, project, values, entered.text("once").to_owned());
            let (status, form, notice) = faulty(form, error)?;
            return Ok((status, page(caller, project, form, notice)).into_response());
        }
    };
    let path = paths::connection(project, &view.connection_id);
    Ok(Redirect::to(&format!("{path}?done={done}")).into_response())
}

fn form(admin: &Admin, project: &str, values: Values, once: String) -> ConnectionForm {
    ConnectionForm {
        action: paths::connect(project),
        preview: paths::match_preview(project),
        button: "Connect",
        hidden: ("once", once),
        ..ConnectionForm::new(admin.connections(), values, None, wall_clock())
    }
}

fn page(caller: &Caller, project: &str, form: ConnectionForm, notice: Option<Notice>) -> Response {
    let frame = Frame::of(caller, Some(project), "marketplace");
    render(&Connect { frame, notice, marketplace: paths::marketplace(project), form })
}
