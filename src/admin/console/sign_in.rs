//! Signing in and out with a browser.

use askama::Template;
use axum::extract::{Extension, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::page::render;
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::sessions::COOKIE;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    fault: Option<&'static str>,
}

#[derive(Deserialize)]
pub(super) struct Came {
    after: Option<String>,
}

pub(super) async fn show(Query(came): Query<Came>) -> Response {
    let fault = match came.after.as_deref() {
        Some("refused") => Some("This token is not known, or its time is over."),
        Some("pause") => Some("Too many wrong tokens: wait a little before you try again."),
        Some(_) | None => None,
    };
    render(&SignIn { fault })
}

pub(super) async fn out(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
) -> Response {
    if let Some(secret) = &caller.session {
        admin.sessions().close(secret);
    }
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response()
}
