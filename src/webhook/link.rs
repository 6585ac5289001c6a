//! One open HTTP/1.1 connection to a receiver.
//!
//! Carries one request at a time and reads its answer within the limits on head and body. It is
//! driven by whoever uses it and has no task of its own: dropping the future of an exchange, or the
//! link, closes the socket, and a link that is not clean is never reusable. It opens nothing and
//! judges no status. [`super::client`] uses it, [`super::pool`] keeps it while idle.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::answer::{Answer, Keep, Keeper};
use crate::engine::outcome::Fault;

/// The longest head of an answer; also all that is ever buffered of one.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;

/// The most header fields of an answer.
const HEADER_LIMIT: usize = 64;

/// The most that is read of an answer's body; then the link is dropped and the status counts.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// What became of one request.
pub(super) enum Exchange {
    /// An answer came, to its end or to the limit on its body.
    Answered {
        /// Its status code.
        status: u16,
        /// Its `Retry-After`, where that is text.
        retry_after: Option<String>,
        /// What was to be kept of it.
        answer: Option<Box<Answer>>,
    },
    /// The link had ended before the request was begun.
    Unsent {
        /// Here it is again.
        request: Box<Request<Full<Bytes>>>,
        /// How the link had ended.
        fault: Fault,
    },
    /// No whole answer came.
    Broken(Fault),
}

/// An open connection, its TLS and its HTTP state.
pub(super) struct Link {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended. It must be dropped then: what it still holds, a request that was
    /// never taken up, is given back by its drop.
    driver: Option<Box<http1::Connection<TokioIo<Counted>, Full<Bytes>>>>,
    /// The answer's body was not read to its end: whatever comes next belongs to it.
    is_dirty: bool,
    received_bytes: Rc<Cell<u64>>,
    /// What had been received when the present exchange began.
    received_before: u64,
    opened_at: Instant,
    /// Alive as long as the link, so that its holders can be counted.
    _open: Rc<()>,
}

impl Link {
    /// A link on a fresh connection. It holds a clone of `open` for as long as it lives.
    pub(super) async fn open(stream: TlsStream<TcpStream>, open: &Rc<()>) -> hyper::Result<Self> {
        let received_bytes = Rc::new(Cell::new(0));
        let io = TokioIo::new(Counted { stream, received_bytes: Rc::clone(&received_bytes) });
        let (sender, driver) = http1::Builder::new()
            .max_header_size(HEAD_LIMIT_BYTES)
            .max_buf_size(HEAD_LIMIT_BYTES)
            .handshake(io)
            .await?;
        Ok(Self {
            sender,
            driver: Some(Box::new(driver)),
            is_dirty: false,
            received_bytes,
            received_before: 0,
            opened_at: Instant::now(),
            _open: Rc::clone(open),
        })
    }

    /// When the link was opened.
    pub(super) const fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// Whether any byte of the present (or last) exchange's answer was read.
    pub(super) fn answer_begun(&self) -> bool {
        self.received_bytes.get() > self.received_before
    }

    /// Sends a request and reads its answer. Has no time limit: the caller has.
    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>, keep: Keep) -> Exchange {
        self.received_before = self.received_bytes.get();
        self.is_dirty = true;
        let answer = self.sender.try_send_request(request);
        let answer = match self.drive(answer).await {
            Ok(answer) => answer,
            Err(error) => return self.unanswered(error),
        };
        let (head, body) = answer.into_parts();
        // Not told to hyper, whose own limit of 100 spares it an allocation.
        if head.headers.len() > HEADER_LIMIT {
            return Exchange::Broken(Fault::Protocol);
        }
        let (status, retry_after) = (head.status.as_u16(), retry_after(&head.headers));
        let mut keeper = keep.wants(head.status).then(|| Keeper::new(head.headers));
        if let Err(fault) = self.read_body(body, keeper.as_mut()).await {
            return Exchange::Broken(fault);
        }
        let answer = keeper.map(|keeper| Box::new(keeper.end()));
        Exchange::Answered { status, retry_after, answer }
    }

    /// Whether the next request may go over this link: the last answer was read to its end, and
    /// neither side has asked to close.
    pub(super) fn is_reusable(&mut self) -> bool {
        if !self.sender.is_ready() {
            self.poll_idle();
        }
        !self.is_dirty && self.driver.is_some() && self.sender.is_ready()
    }

    /// As [`Self::is_reusable`], after a look at the socket: it may have been closed meanwhile.
    pub(super) fn is_alive(&mut self) -> bool {
        self.poll_idle();
        self.is_reusable()
    }

    /// Lets the driver notice what has happened. Nobody needs to be woken: an idle link is looked
    /// at before it is used, and in each sweep.
    fn poll_idle(&mut self) {
        self.poll_driver(&mut Context::from_waker(Waker::noop()));
    }

    /// What an exchange without an answer's head is. The request comes back where hyper had not yet
    /// taken it up, so that not a byte of it was sent.
    fn unanswered(&self, mut error: TrySendError<Request<Full<Bytes>>>) -> Exchange {
        let request = error.take_message();
        let fault = match request {
            Some(_) if self.answer_begun() => Fault::Protocol,
            _ => fault_of(&error.into_error()),
        };
        match request {
            Some(request) => Exchange::Unsent { request: Box::new(request), fault },
            None => Exchange::Broken(fault),
        }
    }

    /// Reads the body to its end, or to the limit; the link stays dirty in the latter case.
    async fn read_body(
        &mut self,
        mut body: Incoming,
        mut keeper: Option<&mut Keeper>,
    ) -> Result<(), Fault> {
        let mut body_bytes = 0;
        while let Some(frame) = self.drive(body.frame()).await {
            let frame = frame.map_err(|error| fault_of(&error))?;
            if let (Some(keeper), Some(data)) = (&mut keeper, frame.data_ref()) {
                keeper.take(data);
            }
            body_bytes += frame.data_ref().map_or(0, Bytes::len);
            if body_bytes > BODY_LIMIT_BYTES {
                return Ok(());
            }
        }
        self.is_dirty = false;
        Ok(())
    }

    /// Waits for a part of the exchange while moving the connection forward.
    async fn drive<F: Future>(&mut self, part: F) -> F::Output {
        let mut part = pin!(part);
        poll_fn(|cx| {
            if let Poll::Ready(output) = part.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.poll_driver(cx);
            part.as_mut().poll(cx)
        })
        .await
    }

    /// Errors are not looked at: the part of the exchange that they end has them too.
    fn poll_driver(&mut self, cx: &mut Context<'_>) {
        let Some(driver) = &mut self.driver else {
            return;
        };
        if Pin::new(&mut **driver).poll(cx).is_ready() {
            self.driver = None;
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("opened_at", &self.opened_at).finish_non_exhaustive()
    }
}

fn retry_after(headers: &HeaderMap) -> Option<String> {
    headers.get(RETRY_AFTER)?.to_str().ok().map(String::from)
}

/// Where an exchange broke: what was not HTTP, what TLS refused, or a connection that ended.
fn fault_of(error: &hyper::Error) -> Fault {
    if error.is_parse() {
        return Fault::Protocol;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return fault_of_io(io);
        }
        source = cause.source();
    }
    Fault::Reset
}

fn fault_of_io(error: &io::Error) -> Fault {
    if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        return Fault::Tls;
    }
    // How hyper reports a chunk's size or end that is not as it must be.
    let is_malformed =
        matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
    if is_malformed { Fault::Protocol } else { Fault::Reset }
}

/// The TLS stream, counting what is read from it.
struct Counted {
    stream: TlsStream<TcpStream>,
    received_bytes: Rc<Cell<u64>>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let mut result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // An end without close_notify is an end: HTTP itself tells a cut answer from a whole one,
        // except where the end is the only mark, and there only the status matters.
        if matches!(&result, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof)
        {
            result = Poll::Ready(Ok(()));
        }
        let read_bytes = (buffer.filled().len() - before) as u64;
        self.received_bytes.set(self.received_bytes.get() + read_bytes);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
