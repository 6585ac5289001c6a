//! One shard: the task that owns a dispatcher.
//!
//! It waits for whatever comes first (deliveries, answers, acknowledgements, connections, a question, a time), tells
//! the dispatcher, and does what the dispatcher wants done. It decides nothing.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::{debug, error};

use super::Parts;
use super::attempt_log::{AttemptLog, Made};
use super::observer::Observer;
use crate::clock::{Clock, wall_clock};
use crate::engine::dispatcher::{Action, Attempt, AttemptId, Dispatcher, Input};
use crate::engine::event::Source;
use crate::engine::intake::Settlement;
use crate::engine::outcome::AttemptResult;
use crate::engine::payload::render_headers;
use crate::engine::snapshot::Snapshot;
use crate::engine::table::ConnectionTable;
use crate::failpoint;
use crate::kafka::consumer::Settlements;
use crate::kafka::producer::{Order, Producer, Receipt, Ticket};
use crate::traces::{AttemptTrace, TRACEPARENT, Tracer};
use crate::webhook::answer::Keep;
use crate::webhook::client::{Client, Limits, Request, Trace};
use crate::webhook::resolver::Resolver;

/// Acknowledgements that may wait for the shard; then the producer's thread waits, and nothing is lost.
const RECEIPTS: usize = 4096;
/// What could not be written is tried again after this.
const REWRITE_PAUSE: Duration = Duration::from_millis(500);
/// With nothing to do, the shard goes round so often: its pulse.
const ROUND: Duration = Duration::from_secs(5);
/// At the end, how long the last attempts may take to be logged.
const LOG_FLUSH_TIME: Duration = Duration::from_secs(2);
/// Batches, answers and acknowledgements taken in before the dispatcher's wishes are carried out.
const GULP: usize = 64;
/// Records written before attempts have their turn again: a lane that parks a flood delays the others by a tenth of a
/// millisecond.
const WRITES: usize = 32;

/// A shard's ends of its channels.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) inputs: mpsc::Receiver<Vec<Input>>,
    pub(super) asked: mpsc::Receiver<oneshot::Sender<Snapshot>>,
    pub(super) pulse: Arc<AtomicU64>,
}

/// An attempt that has ended.
struct Answer {
    id: AttemptId,
    result: AttemptResult,
    took: Duration,
    /// `None` where it is certain not to be logged.
    made: Option<Box<Made>>,
    traced: Option<Box<AttemptTrace>>,
}

/// What a shard works with, apart from the attempts under way.
struct Desk {
    dispatcher: Dispatcher,
    producer: Producer,
    reply: mpsc::Sender<Receipt>,
    /// To be handed to the producer, a few in each round.
    to_write: VecDeque<Order>,
    /// Not taken by the producer, or not written by the broker; each is handed in again at its time.
    unwritten: VecDeque<(Instant, Order)>,
    settled_events: Vec<Settlement>,
    settled_retries: Vec<Settlement>,
    events: Settlements,
    retries: Settlements,
    observer: Observer,
    log: Option<AttemptLog>,
    tracer: Option<Tracer>,
    clock: Clock,
}

/// What is to be known of an attempt, apart from what it met.
struct Notes {
    keep: Keep,
    traced: Option<Box<AttemptTrace>>,
}

/// Runs a shard until nobody can send it anything more.
pub(super) async fn run(parts: Parts, ends: Ends) {
    let Ends { mut inputs, mut asked, pulse } = ends;
    let resolver = Resolver::from_system();
    let client = Rc::new(Client::new(parts.rule, parts.tls, resolver, Limits::default()));
    let mut table = parts.table;
    table.mark_changed();
    let (reply, mut receipts) = mpsc::channel(RECEIPTS);
    let clock = parts.clock;
    let mut desk = Desk {
        dispatcher: Dispatcher::new(parts.terms, clock.now()),
        producer: parts.producer,
        reply,
        to_write: VecDeque::new(),
        unwritten: VecDeque::new(),
        settled_events: Vec::new(),
        settled_retries: Vec::new(),
        events: parts.events,
        retries: parts.retries,
        observer: Observer::new(parts.metrics, &parts.tiers),
        log: parts.log,
        tracer: parts.tracer,
        clock,
    };
    let mut attempts = FuturesUnordered::new();
    let mut alarm = Alarm::set(Instant::now());
    loop {
        tokio::select! {
            batch = inputs.recv() => {
                let Some(batch) = batch else { break };
                let batches = gulp(batch, &mut inputs);
                // A consumer may have matched them with connections that are newer than the dispatcher's: those first,
                // or a new connection's delivery would be taken for a deleted one's.
                if table.has_changed().unwrap_or(false) {
                    desk.take_table(&mut table);
                }
                desk.take_batches(batches);
            }
            Some(answer) = attempts.next() => {
                desk.take_answer(answer);
                for _ in 0..GULP {
                    let Some(Some(answer)) = attempts.next().now_or_never() else { break };
                    desk.take_answer(answer);
                }
            }
            Some(receipt) = receipts.recv() => desk.take_receipts(receipt, &mut receipts),
            Ok(()) = table.changed() => desk.take_table(&mut table),
            Some(reply) = asked.recv() => {
                let _ = reply.send(desk.dispatcher.snapshot());
            }
            () = yield_now(), if !desk.to_write.is_empty() => {}
            () = alarm.rings() => client.sweep(),
        }
        desk.act(|attempt, notes| attempts.push(make(Rc::clone(&client), attempt, notes)));
        desk.observer.show(attempts.len(), &client.take_denials());
        pulse.store(clock.now().as_nanos(), Ordering::Relaxed);
        alarm.move_to(desk.next_time());
    }
    if let Some(log) = &desk.log {
        log.flush(LOG_FLUSH_TIME);
    }
}

/// A batch and those that wait behind it.
fn gulp(first: Vec<Input>, more: &mut mpsc::Receiver<Vec<Input>>) -> Vec<Vec<Input>> {
    std::iter::once(first).chain(std::iter::from_fn(|| more.try_recv().ok()).take(GULP)).collect()
}

/// Makes one attempt. A panic in it is the attempt's result, not the process's end.
async fn make(client: Rc<Client>, attempt: Attempt, notes: Notes) -> Answer {
    let Notes { keep, traced } = notes;
    let traceparent = traced.as_ref().and_then(|traced| traced.header.clone());
    let at = wall_clock();
    let Attempt { id, event, connection, number, .. } = attempt;
    let attempt = async {
        failpoint::panic("panic-in-attempt");
        if failpoint::is_planted("drop-delivery") {
            let result = AttemptResult::Answered { status: 200, retry_after: None };
            return Trace { result, answer: None, connect: None, took: Duration::ZERO };
        }
        let mut headers = render_headers(&event.id, number, at, &connection.auth);
        headers.extend(traceparent.clone().map(|value| (TRACEPARENT, value)));
        let request = Request {
            pool_key: connection.key.shared(),
            endpoint: Arc::clone(&connection.endpoint),
            headers,
            body: failpoint::bytes("flip-byte", event.body.clone()),
            timeout: connection.limits.timeout,
        };
        client.trace(request, keep).await
    };
    let trace = AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|_| {
        error!(connection = %connection.key, event = %event.id, "an attempt panicked");
        let result = AttemptResult::Panicked;
        Trace { result, answer: None, connect: None, took: Duration::ZERO }
    });
    let Trace { result, answer, connect, took } = trace;
    debug!(connection = %connection.key, event = %event.id, attempt = number, ?result, "attempted");
    let made = (keep != Keep::Nothing).then(|| {
        Box::new(Made { at, number, event, connection, answer, connect, traceparent, keep })
    });
    Answer { id, result, took, made, traced }
}

impl Desk {
    fn tell(&mut self, input: Input) {
        self.dispatcher.handle(input, self.clock.now());
    }

    fn take_table(&mut self, table: &mut watch::Receiver<Arc<ConnectionTable>>) {
        let newest = Arc::clone(&table.borrow_and_update());
        self.tell(Input::Table(newest));
    }

    fn take_batches(&mut self, batches: Vec<Vec<Input>>) {
        let now = self.clock.now();
        batches.into_iter().flatten().for_each(|input| self.dispatcher.handle(input, now));
    }

    fn take_answer(&mut self, answer: Answer) {
        if matches!(answer.result, AttemptResult::Answered { status: 200..=299, .. }) {
            failpoint::kill("after-2xx");
        }
        self.observer.attempted(&answer.result, answer.took);
        if let (Some(tracer), Some(traced)) = (&self.tracer, &answer.traced) {
            tracer.end(traced, &answer.result, answer.took);
        }
        let next = self.dispatcher.answer(answer.id, &answer.result, self.clock.now());
        if let (Some(log), Some(made)) = (&self.log, answer.made) {
            log.note(&made, &answer.result, answer.took, next);
        }
    }

    fn take_receipts(&mut self, first: Receipt, more: &mut mpsc::Receiver<Receipt>) {
        let more = std::iter::from_fn(|| more.try_recv().ok()).take(GULP);
        for receipt in std::iter::once(first).chain(more) {
            self.take_receipt(receipt);
        }
    }

    fn take_receipt(&mut self, receipt: Receipt) {
        match receipt {
            Receipt::Written(Order::Publication(publication)) => {
                self.observer.written(&publication);
                self.tell(Input::Published(publication));
            }
            Receipt::Written(Order::Deactivation { .. }) => {}
            Receipt::Unwritten(order) => self.write_later(order),
        }
    }

    fn write_later(&mut self, order: Order) {
        self.unwritten.push_back((Instant::now() + REWRITE_PAUSE, order));
    }

    /// Does all that the dispatcher wants done.
    fn act(&mut self, mut begin: impl FnMut(Attempt, Notes)) {
        self.write_some();
        let now = self.clock.now();
        while let Some(action) = self.dispatcher.poll_action(now) {
            match action {
                Action::Attempt(attempt) => {
                    self.observer.starting(attempt.delay);
                    let keep = self.log.as_mut().map_or(Keep::Nothing, AttemptLog::draw);
                    let tracer = self.tracer.as_ref();
                    let traced = tracer.and_then(|tracer| tracer.begin(&attempt, wall_clock()));
                    begin(attempt, Notes { keep, traced });
                }
                Action::Publish(publication) => {
                    self.to_write.push_back(Order::Publication(publication));
                }
                Action::Settle(settlement, ending) => {
                    self.observer.ended(ending);
                    match settlement.position.partition.source {
                        Source::Events => self.settled_events.push(settlement),
                        Source::Retries => self.settled_retries.push(settlement),
                    }
                }
                Action::Deactivate { key, revision, reason } => {
                    tracing::warn!(connection = %key, revision, reason = reason.as_str(), "deactivated");
                    self.observer.deactivating(reason);
                    let at = wall_clock();
                    self.to_write.push_back(Order::Deactivation { key, revision, reason, at });
                }
            }
        }
        if !self.settled_events.is_empty() {
            self.events.send(std::mem::take(&mut self.settled_events));
        }
        if !self.settled_retries.is_empty() {
            self.retries.send(std::mem::take(&mut self.settled_retries));
        }
    }

    fn hand_in(&mut self, order: Order) {
        if failpoint::is_planted("skip-publication") {
            return self.take_receipt(Receipt::Written(order));
        }
        if let Err(ticket) = self.producer.write(Ticket { order, reply: self.reply.clone() }) {
            self.write_later(ticket.order);
        }
    }

    fn write_some(&mut self) {
        let now = Instant::now();
        while let Some((_, order)) = self.unwritten.pop_front_if(|(at, _)| *at <= now) {
            self.to_write.push_back(order);
        }
        for _ in 0..WRITES {
            let Some(order) = self.to_write.pop_front() else { break };
            self.hand_in(order);
        }
    }

    fn next_time(&self) -> Instant {
        let round = Instant::now() + ROUND;
        let timeout = self.dispatcher.next_timeout().map(|at| self.clock.instant(at).into());
        let rewrite = self.unwritten.front().map(|(at, _)| *at);
        [timeout, rewrite].into_iter().flatten().fold(round, Instant::min)
    }
}

/// One timer that is set anew only when it has to ring earlier: a ring too early costs one round, a reset more.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    fn set(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at)))
    }

    async fn rings(&mut self) {
        self.0.as_mut().await;
    }

    fn move_to(&mut self, at: Instant) {
        if at < self.0.deadline() || self.0.is_elapsed() {
            self.0.as_mut().reset(at);
        }
    }
}
