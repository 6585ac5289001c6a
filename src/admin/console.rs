//! The console: pages for people, made on the server, that also work without script.
//!
//! Every page calls the same service functions as the API and has no power of its own; `access` stands before both. A
//! page is a template and the struct that fills it; texts of users and endpoints are escaped by the templates.

mod ago;
mod assets;
mod attempts;
mod configured;
mod confirmation;
mod connect;
mod connection_form;
mod connection_head;
mod dead_letters;
mod health;
mod insight;
mod marketplace;
mod match_preview;
mod notice;
mod page;
mod paths;
mod pipeline;
mod projects;
mod reasons;
mod redrive;
mod rejected;
mod settings;
mod sign_in;
mod test_event;
mod values;

use axum::http::Method;
use axum::routing::{get, post};

pub(super) use self::page::refusal;

use super::access::Access;
use super::api::{Route, route};
use super::tokens::Role;

/// Every page, with what it asks of its caller.
pub(super) fn routes() -> Vec<Route> {
    const CONNECT: &str = "/projects/{project}/integrations/webhooks/connect";
    const CONFIGURED: &str = "/projects/{project}/integrations/configured";
    const PREVIEW: &str = "/projects/{project}/match-preview";
    const CONNECTION: &str = "/projects/{project}/connections/{id}";
    let [viewer, editor] = [Role::Viewer, Role::Editor].map(Access::Project);
    let mut routes = assets::routes();
    routes.extend(confirmation::routes());
    routes.extend(insight::insight_routes());
    routes.extend([
        route(Method::GET, "/", Access::Token, get(projects::home)),
        route(Method::GET, "/sign-in", Access::Open, get(sign_in::show)),
        route(Method::POST, "/sign-out", Access::Token, post(sign_in::out)),
        route(Method::GET, "/projects", Access::Token, get(projects::list)),
        route(Method::GET, "/projects/{project}/integrations", viewer, get(marketplace::show)),
        route(Method::GET, CONNECT, editor, get(connect::show)),
        route(Method::POST, CONNECT, editor, post(connect::connect)),
        route(Method::POST, PREVIEW, editor, post(match_preview::show)),
        route(Method::GET, CONFIGURED, viewer, get(configured::list)),
        route(Method::GET, CONNECTION, viewer, get(settings::show)),
        route(Method::POST, CONNECTION, editor, post(settings::save)),
    ]);
    routes
}
