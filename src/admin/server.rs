//! The listener of the admin API: limits, headers, and who gets in without a tokens file.
//!
//! Clear text: TLS belongs to a proxy in front of it. Decides nothing about a request; `access` and `api` do.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use tokio::net::TcpListener;
use tower::Layer as _;
use tower_http::set_header::SetResponseHeaderLayer;

use super::access::guard;
use super::api::{self, Admin};
use super::problem::Problem;
use super::tokens::{Tokens, TokensError};
use crate::clock::wall_clock;
use crate::shutdown::Shutdown;

/// From the request's head to the answer's.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// What a browser may load: our own files and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The section `[admin]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Where the admin API is served; `None`: nowhere.
    #[serde(deserialize_with = "address_or_nothing")]
    pub listen: Option<SocketAddr>,
    /// A file of the tokens that may use it.
    pub tokens_file: Option<PathBuf>,
}

impl Default for AdminConfig {
    /// Reached from this machine only, because it can change connections.
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))), tokens_file: None }
    }
}

impl AdminConfig {
    /// Why it cannot be served like this.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let is_open = self.listen.is_some_and(|address| !address.ip().is_loopback());
        (is_open && self.tokens_file.is_none())
            .then_some("without admin.tokens_file it is served on a loopback address only")
    }

    /// The tokens that may use it, and the text of the one for the set-up where there is no file.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn tokens(&self) -> Result<(Tokens, Option<SecretString>), TokensError> {
        match &self.tokens_file {
            Some(path) => Ok((Tokens::open(path)?, None)),
            None => {
                let (tokens, text) = Tokens::for_set_up(wall_clock())?;
                Ok((tokens, Some(text)))
            }
        }
    }
}

fn address_or_nothing<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Serves until it is to stop, and then answers what was asked by then.
///
/// # Errors
/// If the listener breaks.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: Shutdown) -> std::io::Result<()> {
    let service = router(admin).into_make_service_with_connect_info::<SocketAddr>();
    let stop = async move { shutdown.asked().await };
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

/// Everything that answers a request: the guard stands before the routing.
pub fn router(admin: Admin) -> Router {
    let routes = api::router().with_state(admin.clone());
    let guarded = from_fn_with_state(admin, guard).layer(routes);
    let mut router = Router::new().fallback_service(guarded).layer(from_fn(in_time));
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, value));
    }
    router
}

async fn in_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(REQUEST_TIME, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let detail = "it is not known whether anything was changed; read it before you try again";
        let title = "This took too long";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", title, detail).into_response()
    })
}
