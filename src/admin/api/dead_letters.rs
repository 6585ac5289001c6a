//! The routes of a project's dead letters.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;
use utoipa::ToSchema;

use super::Admin;
use super::body::JsonBody;
use super::insight::read;
use crate::admin::access::Caller;
use crate::admin::dead_letters::{
    DeadLetters, Letter, LetterPage, RedriveOrder, RedriveReport, Scope, Selection,
};
use crate::admin::filters::{LetterFilter, place, redrive_rate};
use crate::admin::place::Place;
use crate::admin::problem::Problem;
use crate::kafka::log::LogError;

/// Lines of JSON.
const NDJSON: &str = "application/x-ndjson";

/// A page of a project's dead letters, the newest first
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/dead-letters", tag = "dead letters",
    operation_id = "list_dead_letters", params(("project" = String, Path), LetterFilter),
    responses((status = 200, body = LetterPage), (status = 400, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    Path(project): Path<String>,
    filter: Result<Query<LetterFilter>, QueryRejection>,
) -> Result<Json<LetterPage>, Problem> {
    let Query(filter) = filter.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    Ok(Json(admin.models()?.dead_letters.page(&filter.query(&project)?)))
}

/// A dead letter in full
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/dead-letters/{letter}", tag = "dead letters",
    operation_id = "show_dead_letter", params(("project" = String, Path), ("letter" = String, Path)),
    responses((status = 200, body = Letter), (status = 404, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    Path((project, letter)): Path<(String, String)>,
) -> Result<Json<Letter>, Problem> {
    let scope = Scope::Project(project);
    let found = admin.models()?.dead_letters.show(&scope, place(&letter)?).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("there is no such dead letter, or no longer"))
}

/// Dead letters as lines of JSON
///
/// Everything that the filter is about, on all of its pages, each as it is shown in full. Where the topic cannot be read
/// to the end, the answer breaks off.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/dead-letters/export", tag = "dead letters",
    operation_id = "export_dead_letters", params(("project" = String, Path), LetterFilter),
    responses(
        (status = 200, body = Letter, content_type = "application/x-ndjson"),
        (status = 400, body = Problem), (status = 503, body = Problem),
    )
)]
pub(in crate::admin) async fn export(
    State(admin): State<Admin>,
    Path(project): Path<String>,
    filter: Result<Query<LetterFilter>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(filter) = filter.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let lines = admin.models()?.dead_letters.export(&filter.query(&project)?);
    let next = |mut lines: mpsc::Receiver<_>| async { Some((lines.recv().await?, lines)) };
    let name = "attachment; filename=\"dead-letters.ndjson\"";
    let headers = [(header::CONTENT_TYPE, NDJSON), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(stream::unfold(lines, next))).into_response())
}

/// What is put back into delivery: either `ids` or `matching`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RedriveBody {
    /// These.
    #[schema(value_type = Option<Vec<String>>)]
    ids: Option<Vec<Place>>,
    /// Everything that this filter is about, on all of its pages; `{}` is all of the project.
    matching: Option<LetterFilter>,
    /// Only count.
    #[serde(default)]
    dry_run: bool,
    /// How many a second: 1–10000; 50.
    rate_per_second: Option<u32>,
    /// Also those that were put back before.
    #[serde(default)]
    again: bool,
}

impl RedriveBody {
    fn order(self, project: &str) -> Result<RedriveOrder, Problem> {
        let selection = match (self.ids, self.matching) {
            (Some(ids), None) => Selection::Ids(ids),
            (None, Some(filter)) => Selection::Matching(filter.query(project)?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Problem::bad_request("send either `ids` or `matching`"));
            }
        };
        Ok(RedriveOrder {
            project_id: Some(project.to_owned()),
            selection,
            rate_per_second: redrive_rate(self.rate_per_second)?,
            again: self.again,
        })
    }
}

/// How far a redrive is.
#[derive(Serialize, ToSchema)]
pub(super) struct RedriveLine {
    #[serde(flatten)]
    report: RedriveReport,
    /// Why it has ended before all was done; what was done by then stays done.
    error: Option<String>,
}

/// Put dead letters back into delivery
///
/// With the same `webhook-id` and all attempts anew. Answered with lines of JSON while it goes on; the last one has
/// `is_done` or `error`. Closing the connection stops it. A dry run answers one line and changes nothing.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/dead-letters/redrive", tag = "dead letters",
    operation_id = "redrive_dead_letters", params(("project" = String, Path)), request_body = RedriveBody,
    responses(
        (status = 200, body = RedriveLine, content_type = "application/x-ndjson"),
        (status = 400, body = Problem), (status = 503, body = Problem),
    )
)]
pub(super) async fn redrive(
    State(admin): State<Admin>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let body: RedriveBody = read(&body)?;
    let letters = admin.models()?.dead_letters.clone();
    let is_dry = body.dry_run;
    let order = body.order(&project)?;
    let kind = [(header::CONTENT_TYPE, NDJSON)];
    if is_dry {
        let report = letters.dry_run(&order);
        return Ok((kind, line(&RedriveLine { report, error: None })).into_response());
    }
    let author = caller.token.author();
    admin.connections().note_redrive(&author, &order, &letters.dry_run(&order)).await?;
    info!(who = author, project, "dead letters are redriven");
    Ok((kind, Body::from_stream(lines(letters, order))).into_response())
}

/// Runs the order as long as somebody takes its lines.
fn lines(
    letters: DeadLetters,
    order: RedriveOrder,
) -> impl Stream<Item = Result<Bytes, LogError>> + Send {
    let (progress, watched) = watch::channel(RedriveReport::default());
    let run = async move { letters.redrive(&order, &progress, &CancellationToken::new()).await };
    let state = Some((Box::pin(run), watched));
    stream::unfold(state, |state| async {
        let (mut run, mut watched) = state?;
        tokio::select! {
            result = &mut run => {
                let last = watched.borrow().clone();
                let said = match result {
                    Ok(report) => RedriveLine { report, error: None },
                    Err(error) => RedriveLine { report: last, error: Some(error.to_string()) },
                };
                Some((Ok(line(&said)), None))
            }
            Ok(()) = watched.changed() => {
                let report = RedriveReport { is_done: false, ..watched.borrow_and_update().clone() };
                Some((Ok(line(&RedriveLine { report, error: None })), Some((run, watched))))
            }
        }
    })
}

fn line(said: &RedriveLine) -> Bytes {
    // Numbers and one text: there is nothing that serde could refuse.
    let mut line = serde_json::to_vec(said).unwrap_or_default();
    line.push(b'\n');
    Bytes::from(line)
}
