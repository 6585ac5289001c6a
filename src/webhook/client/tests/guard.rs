//! The guard at work: names, addresses and certificates. Honeypots must never be connected to.

use std::net::IpAddr;

use super::super::super::scripted::{NameAnswer, NameServer};
use super::*;

const NAME_URL: &str = "https://receiver.example.com";

/// A receiver at 127.0.0.2, which the rule allows, and a honeypot at 127.0.0.1 with the same port.
async fn receiver_and_honeypot(identity: &Identity) -> (Receiver, Receiver) {
    let script = |_, stream| answer_all(stream, OK);
    for _ in 0..100 {
        let at = "127.0.0.2:0".parse().unwrap();
        let receiver = Receiver::start(at, identity, script).await;
        let honeypot = SocketAddr::new("127.0.0.1".parse().unwrap(), receiver.address.port());
        if std::net::TcpListener::bind(honeypot).is_ok() {
            return (receiver, Receiver::start(honeypot, identity, script).await);
        }
    }
    panic!("no port is free on both addresses");
}

fn addresses(texts: &[&str]) -> NameAnswer {
    NameAnswer::Addresses(texts.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect())
}

/// A client that allows 127.0.0.2 and asks a name server that follows the script.
async fn client_asking<F>(port: u16, identity: &Identity, script: F) -> Client
where
    F: Fn(usize) -> NameAnswer + Send + 'static,
{
    let names = NameServer::start(script).await;
    let resolver = Resolver::asking(names.address);
    Client::new(rule(&["127.0.0.2/32"], port), identity.trusted(), resolver, Limits::default())
}

fn named_request(port: u16) -> Request {
    request_to(&format!("{NAME_URL}:{port}/"), port)
}

#[tokio::test]
async fn a_name_with_a_good_address_is_called() {
    let identity = identity();
    let (receiver, _) = receiver_and_honeypot(&identity).await;
    let port = receiver.address.port();
    let client = client_asking(port, &identity, |_| addresses(&["127.0.0.2"])).await;

    assert_eq!(client.send(named_request(port)).await, answered(200));
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn one_denied_address_refuses_the_lot() {
    let identity = identity();
    let (receiver, honeypot) = receiver_and_honeypot(&identity).await;
    let port = receiver.address.port();
    let lots: [&[&str]; 6] = [
        &["127.0.0.2", "127.0.0.1"],
        &["127.0.0.2", "::ffff:127.0.0.1"],
        &["127.0.0.2", "64:ff9b::7f00:1"],
        &["127.0.0.2", "2002:7f00:1::1"],
        &["127.0.0.2", "fd00::1"],
        &["127.0.0.2"; 17],
    ];
    for lot in lots {
        let client = client_asking(port, &identity, move |_| addresses(lot)).await;
        assert_eq!(client.send(named_request(port)).await, AttemptResult::Denied, "{lot:?}");
    }
    let client = client_asking(port, &identity, |_| NameAnswer::Alias("localhost.")).await;
    assert_eq!(client.send(named_request(port)).await, AttemptResult::Denied);
    assert_eq!((receiver.accepted(), honeypot.accepted()), (0, 0));
}

#[tokio::test]
async fn a_rebound_name_is_denied_at_the_next_look_up() {
    let identity = identity();
    let (receiver, honeypot) = receiver_and_honeypot(&identity).await;
    let port = receiver.address.port();
    let script = |times| addresses(if times == 0 { &["127.0.0.2"] } else { &["127.0.0.1"] });
    let client = client_asking(port, &identity, script).await;
    let other = Request { pool_key: "4172/whc_2".into(), ..named_request(port) };

    assert_eq!(client.send(named_request(port)).await, answered(200));
    assert_eq!(client.send(other).await, AttemptResult::Denied);
    assert_eq!((receiver.accepted(), honeypot.accepted()), (1, 0));
    assert_eq!(client.take_denials(), [("not_public", 1)]);
    assert_eq!(client.take_denials(), []);
}

#[tokio::test]
async fn a_literal_that_is_not_allowed_is_denied() {
    let identity = identity();
    let (receiver, honeypot) = receiver_and_honeypot(&identity).await;
    let port = receiver.address.port();
    let client = client_asking(port, &identity, |_| NameAnswer::NoSuchName).await;

    assert_eq!(client.send(request(port)).await, AttemptResult::Denied);
    assert_eq!(honeypot.accepted(), 0);
    assert_eq!(client.take_denials(), [("literal", 1)]);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let honeypot = Receiver::start(any_port(), &identity(), |_, s| answer_all(s, OK)).await;
    let port = honeypot.address.port();
    for status in [301, 302, 303, 307, 308] {
        let (result, _) = attempt_at(format!(
            "HTTP/1.1 {status} Moved\r\nLocation: https://127.0.0.1:{port}/\r\n\
             Content-Length: 0\r\n\r\n"
        ))
        .await;
        assert_eq!(result, answered(status));
    }
    assert_eq!(honeypot.accepted(), 0);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_dns() {
    let client = client_asking(443, &identity(), |_| NameAnswer::NoSuchName).await;

    assert_eq!(client.send(named_request(443)).await, broken(Fault::Dns, false));
}

#[tokio::test]
async fn a_dead_resolver_is_our_fault() {
    let nobody = std::net::UdpSocket::bind(LOOPBACK).unwrap().local_addr().unwrap();
    let resolver = Resolver::asking(nobody);
    let client = Client::new(rule(&[], 443), identity().trusted(), resolver, Limits::default());

    assert_eq!(client.send(named_request(443)).await, AttemptResult::OurFault);
}

#[tokio::test]
async fn a_refused_connection_is_connect() {
    let nobody = std::net::TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap();

    let result = client(nobody.port(), &identity()).send(request(nobody.port())).await;

    assert_eq!(result, broken(Fault::Connect, false));
}

#[tokio::test]
async fn an_address_that_refuses_gives_way_to_the_next() {
    let identity = identity();
    let script = |_, stream| answer_all(stream, OK);
    let receiver = Receiver::start("127.0.0.2:0".parse().unwrap(), &identity, script).await;
    let port = receiver.address.port();
    let names = NameServer::start(|_| addresses(&["127.0.0.3", "127.0.0.2"])).await;
    let resolver = Resolver::asking(names.address);
    let rule = rule(&["127.0.0.2/31"], port);
    let client = Client::new(rule, identity.trusted(), resolver, Limits::default());

    assert_eq!(client.send(named_request(port)).await, answered(200));
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_tls() {
    let trusted = identity();
    let expired = Identity::new(&["127.0.0.1"], 2001);
    let of_another_host = Identity::new(&["127.0.0.2", "receiver.example.com"], 2100);
    let self_signed = identity();
    let cases =
        [(&expired, &expired), (&of_another_host, &of_another_host), (&self_signed, &trusted)];
    for (shown, trusted) in cases {
        let receiver = Receiver::start(any_port(), shown, |_, s| answer_all(s, OK)).await;
        let port = receiver.address.port();
        let result = client(port, trusted).send(request(port)).await;
        assert_eq!(result, broken(Fault::Tls, false));
    }
}

#[tokio::test]
async fn a_receiver_without_modern_tls_is_tls() {
    // A server that knows TLS 1.1 at most: one says so by an alert, one takes up the handshake with its own version.
    let alert = b"\x15\x03\x02\x00\x02\x02\x46".to_vec();
    let (random, rest) = ([7; 32], &b"\x00\x00\x2f\x00"[..]);
    let hello = [&b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02"[..], &random[..], rest].concat();
    // And servers that do not know TLS.
    for reply in [alert, hello, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Vec::new()] {
        let sent = reply.clone();
        let receiver = Receiver::start_raw(any_port(), move |_, mut stream| {
            let sent = sent.clone();
            async move {
                let _ = stream.write_all(&sent).await;
            }
        })
        .await;
        let port = receiver.address.port();
        let result = client(port, &identity()).send(request(port)).await;
        assert_eq!(result, broken(Fault::Tls, false), "{reply:?}");
    }
}

#[tokio::test]
async fn want_of_a_place_for_the_handshake_is_our_fault() {
    let limits = Limits { handshakes: 0, ..Limits::default() };
    let (receiver, client) = always_with(OK, limits).await;
    let timeout = Duration::from_millis(300);
    let request = Request { timeout, ..request(receiver.address.port()) };

    assert_eq!(client.send(request).await, AttemptResult::OurFault);
}

#[tokio::test]
async fn a_silent_handshake_does_not_keep_others_from_connecting() {
    let identity = identity();
    let silent = Receiver::start_raw(any_port(), |_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let healthy = Receiver::start(any_port(), &identity, |_, s| answer_all(s, OK)).await;
    let ports = [silent.address.port(), healthy.address.port()];
    let limits = Limits { handshakes: 1, ..Limits::default() };
    let client = client_of_ports(&ports, &identity, limits);
    let timeout = Duration::from_secs(2);

    let slow = Request { timeout, ..request(silent.address.port()) };
    let quick = Request { timeout, ..request(healthy.address.port()) };
    let (slow, quick) = tokio::join!(client.send(slow), client.send(quick));

    assert_eq!((slow, quick), (broken(Fault::Timeout, false), answered(200)));
}
