//! Answers that are meant to hurt, or were never finished.

use std::future::pending;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::*;
use crate::engine::outcome::Outcome;
use crate::engine::time::Timestamp;

/// The time limit of attempts that must run into it.
const SHORT: Duration = Duration::from_millis(600);

/// Sends a head, then a piece again and again until the client has left.
async fn flood(mut stream: Stream, head: &str, piece: &[u8]) {
    stream.write_all(head.as_bytes()).await.unwrap();
    while stream.write_all(piece).await.is_ok() {}
}

/// Sends a head, then a piece now and then until the client has left.
async fn drip(mut stream: Stream, head: &str, piece: &[u8]) {
    stream.write_all(head.as_bytes()).await.unwrap();
    while stream.write_all(piece).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn silence_is_a_timeout_without_an_answer() {
    let started = Instant::now();

    let (result, client) = attempt(SHORT, |stream| async move {
        pending::<()>().await;
        drop(stream);
    })
    .await;

    assert_eq!(result, broken(Fault::Timeout, false));
    assert!(started.elapsed() >= SHORT);
    assert_eq!(client.open_connections(), 0);
}

#[tokio::test]
async fn a_dripping_answer_is_a_timeout_within_an_answer() {
    let answers = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("HTTP/1.1 200 OK\r\nx: ", "y"),
    ];
    for (head, piece) in answers {
        let (result, client) =
            attempt(SHORT, move |stream| drip(stream, head, piece.as_bytes())).await;
        assert_eq!(result, broken(Fault::Timeout, true), "{head}");
        assert_eq!(client.open_connections(), 0);
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_and_its_status_counts() {
    let answers = [
        ("Content-Length: 10737418240", &[b'x'; 1000][..]),
        ("Content-Encoding: gzip", &[0x1f; 1000][..]),
        ("Transfer-Encoding: chunked", b"5\r\nabcde\r\n"),
    ];
    for (header, piece) in answers {
        let (sender, mut left) = mpsc::channel(1);
        let (result, client) = attempt(PLENTY, move |stream| {
            let sender = sender.clone();
            async move {
                flood(stream, &format!("HTTP/1.1 201 Created\r\n{header}\r\n\r\n"), piece).await;
                sender.send(()).await.unwrap();
            }
        })
        .await;
        assert_eq!(result, answered(201), "{header}");
        assert_eq!(client.open_connections(), 0);
        timeout(PLENTY, left.recv()).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_counts_that_does_not_wait_for_the_body() {
    let identity = identity();
    let receiver = Receiver::start(any_port(), &identity, |_, mut stream| async move {
        stream.read_exact(&mut [0; 100]).await.unwrap();
        let early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(early).await.unwrap();
        stream.flush().await.unwrap();
        pending::<()>().await;
    })
    .await;
    let port = receiver.address.port();
    let client = client(port, &identity);
    // More than the sockets' buffers take.
    let body = Bytes::from(vec![b'x'; 64 << 20]);

    let result = client.send(Request { body, ..request(port) }).await;

    assert_eq!(result, answered(413));
    assert_eq!(client.open_connections(), 0, "the rest of the body is not sent");
}

#[tokio::test]
async fn a_million_headers_are_a_protocol_fault() {
    let (result, _) = attempt(PLENTY, |mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        for number in 0..1_000_000 {
            if stream.write_all(format!("x-{number}: y\r\n").as_bytes()).await.is_err() {
                return;
            }
        }
        let _ = stream.write_all(b"Content-Length: 0\r\n\r\n").await;
    })
    .await;

    assert_eq!(result, broken(Fault::Protocol, true));
}

#[tokio::test]
async fn heads_are_taken_up_to_the_limits() {
    let with = |fields: usize, value_bytes: usize| {
        let value = "y".repeat(value_bytes);
        let fields: String = (1..fields).map(|number| format!("x-{number}: {value}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n")
    };
    assert_eq!(attempt_at(with(64, 1)).await.0, answered(200));
    assert_eq!(attempt_at(with(65, 1)).await.0, broken(Fault::Protocol, true));
    assert_eq!(attempt_at(with(101, 1)).await.0, broken(Fault::Protocol, true));
    assert_eq!(attempt_at(with(2, 16_000)).await.0, answered(200));
    assert_eq!(attempt_at(with(2, 16_400)).await.0, broken(Fault::Protocol, true));
}

#[tokio::test]
async fn a_reset_before_the_answer_is_a_reset() {
    let (result, _) = attempt(PLENTY, |stream| async move {
        stream.get_ref().0.set_zero_linger().unwrap();
    })
    .await;

    assert_eq!(result, broken(Fault::Reset, false));
}

#[tokio::test]
async fn an_end_before_the_answer_is_a_reset() {
    assert_eq!(attempt_at("").await.0, broken(Fault::Reset, false));
}

#[tokio::test]
async fn an_end_within_the_answer_is_a_reset_within_it() {
    let answers = [
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ];
    for answer in answers {
        assert_eq!(attempt_at(answer).await.0, broken(Fault::Reset, true), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_fault() {
    let answers = [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ];
    for answer in answers {
        assert_eq!(attempt_at(answer).await.0, broken(Fault::Protocol, true), "{answer:?}");
    }
}

#[tokio::test]
async fn an_upgrade_is_an_answer_and_ends_the_link() {
    let (result, client) =
        attempt_at("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;

    assert_eq!(result, answered(101));
    assert_eq!(client.open_connections(), 0);
}

#[tokio::test]
async fn a_hang_after_the_headers_is_a_timeout_within_an_answer() {
    let (result, client) = attempt(SHORT, |mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        pending::<()>().await;
    })
    .await;

    assert_eq!(result, broken(Fault::Timeout, true));
    assert_eq!(client.open_connections(), 0);
}

#[tokio::test]
async fn a_reset_within_the_body_is_a_reset_within_the_answer() {
    let (result, _) = attempt(PLENTY, |mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
        stream.flush().await.unwrap();
        // What was sent is lost in a reset, unless it was read before.
        stream.get_ref().0.set_zero_linger().unwrap();
    })
    .await;

    assert!(matches!(result, AttemptResult::Failed { fault: Fault::Reset, .. }), "{result:?}");
}

#[tokio::test]
async fn every_retry_after_is_honoured_clamped_or_passed_over() {
    let now = Timestamp::from_secs(784_111_777);
    let cases = [
        (Some("1"), Some(1)),
        (Some("60"), Some(60)),
        (Some("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60)),
        (Some("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0)),
        (Some("-1"), None),
        (Some("1000000000000000000"), Some(3600)),
        (Some("1e18"), None),
        (Some("NaN"), None),
        (Some("\u{ff11}"), None),
        (None, None),
    ];
    for (value, secs) in cases {
        let header = value.map_or(String::new(), |value| format!("Retry-After: {value}\r\n"));
        let answer = format!("HTTP/1.1 429 Slow down\r\n{header}Content-Length: 0\r\n\r\n");
        let (result, _) = attempt_at(answer).await;
        let pause = secs.map(Duration::from_secs);
        assert_eq!(Outcome::of(&result, now), Outcome::Throttled { pause }, "{value:?}");
    }
}
