//! HTTP/1.1 as a client needs it (RFC 9112): a request's head as bytes, an answer out of bytes.
//!
//! It has no socket: [`super::link`] hands in what comes. Bounds are kept here, on head and body, so
//! that no answer costs more memory or reading than they say. What it does not do: pipelining,
//! `Expect`, `HEAD`, upgrades; nobody here asks for them. Why it is not hyper: ADR 7.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use httparse::{EMPTY_HEADER, Header, ParserConfig, Status, parse_chunk_size, parse_headers};

use super::answer::{Answer, Keep, Keeper};
use crate::engine::address::Endpoint;
use crate::engine::payload::RequestHeaders;

/// The longest head of an answer, and the longest line or trailer section within its body.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;

/// The most header fields of an answer.
const HEADER_LIMIT: usize = 64;

/// The most that is read of an answer's body, with all that frames it; then the status counts, and the link is of no
/// more use.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// What came is not HTTP/1.1, or beyond the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Renders a request's head. Names are in lower case, and values as they are: both were checked when they were made.
pub(super) fn render_head(
    endpoint: &Endpoint,
    headers: &RequestHeaders,
    body_bytes: usize,
) -> Vec<u8> {
    let target = endpoint.target();
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let mut head = Vec::with_capacity(target.len() + fields.sum::<usize>() + 128);
    head.extend_from_slice(b"POST ");
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        push_field(&mut head, name, value);
    }
    push_field(&mut head, &HOST, endpoint.host_header());
    push_field(&mut head, &CONTENT_LENGTH, &HeaderValue::from(body_bytes));
    head.extend_from_slice(b"\r\n");
    head
}

fn push_field(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// An answer that has been read.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its status code.
    pub(super) status: u16,
    /// Its `Retry-After`, where that is text.
    pub(super) retry_after: Option<String>,
    /// What was to be kept of it.
    pub(super) answer: Option<Box<Answer>>,
    /// It was read to its end, and neither its framing nor its sender says that it is the last one.
    pub(super) is_followed: bool,
}

/// Reads one answer.
#[derive(Debug)]
pub(super) struct AnswerReader {
    keep: Keep,
    expects: Expects,
    status: u16,
    retry_after: Option<String>,
    keeper: Option<Keeper>,
    body_bytes: usize,
    is_followed: bool,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Head,
    /// The body, or a chunk of it.
    Data {
        left: u64,
        is_chunk: bool,
    },
    ChunkSize,
    ChunkEnd,
    Trailers,
    /// The body, as long as the connection lasts.
    Rest,
    Nothing,
}

/// What is needed of an answer's header fields.
#[derive(Default)]
struct Fields<'a> {
    /// It matters only where nothing else ends the body.
    content_length: Option<Result<u64, Malformed>>,
    transfer_encoding: Option<&'a [u8]>,
    retry_after: Option<&'a [u8]>,
    closes: bool,
    keeps_alive: bool,
}

impl AnswerReader {
    pub(super) const fn new(keep: Keep) -> Self {
        Self {
            keep,
            expects: Expects::Head,
            status: 0,
            retry_after: None,
            keeper: None,
            body_bytes: 0,
            is_followed: false,
        }
    }

    /// Takes in what has come, from the front of `bytes`. Answers whether no more is wanted; what is left then belongs to
    /// no answer.
    pub(super) fn take(&mut self, bytes: &mut BytesMut) -> Result<bool, Malformed> {
        while self.expects != Expects::Nothing {
            let (before, is_body) = (bytes.len(), self.expects != Expects::Head);
            let is_taken = match self.expects {
                Expects::Head => self.take_head(bytes)?,
                Expects::Data { left, is_chunk } => self.take_data(bytes, left, is_chunk),
                Expects::ChunkSize => self.take_chunk_size(bytes)?,
                Expects::ChunkEnd => self.take_chunk_end(bytes)?,
                Expects::Trailers => self.take_trailers(bytes)?,
                Expects::Rest => self.take_data(bytes, u64::MAX, false),
                Expects::Nothing => true,
            };
            if is_body {
                self.body_bytes += before - bytes.len();
            }
            if self.body_bytes > BODY_LIMIT_BYTES {
                self.is_followed = false;
                return Ok(true);
            }
            if !is_taken {
                return if bytes.len() > HEAD_LIMIT_BYTES { Err(Malformed) } else { Ok(false) };
            }
        }
        Ok(true)
    }

    /// The connection has ended. Answers whether the answer is whole by that.
    pub(super) fn is_whole_at_end(&self) -> bool {
        self.expects == Expects::Rest
    }

    /// What was read.
    pub(super) fn end(self) -> Reply {
        Reply {
            status: self.status,
            retry_after: self.retry_after,
            answer: self.keeper.map(|keeper| Box::new(keeper.end())),
            is_followed: self.is_followed,
        }
    }

    fn take_head(&mut self, bytes: &mut BytesMut) -> Result<bool, Malformed> {
        let mut room = [const { MaybeUninit::uninit() }; HEADER_LIMIT];
        let mut head = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default()
            .parse_response_with_uninit_headers(&mut head, bytes, &mut room)
            .map_err(|_| Malformed)?;
        let Status::Complete(length) = parsed else { return Ok(false) };
        let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.filter(|_| length <= HEAD_LIMIT_BYTES).ok_or(Malformed)?;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            let fields = Fields::of(head.headers);
            self.retry_after = fields.retry_after.and_then(text);
            self.status = status.as_u16();
            self.keeper = self.keep.wants(status).then(|| Keeper::new(header_map(head.headers)));
            self.expect_body(status, head.version == Some(1), &fields)?;
        }
        bytes.advance(length);
        Ok(true)
    }

    /// How the end of the body is known (RFC 9112 §6.3), and whether another answer may follow (§9.3).
    fn expect_body(
        &mut self,
        status: StatusCode,
        is_newest: bool,
        fields: &Fields<'_>,
    ) -> Result<(), Malformed> {
        self.is_followed = !fields.closes && (is_newest || fields.keeps_alive);
        self.expects = match (status.as_u16(), fields.transfer_encoding, fields.content_length) {
            (101, ..) => {
                self.is_followed = false;
                Expects::Nothing
            }
            (204 | 304, ..) => Expects::Nothing,
            (_, Some(_), _) if !is_newest => return Err(Malformed),
            (_, Some(codings), length) if last_is(codings, b"chunked") => {
                // Somebody on the way may have read the other one.
                self.is_followed &= length.is_none();
                Expects::ChunkSize
            }
            (_, None, Some(length)) => match length? {
                0 => Expects::Nothing,
                left => Expects::Data { left, is_chunk: false },
            },
            (_, Some(_), _) | (_, None, None) => {
                self.is_followed = false;
                Expects::Rest
            }
        };
        Ok(())
    }

    fn take_data(&mut self, bytes: &mut BytesMut, left: u64, is_chunk: bool) -> bool {
        let length = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if let Some(keeper) = &mut self.keeper {
            keeper.take(&bytes[..length]);
        }
        bytes.advance(length);
        if self.expects == Expects::Rest {
            return false;
        }
        let left = left - length as u64;
        self.expects = match (left, is_chunk) {
            (0, true) => Expects::ChunkEnd,
            (0, false) => Expects::Nothing,
            _ => Expects::Data { left, is_chunk },
        };
        left == 0
    }

    fn take_chunk_size(&mut self, bytes: &mut BytesMut) -> Result<bool, Malformed> {
        let parsed = parse_chunk_size(bytes).map_err(|_| Malformed)?;
        let Status::Complete((length, left)) = parsed else { return Ok(false) };
        bytes.advance(length);
        self.expects =
            if left == 0 { Expects::Trailers } else { Expects::Data { left, is_chunk: true } };
        Ok(true)
    }

    fn take_chunk_end(&mut self, bytes: &mut BytesMut) -> Result<bool, Malformed> {
        const END: &[u8] = b"\r\n";
        if !END.starts_with(&bytes[..bytes.len().min(END.len())]) {
            return Err(Malformed);
        }
        if bytes.len() < END.len() {
            return Ok(false);
        }
        bytes.advance(END.len());
        self.expects = Expects::ChunkSize;
        Ok(true)
    }

    fn take_trailers(&mut self, bytes: &mut BytesMut) -> Result<bool, Malformed> {
        let mut room = [EMPTY_HEADER; HEADER_LIMIT];
        let parsed = parse_headers(bytes, &mut room).map_err(|_| Malformed)?;
        let Status::Complete((length, _)) = parsed else { return Ok(false) };
        bytes.advance(length);
        self.expects = Expects::Nothing;
        Ok(true)
    }
}

impl<'a> Fields<'a> {
    fn of(headers: &[Header<'a>]) -> Self {
        let mut fields = Self::default();
        for &Header { name, value } in headers {
            if name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str()) {
                for length in items(value).map(length) {
                    let same = fields.content_length.is_none_or(|other| other == length);
                    fields.content_length = Some(if same { length } else { Err(Malformed) });
                }
            } else if name.eq_ignore_ascii_case(TRANSFER_ENCODING.as_str()) {
                fields.transfer_encoding = Some(value);
            } else if name.eq_ignore_ascii_case(CONNECTION.as_str()) {
                fields.closes |= items(value).any(|item| item.eq_ignore_ascii_case(b"close"));
                fields.keeps_alive |=
                    items(value).any(|item| item.eq_ignore_ascii_case(b"keep-alive"));
            } else if name.eq_ignore_ascii_case(RETRY_AFTER.as_str()) {
                fields.retry_after.get_or_insert(value);
            }
        }
        fields
    }
}

/// The items of a comma-separated list.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn last_is(list: &[u8], name: &[u8]) -> bool {
    items(list).last().is_some_and(|item| item.eq_ignore_ascii_case(name))
}

fn length(value: &[u8]) -> Result<u64, Malformed> {
    // `parse` would take a sign.
    let digits = Some(value).filter(|value| value.iter().all(u8::is_ascii_digit));
    digits.and_then(text).and_then(|digits| digits.parse().ok()).ok_or(Malformed)
}

/// A value that is visible text.
fn text(value: &[u8]) -> Option<String> {
    HeaderValue::from_bytes(value).ok()?.to_str().ok().map(String::from)
}

fn header_map(headers: &[Header<'_>]) -> HeaderMap {
    let pairs = headers.iter().filter_map(|header| {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(header.value).ok()?))
    });
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in pairs {
        map.append(name, value);
    }
    map
}

#[cfg(test)]
mod tests;
