//! What keeps a delivery from being attempted, and where it goes meanwhile.

use std::num::NonZeroU32;
use std::time::Duration;

use super::breakers::rig_with_open_breaker;
use super::rig::{Rig, START, key, put, silence, status, throttled};
use crate::engine::connection::{Connection, Filter, Limits};
use crate::engine::delivery::{DeadLetterReason, WaitReason};
use crate::engine::dispatcher::{Action, Destination, Ending, Input};
use crate::engine::fixtures::{connection, event, unreadable};
use crate::engine::lane::{DropReason, FRONTIER_BUDGET};
use crate::engine::outcome::Fault;
use crate::engine::rate::Share;

const SECOND: Duration = Duration::from_secs(1);

fn dead(reason: DeadLetterReason) -> Destination {
    Destination::DeadLetters(reason)
}

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// One a second, one at a time in the bucket.
fn slow() -> Connection {
    let change = |limits: &mut Limits| {
        limits.rate_per_second = number(1);
        limits.burst = number(1);
    };
    connection("1/a").limits(change).build()
}

fn rig() -> Rig {
    Rig::new([connection("1/a").build()])
}

/// The waits, in seconds, of what is parked now because the lane is full.
fn waits_for_the_rate(rig: &mut Rig) -> Vec<u64> {
    let now = rig.now;
    let wait = |action| {
        if matches!(action, Action::Attempt(_)) {
            return None;
        }
        let Action::Publish(publication) = action else { panic!("{action:?}") };
        let Destination::Tier(slot, WaitReason::RateLimit) = publication.destination else {
            panic!("{publication:?}")
        };
        Some(slot.due.since(now).as_secs())
    };
    rig.actions().into_iter().filter_map(wait).collect()
}

#[test]
fn a_short_pause_is_waited_for_in_memory() {
    let mut rig = rig();
    rig.deliver("1/a");
    rig.make_attempt(throttled(3));
    rig.actions();
    rig.deliver("1/a");
    assert!(rig.actions().is_empty());
    assert_eq!(rig.dispatcher.next_timeout(), Some(START + 3 * SECOND));
    rig.pass(3 * SECOND);
    assert_eq!(rig.attempt().number, 1);
}

#[test]
fn a_long_pause_is_waited_for_in_the_nearest_tier() {
    let mut rig = rig();
    rig.deliver("1/a");
    rig.make_attempt(throttled(40));
    rig.actions();
    rig.deliver("1/a");
    let (delivery, reason, wait) = rig.parked();
    assert_eq!((reason, wait), (WaitReason::RetryAfter, 30 * SECOND));
    assert_eq!(delivery.history.attempts, 0);
}

#[test]
fn what_is_due_for_an_inactive_connection_is_a_dead_letter() {
    let mut rig = Rig::new([connection("1/a").inactive().build()]);
    rig.deliver("1/a");
    assert_eq!(rig.publication().1, dead(DeadLetterReason::ConnectionInactive));
}

#[test]
fn what_is_due_for_a_deleted_connection_is_dropped() {
    let mut rig = rig();
    rig.change_table(|table| table.delete(&key("1/a")));
    rig.deliver("1/a");
    assert_eq!(rig.endings(), [Ending::Dropped(DropReason::ConnectionDeleted)]);
}

#[test]
fn an_unreadable_connection_is_waited_for_and_matched_when_it_can_be_read() {
    let mut rig = Rig::new([]);
    rig.change_table(|table| table.put(&key("1/a"), unreadable(Filter::EVERYTHING)));
    (0..2).for_each(|_| rig.deliver("1/a"));
    let parked = rig.publications();
    rig.change_table(|table| {
        put(table, connection("1/a").wants(&["message_click"], &["email"]).build());
    });
    rig.read_again(parked[0].0.clone(), WaitReason::ConnectionUnreadable);
    assert_eq!(rig.endings(), [Ending::Dropped(DropReason::NoMatch)]);
    rig.change_table(|table| {
        put(table, connection("1/a").wants(&["message_open"], &["email"]).build());
    });
    rig.read_again(parked[1].0.clone(), WaitReason::ConnectionUnreadable);
    assert_eq!(rig.attempt().number, 1);
}

#[test]
fn what_was_never_matched_stays_so_when_another_hindrance_parks_it() {
    let mut rig = Rig::new([slow()]);
    (0..20).for_each(|_| rig.deliver("1/a"));
    rig.actions();
    rig.deliver("1/a");
    let unmatched = rig.fresh("1/a");
    rig.read_again(unmatched, WaitReason::ConnectionUnreadable);
    assert_eq!(rig.parked().1, WaitReason::ConnectionUnreadable);
}

#[test]
fn an_event_older_than_the_connection_is_no_match_when_it_can_be_read() {
    let created_at = START.as_secs() + 10;
    let mut rig = Rig::new([connection("1/a").created_at(created_at).build()]);
    let unmatched = rig.fresh("1/a");
    rig.pass(20 * SECOND);
    rig.read_again(unmatched, WaitReason::ConnectionUnreadable);
    assert_eq!(rig.endings(), [Ending::Dropped(DropReason::NoMatch)]);
}

#[test]
fn a_connection_that_stays_unreadable_ends_in_a_dead_letter() {
    let mut rig = Rig::new([]);
    rig.change_table(|table| table.put(&key("1/a"), unreadable(Filter::EVERYTHING)));
    rig.deliver("1/a");
    let (parked, reason, _) = rig.parked();
    assert_eq!(reason, WaitReason::ConnectionUnreadable);
    rig.pass(Duration::from_mins(5));
    rig.read_again(parked, reason);
    assert_eq!(rig.publication().1, dead(DeadLetterReason::ConnectionUnreadable));
}

#[test]
fn an_event_older_than_its_connection_wants_is_expired() {
    let max_age = |limits: &mut Limits| {
        limits.max_age = Some(60 * SECOND);
    };
    let mut rig = Rig::new([connection("1/a").limits(max_age).build()]);
    let mut old = rig.fresh("1/a");
    old.event = event("old", START - 61 * SECOND);
    rig.tell(Input::Delivery(old));
    assert_eq!(rig.publication().1, dead(DeadLetterReason::Expired));
}

#[test]
fn a_full_lane_parks_in_the_tier_nearest_to_when_it_can_take_it() {
    let mut rig = Rig::new([slow()]);
    (0..80).for_each(|_| rig.deliver("1/a"));
    let mut waits = waits_for_the_rate(&mut rig);
    assert!(waits.is_sorted(), "{waits:?}");
    waits.dedup();
    assert_eq!(waits, [5, 30, 120]);
}

#[test]
fn what_another_instance_has_taken_does_not_count_as_backlog_for_ever() {
    let mut rig = Rig::new([slow()]);
    (0..100).for_each(|_| rig.deliver("1/a"));
    rig.actions();
    rig.pass(Duration::from_mins(5));
    rig.actions();
    (0..6).for_each(|_| rig.deliver("1/a"));
    assert_eq!(waits_for_the_rate(&mut rig), [5]);
}

#[test]
fn a_delivery_that_is_not_attempted_within_the_frontier_budget_is_parked() {
    let window = |limits: &mut Limits| {
        limits.max_in_flight = number(1);
    };
    let mut rig = Rig::new([connection("1/a").limits(window).build()]);
    rig.deliver("1/a");
    rig.deliver("1/a");
    rig.attempt();
    assert_eq!(rig.dispatcher.next_timeout(), Some(START + FRONTIER_BUDGET));
    rig.pass(FRONTIER_BUDGET);
    let (delivery, reason, _) = rig.parked();
    assert_eq!((reason, delivery.history.attempts), (WaitReason::RateLimit, 0));
}

#[test]
fn a_repeat_is_parked_when_its_own_budget_is_spent_though_a_younger_one_stands_in_the_queue() {
    let window = |limits: &mut Limits| {
        limits.max_in_flight = number(1);
    };
    let mut rig = Rig::new([connection("1/a").limits(window).build()]);
    rig.deliver("1/a");
    rig.make_attempt(silence(Fault::Reset));
    rig.deliver("1/a");
    rig.attempt();
    rig.pass(SECOND / 2);
    rig.deliver("1/a");
    while let Some(timeout) = rig.dispatcher.next_timeout() {
        rig.now = rig.now.max(timeout);
        if let Some((repeat, _)) = rig.publications().pop() {
            assert_eq!((repeat.position.offset, rig.now), (0, START + FRONTIER_BUDGET));
            return;
        }
    }
}

#[test]
fn waiting_for_the_rate_does_not_count_against_the_horizon() {
    let mut rig = Rig::new([slow()]);
    let first_attempt_at = START - 60 * SECOND;
    let mut delivery = rig.fresh("1/a");
    delivery.history.first_attempt_at = Some(first_attempt_at);
    rig.tell(Input::Share(Share::none(START)));
    rig.tell(Input::Delivery(delivery));
    rig.actions();
    rig.pass(FRONTIER_BUDGET);
    let (parked, reason, wait) = rig.parked();
    assert_eq!(reason, WaitReason::RateLimit);
    let lasted = FRONTIER_BUDGET + wait;
    assert_eq!(parked.history.first_attempt_at, Some(first_attempt_at + lasted));
}

#[test]
fn an_attempt_uses_the_connection_of_its_time() {
    let mut rig = Rig::new([slow()]);
    rig.deliver("1/a");
    rig.deliver("1/a");
    assert_eq!(rig.attempt().connection.revision, 1);
    rig.change_table(|table| put(table, connection("1/a").revision(2).build()));
    assert!(rig.actions().is_empty());
    rig.pass(SECOND);
    assert_eq!(rig.attempt().connection.revision, 2);
}

#[test]
fn a_deleted_connection_is_dropped_at_once_from_the_queue() {
    let mut rig = Rig::new([slow()]);
    (0..3).for_each(|_| rig.deliver("1/a"));
    rig.attempt();
    rig.change_table(|table| table.delete(&key("1/a")));
    assert_eq!(rig.endings(), [Ending::Dropped(DropReason::ConnectionDeleted); 2]);
}

#[test]
fn a_smaller_share_slows_the_pace_at_once() {
    let mut rig = Rig::new([slow()]);
    (0..4).for_each(|_| rig.deliver("1/a"));
    rig.attempt();
    rig.tell(Input::Share(Share { owned: 1, total: 4, since: START }));
    assert!(rig.actions().is_empty());
    rig.pass(3 * SECOND);
    assert!(rig.attempts().is_empty());
    rig.pass(SECOND);
    assert_eq!(rig.attempts().len(), 1);
}

#[test]
fn a_request_to_slow_down_without_a_time_halves_the_rate() {
    let mut rig = Rig::new([slow()]);
    (0..4).for_each(|_| rig.deliver("1/a"));
    rig.make_attempt(status(429));
    rig.actions();
    rig.pass(SECOND);
    assert!(rig.actions().is_empty());
    rig.pass(SECOND);
    assert_eq!(rig.attempts().len(), 1);
}

#[test]
fn a_portrait_says_what_a_lane_waits_for_and_since_when() {
    let portrait = |rig: &mut Rig| {
        let lane = rig.dispatcher.snapshot().lanes.remove(0);
        (lane.waits_for, lane.until, lane.oldest)
    };
    let mut busy = Rig::new([slow()]);
    busy.deliver("1/a");
    busy.attempt();
    assert_eq!(portrait(&mut busy), (None, None, Some(START)), "it is under way");
    busy.pass(SECOND / 2);
    busy.deliver("1/a");
    busy.actions();
    assert_eq!(portrait(&mut busy), (Some(WaitReason::RateLimit), None, Some(START)));
    let mut paused = rig();
    paused.deliver("1/a");
    paused.make_attempt(throttled(60));
    let (reason, until, _) = portrait(&mut paused);
    assert_eq!((reason, until), (Some(WaitReason::RetryAfter), Some(START + 60 * SECOND)));
    let mut broken = rig_with_open_breaker();
    let (reason, until, _) = portrait(&mut broken);
    assert_eq!(reason, Some(WaitReason::BreakerOpen));
    assert!(until.is_some_and(|until| until > broken.now));
}

#[test]
fn waiting_for_the_connections_own_rate_is_no_delay_of_ours() {
    let mut rig = Rig::new([slow()]);
    (0..3).for_each(|_| rig.deliver("1/a"));
    rig.attempt();
    rig.pass(SECOND);
    assert_eq!(rig.attempt().delay, Duration::ZERO);
    rig.pass(5 * SECOND);
    assert_eq!(rig.attempt().delay, 4 * SECOND, "it was allowed four seconds ago");
}

#[test]
fn waiting_for_the_endpoint_is_no_delay_of_ours() {
    let one_at_a_time = |limits: &mut Limits| limits.max_in_flight = number(1);
    let mut rig = Rig::new([connection("1/a").limits(one_at_a_time).build()]);
    (0..2).for_each(|_| rig.deliver("1/a"));
    let first = rig.attempt();
    rig.pass(4 * SECOND);
    rig.answer(first.id, silence(Fault::Timeout));
    let second = rig.attempt();
    assert_eq!(second.delay, Duration::ZERO, "it waited for the window");
    rig.pass(SECOND);
    rig.answer(second.id, status(200));
    let repeated = rig.actions().into_iter().find_map(|action| {
        let Action::Attempt(attempt) = action else { return None };
        Some(attempt.delay)
    });
    assert_eq!(repeated, Some(Duration::ZERO), "the first is repeated after a second");
}
