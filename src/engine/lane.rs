//! A lane: all that one connection has to do with its endpoint.
//!
//! It holds the connection's queue, its in-flight window, its rate, its breaker and its pauses, and decides in
//! [`Lane::step`] what the head of the queue may do now. It does nothing itself: the dispatcher carries steps out.
//! One lane knows nothing of another; that is what keeps a sick endpoint from delaying a healthy one.

mod backlog;
mod portrait;
mod queue;
mod step;
mod throughput;

use std::sync::Arc;
use std::time::Duration;

pub use self::step::{DropReason, Step, Surroundings};

use self::backlog::Backlog;
use self::queue::Queue;
use self::throughput::Throughput;
use super::breaker::{Breaker, BreakerState, Sign};
use super::connection::{Connection, ConnectionKey, Limits};
use super::delivery::{DeadLetterReason, Delivery, WaitReason};
use super::gate::Passage;
use super::outcome::Outcome;
use super::rate::{RateLimit, RateTerms};
use super::snapshot::Totals;
use super::streak::Streak;
use super::table::Lookup;
use super::time::Timestamp;

/// A delivery that is not settled so long after its event was read is parked, so that the watermark always moves.
pub const FRONTIER_BUDGET: Duration = Duration::from_secs(10);
/// A lane takes in what it can send in this time; half the frontier budget, so that an estimate may be wrong by two.
const QUEUE_TIME: Duration = Duration::from_secs(5);
/// However slow, a lane takes this many.
const MIN_QUEUE: usize = 4;
/// A lane may have an eighth of the slots that are free, and queue twice what is free of the room for deliveries. So
/// any number of lanes can be full, and there is still something free for the next (a dynamic threshold). A slot is
/// held for as long as an endpoint hangs; a queue that is full is emptied at the lane's own pace, so it may be longer.
const SLOT_PART: usize = 8;
const ROOM_TIMES: usize = 2;
/// How long the rate is halved after an endpoint asked to slow down without saying for how long.
const SLOWED_TIME: Duration = Duration::from_secs(30);
/// An idle lane that is as good as new is forgotten after this.
pub const IDLE_TIME: Duration = Duration::from_mins(2);

/// All that one connection has to do.
#[derive(Debug)]
pub struct Lane {
    key: ConnectionKey,
    queue: Queue,
    /// Handed to the network and not yet answered; never above the window.
    in_flight: u32,
    rate: Option<RateLimit>,
    breaker: Breaker,
    /// The endpoint wants to be left alone until then.
    paused_until: Timestamp,
    /// The rate is halved until then.
    slowed_until: Timestamp,
    /// Parked for the rate by this instance and not due yet: what stands before the next one to be parked.
    parked: Backlog,
    throughput: Throughput,
    last_active: Timestamp,
    /// A revision that this lane has asked to be deactivated, until the table says so too.
    deactivating: Option<u64>,
    /// Its own limits (rate, window, pause) held the head of its queue back until then, or until something ended.
    pub held_until: Timestamp,
    /// Failures since the last success.
    pub streak: Streak,
    /// What became of its deliveries.
    pub totals: Totals,
}

impl Lane {
    /// An empty one.
    #[must_use]
    pub fn new(key: ConnectionKey, now: Timestamp) -> Self {
        Self {
            key,
            queue: Queue::default(),
            in_flight: 0,
            rate: None,
            breaker: Breaker::new(now),
            paused_until: Timestamp::EPOCH,
            slowed_until: Timestamp::EPOCH,
            parked: Backlog::default(),
            throughput: Throughput::default(),
            last_active: now,
            deactivating: None,
            held_until: Timestamp::EPOCH,
            streak: Streak::default(),
            totals: Totals::default(),
        }
    }

    /// Whose lane it is.
    #[must_use]
    pub const fn key(&self) -> &ConnectionKey {
        &self.key
    }

    /// Takes a delivery into the queue; a full one gives it back with the wait after which there may be room.
    ///
    /// `room` is how many deliveries the dispatcher can still hold in all lanes. What leaves the queue again in the
    /// lane's next turn, whatever it is, needs no room.
    pub fn take(
        &mut self,
        delivery: Delivery,
        room: usize,
        connection: &Lookup,
        now: Timestamp,
    ) -> Option<(Delivery, Duration)> {
        self.last_active = delivery.read_at;
        let limits = match connection {
            Lookup::Active(connection) if !self.turns_away(now) => &connection.limits,
            Lookup::Active(_) | Lookup::Inactive | Lookup::Unreadable(_) | Lookup::Missing => {
                self.queue.push(delivery);
                return None;
            }
        };
        let pace = self.pace(limits);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let by_pace = (pace * QUEUE_TIME.as_secs_f64()) as usize;
        let capacity = by_pace.min(room * ROOM_TIMES).max(MIN_QUEUE);
        if self.queue.fresh() < capacity {
            self.queue.push(delivery);
            return None;
        }
        let wait = self.backlog_wait(limits, delivery.read_at);
        Some((delivery, wait))
    }

    /// Puts a delivery back whose attempt is to be repeated at that time.
    pub fn repeat(&mut self, delivery: Delivery, at: Timestamp) {
        self.queue.push_repeat(delivery, at);
    }

    /// A delivery was parked until `due` because the lane is full or slow.
    pub fn count_parked(&mut self, due: Timestamp, now: Timestamp) {
        self.parked.add(due, now);
    }

    /// Takes everything out that `of` picks.
    pub fn drain(&mut self, of: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        self.queue.drain(of)
    }

    /// What the head of the queue does now.
    pub fn step(&mut self, around: &Surroundings<'_>) -> Step {
        let step = self.step_of_head(around);
        // A repeat becomes the head at its time, and must be parked before what stands in the queue.
        match (step, self.queue.next_repeat()) {
            (Step::Wait(at), Some(repeat_at)) if repeat_at > around.now => {
                Step::Wait(at.min(repeat_at))
            }
            (Step::StandInLine(at), Some(repeat_at)) if repeat_at > around.now => {
                Step::StandInLine(at.min(repeat_at))
            }
            (step, _) => step,
        }
    }

    fn step_of_head(&mut self, around: &Surroundings<'_>) -> Step {
        let now = around.now;
        let Some(head) = self.queue.head(now) else {
            return self.queue.next_repeat().map_or(Step::Idle, Step::Wait);
        };
        let connection = match around.connection {
            Lookup::Missing => return Step::Drop(self.pop(now), DropReason::ConnectionDeleted),
            Lookup::Inactive => {
                return Step::DeadLetter(self.pop(now), DeadLetterReason::ConnectionInactive);
            }
            Lookup::Unreadable(_) => return self.defer_unreadable(around),
            Lookup::Active(connection) => connection,
        };
        if self.deactivating == Some(connection.revision) {
            return Step::DeadLetter(self.pop(now), DeadLetterReason::ConnectionInactive);
        }
        let was_unreadable = head.waited_for == Some(WaitReason::ConnectionUnreadable);
        if was_unreadable && !is_wanted(connection, head) {
            return Step::Drop(self.pop(now), DropReason::NoMatch);
        }
        let age = now.since(head.event.record.origin.timestamp);
        if connection.limits.max_age.is_some_and(|max_age| age > max_age) {
            return Step::DeadLetter(self.pop(now), DeadLetterReason::Expired);
        }
        self.step_of_active(around, connection)
    }

    /// The endpoint's own hindrances: breaker, pause, window, rate.
    fn step_of_active(&mut self, around: &Surroundings<'_>, connection: &Arc<Connection>) -> Step {
        let now = around.now;
        let expires_at = self.queue.head(now).map_or(now, |head| head.read_at + FRONTIER_BUDGET);
        let state = self.breaker.state(now);
        if let BreakerState::Open { until } = state {
            return self.turn_away(around, until, WaitReason::BreakerOpen);
        }
        if state == BreakerState::Probing && self.in_flight > 0 {
            // The probe decides; until it has, whatever waits behind it would wait in vain, and fill the queue.
            let decided = now + connection.limits.timeout;
            return self.turn_away(around, decided, WaitReason::BreakerOpen);
        }
        if self.paused_until > now {
            if self.paused_until > expires_at {
                return self.turn_away(around, self.paused_until, WaitReason::RetryAfter);
            }
            return Step::Wait(self.paused_until);
        }
        if expires_at <= now {
            let wait = self.backlog_wait(&connection.limits, now);
            return Step::Park(self.pop(now), wait, WaitReason::RateLimit);
        }
        let window = match state {
            BreakerState::Probing => 1,
            BreakerState::Closed | BreakerState::Open { .. } => {
                let fair = u32::try_from(around.free_slots / SLOT_PART).unwrap_or(u32::MAX).max(1);
                connection.limits.max_in_flight.get().min(fair)
            }
        };
        // One is let through even when no slot is free, or a healthy lane would wait for those that hang.
        if self.in_flight >= window {
            return Step::Wait(expires_at);
        }
        if around.passage == Passage::Closed {
            return Step::StandInLine(expires_at);
        }
        if let Err(next) = self.take_token(&connection.limits, around) {
            return Step::Wait(next.map_or(expires_at, |next| next.min(expires_at)));
        }
        self.in_flight += 1;
        Step::Attempt(self.pop(now), Arc::clone(connection))
    }

    /// Whether all that comes now but a probe goes on to a tier at once.
    fn turns_away(&mut self, now: Timestamp) -> bool {
        match self.breaker.state(now) {
            BreakerState::Open { .. } | BreakerState::Probing => true,
            BreakerState::Closed => self.paused_until > now + FRONTIER_BUDGET,
        }
    }

    /// The head goes to a tier without an attempt, or is given up if its time is over.
    fn turn_away(
        &mut self,
        around: &Surroundings<'_>,
        until: Timestamp,
        reason: WaitReason,
    ) -> Step {
        let mut head = self.pop(around.now);
        if around.retry.is_past_horizon(&head.history, around.now) {
            return Step::DeadLetter(head, DeadLetterReason::Exhausted);
        }
        head.history.first_attempt_at.get_or_insert(around.now);
        Step::Park(head, until.since(around.now), reason)
    }

    fn defer_unreadable(&mut self, around: &Surroundings<'_>) -> Step {
        let step = self.turn_away(around, around.now, WaitReason::ConnectionUnreadable);
        if let Step::DeadLetter(delivery, _) = step {
            return Step::DeadLetter(delivery, DeadLetterReason::ConnectionUnreadable);
        }
        step
    }

    /// An attempt has ended.
    pub fn end_attempt(&mut self, outcome: Outcome, now: Timestamp, dice: f64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.last_active = now;
        self.throughput.observe(!self.queue.is_empty(), now);
        self.breaker.observe(Sign::of(outcome), now, dice);
        if let Outcome::Throttled { pause } = outcome {
            match pause {
                Some(pause) => self.paused_until = self.paused_until.max(now + pause),
                None => self.slowed_until = now + SLOWED_TIME,
            }
        }
        self.streak.observe(outcome, now);
    }

    /// An attempt is no longer waited for.
    pub const fn abandon_attempt(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// From now on that revision counts as inactive here, and the next one has a streak of its own. Answers whether
    /// that is news; it is none of a revision that has had it, or was followed by one that has.
    pub fn deactivate(&mut self, revision: u64) -> bool {
        let is_news = self.deactivating < Some(revision);
        if is_news {
            self.deactivating = Some(revision);
            self.streak = Streak::default();
        }
        is_news
    }

    /// Whether the breaker lets attempts through.
    pub fn is_open(&mut self, now: Timestamp) -> bool {
        matches!(self.breaker.state(now), BreakerState::Open { .. })
    }

    /// Whether it can be forgotten: a new one would decide the same, or has nothing to decide without its connection.
    #[must_use]
    pub fn is_forgettable(&self, connection: &Lookup, now: Timestamp) -> bool {
        let refill = self.rate.as_ref().map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(
                f64::from(rate.terms().burst.get()) / rate.per_second().max(1e-3),
            )
        });
        let is_as_new = match connection {
            Lookup::Missing => true,
            Lookup::Active(_) | Lookup::Inactive | Lookup::Unreadable(_) => {
                self.paused_until <= now && self.streak.is_over() && self.breaker.is_fresh(now)
            }
        };
        self.is_empty()
            && self.in_flight == 0
            && now.since(self.last_active) >= IDLE_TIME.max(refill)
            && is_as_new
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn pop(&mut self, now: Timestamp) -> Delivery {
        self.queue.pop(now).expect("the head was looked at")
    }

    /// Deliveries a second that the lane can do: by its rate, and by what it really does while it is backlogged.
    fn pace(&self, limits: &Limits) -> f64 {
        let rate = self
            .rate
            .as_ref()
            .map_or_else(|| f64::from(limits.rate_per_second.get()), RateLimit::per_second);
        self.throughput.per_second().map_or(rate, |measured| measured.min(rate))
    }

    /// When the lane can take what is parked now: after all that is queued or parked already.
    fn backlog_wait(&mut self, limits: &Limits, now: Timestamp) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let before = (self.queue.fresh() as u64 + self.parked.count(now)) as f64;
        let secs = before / self.pace(limits).max(1e-3);
        Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX)
    }

    fn take_token(
        &mut self,
        limits: &Limits,
        around: &Surroundings<'_>,
    ) -> Result<(), Option<Timestamp>> {
        let terms = RateTerms {
            rate_per_second: limits.rate_per_second,
            burst: limits.burst,
            share: around.share,
            halved: self.slowed_until > around.now,
        };
        let rate = match &mut self.rate {
            // The first bucket was empty when the share was given; a changed one is empty now.
            None => self.rate.insert(RateLimit::new(terms, around.share.since)),
            Some(rate) => {
                if rate.terms() != terms {
                    *rate = RateLimit::new(terms, around.now);
                }
                rate
            }
        };
        rate.take(around.now)
    }
}

/// Whether a connection that can be read now wants what it was given while it could not.
fn is_wanted(connection: &Connection, delivery: &Delivery) -> bool {
    let event = &delivery.event;
    connection.filter.matches(event.event, event.channel)
        && event.record.origin.timestamp >= connection.created_at
}
