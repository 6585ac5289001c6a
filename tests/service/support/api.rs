//! A client of the admin API that keeps every answer, to look for secrets in all of them.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::service::Service;
use super::stage::PROJECT;

/// Longer than the server's own limit.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The answer, which must have that status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// The pointers of a problem's errors.
    pub fn pointers(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

pub struct Api {
    base: String,
    token: String,
    runtime: Runtime,
    client: reqwest::Client,
    seen: Mutex<String>,
}

impl Api {
    /// With the token that the service has printed.
    pub fn of(service: &Service) -> Self {
        Self::with_token(service.admin(), &service.set_up_token())
    }

    pub fn with_token(address: SocketAddr, token: &str) -> Self {
        Self {
            base: format!("http://{address}"),
            token: token.to_owned(),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            client: reqwest::Client::builder().timeout(ANSWER_TIME).build().unwrap(),
            seen: Mutex::default(),
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request; `headers` may replace the token.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !headers.iter().any(|(name, _)| ["authorization", "cookie"].contains(name)) {
            request = request.bearer_auth(&self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            Answer { status, headers, body: answer.text().await.unwrap() }
        });
        self.seen.lock().unwrap().push_str(&format!("{answer:?}\n"));
        answer
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    pub fn create(&self, body: &Value) -> Answer {
        self.send("POST", &connections(), &[], Some(body))
    }

    /// Everything that was ever answered.
    pub fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }
}

/// The path of the project's connections.
pub fn connections() -> String {
    format!("/api/v1/projects/{PROJECT}/connections")
}

/// The path of one of them.
pub fn one(id: &str) -> String {
    format!("{}/{id}", connections())
}
