//! A client of the admin API, for the commands that work through it.
//!
//! Sends, and turns what comes back into exit codes: a problem's own words, and its bad fields. Decides nothing else.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, IF_MATCH};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::runtime::{self, Runtime};
use url::Url;

use super::CliError;

/// Longer than the API itself takes at most.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// For an answer that comes bit by bit.
const LONG_ANSWER_TIME: Duration = Duration::from_hours(24);

/// Where the API is, and who asks.
#[derive(Debug, clap::Args)]
pub struct ApiArgs {
    /// Where the admin API is served
    #[arg(
        long = "api-url",
        alias = "api",
        value_name = "URL",
        env = "BARNABAS_API",
        default_value = "http://127.0.0.1:8080"
    )]
    base: Url,
    /// A file with the token; without it, the variable `BARNABAS_TOKEN` is the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ApiArgs {
    /// A client for it.
    ///
    /// # Errors
    /// [`CliError::Usage`] without a token.
    pub fn client(&self) -> Result<Client, CliError> {
        let failed =
            |error: &dyn std::fmt::Display| CliError::Failed(format!("no client: {error}"));
        let http = reqwest::Client::builder().timeout(ANSWER_TIME).build();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        Ok(Client {
            base: self.base.clone(),
            token: self.token()?,
            http: http.map_err(|error| failed(&error))?,
            runtime: runtime.map_err(|error: io::Error| failed(&error))?,
        })
    }

    fn token(&self) -> Result<SecretString, CliError> {
        let text = match &self.token_file {
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                let shown = path.display();
                CliError::of_file(
                    &format!("the token file {shown} cannot be read: {error}"),
                    &error,
                )
            })?,
            None => std::env::var("BARNABAS_TOKEN").map_err(|_| {
                let mend = "give --token-file FILE, or set BARNABAS_TOKEN";
                CliError::Usage(format!("the admin API needs a token: {mend}"))
            })?,
        };
        Ok(text.trim().to_owned().into())
    }
}

/// A client of the admin API.
#[derive(Debug)]
pub struct Client {
    base: Url,
    token: SecretString,
    http: reqwest::Client,
    runtime: Runtime,
}

/// Which revision a request is meant for.
#[derive(Clone, Copy, Debug)]
pub enum IfMatch {
    /// Nothing is said.
    Unsaid,
    /// Whichever there is.
    Any,
    /// This one.
    Revision(u64),
}

impl Client {
    /// Asks for something, with these query parameters.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, CliError> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.http.request(Method::GET, url))
    }

    /// Changes something.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] where nobody answers, [`CliError::NotFound`], and [`CliError::Failed`] for all else
    /// that the API refuses, in its words.
    pub fn send(
        &self,
        method: Method,
        path: &[&str],
        meant_for: IfMatch,
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        let mut request = self.http.request(method, self.url(path)?);
        match meant_for {
            IfMatch::Unsaid => {}
            IfMatch::Any => request = request.header(IF_MATCH, "*"),
            IfMatch::Revision(revision) => {
                request = request.header(IF_MATCH, format!("\"{revision}\""));
            }
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        self.answer(request)
    }

    /// Asks for something whose answer may go on for long, and hands it to `take` as it comes.
    ///
    /// # Errors
    /// As [`Client::send`], and those of `take`.
    pub fn download(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        take: impl FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.copy(self.http.request(Method::GET, url), take)
    }

    /// Begins something that may go on for long, and hands what is said of it to `take` as it comes.
    ///
    /// # Errors
    /// As [`Client::send`], and those of `take`.
    pub fn follow(
        &self,
        path: &[&str],
        body: &Value,
        take: impl FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let request = self.http.request(Method::POST, self.url(path)?);
        self.copy(request.header(CONTENT_TYPE, "application/json").body(body.to_string()), take)
    }

    fn copy(
        &self,
        request: RequestBuilder,
        mut take: impl FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let request = request.timeout(LONG_ANSWER_TIME).bearer_auth(self.token.expose_secret());
        self.runtime.block_on(async {
            let mut answer = request.send().await.map_err(|error| self.unreachable(&error))?;
            let status = answer.status();
            if !status.is_success() {
                let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
                return Err(refusal(status, &serde_json::from_slice(&body).unwrap_or(Value::Null)));
            }
            while let Some(part) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
                take(&part)?;
            }
            Ok(())
        })
    }

    fn url(&self, path: &[&str]) -> Result<Url, CliError> {
        let mut url = self.base.clone();
        let usage = || CliError::Usage(format!("--api-url {} is no http address", self.base));
        url.path_segments_mut()
            .map_err(|()| usage())?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        Ok(url)
    }

    fn answer(&self, request: RequestBuilder) -> Result<Value, CliError> {
        let request = request.bearer_auth(self.token.expose_secret());
        self.runtime.block_on(async {
            let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
            let status = answer.status();
            let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
            let document: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            if status.is_success() { Ok(document) } else { Err(refusal(status, &document)) }
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let reason = innermost(error);
        CliError::Unreachable(format!("the admin API at {} does not answer: {reason}", self.base))
    }
}

/// What the system said, without the layers above it.
fn innermost(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn refusal(status: StatusCode, problem: &Value) -> CliError {
    let text = |name: &str| problem[name].as_str().unwrap_or_default();
    let mut said = match (text("title"), text("detail")) {
        ("", _) => format!("the admin API answers {status}; is it Barnabas?"),
        (title, detail) => format!("{title}: {detail} ({})", status.as_u16()),
    };
    for error in problem["errors"].as_array().into_iter().flatten() {
        let part = |name: &str| error[name].as_str().unwrap_or_default();
        said.push_str(&format!("\n  {}: {}", part("pointer"), part("detail")));
    }
    if status == StatusCode::NOT_FOUND { CliError::NotFound(said) } else { CliError::Failed(said) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let problem = json!({"title": "Some fields cannot be accepted", "detail": "1 field has to be corrected",
            "errors": [{"pointer": "/url", "detail": "must start with https://"}]});
        let error = refusal(StatusCode::UNPROCESSABLE_ENTITY, &problem);
        assert_eq!(
            error.to_string(),
            "Some fields cannot be accepted: 1 field has to be corrected (422)\n  /url: must start with https://"
        );
        assert_eq!(error.exit_code(), 1);
        assert_eq!(refusal(StatusCode::NOT_FOUND, &problem).exit_code(), 4);
        assert!(refusal(StatusCode::BAD_GATEWAY, &Value::Null).to_string().contains("502"));
    }

    #[test]
    fn a_path_is_escaped_and_stands_behind_that_of_the_address() {
        let args = ApiArgs { base: "https://x.example/hooks/".parse().unwrap(), token_file: None };
        let client = Client {
            base: args.base,
            token: "t".to_owned().into(),
            http: reqwest::Client::new(),
            runtime: runtime::Builder::new_current_thread().build().unwrap(),
        };
        let url = client.url(&["projects", "a/b c", "connections"]).unwrap();
        assert_eq!(url.as_str(), "https://x.example/hooks/api/v1/projects/a%2Fb%20c/connections");
    }
}
