//! The API's own description: OpenAPI, made from the handlers.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};

use super::{attempts, catalog, connections, dead_letters, insight, rejected, session};
use crate::admin::sessions::COOKIE;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Barnabas admin API",
        description = "Connections and what becomes of their deliveries. Errors are `application/problem+json` (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        session::open, session::close, session::me, show, catalog::show,
        connections::list, connections::create, connections::show, connections::update,
        connections::remove, connections::activate, connections::deactivate,
        attempts::list, attempts::live, attempts::show,
        insight::health, insight::test, insight::preview, insight::pipeline,
        dead_letters::list, dead_letters::export, dead_letters::redrive, dead_letters::show,
        rejected::list, rejected::show,
    ),
    security(("token" = []), ("session" = [])),
    modifiers(&Security),
)]
struct Document;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE)));
        components.add_security_scheme("token", token);
        components.add_security_scheme("session", cookie);
    }
}

/// The document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This document
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "document", operation_id = "show_openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(super) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}
