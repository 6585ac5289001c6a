//! The receiver against a real TLS client, one behaviour at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use super::*;

/// Far more than anything here takes, so that it is reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

fn receiver(keep: Keep) -> Receiver {
    let authority = Authority::generate().unwrap();
    Receiver::start("127.0.0.1:0".parse().unwrap(), keep, &authority).unwrap()
}

/// One connection that trusts the receiver's authority and nobody else.
async fn connect(address: SocketAddr, ca_pem: &str, name: &str) -> SendRequest<Full<Bytes>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn client(receiver: &Receiver) -> SendRequest<Full<Bytes>> {
    connect(receiver.address(), receiver.ca_pem(), "127.0.0.1").await
}

fn request(path: &str) -> Request<Full<Bytes>> {
    Request::post(path)
        .header(AUTHORIZATION, "Basic eHA6c2VjcmV0")
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", "evt-1")
        .header("webhook-timestamp", "1760090581")
        .header("webhook-attempt", "2")
        .header("user-agent", "barnabas/0")
        .body(Full::from("{\"event\":\"message_open\"}"))
        .unwrap()
}

async fn post(receiver: &Receiver, path: &str) -> Response<Incoming> {
    client(receiver).await.send_request(request(path)).await.unwrap()
}

#[tokio::test]
async fn a_request_is_in_the_books_when_its_answer_is_seen() {
    let receiver = receiver(Keep::Receipts);
    receiver.set_behaviour("/crm", Behaviour::Healthy);
    let before = std::time::SystemTime::now();

    assert_eq!(post(&receiver, "/crm?src=xp").await.status(), StatusCode::OK);

    let receipts = receiver.receipts("/crm");
    let text = |text: &str| Some(text.to_owned());
    let expected = Receipt {
        path: "/crm".into(),
        query: text("src=xp"),
        at: receipts[0].at,
        authorization: text("Basic eHA6c2VjcmV0"),
        webhook_id: text("evt-1"),
        webhook_timestamp: text("1760090581"),
        webhook_attempt: text("2"),
        traceparent: None,
        content_type: text("application/json"),
        user_agent: text("barnabas/0"),
        body: Bytes::from_static(b"{\"event\":\"message_open\"}"),
        admitted: true,
        status: Some(StatusCode::OK),
    };
    assert_eq!(receipts, [expected]);
    assert!(receipts[0].at >= before);
}

#[tokio::test]
async fn the_certificate_is_good_for_every_name_of_this_machine() {
    let receiver = receiver(Keep::Counters);
    for name in ["127.0.0.1", "::1", "localhost"] {
        let mut client = connect(receiver.address(), receiver.ca_pem(), name).await;
        client.send_request(request("/")).await.unwrap();
    }
    assert_eq!(receiver.connections_accepted(), 3);
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let receiver = receiver(Keep::Counters);
    receiver.set_behaviour("/crm", Behaviour::Healthy);
    let mut client = client(&receiver).await;
    for _ in 0..5 {
        let response = client.send_request(request("/crm")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        client.ready().await.unwrap();
    }
    assert_eq!(receiver.connections_accepted(), 1);
    let counts = receiver.counts("/crm");
    assert_eq!((counts.requests, counts.delivered, counts.body_bytes), (5, 5, 5 * 24));
    assert_eq!(receiver.receipts("/crm"), []);
}

#[tokio::test]
async fn a_path_without_a_behaviour_is_not_found_and_counted_elsewhere() {
    let receiver = receiver(Keep::Receipts);
    assert_eq!(post(&receiver, "/stray").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(receiver.receipts(ELSEWHERE)[0].path, "/stray");
    receiver.set_behaviour(ELSEWHERE, Behaviour::Healthy);
    assert_eq!(post(&receiver, "/stray").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn wrong_credentials_are_answered_401_whatever_the_behaviour() {
    let receiver = receiver(Keep::Receipts);
    receiver.set_behaviour("/crm", Behaviour::Hang);
    receiver.set_credentials("/crm", &Credentials::bearer("abc"));
    let response = post(&receiver, "/crm").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    let receipt = &receiver.receipts("/crm")[0];
    assert_eq!((receipt.admitted, receipt.status), (false, Some(StatusCode::UNAUTHORIZED)));

    receiver.set_behaviour("/crm", Behaviour::Healthy);
    receiver.set_credentials("/crm", &Credentials::basic("xp", "secret"));
    assert_eq!(post(&receiver, "/crm").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_status_comes_with_its_retry_after_as_it_is() {
    let receiver = receiver(Keep::Counters);
    let retry_after = Some(HeaderValue::from_static("NaN"));
    let code = StatusCode::TOO_MANY_REQUESTS;
    receiver.set_behaviour("/crm", Behaviour::Status { code, retry_after });
    let response = post(&receiver, "/crm").await;
    assert_eq!(response.status(), code);
    assert_eq!(response.headers()[RETRY_AFTER], "NaN");
    assert_eq!(receiver.counts("/crm").failed, 1);
}

#[tokio::test]
async fn a_slow_endpoint_enters_its_answer_only_when_it_answers() {
    let receiver = receiver(Keep::Receipts);
    receiver.set_behaviour("/slow", Behaviour::slow(Duration::from_millis(300)));
    let mut client = client(&receiver).await;
    let response = tokio::spawn(client.send_request(request("/slow")));

    receiver.reach("/slow", PATIENCE, |counts| counts.requests == 1).await.unwrap();
    assert_eq!(receiver.receipts("/slow")[0].status, None);
    assert_eq!(receiver.counts("/slow").in_flight, 1);

    assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(receiver.receipts("/slow")[0].status, Some(StatusCode::OK));
    receiver.reach("/slow", PATIENCE, |counts| counts.in_flight == 0).await.unwrap();
    assert_eq!(receiver.counts("/slow").peak_in_flight, 1);
}

#[tokio::test]
async fn a_hanging_endpoint_forgets_a_client_that_leaves() {
    let receiver = receiver(Keep::Receipts);
    receiver.set_behaviour("/hang", Behaviour::Hang);
    let mut client = client(&receiver).await;
    let waiting = tokio::spawn(client.send_request(request("/hang")));
    receiver.reach("/hang", PATIENCE, |counts| counts.in_flight == 1).await.unwrap();

    waiting.abort();
    drop(client);

    let counts = receiver.reach("/hang", PATIENCE, |counts| counts.in_flight == 0).await.unwrap();
    assert_eq!((counts.requests, counts.delivered, counts.failed), (1, 0, 0));
    assert_eq!(receiver.receipts("/hang")[0].status, None);
}

#[tokio::test]
async fn a_reset_is_a_reset_and_not_a_close() {
    let receiver = receiver(Keep::Receipts);
    receiver.set_behaviour("/reset", Behaviour::Reset);
    let error = client(&receiver).await.send_request(request("/reset")).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    let cause = cause.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(receiver.receipts("/reset")[0].status, None);
}

#[tokio::test]
async fn anything_but_a_post_is_refused() {
    let receiver = receiver(Keep::Counters);
    let get = Request::get("/crm").body(Full::default()).unwrap();
    let response = client(&receiver).await.send_request(get).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_receipt_is_handed_over_before_its_answer() {
    let (sender, mut handed_over) = mpsc::channel(1);
    let receiver = receiver(Keep::HandOver(sender));
    receiver.set_behaviour("/crm", Behaviour::Healthy);
    receiver.set_behaviour("/reset", Behaviour::Reset);

    assert_eq!(post(&receiver, "/crm").await.status(), StatusCode::OK);
    let receipt = handed_over.try_recv().unwrap();
    assert_eq!((&*receipt.path, receipt.status), ("/crm", Some(StatusCode::OK)));

    client(&receiver).await.send_request(request("/reset")).await.unwrap_err();
    assert_eq!(handed_over.try_recv().unwrap().status, None);

    drop(handed_over);
    assert_eq!(post(&receiver, "/crm").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_answer_under_way_goes_out_when_the_receiver_stops() {
    let (sender, mut handed_over) = mpsc::channel(1);
    let receiver = receiver(Keep::HandOver(sender));
    receiver.set_behaviour("/crm", Behaviour::Healthy);
    let mut client = client(&receiver).await;
    let response = tokio::spawn(client.send_request(request("/crm")));
    handed_over.recv().await.unwrap();
    tokio::task::spawn_blocking(|| drop(receiver)).await.unwrap();
    assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[test]
fn who_waits_in_vain_is_told_what_has_come() {
    let receiver = receiver(Keep::Counters);
    let late = receiver.wait_for("/crm", 1, Duration::from_millis(20)).unwrap_err();
    assert_eq!(late.to_string(), "/crm has 0 requests, 0 of them delivered, after 20ms");
}

#[test]
fn a_plain_thread_can_wait_for_a_request() {
    let receiver = receiver(Keep::Counters);
    receiver.set_behaviour("/crm", Behaviour::Healthy);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(post(&receiver, "/crm"));
        });
        let counts = receiver.wait_for("/crm", 1, PATIENCE).unwrap();
        assert_eq!(counts.delivered, 1);
    });
}

#[test]
fn a_dropped_receiver_leaves_its_address_free() {
    let authority = Authority::generate().unwrap();
    let first =
        Receiver::start("127.0.0.1:0".parse().unwrap(), Keep::Counters, &authority).unwrap();
    let address = first.address();
    let taken = Receiver::start(address, Keep::Counters, &authority).unwrap_err();
    assert!(matches!(taken, ReceiverError::Listen { .. }), "{taken}");
    drop(first);
    assert!(std::net::TcpStream::connect(address).is_err());
    let second = Receiver::start(address, Keep::Counters, &authority).unwrap();
    assert_eq!(second.url("/crm"), format!("https://{address}/crm"));
}
