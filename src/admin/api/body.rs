//! The body of a request, of the one kind that a handler takes.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};

use crate::admin::problem::Problem;

/// A body that says that it is JSON; not read yet.
pub(super) struct JsonBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if content_type(&request) != "application/json" {
            let detail = "send `Content-Type: application/json`";
            return Err(unsupported(detail));
        }
        Ok(Self(read(request, state).await?))
    }
}

/// The media type of a request's body, without parameters.
pub(super) fn content_type(request: &Request) -> String {
    let value = request.headers().get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) fn unsupported(detail: &'static str) -> Problem {
    let title = "The body is of another type";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", title, detail)
}

/// The bytes of a body that is not too large.
pub(super) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let detail = format!("at most {} bytes are read", super::MAX_BODY_BYTES);
            return Problem::new(rejection.status(), "too-large", "The body is too large", detail);
        }
        Problem::bad_request("the body broke off")
    })
}
