//! The marketplace: what a project can be connected with.

use askama::Template;
use axum::extract::{Extension, Path, State};
use axum::response::Response;

use super::page::{Frame, answer, render};
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::connections::{Listing, StatusFilter};
use crate::admin::problem::Problem;
use crate::admin::tokens::Role;

#[derive(Template)]
#[template(path = "marketplace.html")]
struct Marketplace {
    frame: Frame,
    project: String,
    configured: usize,
    active: usize,
    may_connect: bool,
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
) -> Response {
    answer(&caller, page(&admin, &caller, project))
}

fn page(admin: &Admin, caller: &Caller, project: String) -> Result<Response, Problem> {
    let count = |status| {
        let listing = Listing { status, ..Listing::default() };
        admin.connections().list(&project, &listing).map(|page| page.total)
    };
    let (configured, active) = (count(None)?, count(Some(StatusFilter::Active))?);
    Ok(render(&Marketplace {
        frame: Frame::of(caller, Some(&project), "marketplace"),
        configured,
        active,
        may_connect: caller.token.role >= Role::Editor,
        project,
    }))
}
