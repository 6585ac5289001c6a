//! The client against real TLS receivers on loopback: what works, and what is kept and reused.

mod guard;
mod hostile;

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc};

use super::super::answer::KEPT_BODY_BYTES;
use super::super::scripted::{Identity, Receiver, Stream, answer_all, read_request};
use super::*;
use crate::engine::address::EgressConfig;
use crate::engine::payload::WEBHOOK_ID;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const BODY: &[u8] = br#"{"event":"message_open"}"#;

/// Long enough never to matter, and an end all the same.
const PLENTY: Duration = Duration::from_secs(20);

/// A loopback address of which the rule allows nothing by itself.
const LOOPBACK: &str = "127.0.0.1:0";

fn any_port() -> SocketAddr {
    LOOPBACK.parse().unwrap()
}

fn identity() -> Identity {
    Identity::new(&["127.0.0.1", "127.0.0.2", "receiver.example.com"], 2100)
}

/// The rule of a test: these networks and the receiver's port.
fn rule(allow: &[&str], port: u16) -> Arc<AddressRule> {
    let config = EgressConfig {
        allow: allow.iter().map(|network| network.parse().unwrap()).collect(),
        ports: vec![443, port],
        ..EgressConfig::default()
    };
    Arc::new(AddressRule::new(&config, Vec::new()))
}

/// A client that may call 127.0.0.1 at these ports.
fn client_of_ports(ports: &[u16], identity: &Identity, limits: Limits) -> Client {
    let allow = vec!["127.0.0.1/32".parse().unwrap()];
    let config = EgressConfig { allow, ports: ports.to_vec(), ..EgressConfig::default() };
    let rule = Arc::new(AddressRule::new(&config, Vec::new()));
    Client::new(rule, identity.trusted(), Resolver::from_system(), limits)
}

fn client(port: u16, identity: &Identity) -> Client {
    client_of_ports(&[port], identity, Limits::default())
}

fn request_to(url: &str, port: u16) -> Request {
    let endpoint = rule(&["0.0.0.0/0"], port).check_url(url).unwrap();
    let headers = vec![(WEBHOOK_ID, "evt_1".parse().unwrap())];
    Request {
        pool_key: "4172/whc_1".into(),
        endpoint: Arc::new(endpoint),
        headers,
        body: Bytes::from_static(BODY),
        timeout: PLENTY,
    }
}

fn request(port: u16) -> Request {
    request_to(&format!("https://127.0.0.1:{port}/in?src=xp"), port)
}

fn answered(status: u16) -> AttemptResult {
    AttemptResult::Answered { status, retry_after: None }
}

fn broken(fault: Fault, answer_begun: bool) -> AttemptResult {
    AttemptResult::Failed { fault, answer_begun }
}

/// A receiver that answers every request with one text, and a client that trusts it.
async fn always(answer: &'static str) -> (Receiver, Client) {
    always_with(answer, Limits::default()).await
}

async fn always_with(answer: &'static str, limits: Limits) -> (Receiver, Client) {
    let identity = identity();
    let script = move |_, stream| answer_all(stream, answer);
    let receiver = Receiver::start(any_port(), &identity, script).await;
    let client = client_of_ports(&[receiver.address.port()], &identity, limits);
    (receiver, client)
}

/// What one attempt meets at a receiver that reads the request and then follows the script.
async fn attempt<F, Fut>(timeout: Duration, script: F) -> (AttemptResult, Client)
where
    F: Fn(Stream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let identity = identity();
    let receiver = Receiver::start(any_port(), &identity, move |_, mut stream| {
        let script = script.clone();
        async move {
            read_request(&mut stream).await;
            script(stream).await;
        }
    })
    .await;
    let port = receiver.address.port();
    let client = client(port, &identity);
    let result = client.send(Request { timeout, ..request(port) }).await;
    (result, client)
}

/// What one attempt meets at a receiver that reads the request, sends this and closes.
async fn attempt_at(answer: impl Into<Vec<u8>>) -> (AttemptResult, Client) {
    let answer = answer.into();
    attempt(PLENTY, move |mut stream| {
        let answer = answer.clone();
        async move {
            // The client may leave in the middle.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

/// Lets the runtime look at its sockets, which it does every few dozen turns.
async fn let_the_sockets_be_seen() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_request_is_written_as_it_should_be() {
    let identity = identity();
    let (sender, mut requests) = mpsc::channel(1);
    let receiver = Receiver::start(any_port(), &identity, move |_, mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(read_request(&mut stream).await.unwrap()).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let port = receiver.address.port();

    let result = client(port, &identity).send(request(port)).await;

    let (head, body) = requests.recv().await.unwrap();
    assert_eq!(result, answered(200));
    assert_eq!(
        head,
        format!(
            "post /in?src=xp http/1.1\r\nwebhook-id: evt_1\r\nhost: 127.0.0.1:{port}\r\n\
             content-length: {}\r\n\r\n",
            BODY.len()
        )
    );
    assert_eq!(body, BODY);
}

#[tokio::test]
async fn one_link_serves_many_requests() {
    for answer in [OK, NO_CONTENT, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
    {
        let (receiver, client) = always(answer).await;
        for _ in 0..3 {
            let result = client.send(request(receiver.address.port())).await;
            assert!(matches!(result, AttemptResult::Answered { .. }), "{result:?}");
        }
        assert_eq!((receiver.accepted(), client.open_connections()), (1, 1), "{answer}");
    }
}

#[tokio::test]
async fn retry_after_is_handed_on() {
    let (result, _) =
        attempt_at("HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n").await;

    let retry_after = Some("120".to_owned());
    assert_eq!(result, AttemptResult::Answered { status: 503, retry_after });
}

#[tokio::test]
async fn of_an_answer_is_kept_what_was_asked_for() {
    let long = format!("{}{}", "x".repeat(KEPT_BODY_BYTES), "beyond");
    let answers = [("200 OK", "fine".to_owned()), ("500 Broken", long)];
    for (status, body) in answers {
        let answer = format!(
            "HTTP/1.1 {status}\r\nX-Trace: 7\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (receiver, client) = always(answer.leak()).await;
        let trace = async |keep| client.trace(request(receiver.address.port()), keep).await;
        let first = trace(Keep::Nothing).await;
        assert!(first.answer.is_none() && first.connect.is_some(), "{first:?}");
        let failures = trace(Keep::Failures).await;
        assert_eq!(failures.answer.is_some(), status.starts_with('5'), "{failures:?}");
        assert!(failures.connect.is_none(), "the open link serves");
        let kept = trace(Keep::Everything).await.answer.unwrap();
        assert_eq!(kept.headers["x-trace"], "7");
        assert_eq!(kept.body, body.as_bytes()[..body.len().min(KEPT_BODY_BYTES)]);
        assert_eq!(kept.is_cut, body.len() > KEPT_BODY_BYTES);
    }
}

#[tokio::test]
async fn informational_answers_are_passed_over() {
    let (result, _) =
        attempt_at(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n{OK}")).await;

    assert_eq!(result, answered(200));
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_counts() {
    let (result, client) = attempt_at("HTTP/1.0 202 Accepted\r\n\r\nas long as it lasts").await;

    assert_eq!(result, answered(202));
    assert_eq!(client.open_connections(), 0);
}

#[tokio::test]
async fn a_link_closed_while_idle_is_replaced_without_an_error() {
    let identity = identity();
    let answered_and_read = Arc::new(Notify::new());
    let (sender, mut closed) = mpsc::channel(1);
    let may_close = Arc::clone(&answered_and_read);
    let receiver = Receiver::start(any_port(), &identity, move |_, mut stream| {
        let (sender, may_close) = (sender.clone(), Arc::clone(&may_close));
        async move {
            read_request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            may_close.notified().await;
            drop(stream);
            sender.send(()).await.unwrap();
        }
    })
    .await;
    let port = receiver.address.port();
    let client = client(port, &identity);

    for number in 1..=3 {
        assert_eq!(client.send(request(port)).await, answered(200));
        answered_and_read.notify_one();
        closed.recv().await.unwrap();
        let_the_sockets_be_seen().await;
        assert_eq!((receiver.accepted(), client.open_connections()), (number, 1));
    }
    client.sweep();
    assert_eq!(client.open_connections(), 0);
}

#[tokio::test]
async fn what_a_receiver_says_unasked_ends_the_link() {
    let unasked = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let (receiver, client) = always(unasked).await;
    let port = receiver.address.port();

    assert_eq!(client.send(request(port)).await, answered(200));
    assert_eq!(client.send(request(port)).await, answered(200));
    assert_eq!(receiver.accepted(), 2);
}

#[tokio::test]
async fn connection_close_is_heeded() {
    let (receiver, client) =
        always("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;

    assert_eq!(client.send(request(receiver.address.port())).await, answered(200));
    assert_eq!(client.open_connections(), 0);
}

#[tokio::test]
async fn links_are_not_shared_between_webhook_connections() {
    let (receiver, client) = always(OK).await;
    let request = request(receiver.address.port());
    let other = Request { pool_key: "4172/whc_2".into(), ..request.clone() };

    for request in [&request, &other, &request, &other] {
        assert_eq!(client.send(request.clone()).await, answered(200));
    }
    assert_eq!((receiver.accepted(), client.open_connections()), (2, 2));
}

#[tokio::test]
async fn an_edited_url_never_uses_the_old_origins_link() {
    let identity = identity();
    let script = |_, stream| answer_all(stream, OK);
    let old = Receiver::start(any_port(), &identity, script).await;
    let new = Receiver::start(any_port(), &identity, script).await;
    let ports = [old.address.port(), new.address.port()];
    let client = client_of_ports(&ports, &identity, Limits::default());

    for port in [old.address.port(), new.address.port(), new.address.port()] {
        assert_eq!(client.send(request(port)).await, answered(200));
    }
    assert_eq!((old.accepted(), new.accepted(), client.open_connections()), (1, 1, 1));
}

#[tokio::test]
async fn a_link_that_is_idle_or_alive_for_too_long_is_not_used_again() {
    let idle = Limits { idle: Duration::ZERO, ..Limits::default() };
    let old = Limits { lifetime: Duration::ZERO, ..Limits::default() };
    for limits in [idle, old] {
        let (receiver, client) = always_with(OK, limits).await;
        for _ in 0..3 {
            assert_eq!(client.send(request(receiver.address.port())).await, answered(200));
        }
        assert_eq!((receiver.accepted(), client.open_connections()), (3, 1), "{limits:?}");
        client.sweep();
        assert_eq!(client.open_connections(), 0);
    }
}

#[tokio::test]
async fn the_least_recently_used_link_makes_room() {
    let (receiver, client) = always_with(OK, Limits { idle_links: 2, ..Limits::default() }).await;
    let to = |key: &str| Request { pool_key: key.into(), ..request(receiver.address.port()) };

    for key in ["a", "b", "a", "c"] {
        assert_eq!(client.send(to(key)).await, answered(200));
    }
    assert_eq!((receiver.accepted(), client.open_connections()), (3, 2));
    assert_eq!(client.send(to("a")).await, answered(200));
    assert_eq!(receiver.accepted(), 3);
    assert_eq!(client.send(to("b")).await, answered(200));
    assert_eq!((receiver.accepted(), client.open_connections()), (4, 2));
}

#[tokio::test]
async fn a_dropped_attempt_closes_its_link() {
    let identity = identity();
    let (sender, mut arrived) = mpsc::channel(1);
    let receiver = Receiver::start(any_port(), &identity, move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_request(&mut stream).await;
            sender.send(()).await.unwrap();
            read_request(&mut stream).await;
            sender.send(()).await.unwrap();
        }
    })
    .await;
    let client = client(receiver.address.port(), &identity);

    let unfinished = client.send(request(receiver.address.port()));
    tokio::select! {
        result = unfinished => panic!("no answer was sent: {result:?}"),
        _ = arrived.recv() => {}
    }

    assert_eq!(client.open_connections(), 0);
    arrived.recv().await.unwrap();
}
