//! The routes of records that are no events: dead letters that belong to no project.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};

use super::Admin;
use crate::admin::dead_letters::{Letter, LetterPage, Scope};
use crate::admin::filters::{RejectedFilter, place};
use crate::admin::problem::Problem;

/// A page of the records that are no events, the newest first
///
/// They belong to no project: this asks for a token for all projects.
#[utoipa::path(
    get, path = "/api/v1/rejected-records", tag = "rejected records",
    operation_id = "list_rejected_records", params(RejectedFilter),
    responses((status = 200, body = LetterPage), (status = 400, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    filter: Result<Query<RejectedFilter>, QueryRejection>,
) -> Result<Json<LetterPage>, Problem> {
    let Query(filter) = filter.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    Ok(Json(admin.models()?.dead_letters.page(&filter.query()?)))
}

/// A record that is no event, in full
#[utoipa::path(
    get, path = "/api/v1/rejected-records/{letter}", tag = "rejected records",
    operation_id = "show_rejected_record", params(("letter" = String, Path)),
    responses((status = 200, body = Letter), (status = 404, body = Problem), (status = 503, body = Problem))
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(letter): Path<String>,
) -> Result<Json<Letter>, Problem> {
    let found = admin.models()?.dead_letters.show(&Scope::Rejected, place(&letter)?).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("there is no such record, or no longer"))
}
