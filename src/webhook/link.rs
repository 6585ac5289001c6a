//! One open HTTP/1.1 connection to a receiver.
//!
//! Carries one request at a time and reads its answer within the limits of [`super::http1`]. It is
//! driven by whoever uses it and has no task of its own: dropping the future of an exchange, or the
//! link, closes the socket, and a link that is not clean is never reusable. It opens nothing and
//! judges no status. [`super::client`] uses it, [`super::pool`] keeps it while idle.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::answer::Keep;
use super::http1::{AnswerReader, Malformed, Reply};
use crate::engine::outcome::Fault;

/// Room for one reading: most answers are smaller.
const READ_BYTES: usize = 2 * 1024;

/// A request as it goes over a link. It holds credentials and personal data, and so has no `Debug`.
pub(super) struct Message {
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
}

/// What became of one request.
pub(super) enum Exchange {
    /// An answer came, to its end or to the limit on its body.
    Answered(Reply),
    /// The link had ended before the request was begun: not a byte of it was sent.
    Unsent(Fault),
    /// No whole answer came.
    Broken(Fault),
}

/// An open connection and its TLS.
pub(super) struct Link {
    /// Boxed: the state of TLS is a kilobyte, and links move between the pool and the exchanges.
    stream: Box<TlsStream<TcpStream>>,
    is_reusable: bool,
    answer_begun: bool,
    opened_at: Instant,
    /// Alive as long as the link, so that its holders can be counted.
    _open: Rc<()>,
}

impl Link {
    /// A link on a fresh connection. It holds a clone of `open` for as long as it lives.
    pub(super) fn new(stream: TlsStream<TcpStream>, open: &Rc<()>) -> Self {
        Self {
            stream: Box::new(stream),
            is_reusable: true,
            answer_begun: false,
            opened_at: Instant::now(),
            _open: Rc::clone(open),
        }
    }

    /// When the link was opened.
    pub(super) const fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// Whether any byte of the present (or last) exchange's answer was read.
    pub(super) const fn answer_begun(&self) -> bool {
        self.answer_begun
    }

    /// Sends a request and reads its answer. Has no time limit: the caller has.
    pub(super) async fn exchange(&mut self, message: &Message, keep: Keep) -> Exchange {
        self.answer_begun = false;
        let mut received = BytesMut::with_capacity(READ_BYTES);
        if let Some(fault) = poll_fn(|cx| Poll::Ready(self.poll_ended(cx, &mut received))).await {
            return Exchange::Unsent(fault);
        }
        self.is_reusable = false;
        let mut unsent = Buf::chain(&*message.head, &*message.body);
        let mut reader = AnswerReader::new(keep);
        let read = poll_fn(|cx| self.poll_exchange(cx, &mut unsent, &mut reader, &mut received));
        if let Err(fault) = read.await {
            return Exchange::Broken(fault);
        }
        let reply = reader.end();
        // Whatever came behind the answer belongs to nothing that was asked.
        self.is_reusable = reply.is_followed && received.is_empty() && !unsent.has_remaining();
        Exchange::Answered(reply)
    }

    /// Whether the next request may go over this link: the last answer was read to its end, and
    /// neither side has asked to close.
    pub(super) const fn is_reusable(&self) -> bool {
        self.is_reusable
    }

    /// As [`Self::is_reusable`], after a look at the socket: it may have been closed meanwhile.
    /// Nobody needs to be woken: an idle link is looked at before it is used, and in each sweep.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.is_reusable && self.poll_ended(&mut cx, &mut BytesMut::new()).is_none()
    }

    /// How the link has ended while nothing was asked, if it has.
    fn poll_ended(&mut self, cx: &mut Context<'_>, received: &mut BytesMut) -> Option<Fault> {
        match self.poll_read(cx, received) {
            Poll::Pending => None,
            Poll::Ready(Ok(0)) => Some(Fault::Reset),
            Poll::Ready(Ok(_)) => Some(Fault::Protocol),
            Poll::Ready(Err(fault)) => Some(fault),
        }
    }

    /// Moves an exchange forward. A receiver may answer before it has read all.
    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        unsent: &mut impl Buf,
        reader: &mut AnswerReader,
        received: &mut BytesMut,
    ) -> Poll<Result<(), Fault>> {
        let written = self.poll_write(cx, unsent);
        loop {
            match (self.poll_read(cx, received), &written) {
                (Poll::Ready(Ok(0)), _) if reader.is_whole_at_end() => return Poll::Ready(Ok(())),
                (Poll::Ready(Ok(0)), _) => return Poll::Ready(Err(Fault::Reset)),
                (Poll::Ready(Ok(_)), _) => match reader.take(received) {
                    Ok(true) => return Poll::Ready(Ok(())),
                    Ok(false) => {}
                    Err(Malformed) => return Poll::Ready(Err(Fault::Protocol)),
                },
                (Poll::Ready(Err(fault)), _) => return Poll::Ready(Err(fault)),
                (Poll::Pending, Poll::Ready(Err(fault))) => return Poll::Ready(Err(*fault)),
                (Poll::Pending, _) => return Poll::Pending,
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        unsent: &mut impl Buf,
    ) -> Poll<Result<(), Fault>> {
        while unsent.has_remaining() {
            match poll_write_buf(Pin::new(&mut *self.stream), cx, unsent) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Fault::Reset)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(fault_of(&error))),
                Poll::Pending => return Poll::Pending,
            }
        }
        // What TLS still holds of it.
        Pin::new(&mut *self.stream).poll_flush(cx).map_err(|error| fault_of(&error))
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        received: &mut BytesMut,
    ) -> Poll<Result<usize, Fault>> {
        received.reserve(READ_BYTES);
        let read = match poll_read_buf(Pin::new(&mut *self.stream), cx, received) {
            // An end without close_notify is an end: HTTP itself tells a cut answer from a whole one,
            // except where the end is the only mark, and there only the status matters.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Poll::Ready(Err(error)) => Err(fault_of(&error)),
            Poll::Ready(Ok(bytes)) => Ok(bytes),
            Poll::Pending => return Poll::Pending,
        };
        self.answer_begun |= matches!(read, Ok(1..));
        Poll::Ready(read)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("opened_at", &self.opened_at).finish_non_exhaustive()
    }
}

/// Where an exchange broke: what TLS refused, or a connection that ended.
fn fault_of(error: &io::Error) -> Fault {
    let is_of_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    if is_of_tls { Fault::Tls } else { Fault::Reset }
}
