//! The one seam to receivers: a [`Request`] in, an [`AttemptResult`] out.
//!
//! Sends over an idle link of the same webhook connection, or over a fresh one, within the
//! attempt's time limit. It never follows a redirect, keeps a cookie, decompresses, retries what
//! may have reached the receiver, or says what an answer means. One [`Client`] serves one shard on
//! its current_thread runtime; the driver's attempts call it. It spawns nothing: an attempt's
//! future drives its own link, and dropping it closes the link.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::answer::{Answer, Keep};
use super::dialer::{DialError, Dialer};
use super::http1::{Reply, render_head};
use super::link::{Exchange, Link, Message};
use super::pool::{Pool, PoolLimits};
use super::resolver::{LookupError, Resolver};
use crate::engine::address::{AddressRule, Endpoint};
use crate::engine::outcome::{AttemptResult, Fault};
use crate::engine::payload::RequestHeaders;

/// One attempt, ready to be sent.
///
/// `Debug` shows neither headers nor body: they hold credentials and personal data.
#[derive(Clone)]
pub struct Request {
    /// Which webhook connection it is for: idle links are never shared between two of them.
    pub pool_key: Arc<str>,
    /// Where it goes.
    pub endpoint: Arc<Endpoint>,
    /// All headers except `Host` and `Content-Length`, which are added here.
    pub headers: RequestHeaders,
    /// The body, byte for byte.
    pub body: Bytes,
    /// How long the attempt may take from now to the end of the answer's body.
    pub timeout: Duration,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("pool_key", &self.pool_key)
            .field("endpoint", &self.endpoint)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// An attempt with what people want to know of it.
#[derive(Debug)]
pub struct Trace {
    /// What it met.
    pub result: AttemptResult,
    /// What was to be kept of its answer.
    pub answer: Option<Box<Answer>>,
    /// How long the look-up of the name, the TCP connection and the TLS handshake took together; `None` where a link
    /// that was open already served.
    pub connect: Option<Duration>,
    /// How long all of it took.
    pub took: Duration,
}

/// What a client may hold and do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Idle links, all webhook connections together; at about 30 KiB each, 4096 are 120 MiB.
    pub idle_links: usize,
    /// How long a link may stay unused: 55 s, below the 60 s after which most servers close.
    pub idle: Duration,
    /// How long a link may be used: 5 min, so that a change of address or policy bites.
    pub lifetime: Duration,
    /// Handshakes under way: 16. At 0.3 ms each, a burst of new hosts then delays the warm ones by
    /// some 20 ms instead of seconds.
    pub handshakes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle_links: 4096,
            idle: Duration::from_secs(55),
            lifetime: Duration::from_secs(5 * 60),
            handshakes: 16,
        }
    }
}

/// The webhook client of one shard.
pub struct Client {
    dialer: Dialer,
    pool: RefCell<Pool>,
    /// Each link holds a clone, so that its count is the number of links and one.
    open: Rc<()>,
    /// Refusals of the egress guard by reason, since they were last taken.
    denials: RefCell<BTreeMap<&'static str, u64>>,
}

impl Client {
    /// A client under this rule, with an empty pool.
    #[must_use]
    pub fn new(
        rule: Arc<AddressRule>,
        tls: Arc<ClientConfig>,
        resolver: Resolver,
        limits: Limits,
    ) -> Self {
        let Limits { idle_links, idle, lifetime, handshakes } = limits;
        let pool = Pool::new(PoolLimits { links: idle_links, idle, lifetime }, Instant::now());
        Self {
            dialer: Dialer::new(rule, tls, resolver, handshakes),
            pool: RefCell::new(pool),
            open: Rc::new(()),
            denials: RefCell::default(),
        }
    }

    /// Makes one attempt, of which nobody wants to know more than what it met.
    pub async fn send(&self, request: Request) -> AttemptResult {
        self.trace(request, Keep::Nothing).await.result
    }

    /// Makes one attempt. Cancel-safe: dropping the future closes the link that it uses.
    pub async fn trace(&self, request: Request, keep: Keep) -> Trace {
        let Request { pool_key, endpoint, headers, body, timeout } = request;
        let started = Instant::now();
        let deadline = started + timeout;
        let head = render_head(&endpoint, &headers, body.len());
        let message = Message { head, body };

        let mut parked = self.pool.borrow_mut().take(&pool_key, &endpoint, started);
        let mut connect = None;
        let (exchange, link) = loop {
            let mut link = match parked.take() {
                Some(link) => link,
                None => {
                    let dialing = Instant::now();
                    // Boxed, since it is large and the warm path never needs it.
                    let opened = Box::pin(self.open(&endpoint, deadline)).await;
                    connect = Some(dialing.elapsed());
                    match opened {
                        Ok(link) => link,
                        Err(result) => {
                            return Trace {
                                result,
                                answer: None,
                                connect,
                                took: started.elapsed(),
                            };
                        }
                    }
                }
            };
            let exchanged = timeout_at(deadline, link.exchange(&message, keep)).await;
            match exchanged.unwrap_or(Exchange::Broken(Fault::Timeout)) {
                // Closed while idle, most likely with all others of this host: on to a fresh one.
                Exchange::Unsent(_) if connect.is_none() => {}
                done @ (Exchange::Answered(_) | Exchange::Broken(_) | Exchange::Unsent(_)) => {
                    break (done, link);
                }
            }
        };
        let ended = Instant::now();
        let took = ended - started;
        match exchange {
            Exchange::Answered(Reply { status, retry_after, answer, .. }) => {
                self.pool.borrow_mut().put(pool_key, endpoint, link, ended);
                let result = AttemptResult::Answered { status, retry_after };
                Trace { result, answer, connect, took }
            }
            Exchange::Broken(fault) | Exchange::Unsent(fault) => {
                let answer_begun = link.answer_begun();
                debug!(%endpoint, fault = fault.as_str(), answer_begun, "no whole answer");
                let result = AttemptResult::Failed { fault, answer_begun };
                Trace { result, answer: None, connect, took }
            }
        }
    }

    /// Drops idle links that are too old or were closed by their receivers. Every request does so
    /// from time to time; a shard without requests has to call this.
    pub fn sweep(&self) {
        self.pool.borrow_mut().sweep(Instant::now());
    }

    /// How many links are open, idle or in use.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        Rc::strong_count(&self.open) - 1
    }

    /// The egress guard's refusals by reason since the last call, for `egress_denied_total`.
    #[must_use]
    pub fn take_denials(&self) -> Vec<(&'static str, u64)> {
        self.denials.take().into_iter().collect()
    }

    async fn open(&self, endpoint: &Endpoint, deadline: Instant) -> Result<Link, AttemptResult> {
        let Ok(dialed) = timeout_at(deadline, self.dialer.dial(endpoint, deadline)).await else {
            return Err(failed(Fault::Timeout));
        };
        let stream = dialed.map_err(|error| self.blame(endpoint, &error))?;
        Ok(Link::new(stream, &self.open))
    }

    fn blame(&self, endpoint: &Endpoint, error: &DialError) -> AttemptResult {
        debug!(%endpoint, %error, "no link");
        match error {
            DialError::Denied(denied) => {
                *self.denials.borrow_mut().entry(denied.reason()).or_default() += 1;
                AttemptResult::Denied
            }
            DialError::Lookup(LookupError::Name(_)) => failed(Fault::Dns),
            DialError::Connect(_) => failed(Fault::Connect),
            DialError::Tls(_) => failed(Fault::Tls),
            DialError::Lookup(LookupError::Resolver(_))
            | DialError::Exhausted(_)
            | DialError::Crowded => AttemptResult::OurFault,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("open", &self.open_connections()).finish_non_exhaustive()
    }
}

const fn failed(fault: Fault) -> AttemptResult {
    AttemptResult::Failed { fault, answer_begun: false }
}

#[cfg(test)]
mod tests;
