//! One TCP connection of the receiver: its handshake, its requests, its answers.
//!
//! Acts on the plans of `behaviour` and enters every request in the `ledger` first. Decides nothing itself, except
//! that what is not a POST of a bearable size is refused. Run by the receiver's accept loop, a task a connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::behaviour::{Plan, Reply};
use super::ledger::{Ledger, Receipt};

/// A client that has not finished its handshake by then is gone.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// When the receiver stops, answers that are under way have this long to go out; what hangs is cut off.
pub(super) const FAREWELL_LIMIT: Duration = Duration::from_millis(100);

/// Well above the largest event that the service takes (1 MiB).
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The service function's way to ask for a reset of its connection.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint resets its connections")]
struct Reset;

/// What all connections of a receiver have in common.
#[derive(Clone)]
pub(super) struct Hall {
    pub(super) acceptor: TlsAcceptor,
    pub(super) ledger: Arc<Ledger>,
    /// Ends every connection.
    pub(super) stop: CancellationToken,
}

/// Serves a connection to its end or until the receiver stops.
pub(super) async fn serve(socket: TcpStream, hall: Hall) {
    // Without it a small answer may wait for the client's acknowledgement; a failure costs only time.
    let _ = socket.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, hall.acceptor.accept(socket)).await;
    let Ok(Ok(stream)) = handshake else {
        return;
    };
    let service = service_fn(|request| answer(Arc::clone(&hall.ledger), request));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        end = &mut connection => Some(end),
        () = hall.stop.cancelled() => None,
    };
    let ended = match ended {
        Some(end) => Ok(end),
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            tokio::time::timeout(FAREWELL_LIMIT, &mut connection).await
        }
    };
    if ended.is_ok_and(|end| end.is_err_and(|error| asks_for_reset(&error))) {
        let stream = connection.into_parts().io.into_inner();
        // Closing without lingering is what makes the kernel send a reset instead of a close.
        let _ = stream.get_ref().0.set_zero_linger();
    }
}

fn asks_for_reset(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Reset>())
}

async fn answer(
    ledger: Arc<Ledger>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Reset> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Ok(response);
    }
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return Ok(empty(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let (mut visit, plan) = ledger.enter(receipt(&head, body.to_bytes()));
    let reply = match plan {
        Plan::Now(reply) => reply,
        Plan::After(latency, reply) => {
            tokio::time::sleep(latency).await;
            visit.answer(reply.status);
            reply
        }
        Plan::Never => match std::future::pending::<Infallible>().await {},
        Plan::Reset => {
            visit.hand_over().await;
            return Err(Reset);
        }
    };
    visit.hand_over().await;
    Ok(render(reply))
}

fn receipt(head: &Parts, body: Bytes) -> Receipt {
    let header = |name: &str| text(&head.headers, name);
    Receipt {
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        at: SystemTime::now(),
        authorization: header(AUTHORIZATION.as_str()),
        webhook_id: header("webhook-id"),
        webhook_timestamp: header("webhook-timestamp"),
        webhook_attempt: header("webhook-attempt"),
        traceparent: header("traceparent"),
        content_type: header(CONTENT_TYPE.as_str()),
        user_agent: header(USER_AGENT.as_str()),
        body,
        admitted: true,
        status: None,
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn render(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = empty(reply.status);
    if let Some(retry_after) = reply.retry_after {
        response.headers_mut().insert(RETRY_AFTER, retry_after);
    }
    if let Some(scheme) = reply.challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
