//! The routes of what becomes of events: health, test events, previews and the pipeline; and the list of all routes
//! that ask the read models.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::body::JsonBody;
use super::connections::key;
use super::{Admin, Route, attempts, dead_letters, rejected, route};
use crate::admin::access::Access;
use crate::admin::health::Health;
use crate::admin::pipeline::PipelineReport;
use crate::admin::preview::{PreviewError, PreviewQuery, PreviewReport};
use crate::admin::problem::{FieldProblem, Problem};
use crate::admin::test_send::{TestError, TestQuery, TestReport};
use crate::admin::tokens::Role;
use crate::kafka::log::LogError;

/// Every route that asks the read models.
pub(super) fn routes() -> Vec<Route> {
    const ATTEMPTS: &str = "/api/v1/projects/{project}/connections/{id}/attempts";
    const LIVE: &str = "/api/v1/projects/{project}/connections/{id}/attempts/live";
    const ATTEMPT: &str = "/api/v1/projects/{project}/connections/{id}/attempts/{attempt}";
    const HEALTH: &str = "/api/v1/projects/{project}/connections/{id}/health";
    const TEST: &str = "/api/v1/projects/{project}/connections/{id}/test";
    const LETTERS: &str = "/api/v1/projects/{project}/dead-letters";
    const EXPORT: &str = "/api/v1/projects/{project}/dead-letters/export";
    const REDRIVE: &str = "/api/v1/projects/{project}/dead-letters/redrive";
    const LETTER: &str = "/api/v1/projects/{project}/dead-letters/{letter}";
    const REJECTED: &str = "/api/v1/rejected-records";
    const REJECTED_ONE: &str = "/api/v1/rejected-records/{letter}";
    const PREVIEW: &str = "/api/v1/projects/{project}/match-preview";
    let [viewer, editor, operator] =
        [Role::Viewer, Role::Editor, Role::Operator].map(Access::Project);
    // Viewers see no payload. Of two paths that fit, the one that stands first is asked.
    vec![
        route(Method::GET, ATTEMPTS, viewer, get(attempts::list)),
        route(Method::GET, LIVE, viewer, get(attempts::live)),
        route(Method::GET, ATTEMPT, editor, get(attempts::show)),
        route(Method::GET, HEALTH, viewer, get(health)),
        route(Method::POST, TEST, editor, post(test)),
        route(Method::GET, LETTERS, viewer, get(dead_letters::list)),
        route(Method::GET, EXPORT, editor, get(dead_letters::export)),
        route(Method::POST, REDRIVE, operator, post(dead_letters::redrive)),
        route(Method::GET, LETTER, editor, get(dead_letters::show)),
        route(Method::GET, REJECTED, Access::EveryProject(Role::Viewer), get(rejected::list)),
        route(Method::GET, REJECTED_ONE, Access::EveryProject(Role::Editor), get(rejected::show)),
        route(Method::POST, PREVIEW, editor, post(preview)),
        route(Method::GET, "/api/v1/pipeline", Access::Token, get(pipeline)),
    ]
}

/// A body of that form.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(error.to_string()))
}

/// How a connection is
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/connections/{id}/health", tag = "insight",
    operation_id = "show_health", params(("project" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Health), (status = 404, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn health(
    State(admin): State<Admin>,
    Path((project, id)): Path<(String, String)>,
) -> Result<Json<Health>, Problem> {
    let key = key(&project, &id)?;
    admin.connections().get(&key)?;
    let mut healths = admin.models()?.healths.of(&[key]).await;
    healths.pop().map(Json).ok_or_else(|| Problem::not_found("there is no such connection"))
}

/// Which event is sent as a test.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestBody {
    /// A name of the catalog or an alias.
    event: String,
    /// A name of the catalog or an alias.
    channel: String,
}

/// Send a test event
///
/// One real request with real credentials; nothing is retried. The connection may be inactive.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/connections/{id}/test", tag = "insight",
    operation_id = "test_connection", params(("project" = String, Path), ("id" = String, Path)),
    request_body = TestBody,
    responses(
        (status = 200, body = TestReport, description = "what came of it; also where that is a failure"),
        (status = 404, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem, description = "too many tests of this connection"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn test(
    State(admin): State<Admin>,
    Path((project, id)): Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> Result<Json<TestReport>, Problem> {
    let TestBody { event, channel } = read(&body)?;
    let query = TestQuery { connection: key(&project, &id)?, event, channel };
    Ok(Json(admin.models()?.test_sends.send(&query).await?))
}

/// The filter that is tried.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewBody {
    /// Names of the catalog or aliases.
    events: Vec<String>,
    /// Names of the catalog or aliases.
    channels: Vec<String>,
}

/// What a filter would have matched of the project's last events
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/match-preview", tag = "insight",
    operation_id = "preview_match", params(("project" = String, Path)), request_body = PreviewBody,
    responses((status = 200, body = PreviewReport), (status = 422, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn preview(
    State(admin): State<Admin>,
    Path(project): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<Json<PreviewReport>, Problem> {
    let PreviewBody { events, channels } = read(&body)?;
    let query = PreviewQuery { project_id: project, events, channels };
    Ok(Json(admin.models()?.preview.look(&query).await?))
}

/// The pipeline as a whole
#[utoipa::path(
    get, path = "/api/v1/pipeline", tag = "insight", operation_id = "show_pipeline",
    responses((status = 200, body = PipelineReport), (status = 503, body = Problem))
)]
pub(super) async fn pipeline(State(admin): State<Admin>) -> Result<Json<PipelineReport>, Problem> {
    Ok(Json(admin.models()?.pipeline.report().await))
}

fn unknown_name(list: &str, detail: String) -> Problem {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let title = "Some fields cannot be accepted";
    let error = FieldProblem { pointer: format!("/{list}"), detail: detail.clone() };
    Problem::new(status, "invalid", title, detail).with_error(error)
}

impl From<TestError> for Problem {
    fn from(error: TestError) -> Self {
        let detail = error.to_string();
        match error {
            TestError::NoConnection(_) => Self::not_found(detail),
            TestError::UnknownName { list, .. } => unknown_name(list, detail),
            TestError::TooMany { retry_after_seconds } => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                Self::new(status, "too-many-tests", "Too many tests", detail)
                    .retry_after(retry_after_seconds)
            }
            TestError::Busy => Self::unavailable(detail),
        }
    }
}

impl From<PreviewError> for Problem {
    fn from(error: PreviewError) -> Self {
        let detail = error.to_string();
        match error {
            PreviewError::UnknownName { list, .. } => unknown_name(list, detail),
            PreviewError::Log(_) => Self::unavailable(detail),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        Self::unavailable(error.to_string())
    }
}
