//! Who may do what: stands before the router and lets through what a rule names, and nothing else.
//!
//! A path is taken apart once, here: what could be read in two ways is refused before anything looks at it. Then the
//! caller is found out, and then the rule of method and path is asked. Without a valid token nobody learns which paths
//! there are.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use percent_encoding::percent_decode_str;
use url::Url;

use super::api::Admin;
use super::console::refusal;
use super::problem::Problem;
use super::sessions::COOKIE;
use super::tokens::{EVERY_PROJECT, Role, Token};
use crate::clock::wall_clock;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it finds out by itself who calls.
    Open,
    /// A valid token, whatever it may do.
    Token,
    /// A token for the project in the path, with that role or a higher one.
    Project(Role),
    /// A token for all projects, with that role or a higher one.
    EveryProject(Role),
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token, as it is now.
    pub token: Arc<Token>,
    /// The session's secret, where a cookie was sent in place of the token.
    pub session: Option<Arc<str>>,
}

/// The rules of all routes.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    method: Method,
    path: &'static str,
    access: Access,
}

/// What the rules say of a method and a path.
#[derive(Debug, PartialEq, Eq)]
enum Ruling {
    /// There is such a route; with the project that stands in its path.
    Known(Access, Option<String>),
    /// There is such a path, for other methods.
    OtherMethod,
    /// There is no such path.
    Unknown,
}

impl Rules {
    /// Adds a route's rule.
    pub fn add(&mut self, method: Method, path: &'static str, access: Access) {
        self.0.push(Rule { method, path, access });
    }

    /// Every route: method, path, and what it asks for.
    pub fn iter(&self) -> impl Iterator<Item = (&Method, &'static str, Access)> {
        self.0.iter().map(|rule| (&rule.method, rule.path, rule.access))
    }

    fn rule_on(&self, method: &Method, segments: &[String]) -> Ruling {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let mut ruling = Ruling::Unknown;
        for rule in &self.0 {
            let Some(project) = matched(rule.path, segments) else { continue };
            if rule.method == *method {
                return Ruling::Known(rule.access, project);
            }
            ruling = Ruling::OtherMethod;
        }
        ruling
    }
}

/// The project in a path, if the path is of that pattern.
fn matched(pattern: &str, segments: &[String]) -> Option<Option<String>> {
    let parts: Vec<_> = pattern.split('/').skip(1).collect();
    if parts.len() != segments.len() {
        return None;
    }
    let mut project = None;
    for (part, segment) in parts.iter().zip(segments) {
        let is_parameter = part.starts_with('{');
        if !is_parameter && part != segment || is_parameter && segment.is_empty() {
            return None;
        }
        if *part == "{project}" {
            project = Some(segment.clone());
        }
    }
    Some(project)
}

/// Lets a request through to the router, or answers it.
pub async fn guard(State(admin): State<Admin>, mut request: Request, next: Next) -> Response {
    match admit(&admin, &request) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(problem) if is_for_people(&request) => {
            refusal(&problem, caller(&admin, request.headers()).as_ref())
        }
        Err(problem) => problem.into_response(),
    }
}

/// Whether a page is asked for, and not the API.
fn is_for_people(request: &Request) -> bool {
    let path = request.uri().path();
    let accepts = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    !path.starts_with("/api") && accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

fn admit(admin: &Admin, request: &Request) -> Result<Option<Caller>, Problem> {
    let Some(segments) = segments(request.uri().path()) else {
        return Err(Problem::bad_request("the path could be read in more than one way"));
    };
    let (method, headers) = (request.method(), request.headers());
    let ruling = admin.rules().rule_on(method, &segments);
    if ruling == Ruling::Known(Access::Open, None) {
        check_origin(method, headers)?;
        return Ok(None);
    }
    let caller = caller(admin, headers).ok_or_else(Problem::unauthorized)?;
    if caller.session.is_some() {
        check_origin(method, headers)?;
    }
    match ruling {
        Ruling::Known(Access::Open | Access::Token, _) => Ok(Some(caller)),
        Ruling::Known(Access::Project(role), project) => {
            let project = project.unwrap_or_default();
            if !caller.token.covers(&project) {
                return Err(Problem::forbidden("the token is not for this project"));
            }
            check_role(&caller.token, role)?;
            Ok(Some(caller))
        }
        Ruling::Known(Access::EveryProject(role), _) => {
            if !caller.token.covers(EVERY_PROJECT) {
                return Err(Problem::forbidden("the token is not for all projects"));
            }
            check_role(&caller.token, role)?;
            Ok(Some(caller))
        }
        Ruling::OtherMethod => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "This path knows other methods",
            "see /api/v1/openapi.json",
        )),
        Ruling::Unknown => Err(Problem::not_found("see /api/v1/openapi.json for what there is")),
    }
}

fn check_role(token: &Token, role: Role) -> Result<(), Problem> {
    if token.role < role {
        let needed = match role {
            Role::Viewer => "viewer",
            Role::Editor => "editor",
            Role::Operator => "operator",
        };
        return Err(Problem::forbidden(format!("this needs the role {needed}")));
    }
    Ok(())
}

/// Who calls, by token or by session. A token that is wrong is not made good by a cookie.
fn caller(admin: &Admin, headers: &HeaderMap) -> Option<Caller> {
    let now = wall_clock();
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
        let token = admin.tokens().authenticate(text.trim(), now)?;
        return scheme.eq_ignore_ascii_case("bearer").then_some(Caller { token, session: None });
    }
    let secret = session_cookie(headers)?;
    let token = admin.sessions().token(secret, now)?;
    match admin.tokens().renew(&token, now) {
        Some(token) => Some(Caller { token, session: Some(secret.into()) }),
        None => {
            admin.sessions().close(secret);
            None
        }
    }
}

fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

/// Refuses what another site makes a browser send. Programs that are no browsers send neither header.
fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    let is_ours = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            text("host").is_some_and(|host| authority(origin) == Some(host.to_owned()))
        }
        (None, None) => true,
    };
    if is_safe || is_ours {
        return Ok(());
    }
    Err(Problem::forbidden("the request comes from another site"))
}

fn authority(origin: &str) -> Option<String> {
    let url = Url::parse(origin).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// The parts of a path, decoded once; `None` for one that another reader could take for a different path.
fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let parts: Vec<_> = path.split('/').collect();
    let count = parts.len();
    parts
        .into_iter()
        .enumerate()
        .map(|(place, part)| {
            let text = percent_decode_str(part).decode_utf8().ok()?.into_owned();
            let is_plain = !text.contains(['/', '\\', '%']) && !text.chars().any(char::is_control);
            let is_there = !text.is_empty() || place + 1 == count;
            (is_plain && is_there && text != "." && text != "..").then_some(text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let mut rules = Rules::default();
        rules.add(
            Method::GET,
            "/api/v1/projects/{project}/connections",
            Access::Project(Role::Viewer),
        );
        rules.add(Method::POST, "/session", Access::Open);
        rules
    }

    fn ruling(method: &Method, path: &str) -> Ruling {
        rules().rule_on(method, &segments(path).unwrap())
    }

    #[test]
    fn a_rule_is_found_by_method_and_path() {
        let known = Ruling::Known(Access::Project(Role::Viewer), Some("41 72".into()));
        assert_eq!(ruling(&Method::GET, "/api/v1/projects/41%2072/connections"), known);
        assert_eq!(ruling(&Method::HEAD, "/api/v1/projects/41%2072/connections"), known);
        assert_eq!(ruling(&Method::PUT, "/api/v1/projects/1/connections"), Ruling::OtherMethod);
        for path in ["/", "/api", "/api/v1/projects/1/connections/", "/Session", "/api/v1/projects"]
        {
            assert_eq!(ruling(&Method::GET, path), Ruling::Unknown, "{path}");
        }
    }

    #[test]
    fn a_path_with_two_readings_is_none() {
        for path in [
            "api",
            "//api",
            "/api//v1",
            "/api/./v1",
            "/api/../v1",
            "/api/%2e%2e/v1",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%0d",
            "/a%252fb",
            "/%ff",
            "/..",
        ] {
            assert_eq!(segments(path), None, "{path}");
        }
        assert_eq!(segments("/").unwrap(), [""]);
    }

    #[test]
    fn other_sites_change_nothing() {
        let ask = |method: Method, pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "hooks.example.com:8080".parse().unwrap());
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            check_origin(&method, &headers).is_ok()
        };
        assert!(ask(Method::POST, &[]));
        assert!(ask(Method::POST, &[("sec-fetch-site", "same-origin")]));
        assert!(ask(Method::POST, &[("origin", "https://hooks.example.com:8080")]));
        assert!(ask(Method::GET, &[("sec-fetch-site", "cross-site")]));
        for pair in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example.com"),
            ("origin", "https://hooks.example.com"),
            ("origin", "null"),
        ] {
            assert!(!ask(Method::DELETE, &[pair]), "{pair:?}");
        }
    }
}
