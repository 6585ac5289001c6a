//! Partitions that are given up, lanes that stand beside each other, lanes that are forgotten.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::rig::{EVENTS, Rig, key, silence, status};
use crate::engine::connection::Limits;
use crate::engine::delivery::WaitReason;
use crate::engine::dispatcher::{Ending, Input};
use crate::engine::event::{Epoch, Partition};
use crate::engine::fixtures::connection;
use crate::engine::lane::IDLE_TIME;
use crate::engine::outcome::Fault;
use crate::engine::rate::Share;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

fn rig() -> Rig {
    Rig::new([connection("1/a").build()])
}

fn first_epoch() -> Arc<[(Partition, Epoch)]> {
    [(EVENTS, Epoch(1))].into()
}

/// Nothing can be attempted.
fn stop(rig: &mut Rig) {
    rig.tell(Input::Share(Share::none(rig.now)));
}

#[test]
fn a_release_parks_what_is_queued_and_waits_for_what_is_under_way() {
    let mut rig = rig();
    rig.deliver("1/a");
    let attempt = rig.attempt();
    stop(&mut rig);
    rig.deliver("1/a");
    rig.tell(Input::Release(first_epoch()));
    let (parked, reason, wait) = rig.parked();
    assert_eq!((parked.position.offset, reason, wait), (1, WaitReason::Draining, 5 * SECOND));
    rig.answer(attempt.id, status(200));
    assert_eq!(rig.endings(), [Ending::Delivered(Duration::ZERO)]);
}

#[test]
fn a_release_parks_a_repeat_and_repeats_nothing_more() {
    let mut rig = rig();
    (0..2).for_each(|_| rig.deliver("1/a"));
    let attempts = rig.attempts();
    rig.answer(attempts[0].id, silence(Fault::Reset));
    rig.tell(Input::Release(first_epoch()));
    assert_eq!(rig.parked().1, WaitReason::Draining);
    rig.answer(attempts[1].id, silence(Fault::Reset));
    assert_eq!(rig.parked().1, WaitReason::Retry);
}

#[test]
fn what_is_read_of_a_released_epoch_is_parked_and_of_the_next_one_attempted() {
    let mut rig = rig();
    rig.tell(Input::Release(first_epoch()));
    rig.deliver("1/a");
    assert_eq!(rig.parked().1, WaitReason::Draining);
    let mut next = rig.fresh("1/a");
    next.position.epoch = Epoch(2);
    rig.tell(Input::Delivery(next));
    rig.attempt();
}

#[test]
fn a_cut_off_parks_what_is_under_way_and_a_late_answer_is_ignored() {
    let mut rig = rig();
    rig.deliver("1/a");
    let attempt = rig.attempt();
    rig.tell(Input::Release(first_epoch()));
    rig.tell(Input::CutOff(first_epoch()));
    assert_eq!(rig.parked().1, WaitReason::Draining);
    rig.answer(attempt.id, status(200));
    assert!(rig.actions().is_empty());
    assert_eq!(rig.dispatcher.held(), 1, "until the record is acknowledged");
}

#[test]
fn a_late_answer_is_not_taken_for_that_of_the_attempt_in_the_same_place() {
    let mut rig = rig();
    rig.deliver("1/a");
    let cut = rig.attempt();
    rig.tell(Input::CutOff(first_epoch()));
    rig.parked();
    rig.deliver("1/a");
    rig.attempt();
    rig.answer(cut.id, status(200));
    assert!(rig.actions().is_empty());
}

#[test]
fn a_cut_off_gives_the_window_back() {
    let window = |limits: &mut Limits| {
        limits.max_in_flight = NonZeroU32::MIN;
    };
    let mut rig = Rig::new([connection("1/a").limits(window).build()]);
    rig.deliver("1/a");
    rig.attempt();
    let mut other = rig.fresh("1/a");
    other.position.partition.number = 1;
    rig.tell(Input::Delivery(other));
    assert!(rig.actions().is_empty());
    rig.tell(Input::CutOff(first_epoch()));
    assert_eq!(rig.actions().len(), 2, "the parked one's record and the other's attempt");
}

#[test]
fn what_is_queued_of_a_lost_partition_is_forgotten() {
    let mut rig = rig();
    stop(&mut rig);
    rig.deliver("1/a");
    rig.tell(Input::Abandon(first_epoch()));
    assert_eq!(rig.endings(), [Ending::Abandoned]);
    assert_eq!(rig.dispatcher.held(), 0);
}

#[test]
fn a_release_of_one_partition_leaves_the_others_alone() {
    let mut rig = rig();
    stop(&mut rig);
    let mut other = rig.fresh("1/a");
    other.position.partition.number = 1;
    rig.tell(Input::Delivery(other));
    rig.tell(Input::Release(first_epoch()));
    assert!(rig.actions().is_empty());
}

#[test]
fn a_hanging_lane_keeps_no_other_from_being_attempted_at_once() {
    let mut rig = Rig::new([connection("1/a").build(), connection("1/b").build()]);
    (0..100).for_each(|_| rig.deliver("1/a"));
    assert_eq!(rig.attempts().len(), 16, "its window");
    rig.deliver("1/b");
    assert_eq!(rig.attempt().connection.key, key("1/b"));
}

#[test]
fn hundreds_of_hanging_lanes_that_use_up_all_slots_keep_no_other_from_being_attempted_at_once() {
    let names: Vec<_> = (0..300).map(|n| format!("1/hanging-{n}")).collect();
    let all = names.iter().map(|name| connection(name).build());
    let all = all.chain([connection("1/b").build()]);
    let mut rig = Rig::with_terms(all, |terms| terms.max_in_flight = 256);
    for _ in 0..20 {
        names.iter().for_each(|name| rig.deliver(name));
        rig.attempts();
    }
    rig.deliver("1/b");
    assert_eq!(rig.attempt().connection.key, key("1/b"));
}

#[test]
fn a_hanging_lane_alone_may_not_take_all_slots() {
    let change = |limits: &mut Limits| {
        limits.max_in_flight = NonZeroU32::new(500).unwrap();
    };
    let wide = connection("1/a").limits(change).build();
    let mut rig = Rig::with_terms([wide], |terms| terms.max_in_flight = 90);
    (0..500).for_each(|_| rig.deliver("1/a"));
    assert_eq!(rig.attempts().len(), 10);
}

#[test]
fn an_idle_lane_is_forgotten_and_costs_nothing_then() {
    let mut rig = rig();
    rig.deliver("1/a");
    rig.make_attempt(status(200));
    rig.actions();
    assert_eq!(rig.lanes(), 1);
    rig.pass(IDLE_TIME);
    assert!(rig.actions().is_empty());
    assert_eq!((rig.lanes(), rig.dispatcher.next_timeout()), (0, None));
}

#[test]
fn a_lane_that_only_parked_is_forgotten_too() {
    let mut rig = rig();
    rig.tell(Input::Release(first_epoch()));
    rig.deliver("1/a");
    rig.parked();
    rig.pass(IDLE_TIME);
    rig.actions();
    assert_eq!(rig.lanes(), 0);
}

#[test]
fn a_failing_lane_is_remembered_while_its_connection_is_active_and_no_longer() {
    let mut rig = rig();
    rig.deliver("1/a");
    rig.make_attempt(status(500));
    rig.actions();
    rig.pass(HOUR);
    rig.actions();
    assert_eq!(rig.lanes(), 1);
    rig.change_table(|table| table.delete(&key("1/a")));
    rig.pass(HOUR);
    rig.actions();
    assert_eq!(rig.lanes(), 0);
}

#[test]
fn a_lane_whose_burst_has_not_come_back_is_not_forgotten() {
    let change = |limits: &mut Limits| {
        limits.rate_per_second = NonZeroU32::MIN;
        limits.burst = NonZeroU32::new(1_000).unwrap();
    };
    let mut rig = Rig::new([connection("1/a").limits(change).build()]);
    rig.deliver("1/a");
    rig.make_attempt(status(200));
    rig.actions();
    rig.pass(IDLE_TIME);
    rig.actions();
    assert_eq!(rig.lanes(), 1);
}
