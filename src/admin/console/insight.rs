//! The pages of what becomes of events: attempts, health, test events, dead letters and the pipeline.
//!
//! Lists their routes, and has what they share: times in words.

use axum::extract::Extension;
use axum::http::Method;
use axum::routing::{get, post};
use jiff::Timestamp;

use super::{attempts, dead_letters, health, pipeline, redrive, rejected, test_event};
use crate::admin::access::{Access, Caller};
use crate::admin::api::{Route, route};
use crate::admin::tokens::Role;

/// Every page about what becomes of events, with what it asks of its caller.
pub(super) fn insight_routes() -> Vec<Route> {
    const ATTEMPTS: &str = "/projects/{project}/connections/{id}/attempts";
    const ATTEMPT: &str = "/projects/{project}/connections/{id}/attempts/{attempt}";
    const HEALTH: &str = "/projects/{project}/connections/{id}/health";
    const TEST: &str = "/projects/{project}/connections/{id}/test";
    const LETTERS: &str = "/projects/{project}/dead-letters";
    const EXPORT: &str = "/projects/{project}/dead-letters/export";
    const REDRIVE: &str = "/projects/{project}/dead-letters/redrive";
    const REJECTED: &str = "/rejected-records";
    const REJECTED_ONE: &str = "/rejected-records/{letter}";
    const UNDER_WAY: &str = "/projects/{project}/dead-letters/redrives/{redrive}";
    const STOP: &str = "/projects/{project}/dead-letters/redrives/{redrive}/stop";
    const LETTER: &str = "/projects/{project}/dead-letters/{letter}";
    let [viewer, editor, operator] =
        [Role::Viewer, Role::Editor, Role::Operator].map(Access::Project);
    vec![
        route(Method::GET, ATTEMPTS, viewer, get(attempts::list)),
        route(Method::GET, ATTEMPT, editor, get(attempts::show)),
        route(Method::GET, HEALTH, viewer, get(health::show)),
        route(Method::GET, TEST, editor, get(test_event::show)),
        route(Method::POST, TEST, editor, post(test_event::send)),
        route(Method::GET, LETTERS, viewer, get(dead_letters::list)),
        route(Method::GET, EXPORT, editor, get(dead_letters::export)),
        route(Method::POST, REDRIVE, operator, post(redrive::put_back)),
        route(Method::GET, UNDER_WAY, operator, get(redrive::show)),
        route(Method::POST, STOP, operator, post(redrive::stop)),
        route(Method::GET, LETTER, editor, get(dead_letters::show)),
        route(Method::GET, REJECTED, Access::EveryProject(Role::Viewer), get(rejected::list)),
        route(Method::GET, REJECTED_ONE, Access::EveryProject(Role::Editor), get(rejected::show)),
        route(Method::GET, "/pipeline", Access::Token, get(pipeline::show)),
    ]
}

/// A time as people read it, in UTC.
pub(super) fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
    at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Who calls, as handlers get it.
pub(super) type Who = Extension<Caller>;
