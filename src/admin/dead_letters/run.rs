//! A redrive under way: paces it, hands deliveries to the producer, and counts what the broker acknowledges.
//!
//! [`super::redrive`] decides what is put back and reads it; this does it, one by one.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::{DeadLetters, RedriveOrder, RedriveReport, Refusal};
use crate::admin::place::Place;
use crate::clock::wall_clock;
use crate::engine::delivery::{Delivery, WaitReason};
use crate::engine::dispatcher::{Destination, Publication, Subject};
use crate::engine::event::{Epoch, Partition, Position, Source};
use crate::kafka::log::LogRecord;
use crate::kafka::producer::{Order, Receipt, Ticket};
use crate::kafka::record::delivery::decode_dead_letter;

/// Records handed to the producer and not acknowledged; the channel for receipts has room for all, so that the
/// producer's thread never waits for us.
const WINDOW: usize = 256;
/// Before a record that the producer could not take is handed in again.
const PAUSE: Duration = Duration::from_millis(200);
/// A record that was refused so often is given up and counted as failed.
const TRIES: u32 = 5;
/// With a rate so high that the pauses are shorter than this, there is one pause for several.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// An order under way.
pub(super) struct Run<'a> {
    letters: &'a DeadLetters,
    progress: &'a watch::Sender<RedriveReport>,
    pub(super) report: RedriveReport,
    reply: mpsc::Sender<Receipt>,
    receipts: mpsc::Receiver<Receipt>,
    /// Handed to the producer and not acknowledged: when each was given up, and how often it was refused.
    open: BTreeMap<(i32, i64), (u64, u32)>,
    pause: Duration,
    next_at: Instant,
    number: u32,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        letters: &'a DeadLetters,
        order: &RedriveOrder,
        report: RedriveReport,
        progress: &'a watch::Sender<RedriveReport>,
    ) -> Self {
        let (reply, receipts) = mpsc::channel(WINDOW);
        Self {
            letters,
            progress,
            report,
            reply,
            receipts,
            open: BTreeMap::new(),
            pause: Duration::from_secs(1) / order.rate_per_second.get(),
            next_at: Instant::now(),
            number: 0,
        }
    }

    pub(super) async fn put_back(&mut self, record: &LogRecord) {
        let parts = &self.letters.parts;
        let (now, view) = (parts.clock.now(), record.view(&parts.topic));
        let delivery =
            decode_dead_letter(&view, position(record), now, &parts.catalog, &parts.payload);
        let delivery = match delivery {
            Ok(delivery) => delivery,
            Err(error) => {
                warn!(%error, partition = record.partition, offset = record.offset, "not redriven");
                return self.refuse(Refusal::NoEvent, 1);
            }
        };
        self.pace().await;
        if self.open.len() >= WINDOW {
            self.settle_one().await;
        }
        let place = (record.partition, record.offset);
        self.open.insert(place, (record.timestamp.as_millis(), 0));
        self.write(self.publication(delivery)).await;
        self.number = self.number.wrapping_add(1);
        while let Ok(receipt) = self.receipts.try_recv() {
            self.settle(receipt).await;
        }
    }

    /// Waits for its turn by the order's rate.
    async fn pace(&mut self) {
        let now = Instant::now();
        if self.next_at > now + SHORTEST_PAUSE {
            sleep_until(self.next_at).await;
        }
        self.next_at = self.next_at.max(now) + self.pause;
    }

    fn publication(&self, delivery: Delivery) -> Publication {
        let parts = &self.letters.parts;
        // Over the tier's partitions in turn.
        let dice = f64::from(self.number.wrapping_mul(0x9e37_79b1)) / 4_294_967_296.0;
        let slot = parts.retry.nearest(Duration::ZERO, parts.clock.now(), dice);
        let reason = delivery.waited_for.unwrap_or(WaitReason::Retry);
        let destination = Destination::Tier(slot, reason);
        Publication { subject: Subject::Delivery(delivery), destination }
    }

    async fn write(&self, publication: Publication) {
        let order = Order::Publication(publication);
        let mut ticket = Box::new(Ticket { order, reply: self.reply.clone() });
        while let Err(back) = self.letters.parts.producer.write(*ticket) {
            ticket = back;
            sleep(PAUSE).await;
        }
    }

    pub(super) async fn settle_all(&mut self) {
        while !self.open.is_empty() {
            self.settle_one().await;
        }
    }

    async fn settle_one(&mut self) {
        // It has an end: the producer acknowledges or refuses whatever it took.
        if let Some(receipt) = self.receipts.recv().await {
            self.settle(receipt).await;
        }
    }

    async fn settle(&mut self, receipt: Receipt) {
        let (order, is_written) = match receipt {
            Receipt::Written(order) => (order, true),
            Receipt::Unwritten(order) => (order, false),
        };
        let Order::Publication(publication) = order else { return };
        let Subject::Delivery(delivery) = &publication.subject else { return };
        let place = (delivery.position.partition.number, delivery.position.offset);
        let Some((at_ms, refused)) = self.open.get_mut(&place) else { return };
        if !is_written {
            *refused += 1;
            if *refused < TRIES {
                sleep(PAUSE).await;
                return self.write(publication).await;
            }
            self.report.failed += 1;
        } else {
            let (partition, offset) = place;
            let id = Place { at_ms: *at_ms, partition, offset };
            self.letters.index().note_redriven(id, wall_clock().as_millis());
            self.letters.parts.metrics.dead_letters_redriven_total.inc();
            self.report.redriven += 1;
        }
        self.open.remove(&place);
        self.progress.send_replace(self.report.clone());
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, count: u64) {
        if count > 0 {
            *self.report.refused.entry(refusal).or_default() += count;
            self.report.redrivable -= count;
        }
    }
}

/// A dead letter's own place: nothing is settled there, it only finds the way back to the report.
const fn position(record: &LogRecord) -> Position {
    let partition =
        Partition { source: Source::Retries, topic: u16::MAX, number: record.partition };
    Position { partition, epoch: Epoch(0), offset: record.offset }
}
