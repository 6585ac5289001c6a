//! What has arrived at the receiver, by endpoint.
//!
//! Every request is entered before it is answered, so that an answer that somebody has seen is always in the books.
//! The receiver's thread writes, tests and the demo read and wait; nothing here touches the network.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{Notify, mpsc};

use super::behaviour::{Behaviour, Credentials, Lock, Plan, Reply};

/// The endpoint that stands for every path without one of its own; no request's path is written like this.
pub const ELSEWHERE: &str = "*";

/// What the receiver keeps of its requests.
#[derive(Clone, Debug)]
pub enum Keep {
    /// Every receipt, to be read with [`Receiver::receipts`](super::Receiver::receipts).
    Receipts,
    /// The counters alone: memory stays flat however much arrives.
    Counters,
    /// The counters; each receipt is handed over before its request is answered, which waits while the channel is full.
    HandOver(mpsc::Sender<Receipt>),
}

/// One request, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The path, without the query.
    pub path: String,
    /// What stood behind the `?`.
    pub query: Option<String>,
    /// When its last byte had been read.
    pub at: SystemTime,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The header `webhook-id`.
    pub webhook_id: Option<String>,
    /// The header `webhook-timestamp`.
    pub webhook_timestamp: Option<String>,
    /// The header `webhook-attempt`.
    pub webhook_attempt: Option<String>,
    /// The header `traceparent`.
    pub traceparent: Option<String>,
    /// The header `Content-Type`.
    pub content_type: Option<String>,
    /// The header `User-Agent`.
    pub user_agent: Option<String>,
    /// The body, byte for byte.
    pub body: Bytes,
    /// Whether its credentials were right, or none were asked for.
    pub admitted: bool,
    /// What it was answered; `None` while it waits, and for good where no answer was sent.
    pub status: Option<StatusCode>,
}

/// An endpoint's requests in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were read to their end.
    pub requests: u64,
    /// Those answered 2xx.
    pub delivered: u64,
    /// Those answered 401 because of wrong credentials, or anything else but 2xx.
    pub failed: u64,
    /// Those being held open now.
    pub in_flight: u64,
    /// The most that were open at one time.
    pub peak_in_flight: u64,
    /// All bodies together.
    pub body_bytes: u64,
}

/// What was waited for has not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} has {} requests, {} of them delivered, after {waited:?}", counts.requests, counts.delivered)]
pub struct Late {
    /// The endpoint.
    pub path: String,
    /// What had come.
    pub counts: Counts,
    /// How long was waited.
    pub waited: Duration,
}

/// The books of one receiver.
pub(super) struct Ledger {
    keep: Keep,
    books: Mutex<Books>,
    /// For those who wait on a thread.
    changed: Condvar,
    /// For those who wait in a task.
    changed_async: Notify,
    connections: AtomicU64,
}

impl Ledger {
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            keep,
            books: Mutex::new(Books::default()),
            changed: Condvar::new(),
            changed_async: Notify::new(),
            connections: AtomicU64::new(0),
        }
    }

    pub(super) fn set_behaviour(&self, path: &str, behaviour: Behaviour) {
        self.books().endpoint(path).behaviour = behaviour;
    }

    pub(super) fn set_credentials(&self, path: &str, credentials: &Credentials) {
        self.books().endpoint(path).lock = credentials.lock();
    }

    pub(super) fn receipts(&self, path: &str) -> Vec<Receipt> {
        let books = self.books();
        books.find(path).map_or_else(Vec::new, |place| books.endpoints[place].receipts.clone())
    }

    pub(super) fn counts(&self, path: &str) -> Counts {
        let books = self.books();
        books.find(path).map_or_else(Counts::default, |place| books.endpoints[place].counts)
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Blocks the thread until the endpoint's counts satisfy `reached`.
    pub(super) fn wait(
        &self,
        path: &str,
        timeout: Duration,
        reached: impl Fn(&Counts) -> bool,
    ) -> Result<Counts, Late> {
        let started = Instant::now();
        let mut books = self.books();
        loop {
            let counts = books.counts(path);
            if reached(&counts) {
                return Ok(counts);
            }
            let Some(left) = timeout.checked_sub(started.elapsed()) else {
                return Err(Late { path: path.to_owned(), counts, waited: timeout });
            };
            let woken = self.changed.wait_timeout(books, left);
            books = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The same for a task; waits for ever, so the caller sets the limit.
    pub(super) async fn reach(&self, path: &str, reached: impl Fn(&Counts) -> bool) -> Counts {
        loop {
            let mut changed = std::pin::pin!(self.changed_async.notified());
            // Armed before the look, so that no change between the two is missed.
            changed.as_mut().enable();
            let counts = self.counts(path);
            if reached(&counts) {
                return counts;
            }
            changed.await;
        }
    }

    /// Enters a request and says what happens to it.
    pub(super) fn enter(self: &Arc<Self>, mut receipt: Receipt) -> (Visit, Plan) {
        let mut books = self.books();
        let place = books.find(&receipt.path).unwrap_or_else(|| books.place(ELSEWHERE));
        let endpoint = &mut books.endpoints[place];
        let refusal = endpoint.refusal(receipt.authorization.as_deref());
        receipt.admitted = refusal.is_none();
        let plan =
            refusal.map_or_else(|| endpoint.behaviour.plan(endpoint.counts.requests), Plan::Now);
        endpoint.counts.requests += 1;
        endpoint.counts.body_bytes += receipt.body.len() as u64;
        endpoint.counts.in_flight += 1;
        endpoint.counts.peak_in_flight =
            endpoint.counts.peak_in_flight.max(endpoint.counts.in_flight);
        if let Plan::Now(reply) = &plan {
            endpoint.counts.answer(reply.status);
            receipt.status = Some(reply.status);
        }
        let entry = match &self.keep {
            Keep::Receipts => {
                endpoint.receipts.push(receipt);
                Entry::Kept(endpoint.receipts.len() - 1)
            }
            Keep::Counters => Entry::Counted,
            Keep::HandOver(_) => Entry::Held(Box::new(receipt)),
        };
        drop(books);
        self.wake();
        (Visit { ledger: Arc::clone(self), place, entry }, plan)
    }

    fn wake(&self) {
        self.changed.notify_all();
        self.changed_async.notify_waiters();
    }

    /// A panic elsewhere leaves nothing half-written here: each change is complete when the lock is let go.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// A request that has been entered and is still open; dropping it closes it, answered or not.
pub(super) struct Visit {
    ledger: Arc<Ledger>,
    place: usize,
    entry: Entry,
}

impl Visit {
    /// Enters the answer that is about to be sent, for a request that was not answered at once.
    pub(super) fn answer(&mut self, status: StatusCode) {
        let mut books = self.ledger.books();
        let endpoint = &mut books.endpoints[self.place];
        endpoint.counts.answer(status);
        match &mut self.entry {
            Entry::Kept(index) => endpoint.receipts[*index].status = Some(status),
            Entry::Held(receipt) => receipt.status = Some(status),
            Entry::Counted => {}
        }
        drop(books);
        self.ledger.wake();
    }

    /// Hands the receipt to whoever asked for that, and waits until there is room for it.
    pub(super) async fn hand_over(&mut self) {
        let Entry::Held(receipt) = std::mem::replace(&mut self.entry, Entry::Counted) else {
            return;
        };
        let Keep::HandOver(sender) = &self.ledger.keep else {
            return;
        };
        // A reader that is gone wants no more receipts; that is no reason to refuse requests.
        let _ = sender.send(*receipt).await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut books = self.ledger.books();
        books.endpoints[self.place].counts.in_flight -= 1;
        drop(books);
        self.ledger.wake();
        let entry = std::mem::replace(&mut self.entry, Entry::Counted);
        if let (Entry::Held(receipt), Keep::HandOver(sender)) = (entry, &self.ledger.keep) {
            // The client left before its answer; its receipt is shown if there is room.
            let _ = sender.try_send(*receipt);
        }
    }
}

/// Where a request's receipt is.
enum Entry {
    /// At this index of its endpoint's receipts.
    Kept(usize),
    /// Still to be handed over.
    Held(Box<Receipt>),
    /// Nowhere (any more).
    Counted,
}

struct Books {
    /// Path to index in `endpoints`.
    places: HashMap<Box<str>, usize>,
    endpoints: Vec<Endpoint>,
}

impl Default for Books {
    fn default() -> Self {
        let elsewhere =
            Endpoint { behaviour: Behaviour::status(StatusCode::NOT_FOUND), ..Endpoint::default() };
        Self { places: HashMap::from([(ELSEWHERE.into(), 0)]), endpoints: vec![elsewhere] }
    }
}

impl Books {
    fn find(&self, path: &str) -> Option<usize> {
        self.places.get(path).copied()
    }

    fn counts(&self, path: &str) -> Counts {
        self.find(path).map_or_else(Counts::default, |place| self.endpoints[place].counts)
    }

    /// The endpoint's index; made where there is none.
    fn place(&mut self, path: &str) -> usize {
        if let Some(place) = self.find(path) {
            return place;
        }
        self.places.insert(path.into(), self.endpoints.len());
        self.endpoints.push(Endpoint::default());
        self.endpoints.len() - 1
    }

    fn endpoint(&mut self, path: &str) -> &mut Endpoint {
        let place = self.place(path);
        &mut self.endpoints[place]
    }
}

#[derive(Default)]
struct Endpoint {
    behaviour: Behaviour,
    lock: Option<Lock>,
    counts: Counts,
    receipts: Vec<Receipt>,
}

impl Endpoint {
    fn refusal(&self, authorization: Option<&str>) -> Option<Reply> {
        self.lock.as_ref().and_then(|lock| lock.refusal(authorization))
    }
}

impl Counts {
    const fn answer(&mut self, status: StatusCode) {
        if matches!(status.as_u16(), 200..=299) {
            self.delivered += 1;
        } else {
            self.failed += 1;
        }
    }
}
