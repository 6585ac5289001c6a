//! The admin API: every route in one list, with what it asks of its caller.
//!
//! The router, the rules of `access` and the tests are made from this list, so that no route is without a rule. The
//! handlers read a request, call a service and write its answer; they decide nothing.

mod attempts;
mod body;
mod catalog;
mod connections;
mod dead_letters;
mod document;
mod insight;
mod rejected;
mod session;

use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post, put};

pub(super) use self::dead_letters::export as export_letters;
pub use self::document::openapi;

use super::access::{Access, Rules};
use super::connections::Connections;
use super::console;
use super::problem::Problem;
use super::read_models::ReadModels;
use super::sessions::Sessions;
use super::tokens::{Role, Tokens};

/// The largest body of a request.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// What is served beside the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The console's pages.
    Console,
    /// Nothing; to whoever asks for a page there is none.
    Nothing,
}

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    tokens: Tokens,
    sessions: Sessions,
    connections: Connections,
    read_models: Arc<OnceLock<ReadModels>>,
    rules: Rules,
    /// Whether it can be reached without TLS, from this machine.
    is_loopback: bool,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("is_loopback", &self.0.is_loopback).finish_non_exhaustive()
    }
}

impl Admin {
    /// From its tokens and services. The read models are there once the connections are read.
    #[must_use]
    pub fn new(
        tokens: Tokens,
        connections: Connections,
        read_models: Arc<OnceLock<ReadModels>>,
        is_loopback: bool,
        beside: Beside,
    ) -> Self {
        let pages = match beside {
            Beside::Console => console::routes(),
            Beside::Nothing => Vec::new(),
        };
        let mut rules = Rules::default();
        for route in routes().into_iter().chain(pages) {
            rules.add(route.method, route.path, route.access);
        }
        let sessions = Sessions::default();
        Self(Arc::new(Inner { tokens, sessions, connections, read_models, rules, is_loopback }))
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.0.rules
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// The read models.
    ///
    /// # Errors
    /// 503 while the connections are being read.
    pub(super) fn models(&self) -> Result<&ReadModels, Problem> {
        let starting = || Problem::unavailable("the connections are still being read; try again");
        self.0.read_models.get().ok_or_else(starting)
    }

    fn is_loopback(&self) -> bool {
        self.0.is_loopback
    }
}

/// One route.
pub(super) struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    handler: MethodRouter<Admin>,
}

pub(super) fn route(
    method: Method,
    path: &'static str,
    access: Access,
    handler: MethodRouter<Admin>,
) -> Route {
    Route { method, path, access, handler }
}

fn routes() -> Vec<Route> {
    const ALL: &str = "/api/v1/projects/{project}/connections";
    const ONE: &str = "/api/v1/projects/{project}/connections/{id}";
    const ACTIVATE: &str = "/api/v1/projects/{project}/connections/{id}/activate";
    const DEACTIVATE: &str = "/api/v1/projects/{project}/connections/{id}/deactivate";
    let [viewer, editor, operator] =
        [Role::Viewer, Role::Editor, Role::Operator].map(Access::Project);
    let mut routes = vec![
        route(Method::POST, "/session", Access::Open, post(session::open)),
        route(Method::DELETE, "/session", Access::Token, delete(session::close)),
        route(Method::GET, "/api/v1/me", Access::Token, get(session::me)),
        route(Method::GET, "/api/v1/openapi.json", Access::Token, get(document::show)),
        route(Method::GET, "/api/v1/catalog", Access::Token, get(catalog::show)),
        route(Method::GET, ALL, viewer, get(connections::list)),
        route(Method::POST, ALL, editor, post(connections::create)),
        route(Method::GET, ONE, viewer, get(connections::show)),
        route(Method::PUT, ONE, editor, put(connections::update)),
        route(Method::DELETE, ONE, operator, delete(connections::remove)),
        route(Method::POST, ACTIVATE, editor, post(connections::activate)),
        route(Method::POST, DEACTIVATE, editor, post(connections::deactivate)),
    ];
    routes.extend(insight::routes());
    routes
}

/// The routes without their guard; [`super::server::router`] puts it before them.
pub(super) fn router() -> Router<Admin> {
    routes()
        .into_iter()
        .chain(console::routes())
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

#[cfg(test)]
mod tests;
