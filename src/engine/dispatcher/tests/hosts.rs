//! Connections of one host: what they may do together, and that nobody else is held up by it.

use std::num::NonZeroU32;

use super::rig::{Rig, status};
use crate::engine::connection::Connection;
use crate::engine::delivery::WaitReason;
use crate::engine::dispatcher::Action;
use crate::engine::fixtures::connection;
use crate::engine::lane::FRONTIER_BUDGET;

/// Three connections at one host, which may have two attempts under way, and one at another.
fn rig() -> Rig {
    let at = |key: &str, host: &str| -> Connection {
        connection(key).at(&format!("https://{host}.example.com/{key}")).build()
    };
    let connections = [at("1/a", "busy"), at("1/b", "busy"), at("2/c", "busy"), at("2/d", "calm")];
    let two = NonZeroU32::new(2).unwrap();
    Rig::with_terms(connections, |terms| terms.host_cap.max_in_flight = two)
}

fn keys(rig: &mut Rig) -> Vec<String> {
    rig.attempts().iter().map(|attempt| attempt.connection.key.to_string()).collect()
}

#[test]
fn a_full_host_makes_its_own_lanes_wait_and_no_other() {
    let mut rig = rig();
    (0..3).for_each(|_| rig.deliver("1/a"));
    (0..3).for_each(|_| rig.deliver("2/d"));
    let mut started = keys(&mut rig);
    started.sort();
    assert_eq!(started, ["1/a", "1/a", "2/d", "2/d"]);
}

#[test]
fn lanes_of_a_full_host_take_turns_however_much_each_has_to_do() {
    let mut rig = rig();
    (0..9).for_each(|_| rig.deliver("1/a"));
    let mut under_way = rig.attempts();
    (0..2).for_each(|_| rig.deliver("1/b"));
    (0..2).for_each(|_| rig.deliver("2/c"));
    let mut order = Vec::new();
    for _ in 0..6 {
        rig.answer(under_way.remove(0).id, status(200));
        let started = rig.actions().into_iter().filter_map(|action| match action {
            Action::Attempt(attempt) => Some(attempt),
            Action::Publish(_) | Action::Settle(..) | Action::Deactivate { .. } => None,
        });
        for attempt in started {
            order.push(attempt.connection.key.to_string());
            under_way.push(attempt);
        }
    }
    assert_eq!(order, ["1/a", "1/b", "2/c", "1/a", "1/b", "2/c"]);
}

#[test]
fn what_a_full_host_keeps_waiting_is_parked_in_time_and_uncharged() {
    let mut rig = rig();
    (0..2).for_each(|_| rig.deliver("1/a"));
    assert_eq!(rig.attempts().len(), 2);
    rig.deliver("1/b");
    assert!(rig.actions().is_empty());
    rig.pass(FRONTIER_BUDGET);
    let (delivery, reason, _) = rig.parked();
    assert_eq!((delivery.connection.as_str(), reason), ("1/b", WaitReason::RateLimit));
    assert_eq!((delivery.history.attempts, delivery.history.first_attempt_at), (0, None));
}
