//! The routes of a project's connections.

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::body::JsonBody;
use crate::admin::access::Caller;
use crate::admin::connections::{
    Applied, ChangeError, ConnectionView, Cursor, DEFAULT_LIMIT, Draft, Expected, IdempotencyKey,
    Listing, MAX_LIMIT, Page, StatusFilter,
};
use crate::admin::problem::{FieldProblem, Problem};
use crate::admin::tokens::Role;
use crate::engine::connection::{ConnectionKey, Status};

/// What a page is asked for with.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only those whose effective status is this.
    status: Option<StatusFilter>,
    /// Only those with this text in their name, id or origin.
    #[serde(default)]
    q: String,
    /// How many on a page: 1–500; 50.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A connection as it is written. Keys that only answers have are left alone.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body that the record's own decoder reads")]
pub(super) struct ConnectionBody {
    /// 1–100 characters, unique in the project.
    name: String,
    /// `active` or `inactive`; what it is now, or active.
    status: Option<String>,
    /// Starts with `https://`.
    url: String,
    auth: AuthBody,
    /// Names of the catalog, at least one.
    #[schema(min_items = 1)]
    events: Vec<String>,
    /// Names of the catalog, at least one.
    #[schema(min_items = 1)]
    channels: Vec<String>,
    /// What the endpoint can bear; the operator's defaults for the rest.
    delivery: Option<DeliveryBody>,
}

/// Credentials.
#[derive(ToSchema)]
#[schema(as = AuthBody)]
#[serde(tag = "type", rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes a body that the record's own decoder reads")]
pub(super) enum AuthBody {
    /// RFC 7617
    Basic {
        /// 1–255 characters without `:`.
        username: String,
        /// 1–1024 characters; left out or empty in an edit: it stays.
        #[schema(write_only)]
        password: Option<String>,
    },
    /// RFC 6750
    Bearer {
        /// 1–4096 visible ASCII characters; left out or empty in an edit: it stays.
        #[schema(write_only)]
        token: Option<String>,
    },
}

/// Limits of a connection.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body that the record's own decoder reads")]
pub(super) struct DeliveryBody {
    /// Attempts a second, over all instances.
    #[schema(minimum = 1, maximum = 10000)]
    rate_per_second: Option<u32>,
    /// Attempts at once after a pause.
    #[schema(minimum = 1, maximum = 10000)]
    burst: Option<u32>,
    /// Attempts under way at once.
    #[schema(minimum = 1, maximum = 500)]
    max_in_flight: Option<u32>,
    /// How long an attempt may take.
    #[schema(minimum = 1, maximum = 30)]
    timeout_seconds: Option<u32>,
    /// How old an event may become before it is given up.
    #[schema(minimum = 1)]
    max_age_seconds: Option<u32>,
}

/// A page of a project's connections
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/connections", tag = "connections",
    operation_id = "list_connections",
    params(("project" = String, Path), ListQuery),
    responses((status = 200, body = Page), (status = 400, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be from 1 to {MAX_LIMIT}")));
    }
    let unknown = || Problem::bad_request("the cursor is none; begin without one");
    let cursor = query.cursor.map(|text| Cursor::parse(&text).ok_or_else(unknown)).transpose()?;
    let listing = Listing { status: query.status, text: query.q, limit, cursor };
    let mut page = admin.connections().list(&project, &listing)?;
    let connections = std::mem::take(&mut page.connections);
    page.connections = connections.into_iter().map(|view| seen_by(&caller, view)).collect();
    Ok(Json(page))
}

/// Make a connection
///
/// Answered when it is in force. With the same `Idempotency-Key` it is made once; a repetition gives it as it is.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/connections", tag = "connections",
    operation_id = "create_connection",
    params(
        ("project" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "1–255 visible ASCII characters"),
    ),
    request_body = ConnectionBody,
    responses(
        (status = 201, body = ConnectionView, description = "in force; `Location` and `ETag` are set"),
        (status = 200, body = ConnectionView, description = "it was made before with this key"),
        (status = 202, body = ConnectionView, description = "written, and not in force here yet"),
        (status = 409, body = Problem, description = "the name is taken"),
        (status = 422, body = Problem), (status = 503, body = Problem), (status = 504, body = Problem),
    )
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let bad_key = || Problem::bad_request("Idempotency-Key takes 1-255 visible ASCII characters");
    let idempotency = match headers.get("idempotency-key") {
        None => None,
        Some(value) => {
            let key = value.to_str().ok().and_then(IdempotencyKey::parse);
            Some(key.ok_or_else(bad_key)?)
        }
    };
    let draft = Draft::parse(&body).map_err(Problem::bad_request)?;
    let author = caller.token.author();
    let applied =
        admin.connections().create(&author, &project, &draft, idempotency.as_ref()).await?;
    Ok(answer(&caller, StatusCode::CREATED, applied))
}

/// A connection
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/connections/{id}", tag = "connections",
    operation_id = "show_connection",
    params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = ConnectionView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path((project, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let view = admin.connections().get(&key(&project, &id)?)?;
    Ok(shown(&caller, StatusCode::OK, view))
}

/// Replace a connection
///
/// A secret that is left out stays, unless the URL leads to another origin now: then it has to be entered again.
#[utoipa::path(
    put, path = "/api/v1/projects/{project}/connections/{id}", tag = "connections",
    operation_id = "update_connection",
    params(
        ("project" = String, Path), ("id" = String, Path),
        ("If-Match" = String, Header, description = "the ETag that was read, or `*`"),
    ),
    request_body = ConnectionBody,
    responses(
        (status = 200, body = ConnectionView, description = "in force"),
        (status = 202, body = ConnectionView, description = "written, and not in force here yet"),
        (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem, description = "it was changed meanwhile"),
        (status = 422, body = Problem), (status = 428, body = Problem),
        (status = 503, body = Problem), (status = 504, body = Problem),
    )
)]
pub(super) async fn update(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let expected = if_match(&headers)?.ok_or_else(required)?;
    let key = key(&project, &id)?;
    let draft = Draft::parse(&body).map_err(Problem::bad_request)?;
    let author = caller.token.author();
    let applied = admin.connections().update(&author, &key, &draft, expected).await?;
    Ok(answer(&caller, StatusCode::OK, applied))
}

/// Delete a connection
#[utoipa::path(
    delete, path = "/api/v1/projects/{project}/connections/{id}", tag = "connections",
    operation_id = "delete_connection",
    params(
        ("project" = String, Path), ("id" = String, Path),
        ("If-Match" = String, Header, description = "the ETag that was read, or `*`"),
    ),
    responses(
        (status = 204, description = "it is no more"),
        (status = 202, description = "written, and not in force here yet"),
        (status = 404, body = Problem), (status = 412, body = Problem), (status = 428, body = Problem),
        (status = 503, body = Problem), (status = 504, body = Problem),
    )
)]
pub(super) async fn remove(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path((project, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = if_match(&headers)?.ok_or_else(required)?;
    let author = caller.token.author();
    match admin.connections().delete(&author, &key(&project, &id)?, expected).await? {
        Applied::Shown(_) | Applied::Unchanged(_) => Ok(StatusCode::NO_CONTENT),
        Applied::Written(_) => Ok(StatusCode::ACCEPTED),
    }
}

/// Set a connection active; ends an automatic deactivation
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/connections/{id}/activate", tag = "connections",
    operation_id = "activate_connection",
    params(
        ("project" = String, Path), ("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "the ETag that was read"),
    ),
    responses(
        (status = 200, body = ConnectionView), (status = 202, body = ConnectionView),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem),
        (status = 503, body = Problem), (status = 504, body = Problem),
    )
)]
pub(super) async fn activate(
    admin: State<Admin>,
    caller: Extension<Caller>,
    path: Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    set_status(admin, caller, path, &headers, Status::Active).await
}

/// Set a connection inactive; no new attempt starts
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/connections/{id}/deactivate", tag = "connections",
    operation_id = "deactivate_connection",
    params(
        ("project" = String, Path), ("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "the ETag that was read"),
    ),
    responses(
        (status = 200, body = ConnectionView), (status = 202, body = ConnectionView),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem),
        (status = 503, body = Problem), (status = 504, body = Problem),
    )
)]
pub(super) async fn deactivate(
    admin: State<Admin>,
    caller: Extension<Caller>,
    path: Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    set_status(admin, caller, path, &headers, Status::Inactive).await
}

async fn set_status(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path((project, id)): Path<(String, String)>,
    headers: &HeaderMap,
    status: Status,
) -> Result<Response, Problem> {
    let expected = if_match(headers)?.unwrap_or(Expected::Any);
    let author = caller.token.author();
    let key = key(&project, &id)?;
    let applied = admin.connections().set_status(&author, &key, status, expected).await?;
    Ok(answer(&caller, StatusCode::OK, applied))
}

pub(super) fn key(project: &str, id: &str) -> Result<ConnectionKey, Problem> {
    ConnectionKey::parse(&format!("{project}/{id}")).ok_or_else(|| ChangeError::NotFound.into())
}

fn required() -> Problem {
    let detail = "send `If-Match` with the ETag that you have read, or `*` for whatever there is";
    let title = "The change needs the revision that it is meant for";
    Problem::new(StatusCode::PRECONDITION_REQUIRED, "precondition-required", title, detail)
}

/// Which revision the caller has read; `None` where nothing is said of it.
fn if_match(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(Some(Expected::Any));
    }
    let text = text.strip_prefix("W/").unwrap_or(text);
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let revision = inner.parse().map_err(|_| {
        Problem::bad_request("If-Match takes one ETag of this connection, such as \"7\", or *")
    })?;
    Ok(Some(Expected::Revision(revision)))
}

fn seen_by(caller: &Caller, view: ConnectionView) -> ConnectionView {
    if caller.token.role == Role::Viewer { view.for_viewer() } else { view }
}

fn answer(caller: &Caller, done: StatusCode, applied: Applied) -> Response {
    let (status, view) = match applied {
        Applied::Shown(view) => (done, view),
        Applied::Written(view) => (StatusCode::ACCEPTED, view),
        Applied::Unchanged(view) => (StatusCode::OK, view),
    };
    shown(caller, status, *view)
}

fn shown(caller: &Caller, status: StatusCode, view: ConnectionView) -> Response {
    let etag = format!("\"{}\"", view.revision);
    let location =
        format!("/api/v1/projects/{}/connections/{}", view.project_id, view.connection_id);
    let mut response =
        (status, [(header::ETAG, etag)], Json(seen_by(caller, view))).into_response();
    if status == StatusCode::CREATED
        && let Ok(location) = location.parse()
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let detail = error.to_string();
        match error {
            ChangeError::NotFound => Self::not_found(detail),
            ChangeError::Invalid(faults) => Self::invalid(&faults),
            ChangeError::NameTaken(_) => {
                let title = "The name is taken";
                let error = FieldProblem { pointer: "/name".to_owned(), detail: detail.clone() };
                Self::new(StatusCode::CONFLICT, "name-taken", title, detail).with_error(error)
            }
            ChangeError::Stale(_) => {
                let title = "It was changed meanwhile";
                Self::new(StatusCode::PRECONDITION_FAILED, "stale", title, detail)
            }
            ChangeError::Unreadable => {
                let title = "The connection cannot be read";
                Self::new(StatusCode::CONFLICT, "unreadable", title, detail)
            }
            ChangeError::NoKeyring => {
                let title = "Secrets cannot be stored";
                Self::new(StatusCode::CONFLICT, "no-keyring", title, detail)
            }
            ChangeError::Unknown(_) => {
                let title = "The outcome is not known";
                Self::new(StatusCode::GATEWAY_TIMEOUT, "unknown-outcome", title, detail)
            }
            ChangeError::Starting
            | ChangeError::Busy
            | ChangeError::Unwritten(_)
            | ChangeError::Seal(_)
            | ChangeError::Random(_) => Self::unavailable(detail),
        }
    }
}
