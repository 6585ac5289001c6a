//! Answers in pieces, by themselves and beside a second reading of them by hyper.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;

/// What a reader makes of these bytes, coming in pieces of so many and then ended; and how many it was given.
fn read_in(piece: usize, bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let mut reader = AnswerReader::new(Keep::Everything);
    let (mut received, mut given) = (BytesMut::new(), 0);
    for piece in bytes.chunks(piece) {
        received.extend_from_slice(piece);
        given += piece.len();
        if reader.take(&mut received)? {
            return Ok(Some((reader.end(), given)));
        }
    }
    Ok(reader.is_whole_at_end().then(|| (reader.end(), given)))
}

fn read(bytes: impl AsRef<[u8]>) -> Result<Option<Reply>, Malformed> {
    let read = read_in(usize::MAX, bytes.as_ref())?;
    Ok(read.map(|(reply, _)| reply))
}

fn status_and_follow(head: &str) -> Option<(u16, bool)> {
    let reply = read(head).unwrap_or_else(|error| panic!("{error:?}: {head}"));
    reply.map(|reply| (reply.status, reply.is_followed))
}

#[test]
fn a_body_ends_as_its_head_says() {
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Some((200, true))),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\ncontent-length: 2\r\n\r\nok",
            Some((200, true)),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", None),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", Some((200, false))),
        ("HTTP/1.1 204 No Content\r\n\r\n", Some((204, true))),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", Some((304, true))),
        ("HTTP/1.1 101 Other\r\nContent-Length: 7\r\n\r\n", Some((101, false))),
        (
            "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 102 On\r\n\r\nHTTP/1.1 404\r\nContent-Length: 0\r\n\r\n",
            Some((404, true)),
        ),
        ("HTTP/1.1 100 Go\r\n\r\n", None),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nx: y\r\n\r\n",
            Some((200, true)),
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n0\r\n\r\n", Some((200, true))),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            Some((200, false)),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n",
            Some((200, false)),
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
            Some((200, false)),
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Some((200, false))),
        (
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
            Some((200, true)),
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(status_and_follow(bytes), expected, "{bytes}");
        for piece in 1..bytes.len() {
            let read = read_in(piece, bytes.as_bytes()).unwrap();
            let read = read.map(|(reply, _)| (reply.status, reply.is_followed));
            assert_eq!(read, expected, "in pieces of {piece}: {bytes}");
        }
    }
}

#[test]
fn what_is_not_an_answer_is_refused() {
    let field = |field: &str| format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n");
    let chunks =
        |chunks: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let cases = [
        "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
        "HTTP/2.0 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 99 No\r\n\r\n".to_owned(),
        "HTTP/1.1 099 No\r\n\r\n".to_owned(),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        field("Content-Length: +1"),
        field("Content-Length: -1"),
        field("Content-Length: 0x1"),
        field("Content-Length:"),
        field("Content-Length: 1, 2"),
        field("Content-Length: 1\r\ncontent-length: 2"),
        field("Content-Length: 18446744073709551616"),
        field("no colon"),
        field(" folded: line"),
        chunks("g\r\n"),
        chunks("-1\r\n"),
        chunks("11111111111111111\r\n"),
        chunks("2\r\nokay\r\n"),
        chunks("2\r\nok\n0\r\n\r\n"),
        chunks("0\r\nno colon\r\n\r\n"),
    ];
    for bytes in cases {
        assert_eq!(read(&bytes).unwrap_err(), Malformed, "{bytes}");
        assert_eq!(read_in(1, bytes.as_bytes()).unwrap_err(), Malformed, "byte by byte: {bytes}");
    }
}

#[test]
fn nothing_is_read_without_an_end() {
    let endless = [
        ("HTTP/1.1 200 OK\r\nx: ", "y"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: ", "y"),
    ];
    for (begin, more) in endless {
        let bytes = format!("{begin}{}", more.repeat(HEAD_LIMIT_BYTES));
        assert_eq!(read_in(1_000, bytes.as_bytes()).unwrap_err(), Malformed, "{begin}");
    }
    // Chunks of one byte: what frames them counts as well.
    let extension = "x".repeat(1_000);
    let chunk = format!("1;{extension}\r\nx\r\n");
    let bytes =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(1_000));
    let (reply, given) = read_in(500, bytes.as_bytes()).unwrap().unwrap();
    assert_eq!((reply.status, reply.is_followed), (200, false));
    assert!(given < 2 * BODY_LIMIT_BYTES, "{given} of {}", bytes.len());
}

/// How a body is framed.
#[derive(Clone, Debug)]
enum Framing {
    Length,
    Chunks(Vec<usize>),
    End,
}

/// An answer's text, more or less in order.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let framing = prop_oneof![
        Just(Framing::Length),
        prop::collection::vec(1_usize..40, 1..5).prop_map(Framing::Chunks),
        Just(Framing::End),
    ];
    let field = prop_oneof![
        Just("Connection: close"),
        Just("Connection: keep-alive, x"),
        Just("retry-after: 7"),
        Just("Retry-After: \u{fc}"),
        Just("X-Empty:"),
        Just("Content-Length: 5"),
        Just("Transfer-Encoding: identity"),
        Just("Set-Cookie: a=b; c"),
    ];
    let parts = (
        prop_oneof![Just("HTTP/1.1"), Just("HTTP/1.1"), Just("HTTP/1.1"), Just("HTTP/1.0")],
        prop_oneof![Just(200_u16), Just(204), Just(304), Just(500), 100..999_u16],
        prop::collection::vec(field, 0..3),
        framing,
        prop::collection::vec(any::<u8>(), 0..200),
        prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>())),
        prop::option::weighted(0.2, any::<prop::sample::Index>()),
    );
    parts.prop_map(|(version, status, fields, framing, body, flip, cut)| {
        let mut bytes = format!("{version} {status} Reason\r\n").into_bytes();
        for field in fields {
            bytes.extend(field.bytes().chain(*b"\r\n"));
        }
        match framing {
            Framing::Length => {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
                bytes.extend(&body);
            }
            Framing::Chunks(sizes) => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                let mut rest = &*body;
                for size in sizes {
                    let (chunk, other) = rest.split_at(size.min(rest.len()));
                    rest = other;
                    if !chunk.is_empty() {
                        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                        bytes.extend(chunk.iter().chain(b"\r\n"));
                    }
                }
                bytes.extend(b"0\r\n\r\n");
            }
            Framing::End => bytes.extend(b"\r\n".iter().chain(&body)),
        }
        if let Some((index, byte)) = flip {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    })
}

/// What hyper makes of an answer: its status, `Retry-After` and body.
fn read_by_hyper(bytes: Vec<u8>) -> Option<(u16, Option<String>, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let request = http::Request::post("/").body(Full::new(Bytes::new())).unwrap();
        let exchange = async {
            let answer = sender.send_request(request).await.ok()?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            Some((head.status.as_u16(), retry_after.map(String::from), body))
        };
        let answering = async {
            // Hyper refuses what comes before its request has gone.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            far.write_all(&bytes).await.unwrap();
            far.shutdown().await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            exchanged = async { tokio::join!(exchange, async { let _ = driver.await; }).0 } => exchanged,
            () = answering => None,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn hyper_reads_the_same(bytes in answers(), piece in 1_usize..300) {
        let ours = read_in(piece, &bytes).ok().flatten().map(|(reply, _)| {
            let answer = reply.answer.unwrap();
            (reply.status, reply.retry_after, answer.body)
        });
        prop_assert_eq!(ours, read_by_hyper(bytes.clone()), "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
        let _ = read_in(piece, &bytes);
        let _ = read_in(piece, &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &*bytes].concat());
    }
}
