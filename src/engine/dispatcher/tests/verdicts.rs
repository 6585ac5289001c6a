//! What an answer leads to.

use std::time::Duration;

use super::rig::{EVENTS, Rig, START, policy, put, silence, status};
use crate::engine::delivery::{DeadLetterReason, WaitReason};
use crate::engine::dispatcher::{
    Action, Destination, Ending, Input, NextStep, Publication, Rejected, Subject, Terms,
};
use crate::engine::event::{Epoch, Origin, Position, Record};
use crate::engine::fixtures::connection;
use crate::engine::outcome::{AttemptResult, Fault};
use crate::engine::retry::Tier;
use crate::engine::streak::DeactivationReason;
use crate::engine::time::Timestamp;

const SECOND: Duration = Duration::from_secs(1);

fn rig() -> Rig {
    Rig::new([connection("1/a").build()])
}

fn dead(reason: DeadLetterReason) -> Destination {
    Destination::DeadLetters(reason)
}

#[test]
fn a_fresh_delivery_is_attempted_at_once_and_settled_by_its_answer() {
    let mut rig = rig();
    rig.deliver("1/a");
    assert_eq!(rig.make_attempt(status(204)), 1);
    assert_eq!(rig.endings(), [Ending::Delivered(Duration::ZERO)]);
    assert_eq!(rig.dispatcher.held(), 0);
}

#[test]
fn a_silent_first_attempt_is_repeated_once_a_second_later_with_the_same_number() {
    let mut rig = rig();
    rig.deliver("1/a");
    rig.make_attempt(silence(Fault::Reset));
    assert!(rig.actions().is_empty());
    assert_eq!(rig.dispatcher.next_timeout(), Some(START + SECOND));
    rig.pass(SECOND);
    assert_eq!(rig.make_attempt(silence(Fault::Reset)), 1);
    let (delivery, reason, wait) = rig.parked();
    assert_eq!((reason, wait), (WaitReason::Retry, 5 * SECOND));
    assert_eq!(delivery.history.attempts, 1);
}

#[test]
fn an_attempt_that_was_answered_in_part_is_not_repeated_from_memory() {
    let mut rig = rig();
    rig.deliver("1/a");
    rig.make_attempt(AttemptResult::Failed { fault: Fault::Reset, answer_begun: true });
    assert_eq!(rig.parked().1, WaitReason::Retry);
}

#[test]
fn each_failure_waits_in_the_next_tier_and_the_last_one_is_exhausted() {
    let mut rig = rig();
    rig.deliver("1/a");
    for (number, secs) in [(1, 5), (2, 30), (3, 120)] {
        assert_eq!(rig.make_attempt(status(500)), number);
        let (delivery, reason, wait) = rig.parked();
        assert_eq!((reason, wait), (WaitReason::Retry, secs * SECOND));
        rig.pass(wait);
        rig.read_again(delivery, reason);
    }
    assert_eq!(rig.make_attempt(status(500)), 4);
    assert_eq!(rig.publication().1, dead(DeadLetterReason::Exhausted));
}

#[test]
fn an_answer_tells_what_becomes_of_the_delivery() {
    let mut rig = rig();
    let next = |rig: &mut Rig, result| {
        rig.deliver("1/a");
        let (id, now) = (rig.attempt().id, rig.now);
        let next = rig.dispatcher.answer(id, &result, now);
        rig.actions();
        (next, rig.dispatcher.answer(id, &result, now))
    };
    assert_eq!(next(&mut rig, status(200)), (Some(NextStep::Delivered), None), "only once");
    let repeat = NextStep::Repeat(START + SECOND);
    assert_eq!(next(&mut rig, silence(Fault::Dns)).0, Some(repeat));
    let dead = NextStep::DeadLetter(DeadLetterReason::EgressDenied);
    assert_eq!(next(&mut rig, AttemptResult::Denied).0, Some(dead));
    let Some(NextStep::Wait(slot, WaitReason::Retry)) = next(&mut rig, status(500)).0 else {
        panic!("it waits");
    };
    assert_eq!((slot.tier, slot.due), (Tier(0), START + 5 * SECOND));
}

#[test]
fn a_record_of_a_retry_is_settled_when_it_is_acknowledged() {
    let mut rig = rig();
    rig.deliver("1/a");
    rig.make_attempt(status(500));
    let mut actions = rig.actions();
    assert_eq!(actions.len(), 1, "{actions:?}");
    let Action::Publish(publication) = actions.remove(0) else { panic!("a record") };
    assert_eq!(rig.dispatcher.held(), 1);
    rig.tell(Input::Published(publication));
    assert_eq!(rig.endings(), [Ending::Retried]);
    assert_eq!(rig.dispatcher.held(), 0);
}

#[test]
fn a_body_refused_five_times_is_rejected() {
    let change = |terms: &mut Terms| terms.retry = policy(&[1, 2, 3, 4, 5, 6, 7]);
    let mut rig = Rig::with_terms([connection("1/a").build()], change);
    rig.deliver("1/a");
    for _ in 1..=4 {
        rig.make_attempt(status(400));
        let (delivery, reason, wait) = rig.parked();
        rig.pass(wait);
        rig.read_again(delivery, reason);
    }
    rig.make_attempt(status(400));
    assert_eq!(rig.publication().1, dead(DeadLetterReason::Rejected));
}

#[test]
fn an_endpoint_that_is_gone_deactivates_the_revision_and_dead_letters() {
    let mut rig = Rig::new([connection("1/a").revision(7).build()]);
    rig.deliver("1/a");
    rig.make_attempt(status(410));
    let actions = rig.actions();
    let [Action::Deactivate { revision: 7, reason, .. }, Action::Publish(publication)] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(*reason, DeactivationReason::Gone);
    assert_eq!(publication.destination, dead(DeadLetterReason::Gone));
}

#[test]
fn a_deactivated_revision_is_attempted_no_more_and_its_successor_is() {
    let mut rig = Rig::new([connection("1/a").revision(7).build()]);
    rig.deliver("1/a");
    rig.make_attempt(status(410));
    rig.actions();
    rig.deliver("1/a");
    assert_eq!(rig.publication().1, dead(DeadLetterReason::ConnectionInactive));
    rig.change_table(|table| put(table, connection("1/a").revision(8).build()));
    rig.deliver("1/a");
    assert_eq!(rig.attempt().connection.revision, 8);
}

#[test]
fn one_revision_is_deactivated_once_and_an_older_one_no_more() {
    let mut rig = Rig::new([connection("1/a").revision(7).build()]);
    rig.deliver("1/a");
    let old = rig.attempt();
    rig.change_table(|table| put(table, connection("1/a").revision(8).build()));
    rig.deliver("1/a");
    rig.deliver("1/a");
    let new = rig.attempts();
    let is_note = |action: &Action| matches!(action, Action::Deactivate { .. });
    rig.answer(new[0].id, status(410));
    assert_eq!(rig.actions().iter().filter(|action| is_note(action)).count(), 1);
    rig.answer(new[1].id, status(410));
    rig.answer(old.id, status(410));
    assert_eq!(rig.actions().iter().filter(|action| is_note(action)).count(), 0);
    rig.deliver("1/a");
    assert_eq!(rig.publication().1, dead(DeadLetterReason::ConnectionInactive));
}

#[test]
fn three_denials_in_a_row_deactivate_and_the_next_revision_has_three_of_its_own() {
    let mut rig = rig();
    let mut notes = Vec::new();
    for revision in 1..=2 {
        rig.change_table(|table| put(table, connection("1/a").revision(revision).build()));
        for _ in 0..3 {
            rig.deliver("1/a");
            rig.make_attempt(AttemptResult::Denied);
            let actions = rig.actions();
            let note = actions.iter().find_map(|action| match action {
                Action::Deactivate { revision, reason, .. } => Some((*revision, *reason)),
                Action::Attempt(_) | Action::Publish(_) | Action::Settle(..) => None,
            });
            notes.push(note);
        }
    }
    let denied = |revision| Some((revision, DeactivationReason::EgressDenied));
    assert_eq!(notes, [None, None, denied(1), None, None, denied(2)]);
}

#[test]
fn a_denied_attempt_is_a_dead_letter() {
    let mut rig = rig();
    rig.deliver("1/a");
    rig.make_attempt(AttemptResult::Denied);
    assert_eq!(rig.publication().1, dead(DeadLetterReason::EgressDenied));
}

#[test]
fn a_panicked_attempt_is_a_dead_letter() {
    let mut rig = rig();
    rig.deliver("1/a");
    rig.make_attempt(AttemptResult::Panicked);
    assert_eq!(rig.publication().1, dead(DeadLetterReason::Panic));
}

#[test]
fn our_own_fault_charges_nothing_and_is_repeated_until_the_frontier_budget_is_spent() {
    let mut rig = rig();
    rig.deliver("1/a");
    for _ in 0..9 {
        assert_eq!(rig.make_attempt(AttemptResult::OurFault), 1);
        assert!(rig.actions().is_empty());
        rig.pass(SECOND);
    }
    rig.make_attempt(AttemptResult::OurFault);
    let (delivery, reason, wait) = rig.parked();
    assert_eq!((reason, wait), (WaitReason::OurFault, 5 * SECOND));
    assert_eq!((delivery.history.attempts, delivery.history.first_attempt_at), (0, None));
}

#[test]
fn a_record_that_is_no_event_is_dead_lettered_and_then_settled() {
    let mut rig = rig();
    let position = Position { partition: EVENTS, epoch: Epoch(1), offset: 9 };
    let origin = Origin {
        topic: "campaign.actions".into(),
        partition: 0,
        offset: 9,
        timestamp: Timestamp::EPOCH,
    };
    let record = Record { value: "{]".into(), headers: Vec::new(), origin };
    let reason = DeadLetterReason::MalformedEvent;
    rig.tell(Input::Reject(Rejected { record, position, reason }));
    let mut actions = rig.actions();
    assert_eq!(actions.len(), 1, "{actions:?}");
    let Action::Publish(publication) = actions.remove(0) else { panic!("a record") };
    assert!(matches!(
        publication,
        Publication { subject: Subject::Rejected(_), destination } if destination == dead(reason)
    ));
    rig.tell(Input::Published(publication));
    assert_eq!(rig.endings(), [Ending::DeadLettered(reason)]);
}
