//! The routes of a connection's attempts.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::Admin;
use super::connections::key;
use crate::admin::attempts::{AttemptDetail, AttemptPage, AttemptSummary};
use crate::admin::filters::{AttemptFilter, place};
use crate::admin::problem::Problem;
use crate::engine::connection::ConnectionKey;

/// After that a live stream ends and has to be asked for anew, so that a token that is valid no more sees no more.
const LIVE: Duration = Duration::from_secs(300);

/// A page of a connection's attempts, the newest first
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/connections/{id}/attempts", tag = "insight",
    operation_id = "list_attempts",
    params(("project" = String, Path), ("id" = String, Path), AttemptFilter),
    responses((status = 200, body = AttemptPage), (status = 400, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    Path((project, id)): Path<(String, String)>,
    filter: Result<Query<AttemptFilter>, QueryRejection>,
) -> Result<Json<AttemptPage>, Problem> {
    let Query(filter) = filter.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let query = filter.query(key(&project, &id)?)?;
    Ok(Json(admin.models()?.attempts.page(&query)))
}

/// An attempt in full
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/connections/{id}/attempts/{attempt}", tag = "insight",
    operation_id = "show_attempt",
    params(("project" = String, Path), ("id" = String, Path), ("attempt" = String, Path)),
    responses((status = 200, body = AttemptDetail), (status = 404, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    Path((project, id, attempt)): Path<(String, String, String)>,
) -> Result<Json<AttemptDetail>, Problem> {
    let key = key(&project, &id)?;
    let found = admin.models()?.attempts.detail(&key, place(&attempt)?).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("there is no such attempt, or no longer"))
}

/// A connection's attempts from now on, as server-sent events
///
/// Each event `attempt` holds one as in a list; `missed` says how many could not be sent in time. The stream ends
/// after five minutes; ask again then, as browsers do by themselves.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/connections/{id}/attempts/live", tag = "insight",
    operation_id = "follow_attempts",
    params(("project" = String, Path), ("id" = String, Path)),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"), (status = 503, body = Problem),
    )
)]
pub(super) async fn live(
    State(admin): State<Admin>,
    Path((project, id)): Path<(String, String)>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let key = key(&project, &id)?;
    let attempts = admin.models()?.attempts.live();
    let follower = Follower { key, attempts, end: Instant::now() + LIVE };
    Ok(Sse::new(stream::unfold(follower, Follower::next)).keep_alive(KeepAlive::default()))
}

struct Follower {
    key: ConnectionKey,
    attempts: Receiver<Arc<AttemptSummary>>,
    end: Instant,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            let event = match timeout_at(self.end, self.attempts.recv()).await.ok()? {
                Ok(attempt) if !self.is_ours(&attempt) => continue,
                Ok(attempt) => Event::default()
                    .event("attempt")
                    .id(attempt.id.to_string())
                    .json_data(&*attempt),
                Err(RecvError::Lagged(count)) => Event::default().event("missed").json_data(count),
                Err(RecvError::Closed) => return None,
            };
            // Texts and numbers only: there is nothing that serde could refuse.
            return Some((Ok(event.unwrap_or_default()), self));
        }
    }

    fn is_ours(&self, attempt: &AttemptSummary) -> bool {
        &*attempt.line.project_id == self.key.project()
            && &*attempt.line.connection_id == self.key.connection()
    }
}
