//! `GET /api/v1/catalog`: the names that a connection may want, with their labels.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use crate::engine::catalog::Names;

/// The names of events and channels.
#[derive(Serialize, ToSchema)]
pub(super) struct CatalogView {
    events: Vec<NameView>,
    channels: Vec<NameView>,
}

/// A name.
#[derive(Serialize, ToSchema)]
pub(super) struct NameView {
    /// What records and requests carry.
    name: String,
    /// What people read.
    label: String,
}

/// The names of events and channels
#[utoipa::path(
    get, path = "/api/v1/catalog", tag = "catalog", operation_id = "show_catalog",
    responses((status = 200, body = CatalogView))
)]
pub(super) async fn show(State(admin): State<Admin>) -> Json<CatalogView> {
    let catalog = admin.connections().catalog();
    Json(CatalogView { events: views(&catalog.events), channels: views(&catalog.channels) })
}

fn views(names: &Names) -> Vec<NameView> {
    let view = |name: &crate::engine::catalog::Name| NameView {
        name: name.name.to_string(),
        label: name.label.to_string(),
    };
    names.iter().map(view).collect()
}
