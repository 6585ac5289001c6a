//! The judge's own test: faults are planted in what was observed, and it must find each.

use std::time::{Duration, UNIX_EPOCH};

use barnabas::demo::receiver::Receipt;

use crate::auditor::judge_receipt;
use crate::campaign::{EventNo, Kind, SLOTS, Version};
use crate::judge::Judge;
use crate::observation::{Observation, Pair, Place};

type Plant = fn(&[Observation]) -> Option<Vec<Observation>>;

const PLANTS: [(&str, Plant); 5] = [
    ("one delivery dropped", drop_a_delivery),
    ("one commit too early", commit_too_early),
    ("one retry skipped", skip_a_retry),
    ("one byte flipped", flip_a_byte),
    ("one dead letter swallowed", swallow_a_dead_letter),
];

/// What each plant came to: its name, and whether the judge found it. `None` where the run gave no occasion.
pub fn test_the_judge(log: &[Observation]) -> Vec<(&'static str, Option<bool>)> {
    let judged = |plant: Plant| Some(!account_of(&plant(log)?).faults().is_empty());
    PLANTS.iter().map(|(name, plant)| (*name, judged(*plant))).collect()
}

/// Judges a record of observations.
pub fn account_of(log: &[Observation]) -> crate::judge::Account {
    let mut judge = Judge::default();
    log.iter().for_each(|observation| judge.observe(observation));
    judge.account()
}

/// Everything but what tells of that pair's fate.
fn without(log: &[Observation], lost: Pair) -> Vec<Observation> {
    let tells = |observation: &&Observation| match observation {
        Observation::Receipt { pair, .. }
        | Observation::Waiting { pair, .. }
        | Observation::DeadLetter { pair, .. } => *pair == lost,
        _ => false,
    };
    log.iter().filter(|observation| !tells(observation)).cloned().collect()
}

/// A pair of a connection that nobody has changed, from the middle of the run.
fn find(log: &[Observation], is_it: impl Fn(&Observation) -> Option<Pair>) -> Option<Pair> {
    let in_the_middle = log.iter().skip(log.len() / 3).chain(log);
    in_the_middle.filter_map(is_it).find(|pair| SLOTS[pair.slot] != Kind::Toggled)
}

fn drop_a_delivery(log: &[Observation]) -> Option<Vec<Observation>> {
    let delivered = find(log, |observation| match observation {
        Observation::Receipt { pair, .. } => Some(*pair),
        _ => None,
    });
    Some(without(log, delivered?))
}

fn skip_a_retry(log: &[Observation]) -> Option<Vec<Observation>> {
    let waiting = find(log, |observation| match observation {
        Observation::Waiting { pair, .. } => Some(*pair),
        _ => None,
    });
    Some(without(log, waiting?))
}

fn swallow_a_dead_letter(log: &[Observation]) -> Option<Vec<Observation>> {
    let dead = find(log, |observation| match observation {
        Observation::DeadLetter { pair, .. } => Some(*pair),
        _ => None,
    })?;
    let is_it = |observation: &&Observation| matches!(observation, Observation::DeadLetter { pair, .. } if *pair == dead);
    Some(log.iter().filter(|observation| !is_it(observation)).cloned().collect())
}

/// A commit that calls an event settled just before its receipt was written.
fn commit_too_early(log: &[Observation]) -> Option<Vec<Observation>> {
    let pair = find(log, |observation| match observation {
        Observation::Receipt { pair, .. } if SLOTS[pair.slot] == Kind::Slow => Some(*pair),
        _ => None,
    })?;
    let is_event = |observation: &Observation| match observation {
        Observation::Event { place, event, .. } if *event == pair.event => Some(*place),
        _ => None,
    };
    let Place { partition, offset } = log.iter().find_map(is_event)?;
    let received = log.iter().position(
        |observation| matches!(observation, Observation::Receipt { pair: other, .. } if *other == pair),
    )?;
    let Observation::Receipt { at, .. } = log[received] else { return None };
    let early =
        Observation::Commit { partition, offset: offset + 1, metadata: String::new(), at: at - 1 };
    let mut planted = log.to_vec();
    planted.insert(received, early);
    Some(planted)
}

/// A receipt as the sink would have written it, with another body.
fn flip_a_byte(log: &[Observation]) -> Option<Vec<Observation>> {
    let pair = find(log, |observation| match observation {
        Observation::Receipt { pair, .. } => Some(*pair),
        _ => None,
    })?;
    let mut body = pair.event.body().into_bytes();
    *body.last_mut()? ^= 1;
    let mut planted = log.to_vec();
    planted.push(judge_receipt(&receipt(pair.event, pair.slot, body))?);
    Some(planted)
}

fn receipt(event: EventNo, slot: usize, body: Vec<u8>) -> Receipt {
    let version = Version { project: event.project(), slot, revision: 1 };
    Receipt {
        path: version.path(),
        query: None,
        at: UNIX_EPOCH + Duration::from_secs(1),
        authorization: Some(format!("Bearer {}", version.token())),
        webhook_id: Some(event.id()),
        webhook_timestamp: None,
        webhook_attempt: None,
        traceparent: None,
        content_type: None,
        user_agent: None,
        body: body.into(),
        admitted: true,
        status: Some(http::StatusCode::OK),
    }
}
