//! Sends a test event of a connection: one real request with real credentials, through the same guard and client as
//! every delivery, and tells what came of it.
//!
//! It touches no lane and no breaker, retries nothing and logs nothing. It has a thread of its own, because a webhook
//! client belongs to one thread; that ends when nobody can ask it any more.

mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use utoipa::ToSchema;

use self::verdict::verdict;
use crate::clock::wall_clock;
use crate::driver::attempt_log::class_of;
use crate::driver::redaction::{Secrets, masked_answer, masked_request};
use crate::engine::address::AddressRule;
use crate::engine::catalog::{Catalog, FAILURE_EVENT};
use crate::engine::connection::{Connection, ConnectionKey};
use crate::engine::event::EventId;
use crate::engine::payload::{PayloadConfig, render_body, render_headers};
use crate::engine::table::ConnectionTable;
use crate::engine::time::Timestamp;
use crate::kafka::record::attempt::{AttemptOutcome, KeptAnswer, SentRequest};
use crate::kafka::record::event::{Decoded, decode};
use crate::webhook::answer::Keep;
use crate::webhook::client::{Client, Limits, Request, Trace};
use crate::webhook::resolver::Resolver;

/// Test sends of one connection in [`PERIOD`]: enough for trying things out, too few for a flood.
const IN_A_PERIOD: usize = 10;
const PERIOD: Duration = Duration::from_secs(60);
/// Test sends under way at once, of all connections.
const UNDER_WAY: usize = 8;
/// Test sends that wait for their turn.
const WAITING: usize = 32;

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct TestQuery {
    /// As which connection; it may be inactive.
    pub connection: ConnectionKey,
    /// Which event: a name of the catalog or an alias.
    pub event: String,
    /// On which channel: a name of the catalog or an alias.
    pub channel: String,
}

/// What came of a test.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TestReport {
    /// When it was sent, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The connection's revision that was used.
    pub revision: u64,
    /// What was sent, without its credentials.
    #[schema(value_type = Object)]
    pub request: SentRequest<'static>,
    /// What came back; null without an answer.
    #[schema(value_type = Option<Object>)]
    pub answer: Option<KeptAnswer<'static>>,
    /// What it met, as a class.
    #[schema(value_type = String)]
    pub outcome: AttemptOutcome,
    /// The answer's status code.
    pub status: Option<u16>,
    /// From its start to the end of the answer, in milliseconds.
    pub duration_ms: u64,
    /// What of that the name's look-up, the TCP connection and the TLS handshake took together; null where an open
    /// link served.
    pub connect_ms: Option<u64>,
    /// What that means for a delivery, in words.
    pub verdict: String,
}

/// Why nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    /// The table has no such connection, or none that can be read.
    #[error("there is no connection {0} that can be read")]
    NoConnection(ConnectionKey),
    /// A name that the catalog does not have.
    #[error("{list}: the catalog has no `{name}`")]
    UnknownName {
        /// `event` or `channel`.
        list: &'static str,
        /// The name.
        name: String,
    },
    /// Too many tests of this connection.
    #[error("{IN_A_PERIOD} tests a minute are enough; try again in {retry_after_seconds} s")]
    TooMany {
        /// When there is room again.
        retry_after_seconds: u64,
    },
    /// Too many tests of all connections.
    #[error("too many tests wait for their turn; try again in a moment")]
    Busy,
}

/// What tests are made of.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) table: watch::Receiver<Arc<ConnectionTable>>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) payload: Arc<PayloadConfig>,
    pub(super) rule: Arc<AddressRule>,
    pub(super) tls: Arc<rustls::ClientConfig>,
}

/// The way to test sends; cheap to clone.
#[derive(Clone, Debug)]
pub struct TestSends {
    parts: Parts,
    tests: mpsc::Sender<Test>,
    recent: Arc<Mutex<Recent>>,
}

/// A test on its way to the thread.
#[derive(Debug)]
struct Test {
    connection: Arc<Connection>,
    id: EventId,
    at: Timestamp,
    body: bytes::Bytes,
    reply: oneshot::Sender<Trace>,
}

impl TestSends {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it or its runtime cannot be started.
    pub(super) fn start(parts: Parts) -> io::Result<Self> {
        let (tests, waiting) = mpsc::channel(WAITING);
        let (rule, tls) = (Arc::clone(&parts.rule), Arc::clone(&parts.tls));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new()
            .name("test-sends".to_owned())
            .spawn(move || runtime.block_on(run(rule, tls, waiting)))?;
        Ok(Self { parts, tests, recent: Arc::default() })
    }

    /// Sends a test event and waits for what comes of it.
    ///
    /// # Errors
    /// [`TestError`], if nothing was sent.
    pub async fn send(&self, query: &TestQuery) -> Result<TestReport, TestError> {
        let connection = self.parts.table.borrow().record(&query.connection);
        let Some(connection) = connection else {
            return Err(TestError::NoConnection(query.connection.clone()));
        };
        let at = wall_clock();
        let id = EventId::from_text(&format!("test_{}", at.as_nanos()));
        let body = self.body(query, at)?;
        self.recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(&query.connection, Instant::now())?;
        let (reply, answer) = oneshot::channel();
        let test = Test {
            connection: Arc::clone(&connection),
            id: id.clone(),
            at,
            body: body.clone(),
            reply,
        };
        self.tests.try_send(test).map_err(|_| TestError::Busy)?;
        let trace = answer.await.map_err(|_| TestError::Busy)?;
        let headers = render_headers(&id, 1, at, &connection.auth);
        let (outcome, status) = class_of(&trace.result);
        Ok(TestReport {
            at_ms: at.as_millis(),
            revision: connection.revision,
            request: masked_request(&connection.endpoint, &headers, &body).into_owned(),
            answer: trace
                .answer
                .as_deref()
                .map(|answer| masked_answer(answer, &Secrets::of(&headers)).into_owned()),
            outcome,
            status,
            duration_ms: millis(trace.took),
            connect_ms: trace.connect.map(millis),
            verdict: verdict(&trace.result, at),
        })
    }

    /// The body of a sample event, rendered as every other.
    fn body(&self, query: &TestQuery, at: Timestamp) -> Result<bytes::Bytes, TestError> {
        let catalog = &self.parts.catalog;
        let unknown = |list, name: &str| TestError::UnknownName {
            list,
            name: name.chars().take(64).collect(),
        };
        let event = catalog.events.find(&query.event);
        let event = event.ok_or_else(|| unknown("event", &query.event))?;
        let channel = catalog.channels.find(&query.channel);
        let channel = channel.ok_or_else(|| unknown("channel", &query.channel))?;
        let (event, channel) = (catalog.events.name(event), catalog.channels.name(channel));
        let mut properties = json!({
            "message_type": channel, "campaign_id": 245_624, "profile_id": 98_234_411,
            "device_id": 17_186_391, "trigger_id": 21_714_179, "user_id": "test-user",
            "email": "jane.doe@example.com",
        });
        if event == FAILURE_EVENT {
            properties["error_message"] = "This is a test.".into();
        }
        let sample = json!({
            "project_id": query.connection.project(), "event": event, "time": at.as_secs(),
            "properties": properties,
        });
        let sample = sample.to_string();
        match decode(Some(sample.as_bytes()), catalog, u32::MAX) {
            Decoded::Event(fields) => {
                Ok(render_body(&fields, &sample, catalog, &self.parts.payload))
            }
            Decoded::Skip(_) | Decoded::Malformed(..) => Err(unknown("event", event)),
        }
    }
}

/// When the last tests of each connection were made.
#[derive(Debug, Default)]
struct Recent(BTreeMap<ConnectionKey, VecDeque<Instant>>);

impl Recent {
    fn admit(&mut self, connection: &ConnectionKey, now: Instant) -> Result<(), TestError> {
        let is_over = |at: Instant| now.duration_since(at) >= PERIOD;
        self.0.retain(|_, tests| tests.back().is_some_and(|&last| !is_over(last)));
        let tests = self.0.entry(connection.clone()).or_default();
        while tests.pop_front_if(|first| is_over(*first)).is_some() {}
        if let Some(&first) = tests.front()
            && tests.len() >= IN_A_PERIOD
        {
            let left = PERIOD.saturating_sub(now.duration_since(first));
            return Err(TestError::TooMany { retry_after_seconds: left.as_secs() + 1 });
        }
        tests.push_back(now);
        Ok(())
    }
}

/// Makes tests until nobody can ask for one any more.
async fn run(
    rule: Arc<AddressRule>,
    tls: Arc<rustls::ClientConfig>,
    mut waiting: mpsc::Receiver<Test>,
) {
    let client = Rc::new(Client::new(rule, tls, Resolver::from_system(), Limits::default()));
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            test = waiting.recv(), if under_way.len() < UNDER_WAY => {
                let Some(test) = test else { break };
                under_way.push(make(Rc::clone(&client), test));
            }
            Some(()) = under_way.next() => {}
        }
    }
    while under_way.next().await.is_some() {}
}

async fn make(client: Rc<Client>, test: Test) {
    let Test { connection, id, at, body, reply } = test;
    let request = Request {
        pool_key: connection.key.shared(),
        endpoint: Arc::clone(&connection.endpoint),
        headers: render_headers(&id, 1, at, &connection.auth),
        body,
        timeout: connection.limits.timeout,
    };
    let trace = client.trace(request, Keep::Everything).await;
    // Whoever asked may have left.
    let _ = reply.send(trace);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
