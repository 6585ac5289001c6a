//! Signing in and out, and who one is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Json;
use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use utoipa::ToSchema;

use super::Admin;
use super::body::{content_type, read, unsupported};
use crate::admin::access::Caller;
use crate::admin::problem::Problem;
use crate::admin::sessions::COOKIE;
use crate::admin::tokens::{Role, Token};
use crate::clock::wall_clock;

/// What signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// `bnb_<id>.<secret>`
    token: String,
}

/// Who the caller is.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// The token's id.
    id: String,
    /// What it may do.
    role: Role,
    /// The projects that it is for; `*` is all of them.
    projects: Vec<String>,
    /// From when on it is refused, in UNIX seconds.
    expires_at: Option<u64>,
}

impl From<&Token> for Me {
    fn from(token: &Token) -> Self {
        Self {
            id: token.id.clone(),
            role: token.role,
            projects: token.projects.clone(),
            expires_at: token.expires_at,
        }
    }
}

/// Who the caller is
#[utoipa::path(
    get, path = "/api/v1/me", tag = "session", operation_id = "show_me",
    responses((status = 200, body = Me))
)]
pub(super) async fn me(Extension(caller): Extension<Caller>) -> Json<Me> {
    Json(Me::from(&*caller.token))
}

/// Exchange a token for a session cookie
///
/// The body is JSON, or a form's; a form is answered with a redirect to the console.
#[utoipa::path(
    post, path = "/session", tag = "session", operation_id = "open_session", request_body = Credentials,
    security(()),
    responses(
        (status = 200, body = Me, description = "the cookie is set"),
        (status = 401, body = Problem),
        (status = 429, body = Problem, description = "too many wrong tokens: wait"),
    )
)]
pub(super) async fn open(
    State(admin): State<Admin>,
    request: Request,
) -> Result<Response, Problem> {
    let now = wall_clock();
    let from = peer(&request);
    let is_form = content_type(&request) == "application/x-www-form-urlencoded";
    if let Some(pause) = admin.sessions().pause(from, now) {
        let (title, detail) = ("Too many wrong tokens", "wait before you try again");
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-tries", title, detail);
        return sent_back(is_form, "pause", problem.retry_after(pause.as_secs() + 1));
    }
    let is_secure = !(admin.is_loopback() && is_local(request.headers()));
    let text = credentials(request, is_form).await?;
    let Some(token) = admin.tokens().authenticate(text.trim(), now) else {
        admin.sessions().count_failure(from, now);
        return sent_back(is_form, "refused", Problem::unauthorized());
    };
    let me = Me::from(&*token);
    let opened = admin.sessions().open(token, now);
    let secret = opened.map_err(|error| Problem::unavailable(error.to_string()))?;
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}");
    let mut response =
        if is_form { Redirect::to("/").into_response() } else { Json(me).into_response() };
    response.headers_mut().insert(header::SET_COOKIE, sensitive(&cookie));
    Ok(response)
}

/// End the session of the cookie
#[utoipa::path(
    delete, path = "/session", tag = "session", operation_id = "close_session",
    responses((status = 204, description = "there is no session any more"))
)]
pub(super) async fn close(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
) -> Response {
    if let Some(secret) = &caller.session {
        admin.sessions().close(secret);
    }
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

/// A form is sent back to its page, which says what was wrong with it.
fn sent_back(is_form: bool, after: &str, problem: Problem) -> Result<Response, Problem> {
    let page = format!("/sign-in?after={after}");
    if is_form { Ok(Redirect::to(&page).into_response()) } else { Err(problem) }
}

async fn credentials(request: Request, is_form: bool) -> Result<String, Problem> {
    if !is_form && content_type(&request) != "application/json" {
        return Err(unsupported("send JSON or a form"));
    }
    let body = read(request, &()).await?;
    if is_form {
        let found = form_urlencoded::parse(&body).find(|(name, _)| name == "token");
        return found
            .map(|(_, token)| token.into_owned())
            .ok_or_else(|| Problem::bad_request("the form has no field `token`"));
    }
    let read: Result<Credentials, _> = serde_json::from_slice(&body);
    read.map(|credentials| credentials.token)
        .map_err(|_| Problem::bad_request("the body must be {\"token\": \"bnb_…\"}"))
}

fn peer(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip())
}

/// Whether the browser speaks to this machine itself and not to a proxy with TLS.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn sensitive(cookie: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(cookie).expect("base64 and names are visible ASCII");
    value.set_sensitive(true);
    value
}
