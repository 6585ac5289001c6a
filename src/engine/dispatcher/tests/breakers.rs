//! What an open breaker turns away: where it goes, and what it takes no room from.

use std::num::NonZeroU32;
use std::time::Duration;

use super::rig::{Rig, silence};
use crate::engine::connection::Limits;
use crate::engine::delivery::{DeadLetterReason, WaitReason};
use crate::engine::dispatcher::{Destination, Input};
use crate::engine::fixtures::connection;
use crate::engine::outcome::Fault;

const SECOND: Duration = Duration::from_secs(1);

/// With the breaker open for 24 to 36 s.
pub(super) fn rig_with_open_breaker() -> Rig {
    let mut rig = Rig::new([connection("1/a").build()]);
    open_breaker(&mut rig);
    rig
}

fn open_breaker(rig: &mut Rig) {
    (0..10).for_each(|_| rig.deliver("1/a"));
    for attempt in rig.attempts() {
        rig.answer(attempt.id, silence(Fault::Connect));
    }
    rig.pass(SECOND);
    rig.actions();
}

#[test]
fn an_open_breaker_parks_without_a_charge_and_starts_the_horizon() {
    let mut rig = rig_with_open_breaker();
    rig.deliver("1/a");
    let (delivery, reason, wait) = rig.parked();
    assert_eq!((reason, wait), (WaitReason::BreakerOpen, 30 * SECOND));
    assert_eq!(delivery.history.attempts, 0);
    assert_eq!(delivery.history.first_attempt_at, Some(rig.now));
}

#[test]
fn what_the_breaker_turns_away_after_the_horizon_is_exhausted() {
    let mut rig = rig_with_open_breaker();
    let mut late = rig.fresh("1/a");
    late.history.first_attempt_at = Some(rig.now - Duration::from_mins(10));
    rig.tell(Input::Delivery(late));
    assert_eq!(rig.publication().1, Destination::DeadLetters(DeadLetterReason::Exhausted));
}

#[test]
fn a_breaker_whose_time_is_over_lets_one_probe_through_and_turns_the_others_away() {
    let mut rig = rig_with_open_breaker();
    rig.pass(Duration::from_mins(1));
    rig.deliver("1/a");
    rig.attempt();
    rig.deliver("1/a");
    let (_, destination) = rig.publication();
    assert!(
        matches!(destination, Destination::Tier(_, WaitReason::BreakerOpen)),
        "{destination:?}"
    );
}

#[test]
fn what_is_turned_away_needs_no_room_in_the_lane() {
    let mut rig = Rig::with_terms([connection("1/a").build()], |terms| terms.max_held = 20);
    open_breaker(&mut rig);
    let reasons = |rig: &mut Rig| -> Vec<_> {
        let reason = |(_, destination)| match destination {
            Destination::Tier(_, reason) => reason,
            Destination::DeadLetters(_) => panic!("{destination:?}"),
        };
        let mut reasons: Vec<_> = rig.publications().into_iter().map(reason).collect();
        reasons.dedup();
        reasons
    };
    (0..200).for_each(|_| rig.deliver("1/a"));
    assert_eq!(reasons(&mut rig), [WaitReason::BreakerOpen]);
    rig.pass(Duration::from_mins(1));
    rig.deliver("1/a");
    rig.attempt();
    (0..200).for_each(|_| rig.deliver("1/a"));
    assert_eq!(reasons(&mut rig), [WaitReason::BreakerOpen]);
}

#[test]
fn what_waits_for_its_acknowledgement_takes_no_room_from_another_lane() {
    let window = |limits: &mut Limits| limits.max_in_flight = NonZeroU32::MIN;
    let healthy = connection("1/b").limits(window).build();
    let mut rig =
        Rig::with_terms([connection("1/a").build(), healthy], |terms| terms.max_held = 20);
    open_breaker(&mut rig);
    (0..200).for_each(|_| rig.deliver("1/a"));
    assert_eq!(rig.publications().len(), 200, "written and not yet acknowledged");
    (0..10).for_each(|_| rig.deliver("1/b"));
    rig.attempt();
}

#[test]
fn the_longer_a_breaker_has_turned_a_delivery_away_the_longer_it_waits() {
    let mut rig = rig_with_open_breaker();
    let mut old = rig.fresh("1/a");
    old.history.first_attempt_at = Some(rig.now - Duration::from_secs(160));
    rig.tell(Input::Delivery(old));
    let (_, reason, wait) = rig.parked();
    assert_eq!((reason, wait), (WaitReason::BreakerOpen, 120 * SECOND));
}
