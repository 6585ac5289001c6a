//! Every route with every kind of caller, through the guard; and the document.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::*;
use crate::admin::connections::Parts;
use crate::admin::server;
use crate::admin::tokens::{Token, TokensFile};
use crate::clock::wall_clock;
use crate::engine::address::{AddressRule, EgressConfig};
use crate::engine::connection::DeliveryConfig;
use crate::engine::fixtures::{catalog, connection};
use crate::engine::table::{ConnectionTable, Entry};
use crate::kafka::client::KafkaConfig;
use crate::kafka::connections::{PlaintextSecrets, Progress};
use crate::kafka::editor::Editor;
use crate::kafka::record::connection::ConnectionDecoder;

/// The texts of the tokens.
struct Rig {
    router: Router,
    viewer: String,
    editor: String,
    operator: String,
    elsewhere: String,
    /// Looks at all projects.
    overseer: String,
    expired: String,
    _folder: tempfile::TempDir,
}

/// What is answered before there are read models.
const WAITING: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

fn rig() -> Rig {
    let now = wall_clock();
    let mut file = TokensFile::default();
    let mut make = |id: &str, role, project: &str, lifetime| {
        let projects = vec![project.to_owned()];
        let (token, text) = Token::generate(id, role, projects, now, lifetime).unwrap();
        file.tokens.push(token);
        text.expose_secret().to_owned()
    };
    let texts = [
        make("viewer", Role::Viewer, "4172", None),
        make("editor", Role::Editor, "4172", None),
        make("operator", Role::Operator, "*", None),
        make("elsewhere", Role::Operator, "4173", None),
        make("overseer", Role::Viewer, "*", None),
        make("expired", Role::Operator, "*", Some(std::time::Duration::ZERO)),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    file.save(&path).unwrap();
    let tokens = Tokens::open(&path).unwrap();
    let admin = Admin::new(tokens, services(), Arc::default(), true, Beside::Console);
    let [viewer, editor, operator, elsewhere, overseer, expired] = texts;
    let router = server::router(admin);
    Rig { router, viewer, editor, operator, elsewhere, overseer, expired, _folder: folder }
}

/// One connection, and no Kafka: no test here gets as far as a change.
fn services() -> Connections {
    let mut table = ConnectionTable::default();
    let known = connection("4172/whc_1").build();
    table.put(&known.key.clone(), Entry::Known(Arc::new(known)));
    let config = KafkaConfig::default().editor("test");
    Connections::new(Parts {
        table: watch::channel(Arc::new(table)).1,
        ready: watch::channel(true).1,
        editor: Editor::new(config, "connections", watch::channel(Progress::default()).1),
        decoder: ConnectionDecoder {
            catalog: Arc::new(catalog()),
            rule: AddressRule::new(&EgressConfig::default(), Vec::new()),
            defaults: DeliveryConfig::default(),
            plaintext: PlaintextSecrets::Accept,
            topic: "connections".into(),
            keyring: None,
        },
        audit_topic: "audit".into(),
    })
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Rig {
    async fn ask(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn status(&self, method: &Method, path: &str, token: Option<&str>) -> StatusCode {
        let value = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = value.iter().map(|value| ("authorization", value.as_str())).collect();
        self.ask(method, path, &headers, "").await.status
    }
}

fn path_of(pattern: &str) -> String {
    pattern
        .replace("{project}", "4172")
        .replace("{id}", "whc_1")
        .replace("{attempt}", "1-0-0")
        .replace("{letter}", "1-0-0")
}

fn is_denied(status: StatusCode) -> bool {
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status)
}

#[tokio::test]
async fn every_route_asks_who_is_there() {
    let rig = rig();
    let wrong = format!("{}x", rig.operator);
    for Route { method, path, access, .. } in routes().into_iter().chain(console::routes()) {
        let path = path_of(path);
        if access == Access::Open {
            continue;
        }
        for token in [None, Some(&wrong), Some(&rig.expired)] {
            let status = rig.status(&method, &path, token.map(String::as_str)).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} {token:?}");
        }
    }
}

#[tokio::test]
async fn every_route_asks_for_its_role_and_project() {
    let rig = rig();
    let insight: Vec<_> = insight::routes().iter().map(|route| route.path).collect();
    let all = routes().into_iter().chain(console::routes());
    for Route { method, path: pattern, access, .. } in all {
        let path = path_of(pattern);
        if let Access::EveryProject(role) = access {
            let overseer = if role > Role::Viewer { StatusCode::FORBIDDEN } else { WAITING };
            for (token, expected) in [
                (&rig.viewer, StatusCode::FORBIDDEN),
                (&rig.editor, StatusCode::FORBIDDEN),
                (&rig.elsewhere, StatusCode::FORBIDDEN),
                (&rig.overseer, overseer),
                (&rig.operator, WAITING),
            ] {
                let status = rig.status(&method, &path, Some(token)).await;
                assert_eq!(status, expected, "{method} {path} {role:?}");
            }
        }
        let Access::Project(role) = access else { continue };
        let elsewhere = rig.status(&method, &path, Some(&rig.elsewhere)).await;
        assert_eq!(elsewhere, StatusCode::FORBIDDEN, "{method} {path}");
        let callers = [(Role::Viewer, &rig.viewer), (Role::Editor, &rig.editor)];
        for (own, token) in callers.into_iter().filter(|(own, _)| *own < role) {
            let status = rig.status(&method, &path, Some(token)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path} {own:?}");
        }
        if method == Method::GET {
            let token = match role {
                Role::Viewer => &rig.viewer,
                Role::Editor => &rig.editor,
                Role::Operator => &rig.operator,
            };
            let status = rig.status(&method, &path, Some(token)).await;
            // There are no read models yet.
            let may_wait = insight.contains(&pattern) || !pattern.starts_with("/api");
            let is_waiting = may_wait && status == StatusCode::SERVICE_UNAVAILABLE;
            assert!(status == StatusCode::OK || is_waiting, "{path} {status}");
        }
        assert!(method == Method::GET || role > Role::Viewer, "{method} {path} changes something");
    }
}

#[tokio::test]
async fn what_is_no_route_is_nothing() {
    let rig = rig();
    let get = Method::GET;
    for path in
        ["/nowhere", "/api", "/api/v1/projects", "/api/v1/projects/4172/secrets", "/api/v1/me/"]
    {
        assert_eq!(rig.status(&get, path, None).await, StatusCode::UNAUTHORIZED, "{path}");
        let status = rig.status(&get, path, Some(&rig.operator)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/api/v1/../v1/me", "//api/v1/me", "/api/v1/projects/4172%2f..%2f4173/connections"]
    {
        let status = rig.status(&get, path, Some(&rig.operator)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
    }
    let patch = rig.status(&Method::PATCH, "/api/v1/me", Some(&rig.operator)).await;
    assert_eq!(patch, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_session_is_a_token_in_a_cookie_for_our_own_pages_alone() {
    let rig = rig();
    let json_type = ("content-type", "application/json");
    let body = json!({"token": rig.editor}).to_string();
    let crossed = [json_type, ("sec-fetch-site", "cross-site")];
    let status = rig.ask(&Method::POST, "/session", &crossed, &body).await.status;
    assert_eq!(status, StatusCode::FORBIDDEN, "nobody is signed in from elsewhere");
    let local = [json_type, ("host", "127.0.0.1:8080")];
    let opened = rig.ask(&Method::POST, "/session", &local, &body).await;
    assert_eq!((opened.status, &opened.body["id"]), (StatusCode::OK, &json!("editor")));
    let cookie = opened.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    let far = rig
        .ask(&Method::POST, "/session", &[json_type, ("host", "hooks.example.com")], &body)
        .await;
    assert!(far.headers["set-cookie"].to_str().unwrap().ends_with("; Secure"));

    let cookie = cookie.split(';').next().unwrap();
    let me = rig.ask(&Method::GET, "/api/v1/me", &[("cookie", cookie)], "").await;
    assert_eq!(me.body["role"], "editor");
    let stop = path_of("/api/v1/projects/{project}/connections/{id}/deactivate");
    for header in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example.com")] {
        let status = rig.ask(&Method::POST, &stop, &[("cookie", cookie), header], "").await.status;
        assert_eq!(status, StatusCode::FORBIDDEN, "{header:?}");
    }
    let both = [("cookie", cookie), ("authorization", "Bearer bnb_x.y")];
    let status = rig.ask(&Method::GET, "/api/v1/me", &both, "").await.status;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a wrong token is not made good by a cookie");
    let closed = rig.ask(&Method::DELETE, "/session", &[("cookie", cookie)], "").await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT);
    let me = rig.ask(&Method::GET, "/api/v1/me", &[("cookie", cookie)], "").await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_form_signs_in_and_guessing_is_slowed_down() {
    let rig = rig();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let opened =
        rig.ask(&Method::POST, "/session", &[form], &format!("token={}", rig.viewer)).await;
    assert_eq!(
        (opened.status, &opened.headers["location"]),
        (StatusCode::SEE_OTHER, &"/".parse().unwrap())
    );
    for _ in 0..10 {
        let guess = rig.ask(&Method::POST, "/session", &[form], "token=bnb_viewer.guess").await;
        assert_eq!(guess.headers["location"], "/sign-in?after=refused");
        assert!(!guess.headers.contains_key("set-cookie"));
    }
    let slowed = rig.ask(&Method::POST, "/session", &[form], "token=bnb_viewer.guess").await;
    assert_eq!(slowed.headers["location"], "/sign-in?after=pause");
    let json_type = ("content-type", "application/json");
    let guess = json!({"token": "bnb_viewer.guess"}).to_string();
    let slowed = rig.ask(&Method::POST, "/session", &[json_type], &guess).await;
    assert_eq!(slowed.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(slowed.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn viewers_see_where_a_url_leads_and_not_what_stands_behind_it() {
    let rig = rig();
    let path = path_of("/api/v1/projects/{project}/connections/{id}");
    let url = async |token: &str| {
        let value = format!("Bearer {token}");
        rig.ask(&Method::GET, &path, &[("authorization", &value)], "").await.body["url"].clone()
    };
    assert_eq!(url(&rig.viewer).await, "https://hooks.example.com/…");
    assert_eq!(url(&rig.editor).await, "https://hooks.example.com/campaigns");
}

#[tokio::test]
async fn bodies_are_of_one_kind_and_not_too_large() {
    let rig = rig();
    let path = path_of("/api/v1/projects/{project}/connections");
    let value = format!("Bearer {}", rig.editor);
    let ask = async |kind: &str, body: &str| {
        let headers = [("authorization", value.as_str()), ("content-type", kind)];
        rig.ask(&Method::POST, &path, &headers, body).await.status
    };
    assert_eq!(ask("text/plain", "{}").await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(ask("application/json", "{").await, StatusCode::BAD_REQUEST);
    assert_eq!(ask("application/json", "[]").await, StatusCode::BAD_REQUEST);
    assert_eq!(ask("application/json", "{}").await, StatusCode::UNPROCESSABLE_ENTITY);
    let large = " ".repeat(MAX_BODY_BYTES + 1);
    assert_eq!(ask("application/json", &large).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_a_browser_in_check() {
    let rig = rig();
    for path in ["/api/v1/me", "/nothing", "/api/../x"] {
        let answer = rig.ask(&Method::GET, path, &[], "").await;
        assert!(is_denied(answer.status) || answer.status == StatusCode::BAD_REQUEST);
        let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        assert!(header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("content-type"), "application/problem+json");
    }
}

#[test]
fn the_document_describes_every_route_and_nothing_else() {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut described: Vec<String> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        described
            .extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    let mut routed: Vec<_> = routes()
        .iter()
        .map(|route| format!("{} {}", route.method.as_str().to_lowercase(), route.path))
        .collect();
    described.sort();
    routed.sort();
    assert_eq!(described, routed);
}

#[test]
fn the_document_is_as_agreed() {
    insta::assert_json_snapshot!("openapi", openapi(), { ".info.version" => "[version]" });
}
